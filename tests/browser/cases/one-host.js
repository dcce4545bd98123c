// Room to spare: the mesh packs a room onto one node, whatever nodes its peers come through.
import assert from 'node:assert/strict';
import { Peer } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { call } from './call.js';

onMesh('one_host: two browsers meet through different nodes', {}, async (t, mesh) => {
  const room = 'one-host';
  const [first, second] = mesh.nodes;
  const ann = await Peer.join(t, first, { room, name: 'Ann', browser: 'one' });
  const ben = await Peer.join(t, second, { room, name: 'Ben', browser: 'two' });

  await part(t, 'one_host: one node holds both, and another one relays', async () => {
    const entries = [];
    const { hosts } = await mesh.roomWith(room, { peers: 2, producers: 4 });
    for (const [peer, node] of [
      [ann, first],
      [ben, second],
    ]) {
      const placement = await peer.placement();
      assert.deepEqual([placement.host], hosts);
      assert.equal(placement.entry, node.id);
      assert.deepEqual([...placement.endpoints].sort(), mesh.nodes.map(({ ws }) => ws).sort());
      entries.push(placement.entry);
    }
    assert.ok(
      entries.some((entry) => entry !== hosts[0]),
      `nobody is relayed: ${entries} to ${hosts}`,
    );
    // Any node tells the same of the room, and nothing is piped between nodes.
    for (const node of mesh.nodes) {
      const detail = await mesh.roomWith(room, { peers: 2, producers: 4 }, node);
      assert.deepEqual(detail.hosts, hosts);
      assert.deepEqual(
        detail.peers.map(({ host }) => host),
        [...hosts, ...hosts],
      );
      assert.deepEqual(detail.pipes, []);
    }
    for (const { id, sockets, sessions, pipe_transports, pipes } of await mesh.details()) {
      const found = { sockets, sessions, pipe_transports, pipes };
      const expected = { sockets: Number(entries.includes(id)), sessions: id === hosts[0] ? 2 : 0 };
      assert.deepEqual(found, { ...expected, pipe_transports: 0, pipes: [] }, id);
    }
  });
  await call(t, 'one_host', mesh, ann, ben);
});
