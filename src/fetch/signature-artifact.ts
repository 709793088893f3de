import { type Digest, formatDigest } from '../image/digest.ts';
import { parseDocument } from '../image/document.ts';
import { type Descriptor, MEDIA_TYPES } from '../image/oci-manifest.ts';
import { digestOf } from '../store/digest-of.ts';
import type {
  BundleSignature,
  CosignSignature,
  ManifestSignature,
  NotationSignature,
} from '../trust/manifest-signature.ts';
import { type ArtifactPart, artifactManifest, artifactPart, emptyConfig } from './artifact.ts';
import {
  annotationsOf,
  COSIGN_PAYLOAD_TYPE,
  type CosignAnnotations,
  NOTATION_ARTIFACT_TYPE,
  signatureTag,
} from './signature-form.ts';

/** A signature as it lies beside an image: a manifest, and the blobs that this names. */
export interface SignatureArtifact {
  readonly manifest: ArtifactPart;
  readonly blobs: readonly ArtifactPart[];
  /** What it is about. */
  readonly subject: Digest;
  /** Where it is found: under a tag, or as a referrer of its subject. */
  readonly place: { readonly tag: string } | 'referrer';
}

const THUMBPRINTS = 'io.cncf.notary.x509chain.thumbprint#S256';

/**
 * Puts signatures back into the form they are published in, so that others find them. Those of simple
 * signing are left out: they have no place in a registry, but lie in a store of their own.
 *
 * @param subject the manifest or index that they were found for
 * @throws GantryError `bad-signature` for a bundle or envelope that cannot be read
 */
export async function signatureArtifacts(
  signatures: readonly ManifestSignature[],
  subject: Descriptor,
): Promise<SignatureArtifact[]> {
  const artifacts: SignatureArtifact[] = [];
  const classic = signatures.filter((signature) => signature.kind === 'cosign');
  if (classic.length > 0) artifacts.push(cosignArtifact(classic, subject));
  for (const signature of signatures) {
    if (signature.kind === 'bundle') artifacts.push(bundleArtifact(signature, subject));
    if (signature.kind === 'notation') artifacts.push(await notationArtifact(signature, subject));
  }
  return artifacts;
}

/** sigstore/cosign, specs/SIGNATURE_SPEC.md: a layer for each signature, in a manifest under a tag. */
function cosignArtifact(
  signatures: readonly CosignSignature[],
  { digest }: Descriptor,
): SignatureArtifact {
  const payloads = signatures.map(({ payload }) => artifactPart(payload, COSIGN_PAYLOAD_TYPE));
  const layers = signatures.map((signature) => classicLayer(signature));
  const { manifest, config } = classicManifest(layers);
  return {
    manifest,
    blobs: [config, ...payloads],
    subject: digest,
    place: { tag: signatureTag(digest) },
  };
}

/** A classic signature as a layer: its payload, and what is said of that. */
export function classicLayer({
  payload,
  ...signature
}: Pick<CosignSignature, 'payload'> & CosignAnnotations): Descriptor {
  const { descriptor } = artifactPart(payload, COSIGN_PAYLOAD_TYPE);
  return { ...descriptor, annotations: annotationsOf(signature) };
}

/**
 * The manifest whose layers are an image's classic signatures, and its configuration: readers take it for
 * an image's, which lists the layers.
 */
export function classicManifest(
  layers: readonly Descriptor[],
): Record<'manifest' | 'config', ArtifactPart> {
  const rootfs = { type: 'layers', diff_ids: layers.map((layer) => formatDigest(layer.digest)) };
  const document = { architecture: '', os: '', config: {}, rootfs };
  const config = artifactPart(Buffer.from(JSON.stringify(document)), MEDIA_TYPES.config);
  return { manifest: artifactManifest({ config: config.descriptor, layers }), config };
}

/** sigstore/cosign, specs/BUNDLE_SPEC.md: the bundle is the only layer of an artifact about its subject. */
function bundleArtifact({ bytes }: BundleSignature, subject: Descriptor): SignatureArtifact {
  const kind = { what: 'sigstore bundle', code: 'bad-signature' } as const;
  const artifactType = parseDocument(bytes, kind).member('mediaType').filledString();
  const empty = emptyConfig();
  const bundle = artifactPart(bytes, artifactType);
  const document = { artifactType, config: empty.descriptor, layers: [bundle.descriptor], subject };
  const blobs = [empty, bundle];
  return {
    manifest: artifactManifest(document),
    blobs,
    subject: subject.digest,
    place: 'referrer',
  };
}

/** notaryproject/specifications, signature-specification.md, "Storage". */
async function notationArtifact(
  { bytes, mediaType }: NotationSignature,
  subject: Descriptor,
): Promise<SignatureArtifact> {
  const config = emptyConfig(NOTATION_ARTIFACT_TYPE);
  const envelope = artifactPart(bytes, mediaType);
  const annotations = { [THUMBPRINTS]: JSON.stringify(await thumbprints(bytes, mediaType)) };
  const layers = [envelope.descriptor];
  const manifest = artifactManifest({ config: config.descriptor, layers, subject, annotations });
  return { manifest, blobs: [config, envelope], subject: subject.digest, place: 'referrer' };
}

async function thumbprints(
  bytes: Uint8Array,
  mediaType: NotationSignature['mediaType'],
): Promise<string[]> {
  const envelope =
    mediaType === 'application/cose'
      ? (await import('../trust/notary-cose.ts')).readCoseEnvelope(bytes)
      : (await import('../trust/notary-jws.ts')).readJwsEnvelope(bytes);
  return envelope.certificates.map((der) => digestOf(der).hex);
}
