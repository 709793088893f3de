import { deviceSteps, sharedDeviceSteps } from '../isolation/devices.ts';
import { kernelPathSteps } from '../isolation/kernel-paths.ts';
import type { AppStep, NamespaceName, SetupStep, SupervisorStep } from '../isolation/step.ts';
import { hostsFile, RESOLV_CONF } from '../network/name-files.ts';
import { lowerOptions } from './overlay.ts';
import type { AppSection, Plan } from './plan.ts';
import type { AppSettings, PodSettings } from './settings.ts';

/**
 * Compiles the launch plan of a pod whose every setting is decided. Pure. The pod directory is the
 * working directory until the pod's own root, a tmpfs at `root`, takes the place of the host's; there
 * the apps' roots lie in /apps, and what they share in /dev and /volumes; /own-dev is where each, in its
 * own mount namespace, puts its /dev together.
 */
export function compilePlan(pod: PodSettings): Plan {
  return {
    supervisor: supervisorSteps(pod),
    pod: podSteps(pod),
    apps: pod.apps.map((app): AppSection => ({ name: app.name, steps: appSteps(pod, app) })),
    teardown: pod.cgroup === undefined ? [] : [['remove-cgroup', pod.cgroup]],
  };
}

function supervisorSteps(pod: PodSettings): SupervisorStep[] {
  const namespaces: NamespaceName[] = ['pid', 'mount', 'ipc', 'uts'];
  if (pod.network === 'none') namespaces.push('net');
  return [
    ['namespaces', ...namespaces],
    ['grace', String(pod.graceSeconds)],
    ['output', pod.interactive ? 'terminal' : 'lines'],
    ...(pod.cgroup === undefined
      ? []
      : ([
          ['make-cgroup', pod.cgroup],
          ['join-cgroup', pod.cgroup],
        ] as const)),
  ];
}

function podSteps(pod: PodSettings): SetupStep[] {
  return [
    ['private-mounts'],
    ['hostname', pod.hostname],
    ...(pod.network === 'none' ? ([['loopback']] as const) : []),
    ['mount', 'tmpfs', 'root', 'tmpfs', 'nosuid,nodev', 'mode=0755', 'size=16m'],
    ...sharedDeviceSteps('root/dev'),
    ['make-directory', 'root/own-dev', '0755'],
    ...(pod.hostResolver ? resolverSteps() : []),
    ...pod.volumes.flatMap(volumeSteps),
    ...pod.apps.flatMap(rootfsSteps),
    ['pivot-root', 'root'],
    ...(pod.interactive ? ([['open-terminal', '/dev/pts/ptmx']] as const) : []),
  ];
}

/** The host's resolver configuration as it is when the pod starts, for apps to read. */
function resolverSteps(): SetupStep[] {
  return [
    ['make-file', 'root/resolv.conf', '0644'],
    ['mount', RESOLV_CONF, 'root/resolv.conf', '-', 'bind,ro,nosuid,nodev,noexec'],
  ];
}

function volumeSteps(volume: string): SetupStep[] {
  return [
    ['make-directory', `root/volumes/${volume}`, '0755'],
    ['mount', `volumes/${volume}`, `root/volumes/${volume}`, '-', 'bind,nodev'],
  ];
}

/**
 * An app's root. Not nosuid: images have programs that change user. But nodev, since an app keeps
 * CAP_MKNOD and no cgroup says which devices it may open.
 */
function rootfsSteps(app: AppSettings): SetupStep[] {
  const target = `root/apps/${app.name}`;
  const own = `apps/${app.name}`;
  const directory: SetupStep = ['make-directory', target, '0755'];
  if (app.rootfs.kind === 'copy') {
    return [directory, ['mount', `${own}/rootfs`, target, '-', 'bind,nodev']];
  }
  return [
    directory,
    [
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
    ],
  ];
}

/** Slots for what an app takes along through its pivot-root (specs/launch-plan.md). */
const DEV_SLOT = '0';
const RESOLV_SLOT = '1';
const FIRST_VOLUME_SLOT = 2;

function appSteps(pod: PodSettings, app: AppSettings): (SetupStep | AppStep)[] {
  return [
    ['unshare', 'mount'],
    ...deviceSteps('/own-dev', '/dev'),
    ...takenAlong(pod, app),
    ['pivot-root', `/apps/${app.name}`],
    ['make-directory', '/dev', '0755'],
    ['move-tree', DEV_SLOT, '/dev'],
    ...kernelPathSteps(pod.openPaths),
    ...nameFileSteps(pod, app),
    ...volumeMountSteps(app),
    ...(app.makesWorkingDirectory
      ? ([['make-directory', app.workingDirectory, '0755']] as const)
      : []),
    ...terminalSteps(pod),
    ...(app.readOnlyRootfs ? ([['mount-attributes', '/', 'ro']] as const) : []),
    ...processSteps(app),
  ];
}

function takenAlong(pod: PodSettings, app: AppSettings): SetupStep[] {
  return [
    ['open-tree', DEV_SLOT, '/own-dev', 'recursive'],
    ...(pod.hostResolver ? ([['open-tree', RESOLV_SLOT, '/resolv.conf']] as const) : []),
    ...app.mounts.flatMap(({ volume, readOnly }, index): SetupStep[] => {
      const slot = String(FIRST_VOLUME_SLOT + index);
      return [
        ['open-tree', slot, `/volumes/${volume}`],
        ...(readOnly ? ([['tree-attributes', slot, 'ro']] as const) : []),
      ];
    }),
  ];
}

function nameFileSteps(pod: PodSettings, app: AppSettings): SetupStep[] {
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

function volumeMountSteps(app: AppSettings): SetupStep[] {
  return app.mounts.flatMap(({ path }, index): SetupStep[] => [
    ['make-directory', path, '0755'],
    ['move-tree', String(FIRST_VOLUME_SLOT + index), path],
  ]);
}

function terminalSteps(pod: PodSettings): (SetupStep | AppStep)[] {
  if (!pod.interactive) return [];
  return [
    ['make-file', '/dev/console', '0600'],
    ['terminal', '/dev/console'],
  ];
}

/** What the app's process is. Capabilities come last: everything before may need them. */
function processSteps(app: AppSettings): AppStep[] {
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
