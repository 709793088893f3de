#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apps.h"
#include "channel.h"
#include "clock.h"
#include "credentials.h"
#include "descendants.h"
#include "ending.h"
#include "log.h"
#include "memory.h"
#include "process.h"
#include "pty.h"
#include "step.h"
#include "users.h"

static struct {
	const struct plan *plan;
	struct launch launch;
	int channel, signals;
	_Bool stopping, extended, killed;
	long long deadline; /* of the grace, while stopping; once more for event handlers where `extended` */
} pod;

/* --- becoming init ----------------------------------------------------------------------------- */

/* From here on the pod dies with its supervisor. */
static void bind_to_supervisor(void)
{
	struct pollfd peer = {.fd = pod.channel};
	/* Without a PID namespace the end of the channel says it: what is below this process would outlive a
	 * signal that ends it. */
	if (!first_process()) {
		if (adopt_descendants() < 0)
			fail_call(pod.channel, "children of the pod cannot be watched (CONFIG_PROC_CHILDREN is needed)");
	} else if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) {
		fail_call(pod.channel, "PR_SET_PDEATHSIG");
	}
	/* It may have died before that call, which then came too late. */
	if (poll(&peer, 1, 0) == 1)
		_exit(254);
	/* What an app may not see: init's memory, its descriptors, its link to the launcher. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "gantry-init", 0, 0, 0);
}

/* The environment is that of whoever started the pod, whose secrets an app that may trace init could read in
 * /proc/1/environ. Nothing here needs it. */
static void forget_environment(void)
{
	for (char **variable = environ; variable != NULL && *variable != NULL; variable++)
		explicit_bzero(*variable, strlen(*variable));
}

/* By which others than the supervisor ask the pod to end: service managers, and machinectl poweroff by
 * SIGRTMIN+4, where glibc has SIGRTMIN 34. */
static const int stop_signals[] = {SIGTERM, 34 + 4};

static void settle_descriptors(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		fail_call(pod.channel, "/dev/null");
	if (pod.plan->output == OUTPUT_LINES && dup2(null, STDIN_FILENO) < 0)
		fail_call(pod.channel, "standard input");
	close(null);
	if (pod.plan->output == OUTPUT_LINES)
		log_begin();
}

/* PID 1 gets no signal it does not ask for. Any other process does: a service manager that stops all
 * processes of its group would have init end before the apps. */
static void settle_signals(void)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
	sigset_t taken, blocked;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&taken);
	sigaddset(&taken, SIGCHLD);
	for (size_t i = 0; first_process() && i < sizeof stop_signals / sizeof *stop_signals; i++)
		sigaddset(&taken, stop_signals[i]);
	blocked = taken;
	if (!first_process()) {
		sigfillset(&blocked);
		for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
			sigdelset(&blocked, faults[i]);
	}
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	pod.signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	if (pod.signals < 0)
		fail_call(pod.channel, "signalfd");
}

/* Apps read nothing, from the null device of the pod: root of an app may change owner and mode of what
 * it has open, and those of the host's are the host's. */
static void empty_input(void)
{
	struct stat st;
	int null = open("/dev/null", O_RDWR | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
	if (null >= 0 && (fstat(null, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))) {
		close(null);
		null = -1;
		errno = ENODEV;
	}
	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		fail_call(pod.channel, "/dev/null of the pod");
	close(null);
}

/* Until the supervisor has mapped the users of the pod, nothing can be done as any of them; what it has had made
 * outside comes with that. */
static void await_users(void)
{
	struct pollfd peer = {.fd = pod.channel, .events = POLLIN};
	struct order order;
	int fds[MAX_ATTACHED], got;
	size_t count;
	while ((got = receive_order(pod.channel, &order, fds, &count)) == 0)
		poll(&peer, 1, -1);
	if (got < 0 || order.kind != ORDER_BEGIN)
		_exit(254);
	for (size_t i = 0; i < count; i++)
		pod.launch.slots[order.slots[i] % MAX_SLOTS] = fds[i];
}

static void make_pod(void)
{
	const struct section *section = &pod.plan->pod;
	pod.launch.raw = pod.plan->output == OUTPUT_RAW;
	umask(0);
	for (size_t i = 0; i < section->count; i++) {
		int status = perform(&pod.launch, &section->steps[i]);
		if (status < 0) {
			char message[900];
			struct text t = TEXT_IN(message);
			text_add(&t, "pod: ");
			describe_failure(&t, &section->steps[i], -status);
			fail(pod.channel, message);
		}
	}
	if (pod.plan->output == OUTPUT_TERMINAL)
		send_event(pod.channel, EVENT_TERMINAL, 0, 0, NULL, pod.launch.terminal_master);
	else if (pod.plan->output == OUTPUT_LINES)
		empty_input();
}

/* What is still held of the pod's mounts and terminal is the apps' now. */
static void let_go(void)
{
	close_terminal(&pod.launch);
	for (size_t i = 0; i < MAX_SLOTS; i++)
		if (pod.launch.slots[i] >= 0)
			close(pod.launch.slots[i]);
}

/* Every app has its process, and takes what it needs by itself: an app with CAP_SYS_PTRACE, which has init in its hands, has
 * no more of it than that. Where apps are still to come init starts them; without a PID namespace it is not to be seen. */
static void give_up_powers(void)
{
	if (pod.plan->mutable || !first_process())
		return;
	int status = keep_kill_alone();
	if (status < 0) {
		errno = -status;
		fail_call(pod.channel, "capabilities of init");
	}
}

/* A mutable pod is ready when apps can come. */
static void be_ready(void)
{
	send_event(pod.channel, EVENT_SET_UP, 0, 0, NULL, -1);
	send_event(pod.channel, EVENT_READY, 0, 0, NULL, -1);
	release_code();
}

/* --- ending ------------------------------------------------------------------------------------ */

static void stop(void)
{
	if (pod.stopping)
		return;
	pod.stopping = 1;
	pod.deadline = milliseconds() + pod.plan->grace * 1000LL;
	stop_apps();
}

static void kill_all(void)
{
	pod.killed = 1;
	give_up_handlers();
	kill_rest();
}

/* The apps go; their event handlers that are still to come have the same time again. */
static void end_grace(void)
{
	if (pod.extended || !kill_apps()) {
		kill_all();
		return;
	}
	pod.extended = 1;
	pod.deadline = milliseconds() + pod.plan->grace * 1000LL;
}

/* Only from outside of the pod, of whose processes the kernel tells init no PID. */
static void take_signals(void)
{
	struct signalfd_siginfo taken;
	while (read(pod.signals, &taken, sizeof taken) == sizeof taken)
		if (taken.ssi_signo != SIGCHLD && taken.ssi_pid == 0 && taken.ssi_code == SI_USER) {
			stop_at_once(SIGTERM);
			stop();
		}
}

static void reap(void)
{
	int status;
	pid_t pid;
	take_signals();
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (note_ended(pid, status))
			stop();
}

static void obey(void)
{
	struct order order;
	int got, fds[MAX_ATTACHED];
	size_t count;
	while ((got = receive_order(pod.channel, &order, fds, &count)) > 0) {
		order.name[APP_NAME_ROOM - 1] = '\0';
		if (order.kind == ORDER_START_APP)
			start_later(&(struct parcel){.order = &order, .fds = fds, .count = count}, pod.stopping);
		while (count > 0)
			close(fds[--count]);
		if (order.kind == ORDER_SIGNAL)
			signal_apps(order.value);
		if (order.kind == ORDER_STOP_APP)
			stop_app(order.app);
		if (order.kind != ORDER_STOP && order.kind != ORDER_KILL)
			continue;
		stop_at_once(order.value);
		stop();
		if (order.kind == ORDER_KILL)
			kill_all();
	}
	if (got < 0)
		leave(254); /* the supervisor is gone, and the pod with it */
}

/* --- the loop ---------------------------------------------------------------------------------- */

/* Milliseconds until something is to be done that nobody asks for; -1: never. */
static int time_left(void)
{
	if (pod.killed && !first_process())
		return 10; /* what was not there to be killed the first time */
	long long next = pod.stopping && !pod.killed ? pod.deadline : INT64_MAX, overdue = next_overdue();
	if (overdue < next)
		next = overdue;
	if (next == INT64_MAX)
		return -1;
	long long left = next - milliseconds();
	return left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* Every descriptor worth waiting for. */
static nfds_t gather(struct pollfd *fds)
{
	nfds_t n = 0;
	fds[n++] = (struct pollfd){.fd = pod.channel, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = pod.signals, .events = POLLIN};
	n += gather_reports(fds + n);
	return n + log_gather(fds + n);
}

static void wait_and_serve(void)
{
	struct pollfd fds[2 + MAX_APPS + LOG_FDS];
	if (poll(fds, gather(fds), time_left()) < 0 && errno != EINTR)
		fail_call(pod.channel, "poll");
	obey();
	read_reports();
	log_serve(false);
	reap();
	kill_overdue();
	if (pod.killed)
		kill_all();
	else if (pod.stopping && milliseconds() >= pod.deadline)
		end_grace();
}

/* With every process gone, what is in the pipes is all there is. It is passed on however slowly it is
 * read, unless the pod is being stopped: then for the rest of the grace, and a second at least. */
static void finish_logs(void)
{
	struct pollfd fds[2 + MAX_APPS + LOG_FDS];
	long long least = milliseconds() + 1000;
	pod.killed = 0;
	for (;;) {
		log_serve(true);
		if (log_finished())
			return;
		if (pod.stopping && pod.deadline < least)
			pod.deadline = least;
		if (pod.stopping && milliseconds() >= pod.deadline)
			return;
		if (poll(fds, gather(fds), time_left()) < 0 && errno != EINTR)
			return;
		obey();
		if (pod.killed)
			return;
	}
}

void run_init(const struct plan *plan, int channel)
{
	pod.plan = plan;
	pod.channel = channel;
	bind_to_supervisor();
	forget_environment();
	setsid();
	if (leave_keyring() < 0)
		fail_call(pod.channel, "session keyring");
	settle_descriptors();
	settle_signals();
	begin_launch(&pod.launch);
	if (has_own_users(plan))
		await_users();
	make_pod();
	start_apps(plan, &pod.launch, channel);
	/* Event handlers, and the apps that wait for one, find what the first found. */
	if (plan->handlers == NULL) {
		let_go();
		give_up_powers();
	}
	if (plan->mutable)
		be_ready();
	while (!apps_exited() || (plan->mutable && !pod.stopping))
		wait_and_serve();
	end_rest();
	finish_logs();
	log_settle();
	send_event(pod.channel, EVENT_ENDED, 0, apps_code(), NULL, -1);
	_exit(0);
}
