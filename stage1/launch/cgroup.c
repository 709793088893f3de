#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "read.h"
#include "text.h"

static int tell(const struct step *step)
{
	complain(word_name(step->word), " ", step->argv[0], ": ", error_text(errno));
	return -1;
}

int make_cgroups(const struct section *supervisor)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		const struct step *step = &supervisor->steps[i];
		if (step->word == WORD_MAKE_CGROUP && mkdir(step->argv[0], 0755) < 0 && errno != EEXIST)
			return tell(step);
	}
	return 0;
}

static _Bool is_v2(int directory)
{
	struct statfs fs;
	return fstatfs(directory, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

int open_birth_cgroup(const struct section *supervisor)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		const struct step *step = &supervisor->steps[i];
		if (step->word != WORD_JOIN_CGROUP)
			continue;
		int directory = open(step->argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (directory >= 0 && is_v2(directory))
			return directory;
		if (directory >= 0)
			close(directory);
	}
	return -1;
}

/* The path of the process's group in the v2 hierarchy, without the slash it begins with; NULL when unknown. */
static const char *group_of(pid_t pid, char *content, size_t size)
{
	char path[64];
	struct text t = TEXT_IN(path);
	text_add(&t, "/proc/");
	text_number(&t, pid, 0, ' ');
	text_add(&t, "/cgroup");
	if (read_small(path, content, size) <= 0)
		return NULL;
	char *group = content;
	if (strncmp(content, "0::/", 4) != 0 && (group = strstr(content, "\n0::/")) != NULL)
		group++;
	char *end = group != NULL ? strchr(group, '\n') : NULL;
	if (end == NULL)
		return NULL;
	*end = '\0';
	group += strlen("0::/");
	return strncmp(group, "..", 2) == 0 ? NULL : group; /* it lies outside of what this process sees */
}

int open_cgroup_of(pid_t pid)
{
	/* Where systemd has it, and a host without systemd as well. */
	static const char *const hierarchies[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	char content[4096];
	const char *group = group_of(pid, content, sizeof content);
	int found = -1;
	for (size_t i = 0; group != NULL && found < 0 && i < sizeof hierarchies / sizeof *hierarchies; i++) {
		int top = open(hierarchies[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (top >= 0 && is_v2(top))
			found = openat(top, *group != '\0' ? group : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (top >= 0)
			close(top);
	}
	return found;
}

static int join(int directory)
{
	int procs = openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (procs < 0)
		return -1;
	ssize_t n = write(procs, "0", 1);
	int number = errno;
	close(procs);
	errno = number;
	return n == 1 ? 0 : -1;
}

int join_cgroups(const struct section *supervisor, _Bool born_inside)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		const struct step *step = &supervisor->steps[i];
		if (step->word != WORD_JOIN_CGROUP)
			continue;
		int directory = open(step->argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (directory < 0)
			return tell(step);
		if (born_inside && is_v2(directory))
			born_inside = 0; /* that was this one */
		else if (join(directory) < 0)
			return tell(step);
		close(directory);
	}
	return 0;
}

/* Removes a group and those below it, which apps may have made. */
static int remove_tree(int parent, const char *name, int depth)
{
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	int number = errno;
	int fd = depth > 0 ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	if (directory == NULL) {
		if (fd >= 0)
			close(fd);
		errno = number;
		return -1;
	}
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			remove_tree(dirfd(directory), entry->d_name, depth - 1);
	closedir(directory);
	return unlinkat(parent, name, AT_REMOVEDIR);
}

/* Whatever is left in a group that is to be removed, and in those below it (cgroup v2, Linux 5.14). */
static void kill_members(const char *path)
{
	int group = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int order = group >= 0 ? openat(group, "cgroup.kill", O_WRONLY | O_CLOEXEC) : -1;
	/* Older kernels: the group stays as long as somebody is in it, which is told. */
	if (order >= 0 && write(order, "1", 1) < 0)
		complain("cgroup.kill of ", path, ": ", error_text(errno));
	if (order >= 0)
		close(order);
	if (group >= 0)
		close(group);
}

int remove_cgroups(const struct section *teardown)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	int status = 0;
	for (size_t i = 0; i < teardown->count; i++) {
		const struct step *step = &teardown->steps[i];
		int tries = 500, removed = remove_tree(AT_FDCWD, step->argv[0], 16);
		if (removed < 0 && errno == EBUSY)
			kill_members(step->argv[0]);
		/* Processes leave their group a moment after they have been waited for. */
		while ((removed = remove_tree(AT_FDCWD, step->argv[0], 16)) < 0 && errno == EBUSY && tries-- > 0)
			nanosleep(&pause, NULL);
		if (removed < 0)
			status = tell(step);
	}
	return status;
}
