import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Peer } from '../sdk/index.js';
import { count } from '../ui/format.js';
import { Icon } from '../ui/icons.js';
import type { Call } from './call.js';
import { copyLink } from './header.js';
import { inSight, matching, rowsOf, type Row } from './people-rows.js';
import { Avatar } from './tile.js';

/** How high each line is, as in panel.css. */
const ROW = 54;
/** From so many on there is a field to look for names. */
const MANY = 12;

/** Who is here. */
export function People({ call }: { call: Call }) {
  const { room } = call;
  const [typed, setTyped] = useState('');
  const many = room.peers.size >= MANY;
  const people = matching(room.peers.values(), many ? typed : '');
  const groups = call.staged
    ? [
        { heading: 'On the stage', people: people.filter((peer) => call.isOnStage(peer)) },
        { heading: 'In the audience', people: people.filter((peer) => !call.isOnStage(peer)) },
      ]
    : [{ people }];
  return (
    <aside class="panel" aria-label="Participants" data-testid="people">
      <header>
        <h2>{count(room.peers.size + 1, 'participant')}</h2>
        <button
          type="button"
          class="icon-button"
          aria-label="Close the list"
          onClick={() => call.togglePanel('people')}
        >
          <Icon name="close" />
        </button>
      </header>
      {many && (
        <label class="people-search">
          <Icon name="search" />
          <input
            type="search"
            class="input"
            data-testid="people-search"
            aria-label="Look for a name"
            placeholder="Look for a name"
            autocomplete="off"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </label>
      )}
      <Lines call={call} rows={rowsOf(groups)} />
      <footer>
        <button type="button" class="button" onClick={() => void copyLink(call)}>
          <Icon name="link" />
          Copy the link
        </button>
      </footer>
    </aside>
  );
}

/** Oneself, then all lines. Of hundreds only those are drawn that are in sight. */
function Lines({ call, rows }: { call: Call; rows: Row<Peer>[] }) {
  const list = useRef<HTMLUListElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  useLayoutEffect(() => {
    const element = list.current;
    if (!element) return;
    const measure = () => setView({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener('scroll', measure, { passive: true });
    measure();
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', measure);
    };
  }, []);
  const { room } = call;
  const [first, end] = inSight(view, rows.length, ROW);
  return (
    <ul class="people" ref={list} tabIndex={-1}>
      <Person
        call={call}
        id={room.peerId}
        name={`${room.displayName} (you)`}
        note={call.listens ? 'listening' : ''}
        onStage={!call.listens}
        microphone={call.isOn('microphone')}
        camera={call.isOn('camera')}
      />
      <Space rows={first} />
      {rows.slice(first, end).map((row) => {
        if ('heading' in row) {
          return (
            <li key={`heading ${row.heading}`} class="people-heading">
              {row.heading} <span class="dim">{row.count}</span>
            </li>
          );
        }
        const { person: peer } = row;
        const on = (source: string) => peer.subscription(source)?.muted === false;
        const stage = call.isOnStage(peer);
        // In a room without a stage there is an audience only where somebody was sent there.
        const choice = call.moderates && (call.staged || peer.role === 'listen');
        return (
          <Person
            key={peer.id}
            call={call}
            id={peer.id}
            name={peer.displayName}
            note={[peer.device.name, peer.device.version?.split('.')[0]].filter(Boolean).join(' ')}
            onStage={stage || !(call.staged || peer.role === 'listen')}
            microphone={on('microphone')}
            camera={on('camera')}
            {...(choice ? { setOnStage: (wanted: boolean) => void call.setOnStage(peer.id, wanted) } : {})}
            {...(call.moderates ? { kick: () => void call.kick(peer.id) } : {})}
          />
        );
      })}
      <Space rows={rows.length - end} />
    </ul>
  );
}

/** As high as the lines that are not drawn. */
function Space({ rows }: { rows: number }) {
  const element = useRef<HTMLLIElement>(null);
  useLayoutEffect(() => {
    if (element.current) element.current.style.height = `${rows * ROW}px`;
  }, [rows]);
  return <li ref={element} class="people-space" aria-hidden="true" />;
}

function Person({
  call,
  id,
  name,
  note,
  onStage,
  microphone,
  camera,
  setOnStage,
  kick,
}: {
  call: Call;
  id: string;
  name: string;
  note: string;
  onStage: boolean;
  microphone: boolean;
  camera: boolean;
  /** Where this user may say so. */
  setOnStage?: (wanted: boolean) => void;
  /** Where this user may do so. */
  kick?: () => void;
}) {
  const [asking, setAsking] = useState(false);
  return (
    <li
      class={call.room.speaker === id ? 'speaking' : ''}
      data-testid="person"
      data-peer={id}
      data-stage={String(onStage)}
    >
      <Avatar name={name.replace(/ \(you\)$/, '')} id={id} />
      <span class="person-name">
        {name}
        {note && <small>{note}</small>}
      </span>
      {asking && kick ? (
        <>
          <button type="button" class="button danger compact" onClick={kick} data-testid="kick-confirm">
            Remove
          </button>
          <button type="button" class="icon-button" aria-label={`Keep ${name}`} onClick={() => setAsking(false)}>
            <Icon name="close" />
          </button>
        </>
      ) : (
        <>
          {onStage && (
            <>
              <span class="person-device" role="img" aria-label={microphone ? 'microphone on' : 'muted'}>
                <Icon name={microphone ? 'mic' : 'micOff'} />
              </span>
              <span class="person-device" role="img" aria-label={camera ? 'camera on' : 'camera off'}>
                <Icon name={camera ? 'camera' : 'cameraOff'} />
              </span>
            </>
          )}
          {setOnStage && !onStage && (
            <button
              type="button"
              class="button compact"
              aria-label={`Invite ${name} to the stage`}
              title="Invite to the stage"
              data-testid="promote"
              onClick={() => setOnStage(true)}
            >
              Invite
            </button>
          )}
          {setOnStage && onStage && (
            <button
              type="button"
              class="icon-button"
              aria-label={`Send ${name} back to the audience`}
              title="Back to the audience"
              data-testid="demote"
              onClick={() => setOnStage(false)}
            >
              <Icon name="stepDown" />
            </button>
          )}
          {kick && (
            <button
              type="button"
              class="icon-button"
              aria-label={`Remove ${name} from the room`}
              title="Remove from the room"
              data-testid="kick"
              onClick={() => setAsking(true)}
            >
              <Icon name="remove" />
            </button>
          )}
        </>
      )}
    </li>
  );
}
