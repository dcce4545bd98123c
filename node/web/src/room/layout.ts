/** Where a tile goes, in pixels. */
export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Where all tiles go. */
export interface Arrangement {
  /** One for each tile, in their order. */
  rects: Rect[];
  /** How high all of it is; more than the stage's height where it scrolls. */
  height: number;
  /** The tile that floats above the others, if any. */
  floating: number | undefined;
}

/** The stage and what is to be put on it. */
export interface ArrangeOptions {
  /** How many tiles. */
  count: number;
  /** The stage's width. */
  width: number;
  /** The stage's height. */
  height: number;
  /** Space between tiles. */
  gap?: number;
  /** The tile that gets the big place. */
  main?: number | undefined;
  /** One's own tile: with only one other on a narrow stage it floats in the corner. */
  own?: number | undefined;
}

/** Pictures are cut to something between a portrait and a wide one, rather than leave the stage empty. */
const PORTRAIT = 3 / 4;
const WIDEST = 16 / 9;
/** On a wide stage there is no need to cut a camera's picture to a portrait. */
const NARROWEST_WHEN_WIDE = 1.15;
/** Below this width nobody can be recognised: then the stage scrolls. */
const SMALLEST = 150;

const empty: Rect = { x: 0, y: 0, width: 0, height: 0 };

/** Puts tiles on a stage. */
export function arrange({ count, width, height, gap = 10, main, own }: ArrangeOptions): Arrangement {
  if (count === 0 || width <= 0 || height <= 0) {
    return { rects: Array.from({ length: Math.max(0, count) }, () => empty), height, floating: undefined };
  }
  if (main !== undefined && main < count && count > 1) return spotlight(count, width, height, gap, main);
  if (count === 2 && own !== undefined && width < height * 0.8) return duo(width, height, gap, own);
  return { ...grid(count, width, height, gap), floating: undefined };
}

/** All the same size, as large as they can be. */
function grid(count: number, width: number, height: number, gap: number): { rects: Rect[]; height: number } {
  const narrowest = width > height ? NARROWEST_WHEN_WIDE : PORTRAIT;
  let best = { columns: 1, width: 0, height: 0, area: -1 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const size = fit((width - gap * (columns - 1)) / columns, (height - gap * (rows - 1)) / rows, narrowest);
    const area = size.width * size.height;
    if (area > best.area) best = { columns, ...size, area };
  }
  let total = height;
  if (best.width < Math.min(SMALLEST, width / 2 - gap)) {
    // Too many for the stage: as many columns as are still of use, and it scrolls.
    const columns = Math.max(2, Math.floor((width + gap) / (SMALLEST + gap)));
    const tile = (width - gap * (columns - 1)) / columns;
    const rows = Math.ceil(count / columns);
    best = { columns, width: tile, height: tile / (4 / 3), area: 0 };
    total = Math.max(height, rows * best.height + (rows - 1) * gap);
  }
  const rows = Math.ceil(count / best.columns);
  const top = Math.max(0, (total - rows * best.height - (rows - 1) * gap) / 2);
  const rects = Array.from({ length: count }, (_, index): Rect => {
    const row = Math.floor(index / best.columns);
    // The last row may be shorter; it is centred like the others.
    const inRow = row === rows - 1 ? count - row * best.columns : best.columns;
    const left = (width - inRow * best.width - (inRow - 1) * gap) / 2;
    return {
      x: left + (index % best.columns) * (best.width + gap),
      y: top + row * (best.height + gap),
      width: best.width,
      height: best.height,
    };
  });
  return { rects, height: total };
}

/** The largest picture of an allowed shape within a place. */
function fit(width: number, height: number, narrowest: number): { width: number; height: number } {
  if (width <= 0 || height <= 0) return { width: 0, height: 0 };
  if (width / height > WIDEST) return { width: height * WIDEST, height };
  if (width / height < narrowest) return { width, height: width / narrowest };
  return { width, height };
}

/** One big, the others in a strip: below on a tall stage, at the side on a wide one. The strip scrolls with the stage. */
function spotlight(count: number, width: number, height: number, gap: number, main: number): Arrangement {
  const others = count - 1;
  const wide = width > height * 1.1;
  const rects: Rect[] = [];
  let total = height;
  if (wide) {
    // As large as looks good, but all of them in sight where that is possible.
    const fitting = ((height - (others - 1) * gap) / others) * WIDEST;
    const strip = Math.max(SMALLEST, Math.min(260, width * 0.2, fitting));
    const tile = strip / WIDEST;
    const columnHeight = others * tile + (others - 1) * gap;
    const top = Math.max(0, (height - columnHeight) / 2);
    total = Math.max(height, columnHeight);
    rects.push({ x: 0, y: 0, width: width - strip - gap, height });
    for (let i = 0; i < others; i++) {
      rects.push({ x: width - strip, y: top + i * (tile + gap), width: strip, height: tile });
    }
  } else {
    const columns = Math.min(others, Math.max(2, Math.floor((width + gap) / (120 + gap))));
    const tile = Math.min(200, (width - gap * (columns - 1)) / columns);
    const rows = Math.ceil(others / columns);
    const rowHeight = tile / (4 / 3);
    const stripHeight = rows * rowHeight + (rows - 1) * gap;
    // The big one keeps at least half of the stage; what does not fit below it scrolls.
    const big = Math.max(height * 0.5, height - stripHeight - gap);
    total = Math.max(height, big + gap + stripHeight);
    rects.push({ x: 0, y: 0, width, height: big });
    for (let i = 0; i < others; i++) {
      const row = Math.floor(i / columns);
      const inRow = row === rows - 1 ? others - row * columns : columns;
      const left = (width - inRow * tile - (inRow - 1) * gap) / 2;
      rects.push({
        x: left + (i % columns) * (tile + gap),
        y: big + gap + row * (rowHeight + gap),
        width: tile,
        height: rowHeight,
      });
    }
  }
  // `rects` has the big one first; the tiles keep their own order.
  const [big = empty, ...strip] = rects;
  const ordered = [...strip.slice(0, main), big, ...strip.slice(main)];
  return { rects: ordered, height: total, floating: undefined };
}

/** Two people on a phone: the other one everywhere, oneself in the corner. */
function duo(width: number, height: number, gap: number, own: number): Arrangement {
  const small = Math.min(130, width * 0.3);
  const corner = {
    x: width - small - gap,
    y: height - small / PORTRAIT - gap,
    width: small,
    height: small / PORTRAIT,
  };
  const whole = { x: 0, y: 0, width, height };
  return { rects: own === 0 ? [corner, whole] : [whole, corner], height, floating: own };
}
