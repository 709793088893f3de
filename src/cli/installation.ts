import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { GantryError } from '../error.ts';
import type { ShippedName } from '../stage1/shipped.ts';
import { system } from '../system/binding.ts';

/** Where this Gantry is installed: the directory that holds bin/ and dist/. */
export const installation = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../..' : '..', import.meta.url),
);

/** The directory of a stage1 flavour that is part of this installation. */
export function shippedStage1(name: ShippedName): string {
  return `${installation}dist/stage1/${name}`;
}

/**
 * Becomes the native front, which does by itself what needs no policy. It is told the data directory,
 * so that it has nothing to look up, and does not come back here with the same words.
 */
export function becomeFront(dataDir: string, words: readonly string[]): never {
  const path = `${installation}bin/gantry`;
  if (!existsSync(path)) {
    throw new GantryError('internal', `${path} is missing: build or install Gantry again`);
  }
  const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  return system.execve(path, [path, `--dir=${dataDir}`, ...words], environment, []);
}
