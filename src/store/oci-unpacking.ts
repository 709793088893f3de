import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { formatDigest } from '../image/digest.ts';
import type { ImageRecord, OciContent, StoredLayer } from '../image/image-record.ts';
import { parseOciManifest } from '../image/oci-manifest.ts';
import { readBlob, readWholeBlob } from './blob-reading.ts';
import { messageOf } from './failure.ts';
import { composeLayers, type LaidLayer, writeVariant } from './layer-composition.ts';
import { layerTreeName } from './layer-note.ts';
import { unpackLayer } from './layer-unpacking.ts';
import type { StoreLayout } from './layout.ts';
import { documentsOf } from './record-blobs.ts';
import { unboundedMeter } from './stored-blob.ts';

/** One layer of a stored image unpacked afresh. */
export interface FreshLayer {
  /** What the record calls its tree. */
  readonly name: string;
  /** Absolute. */
  readonly tree: string;
}

/**
 * Unpacks every layer of a stored OCI image into `directory` (new files of it only), lowest first, and
 * lays them over each other as a commit does; checks every blob, and the manifest against the record,
 * on the way. Throws `store` for what is not what was stored.
 */
export async function unpackStoredLayers(
  layout: StoreLayout,
  record: ImageRecord,
  oci: OciContent,
  directory: string,
): Promise<FreshLayer[]> {
  await checkDocuments(layout, record, oci);
  const laid = new Map<string, LaidLayer>();
  for (const layer of oci.layers) {
    const name = layerTreeName(layer.diffId);
    if (laid.has(name)) continue;
    const tree = join(directory, name);
    const unmentioned = await unpackStoredLayer(layout, record, layer, tree);
    laid.set(name, { name, tree, unmentioned });
  }
  const inOrder = oci.layers.flatMap(({ diffId }) => laid.get(layerTreeName(diffId)) ?? []);
  return composeLayers(inOrder, (name, base, variant) => {
    const target = join(directory, `${name}.${laid.size}`);
    laid.set(target, { name, tree: target, unmentioned: [] });
    writeVariant(base, variant, target);
    return target;
  });
}

/** Manifest, index, configuration and signatures against their digests; the manifest against the record. */
async function checkDocuments(
  layout: StoreLayout,
  record: ImageRecord,
  oci: OciContent,
): Promise<void> {
  for (const digest of documentsOf(record)) {
    await checkedBlob(record, () => readWholeBlob(layout, digest));
  }
  const bytes = await readWholeBlob(layout, oci.manifest.digest);
  const manifest = parseOciManifest(bytes, oci.manifest.mediaType);
  const said = manifest.kind === 'manifest' ? manifest.layers : [];
  const same =
    said.length === oci.layers.length &&
    said.every(({ digest }, at) => {
      const kept = oci.layers[at]?.descriptor.digest;
      return kept !== undefined && formatDigest(kept) === formatDigest(digest);
    });
  if (!same) throw altered(record, 'its manifest names other layers than its record');
}

/** Answers the directories the layer does not mention. */
async function unpackStoredLayer(
  layout: StoreLayout,
  record: ImageRecord,
  { descriptor, diffId }: StoredLayer,
  tree: string,
): Promise<readonly string[]> {
  const content = createHash(diffId.algorithm);
  return checkedBlob(record, async () => {
    const blob = readBlob(layout, descriptor.digest);
    const { unmentioned } = await unpackLayer(blob, tree, unboundedMeter(), (piece) =>
      content.update(piece),
    );
    if (content.digest('hex') === diffId.hex) return unmentioned;
    throw altered(record, `layer ${formatDigest(descriptor.digest)} unpacks to something else`);
  });
}

/** An alteration usually shows first as data that cannot be decompressed or read as an archive. */
async function checkedBlob<T>(record: ImageRecord, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const code = error instanceof GantryError ? error.code : undefined;
    if (code !== 'invalid-archive' && code !== 'not-found') throw error;
    throw altered(record, messageOf(error), error);
  }
}

function altered(record: ImageRecord, why: string, cause?: unknown): GantryError {
  return new GantryError(
    'store',
    `image ${record.id} is not what was stored: ${why}; fetch it again`,
    { cause },
  );
}
