// mediasoup-client 3.24 announces no SCTP capabilities any more, while a node takes the field's presence as the wish for
// data channels, as every older client sends it.
import type { SctpCapabilities } from './protocol.js';

/** What every browser can do; sent wherever data channels are wanted. */
export const sctpCapabilities: SctpCapabilities = { numStreams: { OS: 1024, MIS: 1024 } };
