import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { ociPlatform } from '../image/platform.ts';
import type { OpenPgpProvenance } from '../image/provenance.ts';
import { type LayoutReference, parseRegistryReference } from '../image/reference.ts';
import { isTag, repositoryName } from '../image/repository.ts';
import { PrivateFile } from '../store/private-file.ts';
import { startVerification, type Verification } from '../trust/verification.ts';
import { openArchiveSource } from './archive-source.ts';
import { certify } from './certification.ts';
import { type ArchiveBytes, DirectoryFiles, OpenArchive, piecesOf } from './content-files.ts';
import type { FetchContext } from './context.ts';
import type { LayoutImage } from './layout-image-choice.ts';
import { LayoutSource } from './layout-source.ts';
import { type Certificate, resolveManifest, takeIn } from './oci-intake.ts';
import { fetchSignatureAgain, type SignatureLocation } from './signature.ts';
import type { Transport } from './transport.ts';
import { reportVerdict } from './verdict-report.ts';

/** A layout or archive made ready, and the verdict over all of its bytes where there is to be one. */
interface OpenLayout {
  readonly source: LayoutSource;
  /** Asked with the name the image turns out to have. */
  readonly verdict?: (name: string) => Promise<OpenPgpProvenance>;
}

/**
 * Takes in an image from an OCI layout, an archive of one, or an archive of docker's. An archive beside
 * which there is a detached signature, `.asc`, is believed or refused by that; otherwise the signatures
 * count that lie in it beside the image, as they would in a registry.
 *
 * @param signature in place of the `.asc` beside an archive
 * @throws GantryError `not-found`, `untrusted`, `bad-signature`, and what taking the image in throws
 */
export async function fetchLayoutImage(
  reference: LayoutReference,
  signature: SignatureLocation | undefined,
  context: FetchContext,
  transport: Transport,
): Promise<ImageRecord> {
  const path = resolve(reference.path);
  context.report.debug(`image: using image from file ${path}`);
  const { source, verdict } = await open(reference, signature, context, transport);
  try {
    const chosen = await source.image(reference.ref);
    const found = await source.manifest(chosen.descriptor.digest);
    if (found === undefined) throw incomplete(source);
    const platform = reference.platform ?? ociPlatform(new Map());
    const image = await resolveManifest(found, source, platform);
    const { name, tag } = nameOf(chosen, reference);
    const certifyImage = async (): Promise<Certificate> => {
      const certificate =
        verdict === undefined
          ? await certify(image, { source, signedIdentity: 'tag' }, name, tag, context)
          : await certifyWhole(verdict, name, tag, context);
      return { ...certificate, source: { path } };
    };
    const supply = { source, platform, stop: new AbortController() };
    return await takeIn(image, certifyImage, supply, context);
  } finally {
    await source.close();
  }
}

async function open(
  reference: LayoutReference,
  signature: SignatureLocation | undefined,
  context: FetchContext,
  transport: Transport,
): Promise<OpenLayout> {
  const { format, path } = reference;
  if (format === 'oci') return { source: await LayoutSource.open(new DirectoryFiles(path)) };
  const archive = new OpenArchive(path);
  const options = { format, path, limit: context.limits.maxUnpackedBytes };
  const location = signature ?? signatureBeside(path);
  if (context.insecure.image || location === undefined) {
    return { source: await openArchiveSource(archive, options) };
  }
  const { copy, verification, digest } = await copyVerified(archive, location, context, transport);
  const source = await openArchiveSource(copy, options);
  const verdict = async (name: string): Promise<OpenPgpProvenance> => ({
    ...(await verification.conclude(name)),
    signature: 'detached',
    signed: { what: 'archive', digest: { algorithm: 'sha256', hex: digest } },
  });
  return { source, verdict };
}

function signatureBeside(path: string): SignatureLocation | undefined {
  const beside = `${resolve(path)}.asc`;
  return existsSync(beside) ? { path: beside } : undefined;
}

/**
 * Copies an archive to where nobody else can write while the bytes go by the signature: what is verified
 * must be what is read afterwards.
 */
async function copyVerified(
  archive: ArchiveBytes,
  location: SignatureLocation,
  context: FetchContext,
  transport: Transport,
): Promise<{ copy: PrivateFile; verification: Verification; digest: string }> {
  let copy: PrivateFile | undefined;
  try {
    const signature = await fetchSignatureAgain(location, transport, context.report);
    const verification = await startVerification({ signature, directories: context.directories });
    copy = PrivateFile.create();
    const hash = createHash('sha256');
    for await (const piece of piecesOf(archive, 0, archive.size)) {
      context.signal?.throwIfAborted();
      verification.write(piece);
      hash.update(piece);
      copy.append(piece);
    }
    return { copy, verification, digest: hash.digest('hex') };
  } catch (error) {
    copy?.close();
    throw error;
  } finally {
    archive.close();
  }
}

async function certifyWhole(
  verdict: (name: string) => Promise<OpenPgpProvenance>,
  name: string,
  version: string | undefined,
  context: FetchContext,
): Promise<Omit<Certificate, 'source'>> {
  const provenance = await verdict(name);
  reportVerdict(provenance, context);
  return { name, version, provenance };
}

/**
 * What the image is called: by the whole reference that layout or archive have for it. One that has but a
 * tag there is of this machine: `localhost/` and the file's own name.
 */
function nameOf(
  { ref, name }: LayoutImage,
  reference: LayoutReference,
): { name: string; tag: string | undefined } {
  for (const text of [name, ref, reference.ref]) {
    if (text === undefined || text.startsWith('@') || !/[/:]/.test(text)) continue;
    const { repository, tag } = parseRegistryReference(text);
    return { name: repositoryName(repository), tag };
  }
  const file = basename(resolve(reference.path))
    .toLowerCase()
    .replace(/\.(tar|tgz|oci|tar\.\w+)$/, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  // Whoever made the layout wrote there what they liked, and no signature is over it.
  const tag = ref !== undefined && isTag(ref) ? ref : undefined;
  return { name: `localhost/${file === '' ? 'image' : file}`, tag };
}

function incomplete({ shown }: LayoutSource): GantryError {
  return new GantryError(
    'invalid-archive',
    `${shown}: the manifest that its index names is not in it`,
  );
}
