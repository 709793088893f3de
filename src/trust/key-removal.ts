import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { installKeyFile, removeKeyFile } from './key-file.ts';
import { listTrustedKeys, locationIn, type TrustDirectories, type TrustedKey } from './keystore.ts';
import type { TrustRule } from './trust-rule.ts';

/** What was done so that a key is not trusted under a rule any more. */
export interface Removal {
  /** A mask is an empty file over a key that is not this machine's to remove. */
  readonly how: 'removed' | 'masked';
  readonly path: string;
  readonly rule: TrustRule;
}

/** Fewer digits than this mean a key by accident. */
const MIN_DIGITS = 4;

/**
 * The keys in force that a fingerprint, or the beginning of one, means: the same key under every rule
 * it is trusted by. Spaces and case are as whoever printed it liked.
 *
 * @throws GantryError `not-found`, `ambiguous`, `usage`
 */
export function findTrustedKeys(directories: TrustDirectories, text: string): TrustedKey[] {
  const digits = text.replace(/[\s:]/g, '').toLowerCase();
  if (!/^[0-9a-f]+$/.test(digits) || digits.length < MIN_DIGITS) {
    throw new GantryError(
      'usage',
      `${JSON.stringify(text)} is not a fingerprint: give at least ${MIN_DIGITS} hex digits of what gantry trust list shows`,
    );
  }
  const found = listTrustedKeys(directories).filter((key) => key.fingerprint.startsWith(digits));
  const fingerprints = [...new Set(found.map(({ fingerprint }) => fingerprint))];
  if (fingerprints.length > 1) {
    throw new GantryError(
      'ambiguous',
      `${digits} begins more than one key's fingerprint: ${fingerprints.join(', ')}`,
    );
  }
  if (fingerprints.length === 0) {
    throw new GantryError(
      'not-found',
      `no trusted key has a fingerprint that begins with ${digits}`,
    );
  }
  return found;
}

/**
 * Stops trusting a key under one rule: its file is removed where it is the machine's or the user's. Where
 * the vendor's configuration holds the key too, an empty file of the machine's is put over it, in place
 * of the machine's own where there is one, so that at no moment the vendor's speaks instead. So does an ordinary
 * user with the keys of both.
 *
 * @param key one of those in force.
 * @throws GantryError `permission` when the directory cannot be written.
 */
export function removeTrustedKey(
  directories: TrustDirectories,
  { fingerprint, rule }: TrustedKey,
): Removal[] {
  const { system, local, user, own = local } = directories;
  const fileIn = (directory: string) => join(locationIn(directory, rule), fingerprint);
  const removals: Removal[] = [];
  if ([system, local].some((directory) => directory !== own && existsSync(fileIn(directory)))) {
    removals.push(maskTrustedKey(directories, fingerprint, rule));
  } else if (existsSync(fileIn(own))) {
    removals.push(removeFile(fileIn(own), rule));
  }
  if (user !== undefined && user !== own && existsSync(fileIn(user))) {
    removals.push(removeFile(fileIn(user), rule));
  }
  return removals;
}

function removeFile(path: string, rule: TrustRule): Removal {
  removeKeyFile(path);
  return { how: 'removed', path, rule };
}

/**
 * Takes a key away from the names under a prefix while it stays trusted for others: an empty file of the
 * machine's under that prefix.
 *
 * @throws GantryError `permission` when the directory cannot be written.
 */
export function maskTrustedKey(
  { local, own = local }: TrustDirectories,
  fingerprint: string,
  rule: TrustRule,
): Removal {
  const path = join(locationIn(own, rule), fingerprint);
  installKeyFile(own, path, '');
  return { how: 'masked', path, rule };
}
