import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Digest, formatDigest } from '../../src/image/digest.ts';
import type { ImageManifest } from '../../src/image/image-manifest.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { type Descriptor, MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import type { Provenance } from '../../src/image/provenance.ts';
import type { UnpackLimits } from '../../src/image/unpack-limits.ts';
import type { LayerOrder, OciFacts, OciIngest } from '../../src/store/staged-oci-image.ts';
import type { Store } from '../../src/store/store.ts';
import { type Member, tarOf, wideLimits } from '../unit/store/image-archive.ts';

/** A layer made by hand: what a registry serves, and how it is ordered. */
export interface MadeLayer extends LayerOrder {
  readonly bytes: Buffer;
}

/** A document and what points to it. */
interface MadeDocument {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

export const unverified: Provenance = { kind: 'unverified', reason: 'a test' };

export function sha256(bytes: Uint8Array): Digest {
  return { algorithm: 'sha256', hex: createHash('sha256').update(bytes).digest('hex') };
}

/** A gzip layer of an archive, or of members. */
export function layerOf(members: readonly Member[] | Buffer): MadeLayer {
  const archive = Buffer.isBuffer(members) ? members : tarOf(members);
  const bytes = gzipSync(archive);
  const descriptor = descriptorOf(bytes, `${MEDIA_TYPES.layer}+gzip`);
  return { descriptor, diffId: sha256(archive), bytes };
}

export function document(content: object, mediaType: string): MadeDocument {
  const bytes = Buffer.from(JSON.stringify(content));
  return { descriptor: descriptorOf(bytes, mediaType), bytes };
}

/** An image's documents, and what a committer says of it. */
export function imageOf(
  layers: readonly LayerOrder[],
  name = 'registry.example/app',
  version = '1',
  provenance: Provenance = unverified,
): { documents: MadeDocument[]; facts: OciFacts } {
  const config = document(
    {
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => formatDigest(diffId)) },
    },
    MEDIA_TYPES.config,
  );
  const spelled = ({ mediaType, digest, size }: Descriptor) => ({
    mediaType,
    digest: formatDigest(digest),
    size,
  });
  const manifest = document(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: spelled(config.descriptor),
      layers: layers.map(({ descriptor }) => spelled(descriptor)),
    },
    MEDIA_TYPES.manifest,
  );
  const labels = { version, os: 'linux', arch: 'amd64' };
  return {
    documents: [config, manifest],
    facts: {
      manifest: manifest.descriptor,
      config: config.descriptor,
      layers,
      appc: appcOf(name, labels),
      naming: { name, labels, source: {}, provenance },
    },
  };
}

/** An image as JSON, for a process of its own to store: documents and layers with their bytes in base64. */
export function workOf(layers: readonly MadeLayer[], more: object = {}): string {
  const base64 = <T extends { readonly bytes: Buffer }>(one: T) => ({
    ...one,
    bytes: one.bytes.toString('base64'),
  });
  const { documents, facts } = imageOf(layers);
  return JSON.stringify({
    documents: documents.map(base64),
    layers: layers.map(base64),
    facts,
    ...more,
  });
}

/** Gives a layer to an ingest as a download would. */
export async function receive(ingest: OciIngest, layer: MadeLayer): Promise<void> {
  const intake = ingest.openLayer(layer);
  try {
    for (let at = 0; at < layer.bytes.length; at += 50_000) {
      await intake.write(layer.bytes.subarray(at, at + 50_000));
    }
    await intake.finish();
  } catch (error) {
    await intake.abort();
    throw error;
  }
}

/** Receives what is not stored yet, and commits; gives up when anything fails. */
export async function importOci(
  store: Store,
  layers: readonly MadeLayer[],
  { name, version, provenance, limits = wideLimits }: ImportOptions = {},
): Promise<ImageRecord> {
  const ingest = await store.beginOciIngest(limits);
  try {
    const { documents, facts } = imageOf(layers, name, version, provenance);
    for (const { descriptor, bytes } of documents) ingest.addDocument(descriptor, bytes);
    for (const layer of layers) if (!ingest.hasLayer(layer)) await receive(ingest, layer);
    return await ingest.commit(facts);
  } catch (error) {
    await ingest.abort();
    throw error;
  }
}

export interface ImportOptions {
  readonly name?: string;
  readonly version?: string;
  readonly provenance?: Provenance;
  readonly limits?: UnpackLimits;
}

/**
 * What an image's root looks like once the kernel has laid its layers over each other: for each path
 * its type, mode, owner and size or target.
 */
export async function mounted(store: Store, record: ImageRecord, work: string): Promise<string[]> {
  const layers = await store.layerPaths(record, () => undefined);
  const target = join(work, 'mounted');
  mkdirSync(target, { recursive: true });
  const lower = layers.length === 1 ? [...layers, `${work}/none`] : layers;
  mkdirSync(`${work}/none`, { recursive: true });
  const script = `mount -t overlay -o ro,lowerdir="$1" none "$2" && cd "$2" && ${listing}`;
  const shell = ['sh', '-c', script, 'sh', lower.join(':'), target];
  const output = execFileSync('unshare', ['-m', '--propagation', 'private', ...shell]);
  return linesOf(output.toString());
}

/** The same of an ordinary directory. */
export function listed(directory: string): string[] {
  return linesOf(execFileSync('sh', ['-c', listing], { cwd: directory }).toString());
}

const listing = `find . -mindepth 1 \\( -type d -printf '%P %y %m %U:%G\\n' \\) -o -printf '%P %y %m %U:%G %s %l\\n'`;

function linesOf(output: string): string[] {
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.trimEnd())
    .sort();
}

/** Names, types and whiteouts in one tree, sorted: `d/`, `f`, `l -> t`, `-w`. */
export function marksIn(tree: string, below = ''): string[] {
  return readdirSync(join(tree, below))
    .sort()
    .flatMap((name) => {
      const path = below === '' ? name : `${below}/${name}`;
      const stats = lstatSync(join(tree, path));
      if (stats.isDirectory()) return [`${path}/`, ...marksIn(tree, path)];
      if (stats.isSymbolicLink()) return [`${path} -> ${readlinkSync(join(tree, path))}`];
      return [stats.isCharacterDevice() && stats.rdev === 0 ? `-${path}` : path];
    });
}

function descriptorOf(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: sha256(bytes), size: bytes.length };
}

function appcOf(name: string, labels: Record<string, string>): ImageManifest {
  return {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name,
    labels: Object.entries(labels).map(([label, value]) => ({ name: label, value })),
    dependencies: [],
    pathWhitelist: [],
    annotations: [],
  };
}
