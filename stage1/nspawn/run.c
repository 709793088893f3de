/* run UUID: starts the pod of the working directory under systemd-nspawn and stays until it ends
 * (specs/stage1-interface.md, specs/flavours.md). */
#include "../launch/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../launch/channel.h"
#include "../launch/step.h"
#include "../launch/text.h"
#include "handover.h"

_Noreturn static void fail(int channel, const struct step *step, const char *what, int number)
{
	char message[900];
	struct text t = TEXT_IN(message);
	text_add(&t, "outside: ");
	if (step != NULL) {
		describe_failure(&t, step, number);
	} else {
		text_add(&t, what);
		text_add(&t, ": ");
		text_add(&t, error_text(number));
	}
	send_event(channel, EVENT_FAILED, 0, 0, message, -1);
	_exit(254);
}

/* What systemd-nspawn lives in dies with the supervisor, and signals that the terminal sends to the
 * supervisor's process group are the supervisor's alone. */
static void bind_to_supervisor(int channel)
{
	struct pollfd peer = {.fd = channel};
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		fail(channel, NULL, "PR_SET_PDEATHSIG", errno);
	/* It may have died before that call, which then came too late. */
	if (poll(&peer, 1, 0) == 1)
		_exit(254);
	setsid();
}

static void set_variable(struct launch *launch, int channel, const char *name, long long value)
{
	char digits[32];
	struct text t = TEXT_IN(digits);
	text_number(&t, value, 0, ' ');
	char *words[] = {(char *)name, digits, NULL};
	const struct step step = {.word = WORD_ENV, .argc = 2, .argv = words};
	int status = perform(launch, &step);
	if (status < 0)
		fail(channel, &step, NULL, -status);
}

/* Brings what is handed over to its numbers, from the first on; everything else is closed by exec. */
static void hand_over(struct launch *launch, int channel)
{
	enum { COUNT = HANDED_JOURNAL + 1 - HANDED_CHANNEL };
	int held[COUNT] = {channel, launch->journal};
	int count = launch->journal >= 0 ? COUNT : COUNT - 1;
	/* Above all those numbers first, so that none is in the way of another. */
	for (int i = 0; i < count; i++)
		if ((held[i] = fcntl(held[i], F_DUPFD_CLOEXEC, HANDED_CHANNEL + COUNT)) < 0)
			fail(channel, NULL, "descriptors", errno);
	for (int i = 0; i < count; i++)
		if (dup2(held[i], HANDED_CHANNEL + i) < 0)
			fail(held[0], NULL, "descriptors", errno);
	if (close_range((unsigned)(HANDED_CHANNEL + count), ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		fail(HANDED_CHANNEL, NULL, "descriptors", errno);
	set_variable(launch, HANDED_CHANNEL, "LISTEN_FDS", count);
	set_variable(launch, HANDED_CHANNEL, "LISTEN_PID", getpid());
}

static void become_nspawn(const struct plan *plan, int channel)
{
	static struct launch launch;
	sigset_t none;

	bind_to_supervisor(channel);
	if (plan->outside.count == 0)
		fail(channel, NULL, "the plan has no such section", ENOENT);
	const struct step *exec = &plan->outside.steps[plan->outside.count - 1];
	begin_launch(&launch);
	umask(0);
	for (const struct step *step = plan->outside.steps; step < exec; step++) {
		int status = perform(&launch, step);
		if (status < 0)
			fail(channel, step, NULL, -status);
	}
	umask(022);
	hand_over(&launch, channel);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(exec->argv[0], exec->argv + 1, launch.environment);
	fail(HANDED_CHANNEL, exec, NULL, errno);
}

int main(int argc, char **argv)
{
	return run_pod(argc, argv, become_nspawn);
}
