import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, system } from '../system/binding.ts';
import { makeDirectory } from './durable.ts';
import type { StoreLayout } from './layout.ts';

/** A hold on the set of stored images; the kernel drops it however the process ends. */
export interface Pin extends Disposable {
  release(): void;
}

/**
 * Takes `locks/images`: shared by whoever is about to use a stored image, exclusive for whoever
 * removes images or adds one (so that "the blob is there already" stays true until the record
 * naming it is written). Waits for the holders of the other kind.
 */
export function imagePin(layout: StoreLayout, kind: 'shared' | 'exclusive'): Pin {
  makeDirectory(layout.locks);
  const fd = openSync(join(layout.locks, 'images'), 'a', 0o600);
  system.flock(fd, kind === 'shared' ? LOCK.shared : LOCK.exclusive);
  let held = true;
  const release = (): void => {
    if (held) closeSync(fd);
    held = false;
  };
  return { release, [Symbol.dispose]: release };
}
