/** How long to wait between attempts. */
export interface BackoffOptions {
  /** The first wait, in milliseconds. */
  first?: number;
  /** No wait is longer, in milliseconds. */
  max?: number;
  /** Each wait is this many times the one before. */
  factor?: number;
  /** The share of each wait that is random, 0 to 1, so that clients of a lost node do not return all at once. */
  jitter?: number;
  /** Where randomness comes from: 0 up to, but not including, 1. */
  random?: () => number;
}

/** Exponential back-off with jitter. */
export class Backoff {
  readonly #first: number;
  readonly #max: number;
  readonly #factor: number;
  readonly #jitter: number;
  readonly #random: () => number;
  #round = 0;

  /** Makes a back-off that has not waited yet. */
  constructor({ first = 500, max = 8000, factor = 2, jitter = 0.5, random = Math.random }: BackoffOptions = {}) {
    this.#first = first;
    this.#max = max;
    this.#factor = factor;
    this.#jitter = jitter;
    this.#random = random;
  }

  /** The next wait, in milliseconds. */
  next(): number {
    const whole = Math.min(this.#max, this.#first * this.#factor ** this.#round++);
    return Math.round(whole * (1 - this.#jitter * this.#random()));
  }

  /** A short random wait that does not count as a round: for another node that has not been tried yet. */
  short(): number {
    return Math.round(this.#first * 0.3 * this.#random());
  }

  /** Starts over. */
  reset(): void {
    this.#round = 0;
  }
}
