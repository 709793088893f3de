import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadRegistries } from '../config/registries.ts';
import { GantryError } from '../error.ts';
import type { LayoutReference, Reference, RegistryReference } from '../image/reference.ts';
import { findByRegistry } from './cached.ts';
import type { FetchContext } from './context.ts';
import type { LayoutSource } from './layout-source.ts';
import type { FoundManifest, OciDestination, OciSource } from './oci-source.ts';
import { placesOf } from './registry-place.ts';
import { Transport } from './transport.ts';

/** An image where it lies. */
export interface OpenImage {
  readonly source: OciSource;
  /** What the reference means there: a manifest, or an index as such. */
  readonly image: FoundManifest;
  /** It lies on this machine. */
  readonly isLocal: boolean;
  close(): Promise<void>;
}

/** A place that an image is written to. */
export interface OpenDestination {
  readonly destination: OciDestination;
  /** What the image is called there; undefined where its digest has to do. */
  readonly tag: string | undefined;
  /** Another image may lose that name to it: in a registry tags move, in a layout `--overwrite` says so. */
  readonly mayReplace: boolean;
  /** What is there under a tag, now. */
  present(tag: string): Promise<FoundManifest | undefined>;
  /** Gives up what was not finished. */
  close(): Promise<void>;
}

/**
 * Finds the image that a reference means: in a registry, a layout, an archive, or the store.
 * @throws GantryError `usage`, `not-found`, `unsupported`, and what reading the place throws
 */
export async function openImage(reference: Reference, context: FetchContext): Promise<OpenImage> {
  switch (reference.kind) {
    case 'registry':
      // Only what says `docker://` is somewhere else than in the store.
      if (!/^(docker|oci):\/\//i.test(reference.text)) return await openInStore(reference, context);
      return await openInRegistry(reference, context);
    case 'layout':
      return await openInLayout(reference, context);
    case 'id':
    case 'name':
      return await openInStore(reference, context);
    case 'url':
    case 'path':
      throw new GantryError(
        'usage',
        `${reference.text} is an App Container image, which has no place among OCI images`,
      );
  }
}

/**
 * Makes a place ready to be written to. Nothing is seen of it before its `finish`, but in a registry,
 * where blobs lie unseen until a manifest names them.
 *
 * @param overwrite replace a file, or an image of the same name in a layout
 * @throws GantryError `usage` for what is in the way, `config`, `store`
 */
export async function openDestination(
  place: RegistryReference | LayoutReference,
  { overwrite }: { readonly overwrite: boolean },
  context: FetchContext,
): Promise<OpenDestination> {
  if (place.kind === 'registry') return await openRepository(place, context);
  const { format, path, ref } = place;
  if (format === 'oci') return await openDirectory(place, overwrite);
  const { ArchiveDestination } = await import('./archive-destination.ts');
  const destination = await ArchiveDestination.open({ format, path, overwrite });
  return {
    destination,
    tag: ref,
    mayReplace: true,
    present: async () => undefined,
    close: () => destination.abort(),
  };
}

async function openRepository(
  { repository, tag, digest }: RegistryReference,
  context: FetchContext,
): Promise<OpenDestination> {
  const [{ openRegistryDestination }, { RegistryReader }, { RegistrySession }] = await Promise.all([
    import('./registry-destination.ts'),
    import('./registry-reader.ts'),
    import('./registry-session.ts'),
  ]);
  const transport = new Transport(context);
  try {
    const rules = loadRegistries(context.directories);
    // What a mirror has says nothing of what is there.
    const { own } = placesOf(repository, rules);
    const session = new RegistrySession(own, 'pull', rules, context, transport);
    const reader = new RegistryReader(session, context.report);
    return {
      destination: await openRegistryDestination(repository, context, transport),
      tag: tag ?? (digest === undefined ? 'latest' : undefined),
      mayReplace: true,
      present: (name) => reader.manifest(name),
      close: () => transport.close(),
    };
  } catch (error) {
    await transport.close();
    throw error;
  }
}

async function openDirectory(
  { path, ref }: LayoutReference,
  overwrite: boolean,
): Promise<OpenDestination> {
  const [{ LayoutDestination }, { LayoutSource }, { DirectoryFiles }] = await Promise.all([
    import('./layout-destination.ts'),
    import('./layout-source.ts'),
    import('./content-files.ts'),
  ]);
  const destination = LayoutDestination.open(path);
  return {
    destination,
    tag: ref,
    mayReplace: overwrite,
    present: async (tag) => {
      if (!existsSync(join(path, 'index.json'))) return undefined;
      const source = await LayoutSource.open(new DirectoryFiles(path));
      try {
        return await source.manifest(tag);
      } finally {
        await source.close();
      }
    },
    close: () => destination.abort(),
  };
}

async function openInRegistry(
  reference: RegistryReference,
  context: FetchContext,
): Promise<OpenImage> {
  const transport = new Transport(context);
  try {
    const { openRegistry } = await import('./registry-source.ts');
    const { source } = await openRegistry(reference.repository, context, transport);
    const image = await source.manifest(reference.digest ?? reference.tag ?? 'latest');
    if (image === undefined) throw missing(reference, 'check repository, tag and credentials');
    return { source, image, isLocal: false, close: () => transport.close() };
  } catch (error) {
    await transport.close();
    throw error;
  }
}

async function openInLayout(reference: LayoutReference, context: FetchContext): Promise<OpenImage> {
  const source = await openLayoutSource(reference, context);
  try {
    const { descriptor } = await source.image(reference.ref);
    const image = await source.manifest(descriptor.digest);
    if (image === undefined) throw missing(reference, 'its index names it, and it is not there');
    return { source, image, isLocal: true, close: () => source.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function openLayoutSource(
  { format, path }: LayoutReference,
  { limits }: FetchContext,
): Promise<LayoutSource> {
  const { DirectoryFiles, OpenArchive } = await import('./content-files.ts');
  if (format === 'oci') {
    const { LayoutSource } = await import('./layout-source.ts');
    return await LayoutSource.open(new DirectoryFiles(path));
  }
  const { openArchiveSource } = await import('./archive-source.ts');
  const options = { format, path, limit: limits.maxUnpackedBytes };
  return await openArchiveSource(new OpenArchive(path), options);
}

async function openInStore(reference: Reference, context: FetchContext): Promise<OpenImage> {
  const { store, report } = context;
  const { StoredSource } = await import('./stored-source.ts');
  // Nothing of the image may be removed while it is read.
  const pin = store.pinImages();
  try {
    const record =
      reference.kind === 'registry' ? findByRegistry(store, reference) : store.findImage(reference);
    if (record === undefined) {
      throw missing(
        reference,
        'gantry image list shows what is in the store; a registry is docker://…',
      );
    }
    const source = await StoredSource.open(store, record);
    const image = await source.image();
    for (const why of source.omissions(image)) report.warn(`${source.shown}: ${why}`);
    return { source, image, isLocal: true, close: async () => pin.release() };
  } catch (error) {
    pin.release();
    throw error;
  }
}

function missing({ text }: Reference, hint: string): GantryError {
  return new GantryError('not-found', `${text}: there is no such image: ${hint}`);
}
