// A peer is moved to another host in the middle of a call, and nobody sees it.
import assert from 'node:assert/strict';
import { Peer } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { longestStand } from '../lib/stand.js';
import { sleep, until } from '../lib/wait.js';

/** Twenty pictures a second, as the fake camera has them, and little to encode. */
const camera = { width: 320, height: 180, frameRate: 20 };

const options = { nodes: 3, set: { 'placement.prefer': 'entry' } };

onMesh('move: a peer goes to another host without a gap', options, async (t, mesh) => {
  const room = 'move';
  const [first, second, third] = mesh.nodes;
  const ann = await Peer.join(t, first, { room, name: 'Ann', camera, browser: 'one' });
  const ben = await Peer.join(t, second, { room, name: 'Ben', camera, browser: 'two' });
  const both = [[ann, ben], [ben, ann]];
  await Promise.all(both.flatMap(([here, there]) => [here.sees(there.id), here.hears(there.id)]));
  await Promise.all([ann, ben].map(watchRoom));
  for (const [here, there] of both) await here.watchFrames(there.id);
  /** How long pictures stand still where nobody moves. */
  let rest = 0;

  await part(t, 'move: pictures flow evenly before it', async (t) => {
    // The first second is for the page to come to rest.
    await sleep(1000);
    for (const [here, there] of both) await here.frames(there.id);
    await sleep(3000);
    rest = await assertEven(t, both, 'before the move');
  });

  await part(t, 'move: to the node that the operator names, seen by nobody', async (t) => {
    await move(mesh, room, ann, third);
    await assertEven(t, both, 'around the move', { rest, elements: 2 });
    await assertUnnoticed(both);
    await Promise.all(both.flatMap(([here, there]) => [here.sees(there.id), here.hears(there.id)]));
  });

  await part(t, 'move: chat goes on, and comes once', async () => {
    for (const [here, there] of both) {
      await here.says(`After it, from ${here.id}`);
      await there.reads(`After it, from ${here.id}`, { from: here.id });
    }
    await sleep(500);
    for (const [here, there] of both) {
      const text = `After it, from ${there.id}`;
      const times = await here.page.evaluate((text) => window.skein.call.messages.filter((one) => one.text === text).length, text);
      assert.equal(times, 1);
      await here.showsChat(false);
    }
  });

  await part(t, 'move: muted stays muted, and the camera goes on', async (t) => {
    await ann.control('mute').click();
    await ben.page.locator('[data-testid=tile][data-peer=ann][data-muted=true]').waitFor();
    await sleep(1000);
    for (const [here, there] of both) await here.frames(there.id);
    await move(mesh, room, ann, first);
    await assertEven(t, both, 'around the move back', { rest, elements: 3 });
    await assertUnnoticed(both);
    assert.equal((await ben.stats('ann', 'microphone')).muted, true);
    await ben.getsNothing('ann', 'microphone');
    await ann.control('mute').click();
    await ben.hears('ann');
  });

  await part(t, 'move: to wherever the mesh likes', async (t) => {
    const { host: before } = await ben.placement();
    await sleep(1000);
    for (const [here, there] of both) await here.frames(there.id);
    await mesh.move(room, 'ben');
    const host = await until('Ben to be on another host', async () => {
      const { peers } = await mesh.room(room);
      const now = peers.find(({ id }) => id === 'ben')?.host;
      return now && now !== before ? now : undefined;
    });
    await until('Ben to know', async () => (await ben.placement()).host === host);
    await sleep(1500);
    await assertEven(t, both, 'around the move of Ben', { rest, elements: 4 });
    await assertUnnoticed(both);
  });

  await part(t, 'move: nothing is left on the hosts that were left', async () => {
    const detail = await mesh.roomWith(room, { peers: 2, producers: 4 });
    const hosts = new Set(detail.peers.map(({ host }) => host));
    await until('the other nodes to hold nothing', async () => {
      for (const { id, sessions, transports } of await mesh.details()) {
        if (!hosts.has(id) && (sessions || transports)) throw new Error(`${id} has ${sessions} sessions`);
      }
      return true;
    });
    await ann.leaves();
    await ben.leaves();
    await mesh.isClean();
  });
  for (const peer of [ann, ben]) peer.assertNoErrors();
});

/** Has a peer moved, and waits until the mesh and the page both say so. */
async function move(mesh, room, peer, node) {
  await mesh.move(room, peer.id, node);
  await until(`${peer.id} to be on ${node.id}`, async () => {
    const detail = await mesh.room(room);
    const { host } = detail.peers.find(({ id }) => id === peer.id) ?? {};
    if (host !== node.id) throw new Error(`it is on ${host}`);
    return (await peer.placement()).host === node.id;
  });
  await until(`${peer.id} to be done`, () => peer.page.evaluate(() => !window.skein.room.moving));
  // What comes after the old connection is gone counts as well.
  await sleep(1500);
}

/** Notes what a page's room tells that nobody should notice. */
async function watchRoom(peer) {
  await peer.page.evaluate(() => {
    const { room } = window.skein;
    window.noticed = [];
    for (const event of ['state', 'peerJoined', 'peerLeft', 'subscribed', 'unsubscribed', 'error']) {
      room.on(event, (about) => window.noticed.push(`${event} ${about?.id ?? about?.message ?? about}`));
    }
    room.on('move', (phase, { reason }) => phase === 'failed' && window.noticed.push(`move failed: ${reason}`));
  });
}

async function assertUnnoticed(both) {
  for (const [here, there] of both) {
    assert.deepEqual(await here.page.evaluate(() => window.noticed), [], `what ${here.id} noticed`);
    assert.deepEqual(await here.others(), [there.id]);
  }
}

/**
 * Since it was asked last, no picture has stood still for too long; so many elements have shown it in all. Answers how long
 * one has at most.
 */
async function assertEven(t, both, when, { rest = 0, elements = 1 } = {}) {
  let most = 0;
  for (const [here, there] of both) {
    const measured = await here.frames(there.id);
    t.diagnostic(`${when}, ${there.id} as ${here.id} sees them: ${JSON.stringify(measured)}`);
    assert.ok(measured.frames > 20, `${here.id} saw ${measured.frames} frames ${when}`);
    const longest = longestStand(rest);
    most = Math.max(most, measured.longest);
    assert.ok(measured.longest < longest, `${there.id}'s picture stood still for ${measured.longest} ms at ${here.id}, ${when}`);
    assert.ok(measured.elements >= elements, `${here.id}'s picture was not replaced ${when}`);
  }
  return most;
}
