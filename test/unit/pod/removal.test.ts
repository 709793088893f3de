import { closeSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { emptyDirectory } from '../../../src/pod/removal.ts';
import { O_DIRECTORY, system } from '../../../src/system/binding.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

/** Directories within each other, as an app may make them: no path leads to the innermost. */
function nest(directory: string, depth: number): void {
  let fd = openSync(directory, O_DIRECTORY);
  for (let made = 0; made < depth; made++) {
    system.mkdirAt(fd, 'd', 0o700);
    const child = system.openat2(fd, 'd', O_DIRECTORY, 0, 0);
    closeSync(fd);
    fd = child;
  }
  closeSync(fd);
}

it('empties a directory however deep it is', () => {
  const directory = temporaryDirectory('/dev/shm');
  writeFileSync(join(directory, 'file'), '');
  nest(directory, 30_000);
  const fd = openSync(directory, O_DIRECTORY);
  emptyDirectory(fd, directory);
  closeSync(fd);
  expect(readdirSync(directory)).toEqual([]);
}, 60_000);
