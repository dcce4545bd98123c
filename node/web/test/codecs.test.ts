import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeBrowser } from '../src/sdk/browser.js';
import { cameraEncoding, findCodec, screenEncoding } from '../src/sdk/codecs.js';
import { sourceOf } from '../src/sdk/subscription.js';

const scales = (width: number, height: number, options?: Parameters<typeof cameraEncoding>[1]) =>
  cameraEncoding({ width, height }, options).encodings.map((encoding) => encoding.scaleResolutionDownBy);

test('as many layers as the picture is worth', () => {
  assert.deepEqual(scales(1280, 720), [4, 2, 1]);
  assert.deepEqual(scales(720, 1280), [4, 2, 1]);
  assert.deepEqual(scales(640, 480), [2, 1]);
  assert.deepEqual(scales(320, 180), [1]);
  assert.deepEqual(scales(1280, 720, { simulcast: false }), [1]);
});

test('each layer costs about a third of the next', () => {
  const rates = cameraEncoding({}).encodings.map((encoding) => encoding.maxBitrate ?? 0);
  assert.deepEqual(rates, [167_000, 500_000, 1_500_000]);
});

test('VP9 and AV1 are layered inside one stream', () => {
  for (const codec of ['vp9', 'av1'] as const) {
    const { encodings } = cameraEncoding({}, { codec });
    assert.deepEqual(encodings.map((encoding) => encoding.scalabilityMode), ['L3T3_KEY']);
  }
  assert.equal(screenEncoding().encodings.length, 1);
});

test('a codec is found whatever the case of its name', () => {
  const router = { codecs: [{ mimeType: 'video/VP8' }, { mimeType: 'video/vp9' }] } as never;
  assert.equal(findCodec(router, 'vp9')?.mimeType, 'video/vp9');
  assert.equal(findCodec(router, 'av1'), undefined);
});

test('the source of a track, of clients of any make', () => {
  assert.equal(sourceOf('video', { source: 'screen' }), 'screen');
  assert.equal(sourceOf('video', { source: 'webcam' }), 'camera');
  assert.equal(sourceOf('audio', {}), 'microphone');
  assert.equal(sourceOf('video', { share: true }), 'screen');
});

test('browsers are told apart', () => {
  const chrome = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36';
  assert.equal(describeBrowser(chrome).flag, 'chrome');
  assert.equal(describeBrowser(`${chrome} Edg/130.0.1`).flag, 'edge');
  assert.equal(describeBrowser('Mozilla/5.0 (X11; rv:128.0) Gecko/20100101 Firefox/128.0').flag, 'firefox');
  assert.equal(describeBrowser(undefined).flag, 'other');
});
