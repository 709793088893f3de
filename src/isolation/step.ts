/**
 * One step of a launch plan: a word, then its arguments, as specs/launch-plan.md defines them. Plain
 * data: nothing here does anything.
 */
export type Step = SupervisorStep | SetupStep | OutsideStep | AppStep | TeardownStep;

/** Done, or kept in mind, by the supervisor. */
export type SupervisorStep =
  | readonly ['namespaces', ...NamespaceName[]]
  | readonly ['grace', seconds: string]
  | readonly ['output', 'lines' | 'terminal' | 'raw']
  | readonly ['mutable']
  | GroupStep
  | readonly ['device-access', directory: string, ...rules: string[]]
  | readonly ['join-cgroup', directory: string]
  | readonly ['map-users', inside: string, outside: string, count: string]
  | readonly ['map-groups', inside: string, outside: string, count: string]
  | readonly ['hold-lock', path: string];

/** A control group is made, or one of its control files written. */
export type GroupStep =
  | readonly ['make-cgroup', directory: string]
  | readonly ['set-cgroup', directory: string, file: string, value: string]
  | readonly ['set-cgroup', directory: string, file: string, value: string, 'optional'];

export type NamespaceName = 'pid' | 'mount' | 'ipc' | 'uts' | 'net' | 'user';

/** Done by the pod's init, or by an app before it becomes the app. Modes are octal. */
export type SetupStep =
  | readonly ['private-mounts']
  | readonly ['hostname', name: string]
  | readonly ['loopback']
  | readonly [
      'mount',
      source: string,
      target: string,
      type: string,
      flags: string,
      ...options: string[],
    ]
  | readonly ['make-directory', path: string, mode: string]
  | readonly ['make-file', path: string, mode: string]
  | readonly ['write-file', path: string, mode: string, content: string]
  | readonly [
      'make-device',
      path: string,
      mode: string,
      kind: 'char' | 'block',
      major: string,
      minor: string,
    ]
  | readonly ['symlink', target: string, path: string]
  | GroupStep
  | readonly ['open-cgroup', slot: string, directory: string]
  | readonly ['open-tree', slot: string, source: string]
  | readonly ['open-tree', slot: string, source: string, 'recursive']
  | readonly ['move-tree', slot: string, target: string]
  | readonly ['tree-attributes', slot: string, flags: string]
  | readonly ['tree-attributes', slot: string, flags: string, 'recursive']
  | readonly ['mount-attributes', path: string, flags: string]
  | readonly ['pivot-root', path: string]
  | readonly ['open-terminal', path: string]
  | readonly ['sysctl', path: string, value: string]
  | readonly ['become-root'];

/** Done by what then becomes, or starts, the program the pod lives in. */
export type OutsideStep =
  | SetupStep
  | EnvironmentStep
  | readonly ['join-users']
  | readonly ['journal-socket', path: string]
  | readonly ['spawn', path: string, argv0: string, ...args: string[]]
  | readonly ['initrd', path: string, ...namesAndFiles: string[]]
  | readonly ['keep-caps', ...names: string[]]
  | readonly ['caps-of-every-user']
  | readonly ['no-new-privileges']
  | ExecStep;

/** Done by an app on its way to exec. */
export type AppStep =
  | readonly ['enter-cgroup', slot: string, directory: string]
  | readonly ['unshare', 'mount']
  | readonly ['mask', path: string]
  | readonly ['read-only', path: string]
  | readonly ['terminal', path: string]
  | readonly ['umask', mask: string]
  | readonly ['user', uid: string, gid: string, ...gids: string[]]
  | readonly ['keep-caps', ...names: string[]]
  | readonly ['no-new-privileges']
  | readonly ['no-user-namespaces']
  | readonly ['seccomp', program: string]
  | readonly ['rlimit', name: string, soft: string, hard: string]
  | readonly ['oom-score', score: string]
  | readonly ['label', kind: 'selinux' | 'apparmor', text: string]
  | EnvironmentStep
  | readonly ['chdir', path: string]
  | readonly ['stop-signal', number: string]
  | readonly ['silence', ...('input' | 'output' | 'errors')[]]
  | ExecStep;

export type EnvironmentStep = readonly ['env', name: string, value: string];

export type ExecStep = readonly ['exec', path: string, argv0: string, ...args: string[]];

/** Done by the supervisor when every process of the pod is gone. */
export type TeardownStep =
  | readonly ['tell-oom', app: string, directory: string, file: string]
  | readonly ['remove-cgroup', directory: string];
