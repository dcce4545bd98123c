// A made-up mesh for the console: three nodes, some rooms, and something that changes every second.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Event, MeshStatus, NodeStatus, RoomDetail, RoomSummary, Scaling } from '../../src/protocol.js';

const TOKEN = process.env['TOKEN'];

function node(id: string, region: string, workers: number[], more: Partial<NodeStatus> = {}): NodeStatus {
  return {
    id,
    state: 'alive',
    role: 'seed',
    region,
    zone: `${region}a`,
    free_streams: workers.reduce((sum, free) => sum + free, 0),
    total_streams: workers.length * 500,
    workers,
    peers: 0,
    sockets: 0,
    rooms: 0,
    waiting: 0,
    url: `http://${id}.skein.example:4443`,
    version: '0.1.0',
    ...more,
  };
}

export class FakeApi {
  readonly nodes: NodeStatus[] = [
    node('seed-1', 'eu-central-1', [412, 388], { peers: 31, rooms: 3, waiting: 4 }),
    node('seed-2', 'eu-central-1', [95, 240], { peers: 58, rooms: 2 }),
    node('node-7f3a', 'eu-west-1', [500, 470, 500, 500], { role: 'node', peers: 6, rooms: 1 }),
  ];
  readonly rooms: RoomSummary[] = [
    { id: 'all-hands', home: 'seed-1', peers: 74, hosts: { 'seed-1': 20, 'seed-2': 48, 'node-7f3a': 6 }, producers: 12, pipes: 17 },
    { id: 'design-review', home: 'seed-2', peers: 9, hosts: { 'seed-2': 9 }, producers: 15, pipes: 0 },
    { id: 'team-standup', home: 'seed-1', peers: 11, hosts: { 'seed-1': 10, 'seed-2': 1 }, producers: 21, pipes: 12 },
    { id: 'büro-köln', home: 'node-7f3a', peers: 1, hosts: { 'seed-1': 1 }, producers: 2, pipes: 0 },
  ];
  readonly #streams = new Set<ServerResponse>();

  constructor() {
    if (process.env['EMPTY']) {
      this.rooms.length = 0;
      this.nodes.length = 1;
      Object.assign(this.nodes[0]!, { peers: 0, rooms: 0, region: 'local', zone: '' });
    }
    if (process.env['STATES']) {
      const states = ['alive', 'suspect', 'draining', 'starting', 'alive', 'alive', 'alive', 'alive'] as const;
      this.nodes.splice(1);
      states.forEach((state, i) => this.nodes.push(node(`i-0f8e7d6c5b4a39${i}`, 'us-east-1', [500 - i * 70, 30], { state, role: 'node', peers: i * 9 })));
    }
    setInterval(() => this.#drift(), 1000).unref();
  }

  serve(request: IncomingMessage, response: ServerResponse, url: URL): void {
    const json = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (TOKEN && request.headers.authorization !== `Bearer ${TOKEN}`) {
      json(401, { error: 'show the operator token' });
      return;
    }
    const [, , what, id] = url.pathname.split('/').map(decodeURIComponent);
    if (what === 'mesh') json(200, this.mesh());
    else if (what === 'rooms' && id) {
      const room = this.rooms.find((one) => one.id === id);
      json(room ? 200 : 404, room ? this.detail(room) : { error: `no room ${id}` });
    } else if (what === 'scaling' && !process.env['EMPTY']) json(200, this.scaling());
    else if (what === 'rooms') json(200, { rooms: this.rooms, missing: [] });
    else if (what === 'events' && !process.env['NO_EVENTS']) {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.write(': hello\n\n');
      this.#streams.add(response);
      response.on('close', () => this.#streams.delete(response));
    } else json(404, { error: 'no such thing' });
  }

  mesh(): MeshStatus {
    return { mesh: 'demo', node: 'seed-1', leader: 'seed-2', nodes: this.nodes, rooms: this.rooms.length, waiting: 4 };
  }

  scaling(): Scaling {
    const now = Date.now();
    const at = (seconds: number, step: string) => ({ at_ms: now - seconds * 1000, step });
    const alarm = process.env['STATES'] ? '3 machines in a row never joined the mesh; the next is tried in 240 s' : null;
    return {
      leader: 'seed-2',
      term: 7,
      wanted_streams: 620,
      free_streams: 505,
      booting_streams: 900,
      grows: true,
      eta_s: 40,
      alarm,
      reasons: ['115 streams are missing', 'machines cost 1.87 of 2.00 an hour'],
      steps: [
        at(90_000, 'launch 15 (c7a.xlarge): 240 streams are missing'),
        at(5400, 'launch 16 (c7a.4xlarge): a room waits whose 900 guaranteed streams have to be on one machine'),
        at(4000, 'retire 14: it was drained and is empty, after 212 s'),
        at(300, 'drain demo-15: it was not needed for 10 minutes, and the others carry what there is and half as much again'),
        at(12, 'launch 17 (c7a.xlarge): 4 joins wait and do not fit into what is free'),
      ],
      min_nodes: 3,
      max_nodes: 12,
      machines: [
        { node: 'demo-15', kind: 'c7a.xlarge', state: 'draining', age_s: 90_000 },
        { node: 'demo-16', kind: 'c7a.4xlarge', state: 'serving', age_s: 5400 },
        { node: 'demo-17', kind: 'c7a.xlarge', state: 'starting', age_s: 12 },
      ],
    };
  }

  detail(room: RoomSummary): RoomDetail {
    const hosts = Object.entries(room.hosts);
    const peers = hosts.flatMap(([host, count]) =>
      Array.from({ length: count ?? 0 }, (_, i) => ({
        id: `${host}-p${i}`,
        display_name: ['Amara Okafor', 'Ben', 'Chiyo', 'Dmitri', 'Elena'][i % 5]!,
        device: { flag: 'chrome', name: 'Chrome', version: '130' },
        joined: i % 9 !== 8,
        role: 'publish' as const,
        host,
        worker: i % 2,
      })),
    );
    const producers = Array.from({ length: room.producers }, (_, i) => {
      const peer = peers[i % peers.length]!;
      const kind: 'audio' | 'video' = i % 2 ? 'video' : 'audio';
      return { id: `0b6c9a1e-${i}`, peer: peer.id, kind, paused: i % 5 === 4, host: peer.host, worker: peer.worker };
    });
    const pipes = Array.from({ length: room.pipes }, (_, i) => {
      const producer = producers[i % producers.length]!;
      const others = hosts.filter(([host]) => host !== producer.host);
      const target = others[i % Math.max(1, others.length)]?.[0] ?? producer.host;
      const inside = i % 6 === 5;
      return {
        room: room.id,
        producer: producer.id,
        from: { node: producer.host, worker: producer.worker },
        to: { node: inside ? producer.host : target, worker: inside ? 1 - producer.worker : 0 },
      };
    });
    return {
      id: room.id,
      home: room.home,
      hosts: hosts.map(([host]) => host),
      peers,
      producers,
      data_producers: peers.slice(0, 3).map((peer, i) => ({ id: `d${i}`, peer: peer.id, label: 'chat', host: peer.host })),
      pipes,
      speaker: peers[1]?.id ?? null,
      options: { mode: 'conference', size: 500, guaranteed: false, lastN: 0 },
    };
  }

  #drift(): void {
    const status = this.nodes[Math.floor(Math.random() * this.nodes.length)]!;
    status.workers = status.workers.map((free) => Math.max(0, Math.min(500, free + Math.round(Math.random() * 40 - 20))));
    status.free_streams = status.workers.reduce((sum, free) => sum + free, 0);
    this.#tell({ event: 'node', change: 'changed', id: status.id, status });
  }

  #tell(event: Event): void {
    for (const stream of this.#streams) stream.write(`event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`);
  }
}
