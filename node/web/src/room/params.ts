import { endpointUrl, type VideoCodec } from '../sdk/index.js';

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
}

const codecs: readonly string[] = ['vp8', 'vp9', 'h264', 'av1'];

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

/** The address that brings others into the room. It carries neither a name nor this user's token. */
export function shareLink(href: string, room: string): string {
  const url = new URL(href);
  const endpoints = url.searchParams.getAll('endpoint');
  url.search = '';
  url.hash = '';
  url.searchParams.set('room', room);
  for (const endpoint of endpoints) url.searchParams.append('endpoint', endpoint);
  return url.href;
}
