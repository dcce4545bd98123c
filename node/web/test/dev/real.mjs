// The built room page in Chromium against running nodes: node test/dev/real.mjs http://127.0.0.1:9440 9441 9442
// Serve the pages from the nodes themselves, or set PAGE to another server.
import { chromium } from 'playwright-core';
import assert from 'node:assert/strict';

const endpoints = process.argv.slice(2);
const page = process.env.PAGE;
const out = process.env.OUT ?? '../../target/web-shots';
const args = [
  '--no-sandbox',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  '--allow-loopback-in-peer-connection',
  '--auto-select-desktop-capture-source=Entire screen',
];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
const room = `real-${Date.now() % 100000}`;

async function enter(name, endpoint, extra = '') {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ['camera', 'microphone'] });
  const tab = await context.newPage();
  tab.on('console', (message) => console.log(`[${name}] ${message.type()}: ${message.text()}`));
  tab.on('pageerror', (error) => console.log(`[${name}] ${error.stack}`));
  const base = page ? `${page}/?endpoint=${endpoint.replace('http', 'ws')}&` : `${endpoint}/?`;
  await tab.goto(`${base}room=${room}&name=${name}&peer=${name.toLowerCase()}${extra}`);
  return tab;
}

async function until(what, check, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const names = ['Ann', 'Bob', 'Cid'];
const tabs = [];
for (const [i, name] of names.entries()) tabs.push(await enter(name, endpoints[i % endpoints.length]));
const playing = (tab) =>
  tab.evaluate(() => {
    const videos = [...document.querySelectorAll('[data-testid=tile-video]')];
    const audios = [...document.querySelectorAll('audio')];
    return {
      videos: videos.filter((video) => video.currentTime > 0.5 && video.videoWidth > 0).length,
      audios: audios.filter((audio) => !audio.paused && audio.currentTime > 0.5).length,
    };
  });
for (const tab of tabs) {
  await until('three videos, two voices', async () => {
    const { videos, audios } = await playing(tab);
    return videos === 3 && audios === 2;
  }, 40).catch(async (error) => {
    console.log(await playing(tab), await tab.evaluate(async () => {
      const { room } = window.skein;
      const { send, recv } = await room.transportStats();
      const pick = (report, type, ...keys) => [...report.values()].filter((one) => one.type === type).map((one) => keys.map((key) => one[key]));
      return JSON.stringify({
        state: room.state,
        subscriptions: [...room.peers.values()].flatMap((peer) => peer.subscriptions.map((s) => [peer.id, s.source, s.paused, s.muted, s.layers, s.score])),
        published: room.publications.map((p) => [p.source, p.muted, p.producerId]),
        out: pick(send, 'outbound-rtp', 'kind', 'rid', 'framesEncoded', 'bytesSent', 'active'),
        in: pick(recv, 'inbound-rtp', 'kind', 'framesDecoded', 'framesReceived', 'bytesReceived', 'pliCount'),
        pairs: [...pick(send, 'transport', 'iceState', 'dtlsState'), ...pick(recv, 'transport', 'iceState', 'dtlsState')],
      });
    }));
    throw error;
  });
}
console.log('everyone sees and hears everyone');
const [ann, bob, cid] = tabs;
await bob.waitForTimeout(4000);
console.log(
  'layers',
  await bob.evaluate(() =>
    [...window.skein.room.peers.values()].flatMap((peer) =>
      peer.subscriptions.map(({ source, layers, preferredLayers, available, score, info }) => ({ peer: peer.id, source, type: info.type, layers, preferredLayers, available, score })),
    ),
  ),
);
console.log('placement', await bob.evaluate(() => ({ ...window.skein.room.placement, speaker: window.skein.room.speaker })));

await ann.getByTestId('chat-toggle').click();
await ann.getByTestId('chat-input').fill('hello from ann');
await ann.getByTestId('chat-send').click();
await until('a badge', () => bob.getByTestId('chat-unread').count());
await bob.getByTestId('chat-toggle').click();
await until('the message', () => bob.getByText('hello from ann').count());
console.log('chat crosses nodes');

await ann.getByTestId('camera').click();
await ann.getByTestId('mute').click();
await until('Ann without camera', () => bob.locator('[data-testid=tile][data-peer=ann][data-camera=off][data-muted=true]').count());
await ann.getByTestId('camera').click();
await ann.getByTestId('mute').click();
await until('Ann again', () => bob.locator('[data-testid=tile][data-peer=ann][data-camera=on][data-muted=false]').count());
await until('Ann moving', async () => (await playing(bob)).videos === 3);
console.log('mute and unmute cross nodes');

await ann.getByTestId('screen').click();
await until('a screen', () => bob.locator('[data-testid=tile][data-peer=ann][data-source=screen] video.ready').count()).catch((error) => console.log(String(error)));
await bob.screenshot({ path: `${out}/real-screen-desk.png` });
await ann.getByTestId('screen').click();

await bob.getByTestId('tile-stats').first().click();
await bob.waitForTimeout(2500);
await bob.screenshot({ path: `${out}/real-stats-desk.png` });
console.log('stats', (await bob.getByTestId('stats-card').innerText()).replaceAll('\n', ' '));

const watcher = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
await watcher.goto(`${page ?? endpoints[0]}/console#room=${room}`);
await until('links in the console', () => watcher.getByTestId('link').count());
assert.equal(await watcher.getByTestId('feed').innerText(), 'Live');
await until('three peers', async () => (await watcher.getByTestId('room-peer').count()) === 3);
await watcher.screenshot({ path: `${out}/real-console-desk.png` });

await cid.getByTestId('leave').click();
await until('two peers', async () => (await watcher.getByTestId('room-peer').count()) === 2);
console.log('the console follows');
await until('Cid gone', async () => (await bob.locator('[data-testid=tile]').count()) === 2);
assert.equal(await cid.getByTestId('ended').count(), 1);
if (process.env.LOSE) {
  console.log('losing a node');
  const session = await ann.evaluate(() => window.skein.room.placement.session);
  const began = Date.now();
  process.kill(Number(process.env.LOSE), 'SIGKILL');
  await until('another session', () => ann.evaluate((old) => window.skein.room.placement.session !== old, session), 40);
  await until('reconnected', () => ann.locator('[data-testid=state][data-state=connected]').count(), 40);
  console.log(`connected again after ${Date.now() - began} ms`);
  await until('Ann sees Bob', async () => (await playing(ann)).videos === 2, 40);
  await until('Bob sees Ann', async () => (await playing(bob)).videos === 2, 40);
  console.log('after', await ann.evaluate(() => window.skein.room.placement));
}
await browser.close();
console.log('ok');
