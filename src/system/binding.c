/*
 * The system calls Node lacks, one JavaScript function each, all synchronous. Arguments are checked
 * for type only; policy lives in TypeScript. A failing call throws an Error with the fields Node's
 * own errors have: `code` (ENOENT), `errno` (negative) and `syscall`.
 */
#define NAPI_VERSION 8
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <node_api.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_ARGS 8

/* The arguments of one call; `ok` turns false at the first argument of the wrong type. */
struct call {
	napi_env env;
	napi_value argv[MAX_ARGS];
	size_t argc;
	int ok;
};

static struct call begin(napi_env env, napi_callback_info info)
{
	struct call c = {.env = env, .argc = MAX_ARGS, .ok = 1};
	if (napi_get_cb_info(env, info, &c.argc, c.argv, NULL, NULL) != napi_ok)
		c.ok = 0;
	return c;
}

static napi_value bad_arguments(napi_env env)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "binding: argument of the wrong type");
	return NULL;
}

static int64_t integer(struct call *c, size_t i)
{
	int64_t value = 0;
	if (i >= c->argc || napi_get_value_int64(c->env, c->argv[i], &value) != napi_ok)
		c->ok = 0;
	return value;
}

static int fd_of(struct call *c, size_t i)
{
	return (int)integer(c, i);
}

/* A string without NUL bytes as malloc'd UTF-8, or NULL. */
static char *text_of(napi_env env, napi_value value)
{
	size_t length = 0, got = 0;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok)
		return NULL;
	char *text = malloc(length + 1);
	if (text == NULL)
		return NULL;
	if (napi_get_value_string_utf8(env, value, text, length + 1, &got) != napi_ok ||
	    strlen(text) != length) {
		free(text);
		return NULL;
	}
	return text;
}

static char *text(struct call *c, size_t i)
{
	char *value = i < c->argc ? text_of(c->env, c->argv[i]) : NULL;
	if (value == NULL)
		c->ok = 0;
	return value;
}

static void bytes(struct call *c, size_t i, void **data, size_t *length)
{
	napi_typedarray_type type;
	*data = NULL;
	*length = 0;
	if (i >= c->argc ||
	    napi_get_typedarray_info(c->env, c->argv[i], &type, length, data, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array)
		c->ok = 0;
}

static const char *errno_word(int number)
{
	const char *word = strerrorname_np(number);
	return word != NULL ? word : "EUNKNOWN";
}

/* Throws what errno says of `syscall`. */
static napi_value fail(napi_env env, const char *syscall, int number)
{
	char message[256];
	const char *word = errno_word(number);
	napi_value code, msg, error, value;

	snprintf(message, sizeof message, "%s: %s, %s", word, strerror(number), syscall);
	if (napi_create_string_utf8(env, word, NAPI_AUTO_LENGTH, &code) != napi_ok ||
	    napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &msg) != napi_ok ||
	    napi_create_error(env, code, msg, &error) != napi_ok)
		return NULL;
	if (napi_create_int32(env, -number, &value) == napi_ok)
		napi_set_named_property(env, error, "errno", value);
	if (napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &value) == napi_ok)
		napi_set_named_property(env, error, "syscall", value);
	napi_throw(env, error);
	return NULL;
}

static napi_value number(napi_env env, int64_t value)
{
	napi_value result = NULL;
	napi_create_int64(env, value, &result);
	return result;
}

static napi_value boolean(napi_env env, int value)
{
	napi_value result = NULL;
	napi_get_boolean(env, value != 0, &result);
	return result;
}

/* The result of a call that answers 0 or -1 with errno. */
static napi_value done(napi_env env, const char *syscall, int result)
{
	return result < 0 ? fail(env, syscall, errno) : NULL;
}

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

static void free_words(char **words)
{
	for (size_t i = 0; words != NULL && words[i] != NULL; i++)
		free(words[i]);
	free(words);
}

/* A NULL-terminated vector of an array of strings, or NULL. */
static char **words_of(struct call *c, size_t i)
{
	uint32_t length = 0;
	if (i >= c->argc || napi_get_array_length(c->env, c->argv[i], &length) != napi_ok)
		return NULL;
	char **words = calloc((size_t)length + 1, sizeof *words);
	for (uint32_t w = 0; words != NULL && w < length; w++) {
		napi_value value;
		if (napi_get_element(c->env, c->argv[i], w, &value) != napi_ok ||
		    (words[w] = text_of(c->env, value)) == NULL) {
			free_words(words);
			return NULL;
		}
	}
	return words;
}

/*
 * Node blocks, ignores and handles signals for its own ends; the next program must find them all
 * unblocked and default, or it could not be stopped.
 */
static void reset_signals(void)
{
	sigset_t none;
	struct sigaction standard = {.sa_handler = SIG_DFL};
	for (int s = 1; s < NSIG; s++)
		sigaction(s, &standard, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* execve(path, argv, env, keep): replaces this process; of the descriptors above 2 only `keep` stay. */
static napi_value do_execve(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	char *path = text(&c, 0);
	char **argv = words_of(&c, 1), **envp = words_of(&c, 2);
	uint32_t count = 0;
	int error = EINVAL;

	if (argv == NULL || envp == NULL || c.argc < 4 ||
	    napi_get_array_length(env, c.argv[3], &count) != napi_ok)
		c.ok = 0;
	if (c.ok) {
		/* Node opens everything close-on-exec; a descriptor it inherited may not be. */
		syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
		for (uint32_t i = 0; i < count && c.ok; i++) {
			napi_value value;
			int32_t fd;
			if (napi_get_element(env, c.argv[3], i, &value) != napi_ok ||
			    napi_get_value_int32(env, value, &fd) != napi_ok ||
			    fcntl(fd, F_SETFD, 0) < 0)
				c.ok = 0;
		}
	}
	if (c.ok) {
		/* Node marks the standard streams close-on-exec, and makes pipes and terminals
		 * non-blocking, which the next program would inherit. */
		for (int fd = 0; fd < 3; fd++) {
			int flags = fcntl(fd, F_GETFL);
			fcntl(fd, F_SETFD, 0);
			if (flags >= 0 && (flags & O_NONBLOCK))
				fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
		}
		reset_signals();
		execve(path, argv, envp);
		error = errno;
	}
	free(path);
	free_words(argv);
	free_words(envp);
	return c.ok ? fail(env, "execve", error) : bad_arguments(env);
}

/* pidfdOpen(pid) -> fd */
static napi_value do_pidfd_open(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	pid_t pid = (pid_t)integer(&c, 0);
	if (!c.ok)
		return bad_arguments(env);
	long fd = syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? fail(env, "pidfd_open", errno) : number(env, fd);
}

/* pidfdSendSignal(fd, signal) -> false when the process is gone. */
static napi_value do_pidfd_send_signal(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	int fd = fd_of(&c, 0), signal = (int)integer(&c, 1);
	if (!c.ok)
		return bad_arguments(env);
	if (syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) == 0)
		return boolean(env, 1);
	return errno == ESRCH ? boolean(env, 0) : fail(env, "pidfd_send_signal", errno);
}

/* setNetworkNamespace(fd): moves the calling thread, and only it. */
static napi_value do_set_netns(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	int fd = fd_of(&c, 0);
	if (!c.ok)
		return bad_arguments(env);
	return done(env, "setns", setns(fd, CLONE_NEWNET));
}

/*
 * notify(socket, state): one datagram to a service manager, sd_notify(3). A leading '@' is the
 * abstract namespace.
 */
static napi_value do_notify(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	char *path = text(&c, 0), *state = text(&c, 1);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int error = 0;

	if (c.ok && (path[0] == '\0' || strlen(path) >= sizeof address.sun_path))
		error = EINVAL;
	if (c.ok && error == 0) {
		size_t length = strlen(path);
		memcpy(address.sun_path, path, length);
		if (path[0] == '@')
			address.sun_path[0] = '\0';
		int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd < 0 ||
		    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
			   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
			error = errno;
		if (fd >= 0)
			close(fd);
	}
	free(path);
	free(state);
	if (!c.ok)
		return bad_arguments(env);
	return error != 0 ? fail(env, "sd_notify", error) : NULL;
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback function;
	} functions[] = {
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
		{"execve", do_execve},
		{"pidfdOpen", do_pidfd_open},
		{"pidfdSendSignal", do_pidfd_send_signal},
		{"setNetworkNamespace", do_set_netns},
		{"notify", do_notify},
	};
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		napi_value value;
		if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function,
					 NULL, &value) != napi_ok ||
		    napi_set_named_property(env, exports, functions[i].name, value) != napi_ok)
			return NULL;
	}
	return exports;
}
