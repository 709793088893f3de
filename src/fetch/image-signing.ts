import { createHash } from 'node:crypto';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { GantryError, reasonOf } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import { type Descriptor, type Platform, parseOciManifest } from '../image/oci-manifest.ts';
import type { SignatureKind, SignedContent } from '../image/provenance.ts';
import type { LayoutReference, Reference, RegistryReference } from '../image/reference.ts';
import { parseRepository, type Repository, repositoryName } from '../image/repository.ts';
import { putNewFile } from '../trust/new-file.ts';
import type { OpenPgpSigningKey } from '../trust/openpgp-signing-key.ts';
import { signBundle, signClassic, signSimple } from '../trust/signing.ts';
import type { SigningKey, SigstoreSigningKey } from '../trust/signing-key.ts';
import type { TransportContext } from './context.ts';
import { lookasideDirectory, placeInLookaside } from './lookaside-signature.ts';
import { chooseManifest } from './oci-platform.ts';
import type { FoundManifest, OciSource } from './oci-source.ts';
import { type Published, publishBundle, publishClassic } from './signature-publishing.ts';
import { openSigningPlace, type SigningPlace } from './signing-place.ts';

/** The kinds of signatures that are made for an OCI image. */
export type SigningFormat = Extract<SignatureKind, 'cosign' | 'bundle' | 'simple-signing'>;

/** How images are to be signed. */
export interface SigningRequest {
  readonly key: SigningKey;
  /** Those that the key can make where none are named. */
  readonly formats?: readonly SigningFormat[] | undefined;
  /** A directory for simple signing, in place of the one `registries.d` names. */
  readonly lookaside?: string | undefined;
  /** The reference that signatures name, in place of the image's own. */
  readonly identity?: string | undefined;
  readonly overwrite: boolean;
}

/** One signature that an image has now. */
export interface ImageSignature {
  /** What was signed: the bytes as they were read just then. */
  readonly signed: SignedContent;
  readonly kind: SignatureKind;
  readonly where: string;
  /** False where the same key's signature lay there already, and was left alone. */
  readonly made: boolean;
}

/** A manifest or index as it was found, and what it is called in signatures. */
interface SigningSubject {
  readonly what: 'manifest' | 'index';
  readonly descriptor: Descriptor;
  readonly repository: Repository;
  /** With the tag, or else the digest. */
  readonly reference: string;
}

/**
 * Signs an image where it lies and publishes the signature beside it: a file gets a detached one, an image
 * in a registry or a layout what the key can make. What is signed is the digest of the bytes read here,
 * not what anybody says of them. Nothing is published before everything was signed.
 *
 * @throws GantryError `usage` for a key that cannot sign this, or a signature that is there; `not-found`,
 *   `network`, `unsupported`, `permission`, `store`
 */
export async function signImage(
  reference: Reference,
  request: SigningRequest,
  context: TransportContext,
): Promise<ImageSignature[]> {
  switch (reference.kind) {
    case 'path':
      return [await signFile(reference.path, request, context)];
    case 'layout':
      if (reference.format !== 'oci') return [await signFile(reference.path, request, context)];
      return await signWhereItLies(reference, request, context);
    case 'registry':
      return await signWhereItLies(reference, request, context);
    default:
      throw new GantryError(
        'usage',
        `${reference.text}: an image is signed where it is published: name a registry (docker://…), a layout (oci:DIR), an archive (oci-archive:FILE) or an ACI file`,
      );
  }
}

/** An archive is signed as a whole, whatever is in it. */
async function signFile(
  path: string,
  { key, formats, overwrite }: SigningRequest,
  { signal }: TransportContext,
): Promise<ImageSignature> {
  if (key.kind !== 'openpgp' || formats !== undefined) {
    throw new GantryError(
      'usage',
      `${path}: a file is signed with an OpenPGP key, and its signature has one format: give --key an export of gpg's, or copy the image to a registry first`,
    );
  }
  const target = `${path}.asc`;
  if (!isRegularFile(path)) throw new GantryError('not-found', `${path}: not a regular file`);
  if (!overwrite && existsSync(target)) throw signatureExists(target);
  const hash = createHash('sha256');
  const { signDetached } = await import('../trust/openpgp-signing.ts');
  const signature = await signDetached(digested(path, hash, signal), key);
  if (!putNewFile(target, signature, { mode: 0o644, overwrite })) throw signatureExists(target);
  const digest: Digest = { algorithm: 'sha256', hex: hash.digest('hex') };
  return {
    signed: { what: 'archive', digest },
    kind: 'detached',
    where: resolve(target),
    made: true,
  };
}

function signatureExists(path: string): GantryError {
  return new GantryError('usage', `signature file exists (try --overwrite): ${path}`);
}

async function* digested(
  path: string,
  hash: ReturnType<typeof createHash>,
  signal: AbortSignal | undefined,
): AsyncIterable<Uint8Array> {
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) {
    signal?.throwIfAborted();
    hash.update(piece as Uint8Array);
    yield piece as Uint8Array;
  }
}

function isRegularFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch (cause) {
    throw new GantryError('not-found', `${path}: ${reasonOf(cause)}`, { cause });
  }
}

async function signWhereItLies(
  reference: RegistryReference | LayoutReference,
  request: SigningRequest,
  context: TransportContext,
): Promise<ImageSignature[]> {
  requireFormats(request);
  const place = await openSigningPlace(reference, context);
  try {
    const subject = await findSubject(reference, place, request.identity);
    const { key } = request;
    if (key.kind === 'openpgp') return [await signInLookaside(key, subject, place, request)];
    return await signBeside(key, subject, place, request);
  } finally {
    await place.close();
  }
}

/** Refuses formats that the key cannot make: one would be missing without a word otherwise. */
function requireFormats({ key, formats = [], lookaside }: SigningRequest): void {
  const simple = key.kind === 'openpgp';
  if (formats.some((format) => (format === 'simple-signing') !== simple)) {
    throw new GantryError(
      'usage',
      simple
        ? 'an OpenPGP key makes --format simple-signing; cosign signatures and bundles need a sigstore key'
        : 'a sigstore key makes --format cosign, bundle or both; simple-signing needs an OpenPGP key',
    );
  }
  if (!simple && lookaside !== undefined) {
    throw new GantryError(
      'usage',
      '--lookaside is for OpenPGP keys: sigstore signatures lie in the repository',
    );
  }
}

/** The bytes that the reference means now: an index as such, unless a platform was asked for. */
async function findSubject(
  reference: RegistryReference | LayoutReference,
  { source, image, name }: SigningPlace,
  identity: string | undefined,
): Promise<SigningSubject> {
  const named = await source.manifest(image);
  if (named === undefined) {
    throw new GantryError(
      'not-found',
      `${reference.text}: there is no such image: check its name and tag`,
    );
  }
  const found = await forPlatform(named, source, reference.platform);
  const { kind, mediaType } = parseOciManifest(found.bytes, found.mediaType);
  const descriptor = { mediaType, digest: found.digest, size: found.bytes.length };
  const called = identity ?? name;
  if (called === undefined) {
    throw new GantryError(
      'usage',
      `${reference.text}: the layout does not say what the image is called: give --sign-identity example.com/app:1.0`,
    );
  }
  return { what: kind, descriptor, ...identityOf(called, found.digest) };
}

async function forPlatform(
  found: FoundManifest,
  source: OciSource,
  platform: Platform | undefined,
): Promise<FoundManifest> {
  if (platform === undefined) return found;
  const document = parseOciManifest(found.bytes, found.mediaType);
  if (document.kind === 'manifest') return found;
  const chosen = chooseManifest(document, platform, source.shown);
  const manifest = await source.manifest(chosen.digest);
  if (manifest !== undefined) return manifest;
  throw new GantryError(
    'not-found',
    `${source.shown}: the manifest ${formatDigest(chosen.digest)}, which its index names, is not there`,
  );
}

/** What a signature calls the image: its repository, and that with its tag or, without one, the digest. */
function identityOf(
  called: string,
  digest: Digest,
): Pick<SigningSubject, 'repository' | 'reference'> {
  const [, named = called] = /^([^@]*)@/.exec(called) ?? [];
  const [, path = named, tag] = /^(.*):([^/]*)$/s.exec(named) ?? [];
  const repository = parseRepository(path, called);
  const name = repositoryName(repository);
  return { repository, reference: tag ? `${name}:${tag}` : `${name}@${formatDigest(digest)}` };
}

/** Both of sigstore's kinds, unless one is asked for: some readers know only the one, some the other. */
async function signBeside(
  key: SigstoreSigningKey,
  { what, descriptor, repository }: SigningSubject,
  { source, openDestination }: SigningPlace,
  { formats = ['cosign', 'bundle'], overwrite }: SigningRequest,
): Promise<ImageSignature[]> {
  const { digest } = descriptor;
  const classic = formats.includes('cosign')
    ? signClassic(key, repositoryName(repository), digest)
    : undefined;
  const bundle = formats.includes('bundle') ? signBundle(key, digest) : undefined;
  const destination = await openDestination();
  try {
    const place = { source, destination };
    const made: ImageSignature[] = [];
    const add = (kind: SigningFormat, published: Published) =>
      made.push({ signed: { what, digest }, kind, ...published });
    if (classic !== undefined) {
      add('cosign', await publishClassic(place, digest, key, classic, { overwrite }));
    }
    if (bundle !== undefined) {
      add('bundle', await publishBundle(place, descriptor, key, bundle, { overwrite }));
    }
    await destination.finish();
    return made;
  } finally {
    await destination.abort();
  }
}

async function signInLookaside(
  key: OpenPgpSigningKey,
  { what, descriptor, repository, reference }: SigningSubject,
  place: SigningPlace,
  { lookaside }: SigningRequest,
): Promise<ImageSignature> {
  const directory = lookaside ?? directoryOf(place, repository);
  const signature = await signSimple(key, reference, descriptor.digest);
  const where = placeInLookaside(resolve(directory), repository.path, descriptor.digest, signature);
  return { signed: { what, digest: descriptor.digest }, kind: 'simple-signing', where, made: true };
}

function directoryOf({ lookaside }: SigningPlace, repository: Repository): string {
  if (lookaside !== undefined) return lookasideDirectory(lookaside);
  throw new GantryError(
    'usage',
    `${repositoryName(repository)}: nothing says where simple-signing signatures lie: give --lookaside DIR, or name one for ${repository.host} in registries.d`,
  );
}
