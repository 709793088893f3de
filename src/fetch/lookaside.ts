import { readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { errnoOf, GantryError, reasonOf } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import { fetchDocument } from './document.ts';
import { statusFailure } from './failure.ts';
import { shownUrl } from './location.ts';
import { SIGNATURE_LIMIT } from './signature.ts';
import type { Getter } from './transport.ts';

/** One signature of a lookaside store. */
export interface LookasideSignature {
  readonly origin: string;
  readonly bytes: Uint8Array;
}

/**
 * The signatures a lookaside store has for a manifest: `BASE/PATH@sha256=HEX/signature-1` and so on, up to
 * the first that is not there (containers/image, docs/signature-protocols.md).
 *
 * @param path of the repository, without its host
 * @param limit how many at most
 * @throws GantryError `network`, `config` for a file that cannot be read
 */
export async function lookasideSignatures(
  base: URL,
  path: string,
  digest: Digest,
  limit: number,
  getter: Getter | undefined,
): Promise<LookasideSignature[]> {
  const found: LookasideSignature[] = [];
  while (found.length < limit) {
    const url = new URL(base);
    const folder = `${path}@${formatDigest(digest).replace(':', '=')}`;
    url.pathname = `${url.pathname.replace(/\/$/, '')}/${folder}/signature-${found.length + 1}`;
    const bytes = url.protocol === 'file:' ? readOptional(url) : await fetchOptional(url, getter);
    if (bytes === undefined) break;
    found.push({ origin: shownUrl(url), bytes });
  }
  return found;
}

async function fetchOptional(url: URL, getter: Getter | undefined): Promise<Buffer | undefined> {
  if (getter === undefined) throw new GantryError('internal', `${shownUrl(url)}: no way to ask it`);
  const { head, bytes } = await fetchDocument(getter, url, SIGNATURE_LIMIT);
  if (head.status === 404 || head.status === 410) return undefined;
  if (head.status !== 200) throw statusFailure(url, head);
  return bytes;
}

function readOptional(url: URL): Buffer | undefined {
  const path = fileURLToPath(url);
  try {
    const stats = statSync(path);
    if (stats.isFile() && stats.size <= SIGNATURE_LIMIT) return readFileSync(path);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw new GantryError('config', `the signature ${path}: ${reasonOf(cause)}`, { cause });
  }
  throw new GantryError(
    'config',
    `the signature ${path} is not a regular file of at most ${SIGNATURE_LIMIT} bytes`,
  );
}
