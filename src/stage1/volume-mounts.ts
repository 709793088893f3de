import { posix } from 'node:path';
import { GantryError } from '../error.ts';
import type { AppSpec } from '../image/app-spec.ts';
import type { LayerTree } from '../isolation/layer-tree.ts';
import type { VolumeMount } from './settings.ts';

/** An app takes its volumes along in slots, of which the launcher has 64 and four may be in use (specs/launch-plan.md). */
const MAX_VOLUMES = 60;

/** The volumes the operator named, by name. */
export type GivenVolumes = ReadonlyMap<string, { readonly directory: boolean }>;

/**
 * The volume of every mount point: the one of its name that the operator gave, or else an empty one,
 * shared by the apps that name it alike (rkt's implicit empty volumes). In the order they are mounted.
 *
 * Paths within each other are refused, as appc spec/ace.md (Volume Setup) asks. OCI images have them
 * (`/data` and `/data/logs`), and operators want them: there the outer is mounted first.
 * @throws GantryError `launch` for what cannot be mounted over
 */
export function volumeMounts(
  spec: AppSpec,
  tree: LayerTree,
  where: string,
  given: GivenVolumes = new Map(),
): VolumeMount[] {
  if (spec.mountPoints.length > MAX_VOLUMES) {
    throw new GantryError(
      'launch',
      `${where}: it has ${spec.mountPoints.length} mount points and mounts, and an app may have ${MAX_VOLUMES}`,
    );
  }
  const mounts = spec.mountPoints.map(({ name, path, readOnly }): VolumeMount => {
    const isFile = given.get(name)?.directory === false;
    return { volume: name, path, readOnly, ...(isFile ? { file: true } : {}) };
  });
  for (const mount of mounts) requireTarget(mount, tree, where);
  if (spec.format === 'oci' || mounts.some(({ volume }) => given.has(volume))) {
    return outerFirst(mounts);
  }
  refuseNesting(mounts, where);
  return mounts;
}

/** What lies at the target, if anything, must be of the volume's kind. */
function requireTarget({ volume, path, file }: VolumeMount, tree: LayerTree, where: string): void {
  const refuse = (why: string) =>
    new GantryError('launch', `${where}: mount point ${volume}: ${why}`);
  if (posix.normalize(path) === '/') throw refuse('/ is the root, over which nothing is mounted');
  const stats = tree.stat(path);
  if (stats === undefined || stats.isDirectory() === (file !== true)) return;
  throw refuse(
    file
      ? `${path} is a directory in the image, and the volume a file`
      : `${path} is no directory in the image`,
  );
}

function refuseNesting(mounts: readonly VolumeMount[], where: string): void {
  for (const [index, { volume, path }] of mounts.entries()) {
    for (const other of mounts.slice(index + 1)) {
      if (!lies(path, other.path) && !lies(other.path, path)) continue;
      throw new GantryError(
        'launch',
        `${where}: mount points ${volume} (${path}) and ${other.volume} (${other.path}) lie within each other`,
      );
    }
  }
}

/** A directory comes before what lies in it; of one that is named twice (`/data`, `/data/`) one is left. */
function outerFirst(mounts: readonly VolumeMount[]): VolumeMount[] {
  const byPath = new Map<string, VolumeMount>();
  for (const mount of mounts) {
    const path = posix.resolve(mount.path);
    if (!byPath.has(path)) byPath.set(path, { ...mount, path });
  }
  return [...byPath.values()].sort((a, b) => depth(a.path) - depth(b.path));
}

function depth(path: string): number {
  return path.split('/').length;
}

/** Whether `path` is `parent` or lies below it. */
export function lies(path: string, parent: string): boolean {
  const base = parent.replace(/\/+$/, '');
  return path.replace(/\/+$/, '') === base || path.startsWith(`${base}/`);
}
