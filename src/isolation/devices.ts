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
 * What the apps of a pod share of /dev, made once below `root`: the device nodes on the only mount
 * of the pod that lets devices be opened, the pseudo-terminals, and /dev/shm (POSIX shared memory is
 * one per pod, like its ipc namespace).
 */
export function sharedDeviceSteps(root: string): SetupStep[] {
  return [
    ['make-directory', `${root}/devices`, '0755'],
    ['mount', 'tmpfs', `${root}/devices`, 'tmpfs', 'nosuid,noexec', 'mode=0755', 'size=64k'],
    ...NODES.map(
      ([name, major, minor]): SetupStep => [
        'make-device',
        `${root}/devices/${name}`,
        '0666',
        'char',
        major,
        minor,
      ],
    ),
    ['make-directory', `${root}/pts`, '0755'],
    // gid 5 is `tty` on every distribution; mode 620 lets write(1) and wall(1) work as outside.
    [
      'mount',
      'devpts',
      `${root}/pts`,
      'devpts',
      'nosuid,noexec',
      'newinstance',
      'ptmxmode=0666',
      'mode=0620',
      'gid=5',
    ],
    ['make-directory', `${root}/shm`, '0755'],
    ['mount', 'shm', `${root}/shm`, 'tmpfs', 'nosuid,nodev,noexec', 'mode=1777', 'size=64m'],
  ];
}

/**
 * An app's own /dev, put together at `dev` from the shared parts that lie in `root`. The tmpfs is
 * nodev and the nodes are bound into it one by one: an app keeps CAP_MKNOD by default, and must not
 * be able to open the host's disks through a node of its own making.
 */
export function deviceSteps(dev: string, root: string): SetupStep[] {
  return [
    ['mount', 'tmpfs', dev, 'tmpfs', 'nosuid,nodev,noexec', 'mode=0755', 'size=64m'],
    ...NODES.flatMap(([name]): SetupStep[] => [
      ['make-file', `${dev}/${name}`, '0644'],
      ['mount', `${root}/devices/${name}`, `${dev}/${name}`, '-', 'bind'],
    ]),
    ...LINKS.map(([target, name]): SetupStep => ['symlink', target, `${dev}/${name}`]),
    ['make-directory', `${dev}/pts`, '0755'],
    ['mount', `${root}/pts`, `${dev}/pts`, '-', 'bind'],
    ['make-directory', `${dev}/shm`, '0755'],
    ['mount', `${root}/shm`, `${dev}/shm`, '-', 'bind'],
    ['make-directory', `${dev}/mqueue`, '0755'],
    ['mount', 'mqueue', `${dev}/mqueue`, 'mqueue', 'nosuid,nodev,noexec'],
  ];
}
