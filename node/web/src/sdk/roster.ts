import type { types } from 'mediasoup-client';
import type { NewConsumer, NewDataConsumer, Notification, PeerInfo } from '../protocol.js';
import { consumeData, type DataMessage } from './data.js';
import { RequestError } from './errors.js';
import { Peer } from './peer.js';
import type { Session } from './session.js';
import { sourceOf, Subscription, type SubscriptionInfo } from './subscription.js';

/** What a roster tells the room. */
export interface RosterHandlers {
  peerJoined(peer: Peer): void;
  peerLeft(peer: Peer): void;
  peerChanged(peer: Peer, oldDisplayName: string): void;
  subscribed(subscription: Subscription): void;
  unsubscribed(subscription: Subscription): void;
  subscriptionChanged(subscription: Subscription): void;
  data(message: DataMessage): void;
  /** Whether the application wants it. */
  accept(info: SubscriptionInfo): boolean;
}

/**
 * Who else is in the room and what this client receives from them. Peers outlive a connection; subscriptions belong
 * to one.
 */
export class Roster {
  /** Everyone else, by id. */
  readonly peers = new Map<string, Peer>();
  readonly #handlers: RosterHandlers;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #dataConsumers = new Map<string, types.DataConsumer>();
  /** What the host told about consumers that are still being made, by their id. */
  readonly #early = new Map<string, Notification[]>();
  /** Subscriptions of the connection before, which stay until the next one stands. */
  #old: Subscription[] = [];

  constructor(handlers: RosterHandlers) {
    this.#handlers = handlers;
  }

  /** The connection is gone. What it carried may still flow for a while, so nothing is taken down yet. */
  sessionLost(): void {
    this.#old.push(...this.#subscriptions.values());
    this.#subscriptions.clear();
    this.#dataConsumers.clear();
    this.#early.clear();
  }

  /** A new connection stands: `present` are in the room, and what came over the old one is over. */
  joined(present: readonly PeerInfo[]): void {
    for (const subscription of this.#old.splice(0)) this.#drop(subscription);
    const ids = new Set(present.map(({ id }) => id));
    for (const peer of [...this.peers.values()]) {
      // Someone who came with a consumer before the answer to `join` did is in the room as well.
      if (!ids.has(peer.id) && peer.subscriptions.length === 0) this.#left(peer.id);
    }
    for (const info of present) this.#seen(info);
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
    this.#early.set(id, []);
    try {
      const consumer = await session.recv.consume({
        id,
        producerId,
        kind,
        rtpParameters,
        appData,
        // Tracks of one stream are kept in step: lips with voice, but a screen with its own sound only.
        streamId: `${peerId}-${source.startsWith('screen') ? 'screen' : 'person'}`,
      });
      // The connection may have gone while the browser made the track.
      if (session.protoo.closed) return consumer.close();
      const peer = this.peers.get(peerId) ?? this.#seen({ id: peerId, displayName: peerId, device: {} });
      const subscription = new Subscription(session, peer, consumer, data, info);
      peer.add(subscription);
      this.#subscriptions.set(id, subscription);
      subscription.on('changed', () => this.#handlers.subscriptionChanged(subscription));
      this.#handlers.subscribed(subscription);
      for (const notification of this.#early.get(id) ?? []) this.notification(notification);
    } finally {
      this.#early.delete(id);
    }
  }

  /** Accepts a data consumer. */
  async newDataConsumer(session: Session, data: NewDataConsumer): Promise<void> {
    this.#early.set(data.id, []);
    try {
      const consumer = await consumeData(session, data, (message) => this.#handlers.data(message));
      if (session.protoo.closed) return consumer.close();
      this.#dataConsumers.set(data.id, consumer);
      for (const notification of this.#early.get(data.id) ?? []) this.notification(notification);
    } finally {
      this.#early.delete(data.id);
    }
  }

  /** Takes in what the host tells about peers and consumers; false when it is about something else. */
  notification(notification: Notification): boolean {
    switch (notification.method) {
      case 'newPeer':
        this.#seen(notification.data);
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
        const subscription = this.#subscriptions.get(consumerId);
        if (!subscription) this.#early.get(consumerId)?.push(notification);
        else if (notification.method === 'consumerClosed') this.#drop(subscription);
        else subscription.handle(notification);
        return true;
      }
      case 'dataConsumerClosed': {
        const { dataConsumerId } = notification.data;
        this.#early.get(dataConsumerId)?.push(notification);
        this.#dataConsumers.get(dataConsumerId)?.close();
        this.#dataConsumers.delete(dataConsumerId);
        return true;
      }
      default:
        return false;
    }
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

  #drop(subscription: Subscription): void {
    this.#subscriptions.delete(subscription.id);
    subscription.peer.remove(subscription);
    if (subscription.closed) return;
    subscription.close();
    this.#handlers.unsubscribed(subscription);
  }
}
