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
