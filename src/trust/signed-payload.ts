import { GantryError } from '../error.ts';
import { type Digest, formatDigest, parseDigest, sameDigest } from '../image/digest.ts';
import { type DocumentKind, type Field, parseDocument } from '../image/document.ts';
import { readDigest } from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';
import { isTag, parseRepository, repositoryName } from '../image/repository.ts';
import type { SignatureCandidate } from './manifest-signature.ts';
import type { CheckContext } from './signature-check.ts';

/** What a signature was found to be about. */
export interface SignedImage {
  readonly candidate: SignatureCandidate;
  /** The reference it names, as it spells it; undefined where its kind names none. */
  readonly signedReference?: string | undefined;
}

/** What a signature's claims are held against. */
export type WantedImage = Pick<CheckContext, 'candidates' | 'name' | 'tag' | 'identity'>;

/** A payload is a few hundred bytes; `optional` may hold annotations. */
const MAX_PAYLOAD_BYTES = 64 << 10;

const kind: DocumentKind = {
  what: 'signed payload',
  code: 'bad-signature',
  maxBytes: MAX_PAYLOAD_BYTES,
};

/** `critical.type`: of containers/image, which cosign used before it had its own. */
const SIMPLE_SIGNING = 'atomic container signature';
const COSIGN = 'cosign container image signature';

/**
 * Holds a simple-signing payload against the image that was asked for: its type, its manifest's digest
 * and its reference (containers/image, docs/containers-signature.5.md; sigstore/cosign,
 * specs/SIGNATURE_SPEC.md). Call it with bytes whose signature holds: nothing in them means anything
 * before.
 *
 * @throws GantryError `bad-signature`, its message the rest of a sentence about the image.
 */
export function requireSignedImage(payload: Uint8Array, wanted: WantedImage): SignedImage {
  const root = parseDocument(payload, kind);
  const critical = root.member('critical');
  requireKnownMembers(critical, ['type', 'image', 'identity']);
  requireType(critical.member('type'));
  const image = critical.member('image');
  requireKnownMembers(image, ['docker-manifest-digest']);
  const candidate = requireCandidate(readDigest(image.member('docker-manifest-digest')), wanted);
  const identity = critical.member('identity');
  requireKnownMembers(identity, ['docker-reference']);
  const reference = identity.member('docker-reference').filledString();
  return { candidate, signedReference: requireSignedReference(reference, candidate, wanted) };
}

/**
 * The document a signature is over, by the digest it names: the image's manifest or its index.
 *
 * @throws GantryError `bad-signature`
 */
export function requireCandidate(digest: Digest, { candidates }: WantedImage): SignatureCandidate {
  const found = candidates.find((candidate) => sameDigest(candidate.digest, digest));
  if (found !== undefined) return found;
  throw refused(`the signature is for another image, ${formatDigest(digest)}`);
}

/**
 * Holds a reference from inside a signature against the one that was asked for, as the policy has it:
 * always its repository, by every name Docker Hub has; a digest it has; a tag, where both have one.
 *
 * @returns the reference, as it was.
 * @throws GantryError `bad-signature`
 */
export function requireSignedReference(
  reference: string,
  candidate: SignatureCandidate,
  { name, tag, identity }: WantedImage,
): string {
  const signed = readSignedReference(reference);
  if (signed.name !== name) {
    throw refused(`the signature is for ${quote(reference)}, another repository`);
  }
  if (signed.digest !== undefined && !sameDigest(signed.digest, candidate.digest)) {
    throw refused(`the signature is for ${quote(reference)}, another digest than it is over`);
  }
  const bothHaveTags = signed.tag !== undefined && tag !== undefined;
  if (identity === 'tag' && bothHaveTags && signed.tag !== tag) {
    throw refused(`the signature is for ${quote(reference)}, not for the tag ${quote(tag)}`);
  }
  return reference;
}

/** `[host/]repository[:tag][@digest]`, where no tag means none and not `latest`. */
function readSignedReference(text: string): { name: string; tag?: string; digest?: Digest } {
  const [, named = '', digest] = /^([^@]*)(?:@(.*))?$/s.exec(text) ?? [];
  const [, path = named, tag] = /^(.*):([^/]*)$/s.exec(named) ?? [];
  try {
    if (tag !== undefined && !isTag(tag)) throw refused(`${quote(tag)} is not a tag`);
    return {
      name: repositoryName(parseRepository(path, text)),
      ...(tag === undefined ? {} : { tag }),
      ...(digest === undefined ? {} : { digest: parseDigest(digest) }),
    };
  } catch (cause) {
    throw new GantryError(
      'bad-signature',
      `the signature is for ${quote(text)}, which is no image reference`,
      { cause },
    );
  }
}

/** What is critical and unknown must not be passed over: that is what the word means there. */
function requireKnownMembers(field: Field, known: readonly string[]): void {
  const unknown = Object.keys(field.object()).find((name) => !known.includes(name));
  if (unknown !== undefined) throw field.member(unknown).refuse('is critical and unknown');
}

function requireType(field: Field): void {
  const type = field.string();
  if (type !== SIMPLE_SIGNING && type !== COSIGN) {
    throw field.refuse(`${quote(type)} is not the type of an image signature`);
  }
}

function refused(reason: string): GantryError {
  return new GantryError('bad-signature', reason);
}
