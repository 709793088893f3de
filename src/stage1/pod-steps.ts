import { sharedDeviceSteps } from '../isolation/devices.ts';
import type { NamespaceName, SetupStep, SupervisorStep, TeardownStep } from '../isolation/step.ts';
import { RESOLV_CONF } from '../network/name-files.ts';
import { rootfsSteps } from './app-steps.ts';
import type { PodSettings } from './settings.ts';
import { sharedVolumeSteps, travellingTreeSteps } from './volume-steps.ts';

/** Where the pod's root has an empty directory for the root of an app that comes later, in whose own mounts it is mounted. */
export const LATER_ROOT = '/app';

/** Section supervisor of a pod whose namespaces are the supervisor's to make. */
export function supervisorSteps(pod: PodSettings): SupervisorStep[] {
  const namespaces: NamespaceName[] = ['pid', 'mount', 'ipc', 'uts'];
  if (pod.network === 'none') namespaces.push('net');
  return [['namespaces', ...namespaces], ...outputSteps(pod)];
}

/** What section supervisor says of every pod that has processes of its own. */
export function outputSteps(pod: PodSettings): SupervisorStep[] {
  return [
    ['grace', String(pod.graceSeconds)],
    ['output', pod.interactive ? 'terminal' : 'lines'],
    ...(pod.mutable === undefined ? [] : ([['mutable']] as const)),
    ...cgroupSteps(pod),
  ];
}

/** The pod's own control group, where it has one. */
export function cgroupSteps({ cgroup }: PodSettings): SupervisorStep[] {
  if (cgroup === undefined) return [];
  return [
    ['make-cgroup', cgroup],
    ['join-cgroup', cgroup],
  ];
}

/** What of the pod is outside of its directory. */
export function teardownSteps({ cgroup }: PodSettings): TeardownStep[] {
  return cgroup === undefined ? [] : [['remove-cgroup', cgroup]];
}

/** Section pod of the native flavour: from the host's mounts to the pod's own root. */
export function podSteps(pod: PodSettings): SetupStep[] {
  return [
    ...travellingTreeSteps(pod),
    ['private-mounts'],
    ['hostname', pod.hostname],
    ...(pod.network === 'none' ? ([['loopback']] as const) : []),
    ...gatherSteps(pod),
    ['pivot-root', 'root'],
    ...(pod.interactive ? ([['open-terminal', '/dev/pts/ptmx']] as const) : []),
  ];
}

/** Puts together what the apps live on, in a tmpfs at `root`: their roots, and what they share. */
export function gatherSteps(pod: PodSettings, root = 'root'): SetupStep[] {
  return [
    ['mount', 'tmpfs', root, 'tmpfs', 'nosuid,nodev', 'mode=0755', 'size=16m'],
    ...sharedDeviceSteps(`${root}/dev`),
    ['make-directory', `${root}/own-dev`, '0755'],
    ...(pod.hostResolver ? resolverSteps(root) : []),
    ...(pod.mutable === undefined
      ? [
          ...pod.volumes.flatMap((volume) => volumeSteps(volume, root)),
          ...sharedVolumeSteps(pod, root),
          ...pod.apps.flatMap((app) => rootfsSteps(app, root)),
        ]
      : ([['make-directory', `${root}${LATER_ROOT}`, '0755']] as const)),
  ];
}

/** The host's resolver configuration as it is when the pod starts, for apps to read. */
function resolverSteps(root: string): SetupStep[] {
  return [
    ['make-file', `${root}/resolv.conf`, '0644'],
    ['mount', RESOLV_CONF, `${root}/resolv.conf`, '-', 'bind,ro,nosuid,nodev,noexec'],
  ];
}

/** A volume of the pod, at `volumes/` below `root`. */
export function volumeSteps(volume: string, root = 'root'): SetupStep[] {
  return [
    ['make-directory', `${root}/volumes/${volume}`, '0755'],
    ['mount', `volumes/${volume}`, `${root}/volumes/${volume}`, '-', 'bind,nodev'],
  ];
}
