import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { GantryError } from '../error.ts';
import { requireRootsOwn } from './entry-point.ts';

/**
 * A program of the host along a PATH: its real path, so that the one looked at is the one that is run when the
 * pod starts. Relative elements are passed over: they would name what lies wherever the caller stands.
 */
export function findOnPath(name: string, path: string): string | undefined {
  return path
    .split(':')
    .filter(isAbsolute)
    .map((directory) => executableAt(join(directory, name)))
    .find((program) => program !== undefined);
}

/** The real path of an executable regular file. */
export function executableAt(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK);
    const real = realpathSync(path);
    return statSync(real).isFile() ? real : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Refuses a program that others than root could put another in the place of: it is run as root, now to ask
 * for its version and whenever the pod starts.
 * @throws GantryError `unsupported`
 */
export function requireRootsProgram(flavour: string, program: string): void {
  const file = { path: program, stats: statSync(program), directories: [dirname(program)] };
  requireRootsOwn(
    file,
    program,
    (why) => new GantryError('unsupported', `stage1 ${flavour}: cannot use ${program}: ${why}`),
    true,
  );
}
