import { closeSync, openSync, readSync } from 'node:fs';
import { GantryError, reasonOf } from '../error.ts';
import type { PullPolicy } from '../fetch/context.ts';
import type { ImageRecord } from '../image/image-record.ts';
import {
  MAX_POD_MANIFEST_BYTES,
  type PodManifest,
  parsePodManifest,
  type RuntimeApp,
  type RuntimeImage,
} from '../image/pod-manifest.ts';
import { quote } from '../image/quotation.ts';
import { formatName, parseReference, parseRegistryReference } from '../image/reference.ts';
import type { AppRequest, PodRequest } from '../pod/request.ts';
import { namingsOf } from '../store/naming.ts';
import type { Store } from '../store/store.ts';
import { naming } from './app-wishes.ts';
import type { AppWords } from './apps.ts';
import type { Context } from './context.ts';
import { parsePullPolicy } from './fetching.ts';
import { findOrFetch } from './image-finding.ts';

/** Options that say what a manifest has members for, by the names their values have. */
const CONFLICTING = [
  'annotation',
  'arch',
  'inheritEnv',
  'mount',
  'os',
  'setEnv',
  'setEnvFile',
  'sysctl',
  'variant',
  'volume',
];

/** What is in a pod, by its words or its manifest. */
export type PodContent = Pick<PodRequest, 'apps'> & Partial<PodRequest>;

/**
 * Reads `--pod-manifest` (appc spec/pods.md); the result finds its images in the store, or fetches those
 * that are named and not there. The manifest is checked before anything is looked for.
 * @throws GantryError `usage` for options that say otherwise, `not-found` for a file that cannot be read,
 *   `invalid-manifest` naming the file and the field
 */
export function readPodManifest(
  context: Context,
  path: string,
  words: readonly AppWords[],
  options: Readonly<Record<string, unknown>>,
): (store: Store) => Promise<PodContent> {
  if (words.length > 0 || CONFLICTING.some((key) => (options[key] ?? false) !== false)) {
    throw new GantryError('usage', 'conflicting flags set with --pod-manifest (see --help)');
  }
  const where = `pod manifest ${path === '-' ? 'on standard input' : path}`;
  const manifest = parsePodManifest(readBytes(path), where);
  requireSense(manifest, where);
  const pullPolicy = parsePullPolicy(options, context);
  return async (store) => {
    const apps: AppRequest[] = [];
    for (const [index, app] of manifest.apps.entries()) {
      const record = await findImage(context, store, app.image, {
        where: `${where}: apps[${index}].image`,
        pullPolicy,
      });
      apps.push(appRequest(app, record));
    }
    return { ...podContent(manifest), apps };
  };
}

function podContent({
  volumes,
  isolators,
  annotations,
  ports,
  userAnnotations,
  userLabels,
}: PodManifest): Omit<PodContent, 'apps'> {
  return {
    volumes,
    isolators,
    annotations: new Map(annotations.map(({ name, value }) => [name, value])),
    ports,
    userAnnotations,
    userLabels,
  };
}

function appRequest(
  { name, app, mounts, readOnlyRootFS, annotations }: RuntimeApp,
  record: ImageRecord,
): AppRequest {
  return {
    record,
    name,
    args: [],
    ...(app === undefined ? {} : { section: app }),
    mounts,
    readOnlyRootfs: readOnlyRootFS,
    annotations: new Map(annotations.map(({ name, value }) => [name, value])),
  };
}

/** What no single field is wrong about. */
function requireSense(manifest: PodManifest, where: string): void {
  const refuse = (why: string) => new GantryError('invalid-manifest', `${where}: ${why}`);
  if (manifest.apps.length === 0) {
    throw refuse('apps: pod must contain at least one application');
  }
  const volumes = new Set(manifest.volumes.map(({ name }) => name));
  for (const [index, { app, mounts }] of manifest.apps.entries()) {
    if (app?.exec.length === 0) throw refuse(`apps[${index}].app.exec: must name a program`);
    const lost = mounts.findIndex((mount) => !(mount.appVolume || volumes.has(mount.volume)));
    if (lost === -1) continue;
    const name = quote(mounts[lost]?.volume ?? '');
    throw refuse(`apps[${index}].mounts[${lost}].volume: could not find volume ${name}`);
  }
}

/** No more than a manifest may have, whatever is read: a device, a pipe. */
function readBytes(path: string): Uint8Array {
  try {
    const fd = path === '-' ? 0 : openSync(path, 'r');
    try {
      return readUpTo(fd, MAX_POD_MANIFEST_BYTES + 1);
    } finally {
      if (fd !== 0) closeSync(fd);
    }
  } catch (cause) {
    throw new GantryError('not-found', `--pod-manifest: cannot read ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  }
}

function readUpTo(fd: number, limit: number): Uint8Array {
  const pieces: Buffer[] = [];
  for (let total = 0; total < limit; ) {
    const piece = Buffer.alloc(Math.min(65_536, limit - total));
    const length = readSync(fd, piece);
    if (length === 0) break;
    pieces.push(piece.subarray(0, length));
    total += length;
  }
  return Buffer.concat(pieces);
}

interface Finding {
  /** Begins every refusal: the file and the field. */
  readonly where: string;
  readonly pullPolicy: PullPolicy;
}

async function findImage(
  context: Context,
  store: Store,
  image: RuntimeImage,
  { where, pullPolicy }: Finding,
): Promise<ImageRecord> {
  const stored = findStored(store, image, where);
  if (stored !== undefined) return calledSo(stored, image, where);
  const { id, name } = image;
  if (name === undefined || pullPolicy === 'never') {
    const remedy = name === undefined ? 'fetch it, or give its name too' : 'fetch it';
    throw new GantryError('not-found', `${where}.id: no image ${id} is stored: ${remedy}`);
  }
  const found = await fetchNamed(context, store, { ...image, name }, where);
  if (found.id.startsWith(id)) return calledSo(found, image, where);
  throw new GantryError('untrusted', `${where}.id: ${name} is ${found.id}, and not ${id}`);
}

function findStored(store: Store, { id }: RuntimeImage, where: string): ImageRecord | undefined {
  try {
    return store.findImage({ kind: 'id', text: id, prefix: id });
  } catch (error) {
    if (!(error instanceof GantryError)) throw error;
    if (error.code === 'not-found') return undefined;
    throw new GantryError(error.code, `${where}.id: ${error.message}`, { cause: error });
  }
}

/** What is stored under the name is another image, so that is not what is asked for. */
async function fetchNamed(
  context: Context,
  store: Store,
  image: RuntimeImage & { readonly name: string },
  where: string,
): Promise<ImageRecord> {
  const reference = naming(`${where}.name`, () => referenceTo(image));
  try {
    return await findOrFetch(context, { store, reference, pullPolicy: 'update' });
  } catch (error) {
    if (!(error instanceof GantryError)) throw error;
    throw new GantryError(error.code, `${where}: ${error.message}`, { cause: error });
  }
}

/** An OCI image is asked for by its digest, where all of it is given. */
function referenceTo({ id, name, labels }: RuntimeImage & { readonly name: string }) {
  const values = new Map(labels.map(({ name: label, value }) => [label, value]));
  if (!id.startsWith('sha256-')) return parseReference(formatName(name, values));
  const version = values.get('version');
  const digits = id.slice('sha256-'.length);
  const tag = version === undefined ? '' : `:${version}`;
  return parseRegistryReference(`${name}${tag}${digits.length === 64 ? `@sha256:${digits}` : ''}`);
}

/** The image under the name that the manifest gives it: trust is asked about that one. */
function calledSo(
  record: ImageRecord,
  { id, name, labels }: RuntimeImage,
  where: string,
): ImageRecord {
  const named = namingsOf(record).filter((one) => name === undefined || one.name === name);
  if (named.length === 0) {
    throw new GantryError(
      'invalid-manifest',
      `${where}.name: image ${id} is ${record.name}, and not ${name}`,
    );
  }
  const found = named.find((one) => labels.every(({ name: l, value }) => one.labels[l] === value));
  if (found !== undefined) return found;
  const wanted = labels.map(({ name: label, value }) => `${label}=${value}`).join(',');
  throw new GantryError(
    'invalid-manifest',
    `${where}.labels: image ${id} (${named[0]?.name}) has others than ${quote(wanted)}`,
  );
}
