import { GantryError } from '../error.ts';
import { type Digest, formatDigest, sameDigest } from '../image/digest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import {
  MEDIA_TYPES,
  maxManifestBytes,
  type OciIndex,
  type OciManifest,
  parseOciManifest,
} from '../image/oci-manifest.ts';
import type { VerifiedProvenance } from '../image/provenance.ts';
import type { TrustDirectories } from './keystore.ts';
import type { SignatureCandidate, SignedIdentityPolicy } from './manifest-signature.ts';

/** What reads an image's blobs; each throws what a damaged or missing one makes it throw. */
export type OpenBlob = (digest: Digest) => AsyncIterable<Uint8Array>;

/** What checking again takes. */
export interface ReverificationRequest {
  readonly record: ImageRecord;
  readonly directories: TrustDirectories;
  readonly openBlob: OpenBlob;
  /** How far the reference in the signature must be the image's (`registries.d`). */
  readonly identity: SignedIdentityPolicy;
}

/** What checking again came to. */
export type Reverification =
  | { readonly kind: 'verified'; readonly provenance: VerifiedProvenance }
  /** Nobody vouched then, as the record says, and nobody is asked now. */
  | { readonly kind: 'unverified'; readonly reason: string }
  /** Somebody did, but what it takes to check that again is not in the store. */
  | { readonly kind: 'not-kept'; readonly provenance: VerifiedProvenance; readonly reason: string };

/** A statement with a large build's provenance, in a bundle, in base64. */
const MAX_SIGNATURE_BYTES = 16 << 20;

/**
 * Checks the signature an image was believed by once more, from its bytes: over the manifest, index or
 * archive that is stored now, against the keys that are trusted now, by today's date. Nothing that the record
 * says of the verdict is taken over.
 *
 * @throws GantryError `untrusted` and `bad-signature`, as when it was fetched; `store` for blobs that are
 *   missing or damaged.
 */
export async function reverify(request: ReverificationRequest): Promise<Reverification> {
  const { provenance, oci } = request.record;
  if (provenance.kind === 'unverified') return { kind: 'unverified', reason: provenance.reason };
  const { signatureBlob } = provenance;
  if (signatureBlob === undefined) {
    return {
      kind: 'not-kept',
      provenance,
      reason: 'its signature was not kept when it was fetched',
    };
  }
  if (oci !== undefined && provenance.signature === 'detached') {
    return { kind: 'not-kept', provenance, reason: 'the archive that was signed was not kept' };
  }
  const signature = await wholeBlob(request.openBlob, signatureBlob, MAX_SIGNATURE_BYTES);
  const check = oci === undefined ? verifyArchive : verifyDocuments;
  return { kind: 'verified', provenance: await check(request, signature) };
}

/** An App Container image's detached signature is over the archive as it was fetched. */
async function verifyArchive(
  { record, directories, openBlob }: ReverificationRequest,
  signature: Uint8Array,
): Promise<VerifiedProvenance> {
  const { startVerification } = await import('./verification.ts');
  const { name, blob } = record;
  const verification = await startVerification({ signature, directories, name });
  try {
    for await (const piece of openBlob(blob)) verification.write(piece);
    return await verification.conclude(name);
  } finally {
    verification.abort();
  }
}

async function verifyDocuments(
  { record, directories, openBlob, identity }: ReverificationRequest,
  signature: Uint8Array,
): Promise<VerifiedProvenance> {
  const [{ verifyManifest }, { decodeSignature }, candidates] = await Promise.all([
    import('./manifest-verification.ts'),
    import('./signature-encoding.ts'),
    candidatesOf(record, openBlob),
  ]);
  const { provenance } = await verifyManifest({
    directories,
    name: record.name,
    tag: record.labels['version'],
    candidates,
    signatures: [decodeSignature(signature)],
    identity,
  });
  return provenance;
}

/**
 * The index that was signed, where one was, and the image's manifest. Since then the image may have been
 * chosen from another index, under another name: that is not what was signed.
 */
async function candidatesOf(
  { oci, provenance }: ImageRecord,
  openBlob: OpenBlob,
): Promise<SignatureCandidate[]> {
  if (oci === undefined) return [];
  const { digest, mediaType, size } = oci.manifest;
  const manifest: SignatureCandidate = {
    what: 'manifest',
    digest,
    mediaType,
    bytes: await wholeBlob(openBlob, { ...digest, size }, size),
  };
  const signed = provenance.kind === 'unverified' ? undefined : provenance.signed;
  const digestOfIndex = signed?.what === 'index' ? signed.digest : oci.index?.digest;
  if (digestOfIndex === undefined) return [manifest];
  const bytes = await wholeBlob(openBlob, digestOfIndex, maxManifestBytes);
  const index = parseOciManifest(bytes, undefined);
  if (!leadsTo(index, digest)) return [manifest];
  return [{ what: 'index', digest: digestOfIndex, mediaType: index.mediaType, bytes }, manifest];
}

/** Whether an index names a manifest, or may do so by way of another index. */
function leadsTo(document: OciIndex | OciManifest, digest: Digest): boolean {
  if (document.kind === 'manifest') return false;
  const isIndex = (mediaType: string) =>
    mediaType === MEDIA_TYPES.index || mediaType === MEDIA_TYPES.dockerList;
  return document.manifests.some(
    (entry) => sameDigest(entry.digest, digest) || isIndex(entry.mediaType),
  );
}

async function wholeBlob(
  openBlob: OpenBlob,
  { size, ...digest }: Digest & { size?: number },
  limit: number,
): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of openBlob(digest)) {
    length += piece.length;
    if (length > limit) break;
    // A piece is the caller's only until the next one.
    pieces.push(Buffer.from(piece));
  }
  if (length <= limit && length === (size ?? length)) return Buffer.concat(pieces);
  throw new GantryError(
    'store',
    `the blob ${formatDigest(digest)} is not as large as its image says`,
  );
}
