import type { SetupStep } from './step.ts';

/** Device nodes every app has, all of them character devices (admin-guide/devices.txt). */
export const DEVICE_NODES: readonly {
  readonly name: string;
  readonly major: number;
  readonly minor: number;
}[] = [
  { name: 'null', major: 1, minor: 3 },
  { name: 'zero', major: 1, minor: 5 },
  { name: 'full', major: 1, minor: 7 },
  { name: 'random', major: 1, minor: 8 },
  { name: 'urandom', major: 1, minor: 9 },
  { name: 'tty', major: 5, minor: 0 },
];

const LINKS: readonly (readonly [target: string, name: string])[] = [
  ['/proc/self/fd', 'fd'],
  ['/proc/self/fd/0', 'stdin'],
  ['/proc/self/fd/1', 'stdout'],
  ['/proc/self/fd/2', 'stderr'],
  ['pts/ptmx', 'ptmx'],
];

/** What of the host's takes the place of what a pod would have of its own. */
export interface HostDevices {
  /** POSIX shared memory. */
  readonly hostIpc?: boolean;
  /** The nodes: an ordinary user makes none, in no user namespace. */
  readonly rootless?: boolean;
}

/**
 * What the apps of a pod share of their /dev, made once as the pod's own at `dev`: the device nodes on
 * the only mount of the pod that lets devices be opened, the pseudo-terminals, and /dev/shm: POSIX
 * shared memory is one per pod, like its ipc namespace, or the host's. (A mount of POSIX queues shows
 * those of the namespace it is made in.)
 */
export function sharedDeviceSteps(dev: string, host: HostDevices = {}): SetupStep[] {
  return [...deviceNodeSteps(dev, host), ...deviceMountSteps(dev, host)];
}

/** Of these what only root of the host can make. */
export function deviceNodeSteps(dev: string, { rootless = false }: HostDevices = {}): SetupStep[] {
  return [
    ['make-directory', dev, '0755'],
    ['mount', 'tmpfs', dev, 'tmpfs', 'nosuid,noexec', 'mode=0755', 'size=64k'],
    ...DEVICE_NODES.flatMap((node) => (rootless ? boundNode(dev, node) : [madeNode(dev, node)])),
    ['make-directory', `${dev}/pts`, '0755'],
    ['make-directory', `${dev}/shm`, '0755'],
  ];
}

/** Of these what belongs to the users of the pod. */
export function deviceMountSteps(dev: string, { hostIpc = false }: HostDevices = {}): SetupStep[] {
  return [
    // gid 5 is `tty` on every distribution; mode 620 lets write(1) and wall(1) work as outside.
    [
      'mount',
      'devpts',
      `${dev}/pts`,
      'devpts',
      'nosuid,noexec',
      'newinstance',
      'ptmxmode=0666',
      'mode=0620',
      'gid=5',
    ],
    hostIpc
      ? ['mount', '/dev/shm', `${dev}/shm`, '-', 'bind,nosuid,nodev,noexec']
      : ['mount', 'shm', `${dev}/shm`, 'tmpfs', 'nosuid,nodev,noexec', 'mode=1777', 'size=64m'],
  ];
}

type Node = (typeof DEVICE_NODES)[number];

function madeNode(dev: string, { name, major, minor }: Node): SetupStep {
  return ['make-device', `${dev}/${name}`, '0666', 'char', String(major), String(minor)];
}

function boundNode(dev: string, { name }: Node): SetupStep[] {
  return [
    ['make-file', `${dev}/${name}`, '0644'],
    ['mount', `/dev/${name}`, `${dev}/${name}`, '-', 'bind'],
  ];
}

/**
 * An app's own /dev, put together at `own` from the parts at `shared`. The tmpfs is nodev and the
 * nodes are bound into it one by one: an app keeps CAP_MKNOD by default, and must not be able to
 * open the host's disks through a node of its own making.
 */
export function deviceSteps(own: string, shared: string): SetupStep[] {
  return [
    ['mount', 'tmpfs', own, 'tmpfs', 'nosuid,nodev,noexec', 'mode=0755', 'size=64m'],
    ...DEVICE_NODES.flatMap(({ name }): SetupStep[] => [
      ['make-file', `${own}/${name}`, '0644'],
      ['mount', `${shared}/${name}`, `${own}/${name}`, '-', 'bind'],
    ]),
    ...LINKS.map(([target, name]): SetupStep => ['symlink', target, `${own}/${name}`]),
    ['make-directory', `${own}/pts`, '0755'],
    ['mount', `${shared}/pts`, `${own}/pts`, '-', 'bind'],
    ['make-directory', `${own}/shm`, '0755'],
    ['mount', `${shared}/shm`, `${own}/shm`, '-', 'bind'],
    ['make-directory', `${own}/mqueue`, '0755'],
    ['mount', 'mqueue', `${own}/mqueue`, 'mqueue', 'nosuid,nodev,noexec'],
  ];
}
