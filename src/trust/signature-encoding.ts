import { formatDigest } from '../image/digest.ts';
import { type DocumentKind, type Field, parseDocument } from '../image/document.ts';
import { readDigest } from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';
import { decodeBase64 } from './base64.ts';
import type {
  CosignSignature,
  ManifestSignature,
  NotationSignature,
} from './manifest-signature.ts';

/** Larger than any signature that is taken, in base64: a bundle of 6 MiB. */
const MAX_KEPT_BYTES = 16 << 20;
const kind: DocumentKind = {
  what: 'kept signature',
  code: 'bad-signature',
  maxBytes: MAX_KEPT_BYTES,
};

const NOTATION_TYPES = ['application/jose+json', 'application/cose'] as const;
const ANNOTATIONS = ['certificate', 'chain', 'bundle', 'timestamp'] as const;

/**
 * A signature as it is kept among the blobs, to be checked again later: JSON with its members in one
 * order, bytes in base64, so that the same signature is the same blob.
 */
export function encodeSignature(signature: ManifestSignature): Uint8Array {
  const common = {
    kind: signature.kind,
    subject: formatDigest(signature.subject),
    origin: signature.origin,
  };
  return Buffer.from(`${JSON.stringify({ ...common, ...contentOf(signature) })}\n`);
}

/**
 * Reads a kept signature again.
 *
 * @throws GantryError `bad-signature`, naming the field.
 */
export function decodeSignature(bytes: Uint8Array): ManifestSignature {
  const root = parseDocument(bytes, kind);
  const common = {
    subject: readDigest(root.member('subject')),
    origin: root.member('origin').string(),
  };
  const word = root.member('kind');
  switch (word.string()) {
    case 'simple-signing':
      return { ...common, kind: 'simple-signing', bytes: base64(root.member('bytes')) };
    case 'bundle':
      return { ...common, kind: 'bundle', bytes: base64(root.member('bytes')) };
    case 'notation':
      return { ...common, ...readNotation(root) };
    case 'cosign':
      return { ...common, ...readCosign(root) };
    default:
      throw word.refuse(`${quote(word.string())} is no kind of signature`);
  }
}

function contentOf(signature: ManifestSignature): Record<string, string | undefined> {
  switch (signature.kind) {
    case 'simple-signing':
    case 'bundle':
      return { bytes: Buffer.from(signature.bytes).toString('base64') };
    case 'notation': {
      const { mediaType, bytes } = signature;
      return { mediaType, bytes: Buffer.from(bytes).toString('base64') };
    }
    case 'cosign': {
      const { payload, signature: text, certificate, chain, bundle, timestamp } = signature;
      const annotations = { certificate, chain, bundle, timestamp };
      return { payload: Buffer.from(payload).toString('base64'), signature: text, ...annotations };
    }
  }
}

function readNotation(root: Field): NotationSignature {
  const field = root.member('mediaType');
  const mediaType = NOTATION_TYPES.find((known) => known === field.string());
  if (mediaType === undefined) throw field.refuse(`is not ${NOTATION_TYPES.join(' or ')}`);
  return { kind: 'notation', mediaType, bytes: base64(root.member('bytes')) };
}

function readCosign(root: Field): CosignSignature {
  const annotations = ANNOTATIONS.flatMap((name) => {
    const value = root.member(name).optional((field) => field.string());
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    kind: 'cosign',
    payload: base64(root.member('payload')),
    signature: root.member('signature').string(),
    ...Object.fromEntries(annotations),
  };
}

function base64(field: Field): Uint8Array {
  const bytes = decodeBase64(field.string());
  if (bytes === undefined) throw field.refuse('is not base64');
  return bytes;
}
