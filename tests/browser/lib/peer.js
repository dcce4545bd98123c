// A browser tab with the room page in it.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { browser as browserNamed } from './chromium.js';
import { observe } from './diagnosis.js';
import { root } from './mesh.js';
import { grows, stands, until } from './wait.js';

const screenshots = join(root, 'target/screenshots');

/** Of three layers from 960x540, the largest; small enough for two of them on two cores. */
export const LAYERED = { width: 960, height: 540, frameRate: 15 };
/** For many at once: one layer, and next to nothing to encode. */
export const SMALL = { width: 320, height: 180, frameRate: 10 };

/** A tab of its own browser context, or of another tab's. */
export class Peer {
  /** The tab, for what this class has no words for. */
  page;
  /** What went wrong in the page without anybody catching it. */
  errors = [];
  #context;

  constructor(page, context) {
    this.page = page;
    this.#context = context;
    page.on('pageerror', (error) => this.errors.push(String(error.stack ?? error)));
    page.on('console', (message) => {
      const text = message.text();
      if (/Content Security Policy/.test(text)) this.errors.push(text);
      if (process.env.SKEIN_BROWSER_LOG) console.error(`${this.id ?? '?'}: ${text}`);
    });
  }

  /** An empty tab, closed after the test. */
  static async blank(t, { browser, viewport = { width: 1000, height: 640 }, ...options } = {}) {
    const context = await (await browserNamed(browser)).newContext({ viewport, ...options });
    context.setDefaultTimeout(15_000);
    t.after(() => context.close());
    return Peer.#tab(context);
  }

  /** Another tab of the same user. */
  async anotherTab() {
    return Peer.#tab(this.#context);
  }

  static async #tab(context) {
    const peer = new Peer(await context.newPage(), context);
    await observe(peer);
    return peer;
  }

  /**
   * A tab that has joined a room through a node, by the page's address.
   *
   * @param camera what to publish by the SDK: as `publishCamera` takes it; `true` leaves the camera to the page
   * @param query more for the address
   */
  static async join(t, node, { room, name, camera = LAYERED, microphone = true, query = {}, ...options }) {
    const peer = await Peer.blank(t, options);
    await peer.join(node, { room, name, camera, microphone, query });
    return peer;
  }

  /** Joins, in this tab. */
  async join(node, { room, name, camera = LAYERED, microphone = true, query = {} }) {
    this.id = name.toLowerCase();
    this.room = room;
    const address = new URL(node.url);
    const words = { room, name, peer: this.id, ...query };
    if (camera !== true) words.video = '0';
    if (!microphone) words.audio = '0';
    for (const [key, value] of Object.entries(words)) address.searchParams.set(key, value);
    await this.page.goto(address.href);
    await this.connected();
    if (camera && camera !== true) await this.publishCamera(camera);
    const sources = [...(camera ? ['camera'] : []), ...(microphone ? ['microphone'] : [])];
    await this.publishes(...sources);
  }

  /** Waits until this page's own tracks of these sources are in the mesh. */
  async publishes(...sources) {
    for (const source of sources) {
      await until(`${this.id} to publish a ${source}`, () =>
        this.page.evaluate((source) => window.skein.room.publication(source)?.producerId, source),
      );
    }
  }

  /** Publishes a camera by the SDK, which can be told how large it shall be. */
  async publishCamera(options) {
    await this.page.evaluate(async (options) => void (await window.skein.room.publishCamera(options)), options);
  }

  /** Waits until the page says that it is connected. */
  async connected({ timeout = 20_000 } = {}) {
    await this.page.locator('[data-testid=state][data-state=connected]').waitFor({ timeout });
  }

  /** `{entry, host, endpoints}`. */
  async placement() {
    return until('the placement', () => this.page.evaluate(() => window.skein.room.placement));
  }

  /** The others, as the SDK knows them. */
  async others() {
    return this.page.evaluate(() => [...window.skein.room.peers.keys()].sort());
  }

  /** The page's tile of a peer's camera, or of another source of it. */
  tile(id, source = 'camera') {
    return this.page.locator(`[data-testid=tile][data-peer="${id}"][data-source="${source}"]`);
  }

  /** The page's control of this test id. */
  control(testid) {
    return this.page.getByTestId(testid);
  }

  /** What arrives of a peer: numbers so far, and how things stand. Undefined while there is no such subscription. */
  async stats(id, source) {
    return this.page.evaluate(
      async ([id, source]) => {
        const subscription = window.skein.room.peers.get(id)?.subscription(source);
        if (!subscription) return undefined;
        const all = [...(await subscription.stats()).values()];
        const inbound = all.find(({ type }) => type === 'inbound-rtp') ?? {};
        const { muted, paused, layers, available } = subscription;
        return {
          packets: inbound.packetsReceived ?? 0,
          frames: inbound.framesDecoded ?? 0,
          width: inbound.frameWidth ?? 0,
          height: inbound.frameHeight ?? 0,
          energy: inbound.totalAudioEnergy ?? 0,
          codec: all.find(({ id }) => id === inbound.codecId)?.mimeType,
          ...{ muted, paused, layers, available },
        };
      },
      [id, source],
    );
  }

  /** What the host measured of a peer's track, on its way here, to tell where it got lost. */
  async #hostStats(id, source) {
    const stats = await this.page.evaluate(
      ([id, source]) => window.skein.room.peers.get(id)?.subscription(source)?.hostStats(),
      [id, source],
    );
    if (!stats) return 'nothing';
    const [sent, received] = stats;
    const brief = (stream) =>
      stream ? `${stream.packetCount} packets, ${stream.pliCount} key frame requests` : 'no stream';
    return `to here ${brief(sent)}; from ${id} ${brief(received)}`;
  }

  async #one(id, source, key) {
    const stats = await this.stats(id, source);
    if (!stats) throw new Error(`there is no ${source} of ${id}`);
    return stats[key];
  }

  /** Waits until pictures of a peer are decoded and go on being decoded. */
  async sees(id, { source = 'camera', frames = 10, timeout = 40_000 } = {}) {
    const what = `frames of ${id}'s ${source} that ${this.id} decodes`;
    try {
      await grows(what, () => this.#one(id, source, 'frames'), frames, { timeout });
    } catch (error) {
      throw new Error(`${error.message}; of it, the host knows: ${await this.#hostStats(id, source)}`);
    }
    // What is decoded is shown, too.
    await until(
      `${this.id}'s page to show ${id}'s ${source}`,
      () =>
        this.tile(id, source)
          .locator('video')
          .evaluate((video) => !video.paused && video.videoWidth > 0 && video.getClientRects().length > 0),
      { timeout },
    );
  }

  /** Waits until a peer's voice is heard: energy of an element that plays and is not muted. */
  async hears(id, { source = 'microphone', timeout = 40_000 } = {}) {
    const element = this.page.locator(`audio[data-peer="${id}"][data-source="${source}"]`);
    await element.waitFor({ state: 'attached', timeout });
    await until(
      `${this.id}'s page to play ${id}'s ${source}`,
      () => element.evaluate(({ paused, muted, volume }) => !paused && !muted && volume > 0),
      { timeout },
    );
    await grows(`packets of ${id}'s ${source}`, () => this.#one(id, source, 'packets'), 10, { timeout });
    // Chromium's fake microphone beeps once or twice a second.
    const what = `energy of ${id}'s ${source} that ${this.id} hears`;
    await grows(what, () => this.#one(id, source, 'energy'), 1e-5, { timeout });
  }

  /**
   * Measures, from now on, how long the picture of a peer's tile stands still. What counts are the frames of the element
   * that is seen: while one takes another's place, the one on top.
   */
  async watchFrames(id, source = 'camera') {
    await this.page.evaluate(
      ([id, source]) => {
        const selector = `[data-testid=tile][data-peer="${id}"][data-source="${source}"]`;
        const record = { selector, last: performance.now(), longest: 0, frames: 0, elements: 0 };
        const known = new WeakSet();
        const shown = () => document.querySelector(`${selector} video.leaving`) ?? document.querySelector(`${selector} video`);
        const watch = (video) => {
          if (known.has(video)) return;
          known.add(video);
          record.elements += 1;
          const tick = (now) => {
            if (!video.isConnected) return;
            if (video === shown()) {
              record.longest = Math.max(record.longest, now - record.last);
              record.last = now;
              record.frames += 1;
            }
            video.requestVideoFrameCallback(tick);
          };
          video.requestVideoFrameCallback(tick);
        };
        const look = () => document.querySelectorAll(`${selector} video`).forEach(watch);
        new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
        look();
        (window.watchedFrames ??= {})[`${id}/${source}`] = record;
      },
      [id, source],
    );
  }

  /** `{longest, frames, elements}` since it was asked last: the longest stand in milliseconds, one that lasts included. */
  async frames(id, source = 'camera') {
    return this.page.evaluate((key) => {
      const record = window.watchedFrames[key];
      const { frames, elements } = record;
      const longest = Math.round(Math.max(record.longest, performance.now() - record.last));
      Object.assign(record, { longest: 0, frames: 0 });
      return { longest, frames, elements };
    }, `${id}/${source}`);
  }

  /** Waits until nothing of a source arrives any more. */
  async getsNothing(id, source) {
    const what = `packets of ${id}'s ${source} at ${this.id}`;
    await stands(what, () => this.#one(id, source, 'packets'));
  }

  /** Asks for layers of a peer's camera, and waits until its pictures are as wide as `fits` says. */
  async choosesLayers(id, spatial, fits) {
    await this.page.evaluate(
      ([id, spatial]) => window.skein.room.peers.get(id).subscription('camera').setPreferredLayers(spatial, 2),
      [id, spatial],
    );
    await until(
      `pictures of ${id}'s layer ${spatial} at ${this.id}`,
      async () => {
        const { width, layers, frames } = await this.stats(id, 'camera');
        if (fits(width)) return true;
        throw new Error(`they are ${width} wide, layers ${JSON.stringify(layers)}, ${frames} frames`);
      },
      { timeout: 30_000 },
    );
  }

  /** Opens the chat where it is closed, or closes it. */
  async showsChat(wanted = true) {
    const chat = this.control('chat');
    if ((await chat.isVisible()) === wanted) return;
    if (wanted) await this.control('chat-toggle').click();
    // On a narrow page the chat covers the button that opened it.
    else await chat.getByLabel('Close the chat').click();
    await chat.waitFor({ state: wanted ? 'visible' : 'detached' });
  }

  /** Says a line, as a user does. */
  async says(text) {
    await this.showsChat();
    await this.control('chat-input').fill(text);
    await this.control('chat-send').click();
  }

  /** Waits until a line of a peer is in the chat, and opens it for that. */
  async reads(text, { from }) {
    await this.showsChat();
    await this.page.locator(`[data-testid=chat-message][data-peer="${from}"]`, { hasText: text }).waitFor();
  }

  /** Waits until a line of a peer has come, whether or not the chat is open. */
  async got(text, { from }) {
    await until(`${this.id} to get "${text}" of ${from}`, () =>
      this.page.evaluate(
        ([text, from]) => window.skein.call.messages.some((one) => one.text === text && one.peerId === from),
        [text, from],
      ),
    );
  }

  /** Waits until a peer is gone from the page. */
  async losesSightOf(id) {
    await this.tile(id).waitFor({ state: 'detached', timeout: 15_000 });
    assert.deepEqual((await this.others()).filter((other) => other === id), []);
  }

  /** Leaves by the page's own button. */
  async leaves() {
    await this.showsChat(false);
    await this.control('leave').click();
    await this.control('ended').waitFor();
  }

  /** Keeps a picture of the page. */
  async screenshot(name) {
    mkdirSync(screenshots, { recursive: true });
    await this.page.screenshot({ path: join(screenshots, `${name}.png`) });
  }

  /** Fails when something went wrong in the page. */
  assertNoErrors() {
    assert.deepEqual(this.errors, [], `errors in the page of ${this.id}`);
  }
}
