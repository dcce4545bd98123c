import { useEffect, useRef } from 'preact/hooks';
import type { Subscription } from '../sdk/index.js';
import { Icon } from '../ui/icons.js';
import type { Call } from './call.js';

/** Plays what others say. One element for each voice, so that a reused track never cuts off another. */
export function Sound({ call }: { call: Call }) {
  const voices = [...call.room.peers.values()].flatMap((peer) =>
    peer.subscriptions.filter(({ kind }) => kind === 'audio'),
  );
  return (
    <>
      <div hidden>
        {voices.map((voice) => (
          <Voice key={keyOf(voice)} call={call} voice={voice} />
        ))}
      </div>
      {call.soundBlocked && voices.length > 0 && (
        <button type="button" class="button primary unblock" data-testid="unblock-sound" onClick={() => unblock(call)}>
          <Icon name="speaker" />
          Click to hear the others
        </button>
      )}
    </>
  );
}

const keys = new WeakMap<Subscription, number>();
let nextKey = 1;

/** The same for as long as it is the same voice: in a move it gets another consumer, and its id changes. */
function keyOf(voice: Subscription): number {
  let key = keys.get(voice);
  if (key === undefined) keys.set(voice, (key = nextKey++));
  return key;
}

function Voice({ call, voice }: { call: Call; voice: Subscription }) {
  const element = useRef<HTMLAudioElement>(null);
  useEffect(() => {
    const audio = element.current;
    if (!audio) return;
    audio.srcObject = new MediaStream([voice.track]);
    audio.play().catch((error: unknown) => {
      // Browsers play nothing on a page that the user has not touched yet.
      if (!(error instanceof DOMException && error.name === 'NotAllowedError')) return;
      call.soundBlocked = true;
      call.changed();
    });
    return () => {
      audio.srcObject = null;
    };
  }, [voice]);
  useEffect(() => {
    // After a move. Within the same stream the element goes on playing.
    const stream = element.current?.srcObject;
    if (!(stream instanceof MediaStream) || stream.getTracks().includes(voice.track)) return;
    const before = stream.getTracks();
    stream.addTrack(voice.track);
    for (const track of before) stream.removeTrack(track);
  }, [voice.track]);
  useEffect(() => {
    const audio = element.current as (HTMLAudioElement & { setSinkId?(id: string): Promise<void> }) | null;
    // A loudspeaker that is gone leaves the system's choice.
    audio?.setSinkId?.(call.media.speakerId).catch(() => {});
  }, [voice, call.media.speakerId]);
  return <audio ref={element} autoplay data-testid="tile-audio" data-peer={voice.peer.id} data-source={voice.source} />;
}

function unblock(call: Call): void {
  call.soundBlocked = false;
  call.changed();
  for (const audio of document.querySelectorAll('audio')) void audio.play().catch(() => {});
}
