import { Device as MediasoupDevice } from 'mediasoup-client';
import type { Notification, ServerRequest } from '../protocol.js';
import { connectUrl, type ConnectParameters } from './endpoints.js';
import type { ConnectionLost } from './errors.js';
import type { Protoo } from './protoo.js';
import type { RoomOptions } from './room-types.js';
import { Session, type Welcome } from './session.js';

/** One connection as the room knows it, which hears from its node before its session is made. */
export interface Line {
  /** Whether it is to replace another one that still stands. */
  moving: boolean;
  session: Session | undefined;
  welcome: Welcome | undefined;
}

/** What lines tell their room. */
export interface LineHandlers {
  /** The node asks; resolve to accept, throw to reject. */
  asked(session: Session, request: ServerRequest): Promise<void>;
  /** The node tells. */
  told(line: Line, notification: Notification): void;
  /** The connection broke, or the node closed it. */
  lost(session: Session, lost: ConnectionLost): void;
}

/** Makes a room's connections, and closes those that have no session yet when the room is closed. */
export class Lines {
  readonly #options: RoomOptions;
  readonly #who: { room: string; peer: string };
  readonly #handlers: LineHandlers;
  readonly #lines = new WeakMap<Session, Line>();
  /** Connections without a session yet. */
  readonly #opening = new Set<Protoo>();
  #closed = false;

  constructor(options: RoomOptions, who: { room: string; peer: string }, handlers: LineHandlers) {
    this.#options = options;
    this.#who = who;
    this.#handlers = handlers;
  }

  /** Dials and makes transports. */
  async dial(endpoint: string, wishes: Partial<ConnectParameters>): Promise<Session> {
    const { token, createDevice = () => MediasoupDevice.factory(), WebSocket = globalThis.WebSocket } = this.#options;
    const line: Line = { moving: wishes.move !== undefined, session: undefined, welcome: undefined };
    let dialled: Protoo | undefined;
    const opening = Session.open(
      {
        url: connectUrl(endpoint, { ...wishes, ...this.#who, token }),
        WebSocket,
        createDevice,
        forceTcp: this.#options.forceTcp ?? false,
        iceServers: this.#options.iceServers,
        dialled: (protoo) => {
          dialled = protoo;
          this.#opening.add(protoo);
          if (this.#closed) protoo.close();
        },
      },
      {
        request: async (request) => this.#handlers.asked(await opening, request),
        notification: (notification) => this.#handlers.told(line, notification),
        closed: (lost) => void opening.then((session) => this.#handlers.lost(session, lost)),
      },
    );
    const session = await opening.finally(() => dialled && this.#opening.delete(dialled));
    line.session = session;
    this.#lines.set(session, line);
    return session;
  }

  /** What the node of a session told first; undefined until it has. */
  welcome(session: Session): Welcome | undefined {
    return this.#lines.get(session)?.welcome;
  }

  /** Gives up all that have no session yet, and any that are dialled later. */
  close(): void {
    this.#closed = true;
    for (const protoo of this.#opening) protoo.close();
  }
}
