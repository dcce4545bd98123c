import { useEffect, useRef, useState } from 'preact/hooks';
import { useEvents } from '../ui/hooks.js';
import { Icon, Mark } from '../ui/icons.js';
import type { LocalDevice, LocalMedia } from './local-media.js';
import { recall } from './memory.js';
import { roomId, type PageParams } from './params.js';
import { DeviceField } from './settings.js';
import { Avatar, Video } from './tile.js';

/** The form before the call: who, where, and what others will see and hear. */
export function Lobby({
  params,
  media,
  join,
}: {
  params: PageParams;
  media: LocalMedia;
  join: (name: string, room: string) => void;
}) {
  useEvents(media, 'changed');
  const [name, setName] = useState(params.name ?? recall('name'));
  const [room, setRoom] = useState(params.room || recall('room'));
  const nameInput = useRef<HTMLInputElement>(null);
  const joinButton = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    void media.open();
    // On a phone the focus would bring up the keyboard over half of the form.
    if (matchMedia('(hover: hover)').matches) (name ? joinButton : nameInput).current?.focus();
  }, []);
  const submit = (event: Event) => {
    event.preventDefault();
    const id = roomId(room);
    if (name.trim() && id) join(name.trim(), id);
  };
  const { camera, microphone } = media;
  return (
    <main class="lobby">
      <section class="lobby-preview" aria-label="Preview">
        <div class="preview">
          <Avatar name={name || '?'} id={name || 'nobody'} />
          {camera.track && <Video key={camera.track.id} track={camera.track} mirrored name="you" />}
          {!camera.track && (
            <p class="preview-note">{camera.opening ? 'Opening the camera …' : camera.on ? '' : 'The camera is off'}</p>
          )}
          <div class="preview-tools">
            <Toggle media={media} which="microphone" />
            <Toggle media={media} which="camera" />
          </div>
          {microphone.track && <Level track={microphone.track} />}
        </div>
        <Trouble media={media} />
        <div class="lobby-devices">
          <DeviceField media={media} kind="camera" choose={(id) => void media.choose('camera', id)} />
          <DeviceField media={media} kind="microphone" choose={(id) => void media.choose('microphone', id)} />
        </div>
      </section>
      <form class="lobby-form" onSubmit={submit}>
        <p class="brand">
          <Mark /> Skein
        </p>
        <h1>Join a room</h1>
        <p class="dim">Anyone who opens the same room meets you there.</p>
        <label class="field">
          Your name
          <input
            ref={nameInput}
            data-testid="join-name"
            value={name}
            required
            maxLength={60}
            autocomplete="name"
            placeholder="Ann"
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          Room
          <input
            data-testid="join-room"
            value={room}
            required
            maxLength={60}
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            placeholder="team-standup"
            onInput={(event) => setRoom(event.currentTarget.value)}
          />
        </label>
        <button
          ref={joinButton}
          type="submit"
          class="button primary"
          data-testid="join-button"
          disabled={!name.trim() || !roomId(room)}
        >
          Join
        </button>
        <p class="small-print dim">
          <a href="./console">Operator console</a>
        </p>
      </form>
    </main>
  );
}

function Toggle({ media, which }: { media: LocalMedia; which: 'camera' | 'microphone' }) {
  const device = media[which];
  const on = device.on && !device.error;
  const verb = on ? 'off' : 'on';
  const icon = which === 'camera' ? (on ? 'camera' : 'cameraOff') : on ? 'mic' : 'micOff';
  return (
    <button
      type="button"
      class={`round ${on ? '' : 'off'}`}
      aria-label={`Switch the ${which} ${verb}`}
      aria-pressed={on}
      data-testid={`preview-${which}`}
      onClick={() => void (device.error ? media.choose(which, device.deviceId) : media.toggle(which))}
    >
      {device.opening ? <span class="spinner" aria-hidden="true" /> : <Icon name={icon} />}
    </button>
  );
}

/** Says what is wrong with the devices, and that it keeps nobody out. */
function Trouble({ media }: { media: LocalMedia }) {
  const wrong = (device: LocalDevice) => device.on && device.error;
  const [camera, microphone] = [wrong(media.camera), wrong(media.microphone)];
  if (!camera && !microphone) return null;
  const what = camera && microphone ? 'camera and microphone' : camera ? 'the camera' : 'the microphone';
  const error = camera || microphone;
  const advice: Record<string, string> = {
    denied: 'Allow it in the address bar of the browser and press the button again, or',
    missing: 'Plug one in and press the button again, or',
    busy: 'Close the program that uses it and press the button again, or',
    insecure: 'Open this page over https, or',
  };
  return (
    <p class="note" role="alert" data-testid="media-error">
      <Icon name="warning" />
      <span>
        {error ? error.message : `No ${what}`}. {advice[error ? error.kind : ''] ?? 'Try again, or'} join all the same:
        you will see and hear the others.
      </span>
    </p>
  );
}

/** How loud the microphone is, so that one knows that it is the right one. */
function Level({ track }: { track: MediaStreamTrack }) {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let context: AudioContext;
    try {
      context = new AudioContext();
    } catch {
      return;
    }
    const analyser = context.createAnalyser();
    analyser.fftSize = 512;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      // -60 dB and below is silence, -10 dB a loud voice.
      const level = Math.min(1, Math.max(0, (10 * Math.log10(power + 1e-9) + 60) / 50));
      element.current?.style.setProperty('--level', level.toFixed(2));
    }, 80);
    return () => {
      clearInterval(timer);
      void context.close();
    };
  }, [track]);
  return (
    <div class="level" ref={element} role="img" aria-label="Microphone level">
      <span />
    </div>
  );
}
