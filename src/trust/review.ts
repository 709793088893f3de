/** What an operator is shown of a key before trusting it. Everything is safe to print. */
export interface KeyDescription {
  /** Lower-case hex. */
  readonly fingerprint: string;
  /** As rkt and gpg print it: `B346 E31D E7E3 C6F9 D1D4  603F 4DFB 61BF 26EF 7A14`. */
  readonly displayFingerprint: string;
  readonly userIds: readonly string[];
  /** For example `RSA 4096`, `Ed25519`, `ECDSA nistP256`. */
  readonly algorithm: string;
  readonly created: Date;
  /** Absent where the key never expires. */
  readonly expires?: Date;
  readonly subkeys: readonly SubkeyDescription[];
  /** Why nothing this key signs would be believed now: expired, revoked, too weak. */
  readonly problem?: string;
}

export interface SubkeyDescription {
  readonly fingerprint: string;
  readonly displayFingerprint: string;
}

/**
 * Describes every key in a file, in order.
 *
 * @param bytes armored or binary OpenPGP public keys.
 * @throws GantryError `bad-key` when the bytes are anything else.
 */
export async function describeKeys(bytes: Uint8Array): Promise<KeyDescription[]> {
  const { describePublicKeys } = await import('./key-description.ts');
  return await describePublicKeys(bytes);
}
