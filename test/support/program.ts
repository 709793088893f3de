import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';

const cache = join(import.meta.dirname, '../../dist/test-programs');

/**
 * Compiles a small static C program and answers its path. The same source is compiled once per
 * checkout; copy the file before changing it.
 */
export function buildProgram(source: string): string {
  const path = join(cache, createHash('sha256').update(source).digest('hex').slice(0, 16));
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const temporary = `${path}.${process.pid}`;
  execFileSync('cc', ['-static', '-O1', '-s', '-x', 'c', '-o', temporary, '-'], {
    input: source,
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  renameSync(temporary, path);
  return path;
}
