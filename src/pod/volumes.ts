import type { EmptyVolume } from '../image/volume.ts';
import { LayerTree } from '../isolation/layer-tree.ts';
import type { NamedApp } from './manifest.ts';

/**
 * The volumes a pod gets for its images' mount points, to which nobody assigned one: empty, shared
 * by the apps that name them alike, gone with the pod (rkt's implicit empty volumes). Each looks
 * like the directory it is mounted over in the first app, so that the app's user can write to it.
 */
export function emptyVolumes(
  apps: readonly (NamedApp & { readonly layers: readonly string[] })[],
): EmptyVolume[] {
  const volumes = new Map<string, EmptyVolume>();
  for (const { section, layers } of apps) {
    const tree = new LayerTree(layers);
    for (const { name, path } of section.mountPoints) {
      if (volumes.has(name)) continue;
      const stats = tree.stat(path);
      const mode = stats?.isDirectory() ? stats.mode & 0o7777 : 0o755;
      volumes.set(name, {
        name,
        kind: 'empty',
        readOnly: false,
        mode: `0${mode.toString(8).padStart(3, '0')}`,
        uid: stats?.uid ?? 0,
        gid: stats?.gid ?? 0,
      });
    }
  }
  return [...volumes.values()];
}
