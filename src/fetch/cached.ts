import { statSync } from 'node:fs';
import type { ImageRecord } from '../image/image-record.ts';
import { archLabel, ociPlatform } from '../image/platform.ts';
import type { PathReference, Reference, RegistryReference } from '../image/reference.ts';
import { repositoryName } from '../image/repository.ts';
import { wishOf } from '../image/wish.ts';
import type { Store } from '../store/store.ts';
import { dependencyFinder, findByWish } from '../store/wish-lookup.ts';
import type { PullPolicy } from './context.ts';
import { bareUrl } from './location.ts';
import type { Reporter } from './reporter.ts';

// Every `gantry run` passes through this module: it imports nothing that speaks to a network.

/** What looking into the store takes. */
export interface CacheContext {
  readonly store: Store;
  readonly pullPolicy: PullPolicy;
  readonly report: Pick<Reporter, 'debug'>;
}

/**
 * The stored image a reference means, where the pull policy lets the store answer: an id always,
 * a name or URL unless the policy is `update`, a path never. An image that lacks a dependency is
 * not answered, so that fetching completes it.
 *
 * @throws GantryError `not-found` or `ambiguous` for an id
 */
export function findCached(reference: Reference, context: CacheContext): ImageRecord | undefined {
  const { store, report } = context;
  if (reference.kind === 'id') {
    const record = store.findImage(reference);
    if (record !== undefined)
      report.debug(`image: using image from the store with hash ${record.id}`);
    return record;
  }
  if (context.pullPolicy === 'update' || sameNamedFile(reference) !== undefined) return undefined;
  const record = findStored(store, reference);
  if (record === undefined || !hasDependencies(store, record)) return undefined;
  const what =
    reference.kind === 'url' ? `url ${record.source.url}` : `image name ${reference.text}`;
  report.debug(`image: using image from local store for ${what}`);
  return record;
}

function findStored(store: Store, reference: Reference): ImageRecord | undefined {
  switch (reference.kind) {
    case 'url':
      return findByUrl(store, reference.url);
    case 'name':
      return findByWish(store, wishOf(reference));
    case 'registry':
      return findByRegistry(store, reference);
    case 'id':
    case 'path':
    case 'layout':
      // Files are read each time: who names one means what is in it now.
      return undefined;
  }
}

/** The stored image that a registry reference means, for the platform it asks for. */
export function findByRegistry(
  store: Store,
  reference: RegistryReference,
): ImageRecord | undefined {
  const platform = reference.platform ?? ociPlatform(new Map());
  const wanted = { os: platform.os, arch: archLabel(platform) };
  if (reference.digest === undefined) {
    const labels = new Map(Object.entries({ version: reference.tag ?? 'latest', ...wanted }));
    const name = repositoryName(reference.repository);
    return store.findImage({ kind: 'name', text: reference.text, name, labels });
  }
  const record = store.findImage(reference);
  const { os, arch } = record?.labels ?? {};
  return os === wanted.os && arch === wanted.arch ? record : undefined;
}

/** The stored image that came from a URL last. */
export function findByUrl(store: Store, url: URL): ImageRecord | undefined {
  const bare = bareUrl(url);
  return store.findImage({ kind: 'url', text: bare.href, url: bare });
}

/**
 * A file in the working directory that is called exactly as the image is meant instead of it, as
 * with rkt (Documentation/image-fetching-behavior.md).
 */
export function sameNamedFile(reference: Reference): PathReference | undefined {
  if (reference.kind !== 'name') return undefined;
  const { text } = reference;
  const isFile = statSync(text, { throwIfNoEntry: false })?.isFile() === true;
  return isFile ? { kind: 'path', text, path: text } : undefined;
}

function hasDependencies(
  store: Store,
  record: ImageRecord,
  trail: ReadonlySet<string> = new Set(),
): boolean {
  // Images that need each other by name are refused when fetched; here they must only not hang.
  if (trail.has(record.id)) return false;
  const below = new Set(trail).add(record.id);
  return record.manifest.dependencies.every((dependency) => {
    const found = dependencyFinder(store)(dependency);
    return found !== undefined && hasDependencies(store, found, below);
  });
}
