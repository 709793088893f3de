import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'vitest';

/** Something of the host that a test may need: what it is called, and whether it is there. */
export interface Requirement {
  readonly what: string;
  readonly met: boolean;
}

/** Being the superuser: mounts, device nodes, other owners. */
export const root: Requirement = { what: 'root', met: process.getuid?.() === 0 };

/** What `.ci/tools` built; these versions are what the tests are written for. */
const tools = join(import.meta.dirname, '../../dist/tools');

/** A program that `.ci/tools` built, or that is on the PATH. */
export function program(name: string): Requirement {
  return { what: `the program ${name}`, met: findProgram(name) !== undefined };
}

/** Skips the test, saying why, unless everything named is there. For use in a test or in `beforeEach`. */
export function needs(context: TestContext, ...requirements: readonly Requirement[]): void {
  const missing = requirements.filter(({ met }) => !met).map(({ what }) => what);
  if (missing.length > 0) context.skip(`needs ${missing.join(' and ')}`);
}

/** The absolute path of a program that `.ci/tools` built or that is on the PATH, or undefined. */
export function findProgram(name: string): string | undefined {
  const path = (process.env['PATH'] ?? '').split(delimiter);
  const folders = [tools, ...path, '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
