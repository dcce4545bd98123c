// What each test has in common: a mesh of its own that is stopped whatever happens, and an end.
import { test } from 'node:test';
import { diagnose } from './diagnosis.js';
import { Mesh } from './mesh.js';

/** Whether something of the test that runs has failed, a part of it too. */
let failed = false;

/** How long a test may take, a mesh's start included. */
const LIMIT = 240_000;

/**
 * A test on a mesh of its own.
 *
 * @param options as Mesh.start takes them; `limit` is how long it may take, in milliseconds
 * @param body gets the test's context and the mesh
 */
export function onMesh(name, { limit = LIMIT, ...options }, body) {
  test(name, { timeout: limit }, async (t) => {
    const mesh = await Mesh.start(options);
    failed = true;
    t.after(async () => {
      if (failed) t.diagnostic(`the nodes logged:\n${mesh.logs()}`);
      await mesh.stop({ keep: failed });
    });
    failed = false;
    await told(t, () => body(t, mesh));
  });
}

/** A part of a test that can fail by itself without keeping the next parts from running. */
export function part(t, name, body) {
  return t.test(name, { timeout: 60_000 }, (t) => told(t, () => body(t)));
}

/** Tells how the pages' connections stand when something goes wrong, before they are closed. */
async function told(t, body) {
  try {
    return await body();
  } catch (error) {
    failed = true;
    t.diagnostic(`the pages' connections:\n${await diagnose()}`);
    throw error;
  }
}
