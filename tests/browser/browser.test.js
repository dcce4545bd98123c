// Real browsers on a real mesh. One file, so that they run one after the other: each takes the whole machine.
import { after } from 'node:test';
import { closeBrowsers } from './lib/chromium.js';
import './cases/one-host.js';
import './cases/two-hosts.js';
import './cases/small-nodes.js';
import './cases/three-nodes.js';
import './cases/page.js';
import './cases/data.js';
import './cases/move.js';
import './cases/drain.js';
import './cases/stage.js';
import './cases/console.js';

after(closeBrowsers);
