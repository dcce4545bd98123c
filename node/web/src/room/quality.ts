import type { Layers, SubscriptionScore } from '../sdk/index.js';

/** The height of the largest layer that cameras send, as far as anyone can know. */
const FULL_HEIGHT = 720;

/**
 * The layers that are worth receiving for a tile of this size: the smallest spatial one that the tile does not blow up
 * by much, and for a thumbnail not every picture of it.
 *
 * @param available how many layers there are
 * @param ratio the screen's pixels for each CSS pixel
 */
export function layersFor(height: number, available: Layers, ratio = 1): Layers {
  // Beyond two, no eye sees the difference at a call's distance, but the network does.
  const wanted = height * Math.min(ratio, 2) * 0.75;
  let spatial = 0;
  while (spatial < available.spatial - 1 && FULL_HEIGHT / 2 ** (available.spatial - 1 - spatial) < wanted) spatial++;
  const temporal = height < 100 ? Math.min(1, available.temporal - 1) : available.temporal - 1;
  return { spatial, temporal };
}

/** How good a connection is: 3 good, 2 fair, 1 poor, 0 nothing arrives; undefined while nobody knows. */
export function bars(score: SubscriptionScore | number | undefined): number | undefined {
  if (score === undefined) return undefined;
  const worst = typeof score === 'number' ? score : Math.min(score.score, score.producerScore);
  if (worst >= 8) return 3;
  if (worst >= 5) return 2;
  return worst > 0 ? 1 : 0;
}

/** The same, in a word. */
export function barsText(value: number | undefined): string {
  return value === undefined ? 'Connection' : `Connection: ${['lost', 'poor', 'fair', 'good'][value] ?? ''}`;
}
