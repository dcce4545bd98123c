// Nodes that are far apart: each peer's media stays with its own entry, and what others need of it is piped.
import assert from 'node:assert/strict';
import { Peer } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { until } from '../lib/wait.js';
import { call } from './call.js';

const options = { nodes: 2, set: { 'placement.prefer': 'entry' } };

onMesh('two_hosts: two browsers meet over a pipe', options, async (t, mesh) => {
  const room = 'two-hosts';
  const [first, second] = mesh.nodes;
  const ann = await Peer.join(t, first, { room, name: 'Ann', browser: 'one' });
  const ben = await Peer.join(t, second, { room, name: 'Ben', browser: 'two' });

  await part(t, 'two_hosts: each holds its own peer, and one pipe for each producer of the other', async () => {
    for (const [peer, node] of [
      [ann, first],
      [ben, second],
    ]) {
      const { entry, host } = await peer.placement();
      assert.deepEqual({ entry, host }, { entry: node.id, host: node.id });
    }
    for (const node of mesh.nodes) {
      const detail = await mesh.roomWith(room, { peers: 2, producers: 4, pipes: 4 }, node);
      assert.deepEqual(detail.hosts.sort(), [first.id, second.id]);
      assert.deepEqual(pipesOf(detail), expectedPipes(detail));
    }
    // What the nodes say of themselves is the same.
    await until('each node to have two producers from the other', async () => {
      for (const { id, pipes } of await mesh.details()) {
        const other = id === first.id ? second.id : first.id;
        const ways = pipes.map(({ from, to }) => `${from.node} ${to.node}`);
        assert.deepEqual(ways, [`${other} ${id}`, `${other} ${id}`]);
      }
      return true;
    });
  });
  await call(t, 'two_hosts', mesh, ann, ben);
});

/** Pipes of a room as text, to compare them. */
export function pipesOf({ pipes }) {
  return pipes.map(({ producer, from, to }) => `${producer} ${from.node} ${to.node}`).sort();
}

/** Exactly one pipe for each producer to each other node that has peers of the room. */
export function expectedPipes({ producers, hosts }) {
  return producers
    .flatMap(({ id, host }) => hosts.filter((other) => other !== host).map((other) => `${id} ${host} ${other}`))
    .sort();
}
