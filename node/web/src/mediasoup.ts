// mediasoup-client 3.24 dropped the type `SctpCapabilities` (its devices no longer announce any), while a node still
// takes the field's presence as the wish for data channels, as every older client sends it. protocol.ts names the
// type, so it is put back where protocol.ts looks for it.
import type {} from 'mediasoup-client/types';

declare module 'mediasoup-client/types' {
  /** What a client can do with SCTP: how many streams out and in. */
  interface SctpCapabilities {
    /** The numbers of streams. */
    numStreams: { OS: number; MIS: number };
  }
}

/** What every browser can do; sent wherever data channels are wanted. */
export const sctpCapabilities = { numStreams: { OS: 1024, MIS: 1024 } };
