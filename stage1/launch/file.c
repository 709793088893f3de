#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "path.h"

static mode_t mode_of(const struct step *step)
{
	return (mode_t)strtoul(step->argv[1], NULL, 8);
}

/* 0 when `path` is a directory, or a link to one. */
static int check_directory(const char *path)
{
	int fd = open_path(path, O_DIRECTORY);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static int make_one_directory(const char *path, mode_t mode)
{
	const char *leaf;
	int parent = open_parent(path, &leaf);
	if (parent < 0)
		return parent;
	int status = outcome(mkdirat(parent, leaf, mode));
	close(parent);
	return status == -EEXIST ? check_directory(path) : status;
}

int perform_make_directory(struct launch *launch, const struct step *step)
{
	(void)launch;
	char path[PATH_MAX];
	size_t length = strlen(step->argv[0]);
	if (check_directory(step->argv[0]) == 0)
		return 0;
	while (length > 1 && step->argv[0][length - 1] == '/')
		length--;
	memcpy(path, step->argv[0], length);
	path[length] = '\0';
	for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int status = slash[-1] == '/' || check_directory(path) == 0 ? 0 : make_one_directory(path, 0755);
		*slash = '/';
		if (status < 0)
			return status;
	}
	return make_one_directory(path, mode_of(step));
}

/* Opens the parent and removes what is at the leaf, unless it is a directory. */
static int clear_leaf(const char *path, const char **leaf)
{
	int parent = open_parent(path, leaf);
	if (parent >= 0 && unlinkat(parent, *leaf, 0) < 0 && errno != ENOENT) {
		int number = errno;
		close(parent);
		return -number;
	}
	return parent;
}

int perform_make_file(struct launch *launch, const struct step *step)
{
	(void)launch;
	const char *leaf;
	int there = open_path(step->argv[0], 0);
	if (there >= 0) {
		struct stat st;
		int status = fstat(there, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? -EISDIR : 0;
		close(there);
		return status;
	}
	/* A dangling link (an image's /etc/resolv.conf into /run) gives way to the file. */
	int parent = clear_leaf(step->argv[0], &leaf);
	if (parent < 0)
		return parent;
	int fd = openat(parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode_of(step));
	int status = fd < 0 ? -errno : 0;
	close(parent);
	if (fd >= 0)
		close(fd);
	return status;
}

int perform_write_file(struct launch *launch, const struct step *step)
{
	(void)launch;
	const char *leaf, *content = step->argv[2];
	int parent = clear_leaf(step->argv[0], &leaf);
	if (parent < 0)
		return parent;
	int status = 0;
	int fd = openat(parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode_of(step));
	if (fd < 0)
		status = -errno;
	for (size_t left = strlen(content); status == 0 && left > 0;) {
		ssize_t n = write(fd, content, left);
		if (n < 0) {
			status = -errno;
		} else {
			content += n;
			left -= (size_t)n;
		}
	}
	if (fd >= 0)
		close(fd);
	close(parent);
	return status;
}

int perform_make_device(struct launch *launch, const struct step *step)
{
	(void)launch;
	char **argv = step->argv;
	const char *leaf;
	int parent = open_parent(argv[0], &leaf);
	if (parent < 0)
		return parent;
	mode_t mode = mode_of(step) | (strcmp(argv[2], "char") == 0 ? S_IFCHR : S_IFBLK);
	dev_t device = makedev((unsigned)strtoul(argv[3], NULL, 10), (unsigned)strtoul(argv[4], NULL, 10));
	int status = outcome(mknodat(parent, leaf, mode, device));
	close(parent);
	return status;
}

int perform_symlink(struct launch *launch, const struct step *step)
{
	(void)launch;
	const char *leaf;
	int parent = clear_leaf(step->argv[1], &leaf);
	if (parent < 0)
		return parent;
	int status = outcome(symlinkat(step->argv[0], parent, leaf));
	close(parent);
	return status;
}
