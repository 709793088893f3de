import type { X509Certificate } from '@sigstore/core';
import { GantryError } from '../error.ts';

/** Whom a certificate is for, and who said that it is them. */
export interface CertifiedIdentity {
  /** The subject alternative name: a URL, an email address or a name at the issuer. */
  readonly identity: string;
  /** The OpenID provider. */
  readonly issuer: string;
}

type Asn1 = X509Certificate['root'];

const SUBJECT_ALT_NAME = '2.5.29.17';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
// sigstore/fulcio, docs/oid-info.md.
const ISSUER_V1 = '1.3.6.1.4.1.57264.1.1';
const ISSUER_V2 = '1.3.6.1.4.1.57264.1.8';
const USER_NAME = '1.3.6.1.4.1.57264.1.7';

/** GeneralName choices (RFC 5280 section 4.2.1.6). */
const OTHER_NAME = 0;
const EMAIL = 1;
const URL_NAME = 6;

const UTF8_STRING = 0x0c;
const MAX_NAME_BYTES = 2048;

/**
 * Reads whom a Fulcio certificate is for. Strict where @sigstore/verify is not: its ASCII decoding drops
 * the top bit of every byte, so that other bytes could spell the trusted name, and of several names it
 * takes the first.
 *
 * @throws GantryError `bad-signature`, its message the rest of a sentence about the image.
 */
export function certifiedIdentity(certificate: X509Certificate): CertifiedIdentity {
  return { identity: subjectOf(certificate), issuer: issuerOf(certificate) };
}

/**
 * Refuses a certificate that is not for signing code: an authority may issue others (sigstore
 * client-spec, "Certificate Path Validation").
 *
 * @throws GantryError `bad-signature`
 */
export function requireCodeSigning(certificate: X509Certificate): void {
  const usages = certificate.extension(EXTENDED_KEY_USAGE)?.valueObj.subs[0]?.subs ?? [];
  const forSigning = usages.some((usage) => usage.tag.isOID() && usage.toOID() === CODE_SIGNING);
  const signs = certificate.extKeyUsage?.digitalSignature === true;
  if (!forSigning || !signs || certificate.isCA) {
    throw refused('its certificate is not one for signing code');
  }
}

function subjectOf(certificate: X509Certificate): string {
  const names = certificate.extension(SUBJECT_ALT_NAME)?.valueObj.subs[0]?.subs ?? [];
  const [name] = names;
  if (name === undefined || names.length !== 1) {
    throw refused(`its certificate is for ${names.length} names, not for one`);
  }
  if (name.tag.isContextSpecific(EMAIL) || name.tag.isContextSpecific(URL_NAME)) {
    return asciiName(name.value);
  }
  if (name.tag.isContextSpecific(OTHER_NAME)) return userName(name);
  throw refused('its certificate is for neither a URL nor an email address nor a user name');
}

/** A Fulcio `username` identity: an otherName of its own type. */
function userName({ subs: [type, value] }: Asn1): string {
  const text = value?.subs[0];
  if (type?.tag.isOID() !== true || type.toOID() !== USER_NAME || text === undefined) {
    throw refused('its certificate is for a kind of name that is not known');
  }
  return utf8String(text);
}

/** The newer extension is a DER string, the older one the bare characters. */
function issuerOf(certificate: X509Certificate): string {
  const issuer = certificate.extension(ISSUER_V2)?.valueObj.subs[0];
  if (issuer !== undefined) return utf8String(issuer);
  const older = certificate.extension(ISSUER_V1);
  if (older === undefined || certificate.extension(ISSUER_V2) !== undefined) {
    throw refused('its certificate does not say which issuer knows its owner');
  }
  return asciiName(older.value);
}

function utf8String({ tag, value }: Asn1): string {
  if (!tag.isUniversal() || tag.number !== UTF8_STRING) {
    throw refused('its certificate holds a name that is not text');
  }
  return checkedName(Buffer.from(value).toString('utf8'), value);
}

/** An IA5String (RFC 5280 section 4.2.1.6). */
function asciiName(value: Uint8Array): string {
  if (value.some((byte) => byte > 0x7e))
    throw refused('its certificate holds a name that is not ASCII');
  return checkedName(Buffer.from(value).toString('latin1'), value);
}

function checkedName(text: string, bytes: Uint8Array): string {
  const sound =
    text !== '' && !/[\p{C}\p{Zl}\p{Zp}]/u.test(text) && Buffer.from(text).equals(bytes);
  if (!sound || bytes.length > MAX_NAME_BYTES) {
    throw refused('its certificate holds a name that is not one line of text');
  }
  return text;
}

function refused(reason: string): GantryError {
  return new GantryError('bad-signature', reason);
}
