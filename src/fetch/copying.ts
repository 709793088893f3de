import { GantryError } from '../error.ts';
import { formatDigest, sameDigest } from '../image/digest.ts';
import type { Descriptor } from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';
import { onePiece } from './blob-delivery.ts';
import { BlobStream, RestartedDownload } from './blob-stream.ts';
import { mergeSignatures } from './classic-signatures.ts';
import { type CopyPlan, type CopyWish, type PlannedDocument, planCopy } from './copy-plan.ts';
import { throughLanes } from './lanes.ts';
import type { FoundManifest, OciDestination, OciSource } from './oci-source.ts';
import type { Reporter } from './reporter.ts';
import { isSignatureTag } from './signature-form.ts';

/** Blobs on their way at once, as when fetching. */
const PARALLEL_BLOBS = 3;
/** How often one blob is begun again from its first byte, where its server cannot go on amidst it. */
const BLOB_ATTEMPTS = 3;

/** Whence and whither, and how to stop all that is under way when one part of it fails. */
export interface CopyRoute {
  readonly source: OciSource;
  readonly destination: OciDestination;
  readonly report: Reporter;
  readonly signal?: AbortSignal | undefined;
  /** The source lies on this machine, and says nothing of how far it is. */
  readonly isLocal: boolean;
  /** What lies under a tag of the destination, where it can be asked. */
  present?(tag: string): Promise<FoundManifest | undefined>;
  /** Ends every transfer that is under way. */
  abandon(reason: unknown): void;
}

/** What a copy takes along, and what it may take the place of. */
export interface CopyTerms extends CopyWish {
  /** Whether another image may lose the tag. */
  readonly mayReplace: boolean;
}

/**
 * Copies an image, byte for byte: first the blobs the destination lacks, which it checks against digest
 * and size, then the manifests, what names others after them, the image's own last. Whoever looks at the
 * destination meanwhile sees the image whole or not at all.
 *
 * @throws GantryError `usage`, `invalid-manifest`, `invalid-archive`, `not-found`, `network`, `store`, `interrupted`
 */
export async function copyImage(
  image: FoundManifest,
  terms: CopyTerms,
  route: CopyRoute,
): Promise<void> {
  const { source, destination, report } = route;
  try {
    await refuseReplacement(image, terms, route);
    const plan = await planCopy(source, image, terms);
    report.debug(
      `image: copying ${plan.documents.length} manifests and ${plan.blobs.length} blobs from ${source.shown} to ${destination.shown}`,
    );
    await copyBlobs(plan, route);
    for (const document of plan.documents) {
      route.signal?.throwIfAborted();
      await putDocument(document, route);
    }
    route.signal?.throwIfAborted();
    await destination.finish();
  } catch (error) {
    await destination.abort();
    throw error;
  }
}

async function refuseReplacement(
  image: FoundManifest,
  { tag, mayReplace }: CopyTerms,
  { destination, present }: CopyRoute,
): Promise<void> {
  if (mayReplace || tag === undefined) return;
  const there = await present?.(tag);
  if (there === undefined || sameDigest(there.digest, image.digest)) return;
  throw new GantryError(
    'usage',
    `${destination.shown}: ${quote(tag)} is another image there (try --overwrite)`,
  );
}

async function putDocument(document: PlannedDocument, route: CopyRoute): Promise<void> {
  const { bytes, mediaType, reference } = document;
  const { destination } = route;
  if (!isSignatureTag(reference)) return await destination.putManifest(bytes, mediaType, reference);
  const present = await route.present?.(reference);
  const merged = present === undefined ? 'coming' : mergeSignatures(present, document);
  if (merged === 'present') return;
  if (merged === 'coming') return await destination.putManifest(bytes, mediaType, reference);
  const { manifest, config } = merged;
  await destination.putBlob(config.descriptor, onePiece(config.bytes));
  await destination.putManifest(manifest.bytes, manifest.descriptor.mediaType, reference);
}

/** The largest first, so that none is left to be waited for alone. */
async function copyBlobs({ blobs }: CopyPlan, route: CopyRoute): Promise<void> {
  const order = blobs.toSorted((a, b) => b.size - a.size);
  const copy = (blob: Descriptor) => copyBlob(blob, route);
  await throughLanes(order, PARALLEL_BLOBS, copy, (reason) => route.abandon(reason));
}

async function copyBlob(blob: Descriptor, route: CopyRoute): Promise<void> {
  if (await route.destination.hasBlob(blob.digest)) {
    route.report.debug(
      `image: ${route.destination.shown} has ${formatDigest(blob.digest)} already`,
    );
    return;
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await streamBlob(blob, route);
    } catch (error) {
      if (!(error instanceof RestartedDownload) || attempt === BLOB_ATTEMPTS) throw error;
    }
  }
}

async function streamBlob(blob: Descriptor, route: CopyRoute): Promise<void> {
  const { source, destination } = route;
  const stream = new BlobStream();
  let cause: { readonly error: unknown } | undefined;
  const download = source.blob(blob, stream).then(
    () => stream.finish(),
    (error: unknown) => {
      // That nobody reads is no fault of the source.
      if (!stream.isAbandoned) cause = { error };
      stream.fail(error);
    },
  );
  try {
    await destination.putBlob(blob, watched(stream, blob, route));
  } catch (error) {
    // What the download failed of is the cause; what the upload makes of it is not.
    if (cause !== undefined) throw cause.error;
    stream.abandon();
    route.abandon(error);
    await download;
    throw error;
  }
  // The destination may have come by the blob otherwise, and have read none or not all of it.
  stream.abandon();
  await download;
}

/** The same pieces, shown as they go by, and stopped between two of them when everything is. */
async function* watched(
  pieces: AsyncIterable<Buffer>,
  { digest, size }: Descriptor,
  { isLocal, report, signal }: CopyRoute,
): AsyncIterable<Buffer> {
  const label = `Copying blob ${formatDigest(digest).slice(0, 'sha256:'.length + 12)}`;
  const transfer = isLocal ? report.transfer(label, size) : undefined;
  try {
    for await (const piece of pieces) {
      signal?.throwIfAborted();
      transfer?.advance(piece.length);
      yield piece;
    }
  } finally {
    transfer?.done();
  }
}
