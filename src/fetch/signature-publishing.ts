import { GantryError } from '../error.ts';
import { type Digest, formatDigest, sameDigest } from '../image/digest.ts';
import { type Descriptor, parseOciManifest } from '../image/oci-manifest.ts';
import { decodeSignatureText, isSignedBy } from '../trust/key-signature.ts';
import {
  BUNDLE_MEDIA_TYPE,
  type ClassicSignature,
  isBundleBy,
  SIGN_PREDICATE,
} from '../trust/signing.ts';
import type { SigstoreSigningKey } from '../trust/signing-key.ts';
import {
  type ArtifactPart,
  artifactManifest,
  artifactPart,
  emptyConfig,
  putPart,
} from './artifact.ts';
import type { OciDestination, OciSource } from './oci-source.ts';
import { classicLayer, classicManifest } from './signature-artifact.ts';
import {
  COSIGN_PAYLOAD_TYPE,
  MAX_SIGNATURES,
  readAnnotations,
  signatureTag,
} from './signature-form.ts';

/** A repository or layout that signatures are put into, and read from first. */
export interface SignaturePlace {
  readonly source: OciSource;
  readonly destination: OciDestination;
}

/** How a signature is published. */
export interface PublishOptions {
  /** Put a fresh signature in place of one by the same key. */
  readonly overwrite: boolean;
  /** When the artifact says it was made. */
  readonly now?: Date;
}

/** Where a signature lies now. */
export interface Published {
  readonly where: string;
  /** False where the same key's signature lay there already. */
  readonly made: boolean;
}

/** A bundle without a log's proofs is one kilobyte; a larger one was not made here. */
const MAX_OWN_BUNDLE_BYTES = 64 << 10;

/**
 * Adds a classic signature to those an image has: one more layer of the manifest under the signature
 * tag. Others' signatures stay as they are; one that this key made before over the same payload gives way
 * where `overwrite` says so, and otherwise is as good. Registries know no compare and swap, so of two
 * who sign in the same moment one has to sign again, as with cosign.
 *
 * @throws GantryError `network`, `invalid-manifest` where something else lies under the tag.
 */
export async function publishClassic(
  { source, destination }: SignaturePlace,
  digest: Digest,
  key: SigstoreSigningKey,
  signature: ClassicSignature,
  { overwrite }: PublishOptions,
): Promise<Published> {
  const tag = signatureTag(digest);
  const where = destination.shown.startsWith('oci:')
    ? `${destination.shown} (${tag})`
    : `${destination.shown}:${tag}`;
  const payload = artifactPart(signature.payload, COSIGN_PAYLOAD_TYPE);
  const present = await presentSignatures(source, tag);
  const kept = present.filter((layer) => !isOwn(layer, payload, key));
  if (kept.length < present.length && !overwrite) return { where, made: false };
  requireRoom(kept.length, source, digest);
  const { manifest, config } = classicManifest([...kept, classicLayer(signature)]);
  for (const part of [payload, config]) await putPart(destination, part);
  await destination.putManifest(manifest.bytes, manifest.descriptor.mediaType, tag);
  return { where, made: true };
}

/**
 * Adds a sigstore bundle as a referrer of the manifest it is about (distribution-spec, "Pushing
 * Manifests with Subject"); the destination sees to the fallback tag where its registry does not list
 * referrers. What is written is what cosign 3 writes. Where this key's bundle is there already, it is left
 * at that, unless `overwrite` asks for a fresh one.
 *
 * @throws GantryError `network`
 */
export async function publishBundle(
  { source, destination }: SignaturePlace,
  subject: Descriptor,
  key: SigstoreSigningKey,
  bundle: Uint8Array,
  { overwrite, now = new Date() }: PublishOptions,
): Promise<Published> {
  const present = await presentBundles(source, subject.digest);
  const own = overwrite ? undefined : await findOwnBundle(source, present, subject.digest, key);
  if (own !== undefined) return { where: `${destination.shown}@${formatDigest(own)}`, made: false };
  requireRoom(present.length, source, subject.digest);
  const layer = artifactPart(bundle, BUNDLE_MEDIA_TYPE);
  const config = emptyConfig();
  for (const part of [layer, config]) await putPart(destination, part);
  const { descriptor, bytes } = artifactManifest({
    artifactType: BUNDLE_MEDIA_TYPE,
    config: config.descriptor,
    layers: [layer.descriptor],
    subject,
    annotations: {
      'dev.sigstore.bundle.content': 'dsse-envelope',
      'dev.sigstore.bundle.predicateType': SIGN_PREDICATE,
      'org.opencontainers.image.created': now.toISOString().replace(/\.\d+Z$/, 'Z'),
    },
  });
  await destination.putManifest(bytes, descriptor.mediaType, descriptor.digest);
  return { where: `${destination.shown}@${formatDigest(descriptor.digest)}`, made: true };
}

/** Whether a layer is a signature by this key over this payload. */
function isOwn(
  layer: Descriptor,
  { descriptor, bytes }: ArtifactPart,
  { publicKey }: SigstoreSigningKey,
): boolean {
  if (!sameDigest(layer.digest, descriptor.digest)) return false;
  const signature = decodeSignatureText(readAnnotations(layer.annotations)?.signature ?? '');
  return signature !== undefined && isSignedBy(publicKey, bytes, signature);
}

async function presentBundles(source: OciSource, digest: Digest): Promise<Descriptor[]> {
  const referrers = await source.referrers(digest);
  return referrers.filter(({ artifactType }) => artifactType === BUNDLE_MEDIA_TYPE);
}

/** The artifact whose bundle this key signed; what is not one is not looked at further. */
async function findOwnBundle(
  source: OciSource,
  present: readonly Descriptor[],
  digest: Digest,
  key: SigstoreSigningKey,
): Promise<Digest | undefined> {
  for (const referrer of present.slice(0, MAX_SIGNATURES)) {
    const found = await source.manifest(referrer.digest);
    if (found === undefined) continue;
    const manifest = parseOciManifest(found.bytes, found.mediaType);
    const [layer] = manifest.kind === 'manifest' ? manifest.layers : [];
    if (layer?.mediaType !== BUNDLE_MEDIA_TYPE || layer.size > MAX_OWN_BUNDLE_BYTES) continue;
    const bundle = await source.document(layer, MAX_OWN_BUNDLE_BYTES);
    if (isBundleBy(key, digest, bundle)) return referrer.digest;
  }
  return undefined;
}

function requireRoom(present: number, source: OciSource, digest: Digest): void {
  if (present < MAX_SIGNATURES) return;
  throw new GantryError(
    'unsupported',
    `${source.shown}: ${formatDigest(digest)} has ${present} signatures already, and more are not read by anybody`,
  );
}

/** The layers under a signature tag; none where there is no such tag. */
async function presentSignatures(source: OciSource, tag: string): Promise<Descriptor[]> {
  const found = await source.manifest(tag);
  if (found === undefined) return [];
  const manifest = parseOciManifest(found.bytes, found.mediaType);
  if (manifest.kind === 'manifest') return manifest.layers;
  throw new GantryError(
    'invalid-manifest',
    `${source.shown}:${tag} is an image index, where signatures should lie: remove the tag`,
  );
}
