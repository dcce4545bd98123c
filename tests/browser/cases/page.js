// The room page as its users meet it.
import assert from 'node:assert/strict';
import { Peer, SMALL } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { sleep, until } from '../lib/wait.js';

/** Longer than a home that took over waits, which is 5 s (node/src/room/home.rs). */
const SETTLED = 7000;

const desktop = { width: 1280, height: 760 };
const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

onMesh('page: joining', { nodes: 2 }, async (t, mesh) => {
  const [first, second] = mesh.nodes;

  await part(t, 'page: an address with room and name joins at once, with camera and microphone', async (t) => {
    const ann = await Peer.join(t, first, { room: 'address', name: 'Ann', camera: true, viewport: desktop });
    const own = await ann.tile('ann').locator('video').elementHandle();
    await until('the own picture', () => own.evaluate((video) => !video.paused && video.videoWidth >= 640));
    assert.match(await ann.page.title(), /address/);
    const ben = await Peer.join(t, second, { room: 'address', name: 'Ben', camera: true, viewport: desktop });
    await Promise.all([ann.sees('ben'), ben.sees('ann'), ann.hears('ben'), ben.hears('ann')]);
    await ann.screenshot('room-2-tiles');
    for (const peer of [ann, ben]) peer.assertNoErrors();
  });

  await part(t, 'page: the form asks for a name and a room', async (t) => {
    const ann = await Peer.blank(t, { viewport: desktop });
    const [name, room, button] = ['join-name', 'join-room', 'join-button'].map((id) => ann.control(id));
    await ann.page.goto(first.url);
    await button.waitFor();
    await ann.screenshot('room-form');
    assert.equal(await button.isDisabled(), true, 'with neither');
    await name.fill('Ann');
    assert.equal(await button.isDisabled(), true, 'without a room');
    // Nothing of this may be in a room's id.
    await room.fill('?? // ??');
    assert.equal(await button.isDisabled(), true, 'with a room that is none');
    await room.fill('Form of Ann!');
    await name.fill('  ');
    assert.equal(await button.isDisabled(), true, 'with a name that is none');
    await name.fill('Ann');
    await button.click();
    await ann.connected();
    // What the mesh does not allow is replaced, and the address says what came of it.
    assert.equal(new URL(ann.page.url()).searchParams.get('room'), 'Form-of-Ann');
    const { peers } = await mesh.roomWith('Form-of-Ann', { peers: 1 });
    assert.equal(peers[0].display_name, 'Ann');
    ann.assertNoErrors();
  });

  await part(t, 'page: an address with a room that is none shows the form', async (t) => {
    const ann = await Peer.blank(t);
    await ann.page.goto(`${first.url}/?room=%2F%2F&name=Ann`);
    await ann.control('join-button').waitFor();
    assert.equal(await ann.control('join-name').inputValue(), 'Ann');
    assert.equal(await ann.control('join-button').isDisabled(), true);
  });

  await part(t, 'page: who may not use camera and microphone joins all the same', async (t) => {
    const ann = await Peer.join(t, first, { room: 'denied', name: 'Ann', camera: SMALL });
    const ben = await Peer.blank(t, { browser: 'deny' });
    ben.id = 'ben';
    await ben.page.goto(second.url);
    await ben.page.getByTestId('media-error').getByText(/not allowed/).waitFor();
    await ben.control('join-name').fill('Ben');
    await ben.control('join-room').fill('denied');
    await ben.control('join-button').click();
    await ben.connected();
    await ben.page.getByTestId('toast').getByText(/not allowed/).first().waitFor();
    await Promise.all([ben.sees('ann'), ben.hears('ann')]);
    const [id] = await ann.others();
    await ann.page.locator(`[data-testid=tile][data-peer="${id}"][data-camera=off][data-muted=true]`).waitFor();
    for (const peer of [ann, ben]) peer.assertNoErrors();
  });

  await part(t, 'page: two tabs of one browser chat', async (t) => {
    const ann = await Peer.join(t, first, { room: 'tabs', name: 'Ann', camera: SMALL, viewport: desktop });
    const ben = await ann.anotherTab();
    await ben.join(second, { room: 'tabs', name: 'Ben', camera: SMALL });
    await Promise.all([ann.sees('ben'), ben.sees('ann')]);
    await ann.says('Can you read this?');
    await ben.control('chat-unread').getByText('1', { exact: true }).waitFor();
    await ben.reads('Can you read this?', { from: 'ann' });
    await ben.control('chat-unread').waitFor({ state: 'detached' });
    await ben.says('I can. See https://example.org/a?b=c <b>');
    await ann.reads('I can. See https://example.org/a?b=c <b>', { from: 'ben' });
    await ann.screenshot('room-chat');
    for (const peer of [ann, ben]) peer.assertNoErrors();
  });

  await part(t, 'page: everything fits a phone', async (t) => {
    const ben = await Peer.join(t, second, { room: 'phone', name: 'Ben', camera: SMALL, viewport: desktop });
    const ann = await Peer.blank(t, phone);
    await ann.page.goto(`${first.url}/?room=phone`);
    await ann.control('join-button').waitFor();
    await fits(ann, 'the form');
    await ann.screenshot('phone-form');
    await ann.join(first, { room: 'phone', name: 'Ann', camera: SMALL });
    await Promise.all([ann.sees('ben'), ben.sees('ann')]);
    await fits(ann, 'a call');
    for (const control of ['mute', 'camera', 'chat-toggle', 'leave']) await isWithin(ann, control);
    await ann.screenshot('phone-2-tiles');
    await ben.says('A line that is long enough to be broken on a phone, andonewordthatiswiderthananyscreenofaphonecouldbe');
    await ann.reads('A line that is long enough', { from: 'ben' });
    await fits(ann, 'the chat');
    for (const control of ['chat-input', 'chat-send']) await isWithin(ann, control);
    await ann.screenshot('phone-chat');
    for (const peer of [ann, ben]) peer.assertNoErrors();
  });

  await part(t, 'page: who is removed is told so', async (t) => {
    const ann = await Peer.join(t, first, { room: 'kick', name: 'Ann', camera: SMALL });
    const ben = await Peer.join(t, second, { room: 'kick', name: 'Ben', camera: SMALL });
    await ann.sees('ben');
    await ann.page.evaluate(() => window.skein.room.kick('ben'));
    await ben.control('ended').getByText(/removed/i).first().waitFor();
    await ann.losesSightOf('ben');
    await mesh.roomWith('kick', { peers: 1, producers: 2 });
    ben.assertNoErrors();
  });

  await part(t, 'page: when a room is closed, everyone is told so', async (t) => {
    const ann = await Peer.join(t, first, { room: 'close', name: 'Ann', camera: SMALL });
    const ben = await Peer.join(t, second, { room: 'close', name: 'Ben', camera: SMALL });
    await ann.sees('ben');
    await ann.page.evaluate(() => window.skein.room.closeRoom());
    for (const peer of [ann, ben]) {
      await peer.control('ended').getByText(/closed/i).first().waitFor();
      peer.assertNoErrors();
    }
    await until('the room to be gone', async () => (await mesh.room('close')) === undefined);
  });

  await part(t, 'page: nothing stays behind when tabs are closed', () => mesh.isClean());
});

onMesh('reconnect: a node ends', { nodes: 3, set: { 'placement.prefer': 'entry' } }, async (t, mesh) => {
  // The worst case: the node is Ann's entry, holds her media, and is the room's home.
  const [doomed, other] = mesh.nodes;
  const room = await roomAtHome(t, mesh, doomed);
  const ann = await Peer.join(t, doomed, { room, name: 'Ann', camera: SMALL, browser: 'one' });
  const ben = await Peer.join(t, other, { room, name: 'Ben', camera: SMALL, browser: 'two' });
  await Promise.all([ann.sees('ben'), ben.sees('ann')]);
  await Promise.all([ann, ben].map(watchStates));

  await part(t, 'reconnect: one that is told to stop: the page goes on through another node', async () => {
    await mesh.terminate(doomed, 'SIGINT');
    await until('Ann to be back', async () => (await states(ann)).at(-1) === 'connected');
    assert.deepEqual([...new Set(await states(ann))], ['reconnecting', 'connected']);
    const { entry, host } = await ann.placement();
    assert.notEqual(entry, doomed.id);
    assert.notEqual(host, doomed.id);
    await Promise.all([ann.sees('ben'), ann.hears('ben'), ben.sees('ann'), ben.hears('ann')]);
    assert.deepEqual(await states(ben), [], 'Ben, whose node goes on, has noticed nothing');
    await ben.says('Are you back?');
    await ann.got('Are you back?', { from: 'ben' });
  });

  await part(t, 'reconnect: the room stays together after that', async () => {
    // A new home waits some seconds for hosts that are slow to announce themselves, and only then counts who is there.
    await sleep(SETTLED);
    for (const [here, there] of [
      [ann, ben],
      [ben, ann],
    ]) {
      assert.deepEqual(await here.others(), [there.id], `whom ${here.id} still sees`);
      await here.sees(there.id);
    }
  });

  await part(t, 'reconnect: one that dies: both go on through the last one', async () => {
    await mesh.terminate(other, 'SIGKILL');
    const last = mesh.alive[0];
    for (const peer of [ann, ben]) {
      await until(`${peer.id} to be on ${last.id}`, async () => {
        const [{ entry, host }, all] = [await peer.placement(), await states(peer)];
        return entry === last.id && host === last.id && all.at(-1) !== 'reconnecting';
      });
    }
    await Promise.all([ann.sees('ben'), ann.hears('ben'), ben.sees('ann'), ben.hears('ann')]);
    await mesh.roomWith(room, { peers: 2, producers: 4, pipes: 0 });
  });
  for (const peer of [ann, ben]) peer.assertNoErrors();
});

/** Nothing can be scrolled sideways. */
async function fits(peer, what) {
  const { scrollWidth, clientWidth } = await peer.page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return { scrollWidth, clientWidth };
  });
  assert.equal(scrollWidth, clientWidth, `${what} scrolls sideways`);
}

/** A control is on the screen as a whole. */
async function isWithin(peer, testid) {
  const { width, height } = peer.page.viewportSize();
  // It may still be sliding in.
  await until(
    `${testid} to be on the screen`,
    async () => {
      const box = await peer.control(testid).boundingBox();
      if (box && box.x >= 0 && box.y >= 0 && box.x + box.width <= width && box.y + box.height <= height) return true;
      throw new Error(`it is at ${JSON.stringify(box)} of ${width}x${height}`);
    },
    { timeout: 5000 },
  );
}

/** The name of a room whose home this node will be. */
async function roomAtHome(t, mesh, node) {
  const tab = await Peer.blank(t);
  await tab.page.goto(`${node.url}/healthz`);
  for (let number = 1; ; number++) {
    const room = `reconnect-${number}`;
    // Hashing decides, so a room is made to see.
    await tab.page.evaluate((url) => void (window.socket = new WebSocket(url, 'protoo')), `${node.ws}/?roomId=${room}&peerId=p`);
    const { home } = await until(`the room ${room}`, () => mesh.room(room));
    await tab.page.evaluate(() => window.socket.close());
    if (home === node.id) return room;
  }
}

/** Notes the states that a page's room goes through from now on. */
async function watchStates(peer) {
  await peer.page.evaluate(() => {
    window.states = [];
    window.skein.room.on('state', (state) => window.states.push(state));
  });
}

function states(peer) {
  return peer.page.evaluate(() => window.states);
}
