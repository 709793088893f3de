#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "device-filter.h"
#include "process.h"
#include "read.h"
#include "text.h"

static int tell_number(const struct step *step, int number)
{
	char message[900];
	struct text t = TEXT_IN(message);
	describe_failure(&t, step, number);
	complain(message);
	return -1;
}

static int tell(const struct step *step)
{
	return tell_number(step, errno);
}

int perform_make_cgroup(struct launch *launch, const struct step *step)
{
	(void)launch;
	return mkdir(step->argv[0], 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* Opens a control file of a group for writing. */
static int open_control(const char *group, const char *file)
{
	int directory = open(group, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return -1;
	int control = openat(directory, file, O_WRONLY | O_NOFOLLOW | O_CLOEXEC), number = errno;
	close(directory);
	errno = number;
	return control;
}

int perform_set_cgroup(struct launch *launch, const struct step *step)
{
	(void)launch;
	_Bool optional = step->argc > 3;
	int control = open_control(step->argv[0], step->argv[1]);
	if (control < 0)
		return optional && errno == ENOENT ? 0 : -errno;
	/* The kernel takes each write as a whole, or refuses it. */
	int status = outcome(write(control, step->argv[2], strlen(step->argv[2])));
	close(control);
	return status;
}

/* By which the calling process, which has one thread, gets into a group. A v1 group has `tasks`, for threads: the kernel
 * moves one without a lock for which it waits out all processors, some ten milliseconds (cgroup_procs_write_start). */
static int open_way(const char *group)
{
	int way = open_control(group, "tasks");
	return way < 0 && errno == ENOENT ? open_control(group, "cgroup.procs") : way;
}

/* What counts when it is written to is who opened it: the app may be of other users than those of the host. */
int perform_open_cgroup(struct launch *launch, const struct step *step)
{
	int *slot = slot_of(launch, step);
	if (*slot >= 0)
		return -EBUSY;
	*slot = open_way(step->argv[1]);
	return outcome(*slot);
}

int perform_enter_cgroup(struct launch *launch, const struct step *step)
{
	int *slot = slot_of(launch, step);
	if (*slot < 0)
		return -EBADF;
	int status = outcome(write(*slot, "0", 1));
	close(*slot);
	*slot = -1;
	return status;
}

int make_cgroups(const struct section *supervisor)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		const struct step *step = &supervisor->steps[i];
		int status = 0;
		if (step->word == WORD_MAKE_CGROUP)
			status = perform_make_cgroup(NULL, step);
		else if (step->word == WORD_SET_CGROUP)
			status = perform_set_cgroup(NULL, step);
		else if (step->word == WORD_DEVICE_ACCESS)
			status = filter_devices(step);
		if (status < 0)
			return tell_number(step, -status);
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
	process_path(&t, pid, "cgroup");
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

static int join(const char *group)
{
	int way = open_way(group);
	if (way < 0)
		return -1;
	ssize_t n = write(way, "0", 1);
	int number = errno;
	close(way);
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
		else if (join(step->argv[0]) < 0)
			return tell(step);
		close(directory);
	}
	return 0;
}

int join_cgroups_of_v1(const struct section *supervisor)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		const struct step *step = &supervisor->steps[i];
		if (step->word != WORD_JOIN_CGROUP)
			continue;
		int directory = open(step->argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (directory < 0 && errno == ENOENT)
			continue; /* in a machine, where the groups of the host are out of sight */
		if (directory < 0 || (!is_v2(directory) && join(step->argv[0]) < 0))
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

/* The processes in a group, as lines; those that do not fit are there the next time. */
static size_t list_members(int group, char *content, size_t size)
{
	int procs = openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	ssize_t n = procs >= 0 ? read(procs, content + 1, size - 2) : -1;
	if (procs >= 0)
		close(procs);
	content[0] = '\n';
	content[n > 0 ? n + 1 : 1] = '\0';
	return n > 0 ? (size_t)n : 0;
}

/* Held by a pidfd while it is looked for once more, so that the one that is killed is the one that was listed. */
static void kill_member(int group, const char *number)
{
	char line[32] = "", again[4096];
	struct text t = TEXT_IN(line);
	unsigned long long pid;
	int pidfd = parse_number(number, 10, 1 << 30, &pid) ? open_pidfd((pid_t)pid) : -1;
	text_add(&t, "\n");
	text_add(&t, number);
	text_add(&t, "\n");
	if (pidfd >= 0 && list_members(group, again, sizeof again) > 0 && strstr(again, line) != NULL)
		signal_pidfd(pidfd, SIGKILL);
	if (pidfd >= 0)
		close(pidfd);
}

/* In v1, which has no order for it, and the groups below it. */
static void kill_listed(int group, int depth)
{
	char content[4096], *rest = content;
	list_members(group, content, sizeof content);
	for (char *number; (number = strsep(&rest, "\n")) != NULL;)
		if (*number != '\0')
			kill_member(group, number);
	int fd = depth > 0 ? openat(group, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	if (directory == NULL && fd >= 0)
		close(fd);
	for (const struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
		_Bool below = entry->d_type == DT_DIR && entry->d_name[0] != '.';
		int child = below ? openat(group, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		if (child >= 0) {
			kill_listed(child, depth - 1);
			close(child);
		}
	}
	if (directory != NULL)
		closedir(directory);
}

/* Whatever is left in a group that is to be removed, and in those below it (by cgroup.kill in v2, Linux 5.14). */
static void kill_members(const char *path)
{
	int group = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int order = group >= 0 ? openat(group, "cgroup.kill", O_WRONLY | O_CLOEXEC) : -1;
	if (order >= 0 && write(order, "1", 1) < 0)
		complain("cgroup.kill of ", path, ": ", error_text(errno));
	else if (group >= 0 && order < 0)
		kill_listed(group, 16);
	if (order >= 0)
		close(order);
	if (group >= 0)
		close(group);
}

/* `oom_kill NUMBER` is a line of memory.events (v2) and of memory.oom_control (v1). */
static void tell_killed_of(const struct step *step)
{
	char content[512];
	int group = open(step->argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	ssize_t n = group >= 0 ? read_small_at(group, step->argv[2], content, sizeof content) : -1;
	if (group >= 0)
		close(group);
	char *count = n > 0 ? strstr(content, "\noom_kill ") : NULL;
	if (count == NULL)
		return;
	count += strlen("\noom_kill ");
	count[strcspn(count, "\n")] = '\0';
	if (strcmp(count, "0") != 0)
		complain("app \"", step->argv[0], "\" has reached a limit of memory: the kernel killed ", count, " of its processes");
}

void tell_killed(const struct section *teardown)
{
	for (size_t i = 0; i < teardown->count; i++)
		if (teardown->steps[i].word == WORD_TELL_OOM)
			tell_killed_of(&teardown->steps[i]);
}

int remove_cgroups(const struct section *teardown)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	int status = 0;
	for (size_t i = 0; i < teardown->count; i++) {
		const struct step *step = &teardown->steps[i];
		int tries = 500, removed;
		if (step->word != WORD_REMOVE_CGROUP)
			continue;
		/* Processes leave their group a moment after they have been waited for. */
		while ((removed = remove_tree(AT_FDCWD, step->argv[0], 16)) < 0 && errno == EBUSY && tries-- > 0) {
			kill_members(step->argv[0]);
			nanosleep(&pause, NULL);
		}
		if (removed < 0)
			status = tell(step);
	}
	return status;
}
