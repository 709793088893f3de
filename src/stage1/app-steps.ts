import { deviceSteps } from '../isolation/devices.ts';
import { kernelPathSteps } from '../isolation/kernel-paths.ts';
import type { AppStep, SetupStep } from '../isolation/step.ts';
import { hostsFile, RESOLV_CONF } from '../network/name-files.ts';
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
  return pod.apps.map((app) => ({ name: app.name, steps: appSteps(pod, app) }));
}

function appSteps(pod: PodSettings, app: AppSettings): (SetupStep | AppStep)[] {
  return [
    ['unshare', 'mount'],
    ...takenAlong(pod),
    ...volumeSlots(pod, app),
    ['pivot-root', `/apps/${app.name}`],
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

/** What every app takes along of the pod's. */
export function takenAlong(pod: PodSettings): SetupStep[] {
  return [
    ...deviceSteps('/own-dev', '/dev'),
    ['open-tree', DEV_SLOT, '/own-dev', 'recursive'],
    ...(pod.hostResolver ? ([['open-tree', RESOLV_SLOT, '/resolv.conf']] as const) : []),
  ];
}

/** An app's root, at `apps/` below `root`. */
export function rootfsSteps(app: AppSettings, root = 'root'): SetupStep[] {
  const target = `${root}/apps/${app.name}`;
  return [['make-directory', target, '0755'], rootfsStep(app, target)];
}

/**
 * Mounts an app's root at `target`. Not nosuid: images have programs that change user. But nodev, since an app keeps
 * CAP_MKNOD and no cgroup says which devices it may open.
 */
export function rootfsStep(app: AppSettings, target: string): SetupStep {
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
  return [
    ['umask', '0022'],
    ...app.environment.map(([name, value]): AppStep => ['env', name, value]),
    ['user', String(uid), String(gid), ...gids.map(String)],
    ['chdir', app.workingDirectory],
    ...(app.stopSignal === undefined ? [] : ([['stop-signal', String(app.stopSignal)]] as const)),
    ...(app.userNamespaces ? [] : ([['no-user-namespaces']] as const)),
    ['keep-caps', ...app.capabilities],
    ...(app.noNewPrivileges ? ([['no-new-privileges']] as const) : []),
    ['exec', path, argv[0] ?? path, ...argv.slice(1)],
  ];
}
