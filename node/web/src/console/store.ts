import type { Event, MeshStatus, RoomDetail, RoomSummary, Scaling } from '../protocol.js';
import { Emitter } from '../sdk/emitter.js';
import { Api, ApiProblem } from './api.js';

/** Where the figures come from right now. */
export type Feed = 'loading' | 'events' | 'polling' | 'offline' | 'locked';

/** How often to ask where there are no events, and for what events do not tell. */
const POLL = 2_000;
/** With events, the mesh is asked for only what they do not tell, such as its leader. */
const SLOW_POLL = 5_000;
/** How long to wait before the events are tried again. */
const RETRY_EVENTS = 8_000;

/** A new leader has nothing to tell before its first look. One that had nothing so often in a row does not scale. */
const FIRST_LOOK = 3;
/** How often to ask it all the same: it may scale after its next start. */
const UNSCALED = 60_000;

/** What the console knows of the mesh. */
export interface Picture {
  mesh: MeshStatus | undefined;
  rooms: RoomSummary[];
  /** Nodes whose rooms are not known. */
  missing: string[];
}

const byId = (a: { id: string }, b: { id: string }) => a.id.localeCompare(b.id);

/** Puts a changed thing into a list sorted by id, or takes it out. */
function replaced<T extends { id: string }>(list: readonly T[], id: string, thing: T | null): T[] {
  const others = list.filter((one) => one.id !== id);
  return thing ? [...others, thing].sort(byId) : others;
}

/** What the mesh looks like after an event. */
export function applied(picture: Picture, event: Event): Picture {
  if (event.event === 'node') {
    if (!picture.mesh) return picture;
    return { ...picture, mesh: { ...picture.mesh, nodes: replaced(picture.mesh.nodes, event.id, event.status) } };
  }
  if (event.event === 'room') return { ...picture, rooms: replaced(picture.rooms, event.id, event.summary) };
  return picture;
}

/** Follows the mesh and one chosen room. */
export class Store extends Emitter<{ changed: [] }> {
  readonly api = new Api();
  picture: Picture = { mesh: undefined, rooms: [], missing: [] };
  feed: Feed = 'loading';
  /** What went wrong last, in words. */
  problem = '';
  /** The chosen room's id. */
  selected: string | undefined;
  /** The chosen room, once it is known. */
  detail: RoomDetail | undefined;
  /** Why the chosen room is not known. */
  detailProblem = '';
  /** What the leader does about machines; nothing where it does nothing. */
  scaling: Scaling | undefined;
  /** Why that is not new. */
  scalingProblem = '';
  /** Whom, when, and how often in a row there was nothing to tell. */
  #scalingAsked = { leader: '', at: 0, nothing: 0 };
  #following: AbortController | undefined;
  #triedEvents = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #detailTimer: ReturnType<typeof setTimeout> | undefined;
  #detailAsked = 0;

  /** Begins. */
  start(): void {
    void this.#poll();
  }

  /** Shows a token and begins anew. */
  unlock(token: string): void {
    this.api.setToken(token);
    this.#following?.abort();
    this.#set('loading');
    void this.#poll();
  }

  /** Chooses a room to look into; none, when undefined. */
  select(id: string | undefined): void {
    if (this.selected === id) return;
    this.selected = id;
    this.detail = undefined;
    this.detailProblem = '';
    this.emit('changed');
    clearTimeout(this.#detailTimer);
    if (id !== undefined) void this.#look();
  }

  /** Asks for everything, and asks again later. */
  async #poll(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      const [mesh, rooms] = await Promise.all([this.api.mesh(), this.api.rooms()]);
      mesh.nodes.sort(byId);
      this.picture = { mesh, rooms: rooms.rooms.sort(byId), missing: rooms.missing };
      this.#set(this.#following ? 'events' : 'polling');
      void this.#lookAtScaling(mesh.leader);
      if (!this.#following && Date.now() - this.#triedEvents > RETRY_EVENTS) void this.#follow();
    } catch (error) {
      if (error instanceof ApiProblem && error.status === 401) {
        // Nothing more is asked until there is another token.
        this.#following?.abort();
        this.#set('locked', this.api.hasToken ? 'The node does not accept this token.' : '');
        return;
      }
      this.#set('offline', error instanceof Error ? error.message : String(error));
    }
    this.#timer = setTimeout(() => void this.#poll(), this.feed === 'events' ? SLOW_POLL : POLL);
  }

  async #follow(): Promise<void> {
    const following = new AbortController();
    this.#triedEvents = Date.now();
    try {
      await this.api.events(
        () => {
          this.#following = following;
          this.#set('events');
        },
        (event) => {
          this.picture = applied(this.picture, event);
          // Peers moved, or pipes: worth another look, though not for each of many changes.
          if (event.event === 'room' && event.id === this.selected) this.#lookSoon(150);
          this.#changed();
        },
        following.signal,
      );
    } catch {
      // Without events there is polling, which also finds out what is wrong.
    }
    if (this.#following === following) this.#following = undefined;
    if (this.feed === 'events') void this.#poll();
  }

  /** Asks what the leader does. With no leader it is what the last one did. */
  async #lookAtScaling(leader: string | null): Promise<void> {
    if (leader === null) return;
    if (leader !== this.#scalingAsked.leader) this.#scalingAsked = { leader, at: 0, nothing: 0 };
    const asked = this.#scalingAsked;
    const wait = asked.nothing < FIRST_LOOK ? 0 : UNSCALED;
    if (Date.now() - asked.at < wait) return;
    asked.at = Date.now();
    try {
      const scaling = await this.api.scaling();
      if (this.#scalingAsked !== asked) return;
      asked.nothing = scaling ? 0 : asked.nothing + 1;
      if (scaling || asked.nothing >= FIRST_LOOK) this.scaling = scaling;
      this.scalingProblem = '';
    } catch (error) {
      if (this.#scalingAsked !== asked) return;
      this.scalingProblem = error instanceof Error ? error.message : String(error);
    }
    this.#changed();
  }

  #lookSoon(milliseconds: number): void {
    clearTimeout(this.#detailTimer);
    // A room that changes all the time is looked at all the same.
    const due = Math.max(0, Math.min(milliseconds, this.#detailAsked + 1000 - Date.now()));
    this.#detailTimer = setTimeout(() => void this.#look(), due || milliseconds);
  }

  async #look(): Promise<void> {
    const id = this.selected;
    if (id === undefined || this.feed === 'locked') return;
    this.#detailAsked = Date.now();
    try {
      const detail = await this.api.room(id);
      if (id !== this.selected) return;
      this.detail = detail;
      this.detailProblem = '';
    } catch (error) {
      if (id !== this.selected) return;
      const gone = error instanceof ApiProblem && error.status === 404;
      if (gone) this.detail = undefined;
      this.detailProblem = gone ? 'The room is gone.' : error instanceof Error ? error.message : String(error);
    }
    this.#changed();
    clearTimeout(this.#detailTimer);
    this.#detailTimer = setTimeout(() => void this.#look(), POLL);
  }

  #set(feed: Feed, problem = ''): void {
    this.feed = feed;
    this.problem = problem;
    this.#changed();
  }

  #scheduled = false;
  /** Many events in one moment are one new drawing. */
  #changed(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      this.emit('changed');
    }, 50);
  }
}
