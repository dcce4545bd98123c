import { useEffect, useState } from 'preact/hooks';
import { count } from '../ui/format.js';
import { useEvents, useWindowEvent } from '../ui/hooks.js';
import { Icon, Mark } from '../ui/icons.js';
import { NodeCards } from './nodes.js';
import { MeshPicture } from './picture.js';
import { RoomView } from './room-view.js';
import { RoomList } from './rooms.js';
import { ScalingPanel } from './scaling.js';
import { load } from './shape.js';
import type { Feed, Store } from './store.js';

/** The room that the address names, so that a view can be linked to. */
function roomOfAddress(): string | undefined {
  return new URLSearchParams(location.hash.slice(1)).get('room') ?? undefined;
}

/** The console. */
export function App({ store }: { store: Store }) {
  useEvents(store, 'changed');
  const [node, setNode] = useState<string>();
  const follow = () => store.select(roomOfAddress());
  useEffect(follow, []);
  useWindowEvent('hashchange', follow);
  const choose = (room: string | undefined) => {
    const hash = room === undefined ? '' : `#${new URLSearchParams({ room })}`;
    // The way back leads out of a room, as on any page.
    if (hash !== location.hash) history.pushState(null, '', hash || location.pathname);
    follow();
  };
  useWindowEvent('popstate', follow);
  const { mesh, rooms, missing } = store.picture;
  if (store.feed === 'locked') return <Unlock store={store} />;
  if (!mesh) return <Waiting store={store} />;
  return (
    <div class={`console ${store.feed === 'offline' ? 'stale' : ''}`} data-testid="console" data-feed={store.feed}>
      <Top store={store} />
      {store.feed === 'offline' && (
        <p class="note bad" role="alert">
          <Icon name="warning" />
          <span>
            This node does not answer ({store.problem}). What is shown is how things were; it is asked again every two
            seconds.
          </span>
        </p>
      )}
      {missing.length > 0 && (
        <p class="note" role="status">
          <Icon name="warning" />
          <span>
            {missing.join(', ')} did not answer: {count(missing.length, 'node')} whose rooms may be missing here.
          </span>
        </p>
      )}
      <main class="columns">
        <section class="left" aria-label="Nodes">
          <MeshPicture mesh={mesh} detail={store.detail} chosen={node} choose={setNode} />
          {store.scaling && <ScalingPanel scaling={store.scaling} mesh={mesh} problem={store.scalingProblem} />}
          <NodeCards mesh={mesh} detail={store.detail} chosen={node} choose={setNode} />
        </section>
        <section class="right" aria-label="Rooms">
          {store.selected === undefined ? (
            <RoomList rooms={rooms} choose={choose} />
          ) : (
            <RoomView store={store} id={store.selected} back={() => choose(undefined)} />
          )}
        </section>
      </main>
    </div>
  );
}

const feedText: Record<Feed, string> = {
  loading: 'Loading',
  events: 'Live',
  polling: 'Every 2 s',
  offline: 'Offline',
  locked: 'Locked',
};

function Top({ store }: { store: Store }) {
  const { mesh, rooms } = store.picture;
  if (!mesh) return null;
  const sum = (of: 'peers' | 'waiting' | 'free_streams' | 'total_streams') => mesh.nodes.reduce((all, node) => all + node[of], 0);
  const [free, total] = [sum('free_streams'), sum('total_streams')];
  const waiting = sum('waiting');
  return (
    <header class="top">
      <div class="top-name">
        <Mark />
        <h1 data-testid="mesh-name">{mesh.mesh}</h1>
        <span class={`feed feed-${store.feed}`} role="status" data-testid="feed">
          {feedText[store.feed]}
        </span>
      </div>
      <dl class="totals">
        <Total term="Leader" value={mesh.leader ?? 'none'} icon={mesh.leader !== null} />
        <Total term="Nodes" value={mesh.nodes.length} />
        <Total term="Rooms" value={rooms.length} />
        <Total term="Peers" value={sum('peers')} />
        {waiting > 0 && <Total term="Waiting" value={waiting} title="Joins that wait for a machine" />}
        <Total
          term="Free streams"
          value={`${free} of ${total}`}
          title={`${Math.round(load({ free_streams: free, total_streams: total }) * 100)} % in use`}
        />
      </dl>
      {store.api.hasToken && (
        <button type="button" class="button compact" onClick={() => store.unlock('')}>
          Forget the token
        </button>
      )}
    </header>
  );
}

function Total({
  term,
  value,
  title,
  icon = false,
}: {
  term: string;
  value: string | number;
  title?: string;
  icon?: boolean;
}) {
  return (
    <div title={title} data-testid={`total-${term.toLowerCase().replace(' ', '-')}`}>
      <dt>{term}</dt>
      <dd>
        {icon && <Icon name="crown" />}
        {value}
      </dd>
    </div>
  );
}

/** Before anything is known. */
function Waiting({ store }: { store: Store }) {
  const offline = store.feed === 'offline';
  return (
    <main class="alone" aria-live="polite">
      {offline ? <Icon name="warning" /> : <span class="spinner" aria-hidden="true" />}
      <h1>{offline ? 'The node does not answer' : 'Looking at the mesh …'}</h1>
      {offline && <p class="dim">{store.problem}. It is asked again every two seconds.</p>}
    </main>
  );
}

/** Asks for the operator's token. */
function Unlock({ store }: { store: Store }) {
  const [token, setToken] = useState('');
  return (
    <main class="alone">
      <Mark />
      <h1>Operator token</h1>
      <p class="dim">This mesh shows itself only to its operators. The token is forgotten when this tab is closed.</p>
      {store.problem && (
        <p class="note bad" role="alert">
          <Icon name="warning" />
          <span>{store.problem}</span>
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (token.trim()) store.unlock(token);
        }}
      >
        <input
          class="input"
          type="password"
          data-testid="operator-token"
          aria-label="Operator token"
          placeholder="Token"
          autocomplete="off"
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        <button type="submit" class="button primary" data-testid="operator-unlock" disabled={!token.trim()}>
          Show the mesh
        </button>
      </form>
    </main>
  );
}
