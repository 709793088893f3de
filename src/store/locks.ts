import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { LOCK, system } from '../system/binding.ts';
import { makeDirectory } from './durable.ts';
import { storeFailure } from './failure.ts';
import type { StoreLayout } from './layout.ts';

/** A lock held; the kernel drops it however the process ends. */
export interface Pin extends Disposable {
  release(): void;
}

/** Locks are held for as long as a removal takes, so waiting longer means that something hangs. */
const patienceMilliseconds = 60_000;
const stepMilliseconds = 20;

/**
 * Takes `locks/images` shared: whoever is about to use or add an image, so that what was found stays
 * until a pod or a record names it. Whoever removes images takes it exclusively. Synchronous, for
 * the way to a running pod; waits for a removal under way. Throws `busy` when that takes too long.
 */
export function pinImages(layout: StoreLayout): Pin {
  const fd = openLock(layout, 'images');
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = 0; !system.flock(fd, LOCK.shared | LOCK.nonBlocking); ) {
    if (waited >= patienceMilliseconds) throw stillHeld(fd, 'images');
    Atomics.wait(sleeper, 0, 0, stepMilliseconds);
    waited += stepMilliseconds;
  }
  return pinOf(fd);
}

/**
 * Takes `locks/<name>` exclusively. Throws `busy` when others hold it for too long; this process may
 * hold no pin of the same name itself.
 */
export async function lockExclusively(layout: StoreLayout, name: string): Promise<Pin> {
  const fd = openLock(layout, name);
  for (let waited = 0; !system.flock(fd, LOCK.exclusive | LOCK.nonBlocking); ) {
    if (waited >= patienceMilliseconds) throw stillHeld(fd, name);
    await new Promise((resolve) => setTimeout(resolve, stepMilliseconds));
    waited += stepMilliseconds;
  }
  return pinOf(fd);
}

function openLock(layout: StoreLayout, name: string): number {
  try {
    makeDirectory(layout.locks);
    return openSync(join(layout.locks, name), 'a', 0o600);
  } catch (error) {
    throw storeFailure(layout.locks, 'lock the store', error);
  }
}

function pinOf(fd: number): Pin {
  let held = true;
  const release = (): void => {
    if (held) closeSync(fd);
    held = false;
  };
  return { release, [Symbol.dispose]: release };
}

function stillHeld(fd: number, name: string): GantryError {
  closeSync(fd);
  return new GantryError(
    'busy',
    `the store is in use by another gantry (lock "${name}"); try again`,
  );
}
