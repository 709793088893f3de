import type { SetupStep } from './step.ts';

/** Device nodes every app has: name, mode, major, minor (admin-guide/devices.txt). */
const NODES: readonly (readonly [name: string, major: string, minor: string])[] = [
  ['null', '1', '3'],
  ['zero', '1', '5'],
  ['full', '1', '7'],
  ['random', '1', '8'],
  ['urandom', '1', '9'],
  ['tty', '5', '0'],
];

const LINKS: readonly (readonly [target: string, name: string])[] = [
  ['/proc/self/fd', 'fd'],
  ['/proc/self/fd/0', 'stdin'],
  ['/proc/self/fd/1', 'stdout'],
  ['/proc/self/fd/2', 'stderr'],
  ['pts/ptmx', 'ptmx'],
];

/**
 * What the apps of a pod share of their /dev, made once as the pod's own at `dev`: the device nodes on
 * the only mount of the pod that lets devices be opened, the pseudo-terminals, and /dev/shm (POSIX
 * shared memory is one per pod, like its ipc namespace).
 */
export function sharedDeviceSteps(dev: string): SetupStep[] {
  return [
    ['make-directory', dev, '0755'],
    ['mount', 'tmpfs', dev, 'tmpfs', 'nosuid,noexec', 'mode=0755', 'size=64k'],
    ...NODES.map(
      ([name, major, minor]): SetupStep => [
        'make-device',
        `${dev}/${name}`,
        '0666',
        'char',
        major,
        minor,
      ],
    ),
    ['make-directory', `${dev}/pts`, '0755'],
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
    ['make-directory', `${dev}/shm`, '0755'],
    ['mount', 'shm', `${dev}/shm`, 'tmpfs', 'nosuid,nodev,noexec', 'mode=1777', 'size=64m'],
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
    ...NODES.flatMap(([name]): SetupStep[] => [
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
