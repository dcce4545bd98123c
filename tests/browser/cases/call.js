// What a call of two must do, however many nodes hold it.
import assert from 'node:assert/strict';
import { LAYERED } from '../lib/peer.js';
import { part } from '../lib/suite.js';
import { until } from '../lib/wait.js';

/** How wide the smallest of three layers is, and what only the middle and the largest one are. */
const SMALLEST = LAYERED.width / 4;
const LARGER = LAYERED.width / 2;

/** Two pages that have joined and publish camera (three layers) and microphone: everything they do, up to leaving. */
export async function call(t, prefix, mesh, ann, ben) {
  const both = [[ann, ben], [ben, ann]];
  await part(t, `${prefix}: pictures and sound arrive on both sides`, async () => {
    await Promise.all(
      both.map(async ([here, there]) => {
        await Promise.all([here.sees(there.id), here.hears(there.id)]);
        const { codec, available } = await here.stats(there.id, 'camera');
        assert.equal(codec, 'video/VP8');
        assert.deepEqual(available, { spatial: 3, temporal: 3 });
      }),
    );
  });

  await part(t, `${prefix}: chat arrives both ways`, async () => {
    for (const [here, there] of both) {
      await here.says(`Hello from ${here.id}`);
      await there.reads(`Hello from ${here.id}`, { from: here.id });
    }
    for (const peer of [ann, ben]) await peer.showsChat(false);
  });

  await part(t, `${prefix}: mute is shown, stops the sound, and ends`, async () => {
    await ben.control('mute').click();
    await ann.page.locator(`[data-testid=tile][data-peer=${ben.id}][data-muted=true]`).waitFor();
    assert.equal((await ann.stats(ben.id, 'microphone')).muted, true);
    await ann.getsNothing(ben.id, 'microphone');
    const { producers } = await mesh.room(ben.room);
    assert.deepEqual(
      producers.filter(({ paused }) => paused).map(({ peer, kind }) => `${peer} ${kind}`),
      [`${ben.id} audio`],
    );
    await ben.control('mute').click();
    await ann.page.locator(`[data-testid=tile][data-peer=${ben.id}][data-muted=false]`).waitFor();
    await ann.hears(ben.id);
  });

  await part(t, `${prefix}: a camera that is switched off is gone, and comes back`, async () => {
    await ben.control('camera').click();
    await ann.page.locator(`[data-testid=tile][data-peer=${ben.id}][data-camera=off]`).waitFor();
    assert.equal(await ann.tile(ben.id).locator('video').count(), 0);
    await ann.getsNothing(ben.id, 'camera');
    await ben.control('camera').click();
    await ann.page.locator(`[data-testid=tile][data-peer=${ben.id}][data-camera=on]`).waitFor();
    await ann.sees(ben.id);
  });

  await part(t, `${prefix}: layers are chosen by who receives`, async () => {
    await ann.choosesLayers(ben.id, 0, (width) => width > 0 && width <= SMALLEST);
    // The other side keeps what it had asked for.
    await ben.sees(ann.id);
    await ann.choosesLayers(ben.id, 2, (width) => width >= LARGER);
  });

  await part(t, `${prefix}: who speaks is told`, async () => {
    await until('a speaker', () => ann.page.evaluate(() => window.skein.room.speaker));
  });

  await part(t, `${prefix}: leaving is seen, and nothing stays behind`, async () => {
    await ben.leaves();
    await ann.losesSightOf(ben.id);
    await mesh.roomWith(ann.room, { peers: 1, producers: 2, pipes: 0 });
    await ann.leaves();
    await mesh.isClean();
    assert.equal(await mesh.room(ben.room), undefined);
  });
  for (const peer of [ann, ben]) peer.assertNoErrors();
}
