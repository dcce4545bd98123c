import type { MachineState, NodeStatus, Scaling, ScalingMachine } from '../protocol.js';
import { count } from '../ui/format.js';

/** What the mesh is about, in a word or two, and how worrying that is. */
export interface Mood {
  text: string;
  kind: 'alarm' | 'growing' | 'shrinking' | 'full' | 'steady';
}

/** What the mesh is about. */
export function mood(scaling: Scaling, nodes: readonly Pick<NodeStatus, 'state'>[]): Mood {
  const has = (...states: MachineState[]) => scaling.machines.some(({ state }) => states.includes(state));
  if (scaling.alarm !== null) return { text: 'Needs a look', kind: 'alarm' };
  if (has('starting') || scaling.booting_streams > 0) return { text: 'Growing', kind: 'growing' };
  if (missing(scaling) > 0 && !scaling.grows) return { text: 'At its ceiling', kind: 'full' };
  if (has('draining', 'ending') || nodes.some(({ state }) => state === 'draining')) return { text: 'Shrinking', kind: 'shrinking' };
  return { text: 'Steady', kind: 'steady' };
}

/** How many streams should be free and are neither that nor on their way. */
function missing({ wanted_streams, free_streams, booting_streams }: Scaling): number {
  return Math.max(0, wanted_streams - free_streams - booting_streams);
}

/** The plan, in a sentence. */
export function plan(scaling: Scaling): string {
  const { wanted_streams, free_streams, booting_streams } = scaling;
  const way = booting_streams > 0 ? `, ${booting_streams} more are on their way` : '';
  const lacks = missing(scaling);
  const end = lacks > 0 ? `${way}, and ${lacks} are missing.` : `${way}.`;
  return `${count(wanted_streams, 'stream')} should be free: ${free_streams} are${end}`;
}

/** How many nodes there are, and may be. */
export function bounds({ min_nodes, max_nodes }: Scaling, nodes: number): string {
  // A leader of an earlier version does not say.
  if (max_nodes === 0) return count(nodes, 'node');
  return min_nodes === max_nodes ? `${nodes} of ${max_nodes} nodes` : `${count(nodes, 'node')}, of ${min_nodes} to ${max_nodes}`;
}

/** A step's text in two: what was done, and why. */
export function step(text: string): { what: string; why: string } {
  const at = text.indexOf(': ');
  const [what, why] = at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 2)];
  return { what: what.charAt(0).toUpperCase() + what.slice(1), why };
}

/** A time of the past: of day, with the date where that is another. */
export function when(at: number, now: number): string {
  const [then, today] = [new Date(at), new Date(now)];
  const time = then.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  if (then.toDateString() === today.toDateString()) return time;
  return `${then.toLocaleDateString([], { day: 'numeric', month: 'short' })}, ${time}`;
}

/** A length of time, in its largest unit. */
export function span(seconds: number): string {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 100) return `${Math.round(minutes)} min`;
  const hours = minutes / 60;
  return hours < 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} d`;
}

/** How a machine is, in words. */
export function state({ state: now, age_s }: ScalingMachine): string {
  switch (now) {
    case 'starting':
      return `starting for ${span(age_s)}`;
    case 'serving':
      return `up for ${span(age_s)}`;
    case 'ending':
      return 'about to be gone';
    default:
      return now;
  }
}
