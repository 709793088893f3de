import { ORDINARY_CALLS, words } from './ordinary-system-calls.ts';
import type { CallPolicy, CallRule } from './system-calls.ts';

/** Flags of clone(2) and unshare(2) that make a namespace, CLONE_NEWTIME apart, which clone does not know. */
const NAMESPACES = 0x7e02_0000;
/** CLONE_NEWTIME too. */
const UNSHARED = 0x7e02_0080;
/** An argument of the C type int. */
const INT = 0xffff_ffff;
/** personality(2): Linux, or a 32-bit kernel's answers of uname, with or without UNAME26; asking only. */
const PERSONALITIES = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/** socket(2): every address family but AF_VSOCK (40), which leads to the host past every namespace. */
const FAMILIES = [
  { mask: INT - 31, value: 0 },
  { mask: INT - 7, value: 32 },
  { mask: INT, value: 41 },
  { mask: INT - 1, value: 42 },
  { mask: INT - 3, value: 44 },
];

/** What the runtimes of today let every app do besides. */
const MORE_CALLS = words(
  'adjtimex clock_adjtime clock_adjtime64 listmount listns name_to_handle_at process_vm_readv',
  'process_vm_writev ptrace statmount',
);

/** What an app with one of these capabilities may call. The kernel checks the capability itself as well. */
const WITH_CAPABILITY: readonly (readonly [string, readonly string[]])[] = [
  ['CAP_BPF', ['bpf']],
  ['CAP_DAC_READ_SEARCH', ['open_by_handle_at']],
  ['CAP_PERFMON', ['perf_event_open']],
  [
    'CAP_SYS_ADMIN',
    words(
      'bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr',
      'move_mount open_tree open_tree_attr perf_event_open pivot_root quotactl quotactl_fd setdomainname',
      'sethostname setns syslog umount umount2 unshare',
    ),
  ],
  ['CAP_SYS_BOOT', ['reboot']],
  ['CAP_SYS_CHROOT', ['chroot']],
  ['CAP_SYS_MODULE', words('delete_module finit_module init_module')],
  [
    'CAP_SYS_NICE',
    words('get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node'),
  ],
  ['CAP_SYS_PACCT', ['acct']],
  ['CAP_SYS_PTRACE', words('kcmp pidfd_getfd process_madvise')],
  ['CAP_SYS_RAWIO', words('ioperm iopl pciconfig_iobase pciconfig_read pciconfig_write')],
  ['CAP_SYS_TIME', words('clock_settime clock_settime64 settimeofday stime')],
  ['CAP_SYS_TTY_CONFIG', ['vhangup']],
  ['CAP_SYSLOG', ['syslog']],
];

/**
 * `@gantry/default-whitelist`: what an app may call when neither its image nor the operator says anything
 * (specs/system-calls.md, "The default"). Of calls that are refused most return EPERM; those from after this list
 * ENOSYS, so that libraries do without.
 */
export function defaultCalls(capabilities: readonly string[]): CallPolicy {
  const granted = WITH_CAPABILITY.filter(([name]) => capabilities.includes(name));
  const calls = [...ORDINARY_CALLS, ...MORE_CALLS, ...granted.flatMap(([, names]) => names)];
  return {
    otherwise: 'EPERM',
    newer: 'ENOSYS',
    rules: [
      { action: 'allow', calls: [...new Set(calls)] },
      ...PERSONALITIES.map((value) => allowed('personality', INT, value)),
      ...FAMILIES.map(({ mask, value }) => allowed('socket', mask, value)),
      ...(capabilities.includes('CAP_SYS_ADMIN') ? [] : withoutNamespaces()),
    ],
  };
}

/** clone3 has its flags in memory, where no filter sees them; without it libraries use clone. */
function withoutNamespaces(): CallRule[] {
  return [
    allowed('clone', NAMESPACES, 0),
    allowed('unshare', UNSHARED, 0),
    { action: 'ENOSYS', calls: ['clone3'] },
  ];
}

/** A call whose first argument has these bits under this mask. */
function allowed(call: string, mask: number, value: number): CallRule {
  return { action: 'allow', calls: [call], when: { argument: 0, mask, value } };
}
