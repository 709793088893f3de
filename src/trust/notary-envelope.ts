import type { KeyObject } from 'node:crypto';
import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';

/**
 * A Notary Project signature envelope, read from whichever encoding it came in
 * (notaryproject/specifications, signature-specification.md, "Signature Envelope"). Nothing in it is
 * verified before `verify` says so.
 */
export interface NotaryEnvelope {
  /** By the name JWS has for it: `PS256`, `ES384`. */
  readonly algorithm: string;
  readonly attributes: SignedAttributes;
  /** DER: the signing certificate, then each one's issuer. */
  readonly certificates: readonly Uint8Array[];
  /** A JSON document that names what is signed. */
  readonly payload: Uint8Array;
  /** Whether the key made the signature, over payload and attributes, by `algorithm`. */
  verify(key: KeyObject): Promise<boolean>;
}

/** What the signer says about the signature, signed with it. */
export interface SignedAttributes {
  readonly scheme: SigningScheme;
  /** As the signer, or the signing authority, says. */
  readonly signingTime: Date;
  /** From then on the signer no longer stands up for the image. */
  readonly expiry?: Date;
}

/** notaryproject/specifications, signing-scheme.md. */
export type SigningScheme = 'notary.x509' | 'notary.x509.signingAuthority';

/** A protected header, out of its encoding: names to values, and the names it marks as critical. */
export interface ProtectedHeader {
  readonly contentType: unknown;
  readonly critical: readonly unknown[];
  readonly members: ReadonlyMap<string, unknown>;
}

export const PAYLOAD_TYPE = 'application/vnd.cncf.notary.payload.v1+json';

/** An envelope is a certificate chain and a little; notation's own limit is 10 MiB. */
export const MAX_ENVELOPE_BYTES = 1 << 20;

const PREFIX = 'io.cncf.notary.';
const SCHEME = `${PREFIX}signingScheme`;
const SIGNING_TIME = `${PREFIX}signingTime`;
const AUTHENTIC_TIME = `${PREFIX}authenticSigningTime`;
const EXPIRY = `${PREFIX}expiry`;
const PLUGIN = `${PREFIX}verificationPlugin`;

/** The attributes that must be marked critical wherever they stand, and are understood. */
export const CRITICAL_ATTRIBUTES: readonly string[] = [SCHEME, AUTHENTIC_TIME, EXPIRY];

/**
 * Reads the signed attributes (signature-specification.md, "Signed Attributes"). `readTime` knows how the
 * encoding writes times.
 *
 * @throws GantryError `bad-signature` also for a critical attribute that is not known, and for a plugin
 *   that is to be asked: neither may be passed over.
 */
export function readAttributes(
  header: ProtectedHeader,
  readTime: (value: unknown) => Date | undefined,
): SignedAttributes {
  requireContentType(header.contentType);
  requireUnderstood(header);
  const scheme = header.members.get(SCHEME);
  const time = (name: string): Date | undefined => {
    if (!header.members.has(name)) return undefined;
    const date = readTime(header.members.get(name));
    if (date === undefined || Number.isNaN(date.getTime()))
      throw malformed(`${name} is not a time`);
    return date;
  };
  if (scheme !== 'notary.x509' && scheme !== 'notary.x509.signingAuthority') {
    throw malformed(`${quote(String(scheme))} is not a known signing scheme`);
  }
  // Each scheme has its own; the other's has no meaning there.
  const [own, other] =
    scheme === 'notary.x509' ? [SIGNING_TIME, AUTHENTIC_TIME] : [AUTHENTIC_TIME, SIGNING_TIME];
  const signingTime = time(own);
  if (signingTime === undefined || header.members.has(other)) {
    throw malformed(`with the scheme ${scheme} it must have ${own}, and not ${other}`);
  }
  const expiry = time(EXPIRY);
  return { scheme, signingTime, ...(expiry === undefined ? {} : { expiry }) };
}

function requireContentType(contentType: unknown): void {
  if (contentType !== PAYLOAD_TYPE) {
    throw malformed(
      `its content is of the type ${quote(String(contentType))}, not ${PAYLOAD_TYPE}`,
    );
  }
}

function requireUnderstood({ critical, members }: ProtectedHeader): void {
  const plugin = [...members.keys()].find((name) => name.startsWith(PLUGIN));
  if (plugin !== undefined) {
    throw malformed(
      `it demands the notation plugin ${quote(String(members.get(plugin)))}, and plugins are not supported`,
    );
  }
  const unknown = critical.find(
    (name) => typeof name !== 'string' || !CRITICAL_ATTRIBUTES.includes(name),
  );
  if (unknown !== undefined) {
    throw malformed(
      `it has the critical attribute ${quote(String(unknown))}, which Gantry does not know`,
    );
  }
  for (const name of CRITICAL_ATTRIBUTES) {
    if (members.has(name) !== critical.includes(name)) {
      throw malformed(`${name} must be there and marked critical, or neither`);
    }
  }
}

/** The refusal of an envelope that breaks the specification. */
export function malformed(reason: string, cause?: unknown): GantryError {
  return new GantryError('bad-signature', `its Notary Project signature is refused: ${reason}`, {
    cause,
  });
}
