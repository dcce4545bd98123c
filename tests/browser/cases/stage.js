// A room with a stage: who listens, who speaks, and who decides it.
import assert from 'node:assert/strict';
import { Peer, SMALL } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';
import { until } from '../lib/wait.js';

onMesh('stage: listeners are invited and sent back', { nodes: 2 }, async (t, mesh) => {
  const room = 'stage';
  const [first, second] = mesh.nodes;
  const viewport = { width: 1280, height: 760 };
  const query = { mode: 'stage' };
  const ann = await Peer.join(t, first, { room, name: 'Ann', camera: SMALL, query: { ...query, role: 'moderate' }, viewport });
  const listener = { room, name: 'Ben', camera: false, microphone: false, browser: 'two' };
  const ben = await Peer.join(t, second, { ...listener, query: { ...query, role: 'listen', video: '1', audio: '1' } });
  const row = ann.page.locator('[data-testid=person][data-peer=ben]');

  await part(t, 'stage: a listener sees the stage, has no devices open, and is no picture', async () => {
    await Promise.all([ben.sees('ann'), ben.hears('ann')]);
    await ben.control('listening').waitFor();
    for (const control of ['mute', 'camera', 'screen']) assert.equal(await ben.control(control).count(), 0, control);
    assert.equal(await ben.tile('ben').count(), 0);
    assert.equal(await ann.tile('ben').count(), 0);
    assert.deepEqual(await ben.page.evaluate(() => window.skein.room.publications.length), 0);
    await assert.rejects(ben.page.evaluate(() => window.skein.room.promote('ben')), /moderate/);
    await mesh.roomWith(room, { peers: 2, producers: 2 });
    await ann.control('people-toggle').click();
    await row.and(ann.page.locator('[data-stage=false]')).waitFor();
    await ann.screenshot('stage-people');
  });

  await part(t, 'stage: who is invited may speak, and is seen and heard', async () => {
    await row.getByTestId('promote').click();
    for (const control of ['mute', 'camera']) await ben.control(control).click();
    await ben.publishes('microphone', 'camera');
    await Promise.all([ann.sees('ben'), ann.hears('ben')]);
    await row.and(ann.page.locator('[data-stage=true]')).waitFor();
    await ben.tile('ben').waitFor();
    await ben.says('Thank you');
    await ann.got('Thank you', { from: 'ben' });
    await ben.showsChat(false);
  });

  await part(t, 'stage: who is sent back is silent, and told so', async () => {
    await row.getByTestId('demote').click();
    await ben.control('listening').waitFor();
    await ben.page.getByTestId('toast').getByText(/listener/).waitFor();
    await ann.tile('ben').waitFor({ state: 'detached' });
    await mesh.roomWith(room, { peers: 2, producers: 2 });
    assert.deepEqual(await ann.others(), ['ben'], 'Ben is still there');
    await until('the devices to be closed', () => ben.page.evaluate(() => window.skein.room.publications.length === 0));
    await ben.sees('ann');
  });

  await part(t, 'stage: whoever asks for another kind of room is refused', async (t) => {
    const cem = await Peer.blank(t);
    await cem.page.goto(`${second.url}/?room=${room}&name=Cem&peer=cem&mode=conference&video=0&audio=0`);
    await cem.control('ended').waitFor({ timeout: 40_000 });
    await mesh.roomWith(room, { peers: 2 });
  });

  await part(t, 'stage: nothing stays behind', async () => {
    await ben.leaves();
    await ann.leaves();
    await mesh.isClean();
  });
  for (const peer of [ann, ben]) peer.assertNoErrors();
});
