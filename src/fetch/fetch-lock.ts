import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { dataMode } from '../system/ordinary-user.ts';
import type { FetchContext } from './context.ts';
import { pause } from './pace.ts';

/** A lock nobody renewed for this long belonged to a process that died. */
const STALE_AFTER = 10_000;
const RENEWED_EVERY = 2_000;
const ASKED_EVERY = 200;

/** The right to fetch from one URL, while others who want the same wait. */
export interface FetchLock {
  /** Another process held the lock first, and may have brought what we came for. */
  readonly waited: boolean;
  release(): Promise<void>;
}

/**
 * Takes the lock of a URL below the store's `locks`, waiting for as long as another fetch of the
 * same URL takes. proper-lockfile, and not flock(2), because it works where the store lies on a
 * network file system too.
 *
 * @throws GantryError `store` where the lock cannot be made; `interrupted`
 */
export async function lockFetch(url: string, context: FetchContext): Promise<FetchLock> {
  const { locks } = context.store.layout;
  const name = createHash('sha256').update(url).digest('hex').slice(0, 40);
  mkdirSync(locks, { recursive: true, mode: dataMode() });
  for (let waited = false; ; waited = true) {
    const release = await tryLock(join(locks, `fetch-${name}`));
    if (release !== undefined) return { waited, release };
    if (!waited) context.report.info(`image: waiting for another fetch of ${url}`);
    await pause(ASKED_EVERY, context.signal);
  }
}

async function tryLock(path: string): Promise<(() => Promise<void>) | undefined> {
  const { default: lockfile } = await import('proper-lockfile');
  let held = true;
  try {
    const release = await lockfile.lock(path, {
      realpath: false,
      stale: STALE_AFTER,
      update: RENEWED_EVERY,
      // A lock that was lost costs a second download, not more: commits do not depend on it.
      onCompromised: () => {
        held = false;
      },
    });
    return async () => {
      if (held) await release().catch(() => {});
    };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ELOCKED') return undefined;
    throw new GantryError('store', `cannot lock ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
