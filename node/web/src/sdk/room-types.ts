import type { types } from 'mediasoup-client';
import type { Device as DeviceInfo, Role, RoomOptions as RoomSettings } from '../protocol.js';
import type { RetryOptions } from './connector.js';
import type { DataMessage } from './data.js';
import type { JoinWishes } from './endpoints.js';
import type { MoveDetails, MoveOptions } from './move.js';
import type { Peer } from './peer.js';
import type { SocketFactory } from './protoo.js';
import type { Publication, UnpublishReason } from './publication.js';
import type { Subscription, SubscriptionInfo } from './subscription.js';

export type { RoomSettings };

/** Where a room object is in its life. */
export type RoomState = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'closed';

/** Why, and where. */
export interface StateDetails {
  /** In words, where there is something to say: why it closed, or why it dials again. */
  reason?: string;
  /** The endpoint that is dialled, or was connected to. */
  endpoint?: string;
  /** Which attempt at dialling this is, from 1. */
  attempt?: number;
}

/** Which nodes hold what, as the entry told. */
export interface Placement {
  /** Names the connection in the logs of the mesh. */
  session: string;
  /** The node that holds the WebSocket. */
  entry: string;
  /** The node that holds the transports. */
  host: string;
  /** WebSocket addresses of all nodes. */
  endpoints: readonly string[];
}

/** What this client waits for: the mesh has no place for it yet, and is about to. */
export interface Waiting {
  /** What is waited for, in words. */
  reason: string;
  /** In how many seconds a place is expected; null where that is not known. */
  etaSeconds: number | null;
}

/** A line of chat. */
export interface ChatMessage {
  /** Who wrote it; null for the node itself. */
  peerId: string | null;
  /** Their name at that time. */
  displayName: string;
  /** The line. */
  text: string;
  /** When it came, in milliseconds since 1970. */
  at: number;
  /** Whether it is this client's own. */
  mine: boolean;
}

/** What the host thinks of the way to this client, in bits per second. */
export interface Bandwidth {
  /** What all subscriptions would take. */
  desired: number;
  /** What they take of it with their priorities. */
  effective: number;
  /** What there is. */
  available: number;
}

/** What a room tells. Each is a list of what its listeners are called with. */
export interface RoomEvents {
  /** The state changed, or another attempt at dialling began. */
  state: [state: RoomState, details: StateDetails];
  /** The mesh told who holds this client, what it may do and what the room is like; again whenever it is held anew. */
  welcome: [placement: Placement];
  /**
   * The mesh has no place for this client yet, and lets it in when a machine has one; again when the estimate changes. `join()`
   * goes on, or fails when the mesh's patience ends. Over with the next `welcome` or `state`.
   */
  waiting: [waiting: Waiting];
  /** Someone came, or was there already. */
  peerJoined: [peer: Peer];
  /** Someone left. */
  peerLeft: [peer: Peer];
  /** Someone changed their name. */
  peerChanged: [peer: Peer, oldDisplayName: string];
  /** There is a new track to show or play. */
  subscribed: [subscription: Subscription];
  /**
   * A subscription's `track` is another one from now on, and pictures or sound have arrived on it: this client or the
   * peer moved to another host. The one before goes on for a while, a second as a rule; whoever attaches the new one at
   * once, and lets go of the old one when the new one is shown, shows no gap.
   */
  trackChanged: [subscription: Subscription, before: MediaStreamTrack];
  /** A track is gone. */
  unsubscribed: [subscription: Subscription];
  /** Muted, paused, layers or score of a track changed. */
  subscriptionChanged: [subscription: Subscription];
  /** This client publishes something new. */
  published: [publication: Publication];
  /**
   * It no longer does; `ended` when the device or the browser ended it, `role` when this client may only listen from
   * now on.
   */
  unpublished: [publication: Publication, why: UnpublishReason];
  /** Muted, track or score of a publication changed. */
  publicationChanged: [publication: Publication];
  /**
   * What someone may do, which may be this client; `before` is undefined where it was not known. Who may only listen
   * no longer publishes anything, and data channels, the chat's as well, cannot send until it may publish again.
   */
  roleChanged: [peerId: string, role: Role, before: Role | undefined];
  /**
   * The mesh moves this client to another host: it started, `finished` when nothing is left on the old one, or `failed`
   * and the client stays where it is. The room is connected throughout.
   */
  move: [phase: 'started' | 'finished' | 'failed', details: MoveDetails];
  /** A line of chat, one's own included. */
  message: [message: ChatMessage];
  /** A message over any other data channel. */
  data: [message: DataMessage];
  /** Who speaks now, which may be this client; null when nobody does. Volume in dBov, -127 to 0. */
  speaker: [peerId: string | null, volume: number | undefined];
  /** How much the network carries. */
  bandwidth: [bandwidth: Bandwidth];
  /** Something went wrong that does not end the room. */
  error: [error: Error];
  /** The node told something that this SDK does not know. */
  notification: [method: string, data: unknown];
}

/**
 * How to enter a room. Where the wishes contradict each other, what the token allows, or what the room is like already,
 * the mesh refuses: `join()` fails with RoomClosed, saying why.
 */
export interface RoomOptions extends JoinWishes {
  /** Nodes to dial, any of the mesh; more are learnt from them. As in `wss://a.example`, or `a.example:4443`. */
  endpoints: readonly string[];
  /** The room's id: letters, digits and `-_.~@:+`. */
  room: string;
  /** This peer's id, of the same characters; a random one where it is not given. */
  peer?: string | undefined;
  /** A name for others to show. */
  displayName?: string | undefined;
  /** The join token, where the mesh asks for one. */
  token?: string | undefined;
  /** What this client runs on; found out where it is not given. */
  device?: DeviceInfo | undefined;
  /** Which of others' tracks to receive; all where it is not given. */
  accept?: ((info: SubscriptionInfo) => boolean) | undefined;
  /** Whether to open a chat channel; yes, unless false. */
  chat?: boolean | undefined;
  /** How persistently to dial. */
  retry?: RetryOptions | undefined;
  /** How patient to be when the mesh moves this client to another host. */
  move?: MoveOptions | undefined;
  /** STUN and TURN servers; a mesh needs none by itself. */
  iceServers?: RTCIceServer[] | undefined;
  /** Media over TCP only. */
  forceTcp?: boolean | undefined;
  /** Makes the mediasoup device; for browsers that mediasoup-client must be told about, and for tests. */
  createDevice?: (() => Promise<types.Device>) | undefined;
  /** Makes sockets, where the environment has no `WebSocket`. */
  WebSocket?: SocketFactory | undefined;
}
