import { endpointUrl, type JoinWishes, type Role, type RoomMode, type VideoCodec } from '../sdk/index.js';

/** What the page's address asks for. */
export interface PageParams {
  /** The room. */
  room: string;
  /** The name to join with; undefined asks the user. */
  name: string | undefined;
  /** The peer's id, where a test or a link fixes it. */
  peer: string | undefined;
  /** The join token. */
  token: string | undefined;
  /** Whether to open the camera. */
  video: boolean;
  /** Whether to open the microphone. */
  audio: boolean;
  /** Nodes to dial; the one that served the page where none are given. */
  endpoints: string[];
  /** The codec of the camera. */
  codec: VideoCodec | undefined;
  /** Whether the camera is sent in layers. */
  simulcast: boolean;
  /** What the room is to be like, and what the user wants to be in it. */
  wishes: JoinWishes;
}

const codecs: readonly string[] = ['vp8', 'vp9', 'h264', 'av1'];
/** What a link says about the room itself, and whoever gets the link needs as well. */
const shared = ['mode', 'size', 'guaranteed', 'lastN'];

/** Reads the page's address. */
export function readParams(search: string, origin: string): PageParams {
  const query = new URLSearchParams(search);
  const text = (name: string) => query.get(name)?.trim() || undefined;
  const on = (name: string) => !['0', 'false', 'no', 'off'].includes(query.get(name) ?? '');
  const secure = origin.startsWith('https:');
  const endpoints = query
    .getAll('endpoint')
    .flatMap((list) => list.split(','))
    .map((one) => endpointUrl(one, secure))
    .filter((one) => one !== undefined);
  const codec = text('codec')?.toLowerCase();
  const whole = (name: string) => {
    const number = Number(text(name) ?? NaN);
    return Number.isInteger(number) && number >= 0 ? number : undefined;
  };
  return {
    room: roomId(text('room') ?? ''),
    name: text('name'),
    peer: text('peer'),
    token: text('token'),
    video: on('video'),
    audio: on('audio'),
    endpoints: endpoints.length ? endpoints : [endpointUrl(origin, secure) ?? origin],
    codec: codec && codecs.includes(codec) ? (codec as VideoCodec) : undefined,
    simulcast: on('simulcast'),
    // What is written wrong is passed on as it is: the mesh says what is wrong with it.
    wishes: {
      role: text('role') as Role | undefined,
      mode: text('mode') as RoomMode | undefined,
      size: whole('size'),
      guaranteed: query.has('guaranteed') && on('guaranteed') ? true : undefined,
      lastN: whole('lastN'),
    },
  };
}

/** Makes a room's id of what a person typed: what the mesh does not allow in an id becomes a dash. */
export function roomId(typed: string): string {
  return typed
    .normalize('NFC')
    .replace(/[^\p{L}\p{Nd}\-_.~@:+]+/gu, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40);
}

/**
 * The address that brings others into the room. It carries neither a name, nor this user's role or token.
 *
 * @param toListen whether it brings them there as listeners
 */
export function shareLink(href: string, room: string, toListen = false): string {
  const url = new URL(href);
  const endpoints = url.searchParams.getAll('endpoint');
  // With tokens, only those of moderators allow to say what a room is like; and each says what its owner may do.
  const tokens = url.searchParams.has('token');
  const kept = tokens ? [] : shared.map((name) => [name, url.searchParams.get(name)] as const);
  url.search = '';
  url.hash = '';
  url.searchParams.set('room', room);
  for (const [name, value] of kept) if (value) url.searchParams.set(name, value);
  if (toListen && !tokens) url.searchParams.set('role', 'listen');
  for (const endpoint of endpoints) url.searchParams.append('endpoint', endpoint);
  return url.href;
}
