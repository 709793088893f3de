import { closeSync, openSync, readSync } from 'node:fs';
import { GantryError } from '../error.ts';
import type { SourceEntry } from './packing-source.ts';
import { encodeMember, paddingAfter } from './tar-encoding.ts';

const chunkSize = 256 * 1024;

/**
 * The entries of a tree as archive members, headers and content; the archive's end is the caller's.
 * Throws `usage` for a file that becomes shorter meanwhile; what it grows by is left out.
 */
export function* encodeTree(entries: Iterable<SourceEntry>): Iterable<Buffer> {
  for (const entry of entries) {
    yield encodeMember(entry);
    yield* contentOf(entry);
    yield paddingAfter(entry.size);
  }
}

function* contentOf(entry: SourceEntry): Iterable<Buffer> {
  if (entry.size === 0) return;
  const fd = openSync(entry.path, 'r');
  try {
    for (let rest = entry.size; rest > 0; ) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(rest, chunkSize));
      const length = readSync(fd, buffer);
      if (length === 0) {
        throw new GantryError('usage', `${entry.path} became shorter while it was packed`);
      }
      rest -= length;
      yield buffer.subarray(0, length);
    }
  } finally {
    closeSync(fd);
  }
}
