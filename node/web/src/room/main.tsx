import { render } from 'preact';
import { Room } from '../sdk/index.js';
import { App, type MakeRoom } from './app.js';
import { readParams } from './params.js';

/** Puts the page into the document. */
export function start(makeRoom: MakeRoom = (options) => new Room(options)): void {
  const root = document.getElementById('app');
  if (root) render(<App params={readParams(location.search, location.origin)} makeRoom={makeRoom} />, root);
}

// The page against a fake mesh, for development, starts itself.
if (!document.documentElement.dataset['fake']) start();
