import type { Propagation } from '../image/volume.ts';
import type { PodGroup } from '../isolation/control-groups.ts';
import type { DeviceAccess, DeviceNumber } from '../isolation/device-access.ts';
import type { Limits } from '../isolation/limits.ts';
import type { ProcessSettings } from '../isolation/process-limits.ts';
import type { SysctlSetting } from '../isolation/sysctl.ts';
import type { UserRange } from '../isolation/user-map.ts';
import type { Credentials } from '../isolation/users.ts';
import type { NetworkMode } from '../network/namespace.ts';
import type { Variable } from './environment.ts';

/**
 * Everything decided about a pod, as plain JSON: what a launch plan is compiled from, without a look
 * at anything else. It is kept in the pod's record, so that a prepared pod can be started with
 * another network, host name or terminal.
 */
export interface PodSettings {
  readonly uuid: string;
  /** Absent in records of before there were several. */
  readonly plan?: PlanKind;
  /** What the plan needs to know of the host's programs. */
  readonly provision?: Provision;
  readonly hostname: string;
  readonly network: NetworkMode;
  /** The apps read the host's resolver configuration. */
  readonly hostResolver: boolean;
  /** `--private-users`: absent where the pod's users are the host's. */
  readonly users?: UserRange;
  /** The one app runs on a terminal. */
  readonly interactive: boolean;
  /** Apps come and go while the pod runs. */
  readonly mutable?: MutableSettings;
  /** System V IPC, POSIX queues and POSIX shared memory are the host's. */
  readonly hostIpc?: true;
  /** Seconds between the request to end and KILL of an orderly stop. */
  readonly graceSeconds: number;
  /** The absolute directory of the pod's own control group, to be made; none where absent. */
  readonly cgroup?: string;
  /** Where the pod's and its apps' limits are set. Absent where there are none. */
  readonly groups?: readonly PodGroup[];
  /** What bounds the whole pod. */
  readonly limits?: Limits;
  /** Where and which devices are allowed to the apps, and no others. Absent where mounts alone keep them away. */
  readonly deviceAccess?: DeviceAccess;
  /** What the operator has its apps ask for, as shares of what the host has, added up. */
  readonly shares?: Limits;
  /** `--insecure-options=paths`. */
  readonly openPaths: boolean;
  /** Kernel parameters of the pod's namespaces. Absent where none are set. */
  readonly sysctl?: readonly SysctlSetting[];
  readonly apps: readonly AppSettings[];
  /** Names of the directories below `volumes/`. */
  readonly volumes: readonly string[];
  /** What of the host the apps' mounts name. Absent where nothing is. */
  readonly hostVolumes?: readonly HostVolumeSettings[];
  /** An ordinary user's, in a user namespace of theirs: devices are the host's, overlayfs keeps its notes where an ordinary user may. */
  readonly rootless?: true;
}

/** A directory or file of the host, as apps get it. */
export interface HostVolumeSettings {
  readonly name: string;
  /** Absolute, on the host. */
  readonly source: string;
  /** A directory; anything else is mounted over a file. */
  readonly directory: boolean;
  readonly readOnly: boolean;
  /** What is mounted below the source comes along. */
  readonly recursive: boolean;
  readonly propagation: Propagation;
  /** Devices may be opened through it. */
  readonly devices: boolean;
  /** The device it is, where it is one. */
  readonly device?: DeviceNumber;
  /** In a pod with users of its own: files belong to the same numbers as on the host. */
  readonly mapped?: true;
}

/** The kinds of launch plans, by the flavour that each is for (specs/launch-plan.md). */
export const PLAN_KINDS = ['native', 'nspawn', 'chroot', 'kvm'] as const;
export type PlanKind = (typeof PLAN_KINDS)[number];

/** The programs of the host a flavour builds upon, found when the pod is prepared. */
export type Provision = NspawnProvision | KvmProvision;

export interface NspawnProvision {
  readonly kind: 'nspawn';
  /** The absolute path of systemd-nspawn. */
  readonly program: string;
  /** Where the cgroup v2 hierarchy is mounted. */
  readonly cgroups: string;
  /**
   * How machined, where it runs, gets to know the pod: as a scope that it makes for it, or as the service
   * that consists of the pod.
   */
  readonly machined?: 'scope' | 'service';
  /** The absolute path of systemd-journald, where machined runs. */
  readonly journald?: string;
}

/** A machine of QEMU's, and what it starts. */
export interface KvmProvision {
  readonly kind: 'kvm';
  /** Absolute path of the program. */
  readonly qemu: string;
  /** As QEMU's options of these names have them. */
  readonly machine: string;
  readonly cpu: string;
  readonly acceleration: 'kvm' | 'tcg';
  /** The kernel's name of the serial port. */
  readonly console: string;
  /** Absolute path. */
  readonly kernel: string;
  /** Absolute paths, in the order they are loaded. */
  readonly modules: readonly string[];
  readonly memoryMiB: number;
  readonly cpus: number;
  /** Where QEMU and what it loads lie. */
  readonly programs: readonly HostPath[];
  /** What serves the machine its files by virtio-fs. QEMU does, by 9p, where absent. */
  readonly virtiofsd?: Virtiofsd;
}

/** A program that serves a directory by virtio-fs. */
export interface Virtiofsd {
  /** Absolute. */
  readonly path: string;
  /** Which options it has: QEMU's own up to 7.2, in C, or its successor in Rust. */
  readonly kind: 'qemu' | 'rust';
}

/** A directory of the host, or a file, or what it is a symbolic link to. */
export interface HostPath {
  readonly path: string;
  readonly file?: true;
  readonly link?: string;
}

/** What was decided when a mutable pod was made, for the apps that come. */
export interface MutableSettings {
  /** Their roots are overlays, not copies. */
  readonly overlay: boolean;
}

/** Programs, each with argv[0] and arguments (appc spec/aci.md, `eventHandlers`). */
export interface EventHandlers {
  readonly preStart?: readonly string[];
  readonly postStop?: readonly string[];
}

/** The settings as a record keeps them: filters are in the plan only. */
export function withoutFilters(settings: PodSettings): PodSettings {
  const apps = settings.apps.map((app) =>
    app.systemCalls === undefined ? app : { ...app, systemCalls: { does: app.systemCalls.does } },
  );
  return { ...settings, apps };
}

/** The settings of a record with the filters that a plan has, by the names of their apps. */
export function withFilters(
  settings: PodSettings,
  filters: ReadonlyMap<string, string>,
): PodSettings {
  const apps = settings.apps.map((app): AppSettings => {
    const program = filters.get(app.name);
    if (app.systemCalls === undefined || program === undefined) return app;
    return { ...app, systemCalls: { ...app.systemCalls, program } };
  });
  return { ...settings, apps };
}

/** Everything decided about one app. */
export interface AppSettings {
  readonly name: string;
  readonly rootfs: Rootfs;
  readonly readOnlyRootfs: boolean;
  /** Program, argv[0] and arguments. */
  readonly exec: readonly string[];
  /** Likewise, what is run before it and after its end. */
  readonly handlers?: EventHandlers;
  readonly credentials: Credentials;
  readonly capabilities: readonly string[];
  readonly noNewPrivileges: boolean;
  readonly limits?: Limits;
  /** Limits and labels of its processes. Absent where there are none. */
  readonly process?: ProcessSettings;
  /**
   * Whether the app may make user namespaces, in which it has every capability: enough to mount the
   * host's control groups, which belong to root, and freeze or kill what is in them.
   */
  readonly userNamespaces: boolean;
  /** The filter of its system calls; none where absent. */
  readonly systemCalls?: CallFilterSettings;
  readonly environment: readonly Variable[];
  readonly workingDirectory: string;
  /** The image has no such directory: it is made when the app starts. */
  readonly makesWorkingDirectory?: boolean;
  /** The number of the signal that asks the app to end; SIGTERM where absent. */
  readonly stopSignal?: number;
  readonly mounts: readonly VolumeMount[];
  /** Those of its standard streams that lead nowhere. */
  readonly silent?: readonly StreamName[];
  /** Which of the files a pod brings the image lacks. */
  readonly missing: readonly NameFile[];
}

export interface CallFilterSettings {
  /** What it does, for people. */
  readonly does: string;
  /** As the plan has it: base64. In a pod's record it is left out, which would be read for every list of pods. */
  readonly program?: string;
}

/**
 * Where an app's root file system comes from. Paths are relative to the pod directory; `lowers` are top
 * first.
 */
export type Rootfs =
  | { readonly kind: 'overlay'; readonly lowers: readonly string[] }
  | { readonly kind: 'copy' };

/** A volume at a path of an app's root. */
export interface VolumeMount {
  readonly volume: string;
  readonly path: string;
  readonly readOnly: boolean;
  /** The volume is no directory: it is mounted over a file. */
  readonly file?: true;
}

export type StreamName = 'input' | 'output' | 'errors';

export type NameFile = 'hosts' | 'hostname' | 'mtab';
export const NAME_FILES: readonly NameFile[] = ['hosts', 'hostname', 'mtab'];
