import type { NodeStatus, Pipe } from '../protocol.js';

/** A place in the drawing. */
export interface Point {
  x: number;
  y: number;
}

/** Where nodes are drawn, and how large. */
export interface Ring {
  points: Point[];
  /** A node's radius. */
  radius: number;
  /** How high all of it is: more than there is, where there are many. */
  height: number;
}

/** The room that names below and signs above a node need. */
const BELOW = 50;
const ABOVE = 34;
/** The width of a name. */
const NAME = 112;

/** Puts nodes on an oval, or in rows when their names would run into each other there. */
export function ring(count: number, width: number, height: number): Ring {
  if (count === 0 || width <= 0 || height <= 0) return { points: [], radius: 0, height };
  const middle = { x: width / 2, y: (height - BELOW + ABOVE) / 2 };
  const largest = Math.min(46, width / 9, height / 6);
  if (count === 1) return { points: [middle], radius: Math.min(60, largest * 1.3), height };
  const horizontal = width / 2 - Math.max(largest, NAME / 2) - 8;
  const vertical = (height - ABOVE - BELOW) / 2 - largest;
  const points = Array.from({ length: count }, (_, index) => {
    // Two lie side by side; from three on the first is on top.
    const angle = (index / count) * 2 * Math.PI - (count === 2 ? Math.PI : Math.PI / 2);
    return { x: middle.x + Math.cos(angle) * horizontal, y: middle.y + Math.sin(angle) * vertical };
  });
  if (!crowded(points, largest)) return { points, radius: largest, height };
  const rows = Math.ceil(count / Math.max(2, Math.floor(width / (NAME + 12))));
  const columns = Math.ceil(count / rows);
  const radius = Math.min(30, largest);
  const cell = { x: width / columns, y: Math.max((height - ABOVE) / rows, 2 * radius + ABOVE + BELOW) };
  return {
    points: Array.from({ length: count }, (_, index) => {
      const row = Math.floor(index / columns);
      const inRow = row === rows - 1 ? count - row * columns : columns;
      return {
        x: width / 2 + ((index % columns) - (inRow - 1) / 2) * cell.x,
        y: ABOVE + radius + row * cell.y + (cell.y - 2 * radius - ABOVE - BELOW) / 2,
      };
    }),
    radius,
    height: Math.max(height, ABOVE + rows * cell.y),
  };
}

/** Whether any two nodes, with their names, get in each other's way. */
function crowded(points: readonly Point[], radius: number): boolean {
  const name = BELOW - 6;
  return points.some((one, index) =>
    points.slice(index + 1).some((other) => {
      const [x, y] = [Math.abs(one.x - other.x), Math.abs(one.y - other.y)];
      const names = x < NAME && y < name;
      const nameAndNode = x < NAME / 2 + radius && y < 2 * radius + name;
      return names || nameAndNode;
    }),
  );
}

/** A piece of a circle's line, from one share of the way round to another, 0 to 1, clockwise from the top. */
export function arc(centre: Point, radius: number, from: number, to: number): string {
  const at = (share: number) => {
    const angle = share * 2 * Math.PI - Math.PI / 2;
    return `${(centre.x + Math.cos(angle) * radius).toFixed(2)} ${(centre.y + Math.sin(angle) * radius).toFixed(2)}`;
  };
  // A whole circle has no beginning, and no line.
  const end = Math.min(to, from + 0.9999);
  return `M${at(from)}A${radius} ${radius} 0 ${end - from > 0.5 ? 1 : 0} 1 ${at(end)}`;
}

/** A worker's part of its node's ring: all of it, and what is in use. */
export interface Segment {
  from: number;
  to: number;
  used: number;
}

/** Cuts a node's ring into its workers. */
export function segments(node: Pick<NodeStatus, 'workers' | 'total_streams'>): Segment[] {
  const count = node.workers.length;
  if (count === 0) return [];
  const each = node.total_streams / count;
  const gap = count > 1 ? Math.min(0.02, 0.2 / count) : 0;
  return node.workers.map((free, index) => ({
    from: index / count + gap / 2,
    to: (index + 1) / count - gap / 2,
    used: each > 0 ? Math.min(1, Math.max(0, 1 - free / each)) : 0,
  }));
}

/** The share of a node that is in use, 0 to 1. */
export function load(node: Pick<NodeStatus, 'free_streams' | 'total_streams'>): number {
  if (node.total_streams <= 0) return 0;
  return Math.min(1, Math.max(0, 1 - node.free_streams / node.total_streams));
}

/** How worrying a load is. */
export function loadClass(share: number): 'low' | 'high' | 'full' {
  return share >= 0.9 ? 'full' : share >= 0.7 ? 'high' : 'low';
}

/** All pipes between two nodes, in one direction. */
export interface Link {
  from: string;
  to: string;
  /** How many pipes. */
  pipes: number;
  /** Of how many producers. */
  producers: number;
}

/** Gathers pipes into links between nodes; those inside a node are no links. */
export function links(pipes: readonly Pipe[]): Link[] {
  const found = new Map<string, { link: Link; producers: Set<string> }>();
  for (const { from, to, producer } of pipes) {
    if (from.node === to.node) continue;
    const key = `${from.node}\n${to.node}`;
    let entry = found.get(key);
    if (!entry) {
      entry = { link: { from: from.node, to: to.node, pipes: 0, producers: 0 }, producers: new Set() };
      found.set(key, entry);
    }
    entry.link.pipes += 1;
    entry.link.producers = entry.producers.add(producer).size;
  }
  return [...found.values()].map(({ link }) => link);
}

/** A curve from the rim of one node to the rim of another, bent to its right, so that both directions can be seen. */
export function curve(from: Point, to: Point, radius: number): { path: string; middle: Point } {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  const [ux, uy] = [dx / length, dy / length];
  const bend = Math.min(60, length * 0.16);
  const control = { x: (from.x + to.x) / 2 - uy * bend, y: (from.y + to.y) / 2 + ux * bend };
  const rim = (node: Point, gap: number) => {
    const [cx, cy] = [control.x - node.x, control.y - node.y];
    const distance = Math.hypot(cx, cy) || 1;
    return { x: node.x + (cx / distance) * gap, y: node.y + (cy / distance) * gap };
  };
  // The head of the arrow needs a little more air than its tail.
  const [start, end] = [rim(from, radius + 5), rim(to, radius + 11)];
  const point = ({ x, y }: Point) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  return {
    path: `M${point(start)}Q${point(control)} ${point(end)}`,
    middle: {
      x: start.x / 4 + control.x / 2 + end.x / 4,
      y: start.y / 4 + control.y / 2 + end.y / 4,
    },
  };
}
