import type { types } from 'mediasoup-client';
import type { Device as DeviceInfo, Notification, PeerInfo, WebRtcTransportInfo } from '../protocol.js';
import { sctpCapabilities } from '../mediasoup.js';
import { ConnectionLost } from './errors.js';
import { Protoo, type ProtooHandlers, type SocketFactory } from './protoo.js';

/** How long a path may be broken before ICE is restarted, in milliseconds: short breaks heal by themselves. */
const DISCONNECTED_FOR = 2_000;
/** How long a restart may take, in milliseconds. */
const RESTART_TIMEOUT = 8_000;
/** After so many restarts without success the whole session is made anew, perhaps on another host. */
const MAX_RESTARTS = 3;

/** How to make a session. */
export interface SessionOptions {
  /** The whole address to dial. */
  url: string;
  /** What dials. */
  WebSocket: SocketFactory;
  /** Makes a mediasoup device that is not loaded yet. */
  createDevice: () => Promise<types.Device>;
  /** Told to the node. */
  forceTcp: boolean;
  /** For the peer connections. */
  iceServers: RTCIceServer[] | undefined;
  /** Told of the connection as soon as it stands, long before there is a session perhaps: who closes it gives up. */
  dialled: (protoo: Protoo) => void;
}

/** What a node tells first. */
export type Welcome = Extract<Notification, { method: 'welcome' }>['data'];

let opened = 0;

/** One connection to the mesh with the two transports made over it. All of it ends together. */
export class Session {
  /** Later sessions have higher ones. */
  readonly number = ++opened;
  /** The signalling. */
  readonly protoo: Protoo;
  /** Loaded with what the host can do. */
  readonly device: types.Device;
  /** For what is published. */
  readonly send: types.Transport;
  /** For what is subscribed to. */
  readonly recv: types.Transport;
  readonly #lost: (lost: ConnectionLost) => void;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  /** Fail what is awaited of it. */
  readonly #awaited = new Set<(over: ConnectionLost) => void>();
  #closed = false;

  private constructor(
    protoo: Protoo,
    device: types.Device,
    send: types.Transport,
    recv: types.Transport,
    lost: (lost: ConnectionLost) => void,
  ) {
    this.protoo = protoo;
    this.device = device;
    this.send = send;
    this.recv = recv;
    this.#lost = lost;
    for (const transport of [send, recv]) {
      transport.on('connect', ({ dtlsParameters }, done, failed) => {
        protoo.request('connectWebRtcTransport', { transportId: transport.id, dtlsParameters }).then(done, failed);
      });
      this.#watch(transport);
    }
    send.on('produce', ({ kind, rtpParameters, appData }, done, failed) => {
      protoo.request('produce', { transportId: send.id, kind, rtpParameters, appData }).then(done, failed);
    });
    send.on('producedata', ({ sctpStreamParameters, label = '', protocol = '', appData }, done, failed) => {
      protoo
        .request('produceData', { transportId: send.id, sctpStreamParameters, label, protocol, appData })
        .then(done, failed);
    });
  }

  /**
   * Dials and makes both transports. Fails with what went wrong first; the close code is in ConnectionLost.
   * `handlers.closed` is called only for a session that was opened.
   */
  static async open(options: SessionOptions, handlers: ProtooHandlers): Promise<Session> {
    let session: Session | undefined;
    const protoo = await Protoo.dial(
      options.url,
      {
        ...handlers,
        notification: (notification) => {
          // The node speaks once the socket is open, and answers when there is a place.
          protoo.hold(notification.method === 'waiting');
          handlers.notification(notification);
        },
        closed: (lost) => {
          if (session && !session.#closed) handlers.closed(lost);
        },
      },
      options,
    );
    options.dialled(protoo);
    try {
      // The device is detected while the node answers.
      const [routerRtpCapabilities, device] = await Promise.all([
        protoo.request('getRouterRtpCapabilities', {}),
        options.createDevice(),
      ]);
      await device.load({ routerRtpCapabilities });
      const make = (producing: boolean) =>
        protoo.request('createWebRtcTransport', {
          forceTcp: options.forceTcp,
          producing,
          consuming: !producing,
          sctpCapabilities,
        });
      const [sending, receiving] = await Promise.all([make(true), make(false)]);
      const local = (info: WebRtcTransportInfo) => ({
        ...info,
        ...(options.iceServers ? { iceServers: options.iceServers } : {}),
      });
      session = new Session(
        protoo,
        device,
        device.createSendTransport(local(sending)),
        device.createRecvTransport(local(receiving)),
        (lost) => handlers.closed(lost),
      );
      return session;
    } catch (error) {
      protoo.close();
      throw error;
    }
  }

  /** Whether it is over. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Enters the room; answers who else is there. */
  async join(displayName: string, device: DeviceInfo): Promise<PeerInfo[]> {
    const { peers } = await this.protoo.request('join', {
      displayName,
      device,
      rtpCapabilities: this.device.recvRtpCapabilities,
      sctpCapabilities,
    });
    return peers;
  }

  /** Restarts ICE on both transports, or on one. */
  async restartIce(only?: types.Transport): Promise<void> {
    const restart = async (transport: types.Transport) => {
      const iceParameters = await this.protoo.request('restartIce', { transportId: transport.id }, RESTART_TIMEOUT);
      await transport.restartIce({ iceParameters });
    };
    await Promise.all((only ? [only] : [this.send, this.recv]).map(restart));
  }

  /**
   * What comes of `making`, unless this session is over first: a browser that is changing a connection as that is closed
   * never says what became of it.
   */
  async during<T>(making: Promise<T>): Promise<T> {
    let fail: (over: ConnectionLost) => void = () => {};
    const over = new Promise<never>((_, reject) => (fail = reject));
    if (this.#closed) fail(new ConnectionLost(1000, ''));
    this.#awaited.add(fail);
    try {
      return await Promise.race([making, over]);
    } finally {
      this.#awaited.delete(fail);
    }
  }

  /** Closes the connection and both transports. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const fail of this.#awaited) fail(new ConnectionLost(1000, ''));
    for (const timer of this.#timers) clearTimeout(timer);
    this.protoo.close();
    this.send.close();
    this.recv.close();
  }

  #watch(transport: types.Transport): void {
    let restarts = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const disarm = () => {
      clearTimeout(timer);
      if (timer) this.#timers.delete(timer);
    };
    const arm = (milliseconds: number) => {
      disarm();
      this.#timers.add((timer = setTimeout(() => void restart(), milliseconds)));
    };
    const restart = async () => {
      if (this.#closed || this.protoo.closed) return;
      if (++restarts > MAX_RESTARTS) return this.#giveUp();
      arm(RESTART_TIMEOUT);
      try {
        await this.restartIce(transport);
      } catch {
        // The host no longer knows the transport, or nobody answers: nothing of this session is left to mend.
        this.#giveUp();
      }
    };
    transport.on('connectionstatechange', (state) => {
      if (state === 'connected') {
        restarts = 0;
        disarm();
      } else if (state === 'disconnected') {
        arm(DISCONNECTED_FOR);
      } else if (state === 'failed') {
        arm(0);
      }
    });
  }

  #giveUp(): void {
    if (this.#closed || this.protoo.closed) return;
    this.protoo.close(3000, 'no media path');
    this.#lost(new ConnectionLost(3000, 'the path for media broke'));
  }
}
