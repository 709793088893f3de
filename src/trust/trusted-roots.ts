import { createHash } from 'node:crypto';
import { readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { parseDocument } from '../image/document.ts';
import { MAX_KEY_FILE_BYTES, readKeyFile, requireSafeOwnership } from './key-file.ts';
import type { TrustDirectories } from './keystore.ts';

// Asked each time a pod is prepared: nothing of sigstore's own libraries is loaded here.

/** The directory, in each configuration directory, trusted roots lie in. */
export const TRUSTED_ROOTS = 'trustedroots.d';

/** A trusted root as it lies there. */
export interface TrustedRootFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * The trusted roots in force: every `trustedroots.d/*.json` of the configuration directories. A file
 * replaces one of the same name in a directory it outranks, and an empty one takes it away.
 *
 * @throws GantryError `permission` or `bad-key` for a file that has no business there: as with keys,
 *   nothing is believed beside it.
 */
export function trustedRootFiles(directories: TrustDirectories): TrustedRootFile[] {
  const files = [directories.system, directories.local, directories.user]
    .filter((directory) => directory !== undefined)
    .flatMap((directory) => filesIn(join(directory, TRUSTED_ROOTS)));
  const inForce = new Map(files.map((file) => [file.name, file.path]));
  return [...inForce.values()]
    .map((path) => ({ path, bytes: readKeyFile(path) }))
    .filter(({ bytes }) => bytes.length > 0);
}

/**
 * Whether a trusted root in force still names an authority.
 *
 * @param fingerprint SHA-256 of its certificate, lower-case hex.
 * @throws GantryError `permission` or `bad-key`
 */
export function namesAuthority(directories: TrustDirectories, fingerprint: string): boolean {
  return trustedRootFiles(directories).some((file) => authoritiesOf(file).includes(fingerprint));
}

/** The fingerprints of the certificates that a root has for its authorities. */
function authoritiesOf({ path, bytes }: TrustedRootFile): string[] {
  const what = rootName(path);
  const root = parseDocument(bytes, { what, code: 'bad-key', maxBytes: MAX_KEY_FILE_BYTES });
  return root
    .member('certificateAuthorities')
    .list()
    .flatMap((authority) => authority.member('certChain').member('certificates').list())
    .map((certificate) => {
      const der = Buffer.from(certificate.member('rawBytes').string(), 'base64');
      return createHash('sha256').update(der).digest('hex');
    });
}

/** How messages call a trusted root. */
export function rootName(path: string): string {
  return `sigstore trusted root ${path}`;
}

function filesIn(directory: string): { name: string; path: string }[] {
  const stats = statOrUndefined(directory);
  if (stats === undefined) return [];
  if (!stats.isDirectory()) {
    throw new GantryError('bad-key', `${rootName(directory)} is not a directory; remove it`);
  }
  requireSafeOwnership(directory, stats);
  return readdirSync(directory)
    .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
    .sort()
    .map((name) => ({ name, path: join(directory, name) }));
}

function statOrUndefined(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    if (errnoOf(cause) === 'ENOTDIR') return undefined;
    throw new GantryError(
      'permission',
      `sigstore trusted roots: cannot look at ${path}: ${errnoOf(cause)}`,
      { cause },
    );
  }
}
