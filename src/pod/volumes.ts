import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join, posix } from 'node:path';
import { GantryError } from '../error.ts';
import { parseAppName } from '../image/identifier.ts';
import type { App, MountPoint } from '../image/image-manifest.ts';
import type { Mount } from '../image/pod-manifest.ts';
import { quote } from '../image/quotation.ts';
import type { EmptyVolume, Volume } from '../image/volume.ts';
import { LayerTree } from '../isolation/layer-tree.ts';
import type { NamedApp } from './manifest.ts';
import type { AppRequest, PodRequest } from './request.ts';

/** A volume of a pod, and what it begins with. */
export interface PodVolume {
  readonly volume: EmptyVolume;
  /** Directories laid over each other, absolute, top first, whose content is copied; none: empty. */
  readonly content: readonly string[];
}

/**
 * The section of an app with its mount points named for the volumes they get. In appc a name stands for
 * what apps share. An OCI image does not choose its names, which are made of its paths: two databases in
 * one pod must not write to one volume because both keep their data in `/data`.
 * @throws GantryError `invalid-reference` where that makes a name too long
 */
export function withOwnVolumes(
  name: string,
  section: App,
  { volumes = [] }: Pick<PodRequest, 'volumes'>,
): App {
  if (section.entrypoint === undefined) return section;
  const given = new Set(volumes.map((volume) => volume.name));
  const mountPoints = section.mountPoints.map((point) =>
    given.has(point.name)
      ? point
      : { ...point, name: parseAppName(`${name}-${point.name}`, 'volume name') },
  );
  return { ...section, mountPoints };
}

/**
 * What is mounted into an app, `name` being that of the volume: what `--mount` says, after the image or
 * for all apps, and each mount point of the image whose path it does not name (rkt's rule).
 * @throws GantryError `usage` for a volume that is not there, and two of them at one path
 */
export function appMounts(
  name: string,
  section: App,
  app: Pick<AppRequest, 'mounts'>,
  pod: Pick<PodRequest, 'mounts' | 'volumes'>,
): MountPoint[] {
  const own = atPaths(name, app.mounts ?? []);
  const asked = new Map([...atPaths(name, pod.mounts ?? []), ...own]);
  const points = new Map(section.mountPoints.map((point) => [posix.resolve(point.path), point]));
  const volumes = new Map(pod.volumes?.map((volume) => [volume.name, volume]));
  const explicit = [...asked].map(([path, volume]): MountPoint => {
    if (!volumes.has(volume)) {
      throw new GantryError(
        'usage',
        `--mount: app ${quote(name)}: there is no volume ${quote(volume)}: give it with --volume ${volume},kind=host,source=PATH`,
      );
    }
    return { name: volume, path, readOnly: points.get(path)?.readOnly ?? false };
  });
  const others = section.mountPoints.filter(({ path }) => !asked.has(posix.resolve(path)));
  return [...explicit, ...others].map((mount) => ({
    ...mount,
    readOnly: mount.readOnly || volumes.get(mount.name)?.readOnly === true,
  }));
}

function atPaths(name: string, mounts: readonly Mount[]): Map<string, string> {
  const byPath = new Map<string, string>();
  for (const mount of mounts) {
    const path = posix.resolve(mount.path);
    if (byPath.has(path)) {
      throw new GantryError(
        'usage',
        `--mount: app ${quote(name)}: two volumes have the target ${quote(path)}`,
      );
    }
    byPath.set(path, mount.volume);
  }
  return byPath;
}

/** The volumes an operator gave that no app has a place for. */
export function unusedVolumes(apps: readonly NamedApp[], volumes: readonly Volume[]): Volume[] {
  const used = new Set(apps.flatMap(({ mounts }) => mounts.map((mount) => mount.name)));
  return volumes.filter(({ name }) => !used.has(name));
}

/**
 * The volumes that live as long as the pod: those the operator asked for, and one for each of its images'
 * mount points to which nobody assigned one: shared by the apps that name them alike (rkt's implicit
 * empty volumes). Each of those looks like the directory it is mounted over in the first app, so that the
 * app's user can write to it. Those of OCI images also hold what the image has there, as with docker and
 * podman: databases rely on it.
 */
export function podVolumes(
  apps: readonly (NamedApp & { readonly layers: readonly string[] })[],
  given: readonly Volume[] = [],
): PodVolume[] {
  const assigned = new Map(given.map((volume) => [volume.name, volume]));
  const volumes = new Map<string, PodVolume>();
  for (const { section, mounts, layers } of apps) {
    const tree = new LayerTree(layers);
    for (const { name, path } of mounts) {
      const volume = assigned.get(name);
      if (volumes.has(name) || volume?.kind === 'host') continue;
      if (volume !== undefined) {
        volumes.set(name, { volume, content: [] });
        continue;
      }
      const content = section.entrypoint === undefined ? [] : tree.directories(path);
      volumes.set(name, { volume: emptyVolume(name, path, tree), content });
    }
  }
  return [...volumes.values()];
}

function emptyVolume(name: string, path: string, tree: LayerTree): EmptyVolume {
  const stats = tree.stat(path);
  const mode = stats?.isDirectory() ? stats.mode & 0o7777 : 0o755;
  return {
    name,
    kind: 'empty',
    readOnly: false,
    mode: `0${mode.toString(8).padStart(3, '0')}`,
    uid: stats?.uid ?? 0,
    gid: stats?.gid ?? 0,
  };
}

/** Makes the directories of a pod's volumes. */
export async function makeVolumes(podDir: string, volumes: readonly PodVolume[]): Promise<void> {
  if (volumes.length > 0) mkdirSync(join(podDir, 'volumes'));
  for (const { volume, content } of volumes) {
    const directory = join(podDir, 'volumes', volume.name);
    if (content.length > 0) {
      const { flattenLayers } = await import('../store/tree-copy.ts');
      flattenLayers(content, directory);
      continue;
    }
    mkdirSync(directory);
    chownSync(directory, volume.uid, volume.gid);
    chmodSync(directory, Number.parseInt(volume.mode, 8));
  }
}
