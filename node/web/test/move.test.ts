import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { Room, RoomOptions, RoomState, Subscription } from '../src/sdk/index.js';
import { FakeMesh, type FakeClient } from './fake-mesh.js';
import { FakeMedia, fakeRoom, fakeTrack, sleep, until } from './support.js';

type Track = { id: string };

// A test that fails leaves nothing behind that keeps dialling.
const rooms: Room[] = [];
afterEach(() => rooms.splice(0).forEach((room) => room.leave()));

/** A room with Ann in it, who sends sound and pictures, and all that it tells. */
async function standing(options: Partial<RoomOptions> = {}) {
  const mesh = new FakeMesh();
  mesh.addBot('ann', 'Ann');
  const media = new FakeMedia();
  const room = fakeRoom(mesh, {
    createDevice: media.createDevice,
    move: { limit: 400, overlap: 60, settle: 20 },
    ...options,
  });
  rooms.push(room);
  const told: string[] = [];
  const states: RoomState[] = [];
  room.on('state', (state) => states.push(state));
  room.on('move', (phase) => told.push(phase));
  room.on('subscribed', ({ peer, source }) => told.push(`+${peer.id}/${source}`));
  room.on('unsubscribed', ({ peer, source }) => told.push(`-${peer.id}/${source}`));
  room.on('peerJoined', ({ id }) => told.push(`+${id}`));
  room.on('peerLeft', ({ id }) => told.push(`-${id}`));
  room.on('trackChanged', ({ source, track }, before) => {
    assert.equal(before.readyState, 'live', 'the old track goes on until the new one is attached');
    assert.notEqual(track, before);
    told.push(`~${source}`);
  });
  await room.join();
  await until(() => room.peers.get('ann')?.subscriptions.length === 2);
  told.length = states.length = 0;
  const old = mesh.client!;
  const camera = room.peers.get('ann')!.subscription('camera')!;
  const microphone = room.peers.get('ann')!.subscription('microphone')!;
  const move = (seconds = 10) => old.request('move', { token: 'go', seconds, host: 'host-2', reason: 'draining' });
  return { mesh, media, room, told, states, old, camera, microphone, move };
}

/** Waits until the new connection has joined and is offered what Ann sends. */
async function arrivedAt(mesh: FakeMesh, old: FakeClient, subscription: Subscription): Promise<FakeClient> {
  await until(() => mesh.client !== old && subscription.legs.length === 2);
  return mesh.client!;
}

function end(room: Room): void {
  room.leave();
  assert.equal(room.state, 'closed');
}

test('a move keeps the old connection until everything flows over the new one', async () => {
  const { mesh, media, room, told, states, old, camera, microphone, move } = await standing({
    ...{ token: 'secret', role: 'moderate', mode: 'stage', lastN: 3 },
  });
  const track = fakeTrack('audio');
  const own = await room.publishMicrophone({ track });
  const shown = camera.track;
  assert.equal((await move())['ok'], true);
  const next = await arrivedAt(mesh, old, microphone);
  assert.equal(next.url.searchParams.get('move'), 'go');
  assert.equal(next.url.searchParams.get('skein'), '1');
  assert.deepEqual(
    ['roomId', 'peerId', 'token', 'role', 'mode', 'lastN'].map((name) => next.url.searchParams.get(name)),
    ['r', 'me', 'secret', 'moderate', null, null],
  );
  assert.deepEqual(next.calls('join')[0]?.['displayName'], 'Me');
  await until(() => next.calls('produce').length === 1);
  assert.deepEqual(next.calls('produce')[0]?.['appData'], old.calls('produce')[0]?.['appData']);

  // Nothing arrives yet: nothing changes, however ready everything else is.
  media.session(1).sending = true;
  await sleep(100);
  assert.deepEqual(told, ['started']);
  assert.equal(camera.track, shown);
  assert.equal(old.socket.readyState, 1);

  // Sound alone is not everything.
  media.session(1).audio = true;
  await until(() => told.includes('~microphone'));
  await sleep(120);
  assert.equal(camera.track, shown);
  assert.equal(old.socket.readyState, 1, 'the old connection was closed before the picture was there');
  assert.equal(room.placement?.host, 'host-1');

  media.session(1).video = true;
  await until(() => told.includes('~camera'));
  assert.notEqual(camera.track, shown);
  assert.equal(old.socket.readyState, 1, 'the old track must go on while the new one is attached');
  assert.equal((shown as unknown as Track & { readyState: string }).readyState, 'live');
  await until(() => told.includes('finished'));
  assert.equal(old.socket.closedWith, 1000);
  assert.deepEqual(told, ['started', '~microphone', '~camera', 'finished']);
  assert.deepEqual(states, [], 'no reconnection');
  assert.equal(room.placement?.host, 'host-2');
  assert.equal(track.readyState, 'live');
  assert.equal(own.producerId, mesh.producers.find(({ client }) => client === next)?.id);
  assert.equal(room.peers.get('ann')?.subscription('camera'), camera);

  // From now on the new connection is the one that counts.
  next.notify('consumerPaused', { consumerId: camera.id });
  await until(() => camera.muted);
  next.socket.drop(1006);
  await until(() => room.state === 'reconnecting');
  end(room);
});

test('where its entry goes, the client dials what it is told, and that from then on', async () => {
  const { mesh, media, room, told, old } = await standing();
  mesh.down.add('b.test');
  const endpoints = ['ws://b.test', 'ws://c.test'];
  await old.request('move', { token: 'go', seconds: 10, host: 'host-2', reason: 'its host goes', endpoints });
  await until(() => mesh.client !== old);
  Object.assign(media.session(1), { sending: true, audio: true, video: true });
  await until(() => told.includes('finished'));
  assert.deepEqual(mesh.dialled, ['a.test', 'b.test', 'c.test'], 'the one that goes is not dialled');
  assert.equal(room.placement?.entry, 'c.test');
  end(room);
});

test('a picture that is late keeps the old connection up to the limit, and no longer', async () => {
  const { media, told, old, room, move } = await standing({ move: { limit: 250, overlap: 0, settle: 0 } });
  media.session(1).audio = true;
  const start = Date.now();
  await move();
  await until(() => told.includes('finished'));
  assert.ok(Date.now() - start >= 250, 'it did not wait for the picture');
  assert.equal(old.socket.closedWith, 1000);
  end(room);
});

test('where nothing arrives at all over the new connection, the client stays', async () => {
  const { mesh, told, states, old, camera, room, move } = await standing({ move: { limit: 150, overlap: 0, settle: 0 } });
  const shown = camera.track;
  await move();
  await until(() => told.includes('failed'));
  assert.equal(mesh.client!.socket.closedWith, 1000);
  assert.equal(old.socket.readyState, 1);
  assert.equal(camera.track, shown);
  assert.equal(camera.legs.length, 1);
  assert.deepEqual([told, states], [['started', 'failed'], []]);
  end(room);
});

test('mutes, layers and pins hold on the other host', async () => {
  const { mesh, media, room, told, old, camera, microphone, move } = await standing();
  const own = await room.publishMicrophone({ track: fakeTrack('audio') });
  await own.mute();
  await room.pin(['ann']);
  await camera.setPreferredLayers(1, 2);
  await camera.setPriority(9);
  await microphone.pause();
  await move();
  const next = await arrivedAt(mesh, old, camera);
  Object.assign(media.session(1), { video: true });
  await until(() => told.includes('finished'));
  assert.deepEqual(next.calls('pin'), [{ peerIds: ['ann'] }]);
  assert.deepEqual(next.calls('pauseConsumer'), [{ consumerId: microphone.id }]);
  assert.deepEqual(next.calls('setConsumerPreferredLayers'), [{ consumerId: camera.id, spatialLayer: 1, temporalLayer: 2 }]);
  assert.deepEqual(next.calls('setConsumerPriority'), [{ consumerId: camera.id, priority: 9 }]);
  assert.equal(next.calls('pauseProducer').length, 1);
  assert.equal(microphone.paused, true);
  end(room);
});

test('what is published, muted and closed during a move is so on both sides', async () => {
  const { mesh, media, room, told, old, camera, move } = await standing();
  const microphone = await room.publishMicrophone({ track: fakeTrack('audio') });
  const gone = await room.publish({ track: fakeTrack('video'), source: 'slides', encoding: () => ({ encodings: [], codecOptions: {} }) });
  await move();
  const next = await arrivedAt(mesh, old, camera);
  await until(() => next.calls('produce').length === 2);
  await Promise.all([
    microphone.mute(),
    gone.close(),
    room.publishCamera({ track: fakeTrack('video') }),
    room.changeDisplayName('Myself'),
    camera.setPreferredLayers(0, 0),
  ]);
  for (const client of [old, next]) {
    assert.equal(client.calls('pauseProducer').length, 1);
    assert.equal(client.calls('closeProducer').length, 1);
    assert.equal(client.calls('produce').length, 3);
    assert.equal(client.calls('changeDisplayName').length, 1);
    assert.equal(client.calls('setConsumerPreferredLayers').length, 1);
  }
  await microphone.unmute();
  Object.assign(media.session(1), { video: true, audio: true, sending: true });
  await until(() => told.includes('finished'));
  assert.equal(next.calls('resumeProducer').length, 1);
  assert.deepEqual(room.publications.map(({ source }) => source), ['microphone', 'camera']);
  end(room);
});

test('a track is not shown the new way before that has settled, unless it comes no other way', async () => {
  const { mesh, media, room, told, old, camera, move } = await standing({
    move: { limit: 5000, overlap: 0, settle: 60_000 },
  });
  const [shown, before] = [camera.track, camera.id];
  await move();
  Object.assign(media.session(1), { video: true, audio: true, sending: true });
  await arrivedAt(mesh, old, camera);
  await until(() => camera.legs.some(({ delivers }) => delivers));
  assert.equal(camera.track, shown);
  assert.deepEqual(told, ['started']);
  old.notify('consumerClosed', { consumerId: before });
  await until(() => told.includes('~camera'));
  assert.equal(camera.legs.length, 1);
  assert.equal(camera.legs[0], camera.current);
  end(room);
});

test('what is sent must be on its way before the old connection goes', async () => {
  const { mesh, media, room, told, old, camera, move } = await standing({ move: { limit: 2000, overlap: 0, settle: 0 } });
  await room.publishMicrophone({ track: fakeTrack('audio') });
  await move();
  Object.assign(media.session(1), { video: true, audio: true });
  await arrivedAt(mesh, old, camera);
  await until(() => told.includes('~camera'));
  await sleep(150);
  assert.equal(old.socket.readyState, 1);
  media.session(1).sending = true;
  await until(() => told.includes('finished'));
  end(room);
});

test('a second move during a move is rejected, and one after it is not', async () => {
  const { mesh, media, room, told, old, camera, move } = await standing();
  await move();
  const second = await move();
  assert.deepEqual([second['ok'], second['errorCode']], [false, 409]);
  const next = await arrivedAt(mesh, old, camera);
  const third = await next.request('move', { token: 'x', seconds: 5, host: 'host-3', reason: '' });
  assert.equal(third['ok'], false);
  Object.assign(media.session(1), { video: true, audio: true });
  await until(() => told.includes('finished'));
  const fourth = await next.request('move', { token: 'y', seconds: 5, host: 'host-1', reason: '' });
  assert.equal(fourth['ok'], true);
  Object.assign(media.session(2), { video: true, audio: true });
  await until(() => told.filter((one) => one === 'finished').length === 2);
  assert.equal(next.socket.closedWith, 1000);
  assert.equal(camera.legs.length, 1);
  end(room);
});

test('the new connection is lost, refused, or too slow: the client stays where it is', async () => {
  for (const trouble of ['lost', 'refused', 'down', 'slow'] as const) {
    const { mesh, media, room, told, states, old, camera, microphone, move } = await standing();
    if (trouble === 'refused') mesh.refuseMoves = { code: 4000, reason: 'the token is used up' };
    if (trouble === 'down') mesh.down.add('a.test');
    if (trouble === 'slow') mesh.silent.add('join');
    assert.equal((await move(trouble === 'slow' ? 0.2 : 10))['ok'], true);
    if (trouble === 'lost') {
      const next = await arrivedAt(mesh, old, camera);
      media.session(1).audio = true;
      await until(() => told.includes('~microphone'));
      next.socket.drop(1006);
    }
    await until(() => told.includes('failed'), trouble);
    mesh.silent.clear();
    await sleep(30);
    assert.equal(old.socket.readyState, 1, trouble);
    assert.deepEqual(states, [], trouble);
    assert.equal(room.state, 'connected');
    for (const one of [camera, microphone]) {
      assert.equal(one.closed, false, trouble);
      assert.equal(one.track.readyState, 'live', trouble);
      assert.equal(one.legs.length, 1);
      assert.equal(one.legs[0]?.session.protoo.closed, false, trouble);
    }
    const own = await room.publishMicrophone({ track: fakeTrack('audio') });
    assert.ok(own.producerId);
    assert.equal(mesh.clients.filter(({ socket }) => socket.readyState === 1).length, 1, trouble);
    end(room);
  }
});

test('the old connection is lost after the new one has joined: that one takes over at once', async () => {
  const { mesh, room, told, states, old, camera, microphone, move } = await standing();
  await room.publishMicrophone({ track: fakeTrack('audio') });
  await move();
  const next = await arrivedAt(mesh, old, microphone);
  old.socket.drop(1006);
  await until(() => told.includes('finished'));
  assert.deepEqual(states, []);
  assert.equal(room.placement?.host, 'host-2');
  assert.equal(next.socket.readyState, 1);
  assert.equal(camera.closed, false);
  assert.equal(camera.legs.length, 1);
  assert.equal(mesh.clients.length, 2);
  end(room);
});

test('the old connection is lost before that: the room reconnects, as always', async () => {
  const { mesh, room, told, states, old, move } = await standing();
  mesh.silent.add('join');
  await move();
  await until(() => mesh.client !== old && mesh.client!.calls('join').length === 1);
  const next = mesh.client!;
  mesh.silent.clear();
  old.socket.drop(1006);
  await until(() => states.at(-1) === 'connected');
  assert.equal(next.socket.readyState, 3);
  assert.equal(mesh.clients.length, 3);
  assert.ok(told.includes('failed'));
  await until(() => room.peers.get('ann')?.subscriptions.length === 2);
  end(room);
});

test('the older connection is closed for good, since the newer one has taken its place: the room goes on', async () => {
  const { mesh, room, old, camera, move } = await standing();
  await move();
  const next = await arrivedAt(mesh, old, camera);
  old.socket.drop(4000, 'the peer connected again elsewhere');
  await until(() => old.socket.readyState === 3 && !room.moving);
  assert.deepEqual([room.state, next.socket.readyState], ['connected', 1]);
  room.leave();
});

test('leaving, or being sent away, during a move ends both connections', async () => {
  for (const how of ['leave', 'kick'] as const) {
    const { mesh, room, old, camera, move } = await standing();
    await move();
    const next = await arrivedAt(mesh, old, camera);
    if (how === 'leave') room.leave();
    // As a node does: whichever of them the peer would go on with is closed as well.
    else for (const each of [old, next]) each.socket.drop(4000, 'kicked');
    await until(() => room.state === 'closed');
    assert.deepEqual([old.socket.readyState, next.socket.readyState], [3, 3]);
    assert.equal(room.peers.size, 0);
    await sleep(50);
    assert.equal(mesh.clients.length, 2);
  }
});

test('messages come once, whichever connection is quicker, and none is lost', async () => {
  const { mesh, media, room, told, old, camera, move } = await standing();
  const heard: string[] = [];
  room.on('message', ({ text, mine }) => mine || heard.push(text));
  await room.sendMessage('before');
  await move();
  await arrivedAt(mesh, old, camera);
  await sleep(30);
  media.says(0, 'one');
  media.says(1, 'one');
  media.says(1, 'two');
  media.says(0, 'two');
  media.says(0, 'two');
  media.says(1, 'two');
  await room.sendMessage('between');
  Object.assign(media.session(1), { video: true, audio: true });
  await until(() => told.includes('finished'));
  media.says(1, 'three');
  await room.sendMessage('after');
  assert.deepEqual(heard, ['one', 'two', 'two', 'three']);
  assert.deepEqual([media.sent(0), media.sent(1)], [['before', 'between'], ['after']]);
  end(room);
});

test('when another peer moves, its old picture is shown until the new one is there', async () => {
  const { mesh, media, room, told, old, camera } = await standing();
  media.session(0).video = false;
  const shown = camera.track;
  const offer = mesh.consumer({ id: 'moved', peer: 'ann', kind: 'video', appData: { source: 'camera' }, paused: false });
  assert.equal((await old.request('newConsumer', { ...offer }))['ok'], true);
  await sleep(120);
  assert.equal(camera.track, shown);
  assert.equal(told.length, 0);
  const before = camera.id;
  media.session(0).video = true;
  await until(() => told.includes('~camera'));
  assert.equal(camera.producerId, 'moved');
  old.notify('consumerClosed', { consumerId: before });
  await until(() => camera.legs.length === 1);
  assert.equal(camera.closed, false);
  assert.equal((shown as unknown as { readyState: string }).readyState, 'ended');
  assert.deepEqual(told, ['~camera']);

  // The old one ends first: at once.
  media.session(0).video = false;
  const again = mesh.consumer({ id: 'again', peer: 'ann', kind: 'video', appData: { source: 'camera' }, paused: false });
  await old.request('newConsumer', { ...again });
  assert.equal(camera.producerId, 'moved');
  old.notify('consumerClosed', { consumerId: offer.id });
  await until(() => camera.producerId === 'again');
  old.notify('consumerClosed', { consumerId: again.id });
  await until(() => camera.closed);
  assert.deepEqual(told, ['~camera', '~camera', '-ann/camera']);
  end(room);
});

test('tracks that are not forwarded are not waited for, and a muted one is not unmuted by a move', async () => {
  const { mesh, media, room, told, old, camera, microphone, move } = await standing();
  old.notify('consumerPaused', { consumerId: camera.id });
  await until(() => camera.muted);
  for (const producer of mesh.producers) if (producer.kind === 'video') producer.paused = true;
  await move();
  media.session(1).audio = true;
  await until(() => told.includes('finished'));
  assert.equal(camera.muted, true);
  assert.equal(microphone.muted, false);
  mesh.client!.notify('consumerResumed', { consumerId: camera.id });
  await until(() => !camera.muted);
  end(room);
});

test('nobody meets themselves in the room, whatever the other host says', async () => {
  const { mesh, media, room, told, old, camera, move } = await standing();
  await move();
  const next = await arrivedAt(mesh, old, camera);
  next.notify('newPeer', { id: 'me', displayName: 'Me', device: {} });
  const own = mesh.consumer({ id: 'own', peer: 'me', kind: 'audio', appData: { source: 'microphone' }, paused: false });
  assert.equal((await next.request('newConsumer', { ...own }))['ok'], false);
  Object.assign(media.session(1), { video: true, audio: true });
  await until(() => told.includes('finished'));
  assert.deepEqual([...room.peers.keys()], ['ann']);
  end(room);
});

test('what the other host does not take keeps the client where it is, and stays published there', async () => {
  const { mesh, room, told, old, move } = await standing();
  const microphone = await room.publishMicrophone({ track: fakeTrack('audio') });
  const id = microphone.producerId;
  mesh.failures.set('produce', { code: 403, reason: 'no room for that' });
  await move();
  await until(() => told.includes('failed'));
  mesh.failures.clear();
  assert.equal(microphone.closed, false);
  assert.equal(microphone.producerId, id);
  assert.equal(old.socket.readyState, 1);
  await microphone.mute();
  assert.equal(old.calls('pauseProducer').length, 1);
  end(room);
});

test('a listener who moves receives, and publishes nothing', async () => {
  const mesh = new FakeMesh();
  mesh.role = 'listen';
  mesh.addBot('ann', 'Ann');
  const media = new FakeMedia();
  const room = fakeRoom(mesh, { createDevice: media.createDevice, move: { limit: 400, overlap: 0, settle: 0 } });
  rooms.push(room);
  const phases: string[] = [];
  room.on('move', (phase) => phases.push(phase));
  await room.join();
  await until(() => room.peers.get('ann')?.subscriptions.length === 2);
  Object.assign(media.session(1), { video: true, audio: true });
  await mesh.client!.request('move', { token: 'go', seconds: 10, host: 'host-2', reason: '' });
  await until(() => phases.includes('finished'));
  assert.equal(room.role, 'listen');
  assert.deepEqual([mesh.client!.calls('produce'), mesh.client!.calls('produceData')], [[], []]);
  end(room);
});

test('a role that changes during a move holds after it', async () => {
  const { mesh, media, room, told, old, camera, move } = await standing();
  const microphone = await room.publishMicrophone({ track: fakeTrack('audio') });
  await move();
  const next = await arrivedAt(mesh, old, camera);
  await until(() => next.calls('produce').length === 1);
  old.notify('roleChanged', { peerId: 'me', role: 'listen' });
  next.notify('roleChanged', { peerId: 'me', role: 'listen' });
  await until(() => microphone.closed);
  Object.assign(media.session(1), { video: true, audio: true });
  await until(() => told.includes('finished'));
  await assert.rejects(room.publishMicrophone({ track: fakeTrack('audio') }), /listeners/);
  end(room);
});
