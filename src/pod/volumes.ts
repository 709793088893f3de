import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseAppName } from '../image/identifier.ts';
import type { App } from '../image/image-manifest.ts';
import type { EmptyVolume } from '../image/volume.ts';
import { LayerTree } from '../isolation/layer-tree.ts';
import type { NamedApp } from './manifest.ts';

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
export function withOwnVolumes(name: string, section: App): App {
  if (section.entrypoint === undefined) return section;
  const mountPoints = section.mountPoints.map((point) => ({
    ...point,
    name: parseAppName(`${name}-${point.name}`, 'volume name'),
  }));
  return { ...section, mountPoints };
}

/**
 * The volumes a pod gets for its images' mount points, to which nobody assigned one: shared by the
 * apps that name them alike, gone with the pod (rkt's implicit empty volumes). Each looks like the
 * directory it is mounted over in the first app, so that the app's user can write to it. Those of OCI
 * images also hold what the image has there, as with docker and podman: databases rely on it.
 */
export function podVolumes(
  apps: readonly (NamedApp & { readonly layers: readonly string[] })[],
): PodVolume[] {
  const volumes = new Map<string, PodVolume>();
  for (const { section, layers } of apps) {
    const tree = new LayerTree(layers);
    for (const { name, path } of section.mountPoints) {
      if (volumes.has(name)) continue;
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
