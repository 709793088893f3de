import { lstatSync, readFileSync } from 'node:fs';
import { GantryError, reasonOf } from '../error.ts';
import {
  ENTRY_POINTS,
  type EntryPoint,
  findInside,
  type Refusal,
  requireRootsOwn,
  requireRunnable,
  type StageFile,
} from './entry-point.ts';
import { type Feature, isAskedFor, isFeature } from './features.ts';
import { PLAN_KINDS, type PlanKind } from './settings.ts';
import { SHIPPED } from './shipped.ts';

export type { EntryPoint } from './entry-point.ts';

/** The version of the stage1 interface this Gantry speaks (specs/stage1-interface.md). */
const INTERFACE_VERSION = 1;
/** What every flavour must have. */
const REQUIRED: readonly EntryPoint[] = ['run', 'gc'];
/** Features that are nothing without a program. */
const CARRIED_OUT_BY: readonly (readonly [Feature, readonly EntryPoint[]])[] = [
  ['enter', ['enter']],
  ['stop', ['stop']],
  ['mutable', ['app-add', 'app-start', 'app-stop', 'app-rm']],
];
const MANIFEST = 'manifest.json';
const MAX_MANIFEST_BYTES = 64 * 1024;

/** A stage1: the programs that turn a prepared pod directory into a running pod. */
export interface Flavour {
  readonly name: string;
  /** Absolute; a pod's `stage1` link leads here. */
  readonly directory: string;
  /** The kind of launch plan it carries out. */
  readonly plan: PlanKind;
  readonly features: ReadonlySet<Feature>;
  /** The programs its manifest names, by paths relative to the directory. */
  readonly programs: ReadonlyMap<EntryPoint, string>;
  /**
   * The absolute path of an entry point, which this machine can run.
   * @throws GantryError `unsupported` where it has none, `launch` where it is not what it must be
   */
  entryPoint(name: EntryPoint): string;
  /**
   * Looks at every program of a stage1 that is not part of this installation. What runs as root may not be
   * writable by others: neither programs and manifest, nor the directories they lie in; nor, with `above`,
   * those above.
   * @throws GantryError `launch` naming what is wrong
   */
  requireSound(where: { readonly above: boolean }): void;
}

/**
 * Reads the manifest of the flavour in `directory` (specs/stage1-interface.md).
 * @param shown how messages call it: `at DIRECTORY` unless told
 * @throws GantryError `launch` when there is none, or it is not one this Gantry can drive
 */
export function openFlavour(directory: string, shown: string = `at ${directory}`): Flavour {
  const refuse: Refusal = (why, cause) =>
    new GantryError('launch', `cannot use stage1 ${shown}: ${why}`, { cause });
  const file = findManifest(directory, refuse);
  const manifest = parseManifest(file, refuse);
  requireVersion(manifest['interfaceVersion'], refuse);
  const name = readName(manifest['name'], refuse);
  const programs = readPrograms(manifest['entrypoints'], refuse);
  const plan = readPlanKind(manifest['plan'], refuse);
  const features = readFeatures(manifest['features'], programs, refuse);
  requireCarried(features, plan, refuse);
  const find = (entry: EntryPoint): StageFile => {
    const program = programs.get(entry);
    if (program === undefined) {
      throw new GantryError('unsupported', `stage1 ${name} has no entry point "${entry}"`);
    }
    const what = `entry point "${entry}" (${program})`;
    const found = findInside(directory, program, what, refuse);
    requireRunnable(found, what, refuse);
    return found;
  };
  return {
    name,
    directory,
    plan,
    features,
    programs,
    entryPoint(entry) {
      find(entry);
      return `${directory}/${programs.get(entry)}`;
    },
    requireSound({ above }) {
      requireRootsOwn(file, MANIFEST, refuse, above);
      for (const entry of programs.keys()) {
        requireRootsOwn(find(entry), `entry point "${entry}"`, refuse, false);
      }
    },
  };
}

function findManifest(directory: string, refuse: Refusal): StageFile {
  if (lstatSync(`${directory}/${MANIFEST}`, { throwIfNoEntry: false }) === undefined) {
    throw refuse(`there is no ${MANIFEST} in it`);
  }
  return findInside(directory, MANIFEST, MANIFEST, refuse);
}

function parseManifest({ path, stats }: StageFile, refuse: Refusal): Record<string, unknown> {
  if (stats.size > MAX_MANIFEST_BYTES) {
    throw refuse(`its ${MANIFEST} has more than ${MAX_MANIFEST_BYTES} bytes`);
  }
  let manifest: unknown;
  try {
    manifest = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const why = error instanceof SyntaxError ? 'is no JSON' : `cannot be read: ${reasonOf(error)}`;
    throw refuse(`its ${MANIFEST} ${why}`, error);
  }
  if (isRecord(manifest)) return manifest;
  throw refuse(`its ${MANIFEST} is no object`);
}

function requireVersion(version: unknown, refuse: Refusal): void {
  if (version === INTERFACE_VERSION) return;
  if (!Number.isSafeInteger(version)) throw refuse('"interfaceVersion" must be a whole number');
  const remedy =
    Number(version) > INTERFACE_VERSION
      ? 'use a newer Gantry, or an older stage1'
      : 'use a newer stage1';
  throw refuse(
    `it speaks interface version ${Number(version)}, this Gantry ${INTERFACE_VERSION}: ${remedy}`,
  );
}

function readName(name: unknown, refuse: Refusal): string {
  if (typeof name === 'string' && isPrintable(name)) return name;
  throw refuse('"name" must be a string of 1 to 255 printable characters');
}

/** Entry points of later versions are none that this one could start. */
function readPrograms(entrypoints: unknown, refuse: Refusal): Map<EntryPoint, string> {
  if (!isRecord(entrypoints)) {
    throw refuse(
      `it has no entry points: name the programs run and gc as "entrypoints" of its ${MANIFEST}`,
    );
  }
  const programs = new Map<EntryPoint, string>();
  for (const entry of ENTRY_POINTS) {
    if (Object.hasOwn(entrypoints, entry)) {
      programs.set(entry, readProgram(entry, entrypoints[entry], refuse));
    } else if (REQUIRED.includes(entry)) {
      throw refuse(`it has no entry point "${entry}": name the program in its ${MANIFEST}`);
    }
  }
  return programs;
}

function readProgram(entry: EntryPoint, program: unknown, refuse: Refusal): string {
  const parts = typeof program === 'string' && isPrintable(program) ? program.split('/') : [''];
  if (!parts.some((part) => part === '' || part === '.' || part === '..')) return parts.join('/');
  throw refuse(
    `entry point "${entry}" must be the path of a program inside, relative and without "..": ${JSON.stringify(program)?.slice(0, 80)}`,
  );
}

function readPlanKind(word: unknown, refuse: Refusal): PlanKind {
  const plan = PLAN_KINDS.find((kind) => kind === (word ?? 'native'));
  if (plan !== undefined) return plan;
  throw refuse(`"plan" must be one of ${PLAN_KINDS.join(', ')}`);
}

/** Features of later versions are none that this one could ask for. */
function readFeatures(
  words: unknown,
  programs: ReadonlyMap<EntryPoint, string>,
  refuse: Refusal,
): Set<Feature> {
  if (words === undefined) return new Set();
  if (!Array.isArray(words)) throw refuse('"features" must be a list');
  const features = new Set(words.filter(isFeature));
  for (const [feature, entries] of CARRIED_OUT_BY) {
    const missing = features.has(feature) && entries.find((entry) => !programs.has(entry));
    if (!missing) continue;
    throw refuse(
      `it has the feature "${feature}" without an entry point "${missing}": name the program, or take the feature out of the manifest`,
    );
  }
  return features;
}

/** Letters people can read, on one line. V8 takes a third of a millisecond to know those beyond ASCII. */
function isPrintable(text: string): boolean {
  return /^[ -~]{1,255}$/.test(text) || /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]{1,255}$/u.test(text);
}

/** What a pod asks for comes by the plan; of what a kind of plan has no words for, a stage1 would hear nothing. */
function requireCarried(features: ReadonlySet<Feature>, plan: PlanKind, refuse: Refusal): void {
  const carried: readonly Feature[] = SHIPPED[plan].features;
  const lost = [...features].find((each) => isAskedFor(each) && !carried.includes(each));
  if (lost === undefined) return;
  throw refuse(
    `it has the feature "${lost}", which no plan of kind "${plan}" carries: take it out of the manifest, or ask for plans of another kind`,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
