import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { isGranted, type Wish } from '../image/wish.ts';
import { recheckProvenance } from '../trust/verification.ts';
import { findByUrl } from './cached.ts';
import type { FetchContext } from './context.ts';
import { download } from './download.ts';
import { lockFetch } from './fetch-lock.ts';
import { isFresh, sourceFrom } from './freshness.ts';
import { Intake, type Voucher } from './intake.ts';
import { bareUrl, shownUrl } from './location.ts';
import { fetchSignature, fetchSignatureAgain, type SignatureLocation } from './signature.ts';
import type { Transport } from './transport.ts';

/** An image on a server. */
export interface RemoteImage {
  readonly image: URL;
  readonly signature: SignatureLocation;
  /** What was asked for, where it was asked for by name. */
  readonly wish?: Wish | undefined;
}

/**
 * Fetches an image from a server, or answers the stored one while the server's word or its answer
 * is that it is still the current one.
 */
export async function fetchRemoteImage(
  remote: RemoteImage,
  context: FetchContext,
  transport: Transport,
): Promise<ImageRecord> {
  const shown = shownUrl(remote.image);
  const began = Date.now();
  context.report.debug(`image: remote fetching from URL ${JSON.stringify(shown)}`);
  const lock = await lockFetch(shown, context);
  try {
    const stored = await findUsable(remote, context);
    if (lock.waited && stored !== undefined && Date.parse(stored.importedAt) >= began) {
      return stored;
    }
    if (stored !== undefined && isFresh(stored)) {
      context.report.debug(`image: image for ${shown} isn't expired, not fetching.`);
      return stored;
    }
    context.report.debug(`image: fetching image from ${shown}`);
    return await downloadImage(remote, stored, context, transport);
  } finally {
    await lock.release();
  }
}

/** The image stored from this URL, if it is what is asked for and trust in it still holds. */
async function findUsable(
  { image, wish }: RemoteImage,
  context: FetchContext,
): Promise<ImageRecord | undefined> {
  const stored = findByUrl(context.store, image);
  if (stored === undefined) return undefined;
  if (wish !== undefined && !isGranted(wish, stored.manifest, stored.id)) return undefined;
  return (await isTrusted(stored, context)) ? stored : undefined;
}

/** Whether a stored image may be used as it is; one that may not is fetched and verified anew. */
export async function isTrusted(record: ImageRecord, context: FetchContext): Promise<boolean> {
  if (context.insecure.image) return true;
  try {
    await recheckProvenance(record.provenance, record.name, context.directories);
    return true;
  } catch (error) {
    if (error instanceof GantryError) return false;
    throw error;
  }
}

async function downloadImage(
  remote: RemoteImage,
  stored: ImageRecord | undefined,
  context: FetchContext,
  transport: Transport,
): Promise<ImageRecord> {
  const voucher = await voucherFor(remote, context, transport);
  const intake = await Intake.open(context, voucher, remote.wish);
  try {
    const { etag, lastModified } = stored?.source ?? {};
    const known = { etag, lastModified };
    const { report } = context;
    const outcome = await download(transport, remote.image, known, intake, report);
    const source = sourceFrom(bareUrl(remote.image).href, outcome.head);
    if (!outcome.notModified || stored === undefined) return await intake.conclude(source);
    // A 304 may leave out what it does not change (RFC 9110 section 15.4.5).
    const { expiresAt: _, ...before } = stored.source;
    const renewed = { ...stored, source: { ...before, ...source } };
    if (await context.store.updateImage(renewed)) return renewed;
  } finally {
    await intake.abort();
  }
  // It was removed while the server was asked about it.
  return await downloadImage(remote, undefined, context, transport);
}

async function voucherFor(
  { signature: location }: RemoteImage,
  context: FetchContext,
  transport: Transport,
): Promise<Voucher> {
  if (context.insecure.image) return { kind: 'none' };
  const signature = await fetchSignature(location, transport, context.report);
  if (signature !== undefined) return { kind: 'signature', signature };
  context.report.info('image: server requested deferring the signature download');
  return {
    kind: 'deferred',
    fetch: () => fetchSignatureAgain(location, transport, context.report),
  };
}
