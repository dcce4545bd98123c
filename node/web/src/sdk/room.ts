import { Device as MediasoupDevice } from 'mediasoup-client';
import type { Device as DeviceInfo, Notification, ServerRequest } from '../protocol.js';
import { describeBrowser } from './browser.js';
import { cameraEncoding, musicOptions, opusOptions, screenEncoding, type VideoCodec } from './codecs.js';
import { Connector } from './connector.js';
import { DataPublication, type DataMessage, type DataOptions } from './data.js';
import { Emitter } from './emitter.js';
import { connectUrl, Endpoints } from './endpoints.js';
import { ConnectionLost, RoomClosed } from './errors.js';
import { openCamera, openMicrophone, openScreen, type CameraOptions, type MicrophoneOptions } from './media.js';
import type { Peer } from './peer.js';
import { CLOSE_FOR_GOOD } from './protoo.js';
import { Publication, type PublishOptions } from './publication.js';
import type { Placement, RoomEvents, RoomOptions, RoomState, StateDetails } from './room-types.js';
import { Roster } from './roster.js';
import { Session } from './session.js';


const CHAT = 'chat';

/** A random peer id. */
export function randomPeerId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => (byte % 36).toString(36)).join('');
}

/** One client's stay in one room of a mesh. A closed room stays closed; to come back, make another one. */
export class Room extends Emitter<RoomEvents> {
  /** The room's id. */
  readonly id: string;
  /** This peer's id. */
  readonly peerId: string;
  readonly #options: RoomOptions;
  readonly #endpoints: Endpoints;
  readonly #connector: Connector;
  readonly #roster: Roster;
  readonly #publications = new Set<Publication>();
  readonly #dataPublications = new Set<DataPublication>();
  readonly #device: DeviceInfo;
  #chat: DataPublication | undefined;
  #displayName: string;
  #state: RoomState = 'idle';
  #session: Session | undefined;
  #placement: Placement | undefined;
  #speaker: string | null = null;

  /** Nothing happens before `join()`. */
  constructor(options: RoomOptions) {
    super();
    this.#options = options;
    this.id = options.room;
    this.peerId = options.peer ?? randomPeerId();
    this.#displayName = options.displayName ?? this.peerId;
    this.#device = options.device ?? describeBrowser(globalThis.navigator?.userAgent);
    this.#endpoints = new Endpoints(options.endpoints, { secureOnly: globalThis.location?.protocol === 'https:' });
    this.#connector = new Connector(this.#endpoints, options.retry ?? {});
    this.#roster = new Roster({
      peerJoined: (peer) => this.emit('peerJoined', peer),
      peerLeft: (peer) => this.emit('peerLeft', peer),
      peerChanged: (peer, before) => this.emit('peerChanged', peer, before),
      subscribed: (subscription) => this.emit('subscribed', subscription),
      unsubscribed: (subscription) => this.emit('unsubscribed', subscription),
      subscriptionChanged: (subscription) => this.emit('subscriptionChanged', subscription),
      data: (message) => this.#received(message),
      accept: (info) => options.accept?.(info) ?? true,
    });
  }

  /** Where it is in its life. */
  get state(): RoomState {
    return this.#state;
  }
  /** This peer's name for people. */
  get displayName(): string {
    return this.#displayName;
  }
  /** Everyone else, by id. */
  get peers(): ReadonlyMap<string, Peer> {
    return this.#roster.peers;
  }
  /** All tracks that this client publishes. */
  get publications(): readonly Publication[] {
    return [...this.#publications];
  }
  /** What this client publishes of one source, if anything. */
  publication(source: string): Publication | undefined {
    return this.publications.findLast((publication) => publication.source === source);
  }
  /** Who speaks: a peer's id, perhaps this one's. */
  get speaker(): string | null {
    return this.#speaker;
  }
  /** Which nodes hold this client; undefined until the mesh has told. */
  get placement(): Placement | undefined {
    return this.#placement;
  }
  /** All nodes that this client may dial. */
  get endpoints(): readonly string[] {
    return this.#endpoints.all;
  }

  /**
   * Enters the room. Fails with RoomClosed, saying why, when the mesh refuses, or when no node could be reached.
   * From then on the room reconnects by itself, through other nodes where need be, until it is left or refused.
   */
  async join(): Promise<void> {
    if (this.#state !== 'idle') throw new Error('a room is joined once');
    globalThis.addEventListener?.('online', this.#online);
    if (this.#options.chat !== false) this.#chat = this.#announce(new DataPublication({ label: CHAT }));
    await this.#connect(true);
  }

  /** Leaves the room and lets go of camera, microphone and screen. */
  leave(): void {
    this.#close('left');
  }

  /** Publishes a camera; the SDK opens it unless a track is given. */
  async publishCamera(
    options: CameraOptions & {
      /** An open camera's track. It is the SDK's from now on. */
      track?: MediaStreamTrack | undefined;
      /** Several layers, so that everyone gets what they have room for; yes, unless false. */
      simulcast?: boolean | undefined;
      /** The codec; VP8 where it is not given. */
      codec?: VideoCodec | undefined;
    } = {},
  ): Promise<Publication> {
    const { track, simulcast, codec, ...camera } = options;
    return this.publish({
      track: track ?? (await openCamera(camera)),
      source: 'camera',
      codec: codec ?? 'vp8',
      encoding: (current) => cameraEncoding(current.getSettings?.() ?? {}, { codec, simulcast }),
      owned: true,
      reopen: () => openCamera(camera),
    });
  }

  /** Publishes a microphone; the SDK opens it unless a track is given. */
  async publishMicrophone(
    options: MicrophoneOptions & {
      /** An open microphone's track. It is the SDK's from now on. */
      track?: MediaStreamTrack | undefined;
    } = {},
  ): Promise<Publication> {
    const { track, ...microphone } = options;
    return this.publish({
      track: track ?? (await openMicrophone(microphone)),
      source: 'microphone',
      encoding: () => ({ encodings: [], codecOptions: microphone.raw ? musicOptions : opusOptions }),
      owned: true,
    });
  }

  /** Lets the user choose a screen, window or tab, and publishes it, with its sound where there is any. */
  async publishScreen({ codec }: { codec?: VideoCodec | undefined } = {}): Promise<Publication> {
    const { video, audio } = await openScreen();
    // Text is to stay legible, rather than to move smoothly.
    video.contentHint = 'detail';
    const screen = await this.publish({
      track: video,
      source: 'screen',
      codec: codec ?? 'vp8',
      encoding: () => screenEncoding(codec),
      owned: true,
    });
    if (audio) {
      const sound = await this.publish({
        track: audio,
        source: 'screenAudio',
        encoding: () => ({ encodings: [], codecOptions: musicOptions }),
        owned: true,
      });
      screen.on('closed', () => void sound.close());
    }
    return screen;
  }

  /** Publishes any track. While not connected it is remembered and published on connection. */
  async publish(options: PublishOptions): Promise<Publication> {
    if (this.#state === 'closed') {
      if (options.owned) options.track.stop();
      throw new RoomClosed('the room is closed');
    }
    const publication = new Publication(options);
    this.#publications.add(publication);
    publication.on('changed', () => this.emit('publicationChanged', publication));
    publication.on('closed', (why) => {
      this.#publications.delete(publication);
      this.emit('unpublished', publication, why);
    });
    try {
      if (this.#session) await publication.attach(this.#session);
    } catch (error) {
      // With the connection lost it is published over the next one; anything else is the caller's to know.
      if (!(error instanceof ConnectionLost)) {
        await publication.close();
        throw error;
      }
    }
    if (!publication.closed) this.emit('published', publication);
    return publication;
  }

  /** Opens a channel for messages of the application's own. */
  async publishData(options: DataOptions): Promise<DataPublication> {
    const publication = this.#announce(new DataPublication(options));
    if (this.#session) await publication.attach(this.#session);
    return publication;
  }

  /** Sends a line of chat to everyone, as soon as there is a connection. */
  async sendMessage(text: string): Promise<void> {
    if (!this.#chat) throw new Error('there is no chat channel');
    await this.#chat.sendSoon(text);
    this.emit('message', { peerId: this.peerId, displayName: this.#displayName, text, at: Date.now(), mine: true });
  }

  /** Takes another name. */
  async changeDisplayName(displayName: string): Promise<void> {
    await this.#request().protoo.request('changeDisplayName', { displayName });
    this.#displayName = displayName;
  }

  /** Puts someone out of the room, where this client's token allows it. */
  async kick(peerId: string): Promise<void> {
    await this.#request().protoo.request('kick', { peerId });
  }

  /** Ends the room for everyone, where this client's token allows it. */
  async closeRoom(): Promise<void> {
    await this.#request().protoo.request('closeRoom', {});
  }

  /** Finds new paths for media, as after a change of network. The SDK does so by itself when a path breaks. */
  async restartIce(): Promise<void> {
    await this.#request().restartIce();
  }

  /** While reconnecting: dials right now instead of waiting longer. */
  retryNow(): void {
    this.#connector.wake();
  }

  /** What the browser measured of both transports. */
  async transportStats(): Promise<{ send: RTCStatsReport; recv: RTCStatsReport }> {
    const { send, recv } = this.#request();
    const [sending, receiving] = await Promise.all([send.getStats(), recv.getStats()]);
    return { send: sending, recv: receiving };
  }

  #request(): Session {
    if (!this.#session) throw new ConnectionLost(1006, 'not connected');
    return this.#session;
  }

  #announce(publication: DataPublication): DataPublication {
    this.#dataPublications.add(publication);
    publication.on('closed', () => this.#dataPublications.delete(publication));
    return publication;
  }

  /** Dials until a session stands. On failure the room is closed. */
  async #connect(first: boolean): Promise<void> {
    const before = this.#session;
    this.#session = undefined;
    let attempt = 0;
    let reason: string | undefined;
    try {
      await this.#connector.connect(
        first,
        async (endpoint) => {
          attempt += 1;
          this.#setState(first ? 'connecting' : 'reconnecting', { endpoint, attempt, ...(reason ? { reason } : {}) });
          return this.#open(endpoint, before);
        },
        (error, endpoint) => {
          reason = error instanceof Error ? error.message : String(error);
          console.info(`skein: ${endpoint}: ${reason}`);
        },
      );
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      this.#close(said);
      before?.close();
      throw error instanceof RoomClosed ? error : new RoomClosed(said);
    }
  }

  /** One attempt: a session, joined, with everything published over it. */
  async #open(endpoint: string, before: Session | undefined): Promise<Session> {
    const { token, createDevice = () => MediasoupDevice.factory(), WebSocket = globalThis.WebSocket } = this.#options;
    const opening = Session.open(
      {
        url: connectUrl(endpoint, { room: this.id, peer: this.peerId, token }),
        WebSocket,
        createDevice,
        forceTcp: this.#options.forceTcp ?? false,
        iceServers: this.#options.iceServers,
      },
      {
        request: async (request) => this.#asked(await opening, request),
        notification: (notification) => this.#told(notification),
        closed: (lost) => void opening.then((session) => this.#lost(session, lost)),
      },
    );
    const session = await opening;
    let joined = false;
    try {
      const present = await session.join(this.#displayName, this.#device);
      if (this.#state === 'closed') throw new RoomClosed('left');
      joined = true;
      // Until here the old transports stood, so that media went on where only the entry was lost.
      before?.close();
      this.#roster.joined(present);
    } finally {
      if (!joined) session.close();
    }
    this.#session = session;
    this.#setState('connected', { endpoint });
    for (const data of this.#dataPublications) this.#attach(data.attach(session));
    for (const publication of this.#publications) this.#attach(publication.attach(session));
    return session;
  }

  /** Publishing again must not keep the room from standing. */
  #attach(attaching: Promise<void>): void {
    attaching.catch((error: unknown) => {
      if (!(error instanceof ConnectionLost)) this.#failed(error);
    });
  }

  /** The connection of `session` broke, or the node closed it. */
  #lost(session: Session, lost: ConnectionLost): void {
    // Of a session that did not come to stand, its own requests tell by failing.
    if (session !== this.#session) return;
    this.#roster.sessionLost();
    if (lost.code === CLOSE_FOR_GOOD) {
      this.#close(lost.reason || 'the room was closed');
      return;
    }
    // Another node may be the better choice: this one may be going down.
    this.#endpoints.advance();
    this.#setState('reconnecting', { reason: lost.message });
    // Told by the state; there is nobody to throw to.
    this.#connect(false).catch(() => {});
  }

  #close(reason: string): void {
    if (this.#state === 'closed') return;
    globalThis.removeEventListener?.('online', this.#online);
    this.#connector.stop();
    this.#session?.close();
    this.#session = undefined;
    this.#roster.clear();
    for (const publication of this.#publications) void publication.close().catch(() => {});
    for (const data of this.#dataPublications) data.close();
    this.#chat = undefined;
    this.#speaker = null;
    this.#setState('closed', { reason });
  }

  #setState(state: RoomState, details: StateDetails): void {
    this.#state = state;
    this.emit('state', state, details);
  }

  #asked(session: Session, request: ServerRequest): Promise<void> {
    switch (request.method) {
      case 'newConsumer':
        return this.#roster.newConsumer(session, request.data);
      case 'newDataConsumer':
        return this.#roster.newDataConsumer(session, request.data);
      default:
        return Promise.reject(new Error(`unknown method ${(request as { method: string }).method}`));
    }
  }

  #told(notification: Notification): void {
    if (this.#roster.notification(notification)) return;
    switch (notification.method) {
      case 'welcome': {
        const { session, node, host, endpoints } = notification.data;
        this.#endpoints.learn(endpoints);
        this.#placement = { session, entry: node, host, endpoints };
        this.emit('welcome', this.#placement);
        break;
      }
      case 'producerScore': {
        const { producerId, score } = notification.data;
        this.publications.find((publication) => publication.producerId === producerId)?.scored(score);
        break;
      }
      case 'downlinkBwe': {
        const { desiredBitrate, effectiveDesiredBitrate, availableBitrate } = notification.data;
        this.emit('bandwidth', {
          desired: desiredBitrate,
          effective: effectiveDesiredBitrate,
          available: availableBitrate,
        });
        break;
      }
      case 'activeSpeaker':
        this.#speaker = notification.data.peerId;
        this.emit('speaker', this.#speaker, notification.data.volume);
        break;
      case 'mediasoup-version':
        break;
      default: {
        const { method, data } = notification as { method: string; data: unknown };
        this.emit('notification', method, data);
      }
    }
  }

  #received(message: DataMessage): void {
    const { peerId, label, data } = message;
    if (label !== CHAT || typeof data !== 'string') {
      this.emit('data', message);
      return;
    }
    const displayName = peerId === null ? '' : (this.peers.get(peerId)?.displayName ?? peerId);
    this.emit('message', { peerId, displayName, text: data, at: Date.now(), mine: false });
  }

  #failed(error: unknown): void {
    this.emit('error', error instanceof Error ? error : new Error(String(error)));
  }

  readonly #online = (): void => this.#connector.wake();
}
