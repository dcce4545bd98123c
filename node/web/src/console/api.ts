import type { ApiError, Event, MeshStatus, RoomDetail, Rooms, Scaling } from '../protocol.js';
import { SseParser } from './sse.js';

const TOKEN = 'skein.operator-token';

/** The node did not give what was asked for. */
export class ApiProblem extends Error {
  /** HTTP status; 0 where there was no answer at all. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'ApiProblem';
    this.status = status;
  }
}

/** The operator API of the node that served the page. */
export class Api {
  #token = '';

  constructor() {
    try {
      // For as long as the tab: an operator's token is no thing to leave on a disk.
      this.#token = sessionStorage.getItem(TOKEN) ?? '';
    } catch {
      // A browser that keeps nothing asks again.
    }
  }

  /** Whether there is a token to show. */
  get hasToken(): boolean {
    return this.#token !== '';
  }

  /** Shows this token from now on; none, when empty. */
  setToken(token: string): void {
    this.#token = token.trim();
    try {
      if (this.#token) sessionStorage.setItem(TOKEN, this.#token);
      else sessionStorage.removeItem(TOKEN);
    } catch {
      // As above.
    }
  }

  mesh(): Promise<MeshStatus> {
    return this.#json('/v1/mesh');
  }

  /** What the leader does about machines; nothing where nobody scales. */
  async scaling(): Promise<Scaling | undefined> {
    try {
      const scaling = await this.#json<Scaling>('/v1/scaling');
      // A leader of an earlier version tells less.
      return { ...scaling, machines: scaling.machines ?? [], min_nodes: scaling.min_nodes ?? 0, max_nodes: scaling.max_nodes ?? 0 };
    } catch (error) {
      if (error instanceof ApiProblem && error.status === 404) return undefined;
      throw error;
    }
  }

  rooms(): Promise<Rooms> {
    return this.#json('/v1/rooms');
  }

  room(id: string): Promise<RoomDetail> {
    return this.#json(`/v1/rooms/${encodeURIComponent(id)}`);
  }

  /** Follows the events until the stream ends, which it does by failing or by resolving. */
  async events(opened: () => void, told: (event: Event) => void, signal: AbortSignal): Promise<void> {
    const response = await this.#fetch('/v1/events', 'text/event-stream', signal);
    if (!response.body) throw new ApiProblem(0, 'the browser cannot read streams');
    opened();
    const parser = new SseParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const { data } of parser.push(value)) told(JSON.parse(data) as Event);
    }
  }

  async #json<T>(path: string): Promise<T> {
    const response = await this.#fetch(path, 'application/json', AbortSignal.timeout(10_000));
    return (await response.json()) as T;
  }

  async #fetch(path: string, accept: string, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept };
    if (this.#token) headers['authorization'] = `Bearer ${this.#token}`;
    let response: Response;
    try {
      response = await fetch(path, { headers, signal, cache: 'no-store' });
    } catch (error) {
      throw new ApiProblem(0, error instanceof Error && error.name === 'TimeoutError' ? 'no answer' : 'unreachable');
    }
    if (response.ok) return response;
    const body = (await response.json().catch(() => undefined)) as ApiError | undefined;
    throw new ApiProblem(response.status, body?.error ?? `the node answered ${response.status}`);
  }
}
