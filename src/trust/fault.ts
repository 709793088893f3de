import { GantryError } from '../error.ts';

/** Why one signature does not vouch for an image. */
export interface Fault {
  readonly code: 'untrusted' | 'bad-signature';
  /** Which check failed, as the rest of a sentence about the image. */
  readonly reason: string;
  /** What the operator can do about it. */
  readonly remedy: string;
}

/** More faults than this are counted, not listed: the message stays one readable line. */
const MAX_LISTED = 4;

/**
 * The refusal of an image none of whose signatures holds. A signature by a trusted key that fails
 * says more than one by a stranger, so it gives the error its code and its advice.
 */
export function refusal(name: string, faults: readonly Fault[]): GantryError {
  const telling = faults.find(({ code }) => code === 'bad-signature') ?? faults[0];
  if (telling === undefined) {
    return new GantryError('bad-signature', `${name}: the signature file holds no signature`);
  }
  // The same key often signs twice, in cosign's form and as a bundle, and fails twice for one reason.
  const distinct = [...new Set(faults.map(({ reason }) => reason))];
  const listed = distinct.slice(0, MAX_LISTED);
  const more = distinct.length - listed.length;
  const reasons =
    distinct.length === 1
      ? telling.reason
      : `none of its ${faults.length} signatures holds: ${listed.map((reason, i) => `(${i + 1}) ${reason}`).join(', ')}${more > 0 ? `, and ${more} more` : ''}`;
  return new GantryError(telling.code, `${name}: ${reasons}; ${telling.remedy}`);
}

/** Advice where the image and its signature do not belong together. */
export const ASK_THE_SIGNER =
  'do not use this copy: fetch it again, and if that does not help ask whoever signed it';

/** A fault of a signature that is there. */
export function badSignature(reason: string, remedy: string = ASK_THE_SIGNER): Fault {
  return { code: 'bad-signature', reason, remedy };
}
