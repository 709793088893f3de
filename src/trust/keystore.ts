import { readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { parseImageName } from '../image/identifier.ts';
import type { TrustRule } from '../image/provenance.ts';
import { installKeyFile, readKeyFile, requireSafeOwnership } from './key-file.ts';
import { covers, prefixesOf } from './trust-rule.ts';

export type { TrustRule } from '../image/provenance.ts';

/**
 * The configuration directories trust is read from; each holds `trustedkeys/`. Later ones outrank
 * earlier ones: `system` (the distribution's), `local` (the machine's), `user` (with
 * `--user-config`).
 */
export interface TrustDirectories {
  readonly system: string;
  readonly local: string;
  readonly user?: string | undefined;
  /** Where keys are added that are not the machine's; `local` where absent. */
  readonly own?: string | undefined;
}

/** One key file that is in force. */
export interface TrustedKey {
  /** Of an OpenPGP key's primary key, or the SHA-256 of another; lower-case hex; also the file's name. */
  readonly fingerprint: string;
  /** Absolute, or relative as the directories were given. */
  readonly path: string;
  readonly rule: TrustRule;
  /** Reads the file; throws GantryError `permission` or `bad-key`. */
  bytes(): Uint8Array;
  /** Is another whenever the file may hold other bytes: device, inode, size, time of change. */
  stamp(): string;
}

/** A directory key files may lie in, and what its keys are trusted for. */
interface Location {
  readonly directory: string;
  readonly rule: TrustRule;
}

/** A file found in a location: a key, or the empty file that masks one. */
interface Entry {
  readonly fingerprint: string;
  readonly path: string;
  readonly rule: TrustRule;
  readonly masks: boolean;
}

/** Of OpenPGP version 4 a SHA-1, of version 6 (RFC 9580 section 5.5.4) and of all other kinds a SHA-256. */
const FINGERPRINT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/**
 * The keys that may vouch for an image name: at most one file per fingerprint. Locations are asked
 * in rkt's order (root of every directory first, then prefixes, the outranking directory last and
 * longer prefixes after shorter ones); a later file replaces an earlier one of the same
 * fingerprint, and an empty one takes it away.
 *
 * @throws GantryError `invalid-reference` for a name that is none, `permission` or
 *   `bad-key` for a file that has no business there: nothing is believed beside it.
 */
export function trustedKeysFor(directories: TrustDirectories, name: string): TrustedKey[] {
  const locations = locationsFor(directories, name);
  return inForce(locations.flatMap(entriesOf)).map(trustedKey);
}

/**
 * The one key with this fingerprint that may vouch for a name, as `trustedKeysFor` would give it,
 * by a handful of stat calls: this is asked every time a pod is prepared.
 */
export function trustedKeyFor(
  directories: TrustDirectories,
  name: string,
  fingerprint: string,
): TrustedKey | undefined {
  if (!FINGERPRINT.test(fingerprint)) return undefined;
  const entries = locationsFor(directories, name).flatMap((location) => {
    if (directoryStats(location.directory) === undefined) return [];
    return entryOf(location, fingerprint) ?? [];
  });
  const entry = inForce(entries)[0];
  return entry === undefined ? undefined : trustedKey(entry);
}

/** Every key in force, whatever it is trusted for; one that is trusted under two rules twice. */
export function listTrustedKeys(directories: TrustDirectories): TrustedKey[] {
  const entries = allEntries(directories);
  return entries
    .filter((entry, index) => !entry.masks && !entries.slice(index + 1).some(overrules(entry)))
    .map(trustedKey);
}

/** Every prefix that has a file of its own, be it one that only takes a key away; sorted. */
export function listPrefixes(directories: TrustDirectories): string[] {
  const prefixes = allEntries(directories).flatMap(({ rule }) =>
    rule.scope === 'prefix' ? [rule.prefix] : [],
  );
  return [...new Set(prefixes)].sort();
}

function allEntries(directories: TrustDirectories): Entry[] {
  const stores = keyStores(directories);
  const locations = [
    ...stores.map(rootLocation),
    ...stores.flatMap((store) => prefixLocations(join(store, 'prefix.d'), [])),
  ];
  return locations.flatMap(entriesOf);
}

/**
 * Trusts every key in `bytes` (of any kind there is, nothing else) under `rule`: one file each, mode
 * 0644, in the `own` directory, or the `local` one, each put in its place at once. A key trusted under that rule already
 * is replaced, which is how a renewed or revoked one is taken in.
 *
 * @returns the paths written, in the order of the keys in `bytes`.
 * @throws GantryError `bad-key` when the bytes are anything else, `invalid-reference` for a prefix
 *   that is no image name, `permission` when the directory cannot be written.
 */
export async function addTrustedKeys(
  directories: TrustDirectories,
  bytes: Uint8Array,
  rule: TrustRule,
): Promise<string[]> {
  const own = directories.own ?? directories.local;
  const directory = locationIn(own, rule);
  const { readKeys } = await import('./trusted-key-kind.ts');
  const keys = await readKeys(bytes);
  return keys.map(({ fingerprint, file }) => {
    const path = join(directory, fingerprint);
    installKeyFile(own, path, file);
    return path;
  });
}

/** Where the keys of a rule lie in a configuration directory. */
export function locationIn(directory: string, rule: TrustRule): string {
  const store = join(directory, 'trustedkeys');
  if (rule.scope === 'root') return join(store, 'root.d');
  return join(store, 'prefix.d', parseImageName(rule.prefix));
}

function locationsFor(directories: TrustDirectories, name: string): Location[] {
  const prefixes = prefixesOf(parseImageName(name));
  const stores = keyStores(directories);
  return [
    ...stores.map(rootLocation),
    ...stores
      .map((store) => join(store, 'prefix.d'))
      .filter((top) => directoryStats(top) !== undefined)
      .flatMap((top) => prefixes.map((prefix) => prefixLocation(top, prefix))),
  ];
}

/** The `trustedkeys` directories that exist, lowest rank first. */
function keyStores(directories: TrustDirectories): string[] {
  return [directories.system, directories.local, directories.user]
    .filter((directory) => directory !== undefined)
    .map((directory) => join(directory, 'trustedkeys'))
    .filter((store) => directoryStats(store) !== undefined);
}

function rootLocation(store: string): Location {
  return { directory: join(store, 'root.d'), rule: { scope: 'root' } };
}

function prefixLocation(top: string, prefix: string): Location {
  return { directory: join(top, prefix), rule: { scope: 'prefix', prefix } };
}

/** Every directory below `prefix.d`, parents before children. */
function prefixLocations(top: string, components: readonly string[]): Location[] {
  const directory = join(top, ...components);
  if (directoryStats(directory) === undefined) return [];
  const here = components.length === 0 ? [] : [prefixLocation(top, components.join('/'))];
  const below = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .sort();
  return [...here, ...below.flatMap((name) => prefixLocations(top, [...components, name]))];
}

/** The files of one location. Dot files are nobody's keys: half-written ones are named so. */
function entriesOf(location: Location): Entry[] {
  if (directoryStats(location.directory) === undefined) return [];
  return readdirSync(location.directory)
    .filter((name) => !name.startsWith('.'))
    .sort()
    .flatMap((name) => entryOf(location, name) ?? []);
}

function entryOf(location: Location, name: string): Entry | undefined {
  const path = join(location.directory, name);
  const stats = statOrUndefined(path);
  if (stats === undefined || stats.isDirectory()) return undefined;
  // A mask that is misspelt must not go unnoticed: the key it was meant for would stay trusted.
  if (!FINGERPRINT.test(name)) {
    throw new GantryError(
      'bad-key',
      `trusted key store: ${path} is not named after a key's fingerprint in lower-case hex; rename or remove it`,
    );
  }
  if (!stats.isFile()) {
    throw new GantryError('bad-key', `trusted key store: ${path} is not a regular file; remove it`);
  }
  requireSafeOwnership(path, stats);
  return { fingerprint: name, path, rule: location.rule, masks: stats.size === 0 };
}

/** Plays entries in order: the last file of a fingerprint decides. */
function inForce(entries: readonly Entry[]): Entry[] {
  const last = new Map(entries.map((entry) => [entry.fingerprint, entry]));
  return [...last.values()].filter((entry) => !entry.masks);
}

/** Whether a later entry replaces or masks this one for every name this one is about. */
function overrules(entry: Entry): (later: Entry) => boolean {
  return (later) => later.fingerprint === entry.fingerprint && covers(later.rule, entry.rule);
}

function trustedKey(entry: Entry): TrustedKey {
  const { fingerprint, path, rule } = entry;
  return { fingerprint, path, rule, bytes: () => readKeyFile(path), stamp: () => stampOf(path) };
}

/** The ctime is the kernel's: nobody can set it back after writing to the file. */
function stampOf(path: string): string {
  const { dev, ino, size, ctimeNs } = statSync(path, { bigint: true });
  return `${dev}:${ino}:${size}:${ctimeNs}`;
}

/** A directory of the store, checked; undefined when there is none (a key file may have its name). */
function directoryStats(path: string): Stats | undefined {
  const stats = statOrUndefined(path);
  if (stats === undefined || !stats.isDirectory()) return undefined;
  requireSafeOwnership(path, stats);
  return stats;
}

function statOrUndefined(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return undefined;
    throw new GantryError(
      'permission',
      `trusted key store: cannot look at ${path}: ${errnoOf(error)}`,
      { cause: error },
    );
  }
}
