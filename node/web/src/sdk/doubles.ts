/** For how long a message may be behind the same one that came another way, in milliseconds. */
const BEHIND = 3_000;

type Message = string | ArrayBuffer;

interface Seen {
  data: Message;
  at: number;
}

function same(a: Message, b: Message): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  if (a.byteLength !== b.byteLength) return false;
  const [left, right] = [new Uint8Array(a), new Uint8Array(b)];
  return left.every((byte, index) => byte === right[index]);
}

/**
 * While this client moves, everything that others send over data channels comes twice, over the old connection and over
 * the new one. Whichever is quicker counts, so that nothing is lost and nothing is told twice.
 */
export class Doubles {
  /** What came one way and not yet the other, by channel and way. */
  readonly #channels = new Map<string, Map<string, Seen[]>>();

  /** A channel's messages come this way, too. */
  add(channel: string, way: string): void {
    let ways = this.#channels.get(channel);
    if (!ways) this.#channels.set(channel, (ways = new Map()));
    ways.set(way, []);
  }

  /** They no longer do. */
  remove(channel: string, way: string): void {
    const ways = this.#channels.get(channel);
    ways?.delete(way);
    if (ways?.size === 0) this.#channels.delete(channel);
  }

  /** Whether a message that came this way is news. */
  isNew(channel: string, way: string, data: Message, at = Date.now()): boolean {
    const ways = this.#channels.get(channel);
    const own = ways?.get(way);
    if (!ways || !own || ways.size < 2) return true;
    for (const [other, seen] of ways) {
      if (other === way) continue;
      const index = seen.findIndex((one) => at - one.at < BEHIND && same(one.data, data));
      if (index < 0) continue;
      seen.splice(index, 1);
      return false;
    }
    while (own[0] && at - own[0].at >= BEHIND) own.shift();
    own.push({ data, at });
    return true;
  }
}
