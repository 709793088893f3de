import { readIsolators } from '../isolation/isolators.ts';
import { LIMIT_ISOLATORS } from '../isolation/limits.ts';
import { isLabel } from '../isolation/process-limits.ts';
import { SYSCTL } from '../isolation/sysctl.ts';
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
    ...NO_WISHES,
    apps: apps.length,
    mutable: request.mutable === true,
    interactive: request.interactive,
    silentStreams: request.apps.some(({ silent = [] }) => silent.length > 0),
    network: request.network,
    hostname: request.hostname !== undefined,
    overlay: request.overlay,
    readOnlyRootfs: request.apps.some(({ readOnlyRootfs }) => readOnlyRootfs),
    emptyVolumes: used.some(({ kind }) => kind === 'empty'),
    hostVolumes: used.some(({ kind }) => kind === 'host'),
    travellingMounts: used.some(
      (volume) => volume.kind === 'host' && (volume.propagation ?? 'private') !== 'private',
    ),
    seccomp:
      !request.insecure.seccomp && isolators.some(({ systemCalls }) => systemCalls !== undefined),
    capabilities: isolators.some(({ capabilities }) => Object.keys(capabilities).length > 0),
    privateUsers: request.privateUsers === true,
    limits: [request, ...request.apps].some(({ isolators = [] }) =>
      isolators.some(({ name }) => LIMIT_ISOLATORS.includes(name)),
    ),
    ...ipcWishes(request),
    noNewPrivileges: isolators.some(({ noNewPrivileges }) => noNewPrivileges),
    oomScore: isolators.some(({ process }) => process.oomScore !== undefined),
    rlimits: isolators.some(({ process }) => process.rlimits !== undefined),
    // An image does without where there are none.
    labels: [request, ...request.apps].some(({ isolators = [] }) => isolators.some(isLabel)),
    sysctl: request.isolators?.some(({ name }) => name === SYSCTL) === true,
    eventHandlers: apps.some(({ section }) => section.eventHandlers.length > 0),
  };
}

/** What is asked of a prepared pod's stage1 anew when it is started. */
export function startWishes(options: StartOptions): PodWishes {
  const { interactive = false, network, hostname } = options;
  return {
    ...NO_WISHES,
    interactive,
    network,
    hostname: hostname !== undefined,
    ...ipcWishes(options),
  };
}

function ipcWishes({ ipc }: Pick<StartOptions, 'ipc'>): Pick<PodWishes, 'privateIpc' | 'hostIpc'> {
  return { privateIpc: ipc === 'private', hostIpc: ipc === 'parent' };
}
