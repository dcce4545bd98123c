import type { types } from 'mediasoup-client';
import type { NewDataConsumer } from '../protocol.js';
import { Emitter } from './emitter.js';
import { ConnectionLost } from './errors.js';
import type { Session } from './session.js';

/** How messages are sent. */
export interface DataOptions {
  /** What the messages are about; others read it. */
  label: string;
  /** The application's own name for the form of the messages. */
  protocol?: string | undefined;
  /** Whether messages arrive in the order they were sent. Yes, unless one of the limits below is given. */
  ordered?: boolean | undefined;
  /** Gives up on a message after so many milliseconds. */
  maxPacketLifeTime?: number | undefined;
  /** Gives up on a message after sending it again so many times. */
  maxRetransmits?: number | undefined;
  /** Attached for others to read. */
  appData?: types.AppData | undefined;
}

/** What a data publication tells of itself. */
export interface DataPublicationEvents {
  /** Messages can be sent; told again after each reconnection. */
  open: [];
  /** It is over. */
  closed: [];
}

/** Messages of this client that others receive. Published again by itself after a reconnection. */
export class DataPublication extends Emitter<DataPublicationEvents> {
  /** What the messages are about. */
  readonly label: string;
  readonly #options: DataOptions;
  #producer: types.DataProducer | undefined;
  #session: Session | undefined;
  /** Where it will be sent after a move. */
  #next: { session: Session; producer: types.DataProducer | undefined } | undefined;
  #closed = false;

  /** Made by the SDK. */
  constructor(options: DataOptions) {
    super();
    this.#options = options;
    this.label = options.label;
  }

  /** Whether messages can be sent right now. */
  get open(): boolean {
    return this.#producer?.readyState === 'open';
  }
  /** Whether it is over. */
  get closed(): boolean {
    return this.#closed;
  }
  /** Bytes that wait to be sent. */
  get bufferedAmount(): number {
    return this.#producer?.bufferedAmount ?? 0;
  }
  /** The data producer's id in the mesh; undefined while not connected. */
  get dataProducerId(): string | undefined {
    return this.#producer?.id;
  }

  /** Sends a message; throws while there is no connection. */
  send(message: string | ArrayBuffer | ArrayBufferView): void {
    if (!this.#producer || !this.open) throw new ConnectionLost(1006, `the channel ${this.label} is not open`);
    this.#producer.send(message);
  }

  /** Sends a message as soon as there is a connection; fails when there is none within so many milliseconds. */
  async sendSoon(message: string | ArrayBuffer | ArrayBufferView, timeout = 15_000): Promise<void> {
    if (!this.open) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => done(new ConnectionLost(1006, 'not connected')), timeout);
        const done = (error?: Error) => {
          clearTimeout(timer);
          opened();
          closed();
          if (error) reject(error);
          else resolve();
        };
        const opened = this.on('open', () => done());
        const closed = this.on('closed', () => done(new ConnectionLost(1000, `the channel ${this.label} was closed`)));
      });
    }
    this.send(message);
  }

  /** Ends it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#producer?.close();
    this.#next?.producer?.close();
    this.emit('closed');
  }

  /** For the SDK: publishes it over this session; the one before is gone. */
  async attach(session: Session): Promise<void> {
    this.#session = session;
    this.#producer = this.#next = undefined;
    const producer = await this.#produce(session);
    // Closed, or reconnected, while it was being made.
    if (this.#closed || this.#session !== session) return producer.close();
    this.#use(producer);
  }

  /** For the SDK: gets ready to be sent over this session, while messages go over the one before. */
  async prepare(session: Session): Promise<void> {
    if (this.#closed || this.#session === session || this.#next?.session === session) return;
    const next: { session: Session; producer: types.DataProducer | undefined } = { session, producer: undefined };
    this.#next = next;
    const producer = await this.#produce(session);
    if (!this.#closed && this.#session === session && !this.#producer) return this.#use(producer);
    if (this.#closed || this.#next !== next) return producer.close();
    next.producer = producer;
  }

  /** For the SDK: whether messages can be sent over this session, as far as they could over the one before. */
  ready(session: Session): boolean {
    if (this.#closed || !this.open) return true;
    return this.#next?.session === session && this.#next.producer?.readyState === 'open';
  }

  /** For the SDK: sends messages over this session from now on. */
  switchTo(session: Session): void {
    if (this.#closed || this.#next?.session !== session) return;
    const { producer } = this.#next;
    this.#session = session;
    this.#producer = this.#next = undefined;
    if (producer) this.#use(producer);
  }

  /** For the SDK: this session has come to nothing, or may not send. */
  release(session: Session): void {
    if (this.#next?.session === session) this.#next = undefined;
    if (this.#session === session) this.#session = this.#producer = undefined;
  }

  #use(producer: types.DataProducer): void {
    this.#producer = producer;
    if (producer.readyState === 'open') this.emit('open');
    else producer.on('open', () => this.#producer === producer && this.emit('open'));
  }

  #produce(session: Session): Promise<types.DataProducer> {
    const { label, protocol = '', ordered, maxPacketLifeTime, maxRetransmits, appData = {} } = this.#options;
    return session.send.produceData({
      label,
      protocol,
      appData,
      ordered: ordered ?? (maxPacketLifeTime === undefined && maxRetransmits === undefined),
      ...(maxPacketLifeTime === undefined ? {} : { maxPacketLifeTime }),
      ...(maxRetransmits === undefined ? {} : { maxRetransmits }),
    });
  }
}

/** A message that another peer, or the node itself, sent over a data channel. */
export interface DataMessage {
  /** Who sent it; null for the node itself. */
  peerId: string | null;
  /** What it is about. */
  label: string;
  /** The application's own name for its form. */
  protocol: string;
  /** Text, or bytes. */
  data: string | ArrayBuffer;
  /** What the sender attached to the channel. */
  appData: types.AppData;
}

/** For the SDK: receives one data producer's messages. */
export async function consumeData(
  session: Session,
  info: NewDataConsumer,
  received: (message: DataMessage) => void,
): Promise<types.DataConsumer> {
  const { peerId, label, protocol, appData } = info;
  const consumer = await session.recv.consumeData({
    id: info.id,
    dataProducerId: info.dataProducerId,
    sctpStreamParameters: info.sctpStreamParameters,
    label,
    protocol,
    appData,
  });
  consumer.binaryType = 'arraybuffer';
  consumer.on('message', (data: string | ArrayBuffer) => received({ peerId, label, protocol, data, appData }));
  return consumer;
}
