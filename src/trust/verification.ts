import type { OpenPgpProvenance } from '../image/provenance.ts';
import type { TrustDirectories } from './keystore.ts';

export { recheckProvenance } from './recheck.ts';

/** What there is to verify. */
export interface VerificationRequest {
  /** The detached signature file: armored or binary OpenPGP, one or more signatures. */
  readonly signature: Uint8Array;
  readonly directories: TrustDirectories;
  /** The image's name where it is known before the image is there. */
  readonly name?: string | undefined;
  /** The time to judge by; the moment of the verdict where none is given. */
  readonly now?: Date | undefined;
}

/** A verification under way: the image goes through it as it is downloaded. */
export interface Verification {
  /** Takes the image's next bytes; they are digested before it returns. */
  write(chunk: Uint8Array): void;
  /**
   * The verdict, once the whole image was written.
   *
   * @param name the name the image itself claims.
   * @throws GantryError `untrusted` when no key trusted for the name made a signature,
   *   `bad-signature` when one did and it does not hold.
   */
  conclude(name: string): Promise<OpenPgpProvenance>;
  /** Gives up; nothing is kept. */
  abort(): void;
}

/**
 * Reads the signature file and makes ready to digest the image. With a name it refuses at once,
 * before anything is downloaded, when no signature can be from a key trusted for it.
 *
 * @throws GantryError `bad-signature` for a file that holds no usable signature, `untrusted`.
 */
export async function startVerification(request: VerificationRequest): Promise<Verification> {
  const { OpenpgpVerification } = await import('./openpgp-verification.ts');
  return await OpenpgpVerification.start(request);
}
