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

#include "app.h"
#include "cgroup.h"
#include "channel.h"
#include "clock.h"
#include "log.h"
#include "memory.h"
#include "process.h"
#include "pty.h"
#include "step.h"

enum phase { SETTING_UP, WAITING, STARTING, RUNNING, EXITED };

struct app {
	const struct section *section;
	enum phase phase;
	pid_t pid;
	int report;
};

static struct {
	const struct plan *plan;
	struct launch launch;
	struct app apps[MAX_APPS];
	size_t count;
	int channel, signals;
	_Bool stopping, killed;
	long long deadline; /* of the grace, while stopping */
	int code;           /* of the first app that failed */
} pod;

_Noreturn static void fail(const char *message)
{
	send_event(pod.channel, EVENT_FAILED, 0, 0, message, -1);
	_exit(254); /* the kernel ends what else is in the PID namespace */
}

_Noreturn static void fail_call(const char *what)
{
	char message[256];
	struct text t = TEXT_IN(message);
	int number = errno;
	text_add(&t, what);
	text_add(&t, ": ");
	text_add(&t, error_text(number));
	fail(message);
}

/* --- becoming init ----------------------------------------------------------------------------- */

/* From here on the pod dies with its supervisor. */
static void bind_to_supervisor(void)
{
	struct pollfd peer = {.fd = pod.channel};
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		fail_call("PR_SET_PDEATHSIG");
	/* It may have died before that call, which then came too late. */
	if (poll(&peer, 1, 0) == 1)
		_exit(254);
	/* What an app may not see: init's memory, its descriptors, its link to the launcher. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "gantry-init", 0, 0, 0);
}

static void settle_descriptors(void)
{
	sigset_t children;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		fail_call("/dev/null");
	if (pod.plan->terminal)
		close(null);
	else if (dup2(null, STDIN_FILENO) < 0)
		fail_call("standard input");
	if (!pod.plan->terminal) {
		close(null);
		log_begin();
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_SETMASK, &children, NULL);
	pod.signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (pod.signals < 0)
		fail_call("signalfd");
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
		fail_call("/dev/null of the pod");
	close(null);
}

static void make_pod(void)
{
	const struct section *section = &pod.plan->pod;
	begin_launch(&pod.launch);
	umask(0);
	for (size_t i = 0; i < section->count; i++) {
		int status = perform(&pod.launch, &section->steps[i]);
		if (status < 0) {
			char message[900];
			struct text t = TEXT_IN(message);
			text_add(&t, "pod: ");
			describe_failure(&t, &section->steps[i], -status);
			fail(message);
		}
	}
	if (pod.plan->terminal)
		send_event(pod.channel, EVENT_TERMINAL, 0, 0, NULL, pod.launch.terminal_master);
	else
		empty_input();
}

/* --- starting apps ----------------------------------------------------------------------------- */

static void start_app(struct app *app)
{
	int report[2];
	struct app_streams streams = {.output = -1, .errors = -1};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0)
		fail_call("socketpair");
	if (!pod.plan->terminal) {
		streams.output = log_open(app->section->name, 0);
		streams.errors = log_open(app->section->name, 1);
		if (streams.output < 0 || streams.errors < 0)
			fail_call("pipe");
	}
	streams.report = report[1];
	app->pid = fork();
	if (app->pid < 0)
		fail_call("fork");
	if (app->pid == 0)
		run_app(&pod.launch, app->section, &streams);
	close(report[1]);
	app->report = report[0];
	if (!pod.plan->terminal) {
		close(streams.output);
		close(streams.errors);
		log_writer(app->pid);
	}
}

static void start_apps(void)
{
	for (size_t i = 0; i < pod.plan->app_count; i++) {
		pod.apps[i].section = &pod.plan->apps[i];
		start_app(&pod.apps[i]);
		pod.count++;
	}
	/* What is still held of the pod's mounts and terminal is the apps' now. */
	close_terminal(&pod.launch);
	for (size_t i = 0; i < MAX_SLOTS; i++)
		if (pod.launch.slots[i] >= 0)
			close(pod.launch.slots[i]);
}

static _Bool all_in(enum phase phase)
{
	for (size_t i = 0; i < pod.count; i++)
		if (pod.apps[i].phase != phase)
			return 0;
	return 1;
}

static void open_gate(void)
{
	send_event(pod.channel, EVENT_SET_UP, 0, 0, NULL, -1);
	for (size_t i = 0; i < pod.count; i++) {
		pod.apps[i].phase = STARTING;
		send(pod.apps[i].report, REPORT_SET_UP, 1, MSG_NOSIGNAL);
	}
}

static void report_closed(struct app *app)
{
	if (app->phase != STARTING) {
		char message[256];
		struct text t = TEXT_IN(message);
		text_add(&t, "app \"");
		text_add(&t, app->section->name);
		text_add(&t, "\": its process died while it was set up");
		fail(message);
	}
	close(app->report);
	app->report = -1;
	app->phase = RUNNING;
	send_event(pod.channel, EVENT_STARTED, (uint32_t)(app - pod.apps), app->pid, NULL, -1);
	_Bool all = 1;
	for (size_t i = 0; i < pod.count; i++)
		all = all && pod.apps[i].phase >= RUNNING;
	if (all) {
		send_event(pod.channel, EVENT_READY, 0, 0, NULL, -1);
		release_code();
	}
}

static void read_report(struct app *app)
{
	char message[900];
	if (app->report < 0)
		return;
	ssize_t n = recv(app->report, message, sizeof message - 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		report_closed(app);
	} else if (message[0] == REPORT_SET_UP[0]) {
		app->phase = WAITING;
		if (all_in(WAITING))
			open_gate();
	} else {
		message[n] = '\0';
		fail(message);
	}
}

/* --- ending ------------------------------------------------------------------------------------ */

/* To each app the signal, or where that is 0 the one that its section names. */
static void signal_apps(int number)
{
	for (size_t i = 0; i < pod.count; i++)
		if (pod.apps[i].phase == STARTING || pod.apps[i].phase == RUNNING)
			kill(pod.apps[i].pid, number > 0 ? number : pod.apps[i].section->stop_signal);
}

static void stop(void)
{
	if (pod.stopping)
		return;
	pod.stopping = 1;
	pod.deadline = milliseconds() + pod.plan->grace * 1000LL;
	signal_apps(0);
	signal_apps(SIGCONT);
}

static void kill_all(void)
{
	pod.killed = 1;
	kill(-1, SIGKILL);
}

static void app_exited(struct app *app, int status)
{
	/* Its report may still say that it could not be executed. */
	while (app->report >= 0)
		read_report(app);
	int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	app->phase = EXITED;
	send_event(pod.channel, EVENT_EXITED, (uint32_t)(app - pod.apps), code, NULL, -1);
	if (code != 0 && pod.code == 0) {
		pod.code = code;
		if (!all_in(EXITED))
			stop();
	}
}

static void reap(void)
{
	struct signalfd_siginfo taken;
	int status;
	pid_t pid;
	while (read(pod.signals, &taken, sizeof taken) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < pod.count; i++)
			if (pod.apps[i].pid == pid && pod.apps[i].phase != EXITED)
				app_exited(&pod.apps[i], status);
}

/* Nothing runs yet: there is nobody to give time to. */
static void stop_at_once(int number)
{
	for (size_t i = 0; i < pod.count; i++)
		if (pod.apps[i].phase < STARTING) {
			send_event(pod.channel, EVENT_ENDED, 0, 128 + number, NULL, -1);
			_exit(0);
		}
}

static void obey(void)
{
	struct order order;
	int got;
	while ((got = receive_order(pod.channel, &order)) > 0) {
		if (order.kind == ORDER_SIGNAL) {
			signal_apps(order.value);
			continue;
		}
		stop_at_once(order.value);
		stop();
		if (order.kind == ORDER_KILL)
			kill_all();
	}
	if (got < 0)
		_exit(254); /* the supervisor is gone, and the pod with it */
}

/* --- the loop ---------------------------------------------------------------------------------- */

static int time_left(void)
{
	if (!pod.stopping || pod.killed)
		return -1;
	long long left = pod.deadline - milliseconds();
	return left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* Every descriptor worth waiting for. */
static nfds_t gather(struct pollfd *fds)
{
	nfds_t n = 0;
	fds[n++] = (struct pollfd){.fd = pod.channel, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = pod.signals, .events = POLLIN};
	for (size_t i = 0; i < pod.count; i++)
		if (pod.apps[i].report >= 0)
			fds[n++] = (struct pollfd){.fd = pod.apps[i].report, .events = POLLIN};
	return n + log_gather(fds + n);
}

static void wait_and_serve(void)
{
	struct pollfd fds[2 + 3 * MAX_APPS + 2];
	if (poll(fds, gather(fds), time_left()) < 0 && errno != EINTR)
		fail_call("poll");
	obey();
	for (size_t i = 0; i < pod.count; i++)
		read_report(&pod.apps[i]);
	log_serve(false);
	reap();
	if (pod.stopping && !pod.killed && milliseconds() >= pod.deadline)
		kill_all();
}

/* With every process gone, what is in the pipes is all there is. It is passed on however slowly it is
 * read, unless the pod is being stopped: then for the rest of the grace, and a second at least. */
static void finish_logs(void)
{
	struct pollfd fds[2 + 3 * MAX_APPS + 2];
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

_Noreturn void run_init(const struct plan *plan, int channel)
{
	pod.plan = plan;
	pod.channel = channel;
	bind_to_supervisor();
	setsid();
	if (leave_keyring() < 0)
		fail_call("session keyring");
	settle_descriptors();
	make_pod();
	start_apps();
	while (!all_in(EXITED))
		wait_and_serve();
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	finish_logs();
	send_event(pod.channel, EVENT_ENDED, 0, pod.code, NULL, -1);
	_exit(0);
}
