import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arc, curve, links, load, loadClass, ring, segments } from '../src/console/shape.js';
import { SseParser } from '../src/console/sse.js';
import { applied, type Picture } from '../src/console/store.js';
import type { NodeStatus, Pipe, RoomSummary } from '../src/protocol.js';

test('events are read whatever the pieces they come in', () => {
  const stream = ': hello\n\nevent: node\ndata: {"a":1}\n\nid: 7\r\ndata: one\r\ndata:two\r\n\r\nevent: empty\n\n';
  const expected = [
    { event: 'node', data: '{"a":1}' },
    { event: 'message', data: 'one\ntwo' },
  ];
  for (let size = 1; size <= stream.length; size++) {
    const parser = new SseParser();
    const events = [];
    for (let at = 0; at < stream.length; at += size) events.push(...parser.push(stream.slice(at, at + size)));
    assert.deepEqual(events, expected, `pieces of ${size}`);
  }
});

test('events change the picture', () => {
  const node = (id: string, peers: number) => ({ id, peers }) as NodeStatus;
  const room = (id: string) => ({ id }) as RoomSummary;
  const mesh = { mesh: 'm', node: 'a', leader: null, nodes: [node('b', 1)], rooms: 0, waiting: 0 };
  let picture: Picture = { mesh, rooms: [], missing: [] };
  picture = applied(picture, { event: 'node', change: 'added', id: 'a', status: node('a', 2) });
  picture = applied(picture, { event: 'node', change: 'changed', id: 'b', status: node('b', 3) });
  assert.deepEqual(picture.mesh?.nodes.map(({ id, peers }) => [id, peers]), [['a', 2], ['b', 3]]);
  picture = applied(picture, { event: 'node', change: 'removed', id: 'a', status: null });
  assert.equal(picture.mesh?.nodes.length, 1);
  picture = applied(picture, { event: 'room', change: 'added', id: 'r', summary: room('r') });
  assert.equal(picture.rooms.length, 1);
  picture = applied(picture, { event: 'room', change: 'removed', id: 'r', summary: null });
  assert.equal(picture.rooms.length, 0);
  assert.deepEqual(applied(picture, { event: 'news' } as never), picture);
});

test('nodes have their own place, inside the drawing', () => {
  for (const [width, height] of [[800, 500], [340, 360], [1200, 300]] as const) {
    for (let count = 1; count <= 60; count++) {
      const { points, radius, height: total } = ring(count, width, height);
      assert.equal(points.length, count);
      points.forEach((point, i) => {
        const where = `${count} in ${width}x${height}: ${i} at ${point.x},${point.y} r ${radius}`;
        assert.ok(point.x - radius >= 0 && point.x + radius <= width, where);
        assert.ok(point.y - radius >= 0 && point.y + radius <= total, where);
        for (const other of points.slice(i + 1)) {
          const [x, y] = [Math.abs(point.x - other.x), Math.abs(point.y - other.y)];
          const apart = x > 56 + radius || y > radius * 2 + 40;
          assert.ok(apart, `overlap: ${where}`);
        }
      });
    }
  }
  assert.deepEqual(ring(0, 100, 100).points, []);
});

test('a ring shows each worker’s share', () => {
  const [first, second] = segments({ workers: [100, 0], total_streams: 200 });
  assert.equal(first?.used, 0);
  assert.equal(second?.used, 1);
  assert.ok((first?.to ?? 1) < (second?.from ?? 0));
  assert.deepEqual(segments({ workers: [], total_streams: 0 }), []);
  assert.equal(load({ free_streams: 25, total_streams: 100 }), 0.75);
  assert.equal(load({ free_streams: 0, total_streams: 0 }), 0);
  assert.equal(loadClass(0.75), 'high');
  assert.ok(arc({ x: 0, y: 0 }, 10, 0, 1).includes(' 1 1 '));
});

test('pipes between the same nodes are one link a direction, those inside a node none', () => {
  const pipe = (from: string, to: string, producer: string): Pipe => ({
    room: 'r',
    producer,
    from: { node: from, worker: 0 },
    to: { node: to, worker: 1 },
  });
  const found = links([pipe('a', 'b', '1'), pipe('a', 'b', '2'), pipe('a', 'b', '1'), pipe('b', 'a', '3'), pipe('a', 'a', '1')]);
  assert.deepEqual(found, [
    { from: 'a', to: 'b', pipes: 3, producers: 2 },
    { from: 'b', to: 'a', pipes: 1, producers: 1 },
  ]);
});

test('both directions of a link are apart', () => {
  const [a, b] = [{ x: 0, y: 0 }, { x: 200, y: 0 }];
  const there = curve(a, b, 20).middle;
  const back = curve(b, a, 20).middle;
  assert.ok(Math.abs(there.y - back.y) > 20);
});
