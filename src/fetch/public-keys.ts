import { readFile, stat } from 'node:fs/promises';
import { GantryError, reasonOf } from '../error.ts';
import type { TransportContext } from './context.ts';
import { Discovery } from './discovery.ts';
import { fetchDocument } from './document.ts';
import { statusFailure } from './failure.ts';
import { bareUrl } from './location.ts';
import { Transport } from './transport.ts';

/** A file of public keys, as it came; whether to trust it is another question. */
export interface PublicKey {
  /** The URL or path it came from, without user and password. */
  readonly url: string;
  readonly bytes: Uint8Array;
}

/** Named by the operator, or to be discovered for a name or prefix. */
export type KeyPlace = { readonly location: string } | { readonly prefix: string };

/** The same bound trusted key files are held to. */
const KEY_LIMIT = 1 << 20;

/**
 * Fetches public keys from a path, an https URL, or where discovery for a prefix says they lie.
 * Plain http is refused unless `insecure.pubkey` allows it; for images that option means nothing.
 *
 * @throws GantryError `discovery`, `network`, `not-found`
 */
export async function fetchPublicKeys(
  place: KeyPlace,
  context: TransportContext,
): Promise<PublicKey[]> {
  const { insecure } = context;
  const keyContext = { ...context, insecure: { ...insecure, http: insecure.pubkey } };
  const transport = new Transport(keyContext);
  try {
    const locations =
      'location' in place
        ? [place.location]
        : await new Discovery(keyContext, transport).findKeys(place.prefix);
    const keys: PublicKey[] = [];
    for (const location of locations)
      keys.push(await fetchKey(location, transport, insecure.pubkey));
    return keys;
  } finally {
    await transport.close();
  }
}

async function fetchKey(
  location: string | URL,
  transport: Transport,
  httpAllowed: boolean,
): Promise<PublicKey> {
  const text = String(location);
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return await readKey(text);
  const url = URL.parse(text);
  if (url === null) throw new GantryError('usage', `${text} is not a URL`);
  // A discovered key is never a local file: a server does not get to pick one.
  if (url.protocol === 'file:' && typeof location === 'string') {
    return await readKey(decodeURIComponent(url.pathname));
  }
  if (url.protocol === 'http:' && !httpAllowed) {
    throw new GantryError(
      'network',
      `error accessing the key ${bareUrl(url).href}: plain http is refused: use https, or allow it with --insecure-options=pubkey`,
    );
  }
  const { head, bytes } = await fetchDocument(transport, url, KEY_LIMIT);
  if (head.status !== 200) throw statusFailure(url, head);
  return { url: bareUrl(url).href, bytes };
}

async function readKey(path: string): Promise<PublicKey> {
  try {
    const stats = await stat(path);
    if (!stats.isFile()) throw new GantryError('not-found', `${path} is not a regular file`);
    if (stats.size > KEY_LIMIT) {
      throw new GantryError(
        'bad-key',
        `${path} is larger than the ${KEY_LIMIT} bytes keys may have`,
      );
    }
    return { url: path, bytes: await readFile(path) };
  } catch (cause) {
    if (cause instanceof GantryError) throw cause;
    throw new GantryError('not-found', `error accessing the key ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  }
}
