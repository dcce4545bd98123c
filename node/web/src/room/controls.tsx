import type { ComponentChildren } from 'preact';
import { Icon, type IconName } from '../ui/icons.js';
import type { Call } from './call.js';

const canShare = typeof navigator.mediaDevices?.getDisplayMedia === 'function';

/** The bar at the bottom. */
export function Controls({ call, openSettings }: { call: Call; openSettings: () => void }) {
  const { panel, unread } = call;
  return (
    <nav class="controls" aria-label="Call">
      {call.listens ? (
        <p class="control-note" data-testid="listening">
          <Icon name="speaker" />
          Listening
        </p>
      ) : (
        <Devices call={call} />
      )}
      <Control
        testid="chat-toggle"
        icon="chat"
        label={unread ? `Chat, ${unread} unread` : 'Chat'}
        text="Chat"
        shortcut="c"
        active={panel === 'chat'}
        onClick={() => call.togglePanel('chat')}
      >
        {unread > 0 && (
          <span class="badge" data-testid="chat-unread">
            {unread > 99 ? '99+' : unread}
          </span>
        )}
      </Control>
      <Control
        testid="people-toggle"
        icon="people"
        label="Participants"
        text="People"
        shortcut="p"
        active={panel === 'people'}
        onClick={() => call.togglePanel('people')}
      />
      <Control testid="settings" icon="settings" label="Devices and name" text="Devices" onClick={openSettings} />
      <Control testid="leave" icon="leave" label="Leave the room" text="Leave" leave onClick={() => call.leave()} />
    </nav>
  );
}

/** What only those have who may publish. */
function Devices({ call }: { call: Call }) {
  const microphone = call.isOn('microphone');
  const camera = call.isOn('camera');
  const screen = call.isOn('screen');
  const { busy } = call;
  return (
    <>
      <Control
        testid="mute"
        icon={microphone ? 'mic' : 'micOff'}
        label={microphone ? 'Mute the microphone' : 'Unmute the microphone'}
        text={microphone ? 'Mute' : 'Unmute'}
        shortcut="m"
        off={!microphone}
        trouble={call.media.microphone.error !== undefined && !microphone}
        disabled={busy.has('microphone')}
        onClick={() => void call.toggle('microphone')}
      />
      <Control
        testid="camera"
        icon={camera ? 'camera' : 'cameraOff'}
        label={camera ? 'Switch the camera off' : 'Switch the camera on'}
        text="Camera"
        shortcut="v"
        off={!camera}
        trouble={call.media.camera.error !== undefined && !camera}
        disabled={busy.has('camera')}
        onClick={() => void call.toggle('camera')}
      />
      {canShare && (
        <Control
          testid="screen"
          icon={screen ? 'screenOff' : 'screen'}
          label={screen ? 'Stop sharing the screen' : 'Share the screen'}
          text="Share"
          active={screen}
          disabled={busy.has('screen')}
          onClick={() => void call.toggle('screen')}
        />
      )}
    </>
  );
}

function Control({
  testid,
  icon,
  label,
  text,
  shortcut,
  off = false,
  active,
  trouble = false,
  leave = false,
  disabled = false,
  onClick,
  children,
}: {
  testid: string;
  icon: IconName;
  label: string;
  text: string;
  shortcut?: string;
  off?: boolean;
  active?: boolean;
  trouble?: boolean;
  leave?: boolean;
  disabled?: boolean;
  onClick: () => void;
  children?: ComponentChildren;
}) {
  const classes = ['control', off ? 'off' : '', active ? 'active' : '', leave ? 'leave' : ''];
  return (
    <button
      type="button"
      class={classes.filter(Boolean).join(' ')}
      data-testid={testid}
      aria-label={label}
      aria-pressed={active}
      aria-keyshortcuts={shortcut}
      title={shortcut ? `${label} (${shortcut})` : label}
      disabled={disabled}
      onClick={onClick}
    >
      <span class="control-icon">
        <Icon name={icon} />
        {trouble && (
          <span class="trouble" role="img" aria-label="not available">
            !
          </span>
        )}
        {children}
      </span>
      <span class="control-text" aria-hidden="true">
        {text}
      </span>
    </button>
  );
}
