#include "verbs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "entry.h"
#include "pod.h"
#include "pods.h"
#include "process.h"
#include "rootless.h"
#include "text.h"

/* How long a stage1's stop may take, and with --force; the native one takes up to five and seven seconds. */
#define STOP_PATIENCE_MS 60000
#define STOP_FORCE_PATIENCE_MS 10000
/* How long what was killed may take to be gone. */
#define FORCE_PATIENCE_MS 3000
/* How long a lock may be someone else's for a moment: `list` looks at each pod's. */
#define LOCK_PATIENCE_MS 200

static void pause_ms(long ms)
{
	const struct timespec time = {.tv_nsec = ms * 1000000};
	nanosleep(&time, NULL);
}

static int fail(const char *what, const char *why)
{
	complain(what, ": ", why);
	return 254;
}

static int fail_pod(const struct named_pod *pod, const char *why)
{
	complain("pod \"", pod->uuid, "\" ", why);
	return 254;
}

/* --- run-prepared ------------------------------------------------------------------------------ */

/* The locked descriptor of a prepared pod, which nobody else moves then; -1 with the reason told. */
static int lock_prepared(const char *data, struct named_pod *pod)
{
	struct stat held, there;
	int fd = pod->phase == PHASE_PREPARED ? open(pod->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) : -1;
	long long deadline = milliseconds() + LOCK_PATIENCE_MS;
	int locked = -1;
	while (fd >= 0 && (locked = flock(fd, LOCK_EX | LOCK_NB)) < 0 && milliseconds() < deadline)
		pause_ms(2);
	locate_pod(data, pod);
	if (fd >= 0 && pod->phase == PHASE_PREPARED && locked < 0) {
		fail_pod(pod, "is just being started or removed by another process");
		return -1;
	}
	if (locked < 0 || pod->phase != PHASE_PREPARED || fstat(fd, &held) < 0 || stat(pod->path, &there) < 0 ||
	    held.st_ino != there.st_ino) {
		fail_pod(pod, "is not prepared");
		return -1;
	}
	return fd;
}

static int move_to_run(const char *data, const struct named_pod *pod)
{
	char path[PATH_MAX];
	if (pod_path(path, data, PHASE_RUN, NULL) < 0)
		return -1;
	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return -1;
	if (pod_path(path, data, PHASE_RUN, pod->uuid) < 0)
		return -1;
	return renameat2(AT_FDCWD, pod->path, AT_FDCWD, path, RENAME_NOREPLACE);
}

int run_prepared(const char *data, const char *uuid)
{
	struct named_pod pod;
	char number[16] = "";
	struct text t = TEXT_IN(number);
	const char *why = find_named_pod(data, uuid, &pod);
	if (why != NULL)
		return fail("problem retrieving pod", why);
	int lock = lock_prepared(data, &pod);
	if (lock < 0)
		return 254;
	const char *program = fchdir(lock) == 0 ? entry_point("run") : NULL;
	if (program == NULL)
		return fail_pod(&pod, "has no entry point \"run\" in its stage1: prepare it anew");
	if (access(program, X_OK) < 0)
		return fail(program, error_text(errno));
	if (move_to_run(data, &pod) < 0)
		return fail("cannot transition to run", error_text(errno));
	text_number(&t, lock, 0, ' ');
	setenv("GANTRY_LOCK_FD", number, 1);
	execl(program, "run", pod.uuid, (char *)NULL);
	return fail(program, error_text(errno));
}

/* --- enter ------------------------------------------------------------------------------------- */

/* The pod's one app; NULL with the reason told when there are several. */
static const char *only_app(void)
{
	static char name[NAME_MAX + 1];
	size_t count = 0;
	DIR *apps = opendir("apps");
	if (apps == NULL) {
		fail("unable to determine app name", error_text(errno));
		return NULL;
	}
	for (const struct dirent *entry; (entry = readdir(apps)) != NULL;)
		if (entry->d_name[0] != '.') {
			memcpy(name, entry->d_name, strlen(entry->d_name) + 1);
			count++;
		}
	closedir(apps);
	if (count == 1)
		return name;
	fail("unable to determine app name", count == 0 ? "the pod has no apps" : "the pod has several: choose one with --app");
	return NULL;
}

int enter_pod(const char *data, const char *app, const char *uuid, char **command)
{
	static char *shell[] = {(char *)"/bin/bash", NULL};
	char *argv[4096] = {(char *)"enter"};
	size_t argc = 2;
	struct named_pod pod;
	const char *why = find_named_pod(data, uuid, &pod);
	if (why != NULL)
		return fail("problem retrieving pod", why);
	if (pod.phase != PHASE_RUN || !pod_is_locked(pod.path))
		return fail_pod(&pod, "isn't currently running: gantry status shows its state");
	if (chdir(pod.path) < 0)
		return fail(pod.path, error_text(errno));
	const char *program = entry_point("enter");
	if (program == NULL)
		return fail_pod(&pod, "has a stage1 without entry point \"enter\": it cannot be entered");
	argv[1] = (char *)(app != NULL ? app : only_app());
	if (argv[1] == NULL)
		return 254;
	if (command[0] == NULL) {
		complain("no command specified, assuming \"", shell[0], "\"");
		command = shell;
	}
	for (; *command != NULL && argc < sizeof argv / sizeof *argv - 1; command++)
		argv[argc++] = *command;
	if (*command != NULL)
		return fail("command", error_text(E2BIG));
	if (geteuid() != 0 && join_namespace_of_pod() < 0)
		return 254;
	execv(program, argv);
	return fail(program, error_text(errno));
}

/* --- stop -------------------------------------------------------------------------------------- */

static void print(const char *before, const char *uuid, const char *after)
{
	char line[128] = "";
	struct text t = TEXT_IN(line);
	text_add(&t, before);
	text_add(&t, uuid);
	text_add(&t, after);
	ssize_t n = write(STDOUT_FILENO, line, t.length);
	(void)n;
}

/* In a process of its own, whose working directory is the pod's: its stage1's stop, which says what went wrong. */
static int become_stop(const struct named_pod *pod, _Bool force)
{
	const char *program;
	if (chdir(pod->path) < 0)
		return fail(pod->path, error_text(errno));
	program = entry_point("stop");
	if (program != NULL && force)
		execl(program, "stop", "--force", pod->uuid, (char *)NULL);
	else if (program != NULL)
		execl(program, "stop", pod->uuid, (char *)NULL);
	else if (force)
		return kill_lock_holders() > 0 ? 0 : 254;
	else
		return fail_pod(pod, "has a stage1 without entry point \"stop\"");
	return fail(program, error_text(errno));
}

/* The same: what holds the pod's lock is the pod, whatever its stage1 says. */
static int become_killer(const struct named_pod *pod, _Bool force)
{
	return force && chdir(pod->path) == 0 && kill_lock_holders() > 0 ? 0 : 254;
}

static _Bool succeeds(int (*become)(const struct named_pod *, _Bool), const struct named_pod *pod, _Bool force)
{
	int status;
	pid_t child = fork();
	if (child == 0)
		_exit(become(pod, force));
	/* It is to ask and return: one that hangs must not keep the pod from being ended by force. */
	struct pollfd end = {.fd = child > 0 ? open_pidfd(child) : -1, .events = POLLIN};
	if (end.fd >= 0) {
		if (poll(&end, 1, force ? STOP_FORCE_PATIENCE_MS : STOP_PATIENCE_MS) == 0)
			kill(child, SIGKILL);
		close(end.fd);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 0;
	return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Whether the pod still runs; with `force` it is given a moment to be gone. */
static _Bool still_runs(const char *data, struct named_pod *pod, _Bool force)
{
	for (long long deadline = milliseconds() + (force ? FORCE_PATIENCE_MS : 0);; pause_ms(10)) {
		locate_pod(data, pod);
		if (pod->phase != PHASE_RUN || !pod_is_locked(pod->path))
			return 0;
		if (milliseconds() >= deadline)
			return 1;
	}
}

static int stop_pod(const char *data, _Bool force, const char *uuid)
{
	struct named_pod pod;
	const char *why = find_named_pod(data, uuid, &pod);
	if (why != NULL)
		return fail("cannot get pod", why);
	if (pod.phase == PHASE_EXITED_GARBAGE || (pod.phase == PHASE_RUN && !pod_is_locked(pod.path))) {
		print("pod \"", pod.uuid, "\" is already stopped\n");
		return 0;
	}
	if (pod.phase != PHASE_RUN)
		return fail_pod(&pod, "is not running: gantry status shows its state");
	_Bool asked = succeeds(become_stop, &pod, force);
	/* It may have ended by itself meanwhile, which is what was wanted. */
	if ((force || !asked) && still_runs(data, &pod, force) &&
	    (!force || !succeeds(become_killer, &pod, force) || still_runs(data, &pod, force))) {
		complain("error stopping \"", pod.uuid, force ? "\"" : "\": gantry stop --force kills what holds its lock");
		return 254;
	}
	print("\"", pod.uuid, "\"\n");
	return 0;
}

int stop_pods(const char *data, _Bool force, char **uuids)
{
	_Bool failed = 0;
	for (; *uuids != NULL; uuids++)
		failed |= stop_pod(data, force, *uuids) != 0;
	return failed ? 254 : 0;
}

/* --- status --wait ----------------------------------------------------------------------------- */

static void wake(int number)
{
	(void)number; /* ends a flock that waits */
}

/* Waits until nobody holds the pod's lock, or the time is over; a free lock is given back at once. */
static _Bool wait_for_lock(const char *path, long long deadline)
{
	const struct sigaction action = {.sa_handler = wake};
	struct itimerval timer = {0};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status;
	if (fd < 0)
		return 1;
	if (deadline >= 0) {
		/* Again and again, for the first may come before flock waits. */
		long long left = deadline - milliseconds();
		left = left < 1 ? 1 : left;
		timer.it_value = (struct timeval){.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
		timer.it_interval.tv_usec = 50000;
		sigaction(SIGALRM, &action, NULL);
		setitimer(ITIMER_REAL, &timer, NULL);
	}
	while ((status = flock(fd, LOCK_SH)) < 0 && errno == EINTR && milliseconds() < deadline)
		;
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	close(fd);
	return status == 0;
}

static _Bool is_over(long long deadline)
{
	return deadline >= 0 && milliseconds() >= deadline;
}

/* 1: ended, 0: the time is over. */
static int wait_ended(const char *data, struct named_pod *pod, long long deadline)
{
	for (;; pause_ms(20)) {
		locate_pod(data, pod);
		if (pod->phase == PHASE_NONE || pod->phase == PHASE_EXITED_GARBAGE)
			return 1;
		if (pod->phase == PHASE_RUN && wait_for_lock(pod->path, deadline))
			return 1;
		if (is_over(deadline))
			return 0;
	}
}

/* 1: ready, 0: the time is over, -1: it never will be. */
static int wait_ready(const char *data, struct named_pod *pod, long long deadline)
{
	for (;; pause_ms(10)) {
		char path[PATH_MAX + 8] = "";
		struct text t = TEXT_IN(path);
		locate_pod(data, pod);
		text_add(&t, pod->path);
		text_add(&t, "/ready");
		_Bool over = pod->phase > PHASE_RUN || (pod->phase == PHASE_RUN && !pod_is_locked(pod->path));
		if (pod->phase != PHASE_NONE && access(path, F_OK) == 0)
			return 1;
		if (over)
			return -1;
		if (is_over(deadline))
			return 0;
	}
}

static long long deadline_of(long long duration)
{
	return duration < 0 ? -1 : milliseconds() + duration;
}

int wait_for_pod(const char *data, const char *uuid, long long ready, long long ended)
{
	struct named_pod pod;
	const char *why = find_named_pod(data, uuid, &pod);
	if (why != NULL)
		return fail("problem retrieving pod", why);
	int got = ready != 0 ? wait_ready(data, &pod, deadline_of(ready)) : 1;
	if (got <= 0)
		return fail("error waiting for pod readiness", got == 0 ? "timed out" : "the pod ended before it was ready");
	if (ended != 0 && !wait_ended(data, &pod, deadline_of(ended)))
		return fail("error waiting for pod to finish", "timed out");
	return 0;
}
