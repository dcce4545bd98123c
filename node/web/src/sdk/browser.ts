import type { Device } from '../protocol.js';

// The first that fits wins: every Chromium calls itself Chrome and Safari as well.
const browsers: [flag: string, name: string, version: RegExp][] = [
  ['edge', 'Edge', /Edg(?:e|A|iOS)?\/([\d.]+)/],
  ['opera', 'Opera', /OPR\/([\d.]+)/],
  ['firefox', 'Firefox', /(?:Firefox|FxiOS)\/([\d.]+)/],
  ['chrome', 'Chrome', /(?:Chrome|CriOS)\/([\d.]+)/],
  ['safari', 'Safari', /Version\/([\d.]+).*Safari/],
];

/** What others are told that this client runs on. */
export function describeBrowser(userAgent = ''): Device {
  for (const [flag, name, pattern] of browsers) {
    const version = pattern.exec(userAgent)?.[1];
    if (version) return { flag, name, version };
  }
  return { flag: 'other', name: 'Skein SDK' };
}
