import { GantryError } from '../error.ts';

/** What of a pod's wishes a flavour may be unable to grant. */
export interface PodWishes {
  readonly apps: number;
  /** Apps come and go while the pod runs (`gantry app`). */
  readonly mutable: boolean;
  readonly interactive: boolean;
  /** A standard stream of an app leads nowhere (`--stdout=null`). */
  readonly silentStreams: boolean;
  /** `--net`, where it was given. */
  readonly network: 'none' | 'host' | undefined;
  /** `--hostname` was given. */
  readonly hostname: boolean;
  readonly overlay: boolean;
  readonly readOnlyRootfs: boolean;
  /** An image has mount points to which no volume of the host was given. */
  readonly emptyVolumes: boolean;
  readonly hostVolumes: boolean;
  /** A volume lets mounts travel between host and app. */
  readonly travellingMounts: boolean;
  /** An app's capabilities were named, by its image or by `--caps-retain` or `--caps-remove`. */
  readonly capabilities: boolean;
  readonly noNewPrivileges: boolean;
  /** `--private-users`. */
  readonly privateUsers: boolean;
  /** `--ipc=private`. */
  readonly privateIpc: boolean;
  /** `--ipc=parent`. */
  readonly hostIpc: boolean;
  /** An app's system calls were named, by its image or by `--seccomp`. */
  readonly seccomp: boolean;
  /** Processor time, memory, processes or input and output of an app are limited. */
  readonly limits: boolean;
  readonly oomScore: boolean;
  readonly rlimits: boolean;
  /** An app has an SELinux or AppArmor label. */
  readonly labels: boolean;
  readonly sysctl: boolean;
  /** An image has programs to be run before the app starts or after it ended. */
  readonly eventHandlers: boolean;
}

/** Those of a pod that asks for nothing a flavour could lack. */
export const NO_WISHES: PodWishes = {
  apps: 1,
  mutable: false,
  interactive: false,
  silentStreams: false,
  network: undefined,
  hostname: false,
  overlay: true,
  readOnlyRootfs: false,
  emptyVolumes: false,
  hostVolumes: false,
  travellingMounts: false,
  capabilities: false,
  noNewPrivileges: false,
  privateUsers: false,
  privateIpc: false,
  hostIpc: false,
  seccomp: false,
  limits: false,
  oomScore: false,
  rlimits: false,
  labels: false,
  sysctl: false,
  eventHandlers: false,
};

interface FeatureDescription {
  /** For the documentation's tables. */
  readonly what: string;
  /** How a pod asked for it, in the operator's words; undefined where it did not. None: nobody can. */
  readonly asked?: (wishes: PodWishes) => string | undefined;
}

function when(
  is: (wishes: PodWishes) => boolean,
  words: string,
): (wishes: PodWishes) => string | undefined {
  return (wishes) => (is(wishes) ? words : undefined);
}

/**
 * Everything a flavour can have, by the name that manifests, errors and documentation use. A flavour
 * that lacks what a pod asks for refuses it before anything starts.
 */
export const FEATURES = {
  'several-apps': {
    what: 'several apps in a pod',
    asked: when(({ apps }) => apps > 1, 'more than one image'),
  },
  mutable: {
    what: 'apps that come and go, by `gantry app`',
    asked: when(({ mutable }) => mutable, 'gantry app sandbox'),
  },
  enter: { what: '`gantry enter`' },
  stop: { what: '`gantry stop`' },
  interactive: {
    what: 'a terminal',
    asked: when(({ interactive }) => interactive, '--interactive'),
  },
  'silent-streams': {
    what: 'standard streams that lead nowhere',
    asked: when(({ silentStreams }) => silentStreams, '--stdin, --stdout or --stderr'),
  },
  'log-lines': { what: 'output line by line, with time and app' },
  notify: { what: 'READY and STOPPING to the service manager' },
  'private-processes': { what: "processes of its own: the host's are not seen" },
  'private-ipc': {
    what: 'System V IPC and POSIX queues of its own',
    asked: when(({ privateIpc }) => privateIpc, '--ipc=private'),
  },
  'net-none': {
    what: 'a network of its own, with nothing but loopback',
    asked: when(({ network }) => network === 'none', '--net=none'),
  },
  'net-host': {
    what: 'the network of the host',
    asked: when(({ network }) => network === 'host', '--net=host'),
  },
  hostname: {
    what: 'a host name of its own',
    asked: when(({ hostname }) => hostname, '--hostname'),
  },
  'no-overlay': {
    what: 'a copy of the image instead of overlayfs',
    asked: when(({ overlay }) => !overlay, '--no-overlay'),
  },
  'read-only-rootfs': {
    what: 'a root that cannot be written to',
    asked: when(({ readOnlyRootfs }) => readOnlyRootfs, 'a read-only root'),
  },
  'empty-volumes': {
    what: 'volumes that live and die with the pod',
    asked: when(({ emptyVolumes }) => emptyVolumes, 'an empty volume'),
  },
  'host-volumes': {
    what: 'files and directories of the host as volumes',
    asked: when(({ hostVolumes }) => hostVolumes, 'a volume of the host'),
  },
  'travelling-mounts': {
    what: 'mounts that travel between host and app in a volume',
    asked: when(({ travellingMounts }) => travellingMounts, 'a volume with propagation'),
  },
  capabilities: {
    what: 'capabilities taken away',
    asked: when(({ capabilities }) => capabilities, 'a set of capabilities'),
  },
  'no-new-privileges': {
    what: 'no privileges by set-user-ID programs',
    asked: when(({ noNewPrivileges }) => noNewPrivileges, 'the no-new-privileges isolator'),
  },
  'private-users': {
    what: "users that are none of the host's",
    asked: when(({ privateUsers }) => privateUsers, '--private-users'),
  },
  'host-ipc': {
    what: 'System V IPC and POSIX queues of the host',
    asked: when(({ hostIpc }) => hostIpc, '--ipc=parent'),
  },
  seccomp: {
    what: 'system calls allowed or taken away by name',
    asked: when(({ seccomp }) => seccomp, 'a set of system calls'),
  },
  limits: {
    what: 'limits on processor time, memory, processes, input and output',
    asked: when(({ limits }) => limits, 'a limit of an app or the pod'),
  },
  'oom-score': {
    what: 'which app goes first when memory runs out',
    asked: when(({ oomScore }) => oomScore, 'the oom-score-adj isolator'),
  },
  rlimits: {
    what: 'resource limits of processes',
    asked: when(({ rlimits }) => rlimits, 'the rlimits isolator'),
  },
  labels: {
    what: 'SELinux and AppArmor labels',
    asked: when(({ labels }) => labels, 'a label of an app'),
  },
  sysctl: {
    what: 'kernel parameters of the pod',
    asked: when(({ sysctl }) => sysctl, 'the sysctl isolator'),
  },
  'event-handlers': {
    what: "programs before an app's start and after its end",
    asked: when(({ eventHandlers }) => eventHandlers, 'an event handler of an image'),
  },
  'masked-paths': { what: 'what belongs to the host in /proc and /sys hidden' },
  'own-devices': { what: 'a /dev of its own' },
  'device-access': { what: 'devices allowed one by one, by control group' },
  'own-kernel': { what: 'a kernel of its own' },
  machined: { what: 'known to machined, where it runs: machinectl, journalctl -M' },
} as const satisfies Readonly<Record<string, FeatureDescription>>;

export type Feature = keyof typeof FEATURES;

/** Whether a word of a manifest names a feature. */
export function isFeature(word: unknown): word is Feature {
  return typeof word === 'string' && Object.hasOwn(FEATURES, word);
}

/** Whether pods ask for a feature, so that their plans have words for it. */
export function isAskedFor(feature: Feature): boolean {
  return 'asked' in FEATURES[feature];
}

/**
 * Refuses a pod that wants what its flavour lacks.
 * @param remedy what to do: a pod that is already prepared has its stage1
 * @throws GantryError `unsupported` naming the feature and what asked for it
 */
export function requireFeatures(
  flavour: { readonly name: string; readonly features: ReadonlySet<Feature> },
  wishes: PodWishes,
  remedy: string = 'choose another with --stage1-name',
): void {
  for (const [name, description] of Object.entries<FeatureDescription>(FEATURES)) {
    if (flavour.features.has(name as Feature)) continue;
    const asked = description.asked?.(wishes);
    if (asked === undefined) continue;
    const what = description.what.replaceAll('`', '');
    throw new GantryError(
      'unsupported',
      `stage1 ${flavour.name} lacks ${name} (${what}), which ${asked} asks for: ${remedy}`,
    );
  }
}
