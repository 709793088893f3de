import { ORDINARY_CALLS, words } from './ordinary-system-calls.ts';

/**
 * What the default whitelists of rkt 1.30 and the docker of its time held, and what the C libraries of today
 * call in place of that: without, no program of today would start.
 */
const WHITELIST: readonly string[] = [
  ...ORDINARY_CALLS,
  ...words('chroot clone clone3 personality socket syslog'),
];

/** Their blacklists, and the calls that have come since to do the same. */
const BLACKLIST: readonly string[] = words(
  // The clock.
  'adjtimex clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday stime',
  // The kernel: its code, its tracing, its end.
  'bpf create_module delete_module finit_module get_kernel_syms init_module kexec_file_load kexec_load',
  'lookup_dcookie perf_event_open query_module reboot userfaultfd',
  // Mounts and namespaces.
  'fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr pivot_root setns',
  'umount umount2 unshare',
  // Files past their names, quotas, accounting, swap.
  'acct name_to_handle_at nfsservctl open_by_handle_at quotactl quotactl_fd swapoff swapon',
  // Keys, which belong to no namespace.
  'add_key keyctl request_key',
  // Memory of other processes, and where it lies.
  'get_mempolicy kcmp mbind migrate_pages move_pages pidfd_getfd process_madvise process_vm_readv',
  'process_vm_writev ptrace set_mempolicy set_mempolicy_home_node',
  // Input and output past the kernel.
  'ioperm iopl',
  // What nobody should need any more.
  '_sysctl sysfs uselib ustat vm86 vm86old',
);

/** The groups of systemd.exec(5), SystemCallFilter=; one may name others. */
const SYSTEMD: Readonly<Record<string, readonly string[]>> = {
  aio: words(
    'io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit io_uring_enter',
    'io_uring_register io_uring_setup',
  ),
  'basic-io': words(
    '_llseek close close_range dup dup2 dup3 lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readv',
    'write writev',
  ),
  chown: words('chown chown32 fchown fchown32 fchownat lchown lchown32'),
  clock: words('adjtimex clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday'),
  'cpu-emulation': words('modify_ldt subpage_prot switch_endian vm86 vm86old'),
  debug: words(
    'lookup_dcookie perf_event_open pidfd_getfd ptrace rtas s390_runtime_instr sys_debug_setcontext',
  ),
  default: words(
    // What keeps a process and its threads going.
    'arch_prctl brk cacheflush execve exit exit_group futex futex_requeue futex_time64 futex_wait futex_waitv',
    'futex_wake get_robust_list get_thread_area getrandom map_shadow_stack membarrier mmap mmap2 mprotect mseal munmap',
    'restart_syscall riscv_flush_icache rseq rt_sigreturn sched_getaffinity sched_yield set_robust_list',
    'set_thread_area set_tid_address set_tls sigreturn',
    // Who it is.
    'getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid',
    'getresgid getresgid32 getresuid getresuid32 getrlimit getsid gettid getuid getuid32 prlimit64 ugetrlimit',
    // What time it is, and sleeping.
    'clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64',
    'gettimeofday nanosleep pause time',
  ),
  'file-system': words(
    'access chdir chmod close creat faccessat faccessat2 fallocate fchdir fchmod fchmodat fchmodat2 fcntl',
    'fcntl64 fgetxattr file_getattr file_setattr flistxattr fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 ftruncate ftruncate64',
    'futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch',
    'lgetxattr link linkat listmount listxattr listxattrat llistxattr lremovexattr lsetxattr lstat lstat64 mkdir mkdirat mknod',
    'mknodat newfstatat oldfstat oldlstat oldstat open openat openat2 readlink readlinkat removexattr removexattrat',
    'rename renameat renameat2 rmdir setxattr setxattrat stat stat64 statfs statfs64 statmount statx symlink symlinkat',
    'truncate truncate64 unlink unlinkat utime utimensat utimensat_time64 utimes',
  ),
  'io-event': words(
    '_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait',
    'epoll_wait_old eventfd eventfd2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select',
  ),
  ipc: words(
    'ipc memfd_create mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend',
    'mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 process_madvise process_vm_readv',
    'process_vm_writev semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget',
  ),
  keyring: words('add_key keyctl request_key'),
  memlock: words('mlock mlock2 mlockall munlock munlockall'),
  module: words('delete_module finit_module init_module'),
  mount: words(
    'chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr pivot_root',
    'umount umount2',
  ),
  'network-io': words(
    'accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg',
    'recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socket socketcall socketpair',
  ),
  obsolete: words(
    '_sysctl afs_syscall bdflush break create_module ftime get_kernel_syms getpmsg gtty idle lock mpx prof',
    'profil putpmsg query_module security sgetmask ssetmask stime stty sysfs tuxcall ulimit uselib ustat vserver',
  ),
  pkey: words('pkey_alloc pkey_free pkey_mprotect'),
  privileged: words(
    '@chown @clock @module @raw-io @reboot @swap _sysctl acct bpf capset chroot fanotify_init fanotify_mark',
    'nfsservctl open_by_handle_at pivot_root quotactl quotactl_fd setdomainname setfsuid setfsuid32 setgroups',
    'setgroups32 sethostname setresuid setresuid32 setreuid setreuid32 setuid setuid32 vhangup',
  ),
  process: words(
    'capget clone clone3 execveat fork getrusage kill pidfd_open pidfd_send_signal prctl rt_sigqueueinfo',
    'rt_tgsigqueueinfo setns swapcontext tgkill times tkill unshare vfork wait4 waitid waitpid',
  ),
  'raw-io': words(
    'ioperm iopl pciconfig_iobase pciconfig_read pciconfig_write s390_pci_mmio_read s390_pci_mmio_write',
  ),
  reboot: words('kexec_file_load kexec_load reboot'),
  resources: words(
    'ioprio_set mbind migrate_pages move_pages nice sched_setaffinity sched_setattr sched_setparam',
    'sched_setscheduler set_mempolicy set_mempolicy_home_node setpriority setrlimit',
  ),
  sandbox: words(
    'landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules lsm_set_self_attr seccomp',
  ),
  setuid: words(
    'setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32',
    'setreuid setreuid32 setuid setuid32',
  ),
  signal: words(
    'rt_sigaction rt_sigpending rt_sigprocmask rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 sigaction',
    'sigaltstack signal signalfd signalfd4 sigpending sigprocmask sigsuspend',
  ),
  swap: words('swapoff swapon'),
  sync: words('fdatasync fsync msync sync sync_file_range sync_file_range2 syncfs'),
  'system-service': words(
    '@aio @basic-io @chown @default @file-system @io-event @ipc @keyring @memlock @network-io @process @resources',
    '@setuid @signal @sync @timer arm_fadvise64_64 cachestat capset copy_file_range fadvise64 fadvise64_64 flock',
    'get_mempolicy getcpu getpriority ioctl ioprio_get kcmp madvise mremap name_to_handle_at oldolduname olduname',
    'personality readahead readdir remap_file_pages sched_get_priority_max sched_get_priority_min sched_getattr',
    'sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sendfile sendfile64',
    'setfsgid setfsgid32 setfsuid setfsuid32 setpgid setsid splice sysinfo tee umask uname userfaultfd vmsplice',
  ),
  timer: words(
    'alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64',
    'timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime',
    'timerfd_settime64 times',
  ),
};

/** The calls of sets that have no meaning of their own, by the name behind `@`. */
const SETS: ReadonlyMap<string, readonly string[]> = new Map([
  ['docker/default-blacklist', BLACKLIST],
  ['docker/default-whitelist', WHITELIST],
  ['rkt/default-blacklist', BLACKLIST],
  ['rkt/default-whitelist', WHITELIST],
  ['systemd/default-whitelist', ['@default']],
  ...Object.entries(SYSTEMD).map(([name, calls]) => [`systemd/${name}`, calls] as const),
]);

/** The names of all sets that stand for calls, as they are typed. */
export const SET_NAMES: readonly string[] = [...SETS.keys()].map((name) => `@${name}`);

/** The calls of a set such as `@systemd/mount`; undefined when there is none of that name. */
export function callsOfSet(name: string): string[] | undefined {
  return SETS.get(name.slice(1))?.flatMap((item) =>
    item.startsWith('@') ? (callsOfSet(`@systemd/${item.slice(1)}`) ?? []) : [item],
  );
}
