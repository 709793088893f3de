import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const PLACE = '/proc/sys/fs/binfmt_misc';

/**
 * Whether the host has been told what executes files that begin so (Documentation/admin-guide/binfmt-misc.rst),
 * by a program that was opened then (flag F): any other would have to be in the image, and is left out.
 */
export function isRegistered(start: Uint8Array, place = PLACE): boolean {
  const entries = namesIn(place).filter((name) => name !== 'register' && name !== 'status');
  return entries.some((name) => executes(read(join(place, name)), start));
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    // Not mounted, not in this kernel, or not for this user to see: nothing is known to be registered.
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function executes(entry: string, start: Uint8Array): boolean {
  const field = (name: string) => new RegExp(`^${name}:? ?(.*)$`, 'm').exec(entry)?.[1] ?? '';
  if (!entry.startsWith('enabled\n') || !field('flags').includes('F')) return false;
  const magic = Buffer.from(field('magic'), 'hex');
  const mask = Buffer.from(field('mask'), 'hex');
  const offset = Number(field('offset'));
  // Those that go by the end of a name have none.
  if (magic.length === 0) return false;
  return magic.every((byte, index) => {
    const bits = mask[index] ?? 0xff;
    return ((start[offset + index] ?? 0) & bits) === (byte & bits);
  });
}
