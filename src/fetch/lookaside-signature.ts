import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GantryError } from '../error.ts';
import type { Digest } from '../image/digest.ts';
import { putNewFile, unwritable } from '../trust/new-file.ts';

/** What Gantry, as everybody else, reads of one image. */
const MAX_SIGNATURES = 64;

/**
 * Puts a simple-signing signature into a lookaside store under the next free number (containers/image,
 * docs/signature-protocols.md): `<directory>/<repository>@sha256=<hex>/signature-1`. Of two who sign in
 * the same moment each gets a number of his own.
 *
 * @param path the repository without its host.
 * @returns the path of the signature.
 * @throws GantryError `permission`, `store`
 */
export function placeInLookaside(
  directory: string,
  path: string,
  { algorithm, hex }: Digest,
  signature: Uint8Array,
): string {
  const folder = join(directory, `${path}@${algorithm}=${hex}`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw unwritable(folder, cause);
  }
  for (let number = 1; number <= MAX_SIGNATURES; number++) {
    const place = join(folder, `signature-${number}`);
    if (putNewFile(place, signature, { mode: 0o644 })) return place;
  }
  throw new GantryError(
    'unsupported',
    `${folder} holds ${MAX_SIGNATURES} signatures already, and more are not read by anybody`,
  );
}

/**
 * The directory that a lookaside store of `registries.d` is, where it can be written to.
 * @throws GantryError `unsupported` for one that is a web server
 */
export function lookasideDirectory(lookaside: URL): string {
  if (lookaside.protocol === 'file:') return fileURLToPath(lookaside);
  throw new GantryError(
    'unsupported',
    `the lookaside store ${lookaside.href} is a web server: give the directory it serves with --lookaside`,
  );
}
