import type { types } from 'mediasoup-client';
import type { NewConsumer, Notification } from '../protocol.js';
import type { Session } from './session.js';
import type { Layers, SubscriptionInfo, SubscriptionScore } from './subscription.js';

/** How often a new track is looked at until something has arrived on it, in milliseconds. */
const LOOK_EVERY = 50;
/** How often after the first seconds. */
const LOOK_LATER = 500;
/** What the first seconds are. */
const SOON = 5_000;

/** How much has arrived: pictures that were decoded, or packets of sound. */
export async function arrived(consumer: types.Consumer): Promise<number> {
  const report = (await consumer.getStats()) as unknown as Map<string, Record<string, unknown>>;
  const key = consumer.kind === 'video' ? 'framesDecoded' : 'packetsReceived';
  let sum = 0;
  for (const entry of report.values()) if (entry['type'] === 'inbound-rtp') sum += Number(entry[key] ?? 0);
  return sum;
}

/**
 * One consumer of a subscription. There are two or more only while this client or the sender moves to another host:
 * then both ways carry the same track for a while.
 */
export class Leg {
  /** The connection it came over. */
  readonly session: Session;
  /** mediasoup's consumer. */
  readonly consumer: types.Consumer;
  /** What it is about. */
  readonly info: SubscriptionInfo;
  /** How many layers the sender offers. */
  readonly available: Layers;
  /** Whether it is not forwarded: the sender muted it, or too many others spoke since. */
  muted: boolean;
  /** The layers that are received; undefined while there are none. */
  layers: Layers | undefined;
  /** How well it arrives; undefined until the host has told. */
  score: SubscriptionScore | undefined;
  /** Whether anything has arrived on it. */
  delivers = false;
  /** Whether that has found its pace. */
  settled = false;
  #timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(session: Session, consumer: types.Consumer, data: NewConsumer, info: SubscriptionInfo) {
    this.session = session;
    this.consumer = consumer;
    this.info = info;
    this.muted = data.producerPaused;
    const mode = /^[LS](\d+)T(\d+)/.exec(data.rtpParameters.encodings?.[0]?.scalabilityMode ?? '');
    this.available = { spatial: Number(mode?.[1] ?? 1), temporal: Number(mode?.[2] ?? 1) };
  }

  /** The consumer's id. */
  get id(): string {
    return this.consumer.id;
  }

  /**
   * Calls `news` when something has arrived, and again when that has settled: within so many milliseconds at least half as
   * much arrives here as over the leg that is shown.
   */
  watch(settle: number, shown: () => Leg, news: () => void): void {
    let since = Date.now();
    const { track } = this.consumer;
    let turn = 0;
    const look = async () => {
      const mine = ++turn;
      // Measuring many tracks often costs more than it tells while nothing has come at all.
      if (!track.muted) {
        try {
          if ((await arrived(this.consumer)) > 0) this.delivers = true;
        } catch {
          // It was closed, or cannot be measured right now.
        }
      }
      if (this.consumer.closed || mine !== turn) return;
      if (this.delivers) {
        void this.#settles(settle, shown, news);
        return news();
      }
      const often = !track.muted && Date.now() - since < SOON;
      this.after(often ? LOOK_EVERY : LOOK_LATER, () => void look());
    };
    const begin = () => {
      since = Date.now();
      void look();
    };
    track.addEventListener('unmute', begin, { once: true });
    void look();
  }

  async #settles(settle: number, shown: () => Leg, news: () => void): Promise<void> {
    const legs = [this, shown()];
    const count = () => Promise.all(legs.map(({ consumer }) => arrived(consumer).catch(() => 0)));
    const [mine = 0, others = 0] = await count();
    if (this.consumer.closed) return;
    this.after(settle, async () => {
      const [mineNow = 0, othersNow = 0] = await count();
      if (this.consumer.closed) return;
      if (2 * (mineNow - mine) < othersNow - others) return this.#settles(settle, shown, news);
      this.settled = true;
      news();
    });
  }

  /** Calls `then` after so many milliseconds, unless it is closed by then. */
  after(milliseconds: number, then: () => unknown): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      then();
    }, milliseconds);
    this.#timers.add(timer);
  }

  /** Takes in what the host tells; false when it changes nothing. */
  handle(notification: Notification): boolean {
    switch (notification.method) {
      case 'consumerPaused':
        this.muted = true;
        return true;
      case 'consumerResumed':
        this.muted = false;
        return true;
      case 'consumerLayersChanged': {
        const { spatialLayer, temporalLayer } = notification.data;
        this.layers = spatialLayer === null ? undefined : { spatial: spatialLayer, temporal: temporalLayer ?? 0 };
        return true;
      }
      case 'consumerScore': {
        const { score, producerScore } = (notification.data.score ?? {}) as Partial<SubscriptionScore>;
        this.score = { score: score ?? 10, producerScore: producerScore ?? 10 };
        return true;
      }
      default:
        return false;
    }
  }

  /** Ends it on this side. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.consumer.close();
  }
}
