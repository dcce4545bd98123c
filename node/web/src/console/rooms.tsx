import { useState } from 'preact/hooks';
import type { RoomSummary } from '../protocol.js';
import { count } from '../ui/format.js';
import { Icon } from '../ui/icons.js';

/** From here on a list is searched rather than read. */
const MANY = 8;
/** More rows than this make a page slow, and nobody reads them. */
const MOST = 300;

/** All rooms, those with the most people first. */
export function RoomList({ rooms, choose }: { rooms: RoomSummary[]; choose: (room: string) => void }) {
  const [filter, setFilter] = useState('');
  const wanted = filter.trim().toLowerCase();
  const fitting = rooms
    .filter(({ id, home, hosts }) => !wanted || [id, home, ...Object.keys(hosts)].some((text) => text.toLowerCase().includes(wanted)))
    .sort((a, b) => b.peers - a.peers || a.id.localeCompare(b.id));
  const shown = fitting.slice(0, MOST);
  return (
    <>
      <header class="right-head">
        <h2>{count(rooms.length, 'room')}</h2>
      </header>
      {rooms.length > MANY && (
        <input
          class="input"
          type="search"
          aria-label="Find a room or node"
          placeholder="Find a room or node"
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      )}
      {rooms.length === 0 && (
        <div class="empty">
          <p>No rooms yet.</p>
          <p class="dim">A room is there as soon as somebody joins it.</p>
          <a class="button" href="./">
            Open the room page
          </a>
        </div>
      )}
      {rooms.length > 0 && shown.length === 0 && <p class="empty dim">Nothing is called that.</p>}
      <ul class="rooms">
        {shown.map((room) => (
          <li key={room.id}>
            <button type="button" class="room" data-testid="room" data-room={room.id} onClick={() => choose(room.id)}>
              <span class="room-name">{room.id}</span>
              <span class="room-peers" title={count(room.peers, 'peer')}>
                <Icon name="people" />
                {room.peers}
              </span>
              <span class="room-sub">
                {spread(room)} · {count(room.producers, 'producer')}
                {room.pipes > 0 && ` · ${count(room.pipes, 'pipe')}`}
              </span>
            </button>
          </li>
        ))}
      </ul>
      {fitting.length > shown.length && <p class="dim empty">And {fitting.length - shown.length} more.</p>}
    </>
  );
}

function spread({ hosts }: RoomSummary): string {
  const names = Object.keys(hosts);
  const [only] = names;
  if (only === undefined) return 'on no node';
  return names.length === 1 ? `on ${only}` : `on ${names.length} nodes`;
}
