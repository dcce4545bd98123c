import { useEffect, useMemo, useState } from 'preact/hooks';
import { Room, RoomClosed, type RoomOptions } from '../sdk/index.js';
import { useEvents, useWindowEvent } from '../ui/hooks.js';
import { Icon, Mark } from '../ui/icons.js';
import { Call } from './call.js';
import { Chat } from './chat.js';
import { Controls } from './controls.js';
import { ConnectionBanner, Header } from './header.js';
import { Lobby } from './lobby.js';
import { LocalMedia } from './local-media.js';
import { remember } from './memory.js';
import type { PageParams } from './params.js';
import { People } from './people.js';
import { explain, unreachable } from './reasons.js';
import { Settings } from './settings.js';
import { Sound } from './sound.js';
import { Stage } from './stage.js';
import { Toasts } from './toasts.js';

declare global {
  interface Window {
    /** For browser tests, and for a look from the browser's console. */
    skein?: { room: Room; call: Call };
  }
}

/** How the page makes rooms; other than the SDK's own only in tests. */
export type MakeRoom = (options: RoomOptions) => Room;

/** The page: the form, then the call, then how it ended. */
export function App({ params, makeRoom }: { params: PageParams; makeRoom: MakeRoom }) {
  const [call, setCall] = useState<Call>();
  const [ended, setEnded] = useState<{ reason: string; answers: boolean }>();
  const [round, setRound] = useState(0);
  // Whoever comes to listen is not asked for devices.
  const listens = params.wishes.role === 'listen';
  const media = useMemo(
    () => new LocalMedia({ video: params.video && !listens, audio: params.audio && !listens }),
    [round],
  );
  const join = (name: string, room: string) => {
    const made = new Call(
      makeRoom({
        ...params.wishes,
        endpoints: params.endpoints,
        room,
        peer: params.peer,
        displayName: name,
        token: params.token,
      }),
      media,
      params,
    );
    window.skein = { room: made.room, call: made };
    remember('name', name);
    remember('room', room);
    showRoom(room);
    setEnded(undefined);
    setCall(made);
    made.room.on('state', (state, { reason }) => {
      if (state !== 'closed') return;
      made.leave();
      document.title = 'Skein';
      const show = (answers: boolean) => {
        setCall(undefined);
        setEnded({ reason: reason ?? '', answers });
      };
      if (unreachable(reason ?? '')) void nodeAnswers().then(show);
      else show(false);
    });
    // How it failed is told by the state.
    made.start().catch((error: unknown) => {
      if (!(error instanceof RoomClosed)) throw error;
    });
    document.title = `${room} – Skein`;
  };
  useEffect(() => {
    if (params.room && params.name) join(params.name, params.room);
  }, []);
  const again = () => {
    setEnded(undefined);
    setRound(round + 1);
  };
  if (call) return <CallView key={call.room.peerId} call={call} />;
  if (ended !== undefined) return <Ended {...ended} again={again} />;
  return <Lobby key={round} params={params} media={media} join={join} />;
}

/** The address bar names the room, so that reloading and copying it lead there. */
function showRoom(room: string): void {
  const url = new URL(location.href);
  if (url.searchParams.get('room') === room) return;
  url.searchParams.set('room', room);
  history.replaceState(null, '', url);
}

function CallView({ call }: { call: Call }) {
  const [settings, setSettings] = useState(false);
  useEvents(call, 'changed');
  useWindowEvent('keydown', (event) => {
    const target = event.target as HTMLElement;
    const typing = target.isContentEditable || /^(input|textarea|select)$/i.test(target.tagName);
    if (event.key === 'Escape' && call.panel && !settings) return call.togglePanel(call.panel);
    if (typing || settings || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const actions: Record<string, () => void> = {
      m: () => void call.toggle('microphone'),
      v: () => void call.toggle('camera'),
      c: () => call.togglePanel('chat'),
      p: () => call.togglePanel('people'),
    };
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    // Or the letter would be the first one in the chat's line.
    event.preventDefault();
    action();
  });
  // Closing the tab leaves the room at once, instead of as a picture that stands still until the node notices.
  useWindowEvent('pagehide', (event) => {
    if (!event.persisted) call.leave();
  });
  return (
    <div class={`call ${call.panel ? 'with-panel' : ''}`}>
      <Header call={call} />
      <main class="call-main" aria-label="Participants">
        <Stage call={call} />
        <ConnectionBanner call={call} />
        <Sound call={call} />
        <Toasts call={call} />
      </main>
      {call.panel === 'chat' && <Chat call={call} />}
      {call.panel === 'people' && <People call={call} />}
      <Controls call={call} openSettings={() => setSettings(true)} />
      {settings && <Settings call={call} close={() => setSettings(false)} />}
    </div>
  );
}

/** Whether the node that served the page is there: then it was not the network that kept the WebSocket away. */
async function nodeAnswers(): Promise<boolean> {
  try {
    return (await fetch('/healthz', { cache: 'no-store', signal: AbortSignal.timeout(3000) })).ok;
  } catch {
    return false;
  }
}

function Ended({ reason, answers, again }: { reason: string; answers: boolean; again: () => void }) {
  const { title, text, again: offer } = explain(reason, answers);
  return (
    <main class="ended" data-testid="ended" data-reason={reason}>
      <Mark />
      <h1>{title}</h1>
      <p class="dim">{text}</p>
      <button type="button" class={`button ${offer ? 'primary' : ''}`} data-testid="again" onClick={again}>
        <Icon name="refresh" />
        {offer ? 'Back to the form' : 'Join another room'}
      </button>
    </main>
  );
}
