// Real browsers, launched when first needed and kept until the end.
import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';

const names = ['chromium', 'chromium-browser', 'google-chrome'];

function find() {
  if (process.env.SKEIN_CHROMIUM) return process.env.SKEIN_CHROMIUM;
  for (const name of names) {
    try {
      return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    } catch {
      // The next name.
    }
  }
  throw new Error('there is no Chromium: apt-get install -y chromium');
}

const flags = [
  '--no-sandbox',
  '--autoplay-policy=no-user-gesture-required',
  '--allow-loopback-in-peer-connection',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const launched = new Map();

async function launch(name) {
  const deny = name === 'deny';
  return chromium.launch({
    executablePath: find(),
    // Debian's chromium has the new headless mode only, where pages are drawn and played as in a window.
    args: [
      ...flags,
      '--headless=new',
      '--use-fake-device-for-media-stream=fps=20',
      `--use-fake-ui-for-media-stream${deny ? '=deny' : ''}`,
    ],
  });
}

/** The browser of this name. The one named `deny` refuses camera and microphone as a user would. */
export function browser(name = 'one') {
  if (!launched.has(name)) launched.set(name, launch(name));
  return launched.get(name);
}

/** Closes all of them. */
export async function closeBrowsers() {
  for (const one of launched.values()) await (await one.catch(() => undefined))?.close();
  launched.clear();
}
