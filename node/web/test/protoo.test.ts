import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectionLost, RequestError, RequestTimeout } from '../src/sdk/errors.js';
import { parseFrame, Protoo, type ProtooHandlers, type Socket } from '../src/sdk/protoo.js';

class TestSocket implements Socket {
  static last: TestSocket;
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  readonly sent: Record<string, unknown>[] = [];
  readonly url: string;
  readonly protocol: string;
  closedWith: number | undefined;

  constructor(url: string, protocol: string) {
    this.url = url;
    this.protocol = protocol;
    TestSocket.last = this;
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(code?: number): void {
    this.closedWith = code ?? 1000;
    this.readyState = 2;
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.({} as never);
  }
  receive(frame: unknown): void {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) } as never);
  }
  drop(code: number, reason = ''): void {
    this.readyState = 3;
    this.onclose?.({ code, reason } as never);
  }
}

async function open(handlers: Partial<ProtooHandlers> = {}): Promise<{ protoo: Protoo; socket: TestSocket }> {
  const dialling = Protoo.dial(
    'ws://x/',
    { request: async () => {}, notification: () => {}, closed: () => {}, ...handlers },
    { WebSocket: TestSocket },
  );
  const socket = TestSocket.last;
  socket.open();
  return { protoo: await dialling, socket };
}

const tick = () => new Promise((resolve) => setTimeout(resolve));

test('frames are told apart, and nonsense is none', () => {
  assert.deepEqual(parseFrame('{"notification":true,"method":"m"}'), { kind: 'notification', method: 'm', data: {} });
  assert.equal(parseFrame('{"request":true,"id":0,"method":"m","data":{"a":1}}')?.kind, 'request');
  assert.equal(parseFrame('{"response":true,"id":0,"ok":true}')?.kind, 'success');
  const failure = parseFrame('{"response":true,"id":0,"ok":false,"errorCode":403,"errorReason":"no"}');
  assert.deepEqual(failure, { kind: 'failure', id: 0, code: 403, reason: 'no' });
  for (const bad of ['', 'null', '[]', '7', '{}', '{"request":true,"method":"m"}', '{"request":true,"id":1}', '{"id":1}', 5]) {
    assert.equal(parseFrame(bad), undefined, String(bad));
  }
});

test('asks for the sub-protocol, and settles each request with its own answer', async () => {
  const { protoo, socket } = await open();
  assert.equal(socket.protocol, 'protoo');
  const first = protoo.request('restartIce', { transportId: 'a' });
  const second = protoo.request('restartIce', { transportId: 'b' });
  const [one, two] = socket.sent as { id: number }[];
  socket.receive({ response: true, id: two?.id, ok: true, data: { password: '2' } });
  socket.receive({ response: true, id: one?.id, ok: false, errorCode: 404, errorReason: 'no such transport' });
  assert.equal((await second).password, '2');
  await assert.rejects(first, (error) => error instanceof RequestError && error.code === 404 && error.final);
});

test('gives up on an answer that does not come', async () => {
  const { protoo, socket } = await open();
  await assert.rejects(protoo.request('closeRoom', {}, 5), RequestTimeout);
  // The late answer hurts nobody.
  socket.receive({ response: true, id: 1, ok: true, data: {} });
});

test('a node that says that it will answer later is waited for', async () => {
  const { protoo, socket } = await open();
  const asked = protoo.request('restartIce', { transportId: 'a' }, 20);
  protoo.hold(true);
  const later = protoo.request('closeRoom', {}, 20);
  let settled = false;
  const done = () => void (settled = true);
  asked.then(done, done);
  later.then(done, done);
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(settled, false);
  socket.receive({ response: true, id: 1, ok: true, data: { password: 'x' } });
  assert.equal((await asked).password, 'x');
  protoo.hold(false);
  await assert.rejects(later, RequestTimeout);
});

test('a lost connection fails what waits, with its code, and everything asked later', async () => {
  const lost: ConnectionLost[] = [];
  const { protoo, socket } = await open({ closed: (why) => lost.push(why) });
  const waiting = protoo.request('closeRoom', {});
  socket.drop(4000, 'kicked');
  const kicked = (error: unknown) => error instanceof ConnectionLost && error.code === 4000 && error.message === 'kicked';
  await assert.rejects(waiting, kicked);
  await assert.rejects(protoo.request('closeRoom', {}), kicked);
  assert.equal(lost.length, 1);
  assert.ok(protoo.closed);
});

test('closing it oneself tells nobody', async () => {
  let told = 0;
  const { protoo, socket } = await open({ closed: () => told++ });
  const waiting = protoo.request('closeRoom', {});
  protoo.close();
  socket.drop(1000);
  await assert.rejects(waiting, ConnectionLost);
  assert.equal(told, 0);
  assert.equal(socket.closedWith, 1000);
});

test('accepts and rejects what the node asks, and hands on what it tells', async () => {
  const told: string[] = [];
  const { socket } = await open({
    request: async ({ method }) => {
      if (method === 'newDataConsumer') throw new RequestError(method, 403, 'not wanted');
    },
    notification: ({ method }) => told.push(method),
  });
  socket.receive({ request: true, id: 7, method: 'newConsumer', data: {} });
  socket.receive({ request: true, id: 8, method: 'newDataConsumer', data: {} });
  socket.receive({ notification: true, method: 'activeSpeaker', data: { peerId: null } });
  await tick();
  assert.deepEqual(socket.sent, [
    { response: true, id: 7, ok: true, data: {} },
    { response: true, id: 8, ok: false, errorCode: 403, errorReason: 'not wanted' },
  ]);
  assert.deepEqual(told, ['activeSpeaker']);
});

test('tells what waits for an answer, either way', async () => {
  let answer = () => {};
  const { protoo, socket } = await open({ request: () => new Promise((resolve) => (answer = resolve)) });
  const asked = protoo.request('restartIce', { transportId: 't' });
  socket.receive({ request: true, id: 7, method: 'newConsumer', data: { id: 'c' } });
  await tick();
  assert.deepEqual(protoo.pending.map(({ by, method, data }) => [by, method, data]), [
    ['client', 'restartIce', { transportId: 't' }],
    ['node', 'newConsumer', { id: 'c' }],
  ]);
  answer();
  socket.receive({ response: true, id: 1, ok: true, data: {} });
  await asked;
  assert.deepEqual(protoo.pending, []);
});

test('what the node says in the same breath as it opens is heard', async () => {
  const told: string[] = [];
  const dialling = Protoo.dial(
    'ws://x/',
    { request: async () => {}, notification: ({ method }) => told.push(method), closed: () => {} },
    { WebSocket: TestSocket },
  );
  TestSocket.last.open();
  TestSocket.last.receive({ notification: true, method: 'mediasoup-version', data: { version: '1' } });
  await dialling;
  assert.deepEqual(told, ['mediasoup-version']);
});

test('a socket that never opens fails the dialling', async () => {
  const handlers = { request: async () => {}, notification: () => {}, closed: () => {} };
  const silent = Protoo.dial('ws://x/', handlers, { WebSocket: TestSocket, timeout: 5 });
  await assert.rejects(silent, ConnectionLost);
  const refused = Protoo.dial('ws://x/', handlers, { WebSocket: TestSocket });
  TestSocket.last.drop(1006);
  await assert.rejects(refused, (error) => error instanceof ConnectionLost && error.code === 1006);
});
