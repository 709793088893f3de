#include "remains.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mount.h"
#include "process.h"
#include "text.h"

int open_processes(void)
{
	return detached_mount("proc");
}

/* `NAME/FILE` of the view. */
static int open_of(int processes, const char *name, const char *file)
{
	char path[64];
	struct text t = TEXT_IN(path);
	text_add(&t, name);
	text_add(&t, "/");
	text_add(&t, file);
	return openat(processes, path, O_RDONLY | O_CLOEXEC);
}

/* The number of the process's mount namespace; 0 for one that has left it. */
static ino_t mounts_named(int processes, const char *name)
{
	struct stat st;
	int fd = open_of(processes, name, "ns/mnt");
	ino_t number = fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
	if (fd >= 0)
		close(fd);
	return number;
}

int open_own_mounts(int processes)
{
	return open_of(processes, "self", "ns/mnt");
}

_Bool are_other_mounts(int processes, int mounts)
{
	struct stat st;
	return fstat(mounts, &st) == 0 && st.st_ino != mounts_named(processes, "self");
}

/* Whether it is on its way out, and may take mounts along: one that only waits to be reaped has left them for
 * good (proc_pid_stat(5), field 3). */
static _Bool is_ending(int processes, const char *name)
{
	char content[512];
	int fd = open_of(processes, name, "stat");
	ssize_t n = fd >= 0 ? read(fd, content, sizeof content - 1) : -1;
	if (fd >= 0)
		close(fd);
	content[n > 0 ? n : 0] = '\0';
	const char *state = strrchr(content, ')');
	return state != NULL && strncmp(state, ") Z", 3) != 0 && strncmp(state, ") X", 3) != 0;
}

/* Held by a pidfd while it is looked at, so that the one that is killed is the one that was seen. */
static _Bool kill_if_in(int processes, const char *name, pid_t pid, ino_t mounts)
{
	int pidfd = open_pidfd(pid);
	if (pidfd < 0)
		return 0;
	ino_t its = mounts_named(processes, name);
	_Bool counts = its == mounts || (its == 0 && is_ending(processes, name));
	if (its == mounts)
		signal_pidfd(pidfd, SIGKILL);
	close(pidfd);
	return counts;
}

/* Kills every process in mount namespace `mounts`. How many are still there; of those that are on their way out
 * it is not known whose they are, and they count. */
static size_t kill_in(int processes, ino_t mounts)
{
	size_t living = 0;
	unsigned long long pid;
	int fd = openat(processes, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	if (directory == NULL) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (parse_number(entry->d_name, 10, 1 << 30, &pid) && pid > 1 && (pid_t)pid != getpid())
			living += kill_if_in(processes, entry->d_name, (pid_t)pid, mounts);
	closedir(directory);
	return living;
}

static void kill_remains(int processes, int mounts)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	struct stat st;
	if (fstat(mounts, &st) < 0)
		return;
	while (kill_in(processes, st.st_ino) > 0)
		nanosleep(&pause, NULL);
}

pid_t bury_remains(int processes, int mounts)
{
	pid_t pid = fork();
	if (pid > 0)
		return pid;
	kill_remains(processes, mounts);
	if (pid == 0)
		_exit(0);
	return -1;
}
