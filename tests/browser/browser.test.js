// Real browsers on a real mesh. One file, so that they run one after the other: each takes the whole machine.
import { after } from 'node:test';
import { closeBrowsers } from './lib/chromium.js';
import './cases/one-host.js';

after(closeBrowsers);
