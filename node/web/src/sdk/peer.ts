import type { Device, Role } from '../protocol.js';
import type { Source, Subscription } from './subscription.js';

/** A random peer id. */
export function randomPeerId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => (byte % 36).toString(36)).join('');
}

/** Someone else in the room. The same object for as long as the peer stays, through reconnections of this client. */
export class Peer {
  /** The peer's id. */
  readonly id: string;
  #displayName: string;
  #device: Device;
  #role: Role | undefined;
  readonly #subscriptions = new Set<Subscription>();

  /** Made by the SDK. */
  constructor(id: string, displayName = id, device: Device = {}) {
    this.id = id;
    this.#displayName = displayName;
    this.#device = device;
  }

  /** Its name for people. */
  get displayName(): string {
    return this.#displayName;
  }
  /** What it runs on. */
  get device(): Device {
    return this.#device;
  }
  /** What it may do; undefined until somebody has changed it, as the mesh does not tell before. */
  get role(): Role | undefined {
    return this.#role;
  }
  /** All that this client receives from it. */
  get subscriptions(): readonly Subscription[] {
    return [...this.#subscriptions];
  }
  /** What this client receives from it of one source, if anything; the newest, where there are several. */
  subscription(source: Source): Subscription | undefined {
    return this.subscriptions.findLast((subscription) => subscription.source === source);
  }

  /** For the SDK. */
  update(displayName: string, device: Device = this.#device): void {
    this.#displayName = displayName;
    this.#device = device;
  }
  /** For the SDK. */
  became(role: Role): void {
    this.#role = role;
  }
  /** For the SDK. */
  add(subscription: Subscription): void {
    this.#subscriptions.add(subscription);
  }
  /** For the SDK. */
  remove(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
  }
}
