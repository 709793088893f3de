import { GantryError } from '../error.ts';
import { formatDigest } from '../image/digest.ts';
import { type DocumentKind, type Field, parseDocument } from '../image/document.ts';
import { quote } from '../image/quotation.ts';
import { isHostLike } from '../image/repository.ts';
import type { SignatureCandidate } from './manifest-signature.ts';
import { requireSignedReference, type SignedImage, type WantedImage } from './signed-payload.ts';

/** The payload type of every envelope whose content is a statement (in-toto/attestation, spec/v1/envelope.md). */
export const STATEMENT_PAYLOAD_TYPE = 'application/vnd.in-toto+json';

/** SLSA provenance of a large build lists thousands of materials. */
const MAX_STATEMENT_BYTES = 4 << 20;
const kind: DocumentKind = {
  what: 'signed statement',
  code: 'bad-signature',
  maxBytes: MAX_STATEMENT_BYTES,
};

const STATEMENT_TYPES: ReadonlySet<string> = new Set([
  'https://in-toto.io/Statement/v0.1',
  'https://in-toto.io/Statement/v1',
]);

/**
 * Statements that stand up for an image: cosign's signature, and that of whoever built it. Others are
 * about an image without being for it: a scan's findings, a list of contents, a test that failed.
 */
const VOUCHING_PREDICATES: ReadonlySet<string> = new Set([
  'https://sigstore.dev/cosign/sign/v1',
  'https://slsa.dev/provenance/v0.2',
  'https://slsa.dev/provenance/v1',
]);

/**
 * Holds an in-toto statement against the image that was asked for (in-toto/attestation,
 * spec/v1/statement.md): one of its subjects must be the image's manifest or index. cosign names no
 * reference there; where a subject's name is one, it must be that of the image. Call it with bytes
 * whose signature holds.
 *
 * @throws GantryError `bad-signature`, its message the rest of a sentence about the image.
 */
export function requireSignedStatement(statement: Uint8Array, wanted: WantedImage): SignedImage {
  const root = parseDocument(statement, kind);
  const type = root.member('_type');
  if (!STATEMENT_TYPES.has(type.string())) {
    throw type.refuse(`${quote(type.string())} is not the type of a statement`);
  }
  const predicate = root.member('predicateType');
  if (!VOUCHING_PREDICATES.has(predicate.string())) {
    throw predicate.refuse(
      `${quote(predicate.string())} says something of an image, but is no signature`,
    );
  }
  const subjects = root.member('subject').list();
  for (const subject of subjects) {
    const candidate = candidateOf(subject, wanted);
    if (candidate !== undefined) return signedImage(subject, candidate, wanted);
  }
  throw new GantryError(
    'bad-signature',
    `the signature is for another image${shownDigest(subjects)}`,
  );
}

/** The document whose digest a subject has. */
function candidateOf(subject: Field, { candidates }: WantedImage): SignatureCandidate | undefined {
  const digests = subject.member('digest').stringMap();
  return candidates.find(({ digest }) => digests[digest.algorithm] === digest.hex);
}

function signedImage(
  subject: Field,
  candidate: SignatureCandidate,
  wanted: WantedImage,
): SignedImage {
  const name = subject.member('name').optional((field) => field.string());
  if (name === undefined || !isReferenceLike(name)) return { candidate };
  return { candidate, signedReference: requireSignedReference(name, candidate, wanted) };
}

/** Statements about files name them `app.tar`; about images `host/path`, at times as a package URL. */
function isReferenceLike(name: string): boolean {
  const slash = name.indexOf('/');
  return slash > 0 && !name.startsWith('pkg:') && isHostLike(name.slice(0, slash));
}

function shownDigest([first]: readonly Field[]): string {
  const hex = first?.member('digest').stringMap()['sha256'] ?? '';
  return /^[0-9a-f]{64}$/.test(hex) ? `, ${formatDigest({ algorithm: 'sha256', hex })}` : '';
}
