import type { AppData, ClientMethods, ConsumerType, MediaKind, Notification, Stats } from '../protocol.js';
import { Emitter } from './emitter.js';
import { ConnectionLost } from './errors.js';
import type { Leg } from './leg.js';
import type { Peer } from './peer.js';

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
  /**
   * `track` is another one from now on, and pictures or sound have arrived on it. The one before goes on for a while
   * (a second or so, as a rule), so that it can be shown until the new one is.
   */
  trackChanged: [before: MediaStreamTrack];
  /** It is over. */
  closed: [];
}

/** How long the last picture of a way that is closed stays while none has come another way, in milliseconds. */
const LAST_PICTURE = 2_000;

type ConsumerMethod = 'pauseConsumer' | 'resumeConsumer' | 'setConsumerPreferredLayers' | 'setConsumerPriority';

/**
 * A track of another peer that this client receives. When this client or the peer moves to another host, it stays the
 * same object, and its track is replaced once the new one delivers.
 */
export class Subscription extends Emitter<SubscriptionEvents> {
  /** Who sends. */
  readonly peer: Peer;
  /** The ways it comes, those of later connections last. */
  readonly #legs: Leg[];
  /** The one that is shown. */
  #current: Leg;
  #paused = false;
  #preferred: Layers | undefined;
  #priority: number | undefined;
  #closed = false;

  /** Made by the SDK. */
  constructor(peer: Peer, leg: Leg) {
    super();
    this.peer = peer;
    this.#legs = [leg];
    this.#current = leg;
  }

  /** The consumer's id; another one after a move. */
  get id(): string {
    return this.#current.id;
  }
  /** What it is about. */
  get info(): SubscriptionInfo {
    return this.#current.info;
  }
  /** To show or play. It is replaced in a move: see `trackChanged`. */
  get track(): MediaStreamTrack {
    return this.#current.consumer.track;
  }
  /** How many layers the sender offers. */
  get available(): Layers {
    return this.#current.available;
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
  /**
   * Whether nothing of it is sent to this client for now: the sender muted it, or the room forwards only those who
   * spoke last.
   */
  get muted(): boolean {
    return this.#current.muted;
  }
  /** The layers that are received right now; undefined while there are none. */
  get layers(): Layers | undefined {
    return this.#current.layers;
  }
  /** The layers that were asked for last. */
  get preferredLayers(): Layers | undefined {
    return this.#preferred;
  }
  /** How well it arrives; undefined until the host has told. */
  get score(): SubscriptionScore | undefined {
    return this.#current.score;
  }
  /** Whether it is over. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Stops receiving it, which costs neither side anything, until `resume()`. */
  async pause(): Promise<void> {
    if (this.#closed || this.#paused) return;
    this.#paused = true;
    for (const { consumer } of this.#legs) consumer.pause();
    this.emit('changed');
    this.#choose();
    await this.#tell('pauseConsumer', {});
  }

  /** Receives it again. */
  async resume(): Promise<void> {
    if (this.#closed || !this.#paused) return;
    this.#paused = false;
    for (const { consumer } of this.#legs) consumer.resume();
    this.emit('changed');
    await this.#tell('resumeConsumer', {});
  }

  /** Asks for layers no higher than these; the host may send lower ones when the network has no room. */
  async setPreferredLayers(spatial: number, temporal = this.available.temporal - 1): Promise<void> {
    if (this.#closed) return;
    this.#preferred = { spatial, temporal };
    await this.#tell('setConsumerPreferredLayers', { spatialLayer: spatial, temporalLayer: temporal });
  }

  /** Which subscriptions get room first when there is not enough: 1 (the least) to 255. */
  async setPriority(priority: number): Promise<void> {
    if (this.#closed) return;
    this.#priority = priority;
    await this.#tell('setConsumerPriority', { priority });
  }

  /** Asks the sender for a whole picture. */
  async requestKeyFrame(): Promise<void> {
    const { session, id } = this.#current;
    if (this.#closed) return;
    await this.#forgiving(this.#current, () => session.protoo.request('requestConsumerKeyFrame', { consumerId: id }));
  }

  /** What the browser measured; `summarize()` makes it readable. */
  stats(): Promise<RTCStatsReport> {
    return this.#current.consumer.getStats();
  }

  /** What the host measured. */
  hostStats(): Promise<Stats> {
    return this.#current.session.protoo.request('getConsumerStats', { consumerId: this.id });
  }

  /** For the SDK: all ways it comes. */
  get legs(): readonly Leg[] {
    return this.#legs;
  }

  /** For the SDK: the way that is shown. */
  get current(): Leg {
    return this.#current;
  }

  /** For the SDK: the same track comes another way as well, and is shown that way once it has settled there. */
  add(leg: Leg, settle: number): void {
    const later = this.#legs.findIndex(({ session }) => session.number > leg.session.number);
    this.#legs.splice(later < 0 ? this.#legs.length : later, 0, leg);
    if (this.#paused) leg.consumer.pause();
    // The host has the consumer running, at its best, as soon as it is accepted; so only after that.
    leg.after(0, () => this.#repeatWishes(leg));
    leg.watch(settle, () => this.#current, () => this.#choose());
    this.#choose();
  }

  /** For the SDK: it no longer comes this way. With the last way it is over. */
  remove(leg: Leg): void {
    const index = this.#legs.indexOf(leg);
    if (index < 0) return;
    if (this.#legs.length === 1) return this.close();
    this.#legs.splice(index, 1);
    if (leg !== this.#current) return leg.close();
    const older = index === this.#legs.length ? this.#legs.at(-1) : undefined;
    const next = this.#legs.findLast(({ delivers }) => delivers) ?? older;
    if (next) return this.#show(next);
    // The newer way begins only now: what was shown last stays until its first picture.
    leg.after(LAST_PICTURE, () => !this.#closed && this.#current === leg && this.#show(this.#legs.at(-1) as Leg));
  }

  /** For the SDK: gives up a way without ending it, for another subscription. */
  split(leg: Leg): boolean {
    if (leg === this.#current || !this.#legs.includes(leg)) return false;
    this.#legs.splice(this.#legs.indexOf(leg), 1);
    return true;
  }

  /** For the SDK: takes in what the host tells about one of its consumers. */
  handle(leg: Leg, notification: Notification): void {
    if (!leg.handle(notification)) return;
    if (leg === this.#current) this.emit('changed');
    this.#choose();
  }

  /** For the SDK: ends it on this side. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const leg of new Set([...this.#legs, this.#current])) leg.close();
    this.emit('closed');
  }

  /** Shows the latest way on which something arrives steadily, or nothing can be missed. */
  #choose(): void {
    if (this.#closed) return;
    const still = this.#paused || this.#current.muted;
    const ended = !this.#legs.includes(this.#current);
    for (const leg of [...this.#legs].reverse()) {
      if (leg === this.#current) return;
      // Where nothing is shown, there is nothing to wait for, except for the first picture of what will be.
      if (leg.settled || (ended && leg.delivers) || this.#paused || (still && leg.muted)) return this.#show(leg);
    }
  }

  #show(leg: Leg): void {
    const before = this.#current;
    this.#current = leg;
    this.emit('trackChanged', before.consumer.track);
    this.emit('changed');
    if (!this.#legs.includes(before)) before.close();
  }

  /** What was asked for over the connection before holds here as well. */
  #repeatWishes(leg: Leg): void {
    const { session, id: consumerId } = leg;
    const layers = this.#preferred;
    const wishes: Promise<unknown>[] = [];
    if (this.#paused) wishes.push(session.protoo.request('pauseConsumer', { consumerId }));
    if (layers) {
      const { spatial: spatialLayer, temporal: temporalLayer } = layers;
      wishes.push(session.protoo.request('setConsumerPreferredLayers', { consumerId, spatialLayer, temporalLayer }));
    }
    if (this.#priority !== undefined) {
      wishes.push(session.protoo.request('setConsumerPriority', { consumerId, priority: this.#priority }));
    }
    // A wish that is not granted costs bandwidth, no more.
    Promise.all(wishes).catch((error: unknown) => console.info('skein: a wish got lost', error));
  }

  async #tell<M extends ConsumerMethod>(method: M, data: Omit<ClientMethods[M]['data'], 'consumerId'>): Promise<void> {
    await Promise.all(
      this.#legs.map((leg) =>
        this.#forgiving(leg, () =>
          leg.session.protoo.request(method, { ...data, consumerId: leg.id } as unknown as ClientMethods[M]['data']),
        ),
      ),
    );
  }

  /** A wish that got lost with the connection needs no answer: the next session starts afresh. */
  async #forgiving(leg: Leg, request: () => Promise<unknown>): Promise<void> {
    try {
      await request();
    } catch (error) {
      if (!(error instanceof ConnectionLost) && !this.#closed && leg === this.#current) throw error;
    }
  }
}
