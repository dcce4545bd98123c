import { useEffect, useRef, useState } from 'preact/hooks';
import { Subscription, summarize, type Publication, type TrackStats } from '../sdk/index.js';
import { bitrate } from '../ui/format.js';
import { useInterval } from '../ui/hooks.js';
import { Icon } from '../ui/icons.js';
import type { Tile } from './call.js';
import type { Rect } from './layout.js';

const WIDTH = 250;

/** What is known of the way one tile's sound and picture come, measured every second. */
export function StatsCard({
  tile,
  rect,
  stage,
  close,
}: {
  tile: Tile;
  rect: Rect;
  stage: { width: number; height: number };
  close: () => void;
}) {
  const element = useRef<HTMLDivElement>(null);
  const video = useStats(tile.video);
  const audio = useStats(tile.audio);
  useEffect(() => {
    const card = element.current;
    if (!card) return;
    const width = Math.min(WIDTH, stage.width);
    // Above the tile's label, but never beside the stage.
    const x = Math.max(0, Math.min(rect.x + rect.width - width, stage.width - width));
    const y = Math.max(0, rect.y + rect.height - card.offsetHeight - 44);
    card.style.width = `${width}px`;
    card.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  });
  useEffect(() => element.current?.focus(), []);
  return (
    <div
      class="stats-card"
      ref={element}
      role="dialog"
      aria-label={`Figures of ${tile.name}`}
      tabIndex={-1}
      data-testid="stats-card"
      onKeyDown={(event) => event.key === 'Escape' && close()}
    >
      <header>
        <h2>{tile.name}</h2>
        <button type="button" class="icon-button" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      <dl>
        <Line term="Picture">
          {video?.width ? `${video.width}×${video.height} · ${Math.round(video.fps ?? 0)} fps` : 'none'}
        </Line>
        <Line term="Video">{[bitrate(video?.bitrate), video?.codec].filter(Boolean).join(' · ')}</Line>
        <Line term="Layer">{layers(tile.video, video)}</Line>
        <Line term="Audio">{[bitrate(audio?.bitrate), audio?.codec].filter(Boolean).join(' · ')}</Line>
        <Line term="Lost">{percent(video?.loss ?? audio?.loss)}</Line>
        <Line term="Jitter">{milliseconds(video?.jitter ?? audio?.jitter)}</Line>
        <Line term="Round trip">{milliseconds(video?.rtt ?? audio?.rtt)}</Line>
        <Line term="Score">{score(tile.video ?? tile.audio)}</Line>
      </dl>
    </div>
  );
}

function Line({ term, children }: { term: string; children: string }) {
  return (
    <div>
      <dt>{term}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function useStats(source: Subscription | Publication | undefined): TrackStats | undefined {
  const earlier = useRef<TrackStats | undefined>(undefined);
  const [stats, setStats] = useState<TrackStats>();
  useInterval(() => {
    if (!source || source.closed) return setStats(undefined);
    source
      .stats()
      .then((report) => {
        const next = summarize(report as Iterable<[string, unknown]>, earlier.current);
        earlier.current = next;
        setStats(next);
      })
      // It closed while it was being measured.
      .catch(() => {});
  }, 1000);
  return stats;
}

function layers(source: Tile['video'], stats: TrackStats | undefined): string {
  if (!source) return '–';
  if (!(source instanceof Subscription)) return stats?.layers === undefined ? '–' : `sends ${stats.layers}`;
  const { layers: current, available, paused } = source;
  if (paused) return 'paused: out of sight';
  if (available.spatial * available.temporal === 1) return 'the only one';
  if (!current) return 'none yet';
  return `${current.spatial + 1} of ${available.spatial}, rate ${current.temporal + 1} of ${available.temporal}`;
}

function score(source: Tile['video']): string {
  if (!source?.score) return '–';
  if (typeof source.score === 'number') return `${source.score} of 10`;
  return `${source.score.score} of 10, sender ${source.score.producerScore}`;
}

const percent = (share: number | undefined) => (share === undefined ? '–' : `${(share * 100).toFixed(1)} %`);
const milliseconds = (value: number | undefined) => (value === undefined ? '–' : `${Math.round(value)} ms`);
