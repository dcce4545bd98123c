import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Device, FakeHandler, testFakeParameters } from 'mediasoup-client';
import { RoomClosed, type RoomState } from '../src/sdk/index.js';
import { FakeMesh } from './fake-mesh.js';
import { FakeMedia, fakeRoom, fakeTrack, until } from './support.js';

test('joins in mediasoup-demo’s order, and says what it is', async () => {
  const mesh = new FakeMesh();
  const room = fakeRoom(mesh, { token: 'secret' });
  const states: RoomState[] = [];
  room.on('state', (state) => states.push(state));
  await room.join();
  assert.deepEqual(states, ['connecting', 'connected']);
  const client = mesh.client!;
  assert.deepEqual(
    client.log.slice(0, 4).map(({ method }) => method),
    ['getRouterRtpCapabilities', 'createWebRtcTransport', 'createWebRtcTransport', 'join'],
  );
  assert.deepEqual(client.calls('createWebRtcTransport').map(({ producing, consuming }) => [producing, consuming]), [
    [true, false],
    [false, true],
  ]);
  assert.equal(client.url.searchParams.get('token'), 'secret');
  assert.equal(room.placement?.entry, 'a.test');
  await until(() => client.calls('produceData').length === 1);
  room.leave();
  assert.equal(room.state, 'closed');
  assert.equal(client.socket.readyState, 3);
});

test('publishes, mutes, unmutes and closes', async () => {
  const mesh = new FakeMesh();
  const room = fakeRoom(mesh);
  await room.join();
  const track = fakeTrack('audio');
  const microphone = await room.publishMicrophone({ track });
  const client = mesh.client!;
  assert.equal(client.calls('produce').length, 1);
  assert.deepEqual(client.calls('produce')[0]?.['appData'], { source: 'microphone' });
  await microphone.mute();
  assert.equal(track.enabled, false);
  await Promise.all([microphone.unmute(), microphone.mute(), microphone.unmute()]);
  assert.equal(track.enabled, true);
  const last = client.log.findLast(({ method }) => /^(pause|resume)Producer$/.test(method));
  assert.equal(last?.method, 'resumeProducer');
  await microphone.close();
  assert.equal(client.calls('closeProducer').length, 1);
  assert.equal(track.readyState, 'ended');
  assert.equal(room.publications.length, 0);
  room.leave();
});

test('three layers for a large camera, and a rejected publication is the caller’s to know', async () => {
  const mesh = new FakeMesh();
  const room = fakeRoom(mesh);
  await room.join();
  await room.publishCamera({ track: fakeTrack('video') });
  const { encodings } = mesh.client!.calls('produce')[0]!['rtpParameters'] as { encodings: { scaleResolutionDownBy: number }[] };
  assert.deepEqual(encodings.map((encoding) => encoding.scaleResolutionDownBy), [4, 2, 1]);
  mesh.failures.set('produce', { code: 403, reason: 'you may only listen' });
  await assert.rejects(room.publishMicrophone({ track: fakeTrack('audio') }), /may only listen/);
  assert.equal(room.publications.length, 1);
  room.leave();
});

test('peers and their tracks come and go', async () => {
  const mesh = new FakeMesh();
  mesh.addBot('ann', 'Ann');
  const room = fakeRoom(mesh);
  const seen: string[] = [];
  room.on('peerJoined', (peer) => seen.push(`+${peer.displayName}`));
  room.on('peerLeft', (peer) => seen.push(`-${peer.displayName}`));
  room.on('subscribed', ({ peer, source }) => seen.push(`+${peer.id}/${source}`));
  room.on('unsubscribed', ({ peer, source }) => seen.push(`-${peer.id}/${source}`));
  await room.join();
  await until(() => seen.length === 3);
  const camera = room.peers.get('ann')?.subscription('camera');
  assert.deepEqual(camera?.available, { spatial: 3, temporal: 3 });
  const client = mesh.client!;
  client.notify('consumerLayersChanged', { consumerId: camera?.id, spatialLayer: 2, temporalLayer: 1 });
  client.notify('consumerScore', { consumerId: camera?.id, score: { score: 8, producerScore: 9, producerScores: [] } });
  client.notify('consumerPaused', { consumerId: camera?.id });
  client.notify('activeSpeaker', { peerId: 'ann', volume: -40 });
  await until(() => room.speaker === 'ann');
  assert.deepEqual(camera?.layers, { spatial: 2, temporal: 1 });
  assert.equal(camera?.score?.score, 8);
  assert.equal(camera?.muted, true);
  await camera?.setPreferredLayers(0);
  assert.deepEqual(client.calls('setConsumerPreferredLayers'), [
    { consumerId: camera?.id, spatialLayer: 0, temporalLayer: 2 },
  ]);
  client.notify('consumerClosed', { consumerId: camera?.id });
  mesh.addBot('bob', 'Bob', []);
  client.notify('peerDisplayNameChanged', { peerId: 'bob', displayName: 'Rob', oldDisplayName: 'Bob' });
  mesh.removeBot('ann');
  mesh.removeBot('bob');
  await until(() => room.peers.size === 0);
  assert.deepEqual(seen, ['+Ann', '+ann/microphone', '+ann/camera', '-ann/camera', '+Bob', '-ann/microphone', '-Ann', '-Rob']);
  room.leave();
});

test('a consumer that is told about before it is made, of a peer nobody told about', async () => {
  const mesh = new FakeMesh();
  const room = fakeRoom(mesh);
  await room.join();
  const client = mesh.client!;
  const offer = mesh.consumer({ id: 'p', peer: 'ghost', kind: 'video', appData: {}, paused: false });
  const answer = client.request('newConsumer', { ...offer });
  client.notify('consumerPaused', { consumerId: offer.id });
  client.notify('newPeer', { id: 'ghost', displayName: 'Ghost', device: {} });
  assert.equal((await answer)['ok'], true);
  await until(() => room.peers.get('ghost')?.subscriptions.length === 1);
  assert.equal(room.peers.get('ghost')?.subscription('camera')?.muted, true);
  assert.equal(room.peers.get('ghost')?.displayName, 'Ghost');
  room.leave();
});

test('a consumer that ends before it is made', async () => {
  const mesh = new FakeMesh();
  const room = fakeRoom(mesh);
  const seen: string[] = [];
  room.on('peerJoined', ({ id }) => seen.push(id));
  room.on('subscribed', ({ id }) => seen.push(id));
  await room.join();
  const client = mesh.client!;
  const offer = mesh.consumer({ id: 'p', peer: 'ghost', kind: 'video', appData: {}, paused: false });
  const answer = client.request('newConsumer', { ...offer });
  client.notify('consumerClosed', { consumerId: offer.id });
  client.notify('consumerScore', { consumerId: offer.id, score: { score: 8, producerScore: 9, producerScores: [] } });
  client.notify('peerClosed', { peerId: 'ghost' });
  assert.equal((await answer)['ok'], true);
  assert.deepEqual(seen, []);
  assert.equal(room.peers.size, 0);
  room.leave();
});

test('a consumer that the browser never makes, as its connection is closed, is waited for no longer', async () => {
  const mesh = new FakeMesh();
  const fake = FakeHandler.createFactory(testFakeParameters as never);
  const factory: typeof fake.factory = (options) => {
    const handler = fake.factory(options);
    handler.receive = () => new Promise(() => {});
    return handler;
  };
  const room = fakeRoom(mesh, { createDevice: async () => new Device({ handlerFactory: { ...fake, factory } }) });
  await room.join();
  const [session] = room.sessions;
  const offer = mesh.consumer({ id: 'p', peer: 'ann', kind: 'video', appData: {}, paused: false });
  void mesh.client!.request('newConsumer', { ...offer });
  const asked = () => session!.protoo.pending.filter(({ method }) => method === 'newConsumer');
  await until(() => asked().length === 1);
  room.leave();
  await until(() => asked().length === 0);
});

test('a data consumer that ends before it is made', async () => {
  const mesh = new FakeMesh();
  const media = new FakeMedia();
  const room = fakeRoom(mesh, { createDevice: media.createDevice });
  const lines: string[] = [];
  room.on('message', ({ text }) => lines.push(text));
  await room.join();
  const client = mesh.client!;
  const answer = mesh.offerChat(client, 'ann', 'first');
  client.notify('dataConsumerClosed', { dataConsumerId: 'first' });
  const next = mesh.offerChat(client, 'ann', 'next');
  assert.equal((await answer)['ok'], true);
  assert.equal((await next)['ok'], true);
  // Of the two channels that the fake media has, one is closed.
  media.says(0, 'hello');
  assert.deepEqual(lines, ['hello']);
  room.leave();
});

test('the application may decline a track', async () => {
  const mesh = new FakeMesh();
  const [microphone, camera] = mesh.addBot('ann', 'Ann');
  const room = fakeRoom(mesh, { accept: ({ kind }) => kind === 'audio' });
  await room.join();
  const client = mesh.client!;
  assert.equal((await mesh.offer(client, camera!))['ok'], false);
  assert.equal((await mesh.offer(client, microphone!))['ok'], true);
  room.leave();
});

test('after a lost connection it joins another node, and everything is there again', async () => {
  const mesh = new FakeMesh();
  mesh.endpoints = ['ws://a.test/', 'ws://b.test/'];
  mesh.addBot('ann', 'Ann');
  mesh.addBot('bob', 'Bob');
  const room = fakeRoom(mesh);
  const states: string[] = [];
  room.on('state', (state, { endpoint }) => states.push(`${state} ${endpoint ?? ''}`.trim()));
  await room.join();
  const track = fakeTrack('audio');
  const microphone = await room.publishMicrophone({ track });
  await microphone.mute();
  await until(() => room.peers.get('ann')?.subscriptions.length === 2);
  const ann = room.peers.get('ann');
  const before = ann?.subscription('camera');

  mesh.down.add('a.test');
  mesh.bots.delete('bob');
  mesh.client!.socket.drop(1006);
  await until(() => room.state === 'reconnecting');
  assert.equal(before?.closed, false, 'media goes on while the entry is being replaced');
  await until(() => room.state === 'connected' && mesh.client!.calls('pauseProducer').length === 1);
  const second = mesh.client!;
  assert.equal(second.url.host, 'b.test');
  assert.deepEqual(states, ['connecting ws://a.test/', 'connected ws://a.test/', 'reconnecting', 'reconnecting ws://b.test/', 'connected ws://b.test/']);
  assert.equal(track.readyState, 'live');
  assert.equal(second.calls('produce').length, 1);
  assert.equal(second.calls('produceData').length, 1);
  await until(() => ann?.subscriptions.length === 2);
  assert.equal(before?.closed, true);
  assert.equal(room.peers.get('ann'), ann);
  assert.equal(room.peers.has('bob'), false);
  room.leave();
  assert.equal(track.readyState, 'ended');
});

test('a node that fails in the middle of a join is no more use than one that is down', async () => {
  const mesh = new FakeMesh();
  mesh.down.add('a.test');
  const room = fakeRoom(mesh, { endpoints: ['ws://a.test', 'ws://b.test'] });
  mesh.failures.set('join', { code: 503, reason: 'no host' });
  const joining = room.join();
  await until(() => mesh.client?.calls('join').length === 1);
  mesh.failures.clear();
  await joining;
  assert.equal(mesh.client!.url.host, 'b.test');
  assert.ok(mesh.dialled.length >= 4, mesh.dialled.join());
  room.leave();
});

test('closed for good: by the code, by a refusal, and when nobody answers', async () => {
  const full = new FakeMesh();
  full.refuse = { code: 4000, reason: 'room full' };
  const refused = fakeRoom(full, { endpoints: ['ws://a.test', 'ws://b.test'] });
  await assert.rejects(refused.join(), (error) => error instanceof RoomClosed && error.message === 'room full');
  assert.equal(full.dialled.length, 1);
  assert.equal(refused.state, 'closed');

  const banned = new FakeMesh();
  banned.failures.set('join', { code: 403, reason: 'banned' });
  await assert.rejects(fakeRoom(banned).join(), /banned/);
  assert.equal(banned.dialled.length, 1);

  const away = new FakeMesh();
  away.down.add('a.test');
  await assert.rejects(fakeRoom(away, { retry: { first: 1, joinRounds: 3 } }).join(), RoomClosed);
  assert.equal(away.dialled.length, 3);

  const kicked = new FakeMesh();
  const room = fakeRoom(kicked);
  await room.join();
  const why: (string | undefined)[] = [];
  room.on('state', (_, { reason }) => why.push(reason));
  kicked.client!.socket.drop(4000, 'kicked');
  await until(() => room.state === 'closed');
  assert.deepEqual(why, ['kicked']);
  assert.equal(kicked.dialled.length, 1);
});

test('leaving while it dials ends the dialling', async () => {
  const mesh = new FakeMesh();
  mesh.down.add('a.test');
  const room = fakeRoom(mesh, { retry: { first: 10_000, jitter: 0 } });
  const joining = assert.rejects(room.join(), RoomClosed);
  await until(() => mesh.dialled.length === 1);
  room.leave();
  await joining;
  assert.equal(room.state, 'closed');
});

test('a broken media path is mended over signalling, and all is made anew when the host has forgotten it', async () => {
  const mesh = new FakeMesh();
  const handlers: { setConnectionState(state: string): void }[] = [];
  const fake = FakeHandler.createFactory(testFakeParameters as never);
  const factory: typeof fake.factory = (options) => {
    const handler = fake.factory(options);
    handlers.push(handler as never);
    return handler;
  };
  const createDevice = async () => new Device({ handlerFactory: { ...fake, factory } });
  const room = fakeRoom(mesh, { createDevice });
  await room.join();
  const first = mesh.client!;
  handlers[0]?.setConnectionState('failed');
  await until(() => first.calls('restartIce').length === 1);
  handlers[0]?.setConnectionState('connected');
  assert.equal(room.state, 'connected');

  mesh.failures.set('restartIce', { code: 404, reason: 'no such transport' });
  handlers[1]?.setConnectionState('failed');
  await until(() => room.state === 'connected' && mesh.client !== first);
  assert.equal(first.socket.readyState, 3);
  room.leave();
});

test('asks for a role and a kind of room, and says what came of it', async () => {
  const mesh = new FakeMesh();
  mesh.role = 'publish';
  mesh.room = { mode: 'stage', size: 20, guaranteed: true, lastN: 4 };
  const wishes = { role: 'moderate', mode: 'stage', size: 20, guaranteed: true, lastN: 4 } as const;
  const room = fakeRoom(mesh, wishes);
  await room.join();
  const { searchParams } = mesh.client!.url;
  const asked = ['role', 'mode', 'size', 'guaranteed', 'lastN'].map((name) => searchParams.get(name));
  assert.deepEqual(asked, ['moderate', 'stage', '20', '1', '4']);
  assert.equal(room.role, 'publish');
  assert.deepEqual(room.settings, mesh.room);
  await room.promote('ann');
  await room.demote('ann');
  await room.pin(['ann', 'ben']);
  const client = mesh.client!;
  assert.deepEqual([client.calls('promote'), client.calls('demote')], [[{ peerId: 'ann' }], [{ peerId: 'ann' }]]);
  assert.deepEqual(client.calls('pin'), [{ peerIds: ['ann', 'ben'] }]);
  client.socket.drop(1006);
  await until(() => mesh.client !== client && mesh.client!.calls('pin').length === 1);
  room.leave();

  const plain = fakeRoom(mesh);
  await plain.join();
  const names = ['role', 'mode', 'size', 'guaranteed', 'lastN', 'move'];
  assert.ok(names.every((name) => !mesh.client!.url.searchParams.has(name)));
  plain.leave();
});

test('who becomes a listener stops publishing, and may begin again when promoted', async () => {
  const mesh = new FakeMesh();
  mesh.addBot('ann', 'Ann');
  const room = fakeRoom(mesh);
  await room.join();
  const client = mesh.client!;
  const seen: string[] = [];
  room.on('roleChanged', (peerId, role, before) => seen.push(`${peerId} ${before} ${role}`));
  room.on('unpublished', ({ source }, why) => seen.push(`-${source} ${why}`));
  const [mine, theirs] = [fakeTrack('audio'), fakeTrack('video')];
  await room.publishMicrophone({ track: mine });
  await room.publish({ track: theirs, source: 'slides', encoding: () => ({ encodings: [], codecOptions: {} }) });
  client.notify('roleChanged', { peerId: 'me', role: 'listen' });
  client.notify('roleChanged', { peerId: 'ann', role: 'publish' });
  client.notify('roleChanged', { peerId: 'nobody', role: 'publish' });
  await until(() => seen.length === 4);
  assert.deepEqual(seen, ['-microphone role', '-slides role', 'me moderate listen', 'ann undefined publish']);
  assert.equal(room.peers.get('ann')?.role, 'publish');
  assert.equal(room.publications.length, 0);
  assert.equal(mine.readyState, 'ended');
  assert.equal(theirs.readyState, 'live', 'a track that the application gave stays its own');
  assert.equal(client.calls('closeProducer').length, 0, 'the host has closed them');
  await assert.rejects(room.publishMicrophone({ track: fakeTrack('audio') }), /listeners may not publish/);
  await assert.rejects(room.sendMessage('hello'), /listeners may not write/);
  assert.equal(client.calls('produceData').length, 1);
  client.notify('roleChanged', { peerId: 'me', role: 'publish' });
  await until(() => client.calls('produceData').length === 2);
  await room.publishMicrophone({ track: fakeTrack('audio') });
  assert.equal(client.calls('produce').length, 3);
  room.leave();
});

test('what was to be published by someone who turns out to be a listener is let go', async () => {
  const mesh = new FakeMesh();
  mesh.role = 'listen';
  const room = fakeRoom(mesh, { role: 'listen' });
  const track = fakeTrack('video');
  const joining = room.join();
  await room.publishCamera({ track });
  await joining;
  await until(() => track.readyState === 'ended');
  assert.deepEqual([mesh.client!.calls('produce').length, mesh.client!.calls('produceData').length], [0, 0]);
  room.leave();
});

test('a room that exists and is different is refused, and not dialled again', async () => {
  const mesh = new FakeMesh();
  mesh.refuse = { code: 4000, reason: 'mode: is conference in this room, not stage' };
  const room = fakeRoom(mesh, { mode: 'stage', endpoints: ['ws://a.test', 'ws://b.test'] });
  await assert.rejects(room.join(), (error) => error instanceof RoomClosed && /in this room, not stage/.test(error.message));
  assert.equal(mesh.dialled.length, 1);
});

test('waits for a machine, and is let in', async () => {
  const mesh = new FakeMesh();
  mesh.waiting = { reason: 'a machine is being started', etaSeconds: 40 };
  const room = fakeRoom(mesh);
  const seen: unknown[] = [];
  const told = until(() => seen.length === 1);
  room.on('waiting', ({ etaSeconds }) => seen.push(etaSeconds));
  const joining = room.join();
  await told;
  assert.deepEqual([room.state, room.waiting?.reason], ['connecting', 'a machine is being started']);
  mesh.client!.notify('waiting', { reason: 'a machine is being started', etaSeconds: null });
  await until(() => seen.length === 2);
  assert.deepEqual(seen, [40, null]);
  mesh.letIn();
  await joining;
  assert.deepEqual([room.state, room.waiting, mesh.dialled.length], ['connected', undefined, 1]);
  room.leave();
});

test('a mesh whose patience ends says so', async () => {
  const mesh = new FakeMesh();
  mesh.waiting = { reason: 'a machine is being started', etaSeconds: null };
  const room = fakeRoom(mesh);
  const joining = room.join();
  await until(() => room.waiting);
  mesh.client!.socket.drop(4000, 'no machine came within 300 s');
  await assert.rejects(joining, (error) => error instanceof RoomClosed && /no machine came within 300 s/.test(error.message));
  assert.equal(room.waiting, undefined);
});

test('who leaves while it waits, has left', async () => {
  const mesh = new FakeMesh();
  mesh.waiting = { reason: 'a machine is being started', etaSeconds: 5 };
  const room = fakeRoom(mesh);
  const joining = room.join();
  await until(() => room.waiting);
  room.leave();
  await until(() => mesh.client!.socket.readyState === 3);
  await assert.rejects(joining);
});
