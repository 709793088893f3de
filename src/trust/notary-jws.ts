import { errors, flattenedVerify } from 'jose';
import { type DocumentKind, type Field, parseDocument } from '../image/document.ts';
import {
  CRITICAL_ATTRIBUTES,
  MAX_ENVELOPE_BYTES,
  malformed,
  type NotaryEnvelope,
  readAttributes,
} from './notary-envelope.ts';

const envelopeKind: DocumentKind = {
  what: 'Notary Project signature (JWS)',
  code: 'bad-signature',
  maxBytes: MAX_ENVELOPE_BYTES,
};
const headerKind: DocumentKind = { ...envelopeKind, what: `${envelopeKind.what} protected header` };

/** RFC 3339 section 5.6, upper case as section 5.6 recommends. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/**
 * Reads a JWS envelope: flattened JSON serialization, one signature
 * (notaryproject/specifications, signature-envelope-jws.md).
 *
 * @throws GantryError `bad-signature`
 */
export function readJwsEnvelope(bytes: Uint8Array): NotaryEnvelope {
  const root = parseDocument(bytes, envelopeKind);
  const foreign = Object.keys(root.object()).find(
    (name) => !['payload', 'protected', 'header', 'signature'].includes(name),
  );
  if (foreign !== undefined) throw root.member(foreign).refuse('does not belong in the envelope');
  const jws = {
    payload: base64url(root.member('payload')),
    protected: base64url(root.member('protected')),
    signature: base64url(root.member('signature')),
  };
  const header = parseDocument(Buffer.from(jws.protected, 'base64url'), headerKind);
  const algorithm = header.member('alg').string();
  const attributes = readAttributes(
    {
      contentType: header.member('cty').value,
      critical: header.member('crit').strings(),
      members: new Map(Object.entries(header.object())),
    },
    readTime,
  );
  return {
    algorithm,
    attributes,
    certificates: root.member('header').member('x5c').list().map(certificate),
    payload: Buffer.from(jws.payload, 'base64url'),
    verify: async (key) => {
      try {
        await flattenedVerify(jws, key, { algorithms: [algorithm], crit: criticalNames() });
        return true;
      } catch (error) {
        if (error instanceof errors.JWSSignatureVerificationFailed) return false;
        throw malformed(error instanceof Error ? error.message : String(error), error);
      }
    },
  };
}

/** jose refuses names it is not told of, and those that are not in the protected header. */
function criticalNames(): Record<string, boolean> {
  return Object.fromEntries(CRITICAL_ATTRIBUTES.map((name) => [name, true]));
}

function certificate(field: Field): Uint8Array {
  return Buffer.from(canonical(field, 'base64'), 'base64');
}

function base64url(field: Field): string {
  return canonical(field, 'base64url');
}

/** Text that decodes and encodes to itself: there is one way to write an envelope. */
function canonical(field: Field, encoding: 'base64' | 'base64url'): string {
  const text = field.filledString();
  if (Buffer.from(text, encoding).toString(encoding) !== text)
    throw field.refuse(`is not ${encoding}`);
  return text;
}

function readTime(value: unknown): Date | undefined {
  return typeof value === 'string' && TIME.test(value) ? new Date(value) : undefined;
}
