/**
 * The browser SDK of Skein: a room of a mesh of mediasoup nodes.
 *
 * @packageDocumentation
 */
// Without it the declarations lack a type that protocol.ts names.
import '../mediasoup.js';

export type { BackoffOptions } from './backoff.js';
export type { CameraPublishOptions, MicrophonePublishOptions } from './capture.js';
export type { VideoCodec, VideoEncoding } from './codecs.js';
export type { RetryOptions } from './connector.js';
export { DataPublication, type DataMessage, type DataOptions, type DataPublicationEvents } from './data.js';
export type { Role, RoomMode } from '../protocol.js';
export { Emitter } from './emitter.js';
export { endpointUrl, type JoinWishes } from './endpoints.js';
export * from './errors.js';
export {
  mediaError,
  openCamera,
  openMicrophone,
  openScreen,
  type CameraOptions,
  type MicrophoneOptions,
} from './media.js';
export type { MoveDetails, MoveOptions } from './move.js';
export { Peer, randomPeerId } from './peer.js';
export type { Socket, SocketFactory } from './protoo.js';
export { Publication, type PublicationEvents, type PublishOptions, type UnpublishReason } from './publication.js';
export { Room } from './room.js';
export type {
  Bandwidth,
  ChatMessage,
  Placement,
  RoomEvents,
  RoomOptions,
  RoomSettings,
  RoomState,
  StateDetails,
  Waiting,
} from './room-types.js';
export { summarize, type TrackStats } from './stats.js';
export {
  Subscription,
  type Layers,
  type Source,
  type SubscriptionEvents,
  type SubscriptionInfo,
  type SubscriptionScore,
} from './subscription.js';
