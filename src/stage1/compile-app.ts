import type { OutsideStep, SetupStep } from '../isolation/step.ts';
import { rootfsStep, rootSteps, takenAlong } from './app-steps.ts';
import { enterGroupSteps, laterGroupSteps, openGroupSteps } from './group-steps.ts';
import type { AppPlan } from './plan.ts';
import { gatheringStep, LATER_ROOT, volumeSteps } from './pod-steps.ts';
import type { AppSettings, PodSettings, VolumeMount } from './settings.ts';
import { layerSteps } from './user-steps.ts';
import {
  FIRST_VOLUME_SLOT,
  hostAttributeSteps,
  hostTreeStep,
  hostVolume,
  sharedVolumeSteps,
  wholeTreeSteps,
} from './volume-steps.ts';

/** The app's root travels in the slot its /dev has afterwards: it is attached before that is filled. */
const ROOT_SLOT = '0';

/**
 * Compiles the plan of an app that comes to a running pod. Pure. Root and volumes are mounted outside,
 * where the pod directory is in sight, and reach the app in slots.
 */
export function compileAppPlan(around: PodSettings, app: AppSettings): AppPlan {
  const pod = { ...around, apps: [app] };
  return {
    outside: pod.users === undefined ? outsideSteps(pod, app) : userOutsideSteps(pod, app),
    app: {
      name: app.name,
      steps: [
        ['unshare', 'mount'],
        ...enterGroupSteps(pod, app),
        ['move-tree', ROOT_SLOT, LATER_ROOT],
        ...takenAlong(pod),
        ['pivot-root', LATER_ROOT],
        ...rootSteps(pod, app),
      ],
    },
  };
}

function outsideSteps(pod: PodSettings, app: AppSettings): SetupStep[] {
  return [
    ['private-mounts'],
    ...laterGroupSteps(pod, app),
    ...openGroupSteps(pod),
    rootfsStep(pod, app, 'root'),
    ['open-tree', ROOT_SLOT, 'root'],
    ...app.mounts.flatMap((mount, index): SetupStep[] => {
      const slot = String(FIRST_VOLUME_SLOT + index);
      const host = hostVolume(pod, mount);
      if (host === undefined) return ownVolumeSteps(slot, mount);
      const readOnly = host.readOnly || mount.readOnly;
      return [hostTreeStep(slot, host), ...hostAttributeSteps(slot, { ...host, readOnly })];
    }),
  ];
}

/** One that lives and dies with the pod, in whose directory it lies. */
function ownVolumeSteps(slot: string, { volume, readOnly }: VolumeMount): SetupStep[] {
  return [
    ['open-tree', slot, `volumes/${volume}`],
    ['tree-attributes', slot, readOnly ? 'nodev,ro' : 'nodev'],
  ];
}

/**
 * The same for a pod with users of its own: root and volumes are mounted below a tmpfs, as in the pod itself
 * (user-steps.ts), as what they are to be, which nobody there can change. One source may so be several volumes.
 */
function userOutsideSteps(pod: PodSettings, app: AppSettings): OutsideStep[] {
  const names = [...new Set(app.mounts.map(({ volume }) => volume))];
  const hostVolumes = (pod.hostVolumes ?? []).filter(({ name }) => names.includes(name));
  const own = names.filter((volume) => !hostVolumes.some(({ name }) => name === volume));
  const root = `root${LATER_ROOT}`;
  const given = { ...pod, hostVolumes };
  return [
    ['private-mounts'],
    ...laterGroupSteps(pod, app),
    ...wholeTreeSteps(given),
    ...layerSteps([app]),
    gatheringStep('root'),
    ...own.flatMap((volume) => volumeSteps(volume)),
    ...sharedVolumeSteps(given),
    ['make-directory', root, '0755'],
    rootfsStep(pod, app, root),
    ['join-users'],
    ...openGroupSteps(pod),
    ['open-tree', ROOT_SLOT, root],
    ...app.mounts.flatMap((mount, index): SetupStep[] => {
      const slot = String(FIRST_VOLUME_SLOT + index);
      const source = `root/volumes/${mount.volume}`;
      const recursive = hostVolume(pod, mount)?.recursive === true;
      return [
        hostTreeStep(slot, { source, recursive }),
        ...(mount.readOnly ? [readOnlyStep(slot, recursive)] : []),
      ];
    }),
  ];
}

function readOnlyStep(slot: string, recursive: boolean): SetupStep {
  return recursive ? ['tree-attributes', slot, 'ro', 'recursive'] : ['tree-attributes', slot, 'ro'];
}
