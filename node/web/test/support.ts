import { Device, FakeHandler, testFakeParameters } from 'mediasoup-client';
import { FakeMediaStreamTrack } from 'fake-mediastreamtrack';
import { Room, type RoomOptions } from '../src/sdk/index.js';
import type { FakeMesh } from './fake-mesh.js';

/** A room of the SDK in a fake mesh. */
export function fakeRoom(mesh: FakeMesh, options: Partial<RoomOptions> = {}): Room {
  return new Room({
    endpoints: ['ws://a.test/'],
    room: 'r',
    peer: 'me',
    displayName: 'Me',
    retry: { first: 5, max: 20 },
    WebSocket: mesh.Socket,
    createDevice: async () =>
      new Device({ handlerFactory: FakeHandler.createFactory(testFakeParameters as never) }),
    ...options,
  });
}

/** A track without a device behind it. */
export function fakeTrack(kind: 'audio' | 'video'): MediaStreamTrack {
  return new FakeMediaStreamTrack({ kind }) as unknown as MediaStreamTrack;
}

/** Waits until something is so. */
export async function until(so: () => unknown, what = String(so)): Promise<void> {
  const end = Date.now() + 3000;
  while (!so()) {
    if (Date.now() > end) throw new Error(`not within 3 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** The fake handlers of a room's sessions, two each, through which a test says what arrives and what is sent. */
export class FakeMedia {
  /** Sessions, in order: whether what they receive, and what they send, flows. */
  readonly flows: { audio: boolean; video: boolean; sending: boolean }[] = [];
  readonly #channels: { session: number; sending: boolean; channel: EventTarget; sent: unknown[] }[] = [];
  #handlers = 0;
  #count = 0;

  /** To be given to a room. */
  readonly createDevice = async (): Promise<Device> => {
    const fake = FakeHandler.createFactory(testFakeParameters as never);
    const factory: typeof fake.factory = (options) => {
      const handler = fake.factory(options);
      // A session makes the sending transport first.
      const number = this.#handlers++;
      const session = number >> 1;
      const flow = this.session(session);
      const kinds = new Map<string, string>();
      const { receive, sendDataChannel, receiveDataChannel } = handler;
      handler.receive = async (list) => {
        const results = await receive.call(handler, list);
        results.forEach(({ localId }, index) => kinds.set(localId, list[index]?.kind ?? ''));
        return results;
      };
      handler.getReceiverStats = async (id) => {
        const kind = kinds.get(id);
        const count = (kind === 'video' ? flow.video : flow.audio) ? ++this.#count : 0;
        const entry = { type: 'inbound-rtp', framesDecoded: count, packetsReceived: count };
        return new Map([['in', entry]]) as never;
      };
      handler.getSenderStats = async () =>
        new Map([['out', { type: 'outbound-rtp', packetsSent: flow.sending ? ++this.#count : 0 }]]) as never;
      const keep = (sending: boolean, made: unknown) => {
        const { dataChannel: channel } = made as { dataChannel: EventTarget };
        const sent: unknown[] = [];
        Object.assign(channel, { send: (data: unknown) => sent.push(data) });
        Object.defineProperty(channel, 'readyState', { value: 'open' });
        this.#channels.push({ session, sending, channel, sent });
      };
      handler.sendDataChannel = async (wish) => {
        const made = await sendDataChannel.call(handler, wish);
        keep(true, made);
        return made;
      };
      handler.receiveDataChannel = async (wish) => {
        const made = await receiveDataChannel.call(handler, wish);
        keep(false, made);
        return made;
      };
      return handler;
    };
    return new Device({ handlerFactory: { ...fake, factory } });
  };

  /** What flows over a session. */
  session(number: number): { audio: boolean; video: boolean; sending: boolean } {
    return (this.flows[number] ??= { audio: number === 0, video: number === 0, sending: number === 0 });
  }

  /** A line of chat arrives over a session. */
  says(session: number, data: string): void {
    for (const one of this.#channels) {
      if (one.session === session && !one.sending) one.channel.dispatchEvent({ type: 'message', data } as never);
    }
  }

  /** What was sent over data channels of a session. */
  sent(session: number): unknown[] {
    return this.#channels.filter((one) => one.session === session && one.sending).flatMap((one) => one.sent);
  }
}

/** Lets some time pass. */
export const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));
