// Meshes of real nodes, started and stopped by the program that users have for it.
import { execFile, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until } from './wait.js';

const run = promisify(execFile);

/** The repository. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');

/** First ports to try. Fixed, so that a mesh finds the folder and certificates of the run before. */
const basePorts = Array.from({ length: 20 }, (_, index) => 21_000 + 400 * index);

/** The first ports of all meshes that run. */
const running = new Set();

/** The program `skein`, as program and first arguments. */
function skein() {
  if (process.env.SKEIN_BIN) return [process.env.SKEIN_BIN];
  const built = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'release/skein');
  return existsSync(built) ? [built] : ['cargo', 'skein'];
}

async function call(...words) {
  const [program, ...first] = skein();
  // What the nodes log tells what happened when something goes wrong.
  const env = { RUST_LOG: 'info,skein_node=debug', ...process.env };
  const { stdout } = await run(program, [...first, ...words], { cwd: root, timeout: 90_000, env });
  return stdout;
}

// However this process ends, no node stays behind.
function stopAll() {
  const [program, ...first] = skein();
  for (const port of running) spawnSync(program, [...first, 'down', '--base-port', String(port)], { cwd: root });
  running.clear();
}
process.on('exit', stopAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

function tcpIsFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

function udpIsFree(port) {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind(port, '127.0.0.1', () => socket.close(() => resolve(true)));
  });
}

/** Whether a mesh would probably find its ports free; `skein up` looks at all of them. */
async function isFree(base, nodes) {
  if (running.has(base)) return false;
  for (let index = 0; index < nodes; index++) {
    const ports = [base + index, base + 100 + 32 * index];
    for (const port of ports) if (!(await tcpIsFree(port)) || !(await udpIsFree(port))) return false;
  }
  return true;
}

/** A running mesh. */
export class Mesh {
  #base;
  #folder;
  #token;

  constructor(base, { nodes, operator_token: token }) {
    this.#base = base;
    this.#token = token;
    this.#folder = join(root, 'target/skein', `mesh-${base}`);
    /** `{id, url, ws, pid}` of each node, in the order of their ports. */
    this.nodes = nodes;
    this.stopped = new Set();
  }

  /**
   * Starts one and waits until all nodes see each other.
   *
   * @param maxNodes how many the leader may make of them; without, there is none
   * @param set settings, `{'placement.prefer': 'entry'}`
   */
  static async start({ nodes = 3, maxNodes, set = {}, streamsPerWorker } = {}) {
    const words = ['up', '--detach', '--json', '--skip-build', '--nodes', String(nodes)];
    if (streamsPerWorker) words.push('--streams-per-worker', String(streamsPerWorker));
    if (maxNodes) words.push('--max-nodes', String(maxNodes));
    for (const [key, value] of Object.entries(set)) words.push('--set', `${key}=${value}`);
    for (const base of basePorts) {
      if (!(await isFree(base, maxNodes ?? nodes))) continue;
      running.add(base);
      try {
        return new Mesh(base, JSON.parse(await call(...words, '--base-port', String(base))));
      } catch (error) {
        await call('down', '--base-port', String(base)).catch(() => {});
        running.delete(base);
        // Somebody was quicker: the next ones.
        if (!/is in use|runs at port/.test(error.stderr ?? '')) throw new Error(error.stderr || error.message);
      }
    }
    throw new Error(`no free ports for a mesh from ${basePorts[0]} to ${basePorts.at(-1)}`);
  }

  /** The nodes that have not been ended by a test. */
  get alive() {
    return this.nodes.filter((node) => !this.stopped.has(node.id));
  }

  /** The node of this name. */
  named(id) {
    const node = this.nodes.find((one) => one.id === id);
    if (!node) throw new Error(`there is no node ${id}`);
    return node;
  }

  /** Answers the JSON of an operator's request to a node; undefined where it says 404. */
  async api(path, node = this.alive[0]) {
    const answer = await fetch(`${node.url}/v1${path}`, { signal: AbortSignal.timeout(5000) });
    if (answer.status === 404) return undefined;
    if (!answer.ok) throw new Error(`${node.id} says ${answer.status} to /v1${path}: ${await answer.text()}`);
    return answer.json();
  }

  /** Has a peer moved to another host: to this node, or to one that the mesh chooses. */
  async move(room, peer, to, node = this.alive[0]) {
    const path = `/v1/rooms/${encodeURIComponent(room)}/peers/${encodeURIComponent(peer)}/move`;
    const answer = await fetch(`${node.url}${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(this.#token ? { authorization: `Bearer ${this.#token}` } : {}),
      },
      body: JSON.stringify(to ? { node: to.id } : {}),
      signal: AbortSignal.timeout(10_000),
    });
    if (answer.status !== 202) throw new Error(`${node.id} says ${answer.status} to ${path}: ${await answer.text()}`);
  }

  /** Has a node take no more peers, and send those that it has to others. */
  async drain(drained, node = this.alive[0]) {
    const answer = await fetch(`${node.url}/v1/nodes/${drained.id}/drain`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(this.#token ? { authorization: `Bearer ${this.#token}` } : {}),
      },
      body: '{}',
      signal: AbortSignal.timeout(10_000),
    });
    if (answer.status !== 202) throw new Error(`${node.id} says ${answer.status}: ${await answer.text()}`);
  }

  /** One room as its home knows it, asked of any node; undefined where there is none. */
  room(id, node) {
    return this.api(`/rooms/${encodeURIComponent(id)}`, node);
  }

  /**
   * Waits until a room has so many of each, and answers it. Other numbers on the way do no harm: rooms grow.
   *
   * @param wanted `{peers, producers, pipes}`; peers count once they have joined
   */
  async roomWith(id, wanted, node) {
    return until(`${JSON.stringify(wanted)} in ${id}`, async () => {
      const detail = await this.room(id, node);
      if (!detail) throw new Error('there is no such room');
      const has = {
        peers: detail.peers.filter(({ joined }) => joined).length,
        producers: detail.producers.length,
        pipes: detail.pipes.length,
      };
      for (const [key, number] of Object.entries(wanted)) {
        if (has[key] !== number) throw new Error(`it has ${JSON.stringify(has)}`);
      }
      return detail;
    });
  }

  /** What the nodes hold, each by itself. */
  details() {
    return Promise.all(this.alive.map((node) => this.api('/node', node)));
  }

  /** Ends a node as an administrator would, after its peers have left, or otherwise, and waits until it is gone. */
  async terminate(node, signal = 'SIGTERM') {
    this.stopped.add(node.id);
    process.kill(node.pid, signal);
    await until(`${node.id} to end`, () => !isRunning(node.pid), { timeout: 15_000 });
  }

  /** Waits until no node holds anything of any room any more. */
  async isClean({ timeout = 20_000 } = {}) {
    await until(
      'all nodes to be empty again',
      async () => {
        const left = (await this.details()).flatMap(leftovers);
        const { rooms } = await this.api('/rooms');
        left.push(...rooms.map(({ id }) => `the room ${id}`));
        if (left.length) throw new Error(`still there: ${left.join(', ')}`);
        return true;
      },
      { timeout },
    );
  }

  /** The last lines that each node logged. */
  logs(lines = 60) {
    if (!existsSync(this.#folder)) return '';
    const files = readdirSync(this.#folder).filter((file) => file.endsWith('.log'));
    const tail = (file) => readFileSync(join(this.#folder, file), 'utf8').trimEnd().split('\n').slice(-lines);
    return files.map((file) => `${file}:\n  ${tail(file).join('\n  ')}`).join('\n');
  }

  /** Stops all nodes. `keep` leaves the folder with configuration and logs. */
  async stop({ keep = false } = {}) {
    if (!running.has(this.#base)) return;
    await call('down', '--base-port', String(this.#base));
    running.delete(this.#base);
    if (!keep) rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Everything that a node which nobody uses must not have. */
function leftovers(detail) {
  const counts = ['sessions', 'sockets', 'routers', 'transports', 'producers', 'consumers', 'data_producers'];
  counts.push('data_consumers', 'pipe_transports', 'data_pipes');
  const left = counts.filter((count) => detail[count] !== 0).map((count) => `${detail[count]} ${count}`);
  if (detail.pipes.length) left.push(`${detail.pipes.length} pipes`);
  if (detail.rooms.length) left.push(`rooms ${detail.rooms}`);
  for (const { index, streams, reserved } of detail.workers) {
    if (streams || reserved) left.push(`${streams} streams and ${reserved} reserved on worker ${index}`);
  }
  return left.map((text) => `${detail.id}: ${text}`);
}

function isRunning(pid) {
  try {
    // Nobody waits for a detached node: ended, it may stay as a zombie for a while.
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
