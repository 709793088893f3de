#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "text.h"

extern char **environ;

pid_t clone_process(unsigned long long namespaces, int *pidfd, int cgroup)
{
	struct clone_args args = {
		/* Handlers are for the parent: in init they would run whenever an app signals PID 1. */
		.flags = namespaces | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0ULL),
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)(cgroup >= 0 ? cgroup : 0),
	};
	return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

void process_path(struct text *t, pid_t pid, const char *rest)
{
	text_add(t, "/proc/");
	text_number(t, pid, 0, ' ');
	text_add(t, "/");
	text_add(t, rest);
}

int open_process_file(pid_t pid, const char *rest, int flags)
{
	char path[64];
	struct text t = TEXT_IN(path);
	process_path(&t, pid, rest);
	return open(path, flags | O_CLOEXEC);
}

int open_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int signal_pidfd(int pidfd, int number)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}

int wait_pidfd(int pidfd, int *by_signal)
{
	siginfo_t info = {0};
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
	*by_signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
	return *by_signal == 0 ? info.si_status : 128 + *by_signal;
}

void mend_inheritance(void)
{
	int fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = open("/dev/null", O_RDWR);
	if (fd < 0)
		exit(254);
	close(fd);
	signal(SIGCHLD, SIG_DFL);
}

int leave_keyring(void)
{
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0)
		return 0;
	/* A kernel without keys, or Gantry itself in a container that may use none: nor may the apps. */
	return errno == ENOSYS || errno == EPERM ? 0 : -1;
}

void run_sealed(char **argv)
{
	struct statvfs fs;
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
	if (statvfs("/proc/self/exe", &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0)
		return;
	int tree = open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree >= 0 && mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0)
		syscall(SYS_execveat, tree, "", argv, environ, AT_EMPTY_PATH);
	complain("cannot seal the launcher (root and /proc are needed): ", error_text(errno));
	exit(254);
}
