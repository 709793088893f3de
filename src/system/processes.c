/* This process and others. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

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

const struct function process_functions[] = {
	{"execve", do_execve},
	{"pidfdOpen", do_pidfd_open},
	{"pidfdSendSignal", do_pidfd_send_signal},
	{"setNetworkNamespace", do_set_netns},
	{"notify", do_notify},
	{NULL, NULL},
};
