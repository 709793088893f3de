/*
 * run UUID, for a pod in a machine. The supervisor's child, PID 1 of a PID namespace, makes what QEMU finds,
 * starts it, and stands between the two: events, orders and output pass through here, each checked, since
 * whoever is root in the machine may send anything.
 */
#include "../launch/run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../launch/channel.h"
#include "../launch/clock.h"
#include "../launch/step.h"
#include "account.h"
#include "initrd.h"
#include "outlet.h"
#include "qemu.h"
#include "visitor.h"
#include "wire.h"

/* How long a machine may take before it says anything; without hardware acceleration a slow host needs some. */
#define BOOT_PATIENCE_MS 120000

static struct {
	struct launch launch;
	struct qemu qemu;
	int signals;
	_Bool up; /* something was heard of the machine */
	_Bool lost, unserved; /* QEMU has closed the port; virtiofsd has ended, which is lost too */
	int server_status;
	long long deadline; /* for the first word of the machine; once the pod is being stopped, for its output */
	_Bool stopping;
} host;

static struct wire wire;

/* --- failing ----------------------------------------------------------------------------------- */

_Noreturn static void fail_part(const char *part, const char *reason, const char *program, int status, const char *advice)
{
	char message[500];
	struct text t = TEXT_IN(message);
	text_add(&t, part);
	text_add(&t, " ended by itself: ");
	if (reason[0] != '\0') {
		text_add(&t, reason);
	} else {
		text_add(&t, program);
		text_add(&t, WIFSIGNALED(status) ? " was killed by signal " : "'s exit code is ");
		text_number(&t, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), 0, ' ');
	}
	text_add(&t, advice);
	give_up(message);
}

_Noreturn static void fail_unserved(void)
{
	qemu_listen(&host.qemu);
	fail_part("what serves the machine its files", host.qemu.server_last, "virtiofsd", host.server_status,
		  host.up ? "" : ": \"share\": \"9p\" in kvm.d does without it");
}

_Noreturn static void fail_ended(int status)
{
	qemu_listen(&host.qemu);
	/* Without its files QEMU does not even start, and cannot say why there are none. When it is QEMU that hangs up,
	 * virtiofsd ends with 0, and may well be the first to have ended. */
	if (host.unserved && host.server_status != 0 && !host.up && WIFEXITED(status))
		fail_unserved();
	fail_part("the machine", host.qemu.last, "QEMU", status, "");
}

/* --- becoming the machine ---------------------------------------------------------------------- */

static void bind_to_supervisor(void)
{
	struct pollfd peer = {.fd = account.channel};
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		give_up_call("PR_SET_PDEATHSIG", errno);
	if (poll(&peer, 1, 0) == 1) /* it died before that call */
		_exit(254);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "gantry-machine", 0, 0, 0);
	setsid();
	send_event(account.channel, EVENT_HERE, 0, 0, NULL, -1);
}

static void open_signals(void)
{
	sigset_t taken;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&taken);
	sigaddset(&taken, SIGCHLD);
	sigaddset(&taken, SIGWINCH);
	sigaddset(&taken, SIGHUP);
	sigprocmask(SIG_SETMASK, &taken, NULL);
	host.signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	if (host.signals < 0)
		give_up_call("signalfd", errno);
}

static int carry_out(const struct step *step)
{
	const char *file;
	int status;
	switch (step->word) {
	case WORD_INITRD:
		status = perform_initrd(step, &file);
		if (status < 0)
			give_up_call(file, -status);
		return 0;
	case WORD_SPAWN:
		return qemu_serve(&host.qemu, step);
	case WORD_EXEC:
		return qemu_start(&host.qemu, &host.launch, step);
	default:
		return perform(&host.launch, step);
	}
}

static void make_machine(void)
{
	const struct section *outside = &account.plan->outside;
	begin_launch(&host.launch);
	umask(0);
	qemu_begin(&host.qemu);
	for (size_t i = 0; i < outside->count; i++) {
		int status = carry_out(&outside->steps[i]);
		if (status < 0) {
			char message[900];
			struct text t = TEXT_IN(message);
			text_add(&t, "machine: ");
			describe_failure(&t, &outside->steps[i], -status);
			give_up(message);
		}
	}
}

/* --- out of the machine ------------------------------------------------------------------------ */

/* -1: what a machine that keeps to the protocol does not send. */
static int pass_frame(const struct frame *frame, const char *payload)
{
	if (account.ended)
		return -1;
	if (frame->session != 0)
		return visitor_take(frame, payload);
	if (frame->kind != FRAME_EVENT)
		return outlet_take(frame, payload);
	account_take(frame, payload);
	return 0;
}

/* Whether the machine may still tell something. */
static _Bool take_frames(void)
{
	struct frame frame;
	const char *payload;
	int got;
	_Bool open = wire_fill(&wire) == 0;
	while ((got = wire_next(&wire, &frame, &payload)) > 0) {
		host.up = 1;
		if (pass_frame(&frame, payload) < 0)
			break;
	}
	if (got != 0)
		give_up(BREACH);
	return open;
}

/* --- into the machine -------------------------------------------------------------------------- */

static void send_size(enum frame_kind kind)
{
	const struct dimensions size = outlet_size();
	wire_send(&wire, kind, 0, 0, &size, sizeof size);
}

/* A pod that is being stopped does not wait for ever for whoever reads its output. */
static void limit_output(uint32_t order)
{
	long long limit = milliseconds() + (order == ORDER_KILL ? 1000 : stopping_time(account.plan) + 1000);
	if (!host.stopping || limit < host.deadline)
		host.deadline = limit;
	host.stopping = 1;
}

static void obey(void)
{
	struct order order;
	int got, fds[MAX_ATTACHED];
	size_t count;
	while ((got = receive_order(account.channel, &order, fds, &count)) > 0) {
		/* Those of a mutable pod, which this flavour refuses, bring some. */
		while (count > 0)
			close(fds[--count]);
		/* Nothing runs yet: there is nobody to give time to. */
		if (!account.set_up && order.kind != ORDER_SIGNAL) {
			send_event(account.channel, EVENT_ENDED, 0, 128 + order.value, NULL, -1);
			_exit(0);
		}
		if (order.kind != ORDER_SIGNAL)
			limit_output(order.kind);
		wire_send(&wire, FRAME_ORDER, 0, 0, &order, sizeof order);
	}
	if (got < 0)
		_exit(254); /* the supervisor is gone, and the pod with it */
}

/* A part of the machine is gone, and with it soon the rest: QEMU's end, which says why, is waited for a moment. */
static void lose(int patience_ms)
{
	if (!host.lost)
		host.deadline = milliseconds() + patience_ms;
	host.lost = 1;
}

static void lose_server(int status)
{
	host.unserved = 1;
	host.server_status = status;
	lose(status == 0 ? 5000 : 1000);
}

static void lose_qemu(int status)
{
	while (take_frames() && !account.ended)
		;
	if (!account.ended)
		fail_ended(status);
}

static void take_signals(void)
{
	struct signalfd_siginfo taken;
	int status;
	pid_t pid;
	while (read(host.signals, &taken, sizeof taken) == sizeof taken)
		if (taken.ssi_signo == SIGWINCH)
			send_size(FRAME_RESIZE);
	/* QEMU first: with it goes virtiofsd. */
	if (waitpid(host.qemu.pid, &status, WNOHANG) == host.qemu.pid)
		lose_qemu(status);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == host.qemu.pid)
			lose_qemu(status);
		if (pid == host.qemu.server)
			lose_server(status);
	}
}

/* --- the loop ---------------------------------------------------------------------------------- */

static nfds_t gather(struct pollfd *fds)
{
	nfds_t n = 0;
	fds[n++] = (struct pollfd){.fd = account.channel, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = account.ended ? -1 : wire.fd, .events = wire_events(&wire)};
	fds[n++] = (struct pollfd){.fd = host.signals, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = host.qemu.console.fd, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = host.qemu.complaints.fd, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = host.qemu.server_complaints.fd, .events = POLLIN};
	n += outlet_gather(fds + n, &wire);
	return n + visitors_gather(fds + n);
}

static void serve_outlet(void)
{
	if (host.stopping && milliseconds() >= host.deadline)
		outlet_drop();
	outlet_serve(&wire);
}

static int patience(void)
{
	long long left = host.deadline - milliseconds();
	if (host.up && !host.lost && (!host.stopping || left <= 0))
		return -1;
	return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* QEMU closes its port when it ends, which is told with its exit code, or to be rid of us, which is its end. */
static void lose_port(void)
{
	wire.fd = -1;
	take_signals();
	lose(1000);
}

static void wait_and_serve(void)
{
	struct pollfd fds[10 + MAX_SESSIONS];
	if (host.unserved && milliseconds() >= host.deadline)
		fail_unserved();
	if (host.lost && milliseconds() >= host.deadline)
		give_up("QEMU closed the port of the machine, which was ended");
	if (!host.up && milliseconds() >= host.deadline)
		give_up("the machine does not start: nothing was heard of it for two minutes");
	if (poll(fds, gather(fds), patience()) < 0 && errno != EINTR)
		give_up_call("poll", errno);
	obey();
	qemu_listen(&host.qemu);
	if (fds[1].revents != 0 && !take_frames() && !account.ended)
		lose_port();
	take_signals();
	serve_outlet();
	visitors_serve(&wire);
	wire_flush(&wire);
}

/* What the pod printed is passed on however slowly it is read, unless the pod is being stopped. */
static void finish_output(void)
{
	struct pollfd fds[1 + 3];
	while (!outlet_empty()) {
		/* Nothing else is read any more, and a QEMU that is gone would always be ready to be. */
		fds[0] = (struct pollfd){.fd = account.channel, .events = POLLIN};
		poll(fds, 1 + outlet_gather(fds + 1, &wire), patience());
		obey();
		serve_outlet();
	}
}

static void become_machine(const struct plan *plan, int channel)
{
	account.plan = plan;
	account.channel = channel;
	bind_to_supervisor();
	if (plan->outside.name == NULL)
		give_up("the plan has no section outside: it is another flavour's");
	open_signals();
	int status = outlet_begin(plan->output == OUTPUT_TERMINAL);
	if (status < 0)
		give_up_call("terminal", -status);
	status = visitors_begin();
	if (status < 0)
		give_up_call(VISITORS_SOCKET, -status);
	make_machine();
	wire_open(&wire, host.qemu.port);
	host.deadline = milliseconds() + BOOT_PATIENCE_MS;
	send_size(FRAME_BEGIN);
	while (!account.ended)
		wait_and_serve();
	finish_output();
	send_event(account.channel, EVENT_ENDED, 0, account.code, NULL, -1);
	_exit(0);
}

int main(int argc, char **argv)
{
	return run_pod(argc, argv, become_machine);
}
