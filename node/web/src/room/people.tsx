import { useState } from 'preact/hooks';
import { count } from '../ui/format.js';
import { Icon } from '../ui/icons.js';
import type { Call } from './call.js';
import { copyLink } from './header.js';
import { Avatar } from './tile.js';

/** Who is here. */
export function People({ call }: { call: Call }) {
  const { room } = call;
  const people = [...room.peers.values()].sort((a, b) => a.displayName.localeCompare(b.displayName));
  return (
    <aside class="panel" aria-label="Participants" data-testid="people">
      <header>
        <h2>{count(people.length + 1, 'participant')}</h2>
        <button
          type="button"
          class="icon-button"
          aria-label="Close the list"
          onClick={() => call.togglePanel('people')}
        >
          <Icon name="close" />
        </button>
      </header>
      <ul class="people">
        <Person
          call={call}
          id={room.peerId}
          name={`${room.displayName} (you)`}
          device=""
          microphone={call.isOn('microphone')}
          camera={call.isOn('camera')}
        />
        {people.map((peer) => {
          const on = (source: string) => peer.subscription(source)?.muted === false;
          return (
            <Person
              key={peer.id}
              call={call}
              id={peer.id}
              name={peer.displayName}
              device={[peer.device.name, peer.device.version?.split('.')[0]].filter(Boolean).join(' ')}
              microphone={on('microphone')}
              camera={on('camera')}
              kick={() => void call.kick(peer.id)}
            />
          );
        })}
      </ul>
      <footer>
        <button type="button" class="button" onClick={() => void copyLink(call)}>
          <Icon name="link" />
          Copy the link
        </button>
      </footer>
    </aside>
  );
}

function Person({
  call,
  id,
  name,
  device,
  microphone,
  camera,
  kick,
}: {
  call: Call;
  id: string;
  name: string;
  device: string;
  microphone: boolean;
  camera: boolean;
  kick?: () => void;
}) {
  const [asking, setAsking] = useState(false);
  return (
    <li class={call.room.speaker === id ? 'speaking' : ''} data-testid="person" data-peer={id}>
      <Avatar name={name.replace(/ \(you\)$/, '')} id={id} />
      <span class="person-name">
        {name}
        {device && <small>{device}</small>}
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
          <span class="person-device" role="img" aria-label={microphone ? 'microphone on' : 'muted'}>
            <Icon name={microphone ? 'mic' : 'micOff'} />
          </span>
          <span class="person-device" role="img" aria-label={camera ? 'camera on' : 'camera off'}>
            <Icon name={camera ? 'camera' : 'cameraOff'} />
          </span>
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
