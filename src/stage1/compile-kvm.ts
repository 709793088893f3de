import { posix } from 'node:path';
import { GantryError } from '../error.ts';
import { sharedDeviceSteps } from '../isolation/devices.ts';
import { kernelMountSteps } from '../isolation/kernel-paths.ts';
import type { ExecStep, OutsideStep, SetupStep } from '../isolation/step.ts';
import { appSections, rootfsSteps } from './app-steps.ts';
import { insideGroupSteps, openGroupSteps, removeGroupSteps } from './group-steps.ts';
import type { Plan } from './plan.ts';
import { supervisorSteps, sysctlSteps, volumeSteps } from './pod-steps.ts';
import type { HostVolumeSettings, KvmProvision, PodSettings, Virtiofsd } from './settings.ts';
import { sharedVolumeSteps } from './volume-steps.ts';

/**
 * What whoever serves the pod's files may do on the host: as those belong to whomever the apps say, and
 * everything they do to them is done for them.
 */
const FILE_CAPABILITIES = ['chown', 'dac_override', 'fowner', 'fsetid', 'mknod'];
/** What virtiofsd keeps of these and more, and what it gives up once it has shut itself in. */
const VIRTIOFSD_CAPABILITIES = [
  ...FILE_CAPABILITIES,
  ...['setuid', 'setgid', 'setfcap'],
  ...['setpcap', 'sys_admin', 'sys_resource'],
];
/** One for each file the machine knows of, as many as it takes by itself. In C it leaves 16384 of a host's to others. */
const VIRTIOFSD_FILES = 1_000_000;
/** Where QEMU finds its character devices, and virtiofsd its socket (stage1/kvm/qemu.h). */
const PORT = '3';
const CONSOLE = '4';
const SHARE = '5';
const SERVER_SOCKET = '3';

/**
 * The plan of a pod in a machine. Outside, the pod directory's `root` becomes all that QEMU sees of the host:
 * programs, the kernel, and in /share what the machine gets. The roots of the apps are put together
 * there, so that the machine finds plain directories. Inside, the rest is as in the native flavour, on a
 * share mounted at `share`.
 */
export function compileKvm(pod: PodSettings): Plan {
  if (pod.network === 'host') {
    throw new GantryError('unsupported', 'a pod in a machine cannot be in the network of the host');
  }
  const { provision } = pod;
  if (provision?.kind !== 'kvm') {
    throw new GantryError('internal', 'no machine was found for this pod: prepare it anew');
  }
  return {
    supervisor: supervisorSteps(pod),
    outside: outsideSteps(pod, provision),
    pod: podSteps(pod, provision),
    apps: appSections(pod),
    teardown: removeGroupSteps(pod),
  };
}

function outsideSteps(pod: PodSettings, provision: KvmProvision): OutsideStep[] {
  return [
    ['private-mounts'],
    ['hostname', pod.hostname],
    ['mount', 'tmpfs', 'root', 'tmpfs', 'nosuid,nodev', 'mode=0755', 'size=256m'],
    ...shareSteps(pod),
    ...programSteps(provision),
    ...processSteps(provision),
    ...deviceSteps(provision),
    ...bootSteps(provision),
    ['mount-attributes', 'root', 'ro'],
    ['pivot-root', 'root'],
    ['no-new-privileges'],
    ...servingSteps(provision),
    qemu(pod, provision),
  ];
}

/** Who serves the files: virtiofsd, and QEMU needs no capability at all; or QEMU. */
function servingSteps({ virtiofsd }: KvmProvision): OutsideStep[] {
  if (virtiofsd === undefined) return [['keep-caps', ...FILE_CAPABILITIES]];
  return [
    ['keep-caps', ...VIRTIOFSD_CAPABILITIES],
    // For each user of the machine it becomes that user, but in one group. Whether that user may do it is the machine's
    // kernel to say, which knows all groups and capabilities; the successor has this of its own.
    ...(virtiofsd.kind === 'qemu' ? ([['caps-of-every-user']] as const) : []),
    ['spawn', virtiofsd.path, 'virtiofsd', `--fd=${SERVER_SOCKET}`, ...VIRTIOFSD[virtiofsd.kind]],
    ['keep-caps'],
  ];
}

/**
 * It shuts itself in: namespaces in which there is nothing but the share, a system call filter, the capabilities
 * above. What is mounted in the share is announced, so that inode numbers of several file systems are not
 * mistaken for each other. It takes set-user-ID and file capabilities from what is written to, or the machine would
 * have to ask for them before each write. Of what the host changes in a volume the machine knows after a second.
 */
const VIRTIOFSD: Readonly<Record<Virtiofsd['kind'], readonly string[]>> = {
  qemu: [
    '-f',
    ...[
      '-o',
      'source=/share,sandbox=namespace,cache=auto,announce_submounts,xattr,killpriv_v2,log_level=err',
    ],
  ],
  rust: [
    '--shared-dir=/share',
    '--sandbox=namespace',
    '--cache=auto',
    '--announce-submounts',
    // Handles would take one capability more.
    '--inode-file-handles=never',
    '--xattr',
    '--killpriv-v2',
    '--log-level=error',
  ],
};

/** Nothing is made in /share itself but what the pod consists of. */
function shareSteps(pod: PodSettings): SetupStep[] {
  return [
    ['make-directory', 'root/share', '0755'],
    ['mount', 'tmpfs', 'root/share', 'tmpfs', 'nosuid,nodev', 'mode=0755', 'size=1m'],
    ...pod.volumes.flatMap((volume): SetupStep[] => [
      ...volumeSteps(volume, 'root/share'),
      ...(isReadOnly(pod, volume)
        ? ([['mount-attributes', `root/share/volumes/${volume}`, 'ro']] as const)
        : []),
    ]),
    ...sharedVolumeSteps({ ...pod, hostVolumes: readOnlyVolumes(pod) }, 'root/share'),
    ...pod.apps.flatMap((app) => rootfsSteps(pod, app, 'root/share')),
    ['mount-attributes', 'root/share', 'ro'],
  ];
}

function readOnlyVolumes(pod: PodSettings): HostVolumeSettings[] {
  const { hostVolumes = [] } = pod;
  return hostVolumes.map((volume) => ({
    ...volume,
    readOnly: volume.readOnly || isReadOnly(pod, volume.name),
  }));
}

/** Root in the machine can undo what is read-only only there. */
function isReadOnly(pod: PodSettings, volume: string): boolean {
  const mounts = pod.apps.flatMap((app) => app.mounts.filter((mount) => mount.volume === volume));
  return mounts.every(({ readOnly }) => readOnly);
}

function programSteps({ programs }: KvmProvision): SetupStep[] {
  return programs.flatMap(({ path, file, link }): SetupStep[] => {
    if (link !== undefined) return [['symlink', link, `root${path}`]];
    return [
      ...(file === undefined
        ? ([['make-directory', `root${path}`, '0755']] as const)
        : ([
            ['make-directory', `root${posix.dirname(path)}`, '0755'],
            ['make-file', `root${path}`, '0644'],
          ] as const)),
      ['mount', path, `root${path}`, '-', 'bind,rec,ro,nosuid,nodev'],
    ];
  });
}

/**
 * What belongs to the whole host, and could be written to by root without a capability, is not there (Linux 5.8).
 */
const PROCESSES = ['proc', 'ro,nosuid,nodev,noexec', 'subset=pid'] as const;

function processSteps({ virtiofsd }: KvmProvision): SetupStep[] {
  if (virtiofsd === undefined) {
    // QEMU changes modes and reads attributes through /proc/self/fd.
    return [
      ['make-directory', 'root/proc', '0555'],
      ['mount', 'proc', 'root/proc', ...PROCESSES],
    ];
  }
  // All that is read of it before virtiofsd mounts one of its own: how many files it may have open, in C and in Rust.
  return [
    ['make-directory', 'root/proc/sys/fs', '0555'],
    ['write-file', 'root/proc/sys/fs/file-max', '0444', `${VIRTIOFSD_FILES + 16_384}\n`],
    ['write-file', 'root/proc/sys/fs/nr_open', '0444', `${VIRTIOFSD_FILES}\n`],
    ...(virtiofsd.kind === 'rust' ? ownProcessSteps() : []),
  ];
}

/** In Rust it opens /proc/self beforehand, for what is mounted in the end. */
function ownProcessSteps(): SetupStep[] {
  return [
    ['make-directory', 'root/processes', '0555'],
    ['mount', 'proc', 'root/processes', ...PROCESSES],
    ['symlink', '/processes/self', 'root/proc/self'],
  ];
}

function deviceSteps({ acceleration }: KvmProvision): SetupStep[] {
  const devices = ['/dev/null', '/dev/urandom', ...(acceleration === 'kvm' ? ['/dev/kvm'] : [])];
  return [
    ['make-directory', 'root/dev', '0755'],
    ...devices.flatMap((device): SetupStep[] => [
      ['make-file', `root${device}`, '0600'],
      ['mount', device, `root${device}`, '-', 'bind,nosuid,noexec'],
    ]),
  ];
}

function bootSteps({ kernel, modules }: KvmProvision): OutsideStep[] {
  return [
    ['make-file', 'root/kernel', '0600'],
    ['mount', kernel, 'root/kernel', '-', 'bind,ro,nosuid,nodev,noexec'],
    ['initrd', 'root/initrd', ...initrdFiles(modules).flat()],
  ];
}

/** What the machine begins with, by name; modules in the order they are loaded. */
function initrdFiles(modules: readonly string[]): [name: string, file: string][] {
  return [
    ['init', 'stage1/guest-init'],
    ['machine/enter', 'stage1/guest-enter'],
    ['machine/pod/plan', 'plan'],
    ...modules.map((file, index): [string, string] => {
      const order = String(index).padStart(3, '0');
      return [`machine/modules/${order}-${file.slice(file.lastIndexOf('/') + 1)}`, file];
    }),
  ];
}

function qemu(pod: PodSettings, provision: KvmProvision): ExecStep {
  return [
    'exec',
    provision.qemu,
    provision.qemu,
    ...['-name', `gantry-${pod.uuid}`],
    '-nodefaults',
    '-no-user-config',
    ...['-display', 'none'],
    '-no-reboot',
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-machine', machineOf(provision)],
    ...['-cpu', provision.cpu],
    ...['-smp', String(provision.cpus)],
    ...memoryOptions(provision),
    ...['-kernel', '/kernel', '-initrd', '/initrd', '-append', kernelOptions(provision)],
    ...['-chardev', `socket,id=console,fd=${CONSOLE}`, '-serial', 'chardev:console'],
    ...['-chardev', `socket,id=port,fd=${PORT}`, '-device', 'virtio-serial-pci'],
    ...['-device', 'virtserialport,chardev=port,nr=1,name=gantry'],
    ...shareOptions(provision),
  ];
}

function machineOf({ machine, virtiofsd }: KvmProvision): string {
  return virtiofsd === undefined ? machine : `${machine},memory-backend=memory`;
}

/** What virtiofsd reads and writes is the machine's memory. */
function memoryOptions({ memoryMiB, virtiofsd }: KvmProvision): string[] {
  const size = `${memoryMiB}M`;
  if (virtiofsd === undefined) return ['-m', size];
  return ['-m', size, '-object', `memory-backend-memfd,id=memory,size=${size},share=on`];
}

function shareOptions({ virtiofsd }: KvmProvision): string[] {
  if (virtiofsd !== undefined) {
    const chardev = `socket,id=share,fd=${SHARE}`;
    return ['-chardev', chardev, '-device', 'vhost-user-fs-pci,chardev=share,tag=share'];
  }
  return [
    // Owners and modes are those of the host's files. Directories of several file systems are shared, whose
    // inode numbers must not be mistaken for each other.
    ...['-fsdev', 'local,id=share,path=/share,security_model=passthrough,multidevs=remap'],
    ...['-device', 'virtio-9p-pci,fsdev=share,mount_tag=share'],
  ];
}

/** As little as possible is said and probed; a panic ends the machine. */
function kernelOptions({ console }: KvmProvision): string {
  return [
    `console=${console}`,
    'quiet',
    'panic=-1',
    'reboot=t',
    'rdinit=/init',
    'random.trust_cpu=on',
    '8250.nr_uarts=1',
    'i8042.noaux',
    'i8042.nokbd',
    'cryptomgr.notests',
  ].join(' ');
}

function mountStep({ virtiofsd }: KvmProvision): SetupStep {
  if (virtiofsd !== undefined) return ['mount', 'share', 'share', 'virtiofs', 'nodev'];
  return [
    'mount',
    'share',
    'share',
    '9p',
    'nodev',
    'trans=virtio',
    'version=9p2000.L',
    'msize=512000',
    // Nothing the host does not know yet, but what a file mapped and written to by several needs.
    'cache=mmap',
  ];
}

function podSteps(pod: PodSettings, provision: KvmProvision): SetupStep[] {
  return [
    ['private-mounts'],
    ['hostname', pod.hostname],
    ['loopback'],
    ...insideGroupSteps(pod),
    ...openGroupSteps(pod),
    ...sysctlSteps(pod),
    ['make-directory', 'share', '0755'],
    mountStep(provision),
    ['make-directory', 'root', '0755'],
    ['mount', 'tmpfs', 'root', 'tmpfs', 'nosuid,nodev', 'mode=0755', 'size=16m'],
    ...sharedDeviceSteps('root/dev'),
    ['make-directory', 'root/own-dev', '0755'],
    ...pod.volumes.flatMap((volume) => sharedSteps(`volumes/${volume}`)),
    ...(pod.hostVolumes ?? []).flatMap(({ name, directory }) =>
      sharedSteps(`volumes/${name}`, directory),
    ),
    ...pod.apps.flatMap(({ name }) => sharedSteps(`apps/${name}`)),
    ...kernelMountSteps('root'),
    ['pivot-root', 'root'],
    ...(pod.interactive ? ([['open-terminal', '/dev/pts/ptmx']] as const) : []),
  ];
}

function sharedSteps(path: string, directory = true): SetupStep[] {
  return [
    ['make-directory', `root/${posix.dirname(path)}`, '0755'],
    directory ? ['make-directory', `root/${path}`, '0755'] : ['make-file', `root/${path}`, '0644'],
    // The last step of the way to a directory is what has virtio-fs mount what is mounted there on the host.
    ['mount', directory ? `share/${path}/.` : `share/${path}`, `root/${path}`, '-', 'bind,nodev'],
  ];
}
