// The room page against a mesh in memory, with painted people, for looking at the page without a node:
// /fake?room=x&name=Ann&bots=4&screen=1&chat=1&trouble=1&mode=stage&role=listen&audience=300&waiting=40&until=10
import { Device, FakeHandler, testFakeParameters } from 'mediasoup-client';
import { start } from '../../src/room/main.js';
import { Room } from '../../src/sdk/index.js';
import { FakeMesh } from '../fake-mesh.js';

const query = new URLSearchParams(location.search);
const names = ['Amara Okafor', 'Benjamin Lindqvist', 'Chiyo', 'Dmitri Petrov-Vasilyevsky', 'Elena', 'Farid Haddad', 'Grace', 'Hugo', 'Ines', 'Jonas'];
const mesh = new FakeMesh();
mesh.endpoints = [`ws://${location.host}/`, 'ws://node-2.test/', 'ws://node-3.test/'];

/** Someone before a wall, moving a little. */
function painted(seed: number, screen: boolean): MediaStreamTrack {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 });
  const context = canvas.getContext('2d')!;
  const hue = (seed * 67) % 360;
  const draw = () => {
    const t = performance.now() / 900 + seed;
    const wall = context.createLinearGradient(0, 0, 1280, 720);
    wall.addColorStop(0, screen ? '#f4f6f8' : `hsl(${hue} 30% 62%)`);
    wall.addColorStop(1, screen ? '#e3e8ee' : `hsl(${hue + 50} 34% 34%)`);
    context.fillStyle = wall;
    context.fillRect(0, 0, 1280, 720);
    if (screen) {
      context.fillStyle = '#334';
      context.font = '30px monospace';
      for (let i = 0; i < 18; i++) context.fillText(`${i + 1}  let node_${i} = mesh.join("room-${i}").await?;`, 60, 70 + i * 36);
      return;
    }
    context.fillStyle = `hsl(${hue + 180} 32% 30%)`;
    context.beginPath();
    context.ellipse(640 + Math.sin(t) * 16, 780, 330, 270, 0, 0, 7);
    context.fill();
    context.fillStyle = `hsl(${18 + (seed % 5) * 4} 42% ${44 + (seed % 4) * 9}%)`;
    context.beginPath();
    context.ellipse(640 + Math.sin(t) * 22, 350 + Math.cos(t * 1.3) * 8, 140, 180, 0, 0, 7);
    context.fill();
  };
  draw();
  setInterval(draw, 66);
  return canvas.captureStream(15).getVideoTracks()[0]!;
}

function silence(): MediaStreamTrack {
  const context = new AudioContext();
  return context.createMediaStreamDestination().stream.getAudioTracks()[0]!;
}

class Channel extends EventTarget {
  readyState = 'connecting';
  binaryType = 'arraybuffer';
  bufferedAmount = 0;
  constructor(readonly label: string) {
    super();
    setTimeout(() => {
      this.readyState = 'open';
      this.dispatchEvent(new Event('open'));
    }, 50);
  }
  send(): void {}
  close(): void {}
}

const channels: Channel[] = [];

const fake = FakeHandler.createFactory(testFakeParameters as never);
/** The fake handler, with tracks that can be seen and channels that open. */
const factory: typeof fake.factory = (options) => {
  const handler = fake.factory(options);
  const { receive, sendDataChannel, receiveDataChannel } = handler;
  handler.receive = async (list) => {
    const results = await receive.call(handler, list);
    return results.map((result, index) => {
      const { trackId, kind } = list[index]!;
      const seed = Number(/producer-(\d+)/.exec(trackId)?.[1] ?? 1);
      const screen = mesh.producers.find(({ id }) => trackId.includes(`${id}-`))?.appData['source'] === 'screen';
      return { ...result, track: kind === 'audio' ? silence() : painted(seed, screen) };
    });
  };
  handler.sendDataChannel = async (wish) => {
    const made = await sendDataChannel.call(handler, wish);
    return { ...made, dataChannel: new Channel('chat') as never };
  };
  handler.receiveDataChannel = async (wish) => {
    await receiveDataChannel.call(handler, wish);
    const channel = new Channel(wish.label ?? '');
    channels.push(channel);
    return { dataChannel: channel as never };
  };
  return handler;
};
const createDevice = async () => new Device({ handlerFactory: { ...fake, factory } });

const bots = Number(query.get('bots') ?? 0);
for (let i = 0; i < bots; i++) {
  const sources = i % 5 === 3 ? ['microphone'] : ['microphone', 'camera'];
  if (i === 0 && query.has('screen')) sources.push('screen');
  mesh.addBot(`bot-${i}`, names[i % names.length]!, sources);
}
for (let i = 0; i < Number(query.get('audience') ?? 0); i++) mesh.addBot(`listener-${i}`, `${names[i % names.length]} ${i}`, []);
mesh.role = query.get('role') ?? 'moderate';
mesh.room = { ...mesh.room, mode: query.get('mode') ?? 'conference', lastN: Number(query.get('lastN') ?? 0) };
if (query.has('waiting')) {
  const etaSeconds = query.get('waiting') ? Number(query.get('waiting')) : null;
  mesh.waiting = { reason: 'a machine is being started', etaSeconds };
  if (query.has('until')) setTimeout(() => mesh.letIn(), Number(query.get('until')) * 1000);
}
if (query.has('refuse')) mesh.refuse = { code: Number(query.get('code') ?? 4000), reason: query.get('refuse') ?? '' };

setTimeout(() => {
  const client = mesh.client;
  if (!client) return;
  for (const { method, data } of [...client.log]) if (method === 'join') console.info('joined', data);
  const tell = (id: string, score: number) =>
    client.notify('consumerScore', { consumerId: id, score: { score, producerScore: 10, producerScores: [10] } });
  const room = window.skein?.room;
  let i = 0;
  for (const peer of room?.peers.values() ?? []) {
    for (const subscription of peer.subscriptions) {
      tell(subscription.id, [10, 10, 6, 10, 3][i % 5]!);
      if (subscription.kind === 'video') {
        client.notify('consumerLayersChanged', { consumerId: subscription.id, spatialLayer: 1, temporalLayer: 2 });
      } else if (i % 3 === 1) {
        client.notify('consumerPaused', { consumerId: subscription.id });
      }
    }
    i++;
  }
  client.notify('activeSpeaker', { peerId: 'bot-0', volume: -30 });
  client.notify('downlinkBwe', { desiredBitrate: 3_200_000, effectiveDesiredBitrate: 2_600_000, availableBitrate: 5_400_000 });
  if (query.has('chat')) {
    const lines = ['Morning! Does everyone hear me?', 'Yes, loud and clear', 'Notes are at https://notes.example/standup-2031, please add yours.', 'I will be five minutes late to the next one, the train stands still somewhere between here and nowhere.'];
    lines.forEach((data, index) => {
      setTimeout(() => {
        const event = new MessageEvent('message', { data });
        channels[index % channels.length]?.dispatchEvent(event);
      }, index * 100);
    });
  }
  if (query.has('trouble')) {
    mesh.down.add(location.host);
    mesh.down.add('node-2.test');
    mesh.down.add('node-3.test');
    client.socket.drop(1006);
  }
}, 1500);

start((options) => new Room({ ...options, WebSocket: mesh.Socket, createDevice }));
