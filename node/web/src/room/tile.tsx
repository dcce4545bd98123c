import { useEffect, useRef, useState } from 'preact/hooks';
import { Subscription, type Publication } from '../sdk/index.js';
import { hue, initials } from '../ui/format.js';
import { useEvents } from '../ui/hooks.js';
import { Icon } from '../ui/icons.js';
import type { Call, Tile } from './call.js';
import type { Rect } from './layout.js';
import { bars, barsText, layersFor } from './quality.js';

/** Sets an element's style from the script: a strict content security policy forbids style attributes in HTML. */
export function place(element: HTMLElement | null, { x, y, width, height }: Rect): void {
  if (!element) return;
  element.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  element.style.width = `${Math.round(width)}px`;
  element.style.height = `${Math.round(height)}px`;
}

/**
 * A moving picture of a track; nothing until its first picture is there. When the track is replaced by another one, as
 * in a move, the old one is shown until the new one has a picture: no gap, and nothing black.
 */
export function Video({ track, ...look }: { track: MediaStreamTrack; mirrored: boolean; name: string }) {
  const [shown, setShown] = useState(track);
  // The old one lies on top of the other one, until that has something to show.
  const tracks = shown === track ? [track] : [shown, track];
  return (
    <>
      {tracks.map((one) => (
        <Frames
          key={one.id}
          {...look}
          track={one}
          leaving={one !== track}
          follows={one !== shown}
          onFrame={() => one === track && setShown(one)}
        />
      ))}
    </>
  );
}

function Frames({
  track,
  mirrored,
  name,
  leaving,
  follows,
  onFrame,
}: {
  track: MediaStreamTrack;
  mirrored: boolean;
  name: string;
  /** Whether another one takes its place. */
  leaving: boolean;
  /** Whether it takes another one's place; then there is nothing to fade in. */
  follows: boolean;
  onFrame: () => void;
}) {
  const element = useRef<HTMLVideoElement>(null);
  const [ready, setReady] = useState(follows);
  const framed = useRef(onFrame);
  framed.current = onFrame;
  useEffect(() => {
    const video = element.current;
    if (!video) return;
    let over = false;
    const show = () => {
      if (over) return;
      setReady(true);
      framed.current();
    };
    video.srcObject = new MediaStream([track]);
    if (typeof video.requestVideoFrameCallback === 'function') video.requestVideoFrameCallback(show);
    else (video as HTMLVideoElement).addEventListener('loadeddata', show, { once: true });
    // Muted, so no browser refuses; it fails only when the track is replaced meanwhile.
    video.play().catch(() => {});
    return () => {
      over = true;
      video.srcObject = null;
    };
  }, [track]);
  const classes = [mirrored ? 'mirrored' : '', ready ? 'ready' : '', leaving ? 'leaving' : ''];
  return (
    <video
      ref={element}
      class={classes.filter(Boolean).join(' ')}
      data-testid="tile-video"
      aria-label={`Video of ${name}`}
      muted
      autoplay
      playsInline
      disablePictureInPicture={mirrored}
      onLoadedData={() => setReady(true)}
    />
  );
}

/** What stands for someone whose picture is not there. */
export function Avatar({ name, id }: { name: string; id: string }) {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => element.current?.style.setProperty('--hue', String(hue(id))), [id]);
  return (
    <div class="avatar" ref={element} aria-hidden="true">
      <span>{initials(name)}</span>
    </div>
  );
}

/** Three bars. */
function Bars({ value }: { value: number | undefined }) {
  return (
    <svg class={`bars bars-${value ?? 'unknown'}`} viewBox="0 0 16 14" aria-hidden="true">
      <rect x="1" y="9" width="3.5" height="4" rx="1" />
      <rect x="6.25" y="5.5" width="3.5" height="7.5" rx="1" />
      <rect x="11.5" y="2" width="3.5" height="11" rx="1" />
    </svg>
  );
}

interface TileProps {
  call: Call;
  tile: Tile;
  rect: Rect;
  main: boolean;
  floating: boolean;
  /** Whether it is the only one, and there is nothing to choose. */
  alone: boolean;
  /** What scrolls, so that a tile can tell whether it is in sight. */
  stage: HTMLElement | null;
  showStats: (tile: Tile, open: boolean) => void;
  statsOpen: boolean;
}

/** One picture of the stage, with name, sound and connection. */
export function TileView({ call, tile, rect, main, floating, alone, stage, showStats, statsOpen }: TileProps) {
  const element = useRef<HTMLElement>(null);
  const { name, mine, video, audio, peerId, source } = tile;
  useEvents(video as Subscription | undefined, 'changed');
  const inSight = useInSight(element, stage);
  useEffect(() => place(element.current, rect), [rect.x, rect.y, rect.width, rect.height]);
  useReception(video, rect.height, main && source !== 'camera', inSight && !call.hidden);

  const track = video && !video.muted && !video.closed ? video.track : undefined;
  const silent = audio === undefined || audio.muted;
  const camera = source === 'camera';
  const speaking = camera && !silent && call.room.speaker === peerId;
  const score = video ?? audio;
  const quality = bars(score?.score);
  const label = mine ? (camera ? `${name} (you)` : 'Your screen') : camera ? name : `${name}’s ${source}`;
  const pinLabel = main ? `Make ${label} small again` : `Make ${label} big`;
  const classes = ['tile', camera ? '' : 'shared', speaking ? 'speaking' : '', main ? 'main' : '', floating ? 'floating' : ''];
  // A tile too small for its tools shows name and picture only.
  if (rect.width < 200) classes.push('small');
  return (
    <article
      ref={element}
      class={classes.filter(Boolean).join(' ')}
      aria-label={label}
      // A tap gives a tile the focus, which shows its tools: fingers do not hover.
      tabIndex={-1}
      data-testid="tile"
      data-peer={peerId}
      data-source={source}
      data-mine={String(mine)}
      data-muted={String(silent)}
      data-camera={track ? 'on' : 'off'}
      data-speaking={String(speaking)}
      onDblClick={() => call.pin(tile.key)}
    >
      <Avatar name={name} id={peerId} />
      {track && <Video track={track} mirrored={mine && camera} name={label} />}
      {!alone && (
        <div class="tile-tools">
          <button
            type="button"
            class="tile-tool"
            data-testid="pin"
            aria-label={pinLabel}
            title={pinLabel}
            onClick={() => call.pin(tile.key)}
          >
            <Icon name={main ? 'unpin' : 'pin'} />
          </button>
        </div>
      )}
      <div class="tile-label">
        {camera && silent && (
          <span class="tile-muted" role="img" aria-label="Muted" title="Muted">
            <Icon name="micOff" />
          </span>
        )}
        {!camera && <Icon name="screen" />}
        <span class="tile-name">{mine && camera ? 'You' : label}</span>
        <button
          type="button"
          class="tile-quality"
          data-testid="tile-stats"
          aria-label={`${barsText(quality)}. Show figures`}
          title={barsText(quality)}
          aria-expanded={statsOpen}
          onClick={() => showStats(tile, !statsOpen)}
        >
          <Bars value={quality} />
        </button>
      </div>
    </article>
  );
}

/** Whether any of the element can be seen. */
function useInSight(element: { current: HTMLElement | null }, stage: HTMLElement | null): boolean {
  const [inSight, setInSight] = useState(true);
  useEffect(() => {
    if (!element.current || !stage || typeof IntersectionObserver === 'undefined') return;
    const observer = new IntersectionObserver(
      (entries) => setInSight(entries.at(-1)?.isIntersecting ?? true),
      // A little ahead, so that a tile that is scrolled into sight shows a picture already.
      { root: stage, rootMargin: '120px' },
    );
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [stage]);
  return inSight;
}

/** Receives no more of a picture than the tile can show: nothing out of sight, small layers for small tiles. */
function useReception(
  video: Subscription | Publication | undefined,
  height: number,
  whole: boolean,
  inSight: boolean,
): void {
  const subscription = video instanceof Subscription ? video : undefined;
  const wanted = subscription && layersFor(whole ? 4000 : height, subscription.available, window.devicePixelRatio);
  useEffect(() => {
    if (!subscription) return;
    const change = inSight ? subscription.resume() : subscription.pause();
    change.catch((error: unknown) => console.warn('pausing or resuming failed', error));
  }, [subscription, inSight]);
  useEffect(() => {
    if (!subscription || !wanted || subscription.available.spatial * subscription.available.temporal === 1) return;
    // Windows are dragged and panels slide: only where it comes to rest counts.
    const timer = setTimeout(() => {
      const { spatial, temporal } = subscription.preferredLayers ?? {};
      if (spatial === wanted.spatial && temporal === wanted.temporal) return;
      subscription.setPreferredLayers(wanted.spatial, wanted.temporal).catch((error: unknown) => {
        console.warn('asking for other layers failed', error);
      });
    }, 300);
    return () => clearTimeout(timer);
  }, [subscription, wanted?.spatial, wanted?.temporal]);
}
