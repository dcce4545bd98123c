import { useEffect, useReducer, useRef } from 'preact/hooks';
import type { Emitter } from '../sdk/index.js';

/** Draws the component again whenever `emitter` tells one of `events`. */
export function useEvents<Events extends { [K in keyof Events]: unknown[] }>(
  emitter: Emitter<Events> | undefined,
  ...events: (keyof Events)[]
): void {
  const [, redraw] = useReducer<number, void>((turn) => turn + 1, 0);
  useEffect(() => {
    if (!emitter) return;
    const offs = events.map((event) => emitter.on(event, () => redraw()));
    // Something may have happened between the drawing and this.
    redraw();
    return () => offs.forEach((off) => off());
    // The names of events are constants of the caller.
  }, [emitter]);
}

/** Calls `tick` every so many milliseconds, while the component is there. */
export function useInterval(tick: () => void, milliseconds: number): void {
  const latest = useRef(tick);
  latest.current = tick;
  useEffect(() => {
    latest.current();
    const timer = setInterval(() => latest.current(), milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds]);
}

/** Calls `listener` at events of the window. */
export function useWindowEvent<K extends keyof WindowEventMap>(
  event: K,
  listener: (event: WindowEventMap[K]) => void,
): void {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    const call = (happened: WindowEventMap[K]) => latest.current(happened);
    window.addEventListener(event, call);
    return () => window.removeEventListener(event, call);
  }, [event]);
}
