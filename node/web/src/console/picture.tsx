import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { MeshStatus, NodeStatus, RoomDetail } from '../protocol.js';
import { count } from '../ui/format.js';
import { drawings } from '../ui/icons.js';
import { arc, curve, links, load, loadClass, ring, segments, type Point } from './shape.js';

/** The nodes as a drawing, with the pipes of the chosen room between them. */
export function MeshPicture({
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
  const frame = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const element = frame.current;
    if (!element) return;
    const measure = () => setSize({ width: element.clientWidth, height: element.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, []);
  const { points, radius, height } = ring(mesh.nodes.length, size.width, size.height);
  const places = new Map(mesh.nodes.map((node, index) => [node.id, points[index] ?? { x: 0, y: 0 }]));
  return (
    <figure class="picture">
      <div class="picture-frame" ref={frame}>
        <svg
        width={size.width}
        height={height}
        viewBox={`0 0 ${size.width} ${height}`}
        role="group"
        aria-label={`${count(mesh.nodes.length, 'node')}${detail ? `, and the pipes of room ${detail.id}` : ''}`}
        data-testid="picture"
      >
        <defs>
          <marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="5" markerHeight="5" orient="auto">
            <path d="M0.5 0.5L7.5 4L0.5 7.5z" class="link-head" />
          </marker>
        </defs>
        {!detail && <Threads points={points} />}
        {detail && <Pipes detail={detail} places={places} radius={radius} />}
        {mesh.nodes.map((node) => (
          <NodeMark
            key={node.id}
            node={node}
            at={places.get(node.id) ?? { x: 0, y: 0 }}
            radius={radius}
            mesh={mesh}
            detail={detail}
            chosen={node.id === chosen}
            choose={() => choose(node.id === chosen ? undefined : node.id)}
          />
        ))}
      </svg>
      </div>
      <figcaption>
        <span class="key key-low">in use</span>
        <span class="key key-high">from 70 %</span>
        <span class="key key-full">from 90 %</span>
        {detail && <span class="key key-pipe">producers piped</span>}
      </figcaption>
    </figure>
  );
}

/** Every node is connected to every other; more than a few of these lines would be a grey cloud. */
function Threads({ points }: { points: Point[] }) {
  if (points.length > 12) return null;
  return (
    <g class="threads">
      {points.flatMap((from, index) =>
        points
          .slice(index + 1)
          .map((to, other) => <line key={`${index}-${other}`} x1={from.x} y1={from.y} x2={to.x} y2={to.y} />),
      )}
    </g>
  );
}

function Pipes({ detail, places, radius }: { detail: RoomDetail; places: Map<string, Point>; radius: number }) {
  const found = links(detail.pipes);
  const most = Math.max(1, ...found.map(({ pipes }) => pipes));
  return (
    <g class="pipes">
      {found.map((link) => {
        const [from, to] = [places.get(link.from), places.get(link.to)];
        // A node that died a moment ago has no place any more.
        if (!from || !to) return null;
        const { path, middle } = curve(from, to, radius);
        return (
          <g key={`${link.from} ${link.to}`} data-testid="link" data-from={link.from} data-to={link.to}>
            <title>{`${count(link.producers, 'producer')} from ${link.from} to ${link.to} (${count(link.pipes, 'pipe')})`}</title>
            <path class="link" d={path} stroke-width={1.5 + (2.5 * link.pipes) / most} marker-end="url(#head)" />
            <path class="link-flow" d={path} />
            <circle class="link-count" cx={middle.x} cy={middle.y} r="12" />
            <text class="link-text" x={middle.x} y={middle.y} dy="0.35em">
              {link.producers}
            </text>
          </g>
        );
      })}
    </g>
  );
}

function NodeMark({
  node,
  at,
  radius,
  mesh,
  detail,
  chosen,
  choose,
}: {
  node: NodeStatus;
  at: Point;
  radius: number;
  mesh: MeshStatus;
  detail: RoomDetail | undefined;
  chosen: boolean;
  choose: () => void;
}) {
  const share = load(node);
  const hosted = detail?.peers.filter(({ host }) => host === node.id).length ?? 0;
  const home = detail?.home === node.id;
  const aside = detail !== undefined && hosted === 0 && !home && !detail.hosts.includes(node.id);
  const signs: ['crown' | 'home', string][] = [];
  if (node.id === mesh.leader) signs.push(['crown', 'leader']);
  if (home) signs.push(['home', 'home']);
  const width = Math.max(4, radius * 0.17);
  const classes = ['node', `node-${node.state}`, aside ? 'aside' : '', chosen ? 'chosen' : ''];
  const label = `${node.id}, ${node.state}, ${Math.round(share * 100)} % in use, ${count(node.peers, 'peer')}`;
  return (
    <g
      class={classes.filter(Boolean).join(' ')}
      role="button"
      tabIndex={0}
      aria-label={label}
      aria-pressed={chosen}
      data-testid="node"
      data-node={node.id}
      data-state={node.state}
      onClick={choose}
      onKeyDown={(event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        choose();
      }}
    >
      <circle class="node-back" cx={at.x} cy={at.y} r={radius} />
      {segments(node).map(({ from, to, used }, index) => (
        <g key={index} class={`segment-${loadClass(used)}`}>
          <path class="segment" d={arc(at, radius, from, to)} stroke-width={width} />
          {used > 0.004 && (
            <path class="segment-used" d={arc(at, radius, from, from + (to - from) * used)} stroke-width={width} />
          )}
        </g>
      ))}
      {radius >= 20 && (
        <>
          <text class="node-number" x={at.x} y={at.y} dy="0.05em" font-size={radius * 0.52}>
            {detail ? hosted : node.peers}
          </text>
          <text class="node-unit" x={at.x} y={at.y + radius * 0.42} font-size={Math.max(9, radius * 0.24)}>
            {detail ? 'in room' : node.peers === 1 ? 'peer' : 'peers'}
          </text>
        </>
      )}
      <text class="node-name" x={at.x} y={at.y + radius + width + 14}>
        {shortened(node.id)}
      </text>
      {radius >= 16 && (
        <text class="node-sub" x={at.x} y={at.y + radius + width + 29}>
          {node.state === 'alive' ? [node.region, node.zone.replace(node.region, '')].filter(Boolean).join('·') : node.state}
        </text>
      )}
      {signs.map(([icon, text], index) => (
        <g
          key={icon}
          class="node-sign"
          transform={`translate(${at.x + (index - (signs.length - 1) / 2) * 66} ${at.y - radius - width - 6})`}
        >
          <path d={drawings[icon]} transform="translate(-30 -12.5) scale(0.62)" />
          <text x="7">{text}</text>
        </g>
      ))}
    </g>
  );
}

/** The ends of a name tell it apart more often than its middle. */
function shortened(name: string): string {
  return name.length > 15 ? `${name.slice(0, 6)}…${name.slice(-7)}` : name;
}
