#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_resolved(const char *path, int flags, unsigned long long resolve)
{
	struct open_how how = {.flags = (unsigned)(O_PATH | O_CLOEXEC | flags), .resolve = resolve};
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
	return fd >= 0 ? fd : -errno;
}

int open_path(const char *path, int flags)
{
	/* Without this an image could name /proc/1/root or /proc/1/fd and leave its root. */
	return open_resolved(path, flags, RESOLVE_NO_MAGICLINKS);
}

int open_straight_path(const char *path)
{
	return open_resolved(path, 0, RESOLVE_NO_SYMLINKS);
}

int open_parent(const char *path, const char **leaf)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	*leaf = slash != NULL ? slash + 1 : path;
	if (**leaf == '\0' || strcmp(*leaf, ".") == 0 || strcmp(*leaf, "..") == 0)
		return -EINVAL;
	if (slash == NULL)
		return open_path(".", O_DIRECTORY);
	size_t length = slash == path ? 1 : (size_t)(slash - path);
	if (length >= sizeof parent)
		return -ENAMETOOLONG;
	memcpy(parent, path, length);
	parent[length] = '\0';
	return open_path(parent, O_DIRECTORY);
}
