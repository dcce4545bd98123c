import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Icon } from '../ui/icons.js';
import type { Call, Tile } from './call.js';
import { copyLink } from './header.js';
import { arrange } from './layout.js';
import { StatsCard } from './stats-card.js';
import { TileView } from './tile.js';

/** All pictures, arranged to the room there is. */
export function Stage({ call }: { call: Call }) {
  const element = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [statsKey, setStatsKey] = useState<string>();
  const [stage, setStage] = useState<HTMLElement | null>(null);
  useLayoutEffect(() => {
    const stage = element.current;
    if (!stage) return;
    setStage(stage);
    const measure = () => setSize({ width: stage.clientWidth, height: stage.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(stage);
    measure();
    return () => observer.disconnect();
  }, []);

  const tiles = call.tiles;
  const mainKey = call.mainTile(tiles);
  const main = mainKey === undefined ? -1 : tiles.findIndex(({ key }) => key === mainKey);
  const own = tiles.findIndex(({ key }) => key === 'me/camera');
  const { rects, height, floating } = arrange({
    count: tiles.length,
    ...size,
    gap: size.width < 600 ? 6 : 10,
    main: main < 0 ? undefined : main,
    own: own < 0 ? undefined : own,
  });
  useEffect(() => {
    if (canvas.current) canvas.current.style.height = `${Math.round(height)}px`;
  }, [height]);
  const statsIndex = tiles.findIndex(({ key }) => key === statsKey);
  const statsTile = tiles[statsIndex];
  const statsRect = rects[statsIndex];
  const showStats = (tile: Tile, open: boolean) => setStatsKey(open ? tile.key : undefined);
  return (
    <div class="stage" ref={element} data-testid="stage">
      <div class="stage-canvas" ref={canvas}>
        {tiles.map((tile, index) => {
          const rect = rects[index];
          return (
            rect && (
              <TileView
                key={tile.key}
                call={call}
                tile={tile}
                rect={rect}
                main={index === main && tiles.length > 1}
                floating={index === floating}
                alone={tiles.length === 1}
                stage={stage}
                showStats={showStats}
                statsOpen={tile.key === statsKey}
              />
            )
          );
        })}
        {statsTile && statsRect && (
          <StatsCard
            key={statsTile.key}
            tile={statsTile}
            rect={statsRect}
            stage={size}
            close={() => setStatsKey(undefined)}
          />
        )}
      </div>
      {tiles.length === 0 && call.room.peers.size > 0 && (
        <p class="stage-empty dim">Nobody is on the stage yet.</p>
      )}
      {call.room.peers.size === 0 && call.room.state === 'connected' && (
        <div class="stage-alone">
          <p>You are the only one here.</p>
          <button type="button" class="button compact" onClick={() => void copyLink(call)}>
            <Icon name="link" />
            Copy the link
          </button>
        </div>
      )}
    </div>
  );
}
