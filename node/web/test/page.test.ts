import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arrange, type Rect } from '../src/room/layout.js';
import { inSight, matching, rowsOf } from '../src/room/people-rows.js';
import { readParams, roomId, shareLink } from '../src/room/params.js';
import { bars, layersFor } from '../src/room/quality.js';
import { explain } from '../src/room/reasons.js';
import { bitrate, hue, initials } from '../src/ui/format.js';

const apart = (a: Rect, b: Rect) =>
  a.x + a.width <= b.x + 0.01 || b.x + b.width <= a.x + 0.01 || a.y + a.height <= b.y + 0.01 || b.y + b.height <= a.y + 0.01;

test('tiles never overlap nor leave the stage, whatever its shape and their number', () => {
  for (const [width, height] of [[1280, 640], [390, 640], [360, 500], [800, 800], [2000, 400], [340, 200]] as const) {
    for (let count = 1; count <= 40; count++) {
      for (const main of [undefined, 0, count - 1]) {
        const { rects, height: total, floating } = arrange({ count, width, height, main });
        assert.equal(rects.length, count);
        assert.equal(floating, undefined);
        rects.forEach((rect, i) => {
          const where = `${width}x${height}, ${count} tiles, main ${main}, tile ${i}: ${JSON.stringify(rect)}`;
          assert.ok(rect.width > 40 && rect.height > 30, `too small: ${where}`);
          assert.ok(rect.x >= -0.01 && rect.x + rect.width <= width + 0.01, `beside the stage: ${where}`);
          assert.ok(rect.y >= -0.01 && rect.y + rect.height <= total + 0.01, `below ${total}: ${where}`);
          for (const other of rects.slice(i + 1)) assert.ok(apart(rect, other), `overlap: ${where}`);
        });
      }
    }
  }
});

test('one tile fills the stage as far as its shape allows, two share a wide one', () => {
  const [one] = arrange({ count: 1, width: 1600, height: 900 }).rects;
  assert.deepEqual(one, { x: 0, y: 0, width: 1600, height: 900 });
  const [left, right] = arrange({ count: 2, width: 1600, height: 700 }).rects;
  assert.equal(left?.y, right?.y);
});

test('the big place is the biggest, and the others keep their order', () => {
  const { rects } = arrange({ count: 4, width: 1280, height: 640, main: 2 });
  const areas = rects.map((rect) => rect.width * rect.height);
  assert.equal(areas.indexOf(Math.max(...areas)), 2);
  assert.ok((rects[0]?.y ?? 0) < (rects[1]?.y ?? 0) && (rects[1]?.y ?? 0) < (rects[3]?.y ?? 0));
});

test('two on a phone: oneself floats in the corner', () => {
  const { rects, floating } = arrange({ count: 2, width: 390, height: 640, own: 1 });
  assert.equal(floating, 1);
  assert.equal(rects[0]?.width, 390);
  assert.ok((rects[1]?.width ?? 999) < 140);
});

test('an empty stage is no error', () => {
  assert.deepEqual(arrange({ count: 0, width: 100, height: 100 }).rects, []);
  assert.equal(arrange({ count: 3, width: 0, height: 0 }).rects.length, 3);
});

test('small tiles get small layers', () => {
  const available = { spatial: 3, temporal: 3 };
  assert.deepEqual(layersFor(80, available), { spatial: 0, temporal: 1 });
  assert.deepEqual(layersFor(200, available), { spatial: 0, temporal: 2 });
  assert.deepEqual(layersFor(360, available), { spatial: 1, temporal: 2 });
  assert.deepEqual(layersFor(360, available, 2), { spatial: 2, temporal: 2 });
  assert.deepEqual(layersFor(900, available), { spatial: 2, temporal: 2 });
  assert.deepEqual(layersFor(900, { spatial: 1, temporal: 1 }), { spatial: 0, temporal: 0 });
  assert.deepEqual(layersFor(200, { spatial: 2, temporal: 3 }), { spatial: 0, temporal: 2 });
});

test('the worse end counts', () => {
  assert.equal(bars({ score: 10, producerScore: 10 }), 3);
  assert.equal(bars({ score: 10, producerScore: 6 }), 2);
  assert.equal(bars({ score: 1, producerScore: 9 }), 1);
  assert.equal(bars(0), 0);
  assert.equal(bars(undefined), undefined);
});

test('the page’s address', () => {
  const params = readParams('?room=my room&name=Ann&video=0&endpoint=b.test:1,c.test&codec=VP9', 'http://a.test:8080');
  assert.equal(params.room, 'my-room');
  assert.equal(params.name, 'Ann');
  assert.equal(params.video, false);
  assert.equal(params.audio, true);
  assert.deepEqual(params.endpoints, ['ws://b.test:1/', 'ws://c.test/']);
  assert.equal(params.codec, 'vp9');
  const plain = readParams('', 'https://a.test');
  assert.deepEqual(plain.endpoints, ['wss://a.test/']);
  assert.ok(Object.values(plain.wishes).every((wish) => wish === undefined));
  const { wishes } = readParams('?role=listen&mode=stage&size=20&guaranteed=1&lastN=4', 'https://a.test');
  assert.deepEqual(wishes, { role: 'listen', mode: 'stage', size: 20, guaranteed: true, lastN: 4 });
  assert.equal(readParams('?size=many&guaranteed=0', 'https://a.test').wishes.size, undefined);
});

test('a room’s id of anything typed', () => {
  assert.equal(roomId('  Team / Größe 2! '), 'Team-Größe-2');
  assert.equal(roomId('///'), '');
});

test('a link to share carries no secret', () => {
  const link = shareLink('https://a.test/?room=x&name=Ann&token=t&peer=p&endpoint=b', 'x');
  assert.equal(link, 'https://a.test/?room=x&endpoint=b');
  const stage = shareLink('https://a.test/?room=x&mode=stage&lastN=4&role=moderate', 'x');
  assert.equal(stage, 'https://a.test/?room=x&mode=stage&lastN=4', 'others need to ask for the same room, but not for a role');
  const secret = shareLink('https://a.test/?room=x&mode=stage&token=t', 'x', true);
  assert.equal(secret, 'https://a.test/?room=x', 'not every token allows to ask for it');
  assert.equal(shareLink('https://a.test/?mode=stage&role=moderate', 'x', true), 'https://a.test/?room=x&mode=stage&role=listen');
});

test('reasons are explained', () => {
  assert.equal(explain('room full').title, 'The room is full');
  assert.equal(explain('sent away by a moderator').title, 'You were removed');
  assert.equal(explain('room closed by a moderator').title, 'The room was closed');
  assert.equal(explain('the peer connected again elsewhere').title, 'You joined from elsewhere');
  assert.equal(explain('the node could not be reached, or refused the connection').title, 'No node could be reached');
  assert.equal(explain('the node did not answer', true).title, 'The node refused');
  assert.equal(explain('mode: is conference in this room, not stage').title, 'The room is of another kind');
  assert.equal(explain('something new').text, 'something new');
});

test('numbers and names for people', () => {
  assert.equal(bitrate(1_234_000), '1.2 Mbit/s');
  assert.equal(bitrate(64_400), '64 kbit/s');
  assert.equal(bitrate(undefined), '–');
  assert.equal(initials('ann marie smith'), 'AS');
  assert.equal(initials('ann'), 'A');
  assert.equal(initials(''), '?');
  assert.equal(hue('ann'), hue('ann'));
});

test('a list of hundreds draws what is in sight only, wherever it is scrolled to', () => {
  for (const count of [0, 1, 10, 600]) {
    for (const top of [0, 54, 1000, 30_000, 99_999]) {
      const [first, end] = inSight({ top, height: 500 }, count, 54);
      assert.ok(first >= 0 && first <= end && end <= count, `${first} to ${end} of ${count}`);
      assert.ok(end - first <= 30);
      const visible = Math.min(count - 1, Math.floor(top / 54));
      if (count > 0 && top < count * 54) assert.ok(first <= visible && visible < end, `line ${visible} at ${top}`);
      if (count > 0) assert.ok(end > first, 'something is to be seen');
    }
  }
});

test('people are found by any part of their name, and groups without anyone are left out', () => {
  const people = ['Zoë Alt', 'ann 10', 'Ann 9', 'Ben'].map((displayName) => ({ displayName }));
  assert.deepEqual(matching(people, '').map((one) => one.displayName), ['ann 10', 'Ann 9', 'Ben', 'Zoë Alt'].sort(new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' }).compare));
  assert.deepEqual(matching(people, 'AL zoë').map((one) => one.displayName), ['Zoë Alt']);
  const rows = rowsOf([{ heading: 'On the stage', people: [] }, { heading: 'In the audience', people: [1, 2] }]);
  assert.deepEqual(rows, [{ heading: 'In the audience', count: 2 }, { person: 1 }, { person: 2 }]);
});
