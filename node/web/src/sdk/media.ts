import { MediaError } from './errors.js';

/** Which camera, and how large a picture to ask it for. */
export interface CameraOptions {
  /** A device id of `enumerateDevices()`; the browser's choice where it is not given. */
  deviceId?: string | undefined;
  /** Wished-for width; 1280 where it is not given. */
  width?: number | undefined;
  /** Wished-for height; follows from the width, at 16:9, where it is not given. */
  height?: number | undefined;
  /** Wished-for pictures per second; 30 where it is not given. */
  frameRate?: number | undefined;
  /** On a phone, which of its cameras. */
  facingMode?: 'user' | 'environment' | undefined;
}

/** Which microphone. */
export interface MicrophoneOptions {
  /** A device id of `enumerateDevices()`; the browser's choice where it is not given. */
  deviceId?: string | undefined;
  /** Whether to leave out echo cancellation, noise suppression and gain control, as for music. */
  raw?: boolean | undefined;
}

function devices(): MediaDevices {
  const found = globalThis.navigator?.mediaDevices;
  if (found) return found;
  if (globalThis.isSecureContext === false) {
    throw new MediaError('insecure', 'Browsers give camera and microphone only to pages served over https');
  }
  throw new MediaError('unsupported', 'This browser has no camera or microphone to give');
}

/** Says in our words why the browser did not give a device. `what` is named to the user, as in "the camera". */
export function mediaError(error: unknown, what: string): MediaError {
  if (error instanceof MediaError) return error;
  const name = error instanceof Error ? error.name : '';
  const because = { cause: error };
  const What = what.charAt(0).toUpperCase() + what.slice(1);
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return new MediaError('denied', `The browser was not allowed to use ${what}`, because);
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new MediaError('missing', `${What} was not found`, because);
    case 'NotReadableError':
    case 'AbortError':
      return new MediaError('busy', `${What} is in use by another program, or does not work`, because);
    default:
      return new MediaError('failed', `${What} could not be opened: ${name || String(error)}`, because);
  }
}

async function first(kind: 'audio' | 'video', what: string, constraints: MediaTrackConstraints): Promise<MediaStreamTrack> {
  try {
    const stream = await devices().getUserMedia({ [kind]: constraints });
    const track = stream.getTracks()[0];
    if (!track) throw new MediaError('missing', `There is no track of ${what}`);
    return track;
  } catch (error) {
    throw mediaError(error, what);
  }
}

/** Opens a camera. */
export function openCamera(options: CameraOptions = {}): Promise<MediaStreamTrack> {
  const { deviceId, width = 1280, height = Math.round((width * 9) / 16), frameRate = 30, facingMode } = options;
  return first('video', 'the camera', {
    ...(deviceId ? { deviceId: { exact: deviceId } } : facingMode ? { facingMode } : {}),
    width: { ideal: width },
    height: { ideal: height },
    frameRate: { ideal: frameRate },
  });
}

/** Opens a microphone. */
export function openMicrophone({ deviceId, raw = false }: MicrophoneOptions = {}): Promise<MediaStreamTrack> {
  return first('audio', 'the microphone', {
    ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
    echoCancellation: !raw,
    noiseSuppression: !raw,
    autoGainControl: !raw,
  });
}

/** Lets the user choose a screen, window or tab; its sound comes along where the browser and the user give it. */
export async function openScreen(): Promise<{ video: MediaStreamTrack; audio: MediaStreamTrack | undefined }> {
  try {
    const media = devices();
    if (!media.getDisplayMedia) throw new MediaError('unsupported', 'This browser cannot share a screen');
    const stream = await media.getDisplayMedia({ video: { frameRate: { ideal: 15, max: 30 } }, audio: true });
    const video = stream.getVideoTracks()[0];
    if (!video) throw new MediaError('missing', 'There is no picture of the screen');
    return { video, audio: stream.getAudioTracks()[0] };
  } catch (error) {
    throw mediaError(error, 'the screen');
  }
}
