import type { Device as DeviceInfo, Move as MoveRequest, Notification, Role, ServerRequest } from '../protocol.js';
import { describeBrowser } from './browser.js';
import {
  captureCamera,
  captureMicrophone,
  captureScreen,
  type CameraPublishOptions,
  type MicrophonePublishOptions,
} from './capture.js';
import type { VideoCodec } from './codecs.js';
import { Connector } from './connector.js';
import { DataPublication, type DataMessage, type DataOptions } from './data.js';
import { Emitter } from './emitter.js';
import { Endpoints } from './endpoints.js';
import { ConnectionLost, RequestError, RoomClosed } from './errors.js';
import { Lines, type Line } from './lines.js';
import { Move } from './move.js';
import { randomPeerId, type Peer } from './peer.js';
import { CLOSE_FOR_GOOD } from './protoo.js';
import { Publication, type PublishOptions } from './publication.js';
import type { Placement, RoomEvents, RoomOptions, RoomSettings, RoomState, StateDetails, Waiting } from './room-types.js';
import { Roster } from './roster.js';
import type { Session, Welcome } from './session.js';

const CHAT = 'chat';
const LISTENS = 'listeners may not publish';

/** One client's stay in one room of a mesh. A closed room stays closed; to come back, make another one. */
export class Room extends Emitter<RoomEvents> {
  /** The room's id. */
  readonly id: string;
  /** This peer's id. */
  readonly peerId: string;
  readonly #options: RoomOptions;
  readonly #endpoints: Endpoints;
  readonly #connector: Connector;
  readonly #lines: Lines;
  readonly #roster: Roster;
  readonly #publications = new Set<Publication>();
  readonly #dataPublications = new Set<DataPublication>();
  readonly #device: DeviceInfo;
  #chat: DataPublication | undefined;
  #displayName: string;
  #state: RoomState = 'idle';
  #session: Session | undefined;
  #move: Move | undefined;
  #placement: Placement | undefined;
  #waiting: Waiting | undefined;
  #role: Role | undefined;
  #settings: RoomSettings | undefined;
  #pins: readonly string[] = [];
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
    this.#lines = new Lines(options, { room: this.id, peer: this.peerId }, {
      asked: (session, request) => this.#asked(session, request),
      told: (line, notification) => this.#told(line, notification),
      lost: (session, lost) => this.#lost(session, lost),
    });
    this.#roster = new Roster({
      peerJoined: (peer) => this.emit('peerJoined', peer),
      peerLeft: (peer) => this.emit('peerLeft', peer),
      peerChanged: (peer, before) => this.emit('peerChanged', peer, before),
      subscribed: (subscription) => this.emit('subscribed', subscription),
      unsubscribed: (subscription) => this.emit('unsubscribed', subscription),
      subscriptionChanged: (subscription) => this.emit('subscriptionChanged', subscription),
      trackChanged: (subscription, before) => this.emit('trackChanged', subscription, before),
      data: (message) => this.#received(message),
      // Of this client's other connection, in a move, nothing is to be received over this one.
      accept: (info) => info.peerId !== this.peerId && (options.accept?.(info) ?? true),
      isSelf: (id) => id === this.peerId,
      settle: options.move?.settle ?? 500,
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
  /** What this client waits for, where the mesh has no place for it yet. */
  get waiting(): Waiting | undefined {
    return this.#waiting;
  }
  /** What this client may do; undefined until the mesh has told. */
  get role(): Role | undefined {
    return this.#role;
  }
  /** What the room is like; undefined until the mesh has told. */
  get settings(): RoomSettings | undefined {
    return this.#settings;
  }
  /** The peers whose video this client asked for in any case. */
  get pins(): readonly string[] {
    return this.#pins;
  }
  /** Whether the mesh is just moving this client to another host. */
  get moving(): boolean {
    return this.#move !== undefined;
  }
  /** All nodes that this client may dial. */
  get endpoints(): readonly string[] {
    return this.#endpoints.all;
  }
  /** For the SDK, and to see what a page hangs on: the session, and during a move the one to come as well. */
  get sessions(): readonly Session[] {
    return [...new Set([this.#session, this.#move?.next])].filter((session) => session !== undefined);
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
  async publishCamera(options: CameraPublishOptions = {}): Promise<Publication> {
    this.#checkPublish(options.track);
    return this.publish(await captureCamera(options));
  }

  /** Publishes a microphone; the SDK opens it unless a track is given. */
  async publishMicrophone(options: MicrophonePublishOptions = {}): Promise<Publication> {
    this.#checkPublish(options.track);
    return this.publish(await captureMicrophone(options));
  }

  /** Lets the user choose a screen, window or tab, and publishes it, with its sound where there is any. */
  async publishScreen({ codec }: { codec?: VideoCodec | undefined } = {}): Promise<Publication> {
    this.#checkPublish();
    const { picture, sound } = await captureScreen(codec);
    const screen = await this.publish(picture);
    if (sound) {
      const published = await this.publish(sound);
      screen.on('closed', () => void published.close());
    }
    return screen;
  }

  /** Publishes any track. While not connected it is remembered and published on connection. */
  async publish(options: PublishOptions): Promise<Publication> {
    this.#checkPublish(options.owned ? options.track : undefined);
    const publication = new Publication(options);
    this.#publications.add(publication);
    publication.on('changed', () => this.emit('publicationChanged', publication));
    publication.on('closed', (why) => {
      this.#publications.delete(publication);
      this.emit('unpublished', publication, why);
    });
    try {
      // During a move, over both connections.
      await this.#everywhere((session) => publication.extend(session));
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
    if (this.#session && this.#role !== 'listen') await publication.attach(this.#session);
    if (this.#move?.next) await publication.prepare(this.#move.next);
    return publication;
  }

  /** Sends a line of chat to everyone, as soon as there is a connection. */
  async sendMessage(text: string): Promise<void> {
    if (!this.#chat) throw new Error('there is no chat channel');
    if (this.#role === 'listen') throw new RequestError('produceData', 403, 'listeners may not write');
    await this.#chat.sendSoon(text);
    this.emit('message', { peerId: this.peerId, displayName: this.#displayName, text, at: Date.now(), mine: true });
  }

  /** Takes another name. */
  async changeDisplayName(displayName: string): Promise<void> {
    this.#request();
    await this.#everywhere(({ protoo }) => protoo.request('changeDisplayName', { displayName }));
    this.#displayName = displayName;
  }

  /** Puts someone out of the room, where this client's token allows it. */
  async kick(peerId: string): Promise<void> {
    await this.#request().protoo.request('kick', { peerId });
  }

  /** Lets a listener publish, where this client may moderate. */
  async promote(peerId: string): Promise<void> {
    await this.#request().protoo.request('promote', { peerId });
  }

  /** Makes someone a listener, where this client may moderate. What they publish ends. */
  async demote(peerId: string): Promise<void> {
    await this.#request().protoo.request('demote', { peerId });
  }

  /**
   * Asks for the video of these peers in any case, in a room that forwards only those who spoke last. It replaces what
   * was asked for before, and holds through reconnections and moves.
   */
  async pin(peerIds: readonly string[]): Promise<void> {
    this.#pins = [...peerIds];
    await this.#everywhere((session) => this.#sendPins(session));
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
    const session = this.#request();
    const [send, recv] = await Promise.all([session.send.getStats(), session.recv.getStats()]);
    return { send, recv };
  }

  #request(): Session {
    if (!this.#session) throw new ConnectionLost(1006, 'not connected');
    return this.#session;
  }

  /** Throws where nothing can be published, and lets go of what was to be. */
  #checkPublish(owned?: MediaStreamTrack): void {
    if (this.#state !== 'closed' && this.#role !== 'listen') return;
    owned?.stop();
    throw this.#state === 'closed' ? new RoomClosed('the room is closed') : new RequestError('produce', 403, LISTENS);
  }

  /** Over the session, and during a move over the one to come, which is of no use if it refuses. */
  async #everywhere(request: (session: Session) => Promise<unknown>): Promise<void> {
    const [now, ...next] = this.sessions.map((session) => request(session));
    await Promise.all([now, ...next.map((one) => one.catch((error: Error) => this.#move?.cancel(error)))]);
  }

  async #sendPins({ protoo }: Session): Promise<void> {
    await protoo.request('pin', { peerIds: [...this.#pins] });
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
    const { role, mode, size, guaranteed, lastN } = this.#options;
    const session = await this.#lines.dial(endpoint, { role, mode, size, guaranteed, lastN });
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
    if (this.#role !== 'listen') for (const data of this.#dataPublications) this.#attach(data.attach(session));
    for (const publication of this.#publications) this.#attach(publication.attach(session));
    if (this.#pins.length > 0) this.#attach(this.#sendPins(session));
    return session;
  }

  /** The mesh asks for a move. Throws to reject it; otherwise it goes its way. */
  #startMove(old: Session, request: MoveRequest): void {
    if (old !== this.#session || this.#state !== 'connected') throw new RequestError('move', 409, 'not connected');
    if (this.#move) throw new RequestError('move', 409, 'the client is moving already');
    const move: Move = new Move(
      request,
      {
        old,
        dial: (token) =>
          this.#connector.once(
            // What it asked to be it goes on being; what the room is like is settled.
            (endpoint) => this.#lines.dial(endpoint, { role: this.#options.role, move: token }),
            () => this.#move === move,
            request.endpoints,
          ),
        join: (next) => next.join(this.#displayName, this.#device),
        joined: (present) => this.#roster.joined(present),
        extend: (next) => this.#extend(next),
        flows: (next) => this.#flows(old, next),
        sends: async (next) => (await Promise.all(this.publications.map((one) => one.sends(next)))).every(Boolean),
        arrived: () => this.#roster.arrived(old),
        delivers: (next) => this.#roster.delivers(next),
        commit: (next) => this.#moveTo(next),
        release: (session) => this.#release(session),
      },
      this.#options.move,
    );
    this.#move = move;
    // The answer goes first, so that the node knows the connection that follows.
    setTimeout(() => void this.#runMove(move));
  }

  async #runMove(move: Move): Promise<void> {
    this.emit('move', 'started', move.details);
    try {
      await move.run();
      if (this.#move === move) this.#move = undefined;
      this.emit('move', 'finished', move.details);
    } catch (error) {
      if (this.#move === move) this.#move = undefined;
      const reason = error instanceof Error ? error.message : String(error);
      console.info(`skein: the move to ${move.details.host} failed: ${reason}`);
      this.emit('move', 'failed', { ...move.details, reason });
    }
  }

  /** Publishes over the session to come what is published over the one that stands. */
  async #extend(next: Session): Promise<void> {
    if (this.#pins.length > 0) this.#attach(this.#sendPins(next));
    if (this.#role !== 'listen') for (const data of this.#dataPublications) this.#attach(data.prepare(next));
    await Promise.all(this.publications.map((publication) => publication.extend(next)));
  }

  #flows(old: Session, next: Session): boolean {
    if (this.#roster.waiting(old).length > 0) return false;
    return [...this.#dataPublications].every((data) => data.ready(next));
  }

  /** Everything flows over `next`: it is the session from now on. */
  #moveTo(next: Session): void {
    const before = this.#session;
    this.#session = next;
    for (const data of this.#dataPublications) data.switchTo(next);
    for (const publication of this.#publications) if (before) publication.release(before);
    const welcome = this.#lines.welcome(next);
    if (welcome) this.#welcomed(welcome);
  }

  /** Ends the one of two sessions that is not needed any more, or never came to be. */
  #release(session: Session): void {
    for (const data of this.#dataPublications) data.release(session);
    for (const publication of this.#publications) publication.release(session);
    this.#roster.release(session);
    session.close();
  }

  /** Publishing again must not keep the room from standing. */
  #attach(attaching: Promise<void>): void {
    attaching.catch((error: unknown) => {
      if (error instanceof ConnectionLost) return;
      this.emit('error', error instanceof Error ? error : new Error(String(error)));
    });
  }

  /** The connection of `session` broke, or the node closed it. */
  #lost(session: Session, lost: ConnectionLost): void {
    if (this.#move?.isNext(session)) return this.#move.cancel(lost);
    // Of a session that did not come to stand, its own requests tell by failing.
    if (session !== this.#session) return;
    // Where it was about to be left anyway, the next one is there: should the peer have been sent away, that is told so too.
    if (this.#move?.hurry()) return;
    this.#endMove(lost);
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
    this.#endMove(new RoomClosed(reason));
    this.#lines.close();
    this.#session?.close();
    this.#session = undefined;
    this.#roster.clear();
    for (const publication of this.#publications) void publication.close().catch(() => {});
    for (const data of this.#dataPublications) data.close();
    this.#chat = undefined;
    this.#speaker = null;
    this.#setState('closed', { reason });
  }

  #endMove(why: Error): void {
    this.#move?.cancel(why);
    this.#move?.finish();
    this.#move = undefined;
  }

  #setState(state: RoomState, details: StateDetails): void {
    this.#state = state;
    this.#waiting = undefined;
    this.emit('state', state, details);
  }

  #asked(session: Session, request: ServerRequest): Promise<void> {
    switch (request.method) {
      case 'newConsumer':
        return this.#roster.newConsumer(session, request.data);
      case 'newDataConsumer':
        return this.#roster.newDataConsumer(session, request.data);
      case 'move':
        return new Promise((resolve) => resolve(this.#startMove(session, request.data)));
      default:
        return Promise.reject(new Error(`unknown method ${(request as { method: string }).method}`));
    }
  }

  #told(line: Line, notification: Notification): void {
    if (this.#roster.notification(notification)) return;
    if (notification.method === 'roleChanged') {
      this.#roleOf(notification.data.peerId, notification.data.role);
      return;
    }
    if (notification.method === 'welcome') {
      line.welcome = notification.data;
      // At once: it may be changed again before a move is done. A node of an older version does not tell.
      if (line.welcome.role) this.#roleOf(this.peerId, line.welcome.role);
    }
    // During a move both connections tell of the room. What only one of them can be right about, the one that stands is.
    const counts = this.#session === undefined || line.session === undefined ? !line.moving : line.session === this.#session;
    if (!counts) return;
    switch (notification.method) {
      case 'welcome':
        this.#welcomed(notification.data);
        break;
      case 'waiting':
        this.#waiting = notification.data;
        this.emit('waiting', notification.data);
        break;
      case 'producerScore': {
        const { producerId, score } = notification.data;
        this.publications.some((publication) => publication.scored(producerId, score));
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

  #welcomed({ session, node, host, endpoints, room }: Welcome): void {
    this.#endpoints.learn(endpoints);
    this.#placement = { session, entry: node, host, endpoints };
    if (room) this.#settings = room;
    this.#waiting = undefined;
    this.emit('welcome', this.#placement);
  }

  #roleOf(peerId: string, role: Role): void {
    const peer = this.peers.get(peerId);
    const own = peerId === this.peerId;
    const before = own ? this.#role : peer?.role;
    if (before === role || (!own && !peer)) return;
    peer?.became(role);
    if (own) this.#ownRole(role, before);
    this.emit('roleChanged', peerId, role, before);
  }

  #ownRole(role: Role, before: Role | undefined): void {
    this.#role = role;
    if (role === 'listen') {
      for (const publication of this.#publications) publication.revoke();
      for (const data of this.#dataPublications) for (const session of this.sessions) data.release(session);
    } else if (before === 'listen') {
      const [session, next] = this.sessions;
      for (const data of this.#dataPublications) {
        if (session) this.#attach(data.attach(session));
        if (next) this.#attach(data.prepare(next));
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

  readonly #online = (): void => this.#connector.wake();
}
