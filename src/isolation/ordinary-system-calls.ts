/** The words of several lines. */
export function words(...lines: readonly string[]): string[] {
  return lines.join(' ').split(' ');
}

/**
 * The system calls that ordinary programs make, by subject, those of 32-bit programs among them. None of them
 * needs a capability for what makes it ordinary. What `clone`, `clone3`, `personality` and `socket` do depends
 * on their arguments: they are elsewhere.
 */
export const ORDINARY_CALLS: readonly string[] = words(
  // Files and directories by name.
  'access chdir chmod chown chown32 creat faccessat faccessat2 fchmodat fchmodat2 fchownat',
  'file_getattr file_setattr fstatat64 futimesat getcwd lchown lchown32 link linkat lstat lstat64 mkdir mkdirat',
  'mknod mknodat newfstatat oldlstat oldstat open openat openat2 readlink readlinkat rename renameat renameat2',
  'rmdir stat stat64 statfs statfs64 statx symlink symlinkat truncate truncate64 umask unlink unlinkat utime',
  'utimensat utimensat_time64 utimes',
  // Open files.
  '_llseek cachestat close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 fallocate fchdir',
  'fchmod fchown fchown32 fcntl fcntl64 fdatasync flock fstat fstat64 fstatfs fstatfs64 fsync ftruncate',
  'ftruncate64 getdents getdents64 ioctl lseek oldfstat pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev',
  'pwritev2 read readahead readdir readv sendfile sendfile64 splice sync sync_file_range sync_file_range2 syncfs',
  'tee vmsplice write writev',
  // Extended attributes.
  'fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr',
  'lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat',
  // Waiting for files, and for what happens to them.
  '_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait',
  'epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch',
  'io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit poll ppoll',
  'ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4',
  // Memory.
  'brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2',
  'mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages',
  // Processes and threads.
  'execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake',
  'get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid',
  'gettid ioprio_get ioprio_set kill nice pause pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease',
  'restart_syscall rseq sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr',
  'sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity',
  'sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list set_thread_area set_tid_address',
  'setpgid setpriority setrlimit setsid tgkill tkill ugetrlimit vfork wait4 waitid waitpid',
  // Signals.
  'rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait',
  'rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal sigpending sigprocmask sigreturn',
  'sigsuspend',
  // Users, groups, capabilities.
  'capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid',
  'getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32',
  'setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32',
  'setuid setuid32',
  // Restraints that programs lay upon themselves.
  'landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules',
  'lsm_set_self_attr seccomp',
  // Sockets but for their making.
  'accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64',
  'recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair',
  // Queues, semaphores, shared memory.
  'ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64',
  'mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt',
  'shmget',
  // Time.
  'alarm clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64',
  'getitimer gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime',
  'timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64',
  'timerfd_settime timerfd_settime64 times',
  // The machine.
  'getrandom oldolduname olduname sysinfo uname',
  // What only some architectures have.
  'arch_prctl arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush modify_ldt set_tls',
);
