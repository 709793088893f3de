import { readFileSync } from 'node:fs';

/**
 * A random UUID, version 4, from the kernel (random(4)). Loading node:crypto for one would take a
 * fifth of the time a pod takes to start.
 */
export function newUuid(): string {
  return readFileSync('/proc/sys/kernel/random/uuid', 'ascii').trim();
}
