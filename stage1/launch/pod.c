#include "pod.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
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

/* `/proc/PID/REST` */
static void proc_path(struct text *t, pid_t pid, const char *rest)
{
	text_add(t, "/proc/");
	text_number(t, pid, 0, ' ');
	text_add(t, "/");
	text_add(t, rest);
}

/* Whether descriptor `name` of /proc/PID/fd is the pod directory, and holds its lock. */
static _Bool is_lock(pid_t pid, int descriptors, const char *name, const struct stat *directory)
{
	char path[64], content[2048];
	struct text t = TEXT_IN(path);
	struct stat st;
	if (fstatat(descriptors, name, &st, 0) < 0 || st.st_ino != directory->st_ino || st.st_dev != directory->st_dev)
		return 0;
	proc_path(&t, pid, "fdinfo/");
	text_add(&t, name);
	return read_small(path, content, sizeof content) > 0 && strstr(content, "FLOCK") != NULL;
}

static _Bool holds_lock(pid_t pid)
{
	char path[64];
	struct text t = TEXT_IN(path);
	struct stat directory;
	_Bool held = 0;
	proc_path(&t, pid, "fd");
	DIR *descriptors = stat(".", &directory) == 0 ? opendir(path) : NULL;
	if (descriptors == NULL)
		return 0;
	for (const struct dirent *entry; !held && (entry = readdir(descriptors)) != NULL;)
		if (entry->d_name[0] != '.')
			held = is_lock(pid, dirfd(descriptors), entry->d_name, &directory);
	closedir(descriptors);
	return held;
}

/* The last number of the line of /proc/PID/status that begins with `field`; -1 when unknown. */
static pid_t status_number(pid_t pid, const char *field)
{
	char path[64], content[4096];
	struct text t = TEXT_IN(path);
	proc_path(&t, pid, "status");
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
	    status_number(pod->init_pid, "\nPPid:") == supervisor && signal_pidfd(pod->supervisor, 0) == 0 &&
	    signal_pidfd(pod->init, 0) == 0)
		return 0;
	if (pod->supervisor >= 0)
		close(pod->supervisor);
	if (pod->init >= 0)
		close(pod->init);
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

int find_app(const struct running_pod *pod, pid_t pid)
{
	char path[96], content[4096];
	struct text t = TEXT_IN(path);
	proc_path(&t, pod->init_pid, "task/");
	text_number(&t, pod->init_pid, 0, ' ');
	text_add(&t, "/children");
	if (read_small(path, content, sizeof content) <= 0)
		return -1;
	for (char *at = content, *rest; *at != '\0'; at = rest) {
		pid_t candidate = (pid_t)strtol(at, &rest, 10);
		if (rest == at)
			break;
		int pidfd = check_app(pod, candidate, pid);
		if (pidfd >= 0)
			return pidfd;
	}
	return -1;
}
