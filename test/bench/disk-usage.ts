import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** What a directory takes on its disk, in bytes: whole blocks, and what has several names once. */
export function bytesBelow(directory: string): number {
  const seen = new Set<number>();
  let bytes = 0;
  for (const path of [directory, ...readdirSync(directory, { recursive: true }).map(String)]) {
    const { ino, blocks } = lstatSync(path === directory ? path : join(directory, path));
    if (!seen.has(ino)) bytes += blocks * 512;
    seen.add(ino);
  }
  return bytes;
}
