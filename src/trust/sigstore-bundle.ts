import {
  BUNDLE_V01_MEDIA_TYPE,
  BUNDLE_V02_MEDIA_TYPE,
  BUNDLE_V03_LEGACY_MEDIA_TYPE,
  BUNDLE_V03_MEDIA_TYPE,
  type Bundle,
  bundleFromJSON,
  type SerializedBundle,
} from '@sigstore/bundle';
import { X509Certificate } from '@sigstore/core';
import { GantryError } from '../error.ts';
import { type DocumentKind, type Field, parseDocument } from '../image/document.ts';
import { quote } from '../image/quotation.ts';
import { printableReason } from './printable.ts';

/** A bundle holds a statement of at most 4 MiB, in base64, and its proofs. */
const MAX_BUNDLE_BYTES = 6 << 20;
const kind: DocumentKind = {
  what: 'sigstore bundle',
  code: 'bad-signature',
  maxBytes: MAX_BUNDLE_BYTES,
};

const MEDIA_TYPES: ReadonlySet<string> = new Set([
  BUNDLE_V01_MEDIA_TYPE,
  BUNDLE_V02_MEDIA_TYPE,
  BUNDLE_V03_LEGACY_MEDIA_TYPE,
  BUNDLE_V03_MEDIA_TYPE,
]);

/** One entry and one timestamp are usual; each costs signature checks. */
const MAX_PROOFS = 8;

/**
 * Reads a sigstore bundle, version 0.1 to 0.3 (sigstore/protobuf-specs, sigstore_bundle.proto). Nothing
 * in it is verified yet.
 *
 * @throws GantryError `bad-signature`
 */
export function readBundle(bytes: Uint8Array): Bundle {
  const root = parseDocument(bytes, kind);
  requireKnownVersion(root.member('mediaType'));
  return bundleOf(root.value);
}

/**
 * A bundle from its JSON form, with what @sigstore/verify takes for granted made sure of.
 *
 * @throws GantryError `bad-signature`
 */
export function bundleOf(serialized: unknown): Bundle {
  const bundle = converted(serialized);
  const { tlogEntries, timestampVerificationData } = bundle.verificationMaterial;
  const timestamps = timestampVerificationData?.rfc3161Timestamps ?? [];
  if (tlogEntries.length > MAX_PROOFS || timestamps.length > MAX_PROOFS) {
    throw unreadable(`it holds more than ${MAX_PROOFS} proofs of a kind`);
  }
  for (const { inclusionProof } of tlogEntries) {
    if (inclusionProof === undefined) continue;
    if (inclusionProof.checkpoint === undefined)
      throw unreadable('a proof in it has no checkpoint');
    requirePlainLogNames(inclusionProof.checkpoint.envelope);
  }
  return bundle;
}

/** Whether a bundle is signed by an identity, rather than with a key. */
export function hasCertificate(bundle: Bundle): boolean {
  return certificateBytes(bundle) !== undefined;
}

/**
 * The certificate a bundle's signature is to be verified with.
 *
 * @throws GantryError `bad-signature`
 */
export function signingCertificate(bundle: Bundle): X509Certificate {
  const der = certificateBytes(bundle);
  if (der === undefined) throw unreadable('it holds no certificate');
  try {
    return X509Certificate.parse(Buffer.from(der));
  } catch (cause) {
    throw unreadable(`its certificate cannot be read (${printableReason(cause)})`, cause);
  }
}

/** Of a chain the first: what comes above it is the trusted root's to say. */
function certificateBytes({ verificationMaterial: { content } }: Bundle): Uint8Array | undefined {
  switch (content.$case) {
    case 'certificate':
      return content.certificate.rawBytes;
    case 'x509CertificateChain':
      return content.x509CertificateChain.certificates[0]?.rawBytes;
    case 'publicKey':
      return undefined;
  }
}

function converted(serialized: unknown): Bundle {
  try {
    return bundleFromJSON(serialized as SerializedBundle);
  } catch (cause) {
    throw unreadable(printableReason(cause), cause);
  }
}

function requireKnownVersion(mediaType: Field): void {
  const type = mediaType.string();
  if (!MEDIA_TYPES.has(type)) {
    throw mediaType.refuse(`${quote(type)} is not a sigstore bundle of version 0.1, 0.2 or 0.3`);
  }
}

/**
 * @sigstore/verify 3.1 uses the names in a checkpoint's signature lines as regular expressions over its
 * logs' URLs, before anything is verified: one with quantifiers would run for ever. A name is a host and
 * a path (transparency-dev/formats, log/README.md).
 */
function requirePlainLogNames(checkpoint: string): void {
  for (const [, name = ''] of checkpoint.matchAll(/\u2014 (?=(\S+) )/g)) {
    if (!/^[\w.:/~-]{1,256}$/.test(name)) {
      throw unreadable(
        `its checkpoint is signed by ${quote(name.slice(0, 40))}, which names no log`,
      );
    }
  }
}

function unreadable(reason: string, cause?: unknown): GantryError {
  return new GantryError('bad-signature', `its sigstore bundle cannot be read: ${reason}`, {
    cause,
  });
}
