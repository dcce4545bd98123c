// Nodes so small that a room outgrows one.
import assert from 'node:assert/strict';
import { Peer, SMALL } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { until } from '../lib/wait.js';
import { expectedPipes, pipesOf } from './two-hosts.js';

// Five with microphone and camera are 40 consumers, half of them of audio, and each newcomer is expected to send both at
// once: with what rooms are kept to go on elsewhere, that is more than one worker of this size takes.
const options = { nodes: 2, streamsPerWorker: 32, set: { 'media.workers': 1, 'placement.together': false } };

onMesh('small_nodes: a room that outgrows its node goes on on another', options, async (t, mesh) => {
  const room = 'small-nodes';
  const names = ['Ann', 'Ben', 'Cem', 'Dua', 'Eva'];
  const viewport = { width: 480, height: 360 };
  const peers = [];
  for (const [index, name] of names.entries()) {
    const browser = index % 2 ? 'two' : 'one';
    const node = mesh.nodes[index % 2];
    const last = index === names.length - 1;
    // The last one's page is the one that is photographed.
    const size = last ? { width: 1280, height: 760 } : viewport;
    peers.push(await Peer.join(t, node, { room, name, browser, viewport: size, camera: false }));
    if (index === 3) for (const peer of peers) await peer.publishCamera(SMALL);
    if (last) await peers[index].publishCamera(SMALL);
  }
  const eva = peers[4];
  const four = peers.slice(0, 4);

  await part(t, 'small_nodes: the room is on both nodes, with pipes both ways', async () => {
    const detail = await mesh.roomWith(room, { peers: 5, producers: 10, pipes: 10 });
    assert.deepEqual(detail.hosts.sort(), mesh.nodes.map(({ id }) => id).sort());
    assert.deepEqual(pipesOf(detail), expectedPipes(detail));
  });

  await part(t, 'small_nodes: the fifth sees and hears all four', async () => {
    await Promise.all(four.flatMap(({ id }) => [eva.sees(id), eva.hears(id)]));
    await eva.screenshot('room-5-tiles');
  });

  await part(t, 'small_nodes: the four see and hear the fifth, and each other', async () => {
    const [ann, ben, cem, dua] = four;
    await Promise.all([
      ...four.map((peer) => peer.sees(eva.id)),
      ann.hears(eva.id),
      ann.sees(ben.id),
      ben.sees(cem.id),
      cem.sees(dua.id),
      dua.hears(ann.id),
    ]);
  });

  await part(t, 'small_nodes: what the fifth writes is read by all, and what another one writes by the fifth', async () => {
    await eva.says('Hello from the other node');
    await Promise.all(four.map((peer) => peer.got('Hello from the other node', { from: eva.id })));
    await four[2].says('Hello back');
    await eva.reads('Hello back', { from: four[2].id });
  });

  await part(t, 'small_nodes: when the fifth has left, its pipes are gone', async () => {
    await eva.leaves();
    for (const peer of four) await peer.losesSightOf(eva.id);
    await until('only pipes of those who are left', async () => {
      const detail = await mesh.roomWith(room, { peers: 4, producers: 8 });
      assert.deepEqual(pipesOf(detail), expectedPipes(detail));
      return true;
    });
    for (const peer of four) await peer.leaves();
    await mesh.isClean();
  });
  for (const peer of peers) peer.assertNoErrors();
});
