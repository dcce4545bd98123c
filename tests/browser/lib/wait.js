import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';

export { sleep };

/**
 * Calls `probe` until it answers something true, and answers that.
 *
 * @param what for the error, as in "waited 10 s for …"
 * @param probe may throw, which counts as not yet; its last error or answer is part of the error
 */
export async function until(what, probe, { timeout = 20_000, interval = 150 } = {}) {
  const end = Date.now() + timeout;
  for (;;) {
    let last;
    try {
      const answer = await probe();
      if (answer) return answer;
      last = `the last answer was ${inspect(answer)}`;
    } catch (error) {
      last = `the last try failed: ${error.message}`;
    }
    if (Date.now() > end) throw new Error(`waited ${timeout / 1000} s for ${what}; ${last}`);
    await sleep(interval);
  }
}

/** Waits until `probe` answers more than `growth` above its first number; answers the last one. */
export async function grows(what, probe, growth, options) {
  const first = await until(`${what}: a number`, async () => Number.isFinite(await probe()), options).then(probe);
  let last = first;
  await until(
    `${what} to grow by ${growth}`,
    async () => {
      last = await probe();
      if (last >= first + growth) return true;
      throw new Error(`it went from ${first} to ${last}`);
    },
    options,
  );
  return last;
}

/** Waits until `probe` answers the same number for `quiet` milliseconds. */
export async function stands(what, probe, { quiet = 1500, timeout = 20_000 } = {}) {
  let last = await probe();
  let since = Date.now();
  await until(
    `${what} to stand still for ${quiet} ms`,
    async () => {
      const now = await probe();
      if (now !== last) {
        [last, since] = [now, Date.now()];
        throw new Error(`it is at ${now} and still moves`);
      }
      return Date.now() - since >= quiet;
    },
    { timeout },
  );
}
