// A node drains in the middle of a call: who is on it goes to another, and pictures keep moving.
import assert from 'node:assert/strict';
import { Peer } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { longestStand } from '../lib/stand.js';
import { sleep, until } from '../lib/wait.js';

const camera = { width: 320, height: 180, frameRate: 20 };

onMesh('drain: a node under a call', { nodes: 3, set: { 'placement.prefer': 'entry' } }, async (t, mesh) => {
  const room = 'drain';
  const [first, second] = mesh.nodes;
  const ann = await Peer.join(t, first, { room, name: 'Ann', camera, browser: 'one' });
  const ben = await Peer.join(t, second, { room, name: 'Ben', camera, browser: 'two' });
  const both = [[ann, ben], [ben, ann]];
  await Promise.all(both.flatMap(([here, there]) => [here.sees(there.id), here.hears(there.id)]));
  for (const [here, there] of both) {
    await here.page.evaluate(() => {
      const { room } = window.skein;
      window.noticed = [];
      for (const event of ['state', 'peerJoined', 'peerLeft', 'subscribed', 'unsubscribed', 'error']) {
        room.on(event, (about) => window.noticed.push(`${event} ${about?.id ?? about?.message ?? about}`));
      }
    });
    await here.watchFrames(there.id);
  }
  await sleep(1000);
  for (const [here, there] of both) await here.frames(there.id);
  await sleep(3000);
  const rest = Math.max(...(await Promise.all(both.map(([here, there]) => here.frames(there.id)))).map(({ longest }) => longest));

  await part(t, 'drain: it becomes empty', async () => {
    await mesh.drain(first, second);
    await until(
      'the node to be empty',
      async () => {
        const { nodes } = await mesh.api('/mesh', second);
        const { state, peers, sockets } = nodes.find(({ id }) => id === first.id);
        if (state !== 'draining' || peers || sockets) throw new Error(`${state}, ${peers} peers, ${sockets} sockets`);
        return true;
      },
      { timeout: 30_000 },
    );
    const { entry, host } = await ann.placement();
    assert.notEqual(host, first.id);
    assert.notEqual(entry, first.id, 'she would dial the node that drains again');
    await until('Ann to be done', () => ann.page.evaluate(() => !window.skein.room.moving));
    await sleep(1500);
  });

  await part(t, 'drain: pictures kept moving, and nobody noticed', async (t) => {
    for (const [here, there] of both) {
      const measured = await here.frames(there.id);
      t.diagnostic(`${there.id} as ${here.id} sees them: ${JSON.stringify(measured)}; at rest ${rest} ms`);
      const longest = longestStand(rest);
      assert.ok(measured.longest < longest, `${there.id}'s picture stood still for ${measured.longest} ms at ${here.id}`);
      assert.deepEqual(await here.page.evaluate(() => window.noticed), [], `what ${here.id} noticed`);
      await here.sees(there.id);
      await here.hears(there.id);
    }
  });

  await part(t, 'drain: told to stop, the node ends at once', async () => {
    await mesh.terminate(first);
    await Promise.all(both.map(([here, there]) => here.sees(there.id)));
  });
  for (const peer of [ann, ben]) peer.assertNoErrors();
});
