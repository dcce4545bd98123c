import type { Move as MoveRequest, PeerInfo } from '../protocol.js';
import { RequestError } from './errors.js';
import type { Session } from './session.js';

/** How patient a move is. */
export interface MoveOptions {
  /** How long what is received may take to flow on the new host before the old one is left all the same; 5000 ms. */
  limit?: number;
  /** How long both go on once all flows, so that the others can change over as well; 2000 ms. */
  overlap?: number;
  /**
   * For how long a track has to arrive another way as well as it did before it is shown that way, whoever moves: decoders
   * often stand still for a moment after their first picture; 500 ms.
   */
  settle?: number;
}

/** What a move is about. */
export interface MoveDetails {
  /** The host that the client moves to. */
  host: string;
  /** Why, in words: why it moves, or why it failed. */
  reason: string;
}

/** How often to look whether all flows, in milliseconds. */
const LOOK_EVERY = 50;
/** How long what was sent last over the old data channels may take to arrive, in milliseconds. */
const FLUSH = 300;

/** What a move needs of its room. */
export interface MoveParts {
  /** The session to leave. */
  old: Session;
  /** Opens the other session, with the token. */
  dial(token: string): Promise<Session>;
  /** Enters the room with it; from then on subscriptions come over both. */
  join(next: Session): Promise<PeerInfo[]>;
  /** Takes in who is there. */
  joined(present: PeerInfo[]): void;
  /** Publishes everything over it as well. */
  extend(next: Session): Promise<void>;
  /** Whether nothing that is received is still waited for. */
  flows(next: Session): boolean;
  /** Whether everything that is published is on its way. */
  sends(next: Session): Promise<boolean>;
  /** How much has arrived over the old session so far. */
  arrived(): Promise<number>;
  /** Whether anything has arrived over the new one. */
  delivers(next: Session): boolean;
  /** The new session is the room's from now on. */
  commit(next: Session): void;
  /** A session that is not the room's has ended, or is to. */
  release(session: Session): void;
}

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/**
 * A move to another host, without a gap: the new connection is made and everything flows there before the old one is
 * let go. Until then nothing has changed, and whatever goes wrong leaves the client where it is.
 */
export class Move {
  readonly #parts: MoveParts;
  readonly #request: MoveRequest;
  readonly #options: MoveOptions;
  /** Set once it is decided how it ends. */
  #outcome: 'committed' | 'hurried' | Error | undefined;
  #next: Session | undefined;
  #joined = false;
  #released = false;
  /** Ends every wait. */
  #wake: () => void = () => {};
  readonly #woken = new Promise<void>((resolve) => (this.#wake = resolve));

  constructor(request: MoveRequest, parts: MoveParts, options: MoveOptions = {}) {
    this.#request = request;
    this.#parts = parts;
    this.#options = options;
  }

  /** Where to, and why. */
  get details(): MoveDetails {
    return { host: this.#request.host, reason: this.#request.reason };
  }

  /** The new session, once it has entered the room, while both stand. */
  get next(): Session | undefined {
    return this.#joined && !this.#released ? this.#next : undefined;
  }

  /** Moves. Fails when the client stays where it is. */
  async run(): Promise<void> {
    const end = Date.now() + this.#request.seconds * 1000;
    try {
      const next = await this.#open(end);
      await this.#within(end, this.#parts.extend(next));
      await this.#settle(next, Math.min(end, Date.now() + (this.#options.limit ?? 5_000)));
      this.#commit(next, 'committed');
    } catch (error) {
      if (this.#outcome === 'hurried') return this.finish();
      this.cancel(error instanceof Error ? error : new Error(String(error)));
      throw this.#outcome;
    }
    if (this.#outcome === 'committed') await Promise.race([sleep(FLUSH), this.#woken]);
    this.finish();
  }

  /** The old session is gone. Answers whether the new one is there to take its place, as it does then. */
  hurry(): boolean {
    if (!this.#next || !this.#joined || this.#outcome) return false;
    this.#commit(this.#next, 'hurried');
    this.finish();
    return true;
  }

  /** The client stays where it is, unless it has moved already. */
  cancel(why: Error): void {
    if (this.#outcome) return;
    this.#outcome = why;
    this.#wake();
    if (this.#next) this.#release(this.#next);
  }

  /** Lets go of what has been left. */
  finish(): void {
    if (this.#outcome instanceof Error) return;
    this.#release(this.#parts.old);
    this.#wake();
  }

  /** Whether a session is the new one, and not yet the room's. */
  isNext(session: Session): boolean {
    return session === this.#next && !this.#outcome;
  }

  async #open(end: number): Promise<Session> {
    const dialling = this.#parts.dial(this.#request.token);
    // It may come to stand when nobody wants it any more.
    dialling.then((session) => session !== this.#next && this.#outcome && session.close()).catch(() => {});
    const next = await this.#within(end, dialling);
    this.#next = next;
    if (this.#outcome) this.#release(next);
    this.#check();
    const present = await this.#within(end, this.#parts.join(next));
    this.#joined = true;
    this.#parts.joined(present);
    return next;
  }

  /** Waits until everything flows; fails when nothing does. */
  async #settle(next: Session, end: number): Promise<void> {
    const { flows, sends, arrived, delivers } = this.#parts;
    const before = await arrived();
    for (;;) {
      this.#check();
      if (flows(next) && (await sends(next))) break;
      if (Date.now() >= end) {
        if (!delivers(next) && (await arrived()) > before) throw new Error('nothing arrives from the other host');
        if (next.send.connectionState === 'failed') throw new Error('there is no path to the other host');
        break;
      }
      await Promise.race([sleep(LOOK_EVERY), this.#woken]);
    }
    await Promise.race([sleep(this.#options.overlap ?? 2_000), this.#woken]);
    this.#check();
  }

  #check(): void {
    if (this.#outcome instanceof Error) throw this.#outcome;
    if (this.#outcome) throw new Error('the old connection was quicker to end');
  }

  #commit(next: Session, how: 'committed' | 'hurried'): void {
    if (this.#outcome) return;
    this.#outcome = how;
    this.#parts.commit(next);
    if (how === 'hurried') this.#wake();
  }

  #release(session: Session): void {
    if (this.#released) return;
    this.#released = true;
    this.#parts.release(session);
  }

  async #within<T>(end: number, promise: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new RequestError('move', 408, 'it took too long')), Math.max(0, end - Date.now()));
    });
    const stopped = this.#woken.then((): never => {
      this.#check();
      throw new Error('the move was ended');
    });
    promise.catch(() => {});
    stopped.catch(() => {});
    try {
      return await Promise.race([promise, late, stopped]);
    } finally {
      clearTimeout(timer);
    }
  }
}
