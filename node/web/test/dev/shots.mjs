// Screenshots of every state of the pages: node build.mjs dev && node target/dev/server.js & node test/dev/shots.mjs [pattern]
import { chromium } from 'playwright-core';
import { mkdirSync } from 'node:fs';

const base = process.env.BASE ?? 'http://127.0.0.1:8765';
const out = process.env.OUT ?? '../../target/web-shots';
const pattern = new RegExp(process.argv[2] ?? '.');
mkdirSync(out, { recursive: true });

const args = [
  '--no-sandbox',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  '--allow-loopback-in-peer-connection',
];
const denying = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--use-fake-device-for-media-stream', '--deny-permission-prompts'],
});
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
const sizes = { desk: { width: 1280, height: 800 }, phone: { width: 390, height: 844 }, narrow: { width: 360, height: 640 } };

async function shot(name, path, { size = ['desk', 'phone'], act, wait = 2600, use = browser } = {}) {
  for (const which of size) {
    const file = `${name}-${which}`;
    if (!pattern.test(file)) continue;
    const mobile = which !== 'desk';
    const made = await use.newContext({
      viewport: sizes[which],
      hasTouch: mobile,
      isMobile: mobile,
      deviceScaleFactor: mobile ? 2 : 1,
      permissions: use === browser ? ['camera', 'microphone', 'clipboard-write'] : [],
    });
    const page = await made.newPage();
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) console.log(`${file}: ${message.text()}`);
    });
    page.on('pageerror', (error) => console.log(`${file}: ${error}`));
    await page.goto(path.startsWith('http') ? path : base + path);
    await page.waitForTimeout(wait);
    if (act) await act(page);
    await page.screenshot({ path: `${out}/${file}.png` });
    await made.close();
  }
}

const tap = (id) => (page) => page.getByTestId(id).first().click().then(() => page.waitForTimeout(500));
const all = ['desk', 'phone', 'narrow'];
await shot('form', '/fake', { size: all });
await shot('form-denied', '/fake?room=standup', { use: denying });
await shot('room-denied', '/fake?room=standup&name=Ann&bots=2', { use: denying });
await shot('room-1', '/fake?room=standup&name=Ann');
await shot('room-2', '/fake?room=standup&name=Ann&bots=1', { size: all });
await shot('room-5', '/fake?room=standup&name=Ann&bots=4', { size: all });
await shot('room-11', '/fake?room=standup&name=Ann&bots=10');
await shot('room-screen', '/fake?room=standup&name=Ann&bots=4&screen=1');
await shot('room-chat', '/fake?room=standup&name=Ann&bots=4&chat=1', { size: all, act: tap('chat-toggle') });
await shot('room-unread', '/fake?room=standup&name=Ann&bots=2&chat=1');
await shot('room-people', '/fake?room=standup&name=Ann&bots=4', { act: tap('people-toggle') });
await shot('room-devices', '/fake?room=standup&name=Ann&bots=2', { act: tap('settings') });
await shot('room-info', '/fake?room=standup&name=Ann&bots=2', { act: tap('info') });
await shot('room-stats', '/fake?room=standup&name=Ann&bots=4', { act: tap('tile-stats') });
await shot('room-muted', '/fake?room=standup&name=Ann&bots=1', {
  act: async (page) => {
    await tap('mute')(page);
    await tap('camera')(page);
  },
});
await shot('room-trouble', '/fake?room=standup&name=Ann&bots=4&trouble=1', { wait: 6500 });
await shot('room-full', '/fake?room=standup&name=Ann&refuse=room+full');
await shot('room-waiting', '/fake?room=standup&name=Ann&refuse=mesh+full&code=1013', { wait: 2500 });
await shot('room-machine', '/fake?room=standup&name=Ann&waiting=40', { size: all, wait: 4500 });
await shot('room-machine-unknown', '/fake?room=standup&name=Ann&waiting=', { wait: 3500 });
await shot('room-no-machine', '/fake?room=standup&name=Ann&refuse=no+machine+came+within+300+s');
await shot('room-refused', '/?endpoint=127.0.0.1:1&room=standup&name=Ann', { size: ['phone'], wait: 7000 });
await shot('console', '/console', { size: all });
await shot('console-room', '/console#room=all-hands', { wait: 3000 });
// Against servers of their own: TOKEN=secret PORT=8766, EMPTY=1 PORT=8767, STATES=1 NO_EVENTS=1 PORT=8768.
const others = base.replace(/:\d+$/, '');
await shot('console-locked', `${others}:8766/console`);
await shot('console-unlocked', `${others}:8766/console`, {
  act: async (page) => {
    await page.getByTestId('operator-token').fill('wrong');
    await page.getByTestId('operator-unlock').click();
    await page.getByText('does not accept').waitFor();
    await page.getByTestId('operator-token').fill('secret');
    await page.getByTestId('operator-unlock').click();
    await page.getByTestId('node').first().waitFor();
    await page.waitForTimeout(700);
  },
});
await shot('console-empty', `${others}:8767/console`);
await shot('console-states', `${others}:8768/console`);
await shot('console-node', '/console', { act: (page) => page.getByTestId('node').nth(1).click().then(() => page.waitForTimeout(400)) });
await shot('console-offline', '/console', {
  act: async (page) => {
    await page.route('**/v1/**', (route) => route.abort());
    await page.evaluate(() => location.reload).catch(() => {});
    await page.waitForTimeout(7000);
  },
});
await browser.close();
await denying.close();
