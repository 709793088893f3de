import { kernelMountSteps } from '../isolation/kernel-paths.ts';
import type {
  EnvironmentStep,
  ExecStep,
  OutsideStep,
  SetupStep,
  SupervisorStep,
} from '../isolation/step.ts';
import { appSections } from './app-steps.ts';
import { givenDevices } from './device-volumes.ts';
import { givenGroupSteps, openGivenGroupSteps, removeGroupSteps } from './group-steps.ts';
import type { Plan } from './plan.ts';
import { gatherSteps, outputSteps, sysctlSteps } from './pod-steps.ts';
import type { NspawnProvision, PodSettings } from './settings.ts';

/** Where the container has what the apps live on, and what becomes its root. */
const POD = '/pod';
/** Where systemd-nspawn keeps what it forgets when it is killed: in this pod's own sight only. */
const NSPAWN_STATE = '/run/systemd/nspawn';
/**
 * Where systemd-nspawn looks for control groups. On hosts that have the older hierarchies beside v2 (hybrid) it
 * would make some in those as well, and leave them: it is shown v2 alone.
 */
const CGROUPS = '/sys/fs/cgroup';

/**
 * A pod under systemd-nspawn. What the apps live on is made before it starts, as in the native flavour but
 * below `root/pod`; `root` is the container it starts our init in, which then makes /pod its root, and
 * leaves what systemd-nspawn mounted. From there on everything is as in the native flavour. Pure.
 */
export function compileNspawn(pod: PodSettings): Plan {
  const { provision } = pod;
  if (provision?.kind !== 'nspawn') throw new Error('a pod for nspawn without its provision');
  return {
    supervisor: supervisorSteps(pod),
    outside: [
      ...outsideSteps(pod, provision),
      ...journalSteps(pod, provision),
      ...(pod.groups === undefined ? [] : ([USE_NO_CGROUP_NAMESPACE] as const)),
      ...environmentSteps(pod),
      execStep(pod, provision),
    ],
    pod: podSteps(pod),
    apps: appSections(pod),
    teardown: removeGroupSteps(pod),
  };
}

function supervisorSteps(pod: PodSettings): SupervisorStep[] {
  // The others are systemd-nspawn's to make.
  return [['namespaces', 'mount'], ...outputSteps(pod)];
}

function outsideSteps(pod: PodSettings, { cgroups }: NspawnProvision): SetupStep[] {
  return [
    ['private-mounts'],
    ['make-directory', NSPAWN_STATE, '0755'],
    ['mount', 'tmpfs', NSPAWN_STATE, 'tmpfs', 'nosuid,nodev,noexec', 'mode=0755', 'size=64k'],
    ['mount', 'tmpfs', 'root', 'tmpfs', 'nosuid,nodev', 'mode=0755', 'size=64k'],
    // While the host's hierarchies are in view.
    ...givenGroupSteps(pod, 'root'),
    ...(cgroups === CGROUPS ? [] : ([['mount', cgroups, CGROUPS, '-', 'bind']] as const)),
    // Without one, systemd-nspawn takes the directory for none of an operating system.
    ['make-directory', 'root/usr', '0755'],
    ...givenFile('stage1/init', 'root/init', '0755'),
    ...givenFile('plan', 'root/plan', '0600'),
    ['make-directory', `root${POD}`, '0755'],
    ...gatherSteps(pod, `root${POD}`),
  ];
}

/** What of the host journald would use otherwise; in this pod's own sight there are others. */
const JOURNAL = {
  runtime: '/run/systemd/journal',
  logs: '/var/log',
  configuration: '/etc/systemd',
  machineId: '/etc/machine-id',
};

/**
 * A journal of the pod's own, where journalctl -M looks for one: in the pod's root. The host's journald is
 * started a second time, with all it would touch replaced; init sends it the lines of the apps.
 */
function journalSteps(
  { uuid, interactive }: PodSettings,
  { journald }: NspawnProvision,
): OutsideStep[] {
  if (journald === undefined || interactive) return [];
  const { runtime, logs, configuration, machineId } = JOURNAL;
  const directory = `root${POD}/var/log/journal`;
  return [
    ['make-directory', 'journal', '0755'],
    ['make-directory', directory, '0755'],
    ['mount', 'journal', directory, '-', 'bind,ro,nosuid,nodev,noexec'],
    ['open-tree', JOURNAL_SLOT, 'journal'],
    ['mount', 'tmpfs', logs, 'tmpfs', 'nosuid,nodev,noexec', 'mode=0755', 'size=4k'],
    ['make-directory', `${logs}/journal`, '0755'],
    ['move-tree', JOURNAL_SLOT, `${logs}/journal`],
    ['mount', 'tmpfs', configuration, 'tmpfs', 'nosuid,nodev,noexec', 'mode=0755', 'size=64k'],
    ['make-directory', `${configuration}/journald.conf.d`, '0755'],
    ['write-file', `${configuration}/journald.conf.d/zzz-gantry.conf`, '0644', JOURNALD_CONF],
    ['mount', 'tmpfs', runtime, 'tmpfs', 'nosuid,nodev,noexec', 'mode=0755', 'size=1m'],
    // What tells journald that the disk is there to be written to.
    ['write-file', `${runtime}/flushed`, '0644', ''],
    ['write-file', `${runtime}/machine-id`, '0444', `${uuid.replaceAll('-', '')}\n`],
    ['mount', `${runtime}/machine-id`, machineId, '-', 'bind,ro,nosuid,nodev,noexec'],
    ['journal-socket', `${runtime}/socket`],
    ['spawn', journald, 'systemd-journald'],
  ];
}

const JOURNAL_SLOT = '0';

/** journald.conf(5): the pod's lines, all of them, and nothing else. */
const JOURNALD_CONF = `[Journal]
Storage=persistent
SystemMaxUse=128M
RateLimitIntervalSec=0
ReadKMsg=no
Audit=no
ForwardToSyslog=no
ForwardToKMsg=no
ForwardToConsole=no
ForwardToWall=no
`;

/** Read-only: nothing in the pod writes to what the pod is started by (CVE-2019-5736). */
function givenFile(source: string, target: string, mode: string): SetupStep[] {
  return [
    ['make-file', target, mode],
    ['mount', source, target, '-', 'bind,ro,nosuid,nodev'],
  ];
}

/**
 * systemd-nspawn's own settings (systemd's docs/ENVIRONMENT.md).
 *
 * It would put a system call filter on init and all apps, compiled anew for each pod (40 ms of 60): what apps
 * may call is said by their sections. Nor do what it mounts on /tmp and what it makes read-only outlast init's
 * change of root. The lock of its directory is the pod's.
 */
function environmentSteps({ hostIpc }: PodSettings): EnvironmentStep[] {
  return [
    ...(hostIpc ? ([['env', 'SYSTEMD_NSPAWN_SHARE_NS_IPC', '1']] as const) : []),
    ['env', 'SYSTEMD_SECCOMP', '0'],
    ['env', 'SYSTEMD_NSPAWN_LOCK', '0'],
    ['env', 'SYSTEMD_NSPAWN_TMPFS_TMP', '0'],
    ['env', 'SYSTEMD_NSPAWN_API_VFS_WRITABLE', '1'],
    ['env', 'SYSTEMD_NSPAWN_UNIFIED_HIERARCHY', '1'],
    ['env', 'SYSTEMD_LOG_LEVEL', 'err'],
    ['env', 'SYSTEMD_LOG_TARGET', 'console'],
  ];
}

/**
 * The apps' groups lie beside the one systemd-nspawn makes for init, and out of a namespace of groups no process gets
 * into others (cgroup_namespaces(7), `nsdelegate`). Apps of the native flavour have none either.
 */
const USE_NO_CGROUP_NAMESPACE = ['env', 'SYSTEMD_NSPAWN_USE_CGNS', '0'] as const;

function execStep(pod: PodSettings, { program, machined }: NspawnProvision): ExecStep {
  return [
    'exec',
    program,
    'systemd-nspawn',
    '--quiet',
    '--settings=no',
    '--directory=root',
    `--machine=${machineName(pod.uuid)}`,
    `--uuid=${pod.uuid}`,
    `--register=${machined === undefined ? 'no' : 'yes'}`,
    ...(machined === 'scope' ? scopeDevices(pod) : ['--keep-unit']),
    // init ends the pod in order on it, as machinectl terminate asks for.
    '--kill-signal=SIGTERM',
    ...(pod.network === 'none' ? ['--private-network'] : []),
    // Everything the host can give: sections take away.
    '--capability=all',
    '--console=pipe',
    '--link-journal=no',
    '--resolv-conf=off',
    '--timezone=off',
    '/init',
  ];
}

/**
 * The scope that machined makes has the devices of containers alone (systemd's DevicePolicy=closed): what the pod was
 * given beside is said here. systemd knows a device by its number under these paths, be it there or not.
 */
function scopeDevices(pod: PodSettings): string[] {
  return givenDevices(pod).map(
    ({ kind, major, minor, access }) =>
      `--property=DeviceAllow=/dev/${kind}/${major}:${minor} ${access}`,
  );
}

/** What machined knows the pod by. */
function machineName(uuid: string): string {
  return `gantry-${uuid}`;
}

function podSteps(pod: PodSettings): SetupStep[] {
  return [
    ['private-mounts'],
    ['hostname', pod.hostname],
    ...(pod.network === 'none' ? ([['loopback']] as const) : []),
    ...openGivenGroupSteps(pod),
    ...sysctlSteps(pod),
    ...kernelMountSteps(POD),
    ['pivot-root', POD],
    ...(pod.interactive ? ([['open-terminal', '/dev/pts/ptmx']] as const) : []),
  ];
}
