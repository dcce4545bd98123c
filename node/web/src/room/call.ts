import {
  Emitter,
  MediaError,
  openCamera,
  openMicrophone,
  Publication,
  type Bandwidth,
  type ChatMessage,
  type Peer,
  type Role,
  type Room,
  type StateDetails,
  type Subscription,
} from '../sdk/index.js';
import type { LocalMedia } from './local-media.js';
import { remember } from './memory.js';
import type { PageParams } from './params.js';

/** One picture on the stage. */
export interface Tile {
  /** Stays the same for as long as it is the same picture. */
  key: string;
  peerId: string;
  name: string;
  mine: boolean;
  /** `camera`, `screen`, or whatever other pictures a peer sends. */
  source: string;
  video: Subscription | Publication | undefined;
  audio: Subscription | Publication | undefined;
}

/** A short message that goes away by itself. */
export interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

/** What is open at the side. */
export type Panel = 'chat' | 'people' | undefined;

/** What the page knows of a call: the room of the SDK, and what is on the screen. */
export class Call extends Emitter<{ changed: [] }> {
  readonly room: Room;
  readonly media: LocalMedia;
  readonly params: PageParams;
  readonly messages: ChatMessage[] = [];
  details: StateDetails = {};
  bandwidth: Bandwidth | undefined;
  toasts: Toast[] = [];
  unread = 0;
  panel: Panel;
  /** The tile that the user put in the big place; null when the user wants none there. */
  pinned: string | null | undefined;
  /** Whether whoever speaks gets the big place. */
  spotlight = false;
  /** Whether the browser refuses to play sound before the user has clicked. */
  soundBlocked = false;
  /** Whether the camera or the microphone is just being switched. */
  busy = new Set<'camera' | 'microphone' | 'screen'>();
  /** Who spoke last, other than this client. */
  #lastSpeaker: string | undefined;
  #scheduled = false;
  #nextToast = 1;
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  /** Whether nobody has been looking at the page for a while. */
  hidden = false;

  constructor(room: Room, media: LocalMedia, params: PageParams) {
    super();
    this.room = room;
    this.media = media;
    this.params = params;
    const changed = () => this.changed();
    room.on('state', (state, details) => {
      this.details = details;
      if (state === 'reconnecting' || state === 'closed') this.bandwidth = undefined;
      changed();
    });
    room.on('peerJoined', (peer) => {
      // Those who were there already are no news.
      if (this.#settled && !this.staged) this.toast(`${peer.displayName} joined`);
      changed();
    });
    room.on('peerLeft', (peer) => {
      // Of an audience nobody wants to know who comes and goes.
      if (room.state === 'connected' && !this.staged) this.toast(`${peer.displayName} left`);
      if (this.#lastSpeaker === peer.id) this.#lastSpeaker = undefined;
      changed();
    });
    room.on('subscribed', ({ kind, source }) => {
      // Whoever made the last screen small has said nothing about this one.
      if (kind === 'video' && source !== 'camera' && this.pinned === null) this.pinned = undefined;
    });
    room.on('roleChanged', (peerId, role, before) => {
      if (peerId === room.peerId && before !== undefined) this.#roleToast(role, before);
      changed();
    });
    for (const event of ['peerChanged', 'subscribed', 'unsubscribed', 'subscriptionChanged', 'welcome', 'waiting'] as const) {
      room.on(event, changed);
    }
    for (const event of ['published', 'publicationChanged'] as const) room.on(event, changed);
    room.on('unpublished', (publication, why) => {
      if (why === 'ended' && publication.source === 'camera') this.toast('The camera stopped', true);
      if (why === 'ended' && publication.source === 'microphone') this.toast('The microphone stopped', true);
      changed();
    });
    room.on('speaker', (peerId) => {
      if (peerId !== null && peerId !== room.peerId) this.#lastSpeaker = peerId;
      changed();
    });
    room.on('bandwidth', (bandwidth) => {
      this.bandwidth = bandwidth;
      changed();
    });
    room.on('message', (message) => {
      this.messages.push(message);
      if (!message.mine && this.panel !== 'chat') this.unread += 1;
      changed();
    });
    room.on('error', (error) => this.toast(error.message, true));
    media.on('changed', changed);
    document.addEventListener('visibilitychange', this.#visibility);
  }

  /** Enters the room with the preview's tracks. Fails as Room.join does. */
  async start(): Promise<void> {
    const joining = this.room.join();
    // Whoever may not publish is not asked for devices. That is known soon, and on a stage it is worth waiting for.
    if (this.params.wishes.mode === 'stage') await joining;
    else await Promise.race([joining, this.#roleKnown()]);
    // What is published before the room stands is sent as soon as it does. So the browser may ask the user for the
    // devices while the mesh is asked for a place, and whoever waits sees themselves.
    await Promise.all([joining, this.#publishPreview()]);
    setTimeout(() => (this.#settled = true), 1500);
  }

  /** Resolves once the mesh has told what this user may do, or has let nothing be heard for a while. */
  #roleKnown(): Promise<void> {
    return new Promise((resolve) => {
      this.room.once('roleChanged', () => resolve());
      this.room.once('welcome', () => resolve());
      setTimeout(resolve, 1000);
    });
  }

  async #publishPreview(): Promise<void> {
    if (!this.listens) await this.media.open();
    if (this.room.state === 'closed' || this.listens) return this.media.close();
    const { camera, microphone } = this.media;
    for (const { error } of [microphone, camera]) if (error) this.toast(error.message, true);
    await Promise.all([
      microphone.track ? this.#publish('microphone') : undefined,
      camera.track ? this.#publish('camera') : undefined,
    ]);
  }

  /** Leaves. */
  leave(): void {
    this.room.leave();
    this.media.close();
    document.removeEventListener('visibilitychange', this.#visibility);
  }

  /** Whether this user may only listen. */
  get listens(): boolean {
    return this.room.role === 'listen';
  }

  /** Whether this user may send others away, and let them publish. A node of an older version does not tell. */
  get moderates(): boolean {
    return this.room.role === undefined || this.room.role === 'moderate';
  }

  /** Whether some are on a stage, and the others listen. */
  get staged(): boolean {
    return this.room.settings?.mode === 'stage';
  }

  /** Whether someone is on the stage. Where nobody has told what they may do, whoever publishes is. */
  isOnStage(peer: Peer): boolean {
    return peer.role ? peer.role !== 'listen' : peer.subscriptions.length > 0;
  }

  /** All pictures: others first, oneself last. Listeners have none. */
  get tiles(): Tile[] {
    const tiles: Tile[] = [];
    for (const peer of this.room.peers.values()) {
      if ((this.staged || peer.role === 'listen') && !this.isOnStage(peer)) continue;
      const about = { peerId: peer.id, name: peer.displayName, mine: false };
      for (const video of peer.subscriptions) {
        if (video.kind !== 'video' || video.source === 'camera') continue;
        const audio = peer.subscription(`${video.source}Audio`);
        tiles.push({ ...about, key: `${peer.id}/${video.source}`, source: video.source, video, audio });
      }
      const [video, audio] = [peer.subscription('camera'), peer.subscription('microphone')];
      tiles.push({ ...about, key: `${peer.id}/camera`, source: 'camera', video, audio });
    }
    if (this.listens) return tiles;
    const about = { peerId: this.room.peerId, name: this.room.displayName, mine: true };
    const screen = this.room.publication('screen');
    if (screen) tiles.push({ ...about, key: 'me/screen', source: 'screen', video: screen, audio: undefined });
    const [video, audio] = [this.room.publication('camera'), this.room.publication('microphone')];
    tiles.push({ ...about, key: 'me/camera', source: 'camera', video, audio });
    return tiles;
  }

  /** The tile that gets the big place, if any: pinned by the user, or a screen, or in the spotlight who speaks. */
  mainTile(tiles: readonly Tile[]): string | undefined {
    if (this.pinned !== undefined) {
      if (this.pinned === null) return undefined;
      if (tiles.some(({ key }) => key === this.pinned)) return this.pinned;
    }
    const screen = tiles.find(({ source, mine }) => source !== 'camera' && !mine);
    if (screen) return screen.key;
    if (!this.spotlight) return undefined;
    const others = tiles.filter(({ mine }) => !mine);
    return (others.find(({ peerId }) => peerId === this.#lastSpeaker) ?? others[0])?.key;
  }

  /** Puts a tile in the big place, or takes it from there. */
  pin(key: string): void {
    const { tiles } = this;
    const wasPinned = this.pinned === key;
    if (this.mainTile(tiles) !== key) {
      this.pinned = key;
    } else {
      // Back to what the page would choose by itself; where that is the same tile, the user wants none there.
      this.pinned = undefined;
      if (this.mainTile(tiles) === key || !wasPinned) this.pinned = null;
    }
    this.#pinAtNode(tiles.find((tile) => tile.key === this.pinned));
    this.changed();
  }

  /** Where only those who spoke last are forwarded, whoever is pinned is to be so as well. */
  #pinAtNode(tile: Tile | undefined): void {
    const wanted = tile && !tile.mine ? [tile.peerId] : [];
    if (!this.room.settings?.lastN || String(wanted) === String(this.room.pins)) return;
    this.room.pin(wanted).catch((error: unknown) => this.#complain(error));
  }

  /** Between all alike and whoever speaks. */
  toggleSpotlight(): void {
    this.spotlight = !this.spotlight;
    this.pinned = undefined;
    this.#pinAtNode(undefined);
    this.changed();
  }

  /** Opens or closes what is at the side. */
  togglePanel(panel: Exclude<Panel, undefined>): void {
    this.panel = this.panel === panel ? undefined : panel;
    if (this.panel === 'chat') this.unread = 0;
    this.changed();
  }

  /** Whether the camera or microphone is sending. */
  isOn(which: 'camera' | 'microphone' | 'screen'): boolean {
    const publication = this.room.publication(which);
    return publication !== undefined && !publication.muted;
  }

  /** Switches the camera, the microphone, or the sharing of the screen. */
  async toggle(which: 'camera' | 'microphone' | 'screen'): Promise<void> {
    if (this.busy.has(which) || this.listens) return;
    this.busy.add(which);
    this.changed();
    try {
      const publication = this.room.publication(which);
      if (which === 'screen') {
        if (publication) await publication.close();
        else await this.room.publishScreen();
      } else if (!publication) {
        await this.#publish(which);
      } else if (publication.muted) {
        await publication.unmute();
      } else {
        await publication.mute();
      }
    } catch (error) {
      // Closing the browser's own chooser is a choice, not a fault.
      const cancelled = which === 'screen' && error instanceof MediaError && error.kind === 'denied';
      if (!cancelled) this.#complain(error);
    } finally {
      this.busy.delete(which);
      this.changed();
    }
  }

  /** Takes another camera or microphone. */
  async choose(which: 'camera' | 'microphone', deviceId: string): Promise<void> {
    const device = this.media[which];
    device.deviceId = deviceId;
    remember(which, deviceId);
    const publication = this.room.publication(which);
    try {
      if (!publication) {
        this.changed();
        return;
      }
      const reopen =
        which === 'camera' ? () => openCamera(deviceId ? { deviceId } : {}) : () => openMicrophone({ deviceId });
      // While a camera is off there is nothing to open; the next time it is switched on it is this one.
      if (which === 'camera' && publication.muted) {
        await publication.close();
        return;
      }
      await publication.replaceTrack(await reopen(), { owned: true, ...(which === 'camera' ? { reopen } : {}) });
    } catch (error) {
      this.#complain(error);
    }
  }

  /** Says a line of chat. */
  async say(text: string): Promise<void> {
    try {
      await this.room.sendMessage(text);
    } catch (error) {
      this.#complain(error);
      throw error;
    }
  }

  /** Takes another name. */
  async rename(name: string): Promise<void> {
    try {
      await this.room.changeDisplayName(name);
      remember('name', name);
    } catch (error) {
      this.#complain(error);
    }
    this.changed();
  }

  /** Puts someone out of the room. */
  async kick(peerId: string): Promise<void> {
    try {
      await this.room.kick(peerId);
    } catch (error) {
      this.#complain(error);
    }
  }

  /** Lets someone publish, or no longer. */
  async setOnStage(peerId: string, on: boolean): Promise<void> {
    try {
      await (on ? this.room.promote(peerId) : this.room.demote(peerId));
    } catch (error) {
      this.#complain(error);
    }
  }

  /** Shows a short message. */
  toast(text: string, bad = false): void {
    // Camera and microphone often fail for the same reason.
    if (this.toasts.some((toast) => toast.text === text)) return;
    const id = this.#nextToast++;
    // No more than can be read.
    this.toasts = [...this.toasts.slice(-2), { id, text, bad }];
    setTimeout(() => this.dismiss(id), bad ? 8000 : 3500);
    this.changed();
  }

  /** Takes a short message away. */
  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
    this.changed();
  }

  /** Draws anew, soon: a room of many people tells many things at once. */
  changed(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      this.emit('changed');
    }, 30);
  }

  #settled = false;

  async #publish(which: 'camera' | 'microphone'): Promise<void> {
    if (this.room.publication(which)) return;
    const { deviceId } = this.media[which];
    const track = this.media.take(which);
    const { codec, simulcast } = this.params;
    try {
      if (which === 'camera') await this.room.publishCamera({ track, deviceId, codec, simulcast });
      else await this.room.publishMicrophone({ track, deviceId });
      this.media[which].error = undefined;
    } catch (error) {
      if (error instanceof MediaError) this.media[which].error = error;
      if (this.room.state !== 'closed') this.#complain(error);
    }
    this.changed();
  }

  #roleToast(role: Role, before: Role): void {
    if (role === 'listen') this.toast('You are a listener now');
    else if (before === 'listen') this.toast('You may speak now: switch on your microphone or camera');
  }

  #complain(error: unknown): void {
    this.toast(error instanceof Error ? error.message : String(error), true);
  }

  readonly #visibility = (): void => {
    clearTimeout(this.#hiddenTimer);
    const set = (hidden: boolean) => {
      this.hidden = hidden;
      this.changed();
    };
    // A glance at another window is no reason to let the pictures go.
    if (document.hidden) this.#hiddenTimer = setTimeout(() => set(true), 5000);
    else if (this.hidden) set(false);
  };
}
