import { resolve } from 'node:path';
import { enums } from 'openpgp';
import { GantryError } from '../error.ts';
import type { OpenPgpProvenance } from '../image/provenance.ts';
import {
  type DetachedSignature,
  readSignatureFile,
  type SignatureFile,
  signatureFault,
  signatureLabel,
} from './detached-signature.ts';
import { ASK_THE_SIGNER, badSignature, type Fault, refusal } from './fault.ts';
import { ImageDigests } from './image-digests.ts';
import { primaryUserId } from './key-description.ts';
import { type Component, componentsWithId, standingFault } from './key-standing.ts';
import { type TrustDirectories, trustedKeysFor } from './keystore.ts';
import { POLICY } from './policy.ts';
import { retrustCommand } from './trust-rule.ts';
import { type KeyOf, keysOfKind, loadTrustedKey } from './trusted-key-kind.ts';
import { unknownIssuer } from './unknown-issuer.ts';
import type { Verification, VerificationRequest } from './verification.ts';

/** A signature, and a trusted key that can have made it and may speak for the name. */
interface Candidate {
  readonly signature: DetachedSignature;
  readonly loaded: KeyOf<'openpgp'>;
  readonly component: Component;
}

/** What the signatures come to before the image itself is looked at. */
interface Candidates {
  readonly candidates: readonly Candidate[];
  readonly faults: readonly Fault[];
}

/** The verification of a detached OpenPGP signature over an image that goes by once. */
export class OpenpgpVerification implements Verification {
  readonly #request: VerificationRequest;
  readonly #file: SignatureFile;
  #digests: ImageDigests | undefined;

  private constructor(request: VerificationRequest, file: SignatureFile) {
    this.#request = request;
    this.#file = file;
    this.#digests = new ImageDigests(file.signatures);
  }

  static async start(request: VerificationRequest): Promise<OpenpgpVerification> {
    const verification = new OpenpgpVerification(
      request,
      await readSignatureFile(request.signature),
    );
    if (request.name !== undefined) {
      await verification.#requireCandidates(request.name, verification.#now());
    }
    return verification;
  }

  write(chunk: Uint8Array): void {
    this.#running().update(chunk);
  }

  async conclude(name: string): Promise<OpenPgpProvenance> {
    const digests = this.#running();
    this.#digests = undefined;
    const now = this.#now();
    const candidates = await this.#requireCandidates(name, now);
    const verdict = await judgeContent(candidates, digests, name, now);
    if ('faults' in verdict) throw refusal(name, verdict.faults);
    return verdict.provenance;
  }

  abort(): void {
    this.#digests = undefined;
  }

  #running(): ImageDigests {
    if (this.#digests === undefined) {
      throw new GantryError('internal', 'this signature verification is already over');
    }
    return this.#digests;
  }

  #now(): Date {
    return this.#request.now ?? new Date();
  }

  /** @throws GantryError when nothing the image may hold could make a signature hold. */
  async #requireCandidates(name: string, now: Date): Promise<Candidates> {
    const { directories } = this.#request;
    const keys = await Promise.all(trustedKeysFor(directories, name).map(loadTrustedKey));
    const signers = { directories, keys: keysOfKind(keys, 'openpgp'), name, now };
    const found = await findCandidates(this.#file, signers);
    if (found.candidates.length === 0) throw refusal(name, found.faults);
    return found;
  }
}

/** Who may have signed for which name, and as of when that is asked. */
interface Signers {
  readonly directories: TrustDirectories;
  /** Those trusted for the name. */
  readonly keys: readonly KeyOf<'openpgp'>[];
  readonly name: string;
  readonly now: Date;
}

/** The verdict over content that is at hand whole; the rules are those of a detached signature. */
export async function judgeSignatures(
  file: SignatureFile,
  content: Uint8Array,
  signers: Signers,
): Promise<OpenPgpVerdict> {
  const digests = new ImageDigests(file.signatures);
  digests.update(content);
  const { name, now } = signers;
  return await judgeContent(await findCandidates(file, signers), digests, name, now);
}

/** A yes, or everything that speaks against one. */
export type OpenPgpVerdict =
  | { readonly provenance: OpenPgpProvenance }
  | { readonly faults: readonly Fault[] };

async function judgeContent(
  { candidates, faults }: Candidates,
  digests: ImageDigests,
  name: string,
  now: Date,
): Promise<OpenPgpVerdict> {
  const failed: Fault[] = [];
  for (const candidate of candidates) {
    const fault = await digestedFault(candidate, digests, now);
    if (fault === undefined) return { provenance: await provenanceOf(candidate, name, now) };
    failed.push(fault);
  }
  return { faults: [...failed, ...faults] };
}

async function findCandidates(
  file: SignatureFile,
  { directories, keys, name, now }: Signers,
): Promise<Candidates> {
  const candidates: Candidate[] = [];
  const faults: Fault[] = [...file.faults];
  for (const signature of file.signatures) {
    const found = await candidatesFor(signature, keys, now);
    candidates.push(...found.candidates);
    if (found.candidates.length > 0) continue;
    const unknown = () => unknownIssuer(directories, signature.keyId, name);
    faults.push(found.faults[0] ?? (await unknown()));
  }
  return { candidates, faults };
}

/** The trusted keys that can have made a signature; no fault and no candidate where none has its id. */
async function candidatesFor(
  signature: DetachedSignature,
  keys: readonly KeyOf<'openpgp'>[],
  now: Date,
): Promise<Candidates> {
  const fault = signatureFault(signature, now);
  if (fault !== undefined) return { candidates: [], faults: [fault] };
  const times = { signedAt: signature.madeAt, believedAt: now, now };
  const candidates: Candidate[] = [];
  const faults: Fault[] = [];
  for (const loaded of keys) {
    for (const component of componentsWithId(loaded.key, signature.keyId)) {
      const reason = await standingFault(loaded.key, component, times);
      if (reason === undefined) candidates.push({ signature, loaded, component });
      else faults.push(unfitKey(signature, loaded, reason));
    }
  }
  return { candidates, faults };
}

function unfitKey(signature: DetachedSignature, loaded: KeyOf<'openpgp'>, reason: string): Fault {
  return {
    code: 'untrusted',
    reason: `key ${signature.keyId.toUpperCase()}, which signed it, ${reason}`,
    remedy: `ask for a signature by a valid key, or take in its renewed key: ${retrustCommand(loaded.trusted.rule)}`,
  };
}

/**
 * Whether the signature is over the bytes that went by. openpgp.js is given the digest in the field
 * its own streaming fills; should a later version look elsewhere it finds no data and refuses.
 */
async function digestedFault(
  { signature, component }: Candidate,
  digests: ImageDigests,
  now: Date,
): Promise<Fault | undefined> {
  const { packet } = signature;
  const digest = digests.digestFor(signature);
  if (digest === undefined) return badSignature(`${signatureLabel(signature)} has no digest`);
  try {
    packet.hashed = digest;
    await packet.verify(component.keyPacket, enums.signature.binary, {}, now, true, POLICY);
    return undefined;
  } catch {
    // Every other ground openpgp.js has was looked at before: what is left is the digest.
    return badSignature(
      `${signatureLabel(signature)} does not match: the image or the signature was changed after signing`,
      ASK_THE_SIGNER,
    );
  }
}

async function provenanceOf(
  { signature, loaded, component }: Candidate,
  name: string,
  now: Date,
): Promise<OpenPgpProvenance> {
  const userId = await primaryUserId(loaded.key, now);
  return {
    kind: 'openpgp',
    fingerprint: loaded.trusted.fingerprint,
    signingKeyId: component.getKeyID().toHex(),
    ...(userId === undefined ? {} : { userId }),
    signedAt: signature.madeAt.toISOString(),
    verifiedAt: now.toISOString(),
    name,
    rule: loaded.trusted.rule,
    keyPath: resolve(loaded.trusted.path),
    keyDigest: loaded.digest,
    keyStamp: loaded.stamp,
  };
}
