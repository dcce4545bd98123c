import type { types } from 'mediasoup-client';

/** A video codec, by the short name of it. */
export type VideoCodec = 'vp8' | 'vp9' | 'h264' | 'av1';

/** How a picture is sent. */
export interface VideoEncoding {
  /** One for each simulcast layer, the smallest first; a single one where there are none. */
  encodings: types.RtpEncodingParameters[];
  /** What to tell the encoder besides. */
  codecOptions: types.ProducerCodecOptions;
}

/** How a microphone is sent: silence costs next to nothing, and a lost packet is made up for by the next one. */
export const opusOptions: types.ProducerCodecOptions = { opusDtx: true, opusFec: true, opusNack: true };

/** How sound that is not speech is sent. */
export const musicOptions: types.ProducerCodecOptions = { opusStereo: true, opusFec: true, opusNack: true };

/** What a picture of so many pixels may cost, in bits per second, at 30 pictures a second in VP8. */
function fullBitrate(pixels: number): number {
  if (pixels >= 1920 * 1080) return 2_800_000;
  if (pixels >= 1280 * 720) return 1_500_000;
  if (pixels >= 960 * 540) return 1_100_000;
  if (pixels >= 640 * 360) return 700_000;
  return 350_000;
}

/**
 * How to send a camera's picture of this size.
 *
 * VP9 and AV1 are layered inside one stream (SVC). VP8 and H264 are sent as simulcast: three layers, or fewer where
 * the picture is small, because Chromium leaves out the upper layers below 960x540 and would then send nothing large.
 */
export function cameraEncoding(
  { width = 1280, height = 720 }: { width?: number | undefined; height?: number | undefined },
  { codec = 'vp8', simulcast = true }: { codec?: VideoCodec | undefined; simulcast?: boolean | undefined } = {},
): VideoEncoding {
  const pixels = width * height;
  const maxBitrate = fullBitrate(pixels);
  const codecOptions = { videoGoogleStartBitrate: 1000 };
  if (codec === 'vp9' || codec === 'av1') {
    // A layered stream costs less than the sum of simulcast's layers.
    return { encodings: [{ scalabilityMode: simulcast ? 'L3T3_KEY' : 'L1T3', maxBitrate }], codecOptions };
  }
  // Not every encoder of H264 has temporal layers.
  const scalabilityMode = codec === 'h264' ? 'L1T1' : 'L1T3';
  const layers = !simulcast ? 1 : pixels >= 960 * 540 ? 3 : pixels >= 480 * 270 ? 2 : 1;
  const encodings = Array.from({ length: layers }, (_, layer) => {
    const scaleResolutionDownBy = 2 ** (layers - 1 - layer);
    // A layer of a quarter of the pixels needs a little more than a quarter of the bits to look as good.
    const share = Math.round(maxBitrate / 3 ** (layers - 1 - layer) / 1000) * 1000;
    return { scaleResolutionDownBy, maxBitrate: share, scalabilityMode };
  });
  return { encodings, codecOptions };
}

/** How to send a screen: one stream, sharp rather than fast, whose pictures per second can still be thinned out. */
export function screenEncoding(codec: VideoCodec = 'vp8'): VideoEncoding {
  const scalabilityMode = codec === 'h264' ? 'L1T1' : codec === 'vp8' ? 'L1T2' : 'L1T3';
  return {
    encodings: [{ scalabilityMode, maxBitrate: 2_500_000 }],
    codecOptions: { videoGoogleStartBitrate: 1000 },
  };
}

/** The router's entry for a codec; undefined where it does not have it, and then the router's first one is used. */
export function findCodec(router: types.RtpCapabilities, codec: VideoCodec): types.RtpCodecCapability | undefined {
  return router.codecs?.find(({ mimeType }) => mimeType.toLowerCase() === `video/${codec}`);
}
