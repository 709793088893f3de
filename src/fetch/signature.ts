import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { errnoOf, GantryError } from '../error.ts';
import { fetchDocument } from './document.ts';
import { statusFailure } from './failure.ts';
import { shownUrl } from './location.ts';
import type { Reporter } from './reporter.ts';
import type { Transport } from './transport.ts';

/** A detached signature is a few hundred bytes; several with certifications still fit. */
export const SIGNATURE_LIMIT = 1 << 20;

/** Where a signature is to be had. */
export type SignatureLocation = { readonly url: URL } | { readonly path: string };

/** Reads what `--signature` says: an http or https URL, a `file://` URL, or a path. */
export function parseSignatureLocation(text: string): SignatureLocation {
  if (/^https?:\/\//i.test(text)) {
    const url = URL.parse(text);
    if (url === null) throw new GantryError('usage', `--signature: ${text} is not a URL`);
    return { url };
  }
  return { path: text.replace(/^file:\/\/(?=\/)/i, '') };
}

/**
 * The bytes of a signature; undefined when its server asks to come back after the image.
 *
 * @throws GantryError `untrusted` when there is none, `network`
 */
export async function fetchSignature(
  location: SignatureLocation,
  transport: Transport,
  report: Reporter,
): Promise<Uint8Array | undefined> {
  if ('path' in location) return await readSignature(location.path);
  const { url } = location;
  report.debug(`image: downloading signature from ${shownUrl(url)}`);
  try {
    const { head, bytes } = await fetchDocument(transport, url, SIGNATURE_LIMIT);
    if (head.status === 202) return undefined;
    if (head.status !== 200) throw statusFailure(url, head);
    return bytes;
  } catch (error) {
    throw downloadFailure(error);
  }
}

/** The same, once the image is there: a server that still asks to come back is not believed. */
export async function fetchSignatureAgain(
  location: SignatureLocation,
  transport: Transport,
  report: Reporter,
): Promise<Uint8Array> {
  const signature = await fetchSignature(location, transport, report);
  if (signature !== undefined) return signature;
  throw new GantryError(
    'untrusted',
    'error downloading the signature file: the server deferred it again after the image; try again later',
  );
}

async function readSignature(path: string): Promise<Uint8Array> {
  try {
    const stats = statSync(path);
    if (!stats.isFile()) throw unreadable(path, 'it is not a regular file');
    if (stats.size > SIGNATURE_LIMIT) {
      throw unreadable(path, `it is larger than ${SIGNATURE_LIMIT} bytes, so no signature`);
    }
    return await readFile(path);
  } catch (error) {
    if (error instanceof GantryError) throw error;
    const errno = errnoOf(error);
    throw unreadable(path, errno === 'ENOENT' ? 'no such file' : (errno ?? String(error)), error);
  }
}

function unreadable(path: string, why: string, cause?: unknown): GantryError {
  return new GantryError(
    'untrusted',
    `error opening signature file ${path}: ${why}: put the detached signature there, name it with --signature, or run unsigned images with --insecure-options=image`,
    { cause },
  );
}

function downloadFailure(error: unknown): unknown {
  if (!(error instanceof GantryError) || error.code !== 'network') return error;
  // With a cause the transfer failed; without one the server plainly has no signature to give.
  const code = error.cause === undefined ? 'untrusted' : 'network';
  return new GantryError(code, `error downloading the signature file: ${error.message}`, {
    cause: error.cause,
  });
}
