import { deviceAccessSteps } from '../isolation/device-access.ts';
import { sharedDeviceSteps } from '../isolation/devices.ts';
import { kernelMountSteps } from '../isolation/kernel-paths.ts';
import type { NamespaceName, SetupStep, SupervisorStep } from '../isolation/step.ts';
import { requireOwn } from '../isolation/sysctl.ts';
import { USER_LOCKS } from '../isolation/user-map.ts';
import { RESOLV_CONF } from '../network/name-files.ts';
import { hasHostSys, rootfsSteps } from './app-steps.ts';
import { openGroupSteps, podGroupSteps } from './group-steps.ts';
import type { PodSettings } from './settings.ts';
import { sharedVolumeSteps, travellingTreeSteps } from './volume-steps.ts';

/** Where the pod's root has an empty directory for the root of an app that comes later, in whose own mounts it is mounted. */
export const LATER_ROOT = '/app';

/** Section supervisor of a pod whose namespaces are the supervisor's to make. */
export function supervisorSteps(pod: PodSettings): SupervisorStep[] {
  const namespaces: NamespaceName[] = ['pid', 'mount'];
  if (pod.hostIpc !== true) namespaces.push('ipc');
  namespaces.push('uts');
  if (pod.network === 'none') namespaces.push('net');
  if (pod.users !== undefined) namespaces.push('user');
  return [['namespaces', ...namespaces], ...userSteps(pod), ...outputSteps(pod)];
}

/** Of section supervisor: the users the pod has, and that no other has them meanwhile. */
function userSteps({ users }: PodSettings): SupervisorStep[] {
  if (users === undefined) return [];
  const map = ['0', String(users.first), String(users.count)] as const;
  return [
    ['map-users', ...map],
    ['map-groups', ...map],
    ['hold-lock', `${USER_LOCKS}/${users.first}`],
  ];
}

/** What section supervisor says of every pod that has processes of its own. */
export function outputSteps(pod: PodSettings): SupervisorStep[] {
  return [
    ['grace', String(pod.graceSeconds)],
    ['output', pod.interactive ? 'terminal' : 'lines'],
    ...(pod.mutable === undefined ? [] : ([['mutable']] as const)),
    ...podGroupSteps(pod),
    ...(pod.deviceAccess === undefined ? [] : deviceAccessSteps(pod.deviceAccess)),
  ];
}

/**
 * Kernel parameters of the pod's namespaces.
 * @throws GantryError `usage` where a namespace is the host's, in which they would be set otherwise
 */
export function sysctlSteps({ sysctl = [], network, hostIpc }: PodSettings): SetupStep[] {
  requireOwn(sysctl, { net: network !== 'host', ipc: hostIpc !== true });
  return sysctl.map((setting): SetupStep => ['sysctl', ...setting]);
}

/** Section pod of the native flavour: from the host's mounts to the pod's own root. */
export function podSteps(pod: PodSettings): SetupStep[] {
  return [
    ...travellingTreeSteps(pod),
    ['private-mounts'],
    ['hostname', pod.hostname],
    ...(pod.network === 'none' ? ([['loopback']] as const) : []),
    ...openGroupSteps(pod),
    ...sysctlSteps(pod),
    ...gatherSteps(pod),
    ...kernelMountSteps('root', hasHostSys(pod)),
    ['pivot-root', 'root'],
    ...(pod.interactive ? ([['open-terminal', '/dev/pts/ptmx']] as const) : []),
  ];
}

/** Puts together what the apps live on, in a tmpfs at `root`: their roots, and what they share. */
export function gatherSteps(
  pod: PodSettings,
  root = 'root',
  devices: SetupStep[] = sharedDeviceSteps(`${root}/dev`, pod),
): SetupStep[] {
  return [
    gatheringStep(root),
    ...devices,
    ['make-directory', `${root}/own-dev`, '0755'],
    ...(pod.hostResolver ? resolverSteps(root) : []),
    ...(pod.mutable === undefined
      ? [
          ...pod.volumes.flatMap((volume) => volumeSteps(volume, root)),
          ...sharedVolumeSteps(pod, root),
          ...pod.apps.flatMap((app) => rootfsSteps(pod, app, root)),
        ]
      : ([['make-directory', `${root}${LATER_ROOT}`, '0755']] as const)),
  ];
}

/** The tmpfs that holds the places for all of it. */
export function gatheringStep(root: string): SetupStep {
  return ['mount', 'tmpfs', root, 'tmpfs', 'nosuid,nodev', 'mode=0755', 'size=16m'];
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
