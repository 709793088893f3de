import { GantryError } from '../error.ts';
import { deviceSteps } from '../isolation/devices.ts';
import { kernelPathSteps, kernelTreeSteps } from '../isolation/kernel-paths.ts';
import type { AppStep, SetupStep } from '../isolation/step.ts';
import { hostsFile, RESOLV_CONF } from '../network/name-files.ts';
import { enterGroupSteps } from './group-steps.ts';
import { lowerOptions } from './overlay.ts';
import type { AppSection } from './plan.ts';
import type { AppSettings, PodSettings } from './settings.ts';
import {
  attachedVolumeSteps,
  FIRST_VOLUME_SLOT,
  RESOLV_SLOT,
  volumeTreeSteps,
} from './volume-steps.ts';

/** A slot for what an app takes along through its pivot-root (specs/launch-plan.md). */
const DEV_SLOT = '0';

/**
 * The apps' sections, for a pod whose own root is laid out as described above. Those of a mutable pod have
 * plans of their own (compile-app.ts).
 */
export function appSections(pod: PodSettings): AppSection[] {
  if (pod.mutable !== undefined) return [];
  return pod.apps.map((app) => appSection(app, (part) => appSteps(pod, part)));
}

/**
 * An app's section, and those of its event handlers: all its steps, with another program at their end. Each part is
 * in the same root; what the pod brings into it the first one does, so that it stays as that leaves it.
 */
export function appSection(
  app: AppSettings,
  stepsOf: (part: AppSettings) => AppSection['steps'],
): AppSection {
  const { preStart, postStop } = app.handlers ?? {};
  const later = { ...app, missing: [] };
  return {
    name: app.name,
    ...(preStart === undefined ? {} : { preStart: stepsOf({ ...app, exec: preStart }) }),
    steps: stepsOf(preStart === undefined ? app : later),
    ...(postStop === undefined ? {} : { postStop: stepsOf({ ...later, exec: postStop }) }),
  };
}

function appSteps(pod: PodSettings, app: AppSettings): (SetupStep | AppStep)[] {
  const root = `/apps/${app.name}`;
  return [
    ['unshare', 'mount'],
    ...enterGroupSteps(pod, app),
    ...takenAlong(pod),
    ...volumeSlots(pod, app),
    // What was made for other users is locked in its place (specs/launch-plan.md, join-users): a copy is not.
    ...(pod.users === undefined ? [] : ([['mount', root, root, '-', 'bind']] as const)),
    ['pivot-root', root],
    ...rootSteps(pod, app),
  ];
}

function volumeSlots(pod: PodSettings, app: AppSettings): SetupStep[] {
  return app.mounts.flatMap((mount, index) =>
    volumeTreeSteps(pod, mount, String(FIRST_VOLUME_SLOT + index)),
  );
}

/** What is done in the app's root, with the slots filled, to have it complete and its process be what it is. */
export function rootSteps(pod: PodSettings, app: AppSettings): (SetupStep | AppStep)[] {
  return [
    ['make-directory', '/dev', '0755'],
    ['move-tree', DEV_SLOT, '/dev'],
    ...kernelPathSteps(pod.openPaths),
    ...nameFileSteps(pod, app),
    ...attachedVolumeSteps(app),
    ...workingDirectorySteps(app),
    ...terminalSteps(pod),
    ...(app.readOnlyRootfs ? ([['mount-attributes', '/', 'ro']] as const) : []),
    ...processSteps(app),
  ];
}

/** Whether the pod shows the host's /sys. */
export function hasHostSys({ rootless, network }: PodSettings): boolean {
  return rootless === true && network === 'host';
}

/** What every app takes along of the pod's. */
export function takenAlong(pod: PodSettings): SetupStep[] {
  return [
    ...deviceSteps('/own-dev', '/dev'),
    ['open-tree', DEV_SLOT, '/own-dev', 'recursive'],
    ...kernelTreeSteps(pod.openPaths, hasHostSys(pod)),
    ...(pod.hostResolver ? ([['open-tree', RESOLV_SLOT, '/resolv.conf']] as const) : []),
  ];
}

/** An app's root, at `apps/` below `root`. */
export function rootfsSteps(pod: PodSettings, app: AppSettings, root = 'root'): SetupStep[] {
  const target = `${root}/apps/${app.name}`;
  return [['make-directory', target, '0755'], rootfsStep(pod, app, target)];
}

/**
 * Mounts an app's root at `target`. Not nosuid: images have programs that change user. But nodev, since an app keeps
 * CAP_MKNOD, and not every host has control groups that say which devices it may open.
 */
export function rootfsStep({ rootless }: PodSettings, app: AppSettings, target: string): SetupStep {
  const own = `apps/${app.name}`;
  if (app.rootfs.kind === 'copy') return ['mount', `${own}/rootfs`, target, '-', 'bind,nodev'];
  return [
    'mount',
    'overlay',
    target,
    'overlay',
    'nodev',
    ...lowerOptions(app.rootfs.lowers),
    `upperdir=${own}/upper`,
    `workdir=${own}/work`,
    // An image must not steer overlayfs through extended attributes of its own files
    // (Documentation/filesystems/overlayfs.rst: untrusted lower layers).
    'redirect_dir=nofollow',
    'metacopy=off',
    'index=off',
    // Its notes are then `user.` attributes, of which images have none (store/tree-writer.ts).
    ...(rootless ? ['userxattr'] : []),
  ];
}

/** The files about names that the image lacks, and the resolver configuration out of its slot. */
export function nameFileSteps(pod: PodSettings, app: AppSettings): SetupStep[] {
  const steps: SetupStep[] = [];
  if (app.missing.includes('hosts')) {
    steps.push(['write-file', '/etc/hosts', '0644', hostsFile(pod.hostname)]);
  }
  if (app.missing.includes('hostname')) {
    steps.push(['write-file', '/etc/hostname', '0644', `${pod.hostname}\n`]);
  }
  if (app.missing.includes('mtab')) steps.push(['symlink', '../proc/self/mounts', '/etc/mtab']);
  if (pod.hostResolver) {
    steps.push(['make-file', RESOLV_CONF, '0644'], ['move-tree', RESOLV_SLOT, RESOLV_CONF]);
  }
  return steps.length === 0 ? [] : [['make-directory', '/etc', '0755'], ...steps];
}

/** The working directory, where the image lacks it. */
export function workingDirectorySteps(app: AppSettings): SetupStep[] {
  return app.makesWorkingDirectory ? [['make-directory', app.workingDirectory, '0755']] : [];
}

function terminalSteps(pod: PodSettings): (SetupStep | AppStep)[] {
  if (!pod.interactive) return [];
  return [
    ['make-file', '/dev/console', '0600'],
    ['terminal', '/dev/console'],
  ];
}

/** What the app's process is. Capabilities come last: everything before may need them. */
export function processSteps(app: AppSettings): AppStep[] {
  const { uid, gid, gids } = app.credentials;
  const [path = '', ...argv] = app.exec;
  const { oomScore, labels = [], rlimits = [] } = app.process ?? {};
  return [
    ['umask', '0022'],
    ...(oomScore === undefined ? [] : ([['oom-score', String(oomScore)]] as const)),
    ...app.environment.map(([name, value]): AppStep => ['env', name, value]),
    ['user', String(uid), String(gid), ...gids.map(String)],
    // After `user`, which gives the app its streams: this device is everybody's.
    ...(app.silent === undefined ? [] : ([['silence', ...app.silent]] as const)),
    ['chdir', app.workingDirectory],
    ...(app.stopSignal === undefined ? [] : ([['stop-signal', String(app.stopSignal)]] as const)),
    ...(app.userNamespaces ? [] : ([['no-user-namespaces']] as const)),
    ...labels.map((label): AppStep => ['label', ...label]),
    // Files are opened before: how many there may be is a limit too.
    ...rlimits.map((limit): AppStep => ['rlimit', ...limit]),
    ...filterSteps(app),
    ['keep-caps', ...app.capabilities],
    ...(app.noNewPrivileges ? ([['no-new-privileges']] as const) : []),
    ['exec', path, argv[0] ?? path, ...argv.slice(1)],
  ];
}

/** The filter is loaded right before exec; keep-caps must know that there is one. */
function filterSteps({ name, systemCalls }: AppSettings): AppStep[] {
  if (systemCalls === undefined) return [];
  if (systemCalls.program !== undefined) return [['seccomp', systemCalls.program]];
  throw new GantryError(
    'launch',
    `app ${JSON.stringify(name)}: the pod's plan has lost its system call filter: prepare the pod anew`,
  );
}
