// Room to spare: the mesh packs a room onto one node, whatever nodes its peers come through.
import assert from 'node:assert/strict';
import { Peer } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { until } from '../lib/wait.js';
import { call } from './call.js';

onMesh('one_host: two browsers meet through different nodes', {}, async (t, mesh) => {
  const room = 'one-host';
  const [first, second] = mesh.nodes;
  const ann = await Peer.join(t, first, { room, name: 'Ann', browser: 'one' });
  const ben = await Peer.join(t, second, { room, name: 'Ben', browser: 'two' });

  await part(t, 'one_host: one node holds both, and another one relays', async () => {
    for (const node of mesh.nodes) {
      const detail = await until(`two peers, as ${node.id} tells`, async () => {
        const detail = await mesh.room(room, node);
        return detail?.peers.filter(({ joined }) => joined).length === 2 && detail;
      });
      assert.equal(detail.hosts.length, 1);
      assert.equal(detail.producers.length, 4);
      assert.deepEqual(detail.pipes, []);
      const [host] = detail.hosts;
      assert.deepEqual(detail.peers.map((peer) => peer.host), [host, host]);
      const entries = [];
      for (const [peer, node] of [[ann, first], [ben, second]]) {
        const placement = await peer.placement();
        assert.equal(placement.host, host);
        assert.equal(placement.entry, node.id);
        assert.deepEqual([...placement.endpoints].sort(), mesh.nodes.map(({ ws }) => ws).sort());
        entries.push(placement.entry);
      }
      assert.ok(entries.some((entry) => entry !== host), `nobody is relayed: ${entries} to ${host}`);
    }
  });
  await call(t, 'one_host', mesh, ann, ben);
});
