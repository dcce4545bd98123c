import { Backoff, type BackoffOptions } from './backoff.js';
import type { Endpoints } from './endpoints.js';
import { ConnectionLost, RequestError, RoomClosed } from './errors.js';
import { CLOSE_FOR_GOOD } from './protoo.js';
import type { Session } from './session.js';

/** How persistently to dial. A round is one attempt at each known endpoint. */
export interface RetryOptions extends BackoffOptions {
  /** How many rounds the first join may take; 4 where it is not given. */
  joinRounds?: number;
  /** How many rounds a reconnection may take; 40, some minutes, where it is not given. */
  reconnectRounds?: number;
}

/** Whether dialling again, anywhere, is of no use. */
export function isFinal(error: unknown): boolean {
  if (error instanceof RoomClosed) return true;
  if (error instanceof ConnectionLost) return error.code === CLOSE_FOR_GOOD;
  if (error instanceof RequestError) return error.final;
  // A browser without WebRTC, or a router that it has no codec in common with.
  return error instanceof Error && error.name === 'UnsupportedError';
}

/** Dials one endpoint after the other until a session stands. */
export class Connector {
  readonly #endpoints: Endpoints;
  readonly #retry: RetryOptions;
  readonly #backoff: Backoff;
  #wake: (() => void) | undefined;
  #stopped = false;

  constructor(endpoints: Endpoints, retry: RetryOptions) {
    this.#endpoints = endpoints;
    this.#retry = retry;
    this.#backoff = new Backoff(retry);
  }

  /**
   * Opens a session, at the current endpoint first.
   *
   * @param open makes one attempt
   * @param failed told of each attempt that failed
   */
  async connect(
    first: boolean,
    open: (endpoint: string) => Promise<Session>,
    failed: (error: unknown, endpoint: string) => void,
  ): Promise<Session> {
    const rounds = first ? (this.#retry.joinRounds ?? 4) : (this.#retry.reconnectRounds ?? 40);
    this.#backoff.reset();
    this.#stopped = false;
    // Clients that lost the same node do not arrive at the next one in the same instant.
    if (!first) await this.#wait(this.#backoff.short());
    for (let round = 1, tried = 0; ; ) {
      if (this.#stopped) throw new RoomClosed('left');
      const endpoint = this.#endpoints.current;
      try {
        const session = await open(endpoint);
        if (!this.#stopped) return session;
        session.close();
        throw new RoomClosed('left');
      } catch (error) {
        failed(error, endpoint);
        if (isFinal(error)) throw error;
        this.#endpoints.advance();
        tried += 1;
        if (tried < this.#endpoints.all.length) {
          await this.#wait(this.#backoff.short());
          continue;
        }
        if (++round > rounds) throw error;
        tried = 0;
        await this.#wait(this.#backoff.next());
      }
    }
  }

  /**
   * Opens a session at the first endpoint where one can be had, each tried once, the current one first. Which one is
   * current stays as it is.
   *
   * @param wanted whether it still is, asked before each further one
   * @param instead where to dial where the node of the current one goes: that is left out then, and another is current
   */
  async once(
    open: (endpoint: string) => Promise<Session>,
    wanted: () => boolean,
    instead: readonly string[] = [],
  ): Promise<Session> {
    const { current, all } = this.#endpoints;
    const order = instead.length
      ? this.#endpoints.instead(instead)
      : [current, ...all.filter((one) => one !== current)];
    let problem: unknown;
    for (const endpoint of order) {
      try {
        const session = await open(endpoint);
        if (instead.length) this.#endpoints.use(endpoint);
        return session;
      } catch (error) {
        problem = error;
        if (isFinal(error) || !wanted()) break;
      }
    }
    throw problem;
  }

  /** Dials right now instead of waiting longer. */
  wake(): void {
    this.#wake?.();
  }

  /** Gives up dialling. */
  stop(): void {
    this.#stopped = true;
    this.wake();
  }

  #wait(milliseconds: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
