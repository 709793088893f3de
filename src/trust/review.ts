import { oneLineName } from './certificate-authority.ts';
import { patternWarning } from './keyless-identity.ts';
import { displayFingerprint, printable } from './printable.ts';
import { type KeyMaterial, readKeys } from './trusted-key-kind.ts';

/** What an operator is shown of every key before trusting it. Everything is safe to print. */
interface Described {
  /** Lower-case hex. */
  readonly fingerprint: string;
  /** As rkt and gpg print it: `B346 E31D E7E3 C6F9 D1D4  603F 4DFB 61BF 26EF 7A14`. */
  readonly displayFingerprint: string;
  /** Why nothing this key signs would be believed now, or what else speaks against it. */
  readonly problem?: string;
}

export interface OpenPgpDescription extends Described {
  readonly kind: 'openpgp';
  readonly userIds: readonly string[];
  /** For example `RSA 4096`, `Ed25519`, `ECDSA nistP256`. */
  readonly algorithm: string;
  readonly created: Date;
  /** Absent where the key never expires. */
  readonly expires?: Date;
  readonly subkeys: readonly SubkeyDescription[];
}

export interface SubkeyDescription {
  readonly fingerprint: string;
  readonly displayFingerprint: string;
}

export interface SigstoreKeyDescription extends Described {
  readonly kind: 'sigstore-key';
  /** `ECDSA P-256`, `RSA 3072`, `Ed25519`. */
  readonly algorithm: string;
}

export interface IdentityDescription extends Described {
  readonly kind: 'sigstore-identity';
  readonly issuer: string;
  /** The whole identity, or a regular expression for the whole of it. */
  readonly subject: string;
  readonly match: 'exact' | 'pattern';
}

export interface AuthorityDescription extends Described {
  readonly kind: 'x509';
  /** Distinguished name. */
  readonly subject: string;
  readonly created: Date;
  readonly expires: Date;
}

export type KeyDescription =
  | OpenPgpDescription
  | SigstoreKeyDescription
  | IdentityDescription
  | AuthorityDescription;

/**
 * Describes every key in a file, in order.
 *
 * @param bytes keys of any kind that can be trusted.
 * @throws GantryError `bad-key` when the bytes are anything else.
 */
export async function describeKeys(bytes: Uint8Array): Promise<KeyDescription[]> {
  const keys = await readKeys(bytes);
  return await Promise.all(
    keys.map(({ material, fingerprint }) => describeKey(material, fingerprint)),
  );
}

/** Describes one key. */
export async function describeKey(
  material: KeyMaterial,
  fingerprint: string,
  now: Date = new Date(),
): Promise<KeyDescription> {
  const common = { fingerprint, displayFingerprint: displayFingerprint(fingerprint) };
  switch (material.kind) {
    case 'openpgp': {
      const { describeOpenPgpKey } = await import('./key-description.ts');
      return { kind: 'openpgp', ...common, ...(await describeOpenPgpKey(material.key, now)) };
    }
    case 'sigstore-key':
      return { kind: 'sigstore-key', ...common, algorithm: material.algorithm };
    case 'sigstore-identity': {
      const { issuer, subject } = material.identity;
      const problem = patternWarning(subject);
      return {
        kind: 'sigstore-identity',
        ...common,
        issuer: printable(issuer),
        subject: printable(subject.text),
        match: subject.match,
        ...(problem === undefined ? {} : { problem }),
      };
    }
    case 'x509': {
      const { subject, validFromDate, validToDate } = material.certificate;
      const problem = validityProblem(validFromDate, validToDate, now);
      return {
        kind: 'x509',
        ...common,
        subject: printable(oneLineName(subject)),
        created: validFromDate,
        expires: validToDate,
        ...(problem === undefined ? {} : { problem }),
      };
    }
  }
}

function validityProblem(from: Date, to: Date, now: Date): string | undefined {
  if (now.getTime() > to.getTime()) return `the certificate expired at ${to.toISOString()}`;
  if (now.getTime() < from.getTime()) return `the certificate is valid from ${from.toISOString()}`;
  return undefined;
}
