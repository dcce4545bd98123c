import { cameraEncoding, musicOptions, opusOptions, screenEncoding, type VideoCodec } from './codecs.js';
import { openCamera, openMicrophone, openScreen, type CameraOptions, type MicrophoneOptions } from './media.js';
import type { PublishOptions } from './publication.js';

/** How to publish a camera. */
export interface CameraPublishOptions extends CameraOptions {
  /** An open camera's track. It is the SDK's from now on. */
  track?: MediaStreamTrack | undefined;
  /** Several layers, so that everyone gets what they have room for; yes, unless false. */
  simulcast?: boolean | undefined;
  /** The codec; VP8 where it is not given. */
  codec?: VideoCodec | undefined;
}

/** How to publish a microphone. */
export interface MicrophonePublishOptions extends MicrophoneOptions {
  /** An open microphone's track. It is the SDK's from now on. */
  track?: MediaStreamTrack | undefined;
}

/** Opens a camera where no track is given. */
export async function captureCamera(options: CameraPublishOptions): Promise<PublishOptions> {
  const { track, simulcast, codec, ...camera } = options;
  return {
    track: track ?? (await openCamera(camera)),
    source: 'camera',
    codec: codec ?? 'vp8',
    encoding: (current) => cameraEncoding(current.getSettings?.() ?? {}, { codec, simulcast }),
    owned: true,
    reopen: () => openCamera(camera),
  };
}

/** Opens a microphone where no track is given. */
export async function captureMicrophone(options: MicrophonePublishOptions): Promise<PublishOptions> {
  const { track, ...microphone } = options;
  return {
    track: track ?? (await openMicrophone(microphone)),
    source: 'microphone',
    encoding: () => ({ encodings: [], codecOptions: microphone.raw ? musicOptions : opusOptions }),
    owned: true,
  };
}

/** Lets the user choose a screen. */
export async function captureScreen(
  codec: VideoCodec | undefined,
): Promise<{ picture: PublishOptions; sound: PublishOptions | undefined }> {
  const { video, audio } = await openScreen();
  // Text is to stay legible, rather than to move smoothly.
  video.contentHint = 'detail';
  return {
    picture: {
      track: video,
      source: 'screen',
      codec: codec ?? 'vp8',
      encoding: () => screenEncoding(codec),
      owned: true,
    },
    sound: audio && {
      track: audio,
      source: 'screenAudio',
      encoding: () => ({ encodings: [], codecOptions: musicOptions }),
      owned: true,
    },
  };
}
