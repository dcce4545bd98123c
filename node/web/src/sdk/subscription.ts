import type { types } from 'mediasoup-client';
import type { AppData, ConsumerType, MediaKind, NewConsumer, Notification, Stats } from '../protocol.js';
import { Emitter } from './emitter.js';
import { ConnectionLost } from './errors.js';
import type { Peer } from './peer.js';
import type { Session } from './session.js';

/** What a track shows or sounds of. Applications may publish under names of their own. */
export type Source = 'camera' | 'microphone' | 'screen' | 'screenAudio' | (string & {});

/** Which layers of a simulcast or SVC stream. */
export interface Layers {
  /** From 0, the smallest. */
  spatial: number;
  /** From 0, the slowest. */
  temporal: number;
}

/** How well a stream arrives: 0 (not at all) to 10 (all of it). */
export interface SubscriptionScore {
  /** From the host to this client. */
  score: number;
  /** From the sender to its host, of the layer that is received. */
  producerScore: number;
}

/** What a subscription is about, before it is accepted. */
export interface SubscriptionInfo {
  /** Who sends. */
  peerId: string;
  /** What it sends. */
  producerId: string;
  /** Sound or pictures. */
  kind: MediaKind;
  /** What it shows. */
  source: Source;
  /** How it is layered. */
  type: ConsumerType;
  /** What the sender attached. */
  appData: AppData;
}

/** Reads the source out of what the sender attached; other clients than ours may attach nothing. */
export function sourceOf(kind: MediaKind, appData: AppData): Source {
  const source = appData['source'];
  if (source === 'mic') return 'microphone';
  if (source === 'webcam') return 'camera';
  if (typeof source === 'string') return source;
  const shared = appData['share'] === true || appData['_sharing'] === true;
  if (kind === 'audio') return shared ? 'screenAudio' : 'microphone';
  return shared ? 'screen' : 'camera';
}

/** What a subscription tells of itself. */
export interface SubscriptionEvents {
  /** Muted, paused, layers or score changed. */
  changed: [];
  /** It is over. */
  closed: [];
}

/** A track of another peer that this client receives. */
export class Subscription extends Emitter<SubscriptionEvents> {
  /** The consumer's id. */
  readonly id: string;
  /** Who sends. */
  readonly peer: Peer;
  /** What it is about. */
  readonly info: SubscriptionInfo;
  /** To show or play. */
  readonly track: MediaStreamTrack;
  /** How many layers the sender offers. */
  readonly available: Layers;
  readonly #session: Session;
  readonly #consumer: types.Consumer;
  #paused = false;
  #muted: boolean;
  #layers: Layers | undefined;
  #preferred: Layers | undefined;
  #score: SubscriptionScore | undefined;
  #closed = false;

  /** Made by the SDK. */
  constructor(session: Session, peer: Peer, consumer: types.Consumer, data: NewConsumer, info: SubscriptionInfo) {
    super();
    this.#session = session;
    this.#consumer = consumer;
    this.id = data.id;
    this.peer = peer;
    this.info = info;
    this.track = consumer.track;
    this.#muted = data.producerPaused;
    const mode = /^[LS](\d+)T(\d+)/.exec(data.rtpParameters.encodings?.[0]?.scalabilityMode ?? '');
    this.available = { spatial: Number(mode?.[1] ?? 1), temporal: Number(mode?.[2] ?? 1) };
  }

  /** Sound or pictures. */
  get kind(): MediaKind {
    return this.info.kind;
  }
  /** What it shows. */
  get source(): Source {
    return this.info.source;
  }
  /** The sender's producer. */
  get producerId(): string {
    return this.info.producerId;
  }
  /** Whether this client paused it. */
  get paused(): boolean {
    return this.#paused;
  }
  /** Whether the sender muted it. */
  get muted(): boolean {
    return this.#muted;
  }
  /** The layers that are received right now; undefined while there are none. */
  get layers(): Layers | undefined {
    return this.#layers;
  }
  /** The layers that were asked for last. */
  get preferredLayers(): Layers | undefined {
    return this.#preferred;
  }
  /** How well it arrives; undefined until the host has told. */
  get score(): SubscriptionScore | undefined {
    return this.#score;
  }
  /** Whether it is over. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Stops receiving it, which costs neither side anything, until `resume()`. */
  async pause(): Promise<void> {
    if (this.#closed || this.#paused) return;
    this.#paused = true;
    this.#consumer.pause();
    this.emit('changed');
    await this.#tell(() => this.#session.protoo.request('pauseConsumer', { consumerId: this.id }));
  }

  /** Receives it again. */
  async resume(): Promise<void> {
    if (this.#closed || !this.#paused) return;
    this.#paused = false;
    this.#consumer.resume();
    this.emit('changed');
    await this.#tell(() => this.#session.protoo.request('resumeConsumer', { consumerId: this.id }));
  }

  /** Asks for layers no higher than these; the host may send lower ones when the network has no room. */
  async setPreferredLayers(spatial: number, temporal = this.available.temporal - 1): Promise<void> {
    if (this.#closed) return;
    this.#preferred = { spatial, temporal };
    await this.#tell(() =>
      this.#session.protoo.request('setConsumerPreferredLayers', {
        consumerId: this.id,
        spatialLayer: spatial,
        temporalLayer: temporal,
      }),
    );
  }

  /** Which subscriptions get room first when there is not enough: 1 (the least) to 255. */
  async setPriority(priority: number): Promise<void> {
    if (this.#closed) return;
    await this.#tell(() => this.#session.protoo.request('setConsumerPriority', { consumerId: this.id, priority }));
  }

  /** Asks the sender for a whole picture. */
  async requestKeyFrame(): Promise<void> {
    if (this.#closed) return;
    await this.#tell(() => this.#session.protoo.request('requestConsumerKeyFrame', { consumerId: this.id }));
  }

  /** What the browser measured; `summarize()` makes it readable. */
  stats(): Promise<RTCStatsReport> {
    return this.#consumer.getStats();
  }

  /** What the host measured. */
  hostStats(): Promise<Stats> {
    return this.#session.protoo.request('getConsumerStats', { consumerId: this.id });
  }

  /** For the SDK: takes in what the host tells about this consumer. */
  handle(notification: Notification): void {
    switch (notification.method) {
      case 'consumerPaused':
        this.#muted = true;
        break;
      case 'consumerResumed':
        this.#muted = false;
        break;
      case 'consumerLayersChanged': {
        const { spatialLayer, temporalLayer } = notification.data;
        this.#layers = spatialLayer === null ? undefined : { spatial: spatialLayer, temporal: temporalLayer ?? 0 };
        break;
      }
      case 'consumerScore': {
        const { score, producerScore } = (notification.data.score ?? {}) as Partial<SubscriptionScore>;
        this.#score = { score: score ?? 10, producerScore: producerScore ?? 10 };
        break;
      }
      case 'consumerClosed':
        this.close();
        return;
      default:
        return;
    }
    this.emit('changed');
  }

  /** For the SDK: ends it on this side. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#consumer.close();
    this.emit('closed');
  }

  /** A wish that got lost with the connection needs no answer: the next session starts afresh. */
  async #tell(request: () => Promise<unknown>): Promise<void> {
    try {
      await request();
    } catch (error) {
      if (!(error instanceof ConnectionLost) && !this.#closed) throw error;
    }
  }
}
