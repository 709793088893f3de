import { readIsolators } from '../isolation/isolators.ts';
import { NO_WISHES, type PodWishes } from '../stage1/features.ts';
import type { NamedApp } from './manifest.ts';
import type { PodRequest } from './request.ts';
import type { StartOptions } from './run.ts';

/** What a pod asks of its stage1, by its request and by its images' manifests. */
export function podWishes(request: PodRequest, apps: readonly NamedApp[]): PodWishes {
  const isolators = apps.map(({ section }) => readIsolators(section.isolators));
  const volumes = new Map(request.volumes?.map((volume) => [volume.name, volume]));
  const names = new Set(apps.flatMap(({ mounts }) => mounts.map(({ name }) => name)));
  // A mount point to which nobody assigned a volume gets an empty one.
  const used = [...names].map((name) => volumes.get(name) ?? ({ kind: 'empty' } as const));
  return {
    apps: apps.length,
    mutable: request.mutable === true,
    interactive: request.interactive,
    network: request.network,
    hostname: request.hostname !== undefined,
    overlay: request.overlay,
    readOnlyRootfs: request.apps.some(({ readOnlyRootfs }) => readOnlyRootfs),
    emptyVolumes: used.some(({ kind }) => kind === 'empty'),
    hostVolumes: used.some(({ kind }) => kind === 'host'),
    travellingMounts: used.some(
      (volume) => volume.kind === 'host' && (volume.propagation ?? 'private') !== 'private',
    ),
    capabilities: isolators.some(({ capabilities }) => Object.keys(capabilities).length > 0),
    noNewPrivileges: isolators.some(({ noNewPrivileges }) => noNewPrivileges),
  };
}

/** What is asked of a prepared pod's stage1 anew when it is started. */
export function startWishes({ interactive = false, network, hostname }: StartOptions): PodWishes {
  return { ...NO_WISHES, interactive, network, hostname: hostname !== undefined };
}
