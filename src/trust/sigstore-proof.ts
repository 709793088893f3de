import { createHash } from 'node:crypto';
import type { Bundle } from '@sigstore/bundle';
import { dsse, RFC3161Timestamp, type X509Certificate } from '@sigstore/core';
import { type SignedEntity, toSignedEntity, VerificationError, Verifier } from '@sigstore/verify';
import { GantryError } from '../error.ts';
import { printable, printableReason } from './printable.ts';
import { requireLoggedCertificate } from './sigstore-log-entry.ts';
import type { SigstoreRoot } from './sigstore-material.ts';

/** When a signature was made, as a log or a timestamp authority proves it. */
export interface ProvenTime {
  readonly signedAt: Date;
  /** Of the transparency log's entry, where there is one. */
  readonly logIndex?: string;
}

/**
 * Verifies a bundle with a certificate against one sigstore deployment (sigstore client-spec,
 * "Verification"): the certificate chains to its authority and stands in its certificate log; a
 * timestamp of its timestamp authority or its log lies within the certificate's few minutes; its log,
 * where it has one, has an entry for this signature; the signature is over `artifact`, or over the
 * bundle's own envelope.
 *
 * @throws GantryError `bad-signature`, naming the proof that does not hold.
 */
export function requireProof(
  bundle: Bundle,
  certificate: X509Certificate,
  artifact: Uint8Array | undefined,
  { material }: SigstoreRoot,
): ProvenTime {
  const verifier = new Verifier(material, {
    ctlogThreshold: 1,
    // A deployment without a log proves its times by its timestamp authority alone.
    tlogThreshold: material.tlogs.length > 0 ? 1 : 0,
    timestampThreshold: 1,
  });
  try {
    verifier.verify(signedEntity(bundle, artifact));
  } catch (cause) {
    throw failedProof(cause);
  }
  for (const entry of bundle.verificationMaterial.tlogEntries) {
    requireLoggedCertificate(entry, certificate);
  }
  return provenTime(bundle);
}

/**
 * What the verifier takes. Rekor's second version logs an envelope by the digest of all that is signed of
 * it (rekor-tiles, docs/), the first by that of its payload, which is all the library knows; either way
 * the entry must have the very signature.
 */
export function signedEntity(bundle: Bundle, artifact: Uint8Array | undefined): SignedEntity {
  const entity = toSignedEntity(bundle, artifact === undefined ? artifact : Buffer.from(artifact));
  if (bundle.content.$case !== 'dsseEnvelope') return entity;
  const { payload, payloadType } = bundle.content.dsseEnvelope;
  const whole = createHash('sha256').update(dsse.preAuthEncoding(payloadType, payload)).digest();
  const content = entity.signature;
  return {
    ...entity,
    signature: {
      signature: content.signature,
      compareSignature: (signature) => content.compareSignature(signature),
      compareDigest: (digest) => content.compareDigest(digest) || whole.equals(digest),
      verifySignature: (key) => content.verifySignature(key),
    },
  };
}

/**
 * The authority of a deployment that issued a certificate, at whatever time: SHA-256 of its own, in hex;
 * undefined where none did.
 */
export function issuerUnder(
  certificate: X509Certificate,
  { material }: SigstoreRoot,
): string | undefined {
  const found = material.certificateAuthorities
    .flatMap(({ certChain }) => certChain)
    .find((issuer) => issuer.subject.equals(certificate.issuer) && certificate.verify(issuer));
  return found && createHash('sha256').update(found.root.toDER()).digest('hex');
}

/** The earliest of a verified bundle's times; the verifier has held every one against the certificate. */
function provenTime({ verificationMaterial }: Bundle): ProvenTime {
  const { tlogEntries, timestampVerificationData } = verificationMaterial;
  const logged = tlogEntries
    // Only the promise signs the time and the index; a proof of inclusion has an index of its own.
    .filter(({ inclusionPromise }) => inclusionPromise !== undefined)
    .map(({ integratedTime }) => Number(integratedTime) * 1000);
  const stamped = (timestampVerificationData?.rfc3161Timestamps ?? []).map(({ signedTimestamp }) =>
    RFC3161Timestamp.parse(Buffer.from(signedTimestamp)).signingTime.getTime(),
  );
  const [entry] = tlogEntries;
  const logIndex =
    entry?.inclusionPromise === undefined ? entry?.inclusionProof?.logIndex : entry.logIndex;
  return {
    signedAt: new Date(Math.min(...logged, ...stamped)),
    ...(logIndex === undefined ? {} : { logIndex }),
  };
}

/** What each failure of @sigstore/verify is called, as the rest of a sentence about the image. */
const FAILURES: Readonly<Record<string, string>> = {
  CERTIFICATE_ERROR: 'the certificate it is signed with does not hold',
  TIMESTAMP_ERROR: 'its signed timestamp does not hold',
  TLOG_ERROR: 'it has no entry in the transparency log',
  TLOG_INCLUSION_PROOF_ERROR: "the transparency log's proof of inclusion does not hold",
  TLOG_INCLUSION_PROMISE_ERROR: "the transparency log's signed entry timestamp does not hold",
  TLOG_MISSING_INCLUSION_ERROR: 'its transparency log entry comes without a proof',
  TLOG_BODY_ERROR: "the transparency log's entry is not about this signature",
  SIGNATURE_ERROR: 'the signature does not match what it is over',
};

function failedProof(cause: unknown): GantryError {
  if (!(cause instanceof VerificationError)) {
    return failed(`its proofs cannot be read (${printableReason(cause)})`, cause);
  }
  const detail = innermostReason(cause);
  if (/^expected \d+ timestamps?, got/.test(detail)) {
    return failed('nothing proves that it was signed while its certificate was valid', cause);
  }
  if (detail.includes('not valid or expired')) {
    return failed('its certificate was not valid at the time it is proven to be signed', cause);
  }
  return failed(`${FAILURES[cause.code] ?? 'a proof does not hold'} (${printable(detail)})`, cause);
}

function innermostReason(error: Error): string {
  return error.cause instanceof Error ? innermostReason(error.cause) : error.message;
}

function failed(reason: string, cause: unknown): GantryError {
  return new GantryError('bad-signature', reason, { cause });
}
