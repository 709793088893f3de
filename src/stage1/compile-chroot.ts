import { GantryError } from '../error.ts';
import type { SetupStep } from '../isolation/step.ts';
import { RESOLV_CONF } from '../network/name-files.ts';
import {
  appSection,
  nameFileSteps,
  processSteps,
  rootfsStep,
  workingDirectorySteps,
} from './app-steps.ts';
import { enterGroupSteps, openGroupSteps, podGroupSteps, removeGroupSteps } from './group-steps.ts';
import type { Plan } from './plan.ts';
import type { AppSettings, PodSettings } from './settings.ts';
import { lies } from './volume-mounts.ts';
import {
  attachedVolumeSteps,
  FIRST_VOLUME_SLOT,
  hostAttributeSteps,
  hostTreeStep,
  hostVolume,
  RESOLV_SLOT,
  travels,
} from './volume-steps.ts';

/** What the host and the app have in common, and the slots it is taken along in. */
const SHARED: readonly (readonly [path: string, mode: string, slot: string])[] = [
  ['/dev', '0755', '0'],
  ['/proc', '0555', '62'],
  ['/sys', '0555', '63'],
];

/**
 * The plan of the chroot flavour: one app in the host's namespaces but for a mount namespace of the
 * pod's own, whose root is the app's. Init stands in it too, so that there is no second to be made: it
 * opens nothing by name after that.
 */
export function compileChroot(pod: PodSettings): Plan {
  const [app, ...others] = pod.apps;
  if (app === undefined || others.length > 0) {
    throw new GantryError('internal', 'stage1 chroot runs one app');
  }
  return {
    supervisor: [
      ['namespaces', 'mount'],
      ['grace', String(pod.graceSeconds)],
      ['output', pod.interactive ? 'terminal' : 'raw'],
      ...podGroupSteps(pod),
    ],
    pod: podSteps(pod, app),
    apps: [appSection(app, (part) => [...enterGroupSteps(pod, part), ...processSteps(part)])],
    teardown: removeGroupSteps(pod),
  };
}

function podSteps(pod: PodSettings, app: AppSettings): SetupStep[] {
  return [
    ...volumeTrees(pod, app, true),
    ['private-mounts'],
    ...openGroupSteps(pod),
    ...SHARED.map(([path, , slot]): SetupStep => ['open-tree', slot, path, 'recursive']),
    ...resolverSteps(pod),
    ...volumeTrees(pod, app, false),
    ...volumeAttributes(pod, app),
    rootfsStep(pod, app, 'root'),
    ['pivot-root', 'root'],
    // What is of the host comes last: until then no link of the image leads what is made here into it.
    ...SHARED.map(([path, mode]): SetupStep => ['make-directory', path, mode]),
    ['make-directory', '/tmp', '1777'],
    ['mount', 'tmpfs', '/tmp', 'tmpfs', 'nosuid,nodev', 'mode=1777'],
    ...nameFileSteps(pod, app),
    ...attachedVolumeSteps(app, (path) => !isShared(path)),
    ...workingDirectorySteps(app),
    ...SHARED.map(([path, , slot]): SetupStep => ['move-tree', slot, path]),
    ...attachedVolumeSteps(app, isShared),
    ...(app.readOnlyRootfs ? ([['mount-attributes', '/', 'ro']] as const) : []),
    ...(pod.interactive ? ([['open-terminal', '/dev/pts/ptmx']] as const) : []),
  ];
}

function isShared(path: string): boolean {
  return SHARED.some(([shared]) => lies(path, shared));
}

function resolverSteps({ hostResolver }: PodSettings): SetupStep[] {
  if (!hostResolver) return [];
  return [
    ['open-tree', RESOLV_SLOT, RESOLV_CONF],
    ['tree-attributes', RESOLV_SLOT, 'ro,nosuid,nodev,noexec'],
  ];
}

/** Copies of the app's volumes in their slots: of those through which mounts travel, or of the others. */
function volumeTrees(pod: PodSettings, app: AppSettings, travelling: boolean): SetupStep[] {
  return app.mounts.flatMap((mount, index): SetupStep[] => {
    const slot = String(FIRST_VOLUME_SLOT + index);
    const host = hostVolume(pod, mount);
    if ((host !== undefined && travels(host)) !== travelling) return [];
    return [
      host === undefined
        ? ['open-tree', slot, `volumes/${mount.volume}`]
        : hostTreeStep(slot, host),
    ];
  });
}

function volumeAttributes(pod: PodSettings, app: AppSettings): SetupStep[] {
  return app.mounts.flatMap((mount, index): SetupStep[] => {
    const slot = String(FIRST_VOLUME_SLOT + index);
    const host = hostVolume(pod, mount);
    if (host === undefined) {
      return [['tree-attributes', slot, mount.readOnly ? 'nodev,ro' : 'nodev']];
    }
    return hostAttributeSteps(slot, { ...host, readOnly: host.readOnly || mount.readOnly });
  });
}
