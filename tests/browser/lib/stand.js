// How long a picture may stand still.

/** The longest that a move may add to that, in milliseconds, at who is moved and at who sees it. */
const GAP = 200;

/** The longest in a move, where pictures stand still for `rest` at most without one: the machine does all this at once. */
export function longestStand(rest) {
  return GAP + 3 * rest;
}
