import { Emitter, MediaError, mediaError, openCamera, openMicrophone } from '../sdk/index.js';
import { recall, remember } from './memory.js';

/** A camera or a microphone, as the join form knows it. */
export interface LocalDevice {
  /** Whether the user wants it on. */
  on: boolean;
  /** Whether it is being opened. */
  opening: boolean;
  /** Its track, while it is open. */
  track: MediaStreamTrack | undefined;
  /** Why it is not there. */
  error: MediaError | undefined;
  /** The device that the user chose; empty for the browser's choice. */
  deviceId: string;
}

/** One device of a list to choose from. */
export interface DeviceChoice {
  id: string;
  label: string;
}

/** The kinds of devices that can be chosen. */
export type DeviceKind = 'camera' | 'microphone' | 'speaker';

const listKinds: Record<MediaDeviceKind, DeviceKind> = {
  videoinput: 'camera',
  audioinput: 'microphone',
  audiooutput: 'speaker',
};

/** The camera and microphone of this machine: opened for the preview, then handed to the room. */
export class LocalMedia extends Emitter<{ changed: [] }> {
  readonly camera: LocalDevice;
  readonly microphone: LocalDevice;
  /** Where others are heard; empty for the system's choice. */
  speakerId = recall('speaker');
  choices: Record<DeviceKind, DeviceChoice[]> = { camera: [], microphone: [], speaker: [] };

  #opening: Promise<void> = Promise.resolve();

  constructor({ video, audio }: { video: boolean; audio: boolean }) {
    super();
    this.camera = { on: video, opening: false, track: undefined, error: undefined, deviceId: recall('camera') };
    this.microphone = { on: audio, opening: false, track: undefined, error: undefined, deviceId: recall('microphone') };
    navigator.mediaDevices?.addEventListener?.('devicechange', () => void this.list());
  }

  /** Opens what is wanted and not open yet. Both at once, so that the browser asks the user once. */
  open(): Promise<void> {
    // One after the other: whoever asks while something is being opened waits for it, and then finds it open.
    this.#opening = this.#opening.then(() => this.#openWanted());
    return this.#opening;
  }

  async #openWanted(): Promise<void> {
    const { camera, microphone } = this;
    if (camera.on && !camera.track && microphone.on && !microphone.track && !camera.deviceId && !microphone.deviceId) {
      if (await this.#openTogether()) return;
    }
    await Promise.all([this.#open(camera), this.#open(microphone)]);
  }

  /** Switches one on or off, before joining. */
  async toggle(which: 'camera' | 'microphone'): Promise<void> {
    const device = this[which];
    device.on = !device.on;
    device.error = undefined;
    if (!device.on) {
      device.track?.stop();
      device.track = undefined;
    }
    this.emit('changed');
    if (device.on) await this.open();
  }

  /** Takes another camera or microphone, before joining. */
  async choose(which: 'camera' | 'microphone', deviceId: string): Promise<void> {
    const device = this[which];
    device.deviceId = deviceId;
    remember(which, deviceId);
    device.track?.stop();
    device.track = undefined;
    device.on = true;
    this.emit('changed');
    await this.open();
  }

  /** Where others are heard. */
  chooseSpeaker(deviceId: string): void {
    this.speakerId = deviceId;
    remember('speaker', deviceId);
    this.emit('changed');
  }

  /** Hands over the track; from here on it is the room's. */
  take(which: 'camera' | 'microphone'): MediaStreamTrack | undefined {
    const { track } = this[which];
    this[which].track = undefined;
    return track?.readyState === 'live' ? track : undefined;
  }

  /** Closes everything. */
  close(): void {
    for (const device of [this.camera, this.microphone]) {
      device.track?.stop();
      device.track = undefined;
    }
  }

  /** Finds out what there is to choose from. Browsers tell names only after the user allowed a device. */
  async list(): Promise<void> {
    const found = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    const choices: Record<DeviceKind, DeviceChoice[]> = { camera: [], microphone: [], speaker: [] };
    for (const { kind, deviceId, label } of found) {
      const list = choices[listKinds[kind]];
      if (deviceId) list.push({ id: deviceId, label: label || `${listKinds[kind]} ${list.length + 1}` });
    }
    this.choices = choices;
    this.emit('changed');
  }

  async #openTogether(): Promise<boolean> {
    const { camera, microphone } = this;
    if (!navigator.mediaDevices) return false;
    camera.opening = microphone.opening = true;
    this.emit('changed');
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
        video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
      });
      camera.track = stream.getVideoTracks()[0];
      microphone.track = stream.getAudioTracks()[0];
      return true;
    } catch (error) {
      // Refused by the user: asking for each alone would only bother them again.
      const why = mediaError(error, 'camera and microphone');
      if (why.kind !== 'denied') return false;
      camera.error = microphone.error = why;
      return true;
    } finally {
      camera.opening = microphone.opening = false;
      void this.list();
    }
  }

  async #open(device: LocalDevice): Promise<void> {
    if (!device.on || device.track || device.opening) return;
    device.opening = true;
    this.emit('changed');
    try {
      const options = device.deviceId ? { deviceId: device.deviceId } : {};
      const open = () => (device === this.camera ? openCamera(options) : openMicrophone(options));
      let track: MediaStreamTrack;
      try {
        track = await open();
      } catch (error) {
        // The chosen one is unplugged: any other is better than none.
        if (!(error instanceof MediaError && error.kind === 'missing' && device.deviceId)) throw error;
        delete options.deviceId;
        track = await open();
      }
      if (device.on) {
        device.track = track;
        device.error = undefined;
      } else {
        track.stop();
      }
    } catch (error) {
      device.error = mediaError(error, device === this.camera ? 'the camera' : 'the microphone');
    } finally {
      device.opening = false;
      void this.list();
    }
  }
}
