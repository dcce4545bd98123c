/** What is measured on one track, in numbers that people ask for. Rates need two measurements. */
export interface TrackStats {
  /** When, in milliseconds. */
  at: number;
  /** Bytes so far, all layers together. */
  bytes: number;
  /** Packets so far. */
  packets: number;
  /** Packets that were lost on the way, so far. */
  lost: number;
  /** Bits per second since the earlier measurement. */
  bitrate: number | undefined;
  /** Share of packets lost since the earlier measurement, 0 to 1. */
  loss: number | undefined;
  /** Pictures per second. */
  fps: number | undefined;
  /** Width of the (largest) picture. */
  width: number | undefined;
  /** Height of the (largest) picture. */
  height: number | undefined;
  /** Variation of delay, in milliseconds. */
  jitter: number | undefined;
  /** Round-trip time, in milliseconds. */
  rtt: number | undefined;
  /** Codec, such as `VP8`. */
  codec: string | undefined;
  /** How many layers are being sent, of a simulcast publication. */
  layers: number | undefined;
}

type Entry = Record<string, unknown> & { id: string; type: string };

const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
const sum = (values: (number | undefined)[]): number => values.reduce<number>((all, one) => all + (one ?? 0), 0);
const largest = (values: (number | undefined)[]): number | undefined => {
  const known = values.filter((value) => value !== undefined);
  return known.length ? Math.max(...known) : undefined;
};
const milliseconds = (seconds: number | undefined) => (seconds === undefined ? undefined : seconds * 1000);

/**
 * Boils a browser's report on a sender or receiver down to one line.
 *
 * @param earlier the summary before, for the rates
 */
export function summarize(report: Iterable<[string, unknown]>, earlier?: TrackStats): TrackStats {
  const entries = new Map([...report] as [string, Entry][]);
  const all = [...entries.values()];
  const of = (type: string) => all.filter((entry) => entry.type === type);
  const inbound = of('inbound-rtp');
  const sending = inbound.length === 0;
  const streams = sending ? of('outbound-rtp') : inbound;
  const remote = of('remote-inbound-rtp');
  const at = largest(streams.map((stream) => number(stream['timestamp']))) ?? Date.now();
  const bytes = sum(streams.map((stream) => number(stream[sending ? 'bytesSent' : 'bytesReceived'])));
  const packets = sum(streams.map((stream) => number(stream[sending ? 'packetsSent' : 'packetsReceived'])));
  const lost = sum((sending ? remote : inbound).map((stream) => number(stream['packetsLost'])));
  const codec = entries.get(String(streams[0]?.['codecId']))?.['mimeType'];
  const pair = of('candidate-pair').find((entry) => entry['nominated'] === true && entry['state'] === 'succeeded');
  const seconds = earlier ? (at - earlier.at) / 1000 : 0;
  const since = earlier ? packets - earlier.packets + (lost - earlier.lost) : 0;
  return {
    at,
    bytes,
    packets,
    lost,
    bitrate: earlier && seconds > 0 ? Math.max(0, ((bytes - earlier.bytes) * 8) / seconds) : undefined,
    loss: earlier && since > 0 ? Math.min(1, Math.max(0, (lost - earlier.lost) / since)) : undefined,
    fps: largest(streams.map((stream) => number(stream['framesPerSecond']))),
    width: largest(streams.map((stream) => number(stream['frameWidth']))),
    height: largest(streams.map((stream) => number(stream['frameHeight']))),
    jitter: milliseconds(largest((sending ? remote : inbound).map((stream) => number(stream['jitter'])))),
    rtt: milliseconds(
      largest(remote.map((stream) => number(stream['roundTripTime']))) ?? number(pair?.['currentRoundTripTime']),
    ),
    codec: typeof codec === 'string' ? codec.split('/')[1] : undefined,
    layers: sending ? streams.filter((stream) => (number(stream['framesPerSecond']) ?? 0) > 0).length : undefined,
  };
}
