#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cgroup.h"
#include "channel.h"
#include "clock.h"
#include "init.h"
#include "memory.h"
#include "notify.h"
#include "process.h"
#include "status.h"
#include "terminal.h"
#include "text.h"

/* How long init may take, beyond the grace, to end a pod that is being stopped. */
#define PATIENCE_MS 5000

static struct {
	const struct plan *plan;
	int channel, signals, init; /* init: its pidfd */
	struct app_status apps[MAX_APPS];
	_Bool failed, ended, stopping;
	long long deadline;
	int code;
} run;

/* --- signals ----------------------------------------------------------------------------------- */

/* Terminal modes outlive the process, so also a signal that ends it must put them back. */
static void end_with_terminal(int number)
{
	give_terminal_back();
	raise(number); /* SA_RESETHAND: this time it ends the process */
}

static void guard_terminal(void)
{
	struct sigaction guard = {.sa_handler = end_with_terminal, .sa_flags = (int)SA_RESETHAND};
	for (int number = 1; number <= SIGRTMAX; number++)
		if (number != SIGCHLD && number != SIGURG && number != SIGCONT && number != SIGTTIN && number != SIGTTOU &&
		    number != SIGPIPE)
			sigaction(number, &guard, NULL); /* KILL and STOP refuse, which is fine */
}

static int open_signals(const struct plan *plan)
{
	static const int taken[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGCHLD};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
		sigaddset(&set, taken[i]);
	if (plan->terminal) {
		sigaddset(&set, SIGTSTP);
		guard_terminal();
	}
	signal(SIGPIPE, SIG_IGN);
	/* Ignored ones (nohup's SIGHUP) stay ignored: blocking does not bring them back. */
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void stop(int number)
{
	if (run.stopping) {
		if (number == SIGINT) /* Ctrl-C again: now */
			send_order(run.channel, ORDER_KILL, number);
		return;
	}
	run.stopping = 1;
	run.deadline = milliseconds() + run.plan->grace * 1000LL + PATIENCE_MS;
	notify_manager("STOPPING=1");
	send_order(run.channel, ORDER_STOP, number);
}

static void take_signals(void)
{
	struct signalfd_siginfo signal;
	while (read(run.signals, &signal, sizeof signal) == sizeof signal) {
		int number = (int)signal.ssi_signo;
		if (number == SIGTERM || number == SIGINT)
			stop(number);
		else if (number == SIGTSTP)
			stop_with_terminal();
		else if (number == SIGWINCH && run.plan->terminal)
			resize_relay();
		else if (number != SIGCHLD)
			send_order(run.channel, ORDER_SIGNAL, number);
	}
}

/* --- init's events ----------------------------------------------------------------------------- */

static void take_event(const struct event *event, int fd)
{
	struct moment now = {.seconds = event->seconds, .nanoseconds = event->nanoseconds};
	struct app_status *app = &run.apps[event->app % MAX_APPS];
	const char *name = run.plan->apps[event->app % MAX_APPS].name;

	switch (event->kind) {
	case EVENT_TERMINAL:
		begin_relay(fd);
		take_terminal();
		break;
	case EVENT_FAILED:
		give_terminal_back();
		complain(event->text);
		run.failed = 1;
		break;
	case EVENT_SET_UP:
		write_moment("started", now);
		break;
	case EVENT_STARTED:
		*app = (struct app_status){.pid = event->value, .started = now};
		write_app_status(name, app);
		break;
	case EVENT_READY:
		write_moment("ready", now);
		notify_manager("READY=1");
		release_code();
		break;
	case EVENT_EXITED:
		app->finished = now;
		app->code = event->value;
		write_app_status(name, app);
		break;
	case EVENT_ENDED:
		run.ended = 1;
		run.code = event->value;
		break;
	default:
		break;
	}
}

/* Whether init may still tell something. */
static _Bool take_events(void)
{
	struct event event;
	int got, fd;
	while ((got = receive_event(run.channel, &event, &fd)) > 0)
		take_event(&event, fd);
	return got == 0;
}

/* --- the run ----------------------------------------------------------------------------------- */

static int fail(const char *what)
{
	complain(what, ": ", error_text(errno));
	return -1;
}

/* In the child: everything but the standard streams and the channel is closed, the lock above all, so
 * that the pod directory is locked exactly as long as the supervisor lives. */
_Noreturn static void become_init(int channel, _Bool born_inside)
{
	if (channel > 3)
		close_range(3, (unsigned)channel - 1, 0);
	close_range((unsigned)channel + 1, ~0U, 0);
	if (join_cgroups(&run.plan->supervisor, born_inside) < 0)
		_exit(254);
	run_init(run.plan, channel);
}

static int start_init(void)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail("socketpair");
	int cgroup = open_birth_cgroup(&run.plan->supervisor);
	pid_t pid = clone_process(run.plan->namespaces, &run.init, cgroup);
	if (pid == 0)
		become_init(ends[1], cgroup >= 0);
	int number = errno;
	if (cgroup >= 0)
		close(cgroup);
	close(ends[1]);
	run.channel = ends[0];
	errno = number;
	if (pid < 0)
		return fail("namespaces");
	write_pids(getpid(), pid);
	return 0;
}

static void wait_and_serve(void)
{
	struct pollfd fds[6];
	nfds_t n = gather_relay(fds);
	int timeout = -1;
	fds[n++] = (struct pollfd){.fd = run.signals, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = run.channel, .events = POLLIN};
	if (run.stopping) {
		long long left = run.deadline - milliseconds();
		timeout = left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
	}
	poll(fds, n, timeout);
	relay();
	take_signals();
	if (run.stopping && milliseconds() >= run.deadline)
		signal_pidfd(run.init, SIGKILL);
}

/* Init was ended from outside, and the kernel ended the apps with it. */
static void settle_killed(int number)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	run.code = number != 0 ? 128 + number : 254;
	for (size_t i = 0; i < run.plan->app_count; i++) {
		struct app_status *app = &run.apps[i];
		if (app->started.seconds == 0 || app->finished.seconds != 0)
			continue;
		app->finished = (struct moment){.seconds = now.tv_sec, .nanoseconds = (int32_t)now.tv_nsec};
		app->code = 137;
		write_app_status(run.plan->apps[i].name, app);
	}
}

/* As init ended by a signal, so does the run process. */
static void end_by(int number)
{
	complain("the pod was killed");
	signal(number, SIG_DFL);
	raise(number);
}

int supervise(const struct plan *plan)
{
	int killed_by = 0;
	run.plan = plan;
	prctl(PR_SET_NAME, "gantry", 0, 0, 0);
	run.signals = open_signals(plan);
	if (run.signals < 0)
		return fail("signalfd"), 254;
	if (make_cgroups(&plan->supervisor) < 0 || start_init() < 0) {
		remove_cgroups(&plan->teardown);
		write_exit(254);
		return 254;
	}
	while (take_events())
		wait_and_serve();
	/* The kernel ends every process of the PID namespace before it lets init be waited for. */
	wait_pidfd(run.init, &killed_by);
	finish_relay(run.stopping ? 1000 : -1);
	give_terminal_back();
	if (run.failed)
		run.code = 254;
	else if (!run.ended)
		settle_killed(killed_by);
	remove_cgroups(&plan->teardown);
	write_exit(run.code);
	if (!run.failed && !run.ended && killed_by != 0)
		end_by(killed_by);
	return run.code;
}
