import type { types } from 'mediasoup-client';
import type { NewConsumer, NewDataConsumer, Notification, PeerInfo } from '../protocol.js';
import { consumeData, type DataMessage } from './data.js';
import { Doubles } from './doubles.js';
import { RequestError } from './errors.js';
import { arrived, Leg } from './leg.js';
import { Peer } from './peer.js';
import type { Session } from './session.js';
import { sourceOf, Subscription, type SubscriptionInfo } from './subscription.js';

/**
 * How long a peer may send the same track twice until it is taken for two tracks, in milliseconds; longer than a move
 * takes.
 */
const TWO_TRACKS = 20_000;

/** How the host tells that a consumer of either kind is over. */
const ENDS: ReadonlySet<string> = new Set(['consumerClosed', 'dataConsumerClosed']);

/** What a roster tells the room. */
export interface RosterHandlers {
  peerJoined(peer: Peer): void;
  peerLeft(peer: Peer): void;
  peerChanged(peer: Peer, oldDisplayName: string): void;
  subscribed(subscription: Subscription): void;
  unsubscribed(subscription: Subscription): void;
  subscriptionChanged(subscription: Subscription): void;
  trackChanged(subscription: Subscription, before: MediaStreamTrack): void;
  data(message: DataMessage): void;
  /** Whether this is the client itself, which is nobody else in the room. */
  isSelf(id: string): boolean;
  /** Whether the application wants it. */
  accept(info: SubscriptionInfo): boolean;
  /** As in MoveOptions. */
  readonly settle: number;
}

/** What a track is, apart from the producer that sends it. */
function meaning({ kind, appData }: SubscriptionInfo): string {
  return JSON.stringify([kind, Object.entries(appData).sort(([a], [b]) => (a < b ? -1 : 1))]);
}

/**
 * Who else is in the room and what this client receives from them. Peers outlive a connection. So do subscriptions in a
 * move, where each comes over both connections for a while; when a connection is lost, they end with it.
 */
export class Roster {
  /** Everyone else, by id. */
  readonly peers = new Map<string, Peer>();
  readonly #handlers: RosterHandlers;
  /** By the consumer's id. */
  readonly #legs = new Map<string, { subscription: Subscription; leg: Leg }>();
  readonly #dataConsumers = new Map<string, { session: Session; channel: string; consumer: types.DataConsumer }>();
  readonly #doubles = new Doubles();
  /** What the host told about consumers that are still being made, by their id. */
  readonly #early = new Map<string, Notification[]>();
  /** Subscriptions of the connection before, which stay until the next one stands. */
  #old: Subscription[] = [];

  constructor(handlers: RosterHandlers) {
    this.#handlers = handlers;
  }

  /** The connection is gone. What it carried may still flow for a while, so nothing is taken down yet. */
  sessionLost(): void {
    this.#old.push(...this.#subscriptions);
    this.#legs.clear();
    for (const id of [...this.#dataConsumers.keys()]) this.#forgetData(id);
    this.#early.clear();
  }

  /** One of two connections is over, or is about to be; everything goes on over the other one. */
  release(session: Session): void {
    for (const { subscription, leg } of [...this.#legs.values()]) {
      if (leg.session === session) this.#dropLeg(subscription, leg);
    }
    for (const [id, data] of [...this.#dataConsumers]) if (data.session === session) this.#forgetData(id);
  }

  /** What comes over this connection, is meant to be seen or heard, and does not come over a later one yet. */
  waiting(session: Session): Subscription[] {
    return [...this.#subscriptions].filter(
      ({ current, muted, paused }) => current.session === session && !muted && !paused,
    );
  }

  /** Whether anything has arrived over this connection. */
  delivers(session: Session): boolean {
    return [...this.#legs.values()].some(({ leg }) => leg.session === session && leg.delivers);
  }

  /** How much has arrived over this connection so far. */
  async arrived(session: Session): Promise<number> {
    const legs = [...this.#legs.values()].map(({ leg }) => leg).filter((leg) => leg.session === session);
    const counts = await Promise.all(legs.map(({ consumer }) => arrived(consumer).catch(() => 0)));
    return counts.reduce((sum, one) => sum + one, 0);
  }

  /** A new connection stands: `present` are in the room, and what came over the old one is over. */
  joined(present: readonly PeerInfo[]): void {
    for (const subscription of this.#old.splice(0)) this.#drop(subscription);
    const ids = new Set(present.map(({ id }) => id));
    for (const peer of [...this.peers.values()]) {
      // Someone who came with a consumer before the answer to `join` did is in the room as well.
      if (!ids.has(peer.id) && peer.subscriptions.length === 0) this.#left(peer.id);
    }
    for (const info of present) if (!this.#handlers.isSelf(info.id)) this.#seen(info);
  }

  /** The room is closed for this client. */
  clear(): void {
    this.sessionLost();
    for (const subscription of this.#old.splice(0)) this.#drop(subscription);
    for (const id of [...this.peers.keys()]) this.#left(id);
  }

  /** Accepts a consumer, or throws to reject it. */
  async newConsumer(session: Session, data: NewConsumer): Promise<void> {
    const { id, peerId, producerId, kind, type, appData, rtpParameters } = data;
    const source = sourceOf(kind, appData);
    const info: SubscriptionInfo = { peerId, producerId, kind, source, type, appData };
    if (!this.#handlers.accept(info)) throw new RequestError('newConsumer', 403, 'not wanted');
    const making = session.recv.consume({
      id,
      producerId,
      kind,
      rtpParameters,
      appData,
      // Tracks of one stream are kept in step: lips with voice, but a screen with its own sound only.
      streamId: `${peerId}-${source.startsWith('screen') ? 'screen' : 'person'}`,
    });
    await this.#make(session, id, making, (consumer) => {
      const peer = this.peers.get(peerId) ?? this.#seen({ id: peerId, displayName: peerId, device: {} });
      const leg = new Leg(session, consumer, data, info);
      const same = this.#sameTrack(peer, leg);
      if (!same) return this.#subscribe(peer, leg);
      const { current } = same;
      this.#legs.set(id, { subscription: same, leg });
      same.add(leg, this.#handlers.settle);
      // A peer that moves ends the older one soon. One that does not means both.
      if (current.session === session) leg.after(TWO_TRACKS, () => this.#split(same, current, leg));
    });
  }

  /** Accepts a data consumer. */
  async newDataConsumer(session: Session, data: NewDataConsumer): Promise<void> {
    // The same channel has the same producer over every connection; the node's own may have one on each node.
    const channel = data.peerId === null ? `node/${data.label}` : data.dataProducerId;
    const making = consumeData(session, data, (message) => {
      if (this.#doubles.isNew(channel, data.id, message.data)) this.#handlers.data(message);
    });
    await this.#make(session, data.id, making, (consumer) => {
      this.#dataConsumers.set(data.id, { session, channel, consumer });
      this.#doubles.add(channel, data.id);
    });
  }

  /** Takes in what the host tells about peers and consumers; false when it is about something else. */
  notification(notification: Notification): boolean {
    switch (notification.method) {
      case 'newPeer':
        if (!this.#handlers.isSelf(notification.data.id)) this.#seen(notification.data);
        return true;
      case 'peerClosed':
        this.#left(notification.data.peerId);
        return true;
      case 'peerDisplayNameChanged': {
        const { peerId, displayName } = notification.data;
        const peer = this.peers.get(peerId);
        if (peer) this.#seen({ id: peerId, displayName, device: peer.device });
        return true;
      }
      case 'consumerClosed':
      case 'consumerPaused':
      case 'consumerResumed':
      case 'consumerLayersChanged':
      case 'consumerScore': {
        const { consumerId } = notification.data;
        const { subscription, leg } = this.#legs.get(consumerId) ?? {};
        if (!subscription || !leg) this.#early.get(consumerId)?.push(notification);
        else if (notification.method === 'consumerClosed') this.#dropLeg(subscription, leg);
        else subscription.handle(leg, notification);
        return true;
      }
      case 'dataConsumerClosed': {
        const { dataConsumerId } = notification.data;
        this.#early.get(dataConsumerId)?.push(notification);
        this.#dataConsumers.get(dataConsumerId)?.consumer.close();
        this.#forgetData(dataConsumerId);
        return true;
      }
      default:
        return false;
    }
  }

  /** Takes a consumer of either kind once the browser has made it, and then what the host told about it meanwhile. */
  async #make<C extends types.Consumer | types.DataConsumer>(
    session: Session,
    id: string,
    making: Promise<C>,
    made: (consumer: C) => void,
  ): Promise<void> {
    const early: Notification[] = [];
    this.#early.set(id, early);
    try {
      const consumer = await session.during(making);
      // The connection may have gone meanwhile, and so may have what it is of.
      if (session.protoo.closed || early.some(({ method }) => ENDS.has(method))) return consumer.close();
      made(consumer);
    } finally {
      this.#early.delete(id);
    }
    // Nothing is kept for it any more: what is taken in here cannot come to be taken in again.
    for (const notification of early) this.notification(notification);
  }

  #seen({ id, displayName, device }: PeerInfo): Peer {
    let peer = this.peers.get(id);
    if (!peer) {
      this.peers.set(id, (peer = new Peer(id, displayName, device)));
      this.#handlers.peerJoined(peer);
    } else {
      const before = peer.displayName;
      peer.update(displayName, device);
      if (before !== displayName) this.#handlers.peerChanged(peer, before);
    }
    return peer;
  }

  #left(id: string): void {
    const peer = this.peers.get(id);
    if (!peer) return;
    for (const subscription of peer.subscriptions) this.#drop(subscription);
    this.peers.delete(id);
    this.#handlers.peerLeft(peer);
  }

  get #subscriptions(): Set<Subscription> {
    return new Set([...this.#legs.values()].map(({ subscription }) => subscription));
  }

  #subscribe(peer: Peer, leg: Leg): void {
    const subscription = new Subscription(peer, leg);
    peer.add(subscription);
    this.#legs.set(leg.id, { subscription, leg });
    subscription.on('changed', () => this.#handlers.subscriptionChanged(subscription));
    subscription.on('trackChanged', (before) => this.#handlers.trackChanged(subscription, before));
    this.#handlers.subscribed(subscription);
  }

  /**
   * The subscription that this is another way of: to the same producer where this client moves, to what means the same
   * where the sender does.
   */
  #sameTrack(peer: Peer, leg: Leg): Subscription | undefined {
    const all = [...this.#subscriptions].filter((subscription) => subscription.peer === peer);
    const { producerId } = leg.info;
    const direct = all.find(({ legs }) => legs.some(({ info }) => info.producerId === producerId));
    if (direct) return direct;
    const what = meaning(leg.info);
    return all.find(({ info }) => meaning(info) === what);
  }

  /** Both are still there: whichever is not shown becomes a subscription of its own. */
  #split(subscription: Subscription, ...legs: Leg[]): void {
    if (legs.some(({ id }) => this.#legs.get(id)?.subscription !== subscription)) return;
    for (const leg of legs) if (subscription.split(leg)) this.#subscribe(subscription.peer, leg);
  }

  #dropLeg(subscription: Subscription, leg: Leg): void {
    this.#legs.delete(leg.id);
    if (subscription.legs.length === 1) return this.#drop(subscription);
    subscription.remove(leg);
  }

  #drop(subscription: Subscription): void {
    for (const { id } of subscription.legs) this.#legs.delete(id);
    subscription.peer.remove(subscription);
    if (subscription.closed) return;
    subscription.close();
    this.#handlers.unsubscribed(subscription);
  }

  #forgetData(id: string): void {
    const data = this.#dataConsumers.get(id);
    if (!data) return;
    this.#doubles.remove(data.channel, id);
    this.#dataConsumers.delete(id);
  }
}
