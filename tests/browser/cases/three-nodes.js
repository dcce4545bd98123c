// Three browsers, each on a node of its own.
import assert from 'node:assert/strict';
import { Peer, SMALL } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { expectedPipes, pipesOf } from './two-hosts.js';

const options = { nodes: 3, set: { 'placement.prefer': 'entry' } };

onMesh('three_nodes: everyone meets everyone', options, async (t, mesh) => {
  const room = 'three-nodes';
  const names = ['Ann', 'Ben', 'Cem'];
  // All at once: joins, producers and pipes cross each other.
  const peers = await Promise.all(
    names.map((name, index) =>
      Peer.join(t, mesh.nodes[index], { room, name, camera: SMALL, browser: ['one', 'two', 'three'][index] }),
    ),
  );

  await part(t, 'three_nodes: three hosts, and two pipes for each producer', async () => {
    const detail = await mesh.roomWith(room, { peers: 3, producers: 6, pipes: 12 });
    assert.deepEqual(detail.hosts.sort(), mesh.nodes.map(({ id }) => id).sort());
    assert.deepEqual(pipesOf(detail), expectedPipes(detail));
  });

  await part(t, 'three_nodes: everyone sees and hears everyone', async () => {
    const pairs = peers.flatMap((here) => peers.filter((there) => there !== here).map((there) => [here, there]));
    await Promise.all(pairs.flatMap(([here, there]) => [here.sees(there.id), here.hears(there.id)]));
  });

  await part(t, 'three_nodes: one that leaves is missed by both others, who go on', async () => {
    const [ann, ben, cem] = peers;
    await cem.leaves();
    await Promise.all([ann.losesSightOf(cem.id), ben.losesSightOf(cem.id)]);
    const detail = await mesh.roomWith(room, { peers: 2, producers: 4, pipes: 4 });
    assert.deepEqual(pipesOf(detail), expectedPipes(detail));
    await Promise.all([ann.sees(ben.id), ben.sees(ann.id)]);
  });
  for (const peer of peers) peer.assertNoErrors();
});
