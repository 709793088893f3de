import { chmodSync, chownSync, copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Digest } from '../../src/image/digest.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { appcManifest, parseOciConfig } from '../../src/image/oci-config.ts';
import { MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import { preparePod } from '../../src/pod/prepare.ts';
import type { PodRequest } from '../../src/pod/request.ts';
import { ImageIndex } from '../../src/store/image-index.ts';
import { system } from '../../src/system/binding.ts';
import { writeTree } from '../support/file-tree.ts';
import { buildProbe } from './pod-probe.ts';
import { type PodEnding, requestOf, runChild, type World } from './pod-world.ts';

/** What one layer brings. */
export interface LayerWishes {
  readonly files?: Readonly<Record<string, string>>;
  readonly whiteouts?: readonly string[];
  /** Owner and mode of what is there. */
  readonly owned?: Readonly<Record<string, readonly [uid: number, gid: number, mode: number]>>;
}

/**
 * An image of these layers, the lowest first, as the store keeps them once it was fetched. The probe
 * lies in the lowest, and is the entrypoint unless `config` says otherwise.
 */
export function addOciImage(
  world: World,
  layers: readonly LayerWishes[],
  config: Readonly<Record<string, unknown>> = {},
): ImageRecord {
  const digests = layers.map((_, index): Digest => digestOf(String(index)));
  const document = {
    os: 'linux',
    architecture: 'amd64',
    config: { Entrypoint: ['/bin/probe'], ...config },
    rootfs: { type: 'layers', diff_ids: digests.map(({ hex }) => `sha256:${hex}`) },
  };
  const name = 'docker.io/library/probe';
  const manifest = appcManifest(
    parseOciConfig(Buffer.from(JSON.stringify(document))),
    name,
    'latest',
  );
  const blob = { ...digestOf('f'), size: 1 };
  const record: ImageRecord = {
    version: 1,
    id: `sha256-${blob.hex}`,
    name,
    labels: Object.fromEntries(manifest.labels.map(({ name, value }) => [name, value])),
    importedAt: new Date().toISOString(),
    source: {},
    provenance: { kind: 'unverified', reason: 'made by a test' },
    blob,
    size: 1,
    manifest,
    oci: {
      manifest: { mediaType: MEDIA_TYPES.manifest, digest: blob, size: 1 },
      config: { mediaType: MEDIA_TYPES.config, digest: blob, size: 1 },
      layers: digests.map((diffId) => ({
        descriptor: { mediaType: MEDIA_TYPES.layer, digest: diffId, size: 1 },
        diffId,
        tree: `diff-sha256-${diffId.hex}`,
      })),
    },
  };
  for (const [index, stored] of (record.oci?.layers ?? []).entries()) {
    const directory = world.store.layout.layer(stored.tree);
    layDown(directory, layers[index] ?? {});
    if (index === 0) addProbe(directory);
  }
  new ImageIndex(world.store.layout).write(record);
  return record;
}

/** Prepares a pod in this process and runs it in one of its own. */
export async function runOciPod(
  world: World,
  record: ImageRecord,
  args: readonly string[],
  changes: Partial<PodRequest> = {},
): Promise<PodEnding> {
  const uuid = await prepareOciPod(world, record, args, changes);
  return await runChild(world, 'start', { uuid });
}

/** Prepares a pod and answers its UUID. */
export async function prepareOciPod(
  world: World,
  record: ImageRecord,
  args: readonly string[],
  changes: Partial<PodRequest> = {},
): Promise<string> {
  using pod = await preparePod(world.context, requestOf(record, args, changes));
  return pod.uuid;
}

function digestOf(digits: string): Digest {
  return { algorithm: 'sha256', hex: digits.padStart(64, '0') };
}

function layDown(directory: string, { files = {}, whiteouts = [], owned = {} }: LayerWishes): void {
  mkdirSync(directory, { recursive: true });
  writeTree(directory, files);
  for (const path of whiteouts) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    system.mknodAt(-100, join(directory, path), 0o020000, 0);
  }
  for (const [path, [uid, gid, mode]] of Object.entries(owned)) {
    mkdirSync(join(directory, path), { recursive: true });
    chownSync(join(directory, path), uid, gid);
    chmodSync(join(directory, path), mode);
  }
}

function addProbe(directory: string): void {
  mkdirSync(join(directory, 'bin'), { recursive: true });
  copyFileSync(buildProbe(), join(directory, 'bin/probe'));
  chmodSync(join(directory, 'bin/probe'), 0o755);
}
