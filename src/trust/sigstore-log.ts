import type { KeyObject } from 'node:crypto';
import type { Bundle, TransparencyLogEntry } from '@sigstore/bundle';
import { type TrustMaterial, Verifier } from '@sigstore/verify';
import { GantryError } from '../error.ts';
import type { TrustDirectories } from './keystore.ts';
import { printableReason } from './printable.ts';
import { loadTrustedRoots } from './sigstore-material.ts';
import { signedEntity } from './sigstore-proof.ts';

/** What a log proves of a signature that was made with a key. */
export interface LoggedSignature {
  readonly logIndex?: string;
  /** ISO 8601. */
  readonly signedAt?: string;
}

/**
 * Holds the log entries that came with a signature against the installed trusted roots. A key needs no
 * log to be believed, so an entry of a log no root knows proves nothing and does no harm; one of a known
 * log must be true in every part.
 *
 * @param artifact what is signed; undefined where the bundle holds it itself.
 * @throws GantryError `bad-signature` for a proof that does not hold.
 */
export function requireTrueEntries(
  bundle: Bundle,
  artifact: Uint8Array | undefined,
  key: KeyObject,
  directories: TrustDirectories,
): LoggedSignature {
  const tlogEntries: readonly TransparencyLogEntry[] = bundle.verificationMaterial.tlogEntries;
  if (tlogEntries.length === 0) return {};
  const roots = loadTrustedRoots(directories);
  const proven = tlogEntries.filter((entry) => {
    const material = roots.find((root) => knowsLog(root.material, entry))?.material;
    if (material === undefined) return false;
    requireTrueEntry({ bundle, artifact, key, material }, entry);
    return true;
  });
  const [first] = proven;
  return first === undefined ? {} : logged(first);
}

/** What the promise signs; a proof of inclusion has an index of its own, and no time. */
function logged({
  inclusionPromise,
  inclusionProof,
  integratedTime,
  logIndex,
}: TransparencyLogEntry): LoggedSignature {
  if (inclusionPromise === undefined) {
    return inclusionProof === undefined ? {} : { logIndex: inclusionProof.logIndex };
  }
  return { logIndex, signedAt: new Date(Number(integratedTime) * 1000).toISOString() };
}

function knowsLog({ tlogs }: TrustMaterial, { logId }: TransparencyLogEntry): boolean {
  return tlogs.some(({ logID }) => Buffer.from(logID).equals(Buffer.from(logId.keyId)));
}

interface LoggedBundle {
  readonly bundle: Bundle;
  readonly artifact: Uint8Array | undefined;
  readonly key: KeyObject;
  readonly material: TrustMaterial;
}

function requireTrueEntry(
  { bundle, artifact, key, material }: LoggedBundle,
  entry: TransparencyLogEntry,
): void {
  const entity = signedEntity(bundle, artifact);
  const content = entity.signature;
  const verifier = new Verifier(
    { ...material, publicKey: () => ({ publicKey: key, validFor: () => true }) },
    { ctlogThreshold: 0, tlogThreshold: 1, timestampThreshold: 0 },
  );
  try {
    verifier.verify({
      key: { $case: 'public-key', hint: '' },
      timestamps: [],
      tlogEntries: [entry],
      signature: {
        signature: content.signature,
        compareSignature: (signature) => content.compareSignature(signature),
        compareDigest: (digest) => content.compareDigest(digest),
        // Verified by now, with every digest that may go with the key; the library knows one.
        verifySignature: () => true,
      },
    });
  } catch (cause) {
    throw new GantryError(
      'bad-signature',
      `the transparency log entry that came with it does not hold (${printableReason(cause)})`,
      { cause },
    );
  }
}
