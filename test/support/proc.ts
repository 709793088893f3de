import { readFileSync, readlinkSync } from 'node:fs';

/** A file of /proc; empty when the process is gone meanwhile. */
export function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Where a link of /proc leads; undefined when the process is gone meanwhile. */
export function link(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
