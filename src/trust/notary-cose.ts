import { decode, encode, Tag } from 'cbor2';
import { verifySignature } from './notary-algorithm.ts';
import {
  MAX_ENVELOPE_BYTES,
  malformed,
  type NotaryEnvelope,
  readAttributes,
} from './notary-envelope.ts';
import { printableReason } from './printable.ts';

/** RFC 9052 section 4.2. */
const COSE_SIGN1 = 18;
/** Epoch-based date/time (RFC 8949 section 3.4.2). */
const EPOCH_TIME = 1;

// Header labels (RFC 9052 section 3.1, RFC 9360 section 2).
const ALGORITHM = 1;
const CRITICAL = 2;
const CONTENT_TYPE = 3;
const X5CHAIN = 33;

/** signature-envelope-cose.md, "Supported alg header values". */
const ALGORITHMS: ReadonlyMap<unknown, string> = new Map([
  [-7, 'ES256'],
  [-35, 'ES384'],
  [-36, 'ES512'],
  [-37, 'PS256'],
  [-38, 'PS384'],
  [-39, 'PS512'],
]);

/** Tag, array, header map, list of certificates: nothing lies deeper. */
const MAX_DEPTH = 8;

type CborMap = ReadonlyMap<unknown, unknown>;

/**
 * Reads a COSE envelope: COSE_Sign1, tagged (notaryproject/specifications, signature-envelope-cose.md).
 * cbor2 takes apart the CBOR, and only the one deterministic form of it (draft-ietf-cbor-cde); COSE itself
 * is four fields, which spares us the libraries that would also take a MAC or an encryption.
 *
 * @throws GantryError `bad-signature`
 */
export function readCoseEnvelope(bytes: Uint8Array): NotaryEnvelope {
  if (bytes.length > MAX_ENVELOPE_BYTES) {
    throw malformed(`it is larger than ${MAX_ENVELOPE_BYTES} bytes`);
  }
  const [protectedBytes, unprotectedHeader, payload, signature] = signFields(decoded(bytes));
  const header = requireMap(decoded(requireBytes(protectedBytes)));
  const unprotected = requireMap(unprotectedHeader);
  const critical = header.get(CRITICAL);
  if (!Array.isArray(critical)) throw malformed('its protected header marks nothing as critical');
  const algorithm = ALGORITHMS.get(header.get(ALGORITHM));
  if (algorithm === undefined) {
    throw malformed(`${String(header.get(ALGORITHM))} is not an algorithm it may be made with`);
  }
  const attributes = readAttributes(
    { contentType: header.get(CONTENT_TYPE), critical, members: namedMembers(header) },
    readTime,
  );
  const toBeSigned = signatureStructure(requireBytes(protectedBytes), requireBytes(payload));
  return {
    algorithm,
    attributes,
    certificates: certificateChain(header.get(X5CHAIN) ?? unprotected.get(X5CHAIN)),
    payload: requireBytes(payload),
    verify: async (key) => verifySignature(algorithm, key, toBeSigned, requireBytes(signature)),
  };
}

/** The bytes that are signed (RFC 9052 section 4.4); the header as it came, not as it would be written. */
function signatureStructure(protectedHeader: Uint8Array, payload: Uint8Array): Uint8Array {
  return encode(['Signature1', protectedHeader, new Uint8Array(), payload]);
}

function decoded(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, {
      cde: true,
      rejectDuplicateKeys: true,
      rejectStreaming: true,
      ignoreGlobalTags: true,
      preferMap: true,
      maxDepth: MAX_DEPTH,
    });
  } catch (cause) {
    throw malformed(`it is not deterministic CBOR (${printableReason(cause)})`, cause);
  }
}

function signFields(value: unknown): unknown[] {
  if (!(value instanceof Tag) || value.tag !== COSE_SIGN1) throw malformed('it is no COSE_Sign1');
  if (!Array.isArray(value.contents) || value.contents.length !== 4) {
    throw malformed('its COSE_Sign1 has not four fields');
  }
  return value.contents;
}

/** One certificate may stand without a list (RFC 9360 section 2). */
function certificateChain(value: unknown): Uint8Array[] {
  return Array.isArray(value) ? value.map(requireBytes) : [requireBytes(value)];
}

function namedMembers(header: CborMap): ReadonlyMap<string, unknown> {
  return new Map(
    [...header].flatMap(([name, value]) => (typeof name === 'string' ? [[name, value]] : [])),
  );
}

function readTime(value: unknown): Date | undefined {
  if (!(value instanceof Tag) || value.tag !== EPOCH_TIME) return undefined;
  return typeof value.contents === 'number' ? new Date(value.contents * 1000) : undefined;
}

function requireMap(value: unknown): CborMap {
  if (!(value instanceof Map)) throw malformed('a header of it is no map');
  return value;
}

/** A plain copy: cbor2 gives views, and writes a subclass such as Buffer in a way of its own. */
function requireBytes(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw malformed('a field of it is not a byte string');
  return Uint8Array.from(value);
}
