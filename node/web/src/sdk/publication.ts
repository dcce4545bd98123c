import type { types } from 'mediasoup-client';
import type { MediaKind, Stats } from '../protocol.js';
import { findCodec, type VideoCodec, type VideoEncoding } from './codecs.js';
import { Emitter } from './emitter.js';
import { ConnectionLost } from './errors.js';
import type { Session } from './session.js';
import type { Source } from './subscription.js';

/** How a track is published. */
export interface PublishOptions {
  /** The track. */
  track: MediaStreamTrack;
  /** What it shows or sounds of; others read it. */
  source: Source;
  /** How it is sent; asked for anew whenever it is published again, as the track may be another one by then. */
  encoding: (track: MediaStreamTrack) => VideoEncoding;
  /** The codec to send it in; the router's first where it is not given or the router does not have it. */
  codec?: VideoCodec | undefined;
  /** Attached for others to read, besides the source. */
  appData?: types.AppData | undefined;
  /** Whether the track is the SDK's own, to be stopped when it is no longer sent. */
  owned?: boolean | undefined;
  /** Opens the device again. Where given, muting stops the track, so that the camera's light goes out. */
  reopen?: (() => Promise<MediaStreamTrack>) | undefined;
}

/** What a publication tells of itself. */
export interface PublicationEvents {
  /** Muted, track, or score changed. */
  changed: [];
  /** It is over. */
  closed: [why: UnpublishReason];
}

/**
 * Why a publication is over: the application closed it, the device or the user's browser ended it, or this client may
 * only listen from now on.
 */
export type UnpublishReason = 'closed' | 'ended' | 'role';

/** Where a publication is sent: one place, or two while this client moves to another host. */
interface Outlet {
  session: Session;
  producer: types.Producer | undefined;
}

/** A track of this client that others may receive. It is published again by itself after a reconnection. */
export class Publication extends Emitter<PublicationEvents> {
  /** Sound or pictures. */
  readonly kind: MediaKind;
  /** What it shows. */
  readonly source: Source;
  readonly #options: PublishOptions;
  #reopen: PublishOptions['reopen'];
  #owned: boolean;
  #track: MediaStreamTrack | undefined;
  /** The first one is the one that counts. */
  #outlets: Outlet[] = [];
  #muted = false;
  #closed = false;
  #score: number | undefined;
  /** Operations run one after the other, so that a quick mute and unmute cannot end in the wrong order. */
  #last: Promise<unknown> = Promise.resolve();

  /** Made by the SDK. */
  constructor(options: PublishOptions) {
    super();
    this.#options = options;
    this.#reopen = options.reopen;
    this.#owned = options.owned ?? false;
    this.kind = options.track.kind as MediaKind;
    this.source = options.source;
    this.#take(options.track);
  }

  /** The track that is sent; undefined while a camera is off. */
  get track(): MediaStreamTrack | undefined {
    return this.#track;
  }
  /** Whether others get nothing of it for now. */
  get muted(): boolean {
    return this.#muted;
  }
  /** Whether it is over. */
  get closed(): boolean {
    return this.#closed;
  }
  /** The producer's id in the mesh; undefined while not connected. */
  get producerId(): string | undefined {
    return this.#outlets[0]?.producer?.id;
  }
  /** How well it arrives at the host: 0 to 10, of the best layer; undefined until the host has told. */
  get score(): number | undefined {
    return this.#score;
  }

  /** Stops sending, for the time being. */
  async mute(): Promise<void> {
    if (this.#closed || this.#muted) return;
    this.#muted = true;
    // At once, whatever waits in the queue: nobody hears another word.
    if (this.#track) this.#track.enabled = false;
    this.emit('changed');
    await this.#inTurn(async () => {
      if (!this.#muted) return;
      for (const producer of this.#live) producer.pause();
      await this.#tell('pauseProducer');
      if (this.#reopen && this.#owned) {
        await this.#replace(null);
        this.#take(undefined);
        this.emit('changed');
      }
    });
  }

  /** Sends again. Fails with a MediaError when the camera cannot be opened again. */
  async unmute(): Promise<void> {
    if (this.#closed || !this.#muted) return;
    this.#muted = false;
    this.emit('changed');
    await this.#inTurn(async () => {
      if (this.#muted || this.#closed) return;
      try {
        if (!this.#track && this.#reopen) {
          const track = await this.#reopen();
          // It may have been closed while the camera opened.
          if (this.#closed) return track.stop();
          this.#take(track);
          // The SDK opened it, whoever opened the one before.
          this.#owned = true;
        }
        await this.#replace(this.#track ?? null);
      } catch (error) {
        this.#muted = true;
        this.emit('changed');
        throw error;
      }
      if (this.#track) this.#track.enabled = true;
      // A camera that was off when the session began has not been published over it yet.
      for (const outlet of this.#outlets) if (!outlet.producer) await this.#produce(outlet);
      for (const producer of this.#live) producer.resume();
      this.emit('changed');
      await this.#tell('resumeProducer');
    });
  }

  /**
   * Sends another track, of the same kind, instead: of another camera, say.
   *
   * @param owned whether the SDK is to stop it when it is no longer sent
   * @param reopen as in PublishOptions, for the device that the new track is of
   */
  async replaceTrack(
    track: MediaStreamTrack,
    { owned = false, reopen }: Pick<PublishOptions, 'owned' | 'reopen'> = {},
  ): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#closed) return;
      track.enabled = !this.#muted;
      await this.#replace(track);
      this.#take(track);
      this.#owned = owned;
      if (reopen) this.#reopen = reopen;
      this.emit('changed');
    });
  }

  /** Ends it. */
  async close(): Promise<void> {
    await this.#end('closed');
  }

  /** What the browser measured; `summarize()` makes it readable. Empty while not connected. */
  async stats(): Promise<RTCStatsReport> {
    return (await this.#live[0]?.getStats()) ?? new Map<string, unknown>();
  }

  /** What the host measured. Empty while not connected. */
  async hostStats(): Promise<Stats> {
    const { session, producer } = this.#outlets[0] ?? {};
    if (!session || !producer) return [];
    return session.protoo.request('getProducerStats', { producerId: producer.id });
  }

  /** For the SDK: publishes it over this session; the one before is gone. */
  attach(session: Session): Promise<void> {
    this.#outlets = [];
    this.#score = undefined;
    return this.extend(session);
  }

  /** For the SDK: publishes it over this session as well, while the one before goes on. */
  extend(session: Session): Promise<void> {
    if (this.#outlets.some((outlet) => outlet.session === session)) return this.#last.then(() => {});
    const outlet: Outlet = { session, producer: undefined };
    this.#outlets.push(outlet);
    return this.#inTurn(() => this.#produce(outlet));
  }

  /** For the SDK: this session ends, or ended. */
  release(session: Session): void {
    this.#outlets = this.#outlets.filter((outlet) => outlet.session !== session);
    this.#score = undefined;
    if (!this.#closed) this.emit('changed');
  }

  /** For the SDK: whether the browser sends what others shall get over this session; yes where that is nothing. */
  async sends(session: Session): Promise<boolean> {
    const producer = this.#outlets.find((outlet) => outlet.session === session)?.producer;
    if (this.#closed || this.#muted || !producer || producer.closed) return true;
    const report = (await producer.getStats()) as unknown as Map<string, Record<string, unknown>>;
    return [...report.values()].some(({ type, packetsSent }) => type === 'outbound-rtp' && Number(packetsSent) > 0);
  }

  /** For the SDK: takes in what the host tells; false when it is about another one. */
  scored(producerId: string, score: unknown): boolean {
    if (producerId !== this.producerId) return false;
    if (!Array.isArray(score)) return true;
    const scores = score.map((one: { score?: number }) => one.score ?? 0);
    this.#score = scores.length ? Math.max(...scores) : undefined;
    this.emit('changed');
    return true;
  }

  /** For the SDK: this client may only listen, and the host has ended it already. */
  revoke(): void {
    void this.#end('role').catch(() => {});
  }

  async #produce(outlet: Outlet): Promise<void> {
    const { session } = outlet;
    const track = this.#track;
    if (this.#closed || !track || outlet.producer || session.closed || !this.#outlets.includes(outlet)) return;
    const { codec, source, appData } = this.#options;
    const wanted = codec && this.kind === 'video' ? findCodec(session.device.sendRtpCapabilities, codec) : undefined;
    const { encodings, codecOptions } = this.#options.encoding(track);
    let producer: types.Producer;
    try {
      producer = await session.send.produce({
        track,
        codecOptions,
        // The track belongs to this object, not to one connection's producer.
        stopTracks: false,
        disableTrackOnPause: true,
        appData: { ...appData, source },
        ...(encodings.length ? { encodings } : {}),
        ...(wanted ? { codec: wanted } : {}),
      });
    } catch (error) {
      // With its session, or given up in the middle of a move: nobody waits for this one any more.
      if (session.closed || !this.#outlets.includes(outlet)) return;
      throw error;
    }
    outlet.producer = producer;
    if (this.#muted) {
      producer.pause();
      await this.#tell('pauseProducer', [outlet]);
    }
    this.emit('changed');
  }

  /** The producers that did not go with their connections. */
  get #live(): types.Producer[] {
    return this.#outlets.flatMap(({ producer }) => (producer && !producer.closed ? [producer] : []));
  }

  async #replace(track: MediaStreamTrack | null): Promise<void> {
    await Promise.all(
      this.#live.map(async (producer) => {
        try {
          await producer.replaceTrack({ track });
        } catch (error) {
          if (!producer.closed) throw error;
        }
      }),
    );
  }

  /** Makes `track` the current one; lets go of the one before. */
  #take(track: MediaStreamTrack | undefined): void {
    const before = this.#track;
    if (before === track) return;
    before?.removeEventListener('ended', this.#ended);
    if (this.#owned) before?.stop();
    this.#track = track;
    track?.addEventListener('ended', this.#ended);
  }

  readonly #ended = (): void => {
    void this.#end('ended').catch(() => {});
  };

  async #end(why: UnpublishReason): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#take(undefined);
    this.emit('closed', why);
    await this.#inTurn(async () => {
      const producers = this.#live;
      for (const producer of producers) producer.close();
      if (producers.length > 0 && why !== 'role') await this.#tell('closeProducer');
    });
  }

  async #tell(
    method: 'pauseProducer' | 'resumeProducer' | 'closeProducer',
    outlets: readonly Outlet[] = this.#outlets,
  ): Promise<void> {
    await Promise.all(
      outlets.map(async ({ session, producer }) => {
        if (!producer) return;
        try {
          await session.protoo.request(method, { producerId: producer.id });
        } catch (error) {
          // A lost connection needs no word: the next session is told how things stand when it is attached.
          // Of two, only the one that counts can make it fail.
          const counts = this.#outlets[0]?.session === session;
          if (!(error instanceof ConnectionLost) && counts && !session.closed) throw error;
        }
      }),
    );
  }

  #inTurn(operation: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(operation);
    this.#last = turn.catch(() => {});
    return turn;
  }
}
