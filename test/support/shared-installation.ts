import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { createInstallation, type Installation } from './installation.ts';

const directories: string[] = [];

// Registered before any hook of the file that imports this, so that it comes last.
afterAll(() => {
  for (const directory of directories.splice(0))
    rmSync(directory, { recursive: true, force: true });
});

/** An installation for all tests of a file, in a directory that is gone after them. */
export async function sharedInstallation(): Promise<{ directory: string; gantry: Installation }> {
  const directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  directories.push(directory);
  return { directory, gantry: await createInstallation(directory) };
}
