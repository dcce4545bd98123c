import { useEffect, useRef } from 'preact/hooks';
import type { MeshStatus, NodeStatus, RoomDetail } from '../protocol.js';
import { count } from '../ui/format.js';
import { Icon } from '../ui/icons.js';
import { load, loadClass, segments } from './shape.js';

/** One card for each node, with its figures. */
export function NodeCards({
  mesh,
  detail,
  chosen,
  choose,
}: {
  mesh: MeshStatus;
  detail: RoomDetail | undefined;
  chosen: string | undefined;
  choose: (node: string | undefined) => void;
}) {
  return (
    <ul class="cards">
      {mesh.nodes.map((node) => (
        <Card
          key={node.id}
          node={node}
          leader={node.id === mesh.leader}
          answering={node.id === mesh.node}
          home={node.id === detail?.home}
          chosen={node.id === chosen}
          choose={() => choose(node.id === chosen ? undefined : node.id)}
        />
      ))}
    </ul>
  );
}

function Card({
  node,
  leader,
  answering,
  home,
  chosen,
  choose,
}: {
  node: NodeStatus;
  leader: boolean;
  answering: boolean;
  home: boolean;
  chosen: boolean;
  choose: () => void;
}) {
  const element = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (chosen) element.current?.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
  }, [chosen]);
  return (
    <li ref={element} class={`card card-${node.state} ${chosen ? 'chosen' : ''}`} data-testid="node-card" data-node={node.id}>
      <header>
        <button type="button" class="card-name" aria-pressed={chosen} onClick={choose}>
          {node.id}
        </button>
        <span class={`chip chip-${node.state}`}>{node.state}</span>
      </header>
      <p class="card-tags">
        {leader && (
          <span>
            <Icon name="crown" /> leader
          </span>
        )}
        {home && (
          <span>
            <Icon name="home" /> home
          </span>
        )}
        {answering && <span>this console</span>}
        <span>{node.role}</span>
        {node.region && <span>{[node.region, node.zone].filter(Boolean).join(' / ')}</span>}
      </p>
      <Meter label={`${node.free_streams} of ${node.total_streams} streams free`} share={load(node)} />
      <div class="workers">
        {segments(node).map(({ used }, index) => (
          <Meter key={index} label={`Worker ${index}: ${node.workers[index] ?? 0} free`} share={used} small />
        ))}
      </div>
      <p class="card-figures">
        <span>{count(node.peers, 'peer')}</span>
        <span>home of {count(node.rooms, 'room')}</span>
        {node.waiting > 0 && <span class="card-waiting">{node.waiting} waiting</span>}
      </p>
      <p class="card-address">
        <a href={`${node.url.replace(/\/$/, '')}/console`} class="mono">
          {node.url.replace(/^https?:\/\//, '')}
        </a>
        <span class="dim">{node.version}</span>
      </p>
    </li>
  );
}

function Meter({ label, share, small = false }: { label: string; share: number; small?: boolean }) {
  const bar = useRef<HTMLSpanElement>(null);
  useEffect(() => bar.current?.style.setProperty('--share', share.toFixed(3)), [share]);
  return (
    <div class={`meter meter-${loadClass(share)} ${small ? 'meter-small' : ''}`} title={label}>
      <div role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)}>
        <span ref={bar} />
      </div>
      {!small && <small>{label}</small>}
    </div>
  );
}
