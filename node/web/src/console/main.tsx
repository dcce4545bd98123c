import { render } from 'preact';
import { App } from './app.js';
import { Store } from './store.js';

const root = document.getElementById('app');
const store = new Store();
if (root) render(<App store={store} />, root);
store.start();
