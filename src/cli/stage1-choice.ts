import { realpathSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadPaths } from '../config/paths.ts';
import type { Stage1Settings } from '../config/stage1.ts';
import { GantryError, reasonOf } from '../error.ts';
import { findCached } from '../fetch/cached.ts';
import type { PullPolicy } from '../fetch/context.ts';
import { displayName, type ImageRecord } from '../image/image-record.ts';
import { quote } from '../image/quotation.ts';
import { formatName, parseReference, type Reference } from '../image/reference.ts';
import { openFlavour } from '../stage1/flavour.ts';
import { isMisspelt, type ShippedName } from '../stage1/shipped.ts';
import type { Store } from '../store/store.ts';
import type { Context } from './context.ts';
import { findOrFetch } from './image-finding.ts';
import { shippedStage1 } from './installation.ts';
import type { Stage1Choice, Stage1Wish } from './stage1-options.ts';

/** What looking for a stage1 takes. */
export interface Finding {
  readonly context: Context;
  readonly store: Store;
  /** As rkt has it, an image that is stored is not asked for anew. */
  readonly pullPolicy: PullPolicy;
}

/** The files that rkt's packages have in the stage1 images directory, which units written for rkt name. */
const FILES_OF_RKT: Readonly<Record<string, ShippedName>> = {
  'stage1-coreos.aci': 'native',
  'stage1-host.aci': 'native',
  'stage1-src.aci': 'native',
  'stage1-fly.aci': 'chroot',
  'stage1-kvm.aci': 'kvm',
};

/** Where `--stage1-from-dir` looks. */
export function stage1ImagesDirectory({ directories }: Pick<Context, 'directories'>): string {
  return loadPaths(directories).stage1Images ?? join(directories.system, 'stage1-images');
}

/** The stage1 that an option names, which is no shipped one by its name. */
export async function findWished(finding: Finding, wish: Stage1Wish): Promise<Stage1Choice> {
  const { option, value } = wish;
  switch (option) {
    case '--stage1-path':
      return await atPath(finding, option, value);
    case '--stage1-from-dir':
      return await inImagesDirectory(finding, wish);
    case '--stage1-url':
      return await atUrl(finding, wish);
    case '--stage1-hash':
      return await image(finding, of(wish, ['id'], 'the id of an image'));
    default:
      return await named(finding, wish);
  }
}

/** The image of a name, which is asked of nobody where a shipped flavour must have been meant. */
async function named(finding: Finding, wish: Stage1Wish): Promise<Stage1Choice> {
  const reference = of(wish, ['name', 'registry'], 'the name of an image');
  const { context, store } = finding;
  const stored = findCached(reference, { store, pullPolicy: 'new', report: context.report });
  if (stored === undefined) requireFetchable(reference, wish.option);
  return await image(finding, reference);
}

function requireFetchable(reference: Reference, option: string): void {
  if (reference.kind !== 'name' || !isMisspelt(reference.name)) return;
  throw new GantryError(
    'not-found',
    `${option}: there is no stage1 ${quote(reference.text)}: gantry stage1 list shows those there are`,
  );
}

/**
 * The stage1 of the configuration: the stored image of that name; where there is none, what is at its
 * location, and without a location what a fetch by its name brings.
 */
export async function findConfigured(
  finding: Finding,
  { name, version, location }: Stage1Settings,
): Promise<Stage1Choice> {
  const named = name === undefined ? undefined : parseReference(`${name}:${version}`);
  if (named !== undefined) {
    const { store, context } = finding;
    const stored = findCached(named, { store, pullPolicy: 'new', report: context.report });
    if (stored !== undefined) return chosen(stored);
  }
  if (location === undefined) {
    if (named === undefined) return native();
    requireFetchable(named, 'stage1.d');
    return await image(finding, named);
  }
  const found = await atLocation(finding, location);
  if (named !== undefined && found.stage1Image !== undefined) {
    requireName(found.stage1Image, named, location);
  }
  return found;
}

/** As rkt has it, `file://` URLs too. */
async function atUrl(finding: Finding, wish: Stage1Wish): Promise<Stage1Choice> {
  const { option, value } = wish;
  if (value.startsWith('file:') && URL.canParse(value)) {
    return await atPath(finding, option, pathOf(option, new URL(value)));
  }
  const kinds = ['url', 'registry'];
  return await image(finding, of(wish, kinds, 'an https://, docker:// or file:// URL'));
}

function native(): Stage1Choice {
  return { stage1Dir: shippedStage1('native') };
}

async function atLocation(finding: Finding, location: string): Promise<Stage1Choice> {
  const option = 'stage1.d: location';
  if (location.startsWith('/')) return await atPath(finding, option, location);
  const url = new URL(location);
  if (url.protocol === 'file:') return await atPath(finding, option, pathOf(option, url));
  return await image(finding, parseReference(location));
}

function pathOf(option: string, url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    const message = `${option}: ${url.href} is no file of this host: write file:// and an absolute path`;
    throw new GantryError('config', message, { cause });
  }
}

/** Keys are trusted for names: what is configured under one must not be another's. */
function requireName(record: ImageRecord, wanted: Reference, location: string): void {
  if (wanted.kind !== 'name') return;
  const { name, labels } = wanted;
  if (record.name === name && record.labels['version'] === labels.get('version')) return;
  throw new GantryError(
    'config',
    `stage1.d: the image at ${location} is ${displayName(record)}, not ${formatName(name, labels)}: correct its name and version`,
  );
}

/** A file or directory by its name in the stage1 images directory. */
async function inImagesDirectory(finding: Finding, wish: Stage1Wish): Promise<Stage1Choice> {
  const { option, value } = wish;
  if (value.includes('/') || value === '.' || value === '..') {
    throw new GantryError(
      'usage',
      `${option}: ${quote(value)} is no name of a file: use --stage1-path`,
    );
  }
  const path = join(stage1ImagesDirectory(finding.context), value);
  const shipped = Object.hasOwn(FILES_OF_RKT, value) ? FILES_OF_RKT[value] : undefined;
  if (shipped !== undefined && statSync(path, { throwIfNoEntry: false }) === undefined) {
    return { stage1Dir: shippedStage1(shipped) };
  }
  return await atPath(finding, option, path);
}

/** A directory that is a stage1, the directory of an OCI layout, or the file of an image. */
async function atPath(finding: Finding, option: string, path: string): Promise<Stage1Choice> {
  if (/^(oci|oci-archive|docker-archive):/.test(path)) {
    return await image(finding, parseReference(path));
  }
  const real = realPath(option, path);
  if (!statSync(real).isDirectory()) return await image(finding, fileReference(path, real));
  const has = (name: string) => statSync(join(real, name), { throwIfNoEntry: false }) !== undefined;
  if (!has('manifest.json') && has('oci-layout')) {
    return await image(finding, { kind: 'layout', text: `oci:${path}`, format: 'oci', path: real });
  }
  openFlavour(real).requireSound({ above: true });
  return { stage1Dir: real };
}

/** An App Container image by its name; any other file can only be an OCI archive. */
function fileReference(text: string, path: string): Reference {
  if (text.endsWith('.aci')) return { kind: 'path', text, path: resolve(text) };
  return { kind: 'layout', text: `oci-archive:${text}`, format: 'oci-archive', path };
}

function realPath(option: string, path: string): string {
  try {
    return realpathSync(path);
  } catch (cause) {
    throw new GantryError('not-found', `${option}: cannot use ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  }
}

/** The reference in an option, of the kinds it takes. Throws `usage`. */
function of({ option, value }: Stage1Wish, kinds: readonly string[], what: string): Reference {
  const reference = parseReference(value);
  if (kinds.includes(reference.kind)) return reference;
  throw new GantryError('usage', `${option}: ${quote(value)} is not ${what}`);
}

async function image({ context, store, pullPolicy }: Finding, reference: Reference) {
  return chosen(await findOrFetch(context, { store, reference, pullPolicy }));
}

function chosen(stage1Image: ImageRecord): Stage1Choice {
  return { stage1Image };
}
