#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cgroup.h"
#include "channel.h"
#include "clock.h"
#include "control.h"
#include "descendants.h"
#include "init.h"
#include "lock.h"
#include "memory.h"
#include "notify.h"
#include "outfit.h"
#include "process.h"
#include "status.h"
#include "terminal.h"
#include "text.h"
#include "users.h"

/* How long init may take, beyond the grace, to end a pod that is being stopped. */
#define PATIENCE_MS 5000

static struct {
	const struct plan *plan;
	become_inside *inside;
	int channel, signals, child; /* child: its pidfd; init itself, or what init lives in */
	int users; /* the pod's user namespace; -1: the host's */
	struct app_record apps[MAX_APPS];
	_Bool here, failed, ended, stopping; /* here: init has been there */
	_Bool adopts; /* what init leaves behind becomes this process's */
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
	if (plan->output == OUTPUT_TERMINAL) {
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
	run.deadline = milliseconds() + stopping_time(run.plan) + PATIENCE_MS;
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
		else if (number == SIGWINCH && run.plan->output == OUTPUT_TERMINAL)
			resize_relay();
		else if (number != SIGCHLD)
			send_order(run.channel, ORDER_SIGNAL, number);
	}
}

/* --- init's events ----------------------------------------------------------------------------- */

/* One that was never started has nothing to be told. */
static void note_app(const struct app_record *app)
{
	if (app->name != NULL && app->status.started.seconds != 0)
		write_app_status(app->name, &app->status);
}

static void take_event(const struct event *event, const struct attached *attached)
{
	struct moment now = {.seconds = event->seconds, .nanoseconds = event->nanoseconds};
	struct app_record *app = &run.apps[event->app % MAX_APPS];

	switch (event->kind) {
	case EVENT_HERE:
		run.here = 1;
		write_pids(getpid(), attached->sender);
		break;
	case EVENT_TERMINAL:
		begin_relay(attached->fd);
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
		app->status = (struct app_status){.pid = event->value, .started = now};
		note_app(app);
		if (run.plan->mutable)
			release_code();
		break;
	case EVENT_READY:
		write_moment("ready", now);
		notify_manager("READY=1");
		release_code();
		break;
	case EVENT_EXITED:
		app->status.finished = now;
		app->status.code = event->value;
		note_app(app);
		break;
	case EVENT_TOLD:
		complain(event->text);
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
	struct attached attached;
	int got;
	while ((got = receive_event(run.channel, &event, &attached)) > 0) {
		take_event(&event, &attached);
		control_hear(&event);
	}
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
_Noreturn static void become_child(int channel, _Bool born_inside)
{
	if (channel > 3)
		close_range(3, (unsigned)channel - 1, 0);
	close_range((unsigned)channel + 1, ~0U, 0);
	if (join_cgroups(&run.plan->supervisor, born_inside) < 0)
		_exit(254);
	run.inside(run.plan, channel);
	_exit(254);
}

/* Gives the pod its own users, and init what is made for it outside; until then it waits. */
static int settle_users(pid_t init)
{
	struct outfit outfit;
	if (!has_own_users(run.plan))
		return 0;
	run.users = open_users(init);
	if (run.users < 0 || map_users(&run.plan->supervisor, init) < 0)
		return fail("users of the pod");
	if (run.plan->outside.name == NULL) {
		send_order(run.channel, ORDER_BEGIN, 0);
		return 0;
	}
	const struct errand errand = {.pod = run.plan, .channel = run.channel, .users = run.users};
	if (begin_outfit(&outfit, &errand) < 0)
		return fail("mounts of the pod");
	return finish_outfit(&outfit);
}

static int start_child(void)
{
	int ends[2];
	if (open_channel(ends) < 0)
		return fail("socketpair");
	int cgroup = open_birth_cgroup(&run.plan->supervisor);
	pid_t pid = clone_process(run.plan->namespaces, &run.child, cgroup);
	if (pid == 0)
		become_child(ends[1], cgroup >= 0);
	int number = errno;
	if (cgroup >= 0)
		close(cgroup);
	close(ends[1]);
	run.channel = ends[0];
	errno = number;
	if (pid < 0)
		return fail("namespaces");
	if (run.inside == run_init) {
		run.here = 1;
		write_pids(getpid(), pid);
	}
	return settle_users(pid);
}

/* Where no PID namespace ends them, init's descendants outlive an init that was killed. Those of a process
 * that had children before it became the supervisor are not all the pod's: then only init ends them. */
static int adopt(void)
{
	int adopted = (run.plan->namespaces & CLONE_NEWPID) != 0 ? 0 : adopt_descendants();
	run.adopts = adopted > 0;
	return adopted < 0 ? fail("children of the pod cannot be watched") : 0;
}

static void wait_and_serve(void)
{
	struct pollfd fds[6 + CONTROL_FDS];
	nfds_t n = gather_relay(fds);
	int timeout = -1;
	fds[n++] = (struct pollfd){.fd = run.signals, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = run.channel, .events = POLLIN};
	n += control_gather(fds + n);
	if (run.stopping) {
		long long left = run.deadline - milliseconds();
		timeout = left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
	}
	poll(fds, n, timeout);
	relay();
	take_signals();
	control_serve(run.stopping);
	if (run.stopping && milliseconds() >= run.deadline)
		signal_pidfd(run.child, SIGKILL);
}

/* Init was ended from outside, and the apps with it. */
static void settle_killed(int number)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	run.code = number != 0 ? 128 + number : 254;
	for (size_t i = 0; i < MAX_APPS; i++) {
		struct app_record *app = &run.apps[i];
		if (app->name == NULL || app->status.started.seconds == 0 || app->status.finished.seconds != 0)
			continue;
		app->status.finished = (struct moment){.seconds = now.tv_sec, .nanoseconds = (int32_t)now.tv_nsec};
		app->status.code = 137;
		note_app(app);
	}
}

/* As init ended by a signal, so does the run process. */
static void end_by(int number)
{
	complain("the pod was killed");
	signal(number, SIG_DFL);
	raise(number);
}

/* Waits for the child. Where that is not init itself its own exit code says nothing: an init that is gone
 * without having said why was killed, and one that never was, what it lives in could not bring to life. */
static int wait_for_child(void)
{
	int killed_by;
	/* The kernel ends every process of the PID namespace before it lets init be waited for. */
	wait_pidfd(run.child, &killed_by);
	if (run.failed || run.ended || killed_by != 0)
		return killed_by;
	if (run.here)
		return run.inside == run_init ? 0 : SIGKILL;
	const struct section *outside = &run.plan->outside;
	const char *program = outside->count > 0 ? outside->steps[outside->count - 1].argv[0] : "what the pod lives in";
	complain(program, ": ended before the pod's init had started");
	return 0;
}

/* What other programs make to live in has no users of the pod's, and a section outside that ends in none is for a pod that
 * has: a plan of another flavour. */
static int check_place(void)
{
	_Bool outside = run.plan->outside.name != NULL, users = has_own_users(run.plan);
	if (run.inside == run_init ? !outside || users : !users)
		return 0;
	complain("plan: is of another flavour");
	return -1;
}

/* One that could not be given what it needs. */
static void end_child(void)
{
	int killed_by;
	if (run.child < 0)
		return;
	signal_pidfd(run.child, SIGKILL);
	wait_pidfd(run.child, &killed_by);
}

int supervise(const struct plan *plan, become_inside *inside)
{
	int killed_by;
	run.plan = plan;
	run.inside = inside;
	prctl(PR_SET_NAME, "gantry", 0, 0, 0);
	run.signals = open_signals(plan);
	if (run.signals < 0)
		return fail("signalfd"), 254;
	for (size_t i = 0; i < plan->app_count; i++)
		run.apps[i].name = plan->apps[i].name;
	run.child = run.users = -1;
	if (check_place() < 0 || hold_locks(&plan->supervisor) < 0 || make_cgroups(&plan->supervisor) < 0 || adopt() < 0 ||
	    (plan->mutable && control_begin(run.apps) < 0) || start_child() < 0) {
		end_child();
		control_end();
		remove_cgroups(&plan->teardown);
		write_exit(254);
		return 254;
	}
	control_connect(run.channel, run.users);
	while (take_events())
		wait_and_serve();
	control_end();
	killed_by = wait_for_child();
	if (run.adopts)
		end_descendants();
	finish_relay(run.stopping ? 1000 : -1);
	give_terminal_back();
	if (run.failed)
		run.code = 254;
	else if (!run.ended)
		settle_killed(killed_by);
	tell_killed(&plan->teardown);
	remove_cgroups(&plan->teardown);
	write_exit(run.code);
	if (!run.failed && !run.ended && killed_by != 0)
		end_by(killed_by);
	return run.code;
}
