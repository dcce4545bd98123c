import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../src/sdk/backoff.js';

test('waits double up to the longest one, and start over after a reset', () => {
  const backoff = new Backoff({ first: 100, max: 500, jitter: 0 });
  assert.deepEqual([1, 2, 3, 4, 5].map(() => backoff.next()), [100, 200, 400, 500, 500]);
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

test('jitter only shortens a wait, by no more than its share', () => {
  for (const random of [0, 0.25, 0.999]) {
    const wait = new Backoff({ first: 1000, jitter: 0.5, random: () => random }).next();
    assert.ok(wait > 500 - 1 && wait <= 1000, `${wait}`);
  }
});

test('a short wait is no round', () => {
  const backoff = new Backoff({ first: 100, jitter: 0, random: () => 0.5 });
  assert.equal(backoff.short(), 15);
  assert.equal(backoff.next(), 100);
});
