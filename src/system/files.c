/* Files by descriptor and name, and what Node does not do with them. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* flock(fd, operation) -> false when LOCK_NB is set and another holds the lock. */
static napi_value do_flock(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	int fd = fd_of(&c, 0), operation = (int)integer(&c, 1), result;
	if (!c.ok)
		return bad_arguments(env);
	do
		result = flock(fd, operation);
	while (result < 0 && errno == EINTR);
	if (result < 0 && errno == EWOULDBLOCK)
		return boolean(env, 0);
	return result < 0 ? fail(env, "flock", errno) : boolean(env, 1);
}

/* openat2(dirfd, path, flags, mode, resolve) -> fd, always close-on-exec. */
static napi_value do_openat2(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	int dirfd = fd_of(&c, 0);
	char *path = text(&c, 1);
	struct open_how how = {
		.flags = (uint64_t)integer(&c, 2) | O_CLOEXEC,
		.mode = (uint64_t)integer(&c, 3),
		.resolve = (uint64_t)integer(&c, 4),
	};
	if (!c.ok) {
		free(path);
		return bad_arguments(env);
	}
	long fd;
	do /* EAGAIN: a rename raced with the scoped lookup (openat2(2)). */
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	int error = errno;
	free(path);
	return fd < 0 ? fail(env, "openat2", error) : number(env, fd);
}

static int set_times(int dirfd, const char *path, int64_t seconds, int64_t nanoseconds)
{
	struct timespec times[2];
	for (int i = 0; i < 2; i++) {
		times[i].tv_sec = (time_t)seconds;
		times[i].tv_nsec = (long)nanoseconds;
	}
	return path == NULL ? futimens(dirfd, times)
			    : utimensat(dirfd, path, times, AT_SYMLINK_NOFOLLOW);
}

/* Owner before mode: chown clears the setuid and setgid bits. */
static int settle(int fd, uid_t uid, gid_t gid, mode_t mode, int64_t seconds, int64_t nanoseconds)
{
	if (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
		return -1;
	return set_times(fd, NULL, seconds, nanoseconds);
}

static int write_all(int fd, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, data, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		length -= (size_t)n;
	}
	return 0;
}

/*
 * writeFileAt(dirfd, name, data, uid, gid, mode, seconds, nanoseconds): a whole new regular file in
 * one call. `name` must not exist; on failure nothing of it stays.
 */
static napi_value do_write_file_at(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	void *data;
	size_t length;
	int dirfd = fd_of(&c, 0);
	char *name = text(&c, 1);
	bytes(&c, 2, &data, &length);
	uid_t uid = (uid_t)integer(&c, 3);
	gid_t gid = (gid_t)integer(&c, 4);
	mode_t mode = (mode_t)integer(&c, 5);
	int64_t seconds = integer(&c, 6), nanoseconds = integer(&c, 7);
	if (!c.ok) {
		free(name);
		return bad_arguments(env);
	}
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int error = 0;
	if (fd < 0) {
		error = errno;
	} else {
		if (write_all(fd, data, length) < 0 ||
		    settle(fd, uid, gid, mode, seconds, nanoseconds) < 0)
			error = errno;
		if (close(fd) < 0 && error == 0)
			error = errno;
		if (error != 0)
			unlinkat(dirfd, name, 0);
	}
	free(name);
	return error != 0 ? fail(env, "writeFileAt", error) : NULL;
}

/* settle(fd, uid, gid, mode, seconds, nanoseconds): owner, mode and both times of an open file. */
static napi_value do_settle(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	int fd = fd_of(&c, 0);
	uid_t uid = (uid_t)integer(&c, 1);
	gid_t gid = (gid_t)integer(&c, 2);
	mode_t mode = (mode_t)integer(&c, 3);
	int64_t seconds = integer(&c, 4), nanoseconds = integer(&c, 5);
	if (!c.ok)
		return bad_arguments(env);
	return done(env, "settle", settle(fd, uid, gid, mode, seconds, nanoseconds));
}

/* Runs `action(dirfd, path, a, b)` for the calls that take a directory, a path and two numbers. */
static napi_value at(napi_env env, napi_callback_info info, const char *syscall, size_t numbers,
		     int (*action)(int, const char *, int64_t, int64_t))
{
	struct call c = begin(env, info);
	int dirfd = fd_of(&c, 0);
	char *path = text(&c, 1);
	int64_t a = numbers > 0 ? integer(&c, 2) : 0, b = numbers > 1 ? integer(&c, 3) : 0;
	if (!c.ok) {
		free(path);
		return bad_arguments(env);
	}
	int result = action(dirfd, path, a, b), error = errno;
	free(path);
	errno = error;
	return done(env, syscall, result);
}

static int mkdir_action(int dirfd, const char *path, int64_t mode, int64_t unused)
{
	(void)unused;
	return mkdirat(dirfd, path, (mode_t)mode);
}

static int unlink_action(int dirfd, const char *path, int64_t flags, int64_t unused)
{
	(void)unused;
	return unlinkat(dirfd, path, (int)flags);
}

static int chown_action(int dirfd, const char *path, int64_t uid, int64_t gid)
{
	return fchownat(dirfd, path, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW);
}

static int chmod_action(int dirfd, const char *path, int64_t mode, int64_t unused)
{
	(void)unused;
	return fchmodat(dirfd, path, (mode_t)mode, 0);
}

static int mknod_action(int dirfd, const char *path, int64_t mode, int64_t device)
{
	dev_t dev = makedev((unsigned)(device >> 32), (unsigned)(device & 0xffffffff));
	return mknodat(dirfd, path, (mode_t)mode, dev);
}

/* mkdirAt(dirfd, path, mode) */
static napi_value do_mkdir_at(napi_env env, napi_callback_info info)
{
	return at(env, info, "mkdirat", 1, mkdir_action);
}

/* unlinkAt(dirfd, path, flags) */
static napi_value do_unlink_at(napi_env env, napi_callback_info info)
{
	return at(env, info, "unlinkat", 1, unlink_action);
}

/* chownAt(dirfd, path, uid, gid): of the link itself when path is a symbolic link. */
static napi_value do_chown_at(napi_env env, napi_callback_info info)
{
	return at(env, info, "fchownat", 2, chown_action);
}

/* chmodAt(dirfd, path, mode): the caller knows that path is no symbolic link. */
static napi_value do_chmod_at(napi_env env, napi_callback_info info)
{
	return at(env, info, "fchmodat", 1, chmod_action);
}

/* setTimesAt(dirfd, path, seconds, nanoseconds): both times, of the link itself. */
static napi_value do_set_times_at(napi_env env, napi_callback_info info)
{
	return at(env, info, "utimensat", 2, set_times);
}

/* mknodAt(dirfd, path, mode, device): mode holds the type, device is major * 2^32 + minor. */
static napi_value do_mknod_at(napi_env env, napi_callback_info info)
{
	return at(env, info, "mknodat", 2, mknod_action);
}

/* symlinkAt(target, dirfd, path) */
static napi_value do_symlink_at(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	char *target = text(&c, 0);
	int dirfd = fd_of(&c, 1);
	char *path = text(&c, 2);
	int result = 0, error = 0;
	if (c.ok && (result = symlinkat(target, dirfd, path)) < 0)
		error = errno;
	free(target);
	free(path);
	if (!c.ok)
		return bad_arguments(env);
	errno = error;
	return done(env, "symlinkat", result);
}

typedef int two_paths(int, const char *, int, const char *, unsigned);

static int link_action(int from, const char *old, int to, const char *new, unsigned flags)
{
	return linkat(from, old, to, new, (int)flags);
}

/* Runs `action(fromfd, from, tofd, to, flags)`. */
static napi_value between(napi_env env, napi_callback_info info, const char *syscall,
			  two_paths *action)
{
	struct call c = begin(env, info);
	int from = fd_of(&c, 0), to = fd_of(&c, 2), result = 0, error = 0;
	char *old = text(&c, 1), *new = text(&c, 3);
	unsigned flags = (unsigned)integer(&c, 4);
	if (c.ok && (result = action(from, old, to, new, flags)) < 0)
		error = errno;
	free(old);
	free(new);
	if (!c.ok)
		return bad_arguments(env);
	errno = error;
	return done(env, syscall, result);
}

/* linkAt(fromfd, from, tofd, to, flags): without AT_SYMLINK_FOLLOW a link to a symbolic link. */
static napi_value do_link_at(napi_env env, napi_callback_info info)
{
	return between(env, info, "linkat", link_action);
}

/* renameAt(fromfd, from, tofd, to, flags): renameat2(2), RENAME_NOREPLACE is 1, EXCHANGE 2. */
static napi_value do_rename_at(napi_env env, napi_callback_info info)
{
	return between(env, info, "renameat2", renameat2);
}

/* setXattr(path, name, value): of the link itself when path is a symbolic link. */
static napi_value do_set_xattr(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	void *value;
	size_t length;
	char *path = text(&c, 0), *name = text(&c, 1);
	bytes(&c, 2, &value, &length);
	int result = 0, error = 0;
	if (c.ok && (result = lsetxattr(path, name, value, length, 0)) < 0)
		error = errno;
	free(path);
	free(name);
	if (!c.ok)
		return bad_arguments(env);
	errno = error;
	return done(env, "lsetxattr", result);
}

/* getXattr(path, name) -> Buffer, or undefined where there is none. */
static napi_value do_get_xattr(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	char *path = text(&c, 0), *name = text(&c, 1);
	static _Thread_local char value[65536]; /* XATTR_SIZE_MAX */
	ssize_t length = -1;
	int error = 0;
	if (c.ok && (length = lgetxattr(path, name, value, sizeof value)) < 0)
		error = errno;
	free(path);
	free(name);
	if (!c.ok)
		return bad_arguments(env);
	if (error == ENODATA || error == EOPNOTSUPP)
		return NULL;
	if (error != 0)
		return fail(env, "lgetxattr", error);
	napi_value result = NULL;
	napi_create_buffer_copy(env, (size_t)length, value, NULL, &result);
	return result;
}

/* listXattr(path) -> string[] */
static napi_value do_list_xattr(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	char *path = text(&c, 0);
	static _Thread_local char names[65536]; /* XATTR_LIST_MAX */
	ssize_t length = 0;
	int error = 0;
	if (c.ok && (length = llistxattr(path, names, sizeof names)) < 0)
		error = errno;
	free(path);
	if (!c.ok)
		return bad_arguments(env);
	if (error == EOPNOTSUPP)
		length = 0;
	else if (error != 0)
		return fail(env, "llistxattr", error);
	napi_value list, name;
	uint32_t count = 0;
	if (napi_create_array(env, &list) != napi_ok)
		return NULL;
	for (ssize_t i = 0; i < length; i += (ssize_t)strlen(names + i) + 1)
		if (napi_create_string_utf8(env, names + i, NAPI_AUTO_LENGTH, &name) == napi_ok)
			napi_set_element(env, list, count++, name);
	return list;
}

/* syncFilesystem(fd): everything written to the file system that holds fd is on disk. */
static napi_value do_syncfs(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	int fd = fd_of(&c, 0);
	if (!c.ok)
		return bad_arguments(env);
	return done(env, "syncfs", syncfs(fd));
}

const struct function file_functions[] = {
	{"flock", do_flock},
	{"openat2", do_openat2},
	{"writeFileAt", do_write_file_at},
	{"settle", do_settle},
	{"mkdirAt", do_mkdir_at},
	{"unlinkAt", do_unlink_at},
	{"chownAt", do_chown_at},
	{"chmodAt", do_chmod_at},
	{"setTimesAt", do_set_times_at},
	{"mknodAt", do_mknod_at},
	{"symlinkAt", do_symlink_at},
	{"linkAt", do_link_at},
	{"renameAt", do_rename_at},
	{"setXattr", do_set_xattr},
	{"getXattr", do_get_xattr},
	{"listXattr", do_list_xattr},
	{"syncFilesystem", do_syncfs},
	{NULL, NULL},
};
