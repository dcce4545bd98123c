// Data channels of an application's own, and screens, from one node to another.
import assert from 'node:assert/strict';
import { LAYERED, Peer } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { until } from '../lib/wait.js';

const options = { nodes: 2, set: { 'placement.prefer': 'entry' } };

onMesh('data: channels and screens cross nodes', options, async (t, mesh) => {
  const room = 'data';
  const [first, second] = mesh.nodes;
  const ann = await Peer.join(t, first, { room, name: 'Ann', camera: false, microphone: false, browser: 'one' });
  const ben = await Peer.join(t, second, { room, name: 'Ben', camera: false, microphone: false, browser: 'two' });
  for (const peer of [ann, ben]) await listen(peer);

  await part(t, 'data: a channel keeps its messages in order', async () => {
    await open(ann, ben, { label: 'moves', protocol: 'chess', appData: { board: 1 } });
    await send(ann, 'moves', Array.from({ length: 300 }, (_, index) => `move ${index}`));
    const messages = await got(ben, 'moves', 300);
    assert.deepEqual(
      messages.map(({ data }) => data),
      Array.from({ length: 300 }, (_, index) => `move ${index}`),
    );
    const { peerId, protocol, appData } = messages[0];
    assert.deepEqual({ peerId, protocol, appData }, { peerId: 'ann', protocol: 'chess', appData: { board: 1 } });
  });

  await part(t, 'data: an unordered channel loses nothing as long as it may send again', async () => {
    await open(ben, ann, { label: 'any-order', ordered: false });
    const sent = Array.from({ length: 300 }, (_, index) => `item ${index}`);
    await send(ben, 'any-order', sent);
    const messages = await got(ann, 'any-order', 300);
    assert.deepEqual(messages.map(({ data }) => data).sort(), sent.sort());
  });

  await part(t, 'data: a channel that never sends again works where nothing gets lost', async () => {
    await open(ann, ben, { label: 'positions', ordered: false, maxRetransmits: 0 });
    await send(ann, 'positions', Array.from({ length: 50 }, (_, index) => `${index}`));
    // What is lost is lost; but nothing arrives twice or changed.
    const messages = await got(ben, 'positions', 25);
    assert.equal(new Set(messages.map(({ data }) => data)).size, messages.length);
  });

  await part(t, 'data: bytes arrive as bytes, up to large messages', async () => {
    await open(ann, ben, { label: 'bytes' });
    for (const size of [1, 1200, 16_384, 65_536, 200_000]) {
      await ann.page.evaluate((size) => {
        const bytes = Uint8Array.from({ length: size }, (_, index) => (index * 31 + size) & 255);
        window.channels.bytes.send(bytes);
      }, size);
      await until(`${size} bytes`, () =>
        ben.page.evaluate((size) => {
          const last = window.messages.findLast(({ label }) => label === 'bytes')?.data;
          if (!(last instanceof ArrayBuffer) || last.byteLength !== size) return false;
          const wrong = new Uint8Array(last).findIndex((byte, index) => byte !== ((index * 31 + size) & 255));
          if (wrong >= 0) throw new Error(`byte ${wrong} of ${size} is wrong`);
          return true;
        }, size),
      );
    }
  });

  await part(t, 'data: a screen is shared, seen on the other node, and no longer', async () => {
    await ann.control('screen').click();
    await ben.sees('ann', { source: 'screen', frames: 3 });
    const { producers } = await mesh.room(room);
    assert.ok(producers.some(({ peer, kind }) => peer === 'ann' && kind === 'video'));
    await ann.control('screen').click();
    await ben.tile('ann', 'screen').waitFor({ state: 'detached' });
    await mesh.roomWith(room, { peers: 2, producers: 0, pipes: 0 });
  });

  await part(t, 'data: a camera whose layers are in one stream is seen, too', async () => {
    // VP9 with SVC: its layers are chosen inside the stream, on the far side of the pipe.
    await ann.publishCamera({ ...LAYERED, frameRate: 10, codec: 'vp9' });
    await ben.sees('ann');
    const { codec, available } = await ben.stats('ann', 'camera');
    assert.equal(codec, 'video/VP9');
    assert.deepEqual(available, { spatial: 3, temporal: 3 });
    await ben.choosesLayers('ann', 0, (width) => width > 0 && width <= LAYERED.width / 4);
    await ben.choosesLayers('ann', 2, (width) => width >= LAYERED.width / 2);
  });
  for (const peer of [ann, ben]) peer.assertNoErrors();
});

async function listen(peer) {
  await peer.page.evaluate(() => {
    window.channels = {};
    window.messages = [];
    window.skein.room.on('data', (message) => window.messages.push(message));
  });
}

/** Opens a channel and waits until it reaches the other side: what is sent before that is lost, as anywhere. */
async function open(from, to, options) {
  await from.page.evaluate(async (options) => {
    window.channels[options.label] = await window.skein.room.publishData(options);
  }, options);
  await until(`the channel ${options.label}`, async () => {
    await from.page.evaluate((label) => {
      if (window.channels[label].open) window.channels[label].send('are you there?');
    }, options.label);
    return (await all(to, options.label)).length > 0;
  });
}

/** All messages with a label that have come. */
function all(peer, wanted) {
  return peer.page.evaluate((wanted) => {
    const fitting = window.messages.filter(({ label }) => label === wanted);
    return fitting.map(({ data, peerId, protocol, appData }) => ({ data, peerId, protocol, appData }));
  }, wanted);
}

function send(peer, label, messages) {
  return peer.page.evaluate(
    ([label, messages]) => messages.forEach((message) => window.channels[label].send(message)),
    [label, messages],
  );
}

/** Waits for so many messages beside those that opened the channel. */
async function got(peer, label, number) {
  let messages = [];
  await until(`${number} messages ${label}`, async () => {
    messages = (await all(peer, label)).filter(({ data }) => data !== 'are you there?');
    if (messages.length < number) throw new Error(`there are ${messages.length}`);
    return true;
  });
  return messages;
}
