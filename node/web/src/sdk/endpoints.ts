import type { Role, RoomMode } from '../protocol.js';

/**
 * The WebSocket address of a node without its query, from whatever a person may write: `wss://a.example:4443/`,
 * `https://a.example`, `a.example:4443`. Undefined when it is none of these.
 *
 * @param secure whether an address without a scheme means TLS
 */
export function endpointUrl(text: string, secure = true): string | undefined {
  let full = text.trim();
  if (!full) return undefined;
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(full)) full = `${secure ? 'wss' : 'ws'}://${full}`;
  full = full.replace(/^http(s?):\/\//i, 'ws$1://');
  let url: URL;
  try {
    url = new URL(full);
  } catch {
    return undefined;
  }
  if ((url.protocol !== 'ws:' && url.protocol !== 'wss:') || !url.hostname) return undefined;
  url.search = '';
  url.hash = '';
  return url.href;
}

/** What the room is to be like, and what this client wants to be in it. */
export interface JoinWishes {
  /** What this client asks to be; at most what its token allows, which is also what it is where this is not given. */
  role?: Role | undefined;
  /** Who may send, where the room is new. */
  mode?: RoomMode | undefined;
  /** How many peers the room holds at most, where it is new. */
  size?: number | undefined;
  /** Whether capacity for all of them is reserved from the start, where the room is new. */
  guaranteed?: boolean | undefined;
  /** Of how many peers, those who spoke last, video is forwarded, where the room is new; of all where it is 0. */
  lastN?: number | undefined;
}

/** What the address of a connection says besides the node. */
export interface ConnectParameters extends JoinWishes {
  /** The room's id. */
  room: string;
  /** The peer's id. */
  peer: string;
  /** The join token, where the mesh asks for one. */
  token?: string | undefined;
  /** The token of a move, for the connection that is to replace another one. */
  move?: string | undefined;
}

/** The whole address to dial: an endpoint, who comes and where to, and that this client knows Skein's additions. */
export function connectUrl(endpoint: string, parameters: ConnectParameters): string {
  const { room, peer, token, role, mode, size, guaranteed, lastN, move } = parameters;
  const url = new URL(endpoint);
  const set = (name: string, value: string | number | undefined) => {
    if (value !== undefined && value !== '') url.searchParams.set(name, String(value));
  };
  set('roomId', room);
  set('peerId', peer);
  set('skein', 1);
  set('token', token);
  set('role', role);
  set('mode', mode);
  set('size', size);
  set('guaranteed', guaranteed ? 1 : undefined);
  set('lastN', lastN);
  set('move', move);
  return url.href;
}

/**
 * The nodes a client may dial, taken in turn. Those given by the application stay; those a node told of are replaced
 * by what the next node tells, so that retired nodes are forgotten.
 */
export class Endpoints {
  readonly #given: string[];
  readonly #secureOnly: boolean;
  #learnt: string[] = [];
  #current: string;

  /**
   * @param given at least one usable address
   * @param secureOnly whether addresses without TLS are of no use, as on a page that came over https
   */
  constructor(given: readonly string[], { secureOnly = false } = {}) {
    this.#secureOnly = secureOnly;
    this.#given = this.#usable(given);
    const first = this.#given[0];
    if (!first) throw new TypeError(`no usable endpoint in: ${given.join(', ') || 'an empty list'}`);
    this.#current = first;
  }

  /** All of them, those given first. */
  get all(): readonly string[] {
    return [...new Set([...this.#given, ...this.#learnt])];
  }

  /** The one to dial now. */
  get current(): string {
    return this.#current;
  }

  /** Takes in what a node told of its mesh. */
  learn(endpoints: readonly string[]): void {
    this.#learnt = this.#usable(endpoints);
  }

  /** Where to dial instead of the current one, which goes: what a node told of, then all others that are known. */
  instead(told: readonly string[]): string[] {
    return [...new Set([...this.#usable(told), ...this.all.filter((one) => one !== this.#current)])];
  }

  /** A connection by this one stands: it is the current one. */
  use(endpoint: string): void {
    this.#current = endpoint;
  }

  /** Goes on to the next one, after the current one failed or went away. */
  advance(): string {
    const all = this.all;
    this.#current = all[(all.indexOf(this.#current) + 1) % all.length] ?? this.#current;
    return this.#current;
  }

  #usable(texts: readonly string[]): string[] {
    const urls = texts.map((text) => endpointUrl(text, this.#secureOnly)).filter((url) => url !== undefined);
    return [...new Set(urls)].filter((url) => !this.#secureOnly || url.startsWith('wss:'));
  }
}
