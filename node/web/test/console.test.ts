import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arc, curve, links, load, loadClass, ring, segments } from '../src/console/shape.js';
import { bounds, mood, plan, span, state, step, when } from '../src/console/scaling-words.js';
import { SseParser } from '../src/console/sse.js';
import { applied, Store, type Picture } from '../src/console/store.js';
import type { MeshStatus, NodeStatus, Pipe, RoomSummary, Scaling } from '../src/protocol.js';

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

const scaling = (more: Partial<Scaling> = {}): Scaling => ({
  leader: 'a',
  term: 1,
  wanted_streams: 40,
  free_streams: 60,
  booting_streams: 0,
  grows: true,
  eta_s: 0,
  alarm: null,
  reasons: [],
  steps: [],
  min_nodes: 1,
  max_nodes: 4,
  machines: [],
  ...more,
});

test('what the leader is about is said in words', () => {
  const machine = (now: Scaling['machines'][number]['state']) => ({ node: 'm-1', kind: 'k', state: now, age_s: 70 });
  const words = (more: Partial<Scaling>, nodes: Pick<NodeStatus, 'state'>[] = []) => mood(scaling(more), nodes).kind;
  assert.equal(words({}), 'steady');
  assert.equal(words({ machines: [machine('serving')] }), 'steady');
  assert.equal(words({ machines: [machine('starting'), machine('draining')] }), 'growing');
  assert.equal(words({ machines: [machine('ending')] }), 'shrinking');
  assert.equal(words({}, [{ state: 'draining' }]), 'shrinking');
  assert.equal(words({ free_streams: 3, grows: false }), 'full');
  assert.equal(words({ alarm: '3 machines in a row never joined', machines: [machine('starting')] }), 'alarm');
  assert.equal(plan(scaling()), '40 streams should be free: 60 are.');
  assert.equal(
    plan(scaling({ free_streams: 8, booting_streams: 12 })),
    '40 streams should be free: 8 are, 12 more are on their way, and 20 are missing.',
  );
  assert.equal(bounds(scaling(), 2), '2 nodes, of 1 to 4');
  assert.equal(bounds(scaling({ min_nodes: 3, max_nodes: 3 }), 2), '2 of 3 nodes');
  assert.equal(bounds(scaling({ min_nodes: 0, max_nodes: 0 }), 1), '1 node');
  assert.deepEqual(step('launch 3 (c7a.large): 4 joins wait: now'), { what: 'Launch 3 (c7a.large)', why: '4 joins wait: now' });
  assert.deepEqual(step('retire 3'), { what: 'Retire 3', why: '' });
  assert.equal(state(machine('starting')), 'starting for 70 s');
  assert.deepEqual([span(5), span(600), span(7 * 3600), span(3 * 86400)], ['5 s', '10 min', '7 h', '3 d']);
  const noon = new Date(2026, 10, 21, 12, 0, 5).getTime();
  assert.ok(when(noon, noon + 1000).length < when(noon, noon + 86_400_000).length, 'with its date on another day');
});

test('a leader is asked what it does, and seldom where it does nothing', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  const store = new Store();
  const mesh: MeshStatus = { mesh: 'm', node: 'a', leader: 'a', nodes: [], rooms: 0, waiting: 0 };
  let answer: () => Promise<Scaling | undefined> = () => Promise.resolve(undefined);
  let asked = 0;
  Object.assign(store.api, {
    mesh: () => Promise.resolve({ ...mesh }),
    rooms: () => Promise.resolve({ rooms: [], missing: [] }),
    events: () => new Promise(() => {}),
    scaling: () => (asked++, answer()),
  });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const after = async (milliseconds: number) => {
    for (let at = 0; at < milliseconds; at += 1000) {
      t.mock.timers.tick(1000);
      await settle();
    }
  };
  store.start();
  await settle();
  await after(30_000);
  assert.deepEqual([asked, store.scaling], [3, undefined], 'it does not scale');
  answer = () => Promise.resolve(scaling());
  await after(62_000);
  assert.equal(store.scaling?.wanted_streams, 40, 'it has started to');
  const before = asked;
  await after(10_000);
  assert.ok(asked >= before + 4, 'what changes is followed');
  // Another leader has not looked yet, or does not answer: what was said last stays.
  mesh.leader = 'b';
  answer = () => Promise.resolve(undefined);
  await after(3_000);
  assert.ok(store.scaling, 'it has not looked yet');
  answer = () => Promise.reject(new Error('no answer'));
  await after(3_000);
  assert.deepEqual([store.scaling?.leader, store.scalingProblem], ['a', 'no answer']);
  mesh.leader = null;
  await after(3_000);
  assert.ok(store.scaling);
  mesh.leader = 'c';
  answer = () => Promise.resolve(undefined);
  await after(10_000);
  assert.deepEqual([store.scaling, store.scalingProblem], [undefined, '']);
});
