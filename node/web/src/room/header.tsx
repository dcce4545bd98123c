import { useEffect, useRef, useState } from 'preact/hooks';
import type { RoomSettings, RoomState, Waiting } from '../sdk/index.js';
import { bitrate, count, roughly } from '../ui/format.js';
import { Icon, Mark } from '../ui/icons.js';
import type { Call } from './call.js';
import { shareLink } from './params.js';
import { Popover } from './popover.js';

const stateText: Record<RoomState, string> = {
  idle: 'Starting',
  connecting: 'Connecting',
  connected: 'Connected',
  reconnecting: 'Reconnecting',
  closed: 'Closed',
};

/** The line at the top: which room, how the connection is, and what concerns all of it. */
export function Header({ call }: { call: Call }) {
  const { room } = call;
  const people = room.peers.size + 1;
  return (
    <header class="bar-top">
      <Mark />
      <h1 title={room.id}>{room.id}</h1>
      <span class={`state state-${room.state}`} role="status" data-testid="state" data-state={room.state}>
        <span class="state-dot" aria-hidden="true" />
        <span class="state-text">{room.waiting ? 'Waiting' : stateText[room.state]}</span>
      </span>
      <span class="spacer" />
      <span class="dim people-count" title={count(people, 'participant')}>
        <Icon name="people" />
        {people}
      </span>
      <button
        type="button"
        class="icon-button"
        aria-label="Whoever speaks gets the big place"
        title="Whoever speaks gets the big place"
        aria-pressed={call.spotlight}
        data-testid="layout"
        onClick={() => call.toggleSpotlight()}
      >
        <Icon name={call.spotlight ? 'grid' : 'spotlight'} />
      </button>
      <Popover icon="info" label="Connection" testid="info">
        {() => <Connection call={call} />}
      </Popover>
      <button
        type="button"
        class="icon-button"
        aria-label="Copy the link to this room"
        title="Copy the link to this room"
        data-testid="copy-link"
        onClick={() => void copyLink(call)}
      >
        <Icon name="link" />
      </button>
    </header>
  );
}

/** Which nodes hold this client, and what the network carries. */
function Connection({ call }: { call: Call }) {
  const { room, details, bandwidth } = call;
  const { placement, role, settings } = room;
  const same = placement && placement.entry === placement.host;
  return (
    <>
      <h2>Connection</h2>
      <dl class="facts">
        <Fact term="State">{room.waiting ? 'Waiting' : stateText[room.state]}</Fact>
        {placement && <Fact term={same ? 'Entry and host' : 'Entry'}>{placement.entry}</Fact>}
        {placement && !same && <Fact term="Host">{placement.host}</Fact>}
        {details.endpoint && <Fact term="Dialled">{details.endpoint}</Fact>}
        {role && <Fact term="You may">{role}</Fact>}
        {settings && <Fact term="Room">{settingsText(settings)}</Fact>}
        <Fact term="Known nodes">{String(room.endpoints.length)}</Fact>
        {bandwidth && <Fact term="Downlink">{bitrate(bandwidth.available)}</Fact>}
        {bandwidth && <Fact term="Wanted">{bitrate(bandwidth.desired)}</Fact>}
        <Fact term="Peer id">{room.peerId}</Fact>
        {placement && <Fact term="Session">{placement.session}</Fact>}
      </dl>
      <p class="dim small-print">
        The entry holds your WebSocket, the host your media. Losing the entry makes this page dial another node.
      </p>
    </>
  );
}

/** What a room is like, in a few words. */
function settingsText({ mode, size, guaranteed, lastN }: RoomSettings): string {
  const words: string[] = [mode];
  if (size) words.push(`up to ${size}${guaranteed ? ', guaranteed' : ''}`);
  if (lastN) words.push(`video of the last ${lastN}`);
  return words.join(', ');
}

function Fact({ term, children }: { term: string; children: string }) {
  return (
    <div>
      <dt>{term}</dt>
      <dd class="mono">{children}</dd>
    </div>
  );
}

/** Puts the room's link on the clipboard. */
export async function copyLink(call: Call): Promise<void> {
  // Others come to a stage as its audience, and are invited from there.
  const link = shareLink(location.href, call.room.id, call.staged);
  try {
    await navigator.clipboard.writeText(link);
    call.toast('The link is on the clipboard');
  } catch {
    // No clipboard without https, or the browser refuses: then the user copies by hand.
    window.prompt('The link to this room', link);
  }
}

/** What is to be seen while the room does not stand. */
export function ConnectionBanner({ call }: { call: Call }) {
  const { room, details } = call;
  if (room.state !== 'reconnecting' && room.state !== 'connecting') return null;
  if (room.waiting) return <WaitingCard call={call} waiting={room.waiting} />;
  const first = room.state === 'connecting';
  const attempt = details.attempt ?? 0;
  // The first attempt of a join is over before anyone has read anything about it.
  if (first && attempt <= 1) {
    return (
      <div class="banner" role="status">
        <span class="spinner" aria-hidden="true" />
        <p>Joining {room.id} …</p>
      </div>
    );
  }
  return (
    <div class="banner warn" role="status">
      <span class="spinner" aria-hidden="true" />
      <p>
        {first ? 'No place yet' : 'The connection was lost'}
        {attempt > 1 && ` · attempt ${attempt}`}
        {details.reason && <span class="banner-reason">{details.reason}</span>}
      </p>
      <button type="button" class="button compact" onClick={() => room.retryNow()}>
        Try now
      </button>
    </div>
  );
}

/** Told to whoever waits for a machine: that one is on its way, for about how long, and that there is nothing to do. */
function WaitingCard({ call, waiting }: { call: Call; waiting: Waiting }) {
  const { etaSeconds } = waiting;
  const bar = useRef<HTMLSpanElement>(null);
  const began = useRef(Date.now());
  const [expected, setExpected] = useState<number>();
  const [now, setNow] = useState(Date.now());
  useEffect(() => setExpected(etaSeconds === null ? undefined : Date.now() + etaSeconds * 1000), [waiting]);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const left = expected === undefined ? undefined : Math.max(0, (expected - now) / 1000);
  const all = expected === undefined ? 0 : expected - began.current;
  // It never looks done before it is.
  const share = all > 0 ? Math.min(0.95, (now - began.current) / all) : 0;
  useEffect(() => bar.current?.style.setProperty('--share', share.toFixed(3)), [share]);
  return (
    <section class="waiting" role="status" aria-live="polite" data-testid="waiting" data-eta={etaSeconds ?? ''}>
      <Mark />
      <h2>A place is being made for you</h2>
      <p class="dim">
        Every machine is busy right now, so another one is being started. You come in by yourself as soon as it is there.
      </p>
      <div class={`waiting-bar ${left === undefined || left <= 0 ? 'unknown' : ''}`} aria-hidden="true">
        <span ref={bar} />
      </div>
      <p class="waiting-eta">{left === undefined || left <= 0 ? 'In a moment …' : `In ${roughly(left)}`}</p>
      <button type="button" class="button compact" data-testid="waiting-leave" onClick={() => call.leave()}>
        Do not wait
      </button>
    </section>
  );
}
