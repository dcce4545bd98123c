// The console, while things happen.
import assert from 'node:assert/strict';
import { Peer, SMALL } from '../lib/peer.js';
import { onMesh, part } from '../lib/suite.js';

const options = { nodes: 3, set: { 'placement.prefer': 'entry' } };

onMesh('console: shows nodes, rooms and pipes as they come and go', options, async (t, mesh) => {
  const room = 'console';
  const [first, second, third] = mesh.nodes;
  // Of a node that has no part in the call.
  const operator = await Peer.blank(t, { viewport: { width: 1280, height: 800 } });
  const { page } = operator;
  operator.id = 'operator';
  await page.goto(`${third.url}/console`);

  await part(t, 'console: draws three nodes, and no room', async () => {
    for (const { id } of mesh.nodes) {
      await page.locator(`[data-testid=node][data-node="${id}"][data-state=alive]`).waitFor();
      await page.locator(`[data-testid=node-card][data-node="${id}"]`).waitFor();
    }
    assert.equal(await page.getByTestId('node').count(), 3);
    assert.equal(await page.getByTestId('room').count(), 0);
    await page.getByTestId('total-nodes').getByText('3').waitFor();
    assert.equal(await page.getByTestId('scaling').count(), 0, 'nothing is to grow');
    // So that a reload would be noticed.
    await page.evaluate(() => (window.neverReloaded = true));
    await operator.screenshot('console-empty');
  });

  const ann = await Peer.join(t, first, { room, name: 'Ann', camera: SMALL, browser: 'one' });
  const ben = await Peer.join(t, second, { room, name: 'Ben', camera: SMALL, browser: 'two' });
  const link = (from, to) => page.locator(`[data-testid=link][data-from="${from.id}"][data-to="${to.id}"]`);

  await part(t, 'console: a call over two nodes appears, with its pipes', async () => {
    await mesh.roomWith(room, { peers: 2, producers: 4, pipes: 4 });
    const entry = page.locator(`[data-testid=room][data-room=${room}]`);
    await entry.getByText(/2 nodes .* 4 producers .* 4 pipes/).waitFor();
    await page.getByTestId('total-peers').getByText('2').waitFor();
    await entry.click();
    for (const id of ['ann', 'ben']) await page.locator(`[data-testid=room-peer][data-peer=${id}]`).waitFor();
    for (const [from, to] of [
      [first, second],
      [second, first],
    ]) {
      await link(from, to).getByText('2', { exact: true }).waitFor();
    }
    assert.equal(await page.getByTestId('link').count(), 2);
    await Promise.all([ann.sees('ben'), ben.sees('ann')]);
    await operator.screenshot('console-room');
  });

  await part(t, 'console: what ends goes from the picture', async () => {
    await ben.leaves();
    await page.locator('[data-testid=room-peer][data-peer=ben]').waitFor({ state: 'detached' });
    await link(first, second).waitFor({ state: 'detached' });
    await page.getByTestId('rooms-back').click();
    await ann.leaves();
    await page.locator(`[data-testid=room][data-room=${room}]`).waitFor({ state: 'detached' });
    await mesh.terminate(first);
    await page.locator(`[data-testid=node][data-node="${first.id}"]`).waitFor({ state: 'detached' });
    assert.equal(await page.evaluate(() => window.neverReloaded), true);
  });
  for (const peer of [operator, ann, ben]) peer.assertNoErrors();
});

// More is to be free than one node has.
const growing = { nodes: 1, maxNodes: 2, streamsPerWorker: 100, set: { 'media.workers': 1, 'scaling.spare_streams': 150 } };

onMesh('console_growing: shows what the leader does about machines, and why', growing, async (t, mesh) => {
  const operator = await Peer.blank(t, { viewport: { width: 1280, height: 900 } });
  const { page } = operator;
  operator.id = 'operator';
  await page.goto(`${mesh.nodes[0].url}/console`);
  const panel = page.getByTestId('scaling');

  await part(t, 'console_growing: a launched machine is there, with its step and the reason', async () => {
    const machine = panel.getByTestId('machine');
    await panel.getByTestId('scaling-step').getByText(/^Launch 1 .*streams are missing/).waitFor({ timeout: 30_000 });
    await panel.locator('[data-testid=machine][data-state=serving]').waitFor({ timeout: 40_000 });
    const node = await machine.getAttribute('data-node');
    await page.locator(`[data-testid=node-card][data-node="${node}"]`).waitFor();
    await panel.getByText('2 nodes, of 1 to 2').waitFor();
    await operator.screenshot('console-growing');
  });

  await part(t, 'console_growing: on a telephone it is as wide as that', async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await panel.waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
    await operator.screenshot('console-growing-narrow');
  });
  operator.assertNoErrors();
});
