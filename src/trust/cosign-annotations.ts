import { createHash } from 'node:crypto';
import { BUNDLE_V01_MEDIA_TYPE, type Bundle } from '@sigstore/bundle';
import { GantryError } from '../error.ts';
import { type DocumentKind, type Field, parseDocument } from '../image/document.ts';
import { decodeBase64 } from './base64.ts';
import type { CosignSignature } from './manifest-signature.ts';
import { pemBlocks } from './pem.ts';
import { bundleOf } from './sigstore-bundle.ts';

const HEX_DIGEST = /^[0-9a-f]{64}$/;

/**
 * The bundle that says what cosign's annotations on a layer of its `sha256-….sig` manifest say
 * (sigstore/cosign, specs/SIGNATURE_SPEC.md): the certificate, where it was not signed with a key, the
 * log's promise, the signed timestamp. The chain is left out: intermediate authorities are the trusted
 * root's to name.
 *
 * @throws GantryError `bad-signature`
 */
export function cosignBundle(signature: CosignSignature): Bundle {
  const digest = createHash('sha256').update(signature.payload).digest('base64');
  return bundleOf({
    mediaType: BUNDLE_V01_MEDIA_TYPE,
    verificationMaterial: {
      ...signingKey(signature),
      tlogEntries: signature.bundle === undefined ? [] : [logEntry(signature.bundle)],
      timestampVerificationData: {
        rfc3161Timestamps:
          signature.timestamp === undefined ? [] : [signedTimestamp(signature.timestamp)],
      },
    },
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest },
      signature: signature.signature,
    },
  });
}

/** Of a key nothing is said here: the one that made it is found by trying those that are trusted. */
function signingKey({ certificate }: CosignSignature): Record<string, unknown> {
  if (certificate === undefined) return { publicKey: { hint: '' } };
  const blocks = pemBlocks(certificate);
  const [first] = typeof blocks === 'string' ? [] : blocks;
  if (first?.label !== 'CERTIFICATE') {
    throw new GantryError('bad-signature', 'its certificate annotation is not a PEM certificate');
  }
  const rawBytes = Buffer.from(first.der).toString('base64');
  return { x509CertificateChain: { certificates: [{ rawBytes }] } };
}

/** Annotation `dev.sigstore.cosign/bundle`: Rekor's entry as cosign has kept it since before bundles. */
function logEntry(annotation: string): Record<string, unknown> {
  const root = annotationDocument(annotation, 'bundle');
  const payload = root.member('Payload');
  const body = base64(payload.member('body'));
  return {
    logIndex: String(payload.member('logIndex').integer(0, Number.MAX_SAFE_INTEGER)),
    logId: { keyId: Buffer.from(hexDigest(payload.member('logID')), 'hex').toString('base64') },
    kindVersion: entryKind(body),
    integratedTime: String(payload.member('integratedTime').integer(1, Number.MAX_SAFE_INTEGER)),
    inclusionPromise: { signedEntryTimestamp: base64(root.member('SignedEntryTimestamp')) },
    canonicalizedBody: body,
  };
}

/** In a bundle it stands beside the entry; here only the entry itself says it. */
function entryKind(body: string): { kind: string; version: string } {
  const kind: DocumentKind = { what: 'transparency log entry', code: 'bad-signature' };
  const entry = parseDocument(Buffer.from(body, 'base64'), kind);
  return { kind: entry.member('kind').string(), version: entry.member('apiVersion').string() };
}

/** Annotation `dev.sigstore.cosign/rfc3161timestamp`. */
function signedTimestamp(annotation: string): Record<string, unknown> {
  const root = annotationDocument(annotation, 'rfc3161timestamp');
  return { signedTimestamp: base64(root.member('SignedRFC3161Timestamp')) };
}

function annotationDocument(annotation: string, name: string): Field {
  const what = `annotation dev.sigstore.cosign/${name}`;
  return parseDocument(Buffer.from(annotation), { what, code: 'bad-signature' });
}

function base64(field: Field): string {
  const text = field.filledString();
  if (decodeBase64(text) === undefined) throw field.refuse('is not base64');
  return text;
}

function hexDigest(field: Field): string {
  const text = field.string();
  if (!HEX_DIGEST.test(text)) throw field.refuse('is not a SHA-256 in hex');
  return text;
}
