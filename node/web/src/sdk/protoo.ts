import type { ClientMethods, Notification, ServerRequest } from '../protocol.js';
import { ConnectionLost, RequestError, RequestTimeout } from './errors.js';

/** The close code after which a client does not dial again. */
export const CLOSE_FOR_GOOD = 4000;

/** How long a request may stay unanswered, in milliseconds. */
export const REQUEST_TIMEOUT = 20_000;

/** How long a WebSocket may take to open, in milliseconds. */
export const DIAL_TIMEOUT = 6_000;

/** The part of a WebSocket that is used here, so that tests can bring their own. */
export interface Socket {
  /** As of WebSocket. */
  readonly readyState: number;
  /** As of WebSocket. */
  onopen: ((event: never) => void) | null;
  /** As of WebSocket. */
  onmessage: ((event: never) => void) | null;
  /** As of WebSocket. */
  onclose: ((event: never) => void) | null;
  /** As of WebSocket. */
  send(text: string): void;
  /** As of WebSocket. */
  close(code?: number, reason?: string): void;
}

/** What makes a socket: the browser's `WebSocket`, or something like it. */
export type SocketFactory = new (url: string, protocol: string) => Socket;

/** A frame as it came, checked for its form only. */
export type Frame =
  | { kind: 'request'; id: number; method: string; data: unknown }
  | { kind: 'success'; id: number; data: unknown }
  | { kind: 'failure'; id: number; code: number; reason: string }
  | { kind: 'notification'; method: string; data: unknown };

/** Reads a text frame; undefined when it is not protoo. */
export function parseFrame(text: unknown): Frame | undefined {
  if (typeof text !== 'string') return undefined;
  let frame: Record<string, unknown>;
  try {
    frame = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  if (typeof frame !== 'object' || frame === null) return undefined;
  const { id, method } = frame;
  const data = frame['data'] ?? {};
  if (frame['notification'] === true) {
    return typeof method === 'string' ? { kind: 'notification', method, data } : undefined;
  }
  if (typeof id !== 'number') return undefined;
  if (frame['request'] === true) {
    return typeof method === 'string' ? { kind: 'request', id, method, data } : undefined;
  }
  if (frame['response'] !== true) return undefined;
  if (frame['ok'] === true) return { kind: 'success', id, data };
  const { errorCode, errorReason } = frame;
  return {
    kind: 'failure',
    id,
    code: typeof errorCode === 'number' ? errorCode : 500,
    reason: typeof errorReason === 'string' ? errorReason : '',
  };
}

/** What a connection tells its owner. */
export interface ProtooHandlers {
  /** The node asks; resolve to accept, throw to reject. */
  request(request: ServerRequest): Promise<void>;
  /** The node tells. */
  notification(notification: Notification): void;
  /** The socket closed, after it had been open, and not by `close()`. */
  closed(lost: ConnectionLost): void;
}

/** A request without an answer yet. */
export interface PendingRequest {
  /** Who asked. */
  by: 'client' | 'node';
  /** What for. */
  method: string;
  /** As it was sent. */
  data: unknown;
  /** When, as of Date.now(). */
  since: number;
}

interface Pending extends PendingRequest {
  resolve(data: unknown): void;
  reject(error: Error): void;
  timeout: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** One protoo connection. It is never dialled again: its owner makes another one. */
export class Protoo {
  readonly #socket: Socket;
  readonly #handlers: ProtooHandlers;
  readonly #pending = new Map<number, Pending>();
  /** What the node asked and has no answer to yet. */
  readonly #asked = new Set<PendingRequest>();
  #nextId = 1;
  #lost: ConnectionLost | undefined;
  #held = false;

  private constructor(socket: Socket, handlers: ProtooHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    // Set before the socket opens, because the node speaks first.
    socket.onmessage = (event: { data: unknown }) => this.#received(event.data);
  }

  /** Dials; settles when the socket is open or has failed. */
  static dial(
    url: string,
    handlers: ProtooHandlers,
    { WebSocket, timeout = DIAL_TIMEOUT }: { WebSocket: SocketFactory; timeout?: number },
  ): Promise<Protoo> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, 'protoo');
      const protoo = new Protoo(socket, handlers);
      const timer = setTimeout(() => {
        socket.onopen = socket.onclose = null;
        socket.close();
        reject(new ConnectionLost(1006, '', 'the node did not answer'));
      }, timeout);
      socket.onopen = () => {
        clearTimeout(timer);
        socket.onclose = (event: { code: number; reason: string }) => {
          const lost = new ConnectionLost(event.code, event.reason);
          if (protoo.#end(lost)) handlers.closed(lost);
        };
        resolve(protoo);
      };
      socket.onclose = (event: { code: number; reason: string }) => {
        clearTimeout(timer);
        reject(new ConnectionLost(event.code, event.reason, 'the node could not be reached, or refused the connection'));
      };
    });
  }

  /** Whether it is over. */
  get closed(): boolean {
    return this.#lost !== undefined;
  }

  /** All requests that wait for an answer, either way, to see what a client hangs on. */
  get pending(): readonly PendingRequest[] {
    const own = [...this.#pending.values()].map(({ by, method, data, since }) => ({ by, method, data, since }));
    return [...own, ...this.#asked];
  }

  /** Asks the node. Fails with RequestError, RequestTimeout or ConnectionLost. */
  request<M extends keyof ClientMethods>(
    method: M,
    data: ClientMethods[M]['data'],
    timeout = REQUEST_TIMEOUT,
  ): Promise<ClientMethods[M]['answer']> {
    if (this.#lost) return Promise.reject(this.#lost);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        by: 'client',
        method,
        data,
        since: Date.now(),
        resolve: resolve as (data: unknown) => void,
        reject,
        timeout,
        timer: undefined,
      };
      this.#pending.set(id, pending);
      this.#arm(id, pending);
      this.#send({ request: true, id, method, data });
    });
  }

  /**
   * Whether the node has said that it will answer later: until it is let go of, requests may stay unanswered for as long as
   * the socket stands, and then as long again as they may.
   */
  hold(held: boolean): void {
    if (this.#held === held) return;
    this.#held = held;
    for (const [id, pending] of this.#pending) this.#arm(id, pending);
  }

  #arm(id: number, pending: Pending): void {
    clearTimeout(pending.timer);
    if (this.#held) return;
    pending.timer = setTimeout(() => {
      this.#pending.delete(id);
      pending.reject(new RequestTimeout(pending.method, pending.timeout));
    }, pending.timeout);
  }

  /** Closes the socket; `closed` is not called. */
  close(code = 1000, reason = ''): void {
    if (this.#end(new ConnectionLost(code, reason))) this.#socket.close(code, reason);
  }

  #end(lost: ConnectionLost): boolean {
    if (this.#lost) return false;
    this.#lost = lost;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(lost);
    }
    this.#pending.clear();
    return true;
  }

  #send(frame: object): void {
    // A socket that is closing will tell so by itself; until then there is nobody to hear this.
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  #received(text: unknown): void {
    if (this.#lost) return;
    const frame = parseFrame(text);
    switch (frame?.kind) {
      case 'notification':
        this.#handlers.notification({ method: frame.method, data: frame.data } as Notification);
        break;
      case 'request':
        void this.#answer(frame);
        break;
      case 'success':
        this.#settle(frame.id)?.resolve(frame.data);
        break;
      case 'failure': {
        const pending = this.#settle(frame.id);
        pending?.reject(new RequestError(pending.method, frame.code, frame.reason));
        break;
      }
      default:
        console.warn('not a protoo frame', text);
    }
  }

  async #answer({ id, method, data }: { id: number; method: string; data: unknown }): Promise<void> {
    const asked: PendingRequest = { by: 'node', method, data, since: Date.now() };
    this.#asked.add(asked);
    try {
      await this.#handlers.request({ method, data } as ServerRequest);
      this.#send({ response: true, id, ok: true, data: {} });
    } catch (error) {
      const code = error instanceof RequestError ? error.code : 500;
      const reason = error instanceof Error ? error.message : String(error);
      this.#send({ response: true, id, ok: false, errorCode: code, errorReason: reason });
    } finally {
      this.#asked.delete(asked);
    }
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending) {
      this.#pending.delete(id);
      clearTimeout(pending.timer);
    }
    return pending;
  }
}
