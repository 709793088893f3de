import { lstatSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import type { Dependency } from '../image/image-manifest.ts';
import type { ImageRecord, OciContent } from '../image/image-record.ts';
import { storeFailure } from './failure.ts';
import type { StoreLayout } from './layout.ts';
import { unpackStoredLayers } from './oci-unpacking.ts';
import type { OutputOptions } from './output.ts';
import { type RenderStep, renderSteps } from './render-order.ts';
import { Staging } from './staging.ts';
import { unpackStored } from './stored-blob.ts';
import { flattenLayers } from './tree-copy.ts';
import { type Layer, mergeTrees } from './tree-merging.ts';

/** Unpacks one image, `manifest` and `rootfs`, into a directory; see `Store.extractImage`. */
export async function extractImage(
  layout: StoreLayout,
  record: ImageRecord,
  dir: string,
  options: OutputOptions,
): Promise<void> {
  await writeOutputDirectory(dir, options, async (output, scratch) => {
    if (record.oci !== undefined) {
      return flattened(layout, record, record.oci, join(output, 'rootfs'), scratch);
    }
    const { manifest } = await unpackStored(layout, record, join(output, 'rootfs'));
    return manifest;
  });
}

/** Writes an image as a pod would see it into a directory; see `Store.renderImage`. */
export async function renderImage(
  layout: StoreLayout,
  record: ImageRecord,
  dir: string,
  options: OutputOptions & {
    readonly dependencies: (dependency: Dependency) => ImageRecord | undefined;
  },
): Promise<void> {
  // An OCI image has no dependencies: a pod sees it as it is.
  if (record.oci !== undefined) return extractImage(layout, record, dir, options);
  const steps = renderSteps(record, options.dependencies);
  await writeOutputDirectory(dir, options, async (output, scratch) => {
    const { layers, manifest } = await unpackSteps(layout, steps, scratch);
    mergeTrees(layers, join(output, 'rootfs'));
    return manifest;
  });
}

/** Writes the layers of an OCI image, checked, as one tree; answers its configuration in appc's terms. */
async function flattened(
  layout: StoreLayout,
  record: ImageRecord,
  oci: OciContent,
  target: string,
  scratch: string,
): Promise<Uint8Array> {
  const layers = await unpackStoredLayers(layout, record, oci, scratch);
  flattenLayers(layers.map(({ tree }) => tree).reverse(), target, 'link');
  return Buffer.from(`${JSON.stringify(record.manifest)}\n`);
}

/**
 * Unpacks every image of a rendering from its blob, so that what comes out was checked against the
 * digests. The trees are in the file system of the output, which can link to them.
 */
async function unpackSteps(
  layout: StoreLayout,
  steps: readonly RenderStep[],
  scratch: string,
): Promise<{ layers: Layer[]; manifest: Uint8Array }> {
  const trees = new Map<string, string>();
  const layers: Layer[] = [];
  let manifest: Uint8Array = new Uint8Array(0);
  for (const { record, whitelists } of steps) {
    let tree = trees.get(record.id);
    if (tree === undefined) {
      tree = join(scratch, String(trees.size));
      ({ manifest } = await unpackStored(layout, record, tree));
      trees.set(record.id, tree);
    }
    layers.push({ tree, whitelists });
  }
  // The image itself comes last, and cannot be among its own dependencies.
  return { layers, manifest };
}

/** Produces a directory beside its place, and moves it there when it is complete. */
async function writeOutputDirectory(
  dir: string,
  { overwrite, rootfsOnly }: OutputOptions,
  produce: (output: string, scratch: string) => Promise<Uint8Array>,
): Promise<void> {
  const target = resolve(dir);
  if (target === '/') {
    throw new GantryError('usage', 'this would delete your root filesystem. Refusing.');
  }
  if (isThere(target) && !overwrite) {
    throw new GantryError('usage', `output directory exists (try --overwrite): ${dir}`);
  }
  const parent = dirname(target);
  let staging: Staging | undefined;
  try {
    mkdirSync(parent, { recursive: true });
    staging = Staging.open(parent, `.${basename(target)}.`);
    const output = staging.path('output');
    const scratch = staging.path('scratch');
    mkdirSync(output, { mode: 0o755 });
    mkdirSync(scratch, { mode: 0o700 });
    const manifest = await produce(output, scratch);
    if (!rootfsOnly) writeFileSync(join(output, 'manifest'), manifest, { mode: 0o644 });
    if (isThere(target)) renameSync(target, staging.path('replaced'));
    renameSync(rootfsOnly ? join(output, 'rootfs') : output, target);
  } catch (error) {
    throw storeFailure(parent, 'write the image', error);
  } finally {
    staging?.discard();
  }
}

function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
