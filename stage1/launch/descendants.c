#include "descendants.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "process.h"
#include "read.h"
#include "text.h"

/* Deeper ones come up as their parents end. */
#define DEEPEST 16

/* Of the host: what a pod mounts over it, or takes away, changes nothing for who looks here. */
static int proc = -1;

/* `PID/REST` */
static void add_path(struct text *t, pid_t pid, const char *rest)
{
	text_number(t, pid, 0, ' ');
	text_add(t, "/");
	text_add(t, rest);
}

/* The parent of a process (proc_pid_stat(5), field 4), whose name before may hold anything; -1 when it
 * is gone. */
static pid_t parent_of(pid_t pid)
{
	char path[32], content[512];
	struct text t = TEXT_IN(path);
	add_path(&t, pid, "stat");
	if (read_small_at(proc, path, content, sizeof content) <= 0)
		return -1;
	const char *end = strrchr(content, ')');
	return end != NULL && strlen(end) > 4 ? (pid_t)strtol(end + 4, NULL, 10) : -1;
}

static void kill_below(pid_t parent, int held, int depth);

/* `held`: the pidfd of `parent`, negative for this process itself. */
static void kill_child(pid_t child, pid_t parent, int held, int depth)
{
	int pidfd = open_pidfd(child);
	/* While its pidfd names a living process, the number is that process's: what /proc said is of it. */
	if (pidfd >= 0 && parent_of(child) == parent && (held < 0 || signal_pidfd(held, 0) == 0) &&
	    signal_pidfd(pidfd, SIGSTOP) == 0) {
		/* Stopped it has no more children, and those it has stay its own until they have been found. */
		if (depth < DEEPEST)
			kill_below(child, pidfd, depth + 1);
		signal_pidfd(pidfd, SIGKILL);
	}
	if (pidfd >= 0)
		close(pidfd);
}

/* The children of one thread of `parent`, as many as fit: the others' turn comes. */
static void kill_children(int tasks, const char *thread, pid_t parent, int held, int depth)
{
	char path[32], content[2048];
	struct text t = TEXT_IN(path);
	text_add(&t, thread);
	text_add(&t, "/children");
	ssize_t length = read_small_at(tasks, path, content, sizeof content);
	/* The last number may have been cut. */
	while (length > 0 && content[length - 1] != ' ')
		content[--length] = '\0';
	if (length <= 0)
		return;
	for (char *at = content, *rest; *at != '\0'; at = rest) {
		pid_t child = (pid_t)strtol(at, &rest, 10);
		if (rest == at)
			break;
		if (child > 1)
			kill_child(child, parent, held, depth);
	}
}

static void kill_below(pid_t parent, int held, int depth)
{
	char path[32];
	struct text t = TEXT_IN(path);
	add_path(&t, parent, "task");
	int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *tasks = fd >= 0 ? fdopendir(fd) : NULL;
	if (tasks == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;)
		if (entry->d_name[0] != '.')
			kill_children(dirfd(tasks), entry->d_name, parent, held, depth);
	closedir(tasks);
}

int adopt_descendants(void)
{
	char path[64], content[64];
	struct text t = TEXT_IN(path);
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return -1;
	add_path(&t, getpid(), "task/");
	text_number(&t, getpid(), 0, ' ');
	text_add(&t, "/children");
	/* Asked first: a kernel without these files could never tell that none is left. */
	ssize_t length = read_small_at(proc, path, content, sizeof content);
	if (length != 0)
		return length < 0 ? -1 : 0;
	return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -1 : 1;
}

void kill_descendants(void)
{
	kill_below(getpid(), -1, 0);
}

void end_descendants(void)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	for (;;) {
		pid_t ended;
		_Bool any = 0;
		kill_descendants();
		while ((ended = waitpid(-1, NULL, WNOHANG)) > 0)
			any = 1;
		if (ended < 0 && errno == ECHILD)
			return;
		/* Killed ones take a moment, and what they leave behind comes here only then. */
		if (!any)
			nanosleep(&pause, NULL);
	}
}
