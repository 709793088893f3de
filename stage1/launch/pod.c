#include "pod.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "process.h"
#include "read.h"
#include "text.h"

_Bool pod_is_locked(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	_Bool locked = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return locked;
}

/* Whether descriptor `name` of /proc/PID/fd is the pod directory, and holds its exclusive lock: those who look
 * at the state of a pod hold a shared one for a moment. */
static _Bool is_lock(pid_t pid, int descriptors, const char *name, const struct stat *directory)
{
	char path[64], content[2048];
	struct text t = TEXT_IN(path);
	struct statx st;
	process_path(&t, pid, "fdinfo/");
	text_add(&t, name);
	if (read_small(path, content, sizeof content) <= 0 || strstr(content, "FLOCK  ADVISORY  WRITE") == NULL)
		return 0;
	/* What the kernel knows already: any process may have a file open whose file system (FUSE) never answers. */
	return statx(descriptors, name, AT_STATX_DONT_SYNC, STATX_INO, &st) == 0 && st.stx_ino == directory->st_ino &&
	       makedev(st.stx_dev_major, st.stx_dev_minor) == directory->st_dev;
}

static _Bool holds_lock(pid_t pid)
{
	char path[64];
	struct text t = TEXT_IN(path);
	struct stat directory;
	_Bool held = 0;
	process_path(&t, pid, "fd");
	DIR *descriptors = stat(".", &directory) == 0 ? opendir(path) : NULL;
	if (descriptors == NULL)
		return 0;
	for (const struct dirent *entry; !held && (entry = readdir(descriptors)) != NULL;)
		if (entry->d_name[0] != '.')
			held = is_lock(pid, dirfd(descriptors), entry->d_name, &directory);
	closedir(descriptors);
	return held;
}

int kill_lock_holders(void)
{
	int killed = 0;
	DIR *processes = opendir("/proc");
	if (processes == NULL)
		return 0;
	for (const struct dirent *entry; (entry = readdir(processes)) != NULL;) {
		unsigned long long pid;
		if (!parse_number(entry->d_name, 10, INT_MAX, &pid) || pid <= 1 || (pid_t)pid == getpid())
			continue;
		/* Held first, so that it is the one looked at which is killed. */
		int pidfd = open_pidfd((pid_t)pid);
		if (pidfd < 0)
			continue;
		if (holds_lock((pid_t)pid) && signal_pidfd(pidfd, SIGKILL) == 0)
			killed++;
		close(pidfd);
	}
	closedir(processes);
	return killed;
}

/* As long as what /proc says of a process can become: an app may have 65536 groups, and init any number of
 * children that apps have left to it. */
#define LONGEST_LIST (1 << 20)

/* The last number of the line of /proc/PID/status that begins with `field`; -1 when unknown. */
static pid_t status_number(pid_t pid, const char *field)
{
	static char content[LONGEST_LIST];
	char path[64];
	struct text t = TEXT_IN(path);
	process_path(&t, pid, "status");
	if (read_small(path, content, sizeof content) <= 0)
		return -1;
	char *line = strstr(content, field);
	if (line == NULL)
		return -1;
	line++; /* past the line break that `field` begins with */
	line[strcspn(line, "\n")] = '\0';
	const char *number = strrchr(line, '\t');
	return number != NULL ? (pid_t)strtol(number, NULL, 10) : -1;
}

/* Whether the supervisor is at most three generations before init: between them may be what init lives in. */
static _Bool descends(pid_t init, pid_t supervisor)
{
	pid_t parent = init;
	for (int generation = 0; generation < 3; generation++) {
		parent = status_number(parent, "\nPPid:");
		if (parent == supervisor)
			return 1;
		if (parent <= 1)
			return 0;
	}
	return 0;
}

int find_pod(struct running_pod *pod)
{
	char content[64], *rest;
	if (read_small("pid", content, sizeof content) <= 0)
		return -1;
	pid_t supervisor = (pid_t)strtol(content, &rest, 10);
	pod->init_pid = (pid_t)strtol(rest, NULL, 10);
	if (supervisor <= 1 || pod->init_pid <= 1)
		return -1;
	pod->supervisor = open_pidfd(supervisor);
	pod->init = open_pidfd(pod->init_pid);
	/* Checked while held: what /proc says is of the process the pidfd holds if that still lives after. */
	if (pod->supervisor >= 0 && pod->init >= 0 && holds_lock(supervisor) &&
	    descends(pod->init_pid, supervisor) && signal_pidfd(pod->supervisor, 0) == 0 &&
	    signal_pidfd(pod->init, 0) == 0)
		return 0;
	if (pod->supervisor >= 0)
		close(pod->supervisor);
	if (pod->init >= 0)
		close(pod->init);
	return -1;
}

int require_pod(struct running_pod *pod)
{
	if (find_pod(pod) == 0)
		return 0;
	complain("the pod: ", pod_is_locked(".") ? "its processes cannot be found by its file pid: gantry status shows its state" :
						   "is not running");
	return -1;
}

/* A pidfd of `candidate`, if that is init's child with PID `pid` in the pod. */
static int check_app(const struct running_pod *pod, pid_t candidate, pid_t pid)
{
	int pidfd = open_pidfd(candidate);
	if (pidfd < 0)
		return -1;
	if (status_number(candidate, "\nPPid:") == pod->init_pid && status_number(candidate, "\nNSpid:") == pid &&
	    signal_pidfd(pidfd, 0) == 0 && signal_pidfd(pod->init, 0) == 0)
		return pidfd;
	close(pidfd);
	return -1;
}

int find_app(const struct running_pod *pod, pid_t pid, pid_t *seen)
{
	static char content[LONGEST_LIST];
	char path[96];
	struct text t = TEXT_IN(path);
	process_path(&t, pod->init_pid, "task/");
	text_number(&t, pod->init_pid, 0, ' ');
	text_add(&t, "/children");
	if (read_small(path, content, sizeof content) <= 0)
		return -1;
	for (char *at = content, *rest; *at != '\0'; at = rest) {
		pid_t candidate = (pid_t)strtol(at, &rest, 10);
		if (rest == at)
			break;
		int pidfd = check_app(pod, candidate, pid);
		*seen = candidate;
		if (pidfd >= 0)
			return pidfd;
	}
	return -1;
}

pid_t running_app(const char *app)
{
	char path[192], content[256];
	struct text t = TEXT_IN(path);
	text_add(&t, "apps/");
	text_add(&t, app);
	text_add(&t, "/state");
	if (read_small(path, content, sizeof content) <= 0 || strncmp(content, "pid=", 4) != 0 ||
	    strstr(content, "\nexit=") != NULL)
		return -1;
	return (pid_t)strtol(content + 4, NULL, 10);
}
