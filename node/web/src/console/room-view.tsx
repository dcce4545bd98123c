import type { Pipe, RoomDetail, RoomPeer, RoomProducer } from '../protocol.js';
import { count } from '../ui/format.js';
import { Icon } from '../ui/icons.js';
import type { Store } from './store.js';

/** One room: who is on which node, what they send, and where it is piped. */
export function RoomView({ store, id, back }: { store: Store; id: string; back: () => void }) {
  const { detail, detailProblem } = store;
  return (
    <div data-testid="room-view" data-room={id}>
      <header class="right-head">
        <button type="button" class="icon-button" aria-label="All rooms" data-testid="rooms-back" onClick={back}>
          <Icon name="back" />
        </button>
        <h2>{id}</h2>
      </header>
      {detailProblem && (
        <p class="note" role="status">
          <Icon name="warning" />
          <span>{detailProblem}</span>
        </p>
      )}
      {!detail && !detailProblem && (
        <p class="empty">
          <span class="spinner" aria-hidden="true" /> Asking the room’s home …
        </p>
      )}
      {detail && <Detail detail={detail} />}
    </div>
  );
}

function Detail({ detail }: { detail: RoomDetail }) {
  const { peers, producers, data_producers: data, pipes, home, hosts, speaker } = detail;
  // Hosts that hold somebody first; one that only just lost its last peer may still be listed.
  const places = [...new Set([...hosts, ...peers.map(({ host }) => host)])].sort();
  const speaking = peers.find((peer) => peer.id === speaker);
  return (
    <>
      <dl class="room-totals">
        <div>
          <dt>Home</dt>
          <dd>
            <Icon name="home" /> {home}
          </dd>
        </div>
        <div>
          <dt>Peers</dt>
          <dd>{peers.length}</dd>
        </div>
        <div>
          <dt>Producers</dt>
          <dd>
            {producers.length}
            {data.length > 0 && <small> + {data.length} data</small>}
          </dd>
        </div>
        <div>
          <dt>Pipes</dt>
          <dd>{pipes.length}</dd>
        </div>
        <div>
          <dt>Speaks</dt>
          <dd>{speaking ? name(speaking) : 'nobody'}</dd>
        </div>
      </dl>
      {places.map((host) => (
        <Host
          key={host}
          host={host}
          home={host === home}
          speaker={speaker}
          peers={peers.filter((peer) => peer.host === host)}
          producers={producers}
        />
      ))}
      <Pipes pipes={pipes} producers={producers} peers={peers} />
    </>
  );
}

/** A name may be empty until its peer has joined. */
const name = (peer: RoomPeer) => peer.display_name || peer.id;

function Host({
  host,
  home,
  speaker,
  peers,
  producers,
}: {
  host: string;
  home: boolean;
  speaker: string | null;
  peers: RoomPeer[];
  producers: RoomProducer[];
}) {
  return (
    <section class="host">
      <h3>
        {host}
        {home && <Icon name="home" />}
        <span class="dim">{count(peers.length, 'peer')}</span>
      </h3>
      <ul>
        {peers.map((peer) => {
          const own = producers.filter((producer) => producer.peer === peer.id);
          return (
            <li key={peer.id} class={peer.id === speaker ? 'speaks' : ''} data-testid="room-peer" data-peer={peer.id}>
              <span class="peer-name" title={peer.id}>
                {name(peer)}
              </span>
              {!peer.joined && <span class="chip">joining</span>}
              <span class="peer-kinds">
                {own.map(({ id, kind, paused }) => (
                  <span
                    key={id}
                    class={paused ? 'paused' : ''}
                    role="img"
                    aria-label={`${kind}${paused ? ', paused' : ''}`}
                    title={`${kind}${paused ? ', paused' : ''}: ${id}`}
                  >
                    <Icon name={kind === 'audio' ? (paused ? 'micOff' : 'mic') : paused ? 'cameraOff' : 'camera'} />
                  </span>
                ))}
              </span>
              <span class="peer-worker dim" title={`Worker ${peer.worker}`}>
                w{peer.worker}
              </span>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

/** The pipes, gathered by the workers that they join. */
function Pipes({ pipes, producers, peers }: { pipes: Pipe[]; producers: RoomProducer[]; peers: RoomPeer[] }) {
  if (pipes.length === 0) return <p class="dim empty">Nothing is piped: everyone is on one worker, or nobody sends.</p>;
  const groups = new Map<string, Pipe[]>();
  for (const pipe of pipes) {
    const key = `${pipe.from.node}·${pipe.from.worker} ${pipe.to.node}·${pipe.to.worker}`;
    groups.set(key, [...(groups.get(key) ?? []), pipe]);
  }
  const source = (pipe: Pipe) => {
    const producer = producers.find(({ id }) => id === pipe.producer);
    const peer = peers.find(({ id }) => id === producer?.peer);
    return `${producer?.kind ?? 'producer'} of ${peer ? name(peer) : (producer?.peer ?? pipe.producer)}`;
  };
  return (
    <section class="host">
      <h3>Pipes, by worker</h3>
      <ul>
        {[...groups].sort().map(([key, group]) => {
          const { from, to } = group[0] as Pipe;
          const inside = from.node === to.node;
          return (
            <li key={key} title={group.map(source).join('\n')} data-testid="pipe-group">
              <span class="pipe-way">
                {from.node} <span class="dim">w{from.worker}</span> → {inside ? '' : to.node}{' '}
                <span class="dim">w{to.worker}</span>
              </span>
              <span class="pipe-count">{count(group.length, 'producer')}</span>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
