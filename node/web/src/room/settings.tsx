import { useEffect, useRef, useState } from 'preact/hooks';
import { Icon } from '../ui/icons.js';
import type { Call } from './call.js';
import type { DeviceKind, LocalMedia } from './local-media.js';

/** Camera, microphone, loudspeaker and name, while in a call. */
export function Settings({ call, close }: { call: Call; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [name, setName] = useState(call.room.displayName);
  useEffect(() => {
    dialog.current?.showModal();
    void call.media.list();
  }, []);
  const rename = () => {
    const wanted = name.trim();
    if (wanted && wanted !== call.room.displayName) void call.rename(wanted);
  };
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-label="Devices and name"
      onClose={close}
      // A click on the backdrop is a click on the dialog itself.
      onClick={(event) => event.target === event.currentTarget && event.currentTarget.close()}
    >
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          rename();
          dialog.current?.close();
        }}
      >
        <header>
          <h2>Devices and name</h2>
          <button type="button" class="icon-button" aria-label="Close" onClick={() => dialog.current?.close()}>
            <Icon name="close" />
          </button>
        </header>
        <DeviceField media={call.media} kind="camera" choose={(id) => void call.choose('camera', id)} />
        <DeviceField media={call.media} kind="microphone" choose={(id) => void call.choose('microphone', id)} />
        <DeviceField media={call.media} kind="speaker" choose={(id) => call.media.chooseSpeaker(id)} />
        <label class="field">
          Your name
          <input value={name} maxLength={60} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <button type="submit" class="button primary">
          Done
        </button>
      </form>
    </dialog>
  );
}

const titles: Record<DeviceKind, string> = { camera: 'Camera', microphone: 'Microphone', speaker: 'Loudspeaker' };

/** Chooses one device of a kind; nothing where there is nothing to choose. */
export function DeviceField({
  media,
  kind,
  choose,
}: {
  media: LocalMedia;
  kind: DeviceKind;
  choose: (deviceId: string) => void;
}) {
  const choices = media.choices[kind];
  const current = kind === 'speaker' ? media.speakerId : media[kind].deviceId;
  // Only some browsers let a page choose the loudspeaker, and those list them.
  if (choices.length === 0) return null;
  return (
    <label class="field">
      {titles[kind]}
      <select value={current} onChange={(event) => choose(event.currentTarget.value)} data-testid={`choose-${kind}`}>
        <option value="">Automatic</option>
        {choices
          .filter(({ id }) => id !== 'default' && id !== 'communications')
          .map(({ id, label }) => (
            <option key={id} value={id}>
              {label}
            </option>
          ))}
      </select>
    </label>
  );
}
