import { deviceMountSteps, deviceNodeSteps } from '../isolation/devices.ts';
import {
  kernelMountSteps,
  processMountSteps,
  systemMountSteps,
} from '../isolation/kernel-paths.ts';
import type { OutsideStep, SetupStep } from '../isolation/step.ts';
import { openGroupSteps } from './group-steps.ts';
import { gatherSteps, sysctlSteps } from './pod-steps.ts';
import type { AppSettings, PodSettings } from './settings.ts';
import { travellingTreeSteps, wholeTreeSteps } from './volume-steps.ts';

/** The slot the pod's root goes to init in. */
const ROOT_SLOT = '0';

/**
 * Section outside of a pod with users of its own: root of the host puts together what only it can, the roots of the apps and
 * device nodes, and hands it over with its mounts locked: as what they are they stay, whatever root of the pod may do.
 */
export function userOutsideSteps(pod: PodSettings): OutsideStep[] {
  return [
    ...travellingTreeSteps(pod),
    ['private-mounts'],
    ...wholeTreeSteps(pod),
    ...layerSteps(pod.apps),
    ...gatherSteps(pod, 'root', deviceNodeSteps('root/dev')),
    ['make-directory', 'root/proc', '0555'],
    ['make-directory', 'root/sys', '0555'],
    // That of the host's network only root of the host can mount.
    ...(pod.network === 'host' ? systemMountSteps('root') : []),
    ['join-users'],
    ['open-tree', ROOT_SLOT, 'root', 'recursive'],
  ];
}

/** Section pod of such a pod. Init can read the pod directory until it becomes root of the pod. */
export function userPodSteps(pod: PodSettings): SetupStep[] {
  return [
    ['private-mounts'],
    ['hostname', pod.hostname],
    ...(pod.network === 'none' ? ([['loopback']] as const) : []),
    ...openGroupSteps(pod),
    ...sysctlSteps(pod),
    ['move-tree', ROOT_SLOT, 'root'],
    ...(pod.network === 'host' ? processMountSteps('root') : kernelMountSteps('root')),
    ['pivot-root', 'root'],
    ['become-root'],
    ...deviceMountSteps('/dev'),
    ...(pod.interactive ? ([['open-terminal', '/dev/pts/ptmx']] as const) : []),
  ];
}

/**
 * The layers of the apps' roots as they are for the users of the pod, in the places they have: an overlay takes them from
 * there. They belong to no other users on disk, and are shared by all pods.
 */
export function layerSteps(apps: readonly AppSettings[]): SetupStep[] {
  const lowers = apps.flatMap(({ rootfs }) => (rootfs.kind === 'copy' ? [] : rootfs.lowers));
  return [...new Set(lowers)].map((lower) => ['mount', lower, lower, '-', 'bind,users']);
}
