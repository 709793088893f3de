import { enums, type Key, type SignaturePacket, type Subkey } from 'openpgp';
import type { OpenPgpProvenance } from '../image/provenance.ts';
import { algorithmFault, POLICY, REVOCATION_POLICY } from './policy.ts';
import { printable, printableReason, printableTime } from './printable.ts';
import { selfSignatures } from './public-key.ts';

/** A primary key or a subkey of it: what can have made a signature. */
export type Component = Key | Subkey;

/** The components of a key that have this key id (a 64-bit id may, in malice, be shared). */
export function componentsWithId(key: Key, keyId: string): Component[] {
  return [key, ...key.subkeys].filter((component) => component.getKeyID().toHex() === keyId);
}

/** The times a key is held against. */
export interface Times {
  /** When the signature was made, as it says. */
  readonly signedAt: Date;
  /** When the key must be, or have been, valid for the signature to be believed. */
  readonly believedAt: Date;
  /** The present: revocations count as of now, whenever the signature was believed. */
  readonly now: Date;
}

/**
 * Why a key must not vouch for what one of its components signed, or undefined where it may. It
 * must have stood when the signature was made and when it was believed. A revocation counts
 * whatever its reason and however young, since whoever holds a stolen key dates signatures as they
 * like.
 *
 * @returns the rest of a sentence that begins with the component.
 */
export async function standingFault(
  key: Key,
  component: Component,
  { signedAt, believedAt, now }: Times,
): Promise<string | undefined> {
  return (
    algorithmFault(key.getAlgorithmInfo()) ??
    algorithmFault(component.getAlgorithmInfo()) ??
    (await revocationFault(key, component, now)) ??
    creationFault(component, signedAt) ??
    (await expiryFault(key, component, signedAt, believedAt)) ??
    (await signingFault(key, component, believedAt)) ??
    (await signingFault(key, component, laterOf(signedAt, oldestBinding(key, component))))
  );
}

/** Why a key vouches for nothing now, whatever it may have signed. */
export async function primaryFault(key: Key, now: Date): Promise<string | undefined> {
  return (
    algorithmFault(key.getAlgorithmInfo()) ??
    (await revocationFault(key, key, now)) ??
    (await expiryFault(key, key, now, now)) ??
    (await validityFault(key, now))
  );
}

/**
 * Holds a key whose file changed since an image was verified against what the record says of that
 * verification: the same signing key must still be in it, unrevoked and fit.
 *
 * @returns the rest of a sentence that begins with the key, or undefined where it still stands.
 */
export async function standingSince(
  key: Key,
  provenance: OpenPgpProvenance,
  path: string,
): Promise<string | undefined> {
  const component = componentsWithId(key, provenance.signingKeyId)[0];
  if (component === undefined) return `is not in ${path} any more`;
  return await standingFault(key, component, timesOf(provenance, key, component));
}

/**
 * A key that has expired since vouched while it could, so it is judged by the time of that
 * verification; or, renewed since, by the time of its renewal.
 */
function timesOf(provenance: OpenPgpProvenance, key: Key, component: Component): Times {
  const now = new Date();
  const verifiedAt = new Date(provenance.verifiedAt);
  const renewedAt = laterOf(verifiedAt, oldestBinding(key, component));
  return {
    signedAt: new Date(provenance.signedAt),
    believedAt: renewedAt.getTime() > now.getTime() ? now : renewedAt,
    now,
  };
}

async function revocationFault(
  key: Key,
  component: Component,
  now: Date,
): Promise<string | undefined> {
  if (await key.isRevoked(undefined, undefined, now, REVOCATION_POLICY)) {
    return revoked(key.revocationSignatures, 'was revoked by its owner');
  }
  const foreign = key.revocationSignatures.find(
    ({ issuerKeyID }) => !issuerKeyID.equals(key.getKeyID()),
  );
  // By a revoker the owner appointed (RFC 9580 section 5.2.3.23), whose key is not at hand.
  if (foreign !== undefined) {
    return `carries a revocation by another key, ${foreign.issuerKeyID.toHex().toUpperCase()}, which cannot be checked here`;
  }
  if (!isSubkey(component)) return undefined;
  for (const binding of component.bindingSignatures) {
    if (await component.isRevoked(binding, key.keyPacket, now, REVOCATION_POLICY)) {
      return revoked(component.revocationSignatures, 'is a subkey its owner has revoked');
    }
  }
  return undefined;
}

function revoked(signatures: readonly SignaturePacket[], what: string): string {
  const reason = signatures.find((signature) => signature.reasonForRevocationString);
  const text = printable(reason?.reasonForRevocationString ?? '');
  return text === '' ? what : `${what} (${JSON.stringify(text)})`;
}

function creationFault(component: Component, signedAt: Date): string | undefined {
  const created = component.getCreationTime();
  if (signedAt.getTime() >= created.getTime()) return undefined;
  return `did not exist when the signature claims to have been made: it was made at ${printableTime(created)}, the signature at ${printableTime(signedAt)}`;
}

async function expiryFault(
  key: Key,
  component: Component,
  signedAt: Date,
  at: Date,
): Promise<string | undefined> {
  const expiries = [await key.getExpirationTime(undefined, POLICY)];
  if (isSubkey(component)) expiries.push(await component.getExpirationTime(at, POLICY));
  const dates = expiries.filter((expiry) => expiry instanceof Date);
  const expiry = dates.sort((a, b) => a.getTime() - b.getTime())[0];
  if (expiry === undefined || expiry.getTime() > at.getTime()) return undefined;
  const before = signedAt.getTime() >= expiry.getTime() ? ', before the signature was made' : '';
  return `expired at ${printableTime(expiry)}${before}`;
}

/**
 * Asks openpgp.js whether the component is bound to its key, by a valid self-signature and for a
 * subkey by its own signature back (RFC 9580 section 5.2.1.9: else anyone could adopt another's
 * subkey as theirs), and is one that may sign.
 */
async function signingFault(key: Key, component: Component, at: Date): Promise<string | undefined> {
  try {
    const found = await key.getSigningKey(component.getKeyID(), at, undefined, POLICY);
    if (found.getFingerprint() === component.getFingerprint()) return undefined;
    return 'must not sign: it shares its key id with another';
  } catch (error) {
    return `must not sign: ${printableReason(error)}`;
  }
}

async function validityFault(key: Key, now: Date): Promise<string | undefined> {
  try {
    await key.verifyPrimaryKey(now, undefined, POLICY);
    return undefined;
  } catch (error) {
    return `is not valid: ${printableReason(error)}`;
  }
}

/**
 * When the oldest self-signatures there are came into force. gpg replaces a key's self-signature
 * when its expiry is moved, so an honest signature may be older than all of them; it is then judged
 * by the oldest.
 */
function oldestBinding(key: Key, component: Component): Date {
  const isPrimaryBinding = ({ signatureType }: SignaturePacket) =>
    signatureType === enums.signature.key ||
    (signatureType !== null &&
      signatureType >= enums.signature.certGeneric &&
      signatureType <= enums.signature.certPositive);
  const primary = earliest(selfSignatures(key).filter(isPrimaryBinding));
  return isSubkey(component) ? laterOf(primary, earliest(component.bindingSignatures)) : primary;
}

function earliest(signatures: readonly SignaturePacket[]): Date {
  const times = signatures.map((signature) => signature.created?.getTime() ?? 0);
  return new Date(times.length === 0 ? 0 : Math.min(...times));
}

function laterOf(a: Date, b: Date): Date {
  return a.getTime() >= b.getTime() ? a : b;
}

function isSubkey(component: Component): component is Subkey {
  return 'bindingSignatures' in component;
}
