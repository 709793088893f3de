/* Starting processes in namespaces and control groups, what the kernel says of them, and keeping the launcher's file out of reach. */
#ifndef GANTRY_PROCESS_H
#define GANTRY_PROCESS_H

#include <sys/types.h>

#include "text.h"

/* Like fork, with CLONE_NEW… `namespaces`; *pidfd receives the child's. `cgroup` is the descriptor of a
 * cgroup v2 directory the child is born in, or -1. Linux 5.7. */
pid_t clone_process(unsigned long long namespaces, int *pidfd, int cgroup);
/* `/proc/PID/REST`: its path, and opened with these flags and close-on-exec, or -1 with errno. */
void process_path(struct text *t, pid_t pid, const char *rest);
int open_process_file(pid_t pid, const char *rest, int flags);
int open_pidfd(pid_t pid);
/* 0 when sent. */
int signal_pidfd(int pidfd, int number);
/* Exit code as a shell has it: 128+n when a signal ended it. *by_signal is that n, or 0. */
int wait_pidfd(int pidfd, int *by_signal);

/* Sets right what a caller may have left amiss: opens /dev/null in the place of each standard stream that came
 * closed (what is opened later would take its number, and be an app's), and takes SIGCHLD back, without
 * which ended children are never told of. */
void mend_inheritance(void);

/* Gives up the session keyring of whoever started this process, whose keys its root may read, for a new
 * one. */
int leave_keyring(void);

/* Executes this program again from a read-only view of its own file, unless it already runs from one,
 * so that nothing inside a pod can write to it through /proc/PID/exe (CVE-2019-5736). */
void run_sealed(char **argv);

#endif
