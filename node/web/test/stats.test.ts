import assert from 'node:assert/strict';
import { test } from 'node:test';
import { summarize } from '../src/sdk/stats.js';

const inbound = (timestamp: number, bytes: number, packets: number, lost: number): [string, unknown][] => [
  ['c', { id: 'c', type: 'codec', mimeType: 'video/VP8' }],
  [
    'i',
    {
      id: 'i',
      type: 'inbound-rtp',
      timestamp,
      codecId: 'c',
      bytesReceived: bytes,
      packetsReceived: packets,
      packetsLost: lost,
      frameWidth: 640,
      frameHeight: 360,
      framesPerSecond: 30,
      jitter: 0.004,
    },
  ],
];

test('rates come from two measurements', () => {
  const first = summarize(inbound(1000, 1000, 10, 0));
  assert.equal(first.bitrate, undefined);
  const second = summarize(inbound(3000, 251_000, 105, 5), first);
  assert.equal(second.bitrate, 1_000_000);
  assert.equal(second.loss, 0.05);
  assert.equal(second.codec, 'VP8');
  assert.equal(second.width, 640);
  assert.equal(second.jitter, 4);
});

test('all simulcast layers of a sender are one', () => {
  const layer = (rid: string, bytesSent: number, frameHeight: number, framesPerSecond: number): [string, unknown] => [
    rid,
    { id: rid, type: 'outbound-rtp', timestamp: 1, rid, bytesSent, packetsSent: 1, frameHeight, framesPerSecond },
  ];
  const stats = summarize([
    layer('r0', 100, 180, 30),
    layer('r1', 200, 360, 30),
    layer('r2', 0, 0, 0),
    ['x', { id: 'x', type: 'remote-inbound-rtp', packetsLost: 3, roundTripTime: 0.02 }],
  ]);
  assert.equal(stats.bytes, 300);
  assert.equal(stats.height, 360);
  assert.equal(stats.layers, 2);
  assert.equal(stats.lost, 3);
  assert.equal(stats.rtt, 20);
});

test('an empty report is all zeroes, not an error', () => {
  assert.equal(summarize(new Map()).bytes, 0);
});
