#include "kernel-file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "users.h"

/* Opens a file below /proc, and no other: what an image or a volume has put in its way would be told in the kernel's
 * stead, and the process go on without (CVE-2019-16884, CVE-2019-19921). */
static int open_kernel_file(const char *path, unsigned long long resolve)
{
	struct open_how how = {.flags = O_WRONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | resolve};
	struct statfs fs;
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int file = proc >= 0 ? (int)syscall(SYS_openat2, proc, path, &how, sizeof how) : -1;
	int status = file >= 0 ? file : -errno;
	if (proc >= 0)
		close(proc);
	if (file >= 0 && (fstatfs(file, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)) {
		close(file);
		return -EINVAL;
	}
	return status;
}

/* Closes the file. */
static int write_content(int file, const char *content)
{
	if (file < 0)
		return file;
	ssize_t n = write(file, content, strlen(content));
	int status = n < 0 ? -errno : (size_t)n == strlen(content) ? 0 : -EIO;
	close(file);
	return status;
}

/* By the number, not by /proc/self, which is a symbolic link. */
static int open_own(const char *name)
{
	char path[64];
	struct text t = TEXT_IN(path);
	text_number(&t, getpid(), 0, ' ');
	text_add(&t, "/");
	text_add(&t, name);
	return open_kernel_file(path, RESOLVE_NO_XDEV);
}

static int set_sysctl(const struct step *step)
{
	char path[PATH_MAX];
	struct text t = TEXT_IN(path);
	text_add(&t, "sys/");
	text_add(&t, step->argv[0]);
	/* Where this process is in a container, /proc/sys may be a mount of its own. */
	return write_content(open_kernel_file(path, 0), step->argv[1]);
}

/* By a process of its own: there is no way back from becoming root. */
static int set_sysctl_as_root(struct launch *launch, const struct step *step)
{
	int state;
	pid_t pid = fork();
	if (pid == 0) {
		int status = perform_become_root(launch, step);
		_exit(-(status == 0 ? set_sysctl(step) : status));
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &state, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(state) ? -WEXITSTATUS(state) : -EIO;
}

/* Those of System V IPC and of queues are for root of the pod since Linux 6.9, and were for the host's before, which
 * init of a pod with users of its own still is. */
int perform_sysctl(struct launch *launch, const struct step *step)
{
	int status = set_sysctl(step);
	return status == -EACCES && geteuid() != 0 ? set_sysctl_as_root(launch, step) : status;
}

int perform_oom_score(struct launch *launch, const struct step *step)
{
	int file = open_own("oom_score_adj");
	if (file == -EACCES) {
		/* In a user namespace it is the host's root's, as all of a process is that nobody may look into. */
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		file = open_own("oom_score_adj");
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	}
	if (file < 0)
		return file;
	int status = write_content(file, step->argv[0]);
	if (status != -EACCES && status != -EPERM)
		return status;
	do_without(launch, step, "this host does not let it be lowered (CAP_SYS_RESOURCE), and it stays as it is");
	return 0;
}

static int label_apparmor(const char *profile)
{
	char command[PATH_MAX];
	struct text t = TEXT_IN(command);
	text_add(&t, "exec ");
	text_add(&t, profile);
	int file = open_own("attr/apparmor/exec");
	return write_content(file == -ENOENT ? open_own("attr/exec") : file, command); /* before Linux 5.8 */
}

int perform_label(struct launch *launch, const struct step *step)
{
	(void)launch;
	if (strcmp(step->argv[0], "apparmor") == 0)
		return label_apparmor(step->argv[1]);
	return write_content(open_own("attr/exec"), step->argv[1]);
}
