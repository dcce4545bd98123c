// A mesh in memory: the signalling side of some nodes, for tests of the SDK and for looking at the room page without a
// node. It carries no media; the tracks come from a fake mediasoup handler.
import { testFakeParameters } from 'mediasoup-client';
import type { NewConsumer, PeerInfo } from '../src/protocol.js';
import type { Socket } from '../src/sdk/index.js';

type Json = Record<string, unknown>;

/** A producer, of a bot or of a client. */
export interface FakeProducer {
  id: string;
  peer: string;
  kind: 'audio' | 'video';
  appData: Json;
  paused: boolean;
  /** The connection it came over; a bot has none. */
  client?: FakeClient;
}

let counter = 0;
const fresh = (what: string) => `${what}-${++counter}`;

/** The node's side of one WebSocket. */
export class FakeClient {
  readonly mesh: FakeMesh;
  readonly socket: FakeSocket;
  readonly url: URL;
  readonly log: { method: string; data: Json }[] = [];
  info: PeerInfo | undefined;
  /** Whether there is a place for it. */
  greeted = false;
  /** What it sent before there was. */
  readonly early: Json[] = [];
  readonly #waiting = new Map<number, (answer: Json) => void>();
  #nextId = 1;

  constructor(mesh: FakeMesh, socket: FakeSocket, url: URL) {
    this.mesh = mesh;
    this.socket = socket;
    this.url = url;
  }

  get peerId(): string {
    return this.url.searchParams.get('peerId') ?? '';
  }

  notify(method: string, data: Json = {}): void {
    this.socket.deliver({ notification: true, method, data });
  }

  request(method: string, data: Json): Promise<Json> {
    const id = this.#nextId++;
    this.socket.deliver({ request: true, id, method, data });
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  /** How often a method was called. */
  calls(method: string): Json[] {
    return this.log.filter((entry) => entry.method === method).map((entry) => entry.data);
  }

  received(frame: Json): void {
    if (!this.greeted) {
      this.early.push(frame);
      return;
    }
    if (frame['response'] === true) {
      this.#waiting.get(frame['id'] as number)?.(frame);
      this.#waiting.delete(frame['id'] as number);
      return;
    }
    const { id, method, data } = frame as { id: number; method: string; data: Json };
    this.log.push({ method, data });
    const refused = this.mesh.failures.get(method);
    if (refused) {
      this.socket.deliver({ response: true, id, ok: false, errorCode: refused.code, errorReason: refused.reason });
      return;
    }
    if (this.mesh.silent.has(method)) return;
    this.socket.deliver({ response: true, id, ok: true, data: this.mesh.answer(this, method, data) });
    if (method === 'join') this.mesh.joined(this);
  }
}

/** The client's side: what the SDK takes for a WebSocket. */
export class FakeSocket implements Socket {
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  client: FakeClient | undefined;

  send(text: string): void {
    const frame = JSON.parse(text) as Json;
    setTimeout(() => this.client?.received(frame));
  }

  close(code = 1000, reason = ''): void {
    this.drop(code, reason);
  }

  deliver(frame: Json): void {
    if (this.readyState === 1) setTimeout(() => this.onmessage?.({ data: JSON.stringify(frame) } as never));
  }

  /** The code it was closed with; undefined while it stands. */
  closedWith: number | undefined;

  /** Ends it, as seen from the client. */
  drop(code: number, reason = ''): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.closedWith = code;
    if (this.client) this.client.mesh.gone(this.client);
    setTimeout(() => this.onclose?.({ code, reason } as never));
  }
}

/** Some nodes, one room. */
export class FakeMesh {
  /** Hosts (with port) that do not answer. */
  readonly down = new Set<string>();
  /** Methods that fail. */
  readonly failures = new Map<string, { code: number; reason: string }>();
  /** Methods that are never answered. */
  readonly silent = new Set<string>();
  /** Closes every socket with this, right after it opened. */
  refuse: { code: number; reason: string } | undefined;
  /** Tells sockets that they wait, and answers nothing until `letIn` is called. */
  waiting: { reason: string; etaSeconds: number | null } | undefined;
  /** Told in `welcome`. */
  endpoints: string[] = [];
  /** Told in `welcome`. */
  role = 'moderate';
  /** Told in `welcome`. */
  room: Json = { mode: 'conference', size: 0, guaranteed: false, lastN: 0 };
  /** Closes sockets with this that come with a move's token. */
  refuseMoves: { code: number; reason: string } | undefined;
  /** All sockets that opened, the newest last. */
  readonly clients: FakeClient[] = [];
  /** Every address that was dialled. */
  readonly dialled: string[] = [];
  /** Peers without a client. */
  readonly bots = new Map<string, PeerInfo>();
  /** All producers. */
  readonly producers: FakeProducer[] = [];

  /** To be given to the SDK as `WebSocket`. */
  readonly Socket = ((mesh: FakeMesh) =>
    class extends FakeSocket {
      constructor(text: string) {
        super();
        const url = new URL(text);
        mesh.dialled.push(url.host);
        setTimeout(() => {
          if (mesh.down.has(url.host)) return this.drop(1006);
          this.readyState = 1;
          this.client = new FakeClient(mesh, this, url);
          mesh.clients.push(this.client);
          this.onopen?.({} as never);
          mesh.opened(this.client);
        });
      }
    })(this);

  get client(): FakeClient | undefined {
    return this.clients.at(-1);
  }

  opened(client: FakeClient): void {
    const moving = client.url.searchParams.has('move');
    if (moving && this.refuseMoves) return client.socket.drop(this.refuseMoves.code, this.refuseMoves.reason);
    if (this.refuse) return client.socket.drop(this.refuse.code, this.refuse.reason);
    if (this.waiting) return client.notify('waiting', this.waiting);
    this.greet(client);
  }

  /** There is a place now for all who wait. */
  letIn(): void {
    this.waiting = undefined;
    for (const client of this.clients) {
      if (client.socket.readyState !== 1 || client.greeted) continue;
      this.greet(client);
      for (const frame of client.early.splice(0)) client.received(frame);
    }
  }

  greet(client: FakeClient): void {
    const moving = client.url.searchParams.has('move');
    client.greeted = true;
    client.notify('mediasoup-version', { version: '0.0.0' });
    client.notify('welcome', {
      session: fresh('session'),
      node: client.url.hostname,
      host: moving ? 'host-2' : 'host-1',
      endpoints: this.endpoints,
      role: this.role,
      room: this.room,
    });
  }

  gone(client: FakeClient): void {
    for (let i = this.producers.length - 1; i >= 0; i--) {
      if (this.producers[i]?.client === client) this.producers.splice(i, 1);
    }
  }

  answer(client: FakeClient, method: string, data: Json): unknown {
    switch (method) {
      case 'getRouterRtpCapabilities':
        return testFakeParameters.generateRouterRtpCapabilities();
      case 'createWebRtcTransport':
        return { ...testFakeParameters.generateTransportRemoteParameters(), id: fresh('transport') };
      case 'restartIce':
        return { usernameFragment: 'new', password: 'new' };
      case 'join':
        client.info = { id: client.peerId, displayName: String(data['displayName']), device: {} };
        return { peers: [...this.bots.values()] };
      case 'produce': {
        const { kind, appData } = data as unknown as FakeProducer;
        const producer = { id: fresh('producer'), peer: client.peerId, kind, appData, paused: false, client };
        this.producers.push(producer);
        return { id: producer.id };
      }
      case 'produceData':
        return { id: fresh('data-producer') };
      default:
        return {};
    }
  }

  joined(client: FakeClient): void {
    for (const bot of this.bots.values()) {
      for (const producer of this.producers) if (producer.peer === bot.id) void this.offer(client, producer);
      void this.offerChat(client, bot.id);
    }
  }

  /** Puts a bot into the room. */
  addBot(id: string, displayName: string, sources: string[] = ['microphone', 'camera']): FakeProducer[] {
    const bot = { id, displayName, device: { flag: 'bot' } };
    this.bots.set(id, bot);
    const producers = sources.map((source): FakeProducer => {
      const kind = source === 'microphone' ? 'audio' : 'video';
      return { id: fresh('producer'), peer: id, kind, appData: { source }, paused: false };
    });
    this.producers.push(...producers);
    for (const client of this.clients) {
      if (!client.info || client.socket.readyState !== 1) continue;
      client.notify('newPeer', bot);
      for (const producer of producers) void this.offer(client, producer);
      void this.offerChat(client, id);
    }
    return producers;
  }

  /** Takes a bot out of the room. */
  removeBot(id: string): void {
    this.bots.delete(id);
    for (const client of this.clients) client.notify('peerClosed', { peerId: id });
  }

  /** Offers a client a consumer; resolves to the client's answer. */
  offer(client: FakeClient, producer: FakeProducer): Promise<Json> {
    return client.request('newConsumer', this.consumer(producer) as unknown as Json);
  }

  consumer({ id, peer, kind, appData, paused }: FakeProducer): NewConsumer {
    const codecMimeType = kind === 'audio' ? 'audio/opus' : 'video/VP8';
    const { rtpParameters } = testFakeParameters.generateConsumerRemoteParameters({ codecMimeType });
    const copy = structuredClone(rtpParameters);
    const simulcast = appData['source'] === 'camera';
    if (simulcast && copy.encodings?.[0]) copy.encodings[0].scalabilityMode = 'L3T3';
    return {
      peerId: peer,
      producerId: id,
      id: `consumer-of-${id}-${++counter}`,
      kind,
      rtpParameters: copy,
      type: simulcast ? 'simulcast' : 'simple',
      appData,
      producerPaused: paused,
    };
  }

  /** Offers a client the chat of a peer; resolves to the client's answer. */
  offerChat(client: FakeClient, peerId: string, id = fresh(`chat-to-${client.peerId}-of-${peerId}`)): Promise<Json> {
    return client.request('newDataConsumer', {
      peerId,
      dataProducerId: `chat-of-${peerId}`,
      id,
      sctpStreamParameters: { streamId: ++counter % 1000, ordered: true },
      label: 'chat',
      protocol: '',
      appData: {},
    });
  }
}
