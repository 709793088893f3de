import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';

/** The version of the stage1 interface this Gantry speaks (specs/stage1-interface.md). */
const INTERFACE_VERSION = 1;
/** What every flavour must have. */
const REQUIRED: readonly EntryPoint[] = ['run', 'gc'];

export type EntryPoint = 'run' | 'enter' | 'stop' | 'gc';

/** A stage1: the programs that turn a prepared pod directory into a running pod. */
export interface Flavour {
  readonly name: string;
  /** Absolute; a pod's `stage1` link leads here. */
  readonly directory: string;
  /** The absolute path of an entry point. @throws GantryError `unsupported` where it has none */
  entryPoint(name: EntryPoint): string;
}

/**
 * Reads the manifest of the flavour in `directory` (specs/stage1-interface.md).
 * @throws GantryError `launch` when there is none, or it is not one this Gantry can drive
 */
export function openFlavour(directory: string): Flavour {
  const manifest = readManifest(join(directory, 'manifest.json'));
  const { name, interfaceVersion, entrypoints } = manifest;
  if (typeof name !== 'string') throw unusable(directory, '"name" must be a string');
  if (interfaceVersion !== INTERFACE_VERSION) {
    throw unusable(
      directory,
      `it speaks interface version ${JSON.stringify(interfaceVersion)}, this Gantry ${INTERFACE_VERSION}`,
    );
  }
  const programs = isRecord(entrypoints) ? entrypoints : {};
  const entryPoint = (entry: EntryPoint): string => {
    const program = programs[entry];
    if (typeof program === 'string' && /^[^/].*$/.test(program)) return join(directory, program);
    throw new GantryError('unsupported', `stage1 ${name} has no entry point "${entry}"`);
  };
  for (const required of REQUIRED) entryPoint(required);
  return { name, directory, entryPoint };
}

function readManifest(path: string): Record<string, unknown> {
  try {
    const manifest: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (isRecord(manifest)) return manifest;
  } catch (error) {
    const why =
      errnoOf(error) === 'ENOENT'
        ? 'there is no manifest.json'
        : 'its manifest.json cannot be read';
    throw unusable(join(path, '..'), why, error);
  }
  throw unusable(join(path, '..'), 'its manifest.json is no object');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unusable(directory: string, why: string, cause?: unknown): GantryError {
  return new GantryError('launch', `cannot use stage1 at ${directory}: ${why}`, { cause });
}
