/*
 * enter APP COMMAND ARGUMENTS…: runs a command inside an app of the pod of the working directory
 * (specs/stage1-interface.md). The pod is in a machine: a session is asked for there, over the socket of the
 * process that keeps the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../launch/plan.h"
#include "../launch/pod.h"
#include "../launch/process.h"
#include "../launch/terminal.h"
#include "../launch/text.h"
#include "stream.h"
#include "visitor.h"

static struct {
	_Bool terminal, over;
	int code, signals;
	struct source input;
	struct sink sinks[3];
} session;

static struct wire wire;

static int fail(const char *what, const char *why)
{
	give_terminal_back();
	complain(what, ": ", why);
	return 254;
}

/* Connected to the very process that keeps the pod's machine, or -1. */
static int call(const struct running_pod *pod)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = VISITORS_SOCKET};
	struct ucred peer;
	socklen_t length = sizeof peer;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid == pod->init_pid &&
	    signal_pidfd(pod->init, 0) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static struct dimensions dimensions(void)
{
	struct winsize size = {0};
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	return (struct dimensions){.rows = size.ws_row, .columns = size.ws_col};
}

/* -1: too long. */
static int add_word(char *bytes, size_t *length, struct request *request, const char *word)
{
	size_t size = strlen(word) + 1;
	if (size > LONGEST_PAYLOAD - *length)
		return -1;
	memcpy(bytes + *length, word, size);
	*length += size;
	request->words++;
	return 0;
}

static int ask(char **words)
{
	static char bytes[LONGEST_PAYLOAD];
	struct request request = {.terminal = session.terminal, .size = dimensions()};
	size_t length = sizeof request;
	const char *term = getenv("TERM");
	if (add_word(bytes, &length, &request, term != NULL ? term : "") < 0)
		return -1;
	for (; *words != NULL; words++)
		if (add_word(bytes, &length, &request, *words) < 0)
			return -1;
	memcpy(bytes, &request, sizeof request);
	return wire_send(&wire, FRAME_OPEN, 0, 0, bytes, length);
}

static int open_signals(void)
{
	static const int taken[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
		sigaddset(&set, taken[i]);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void take_signals(void)
{
	struct signalfd_siginfo taken;
	while (read(session.signals, &taken, sizeof taken) == sizeof taken) {
		const int32_t number = (int32_t)taken.ssi_signo;
		const struct dimensions size = dimensions();
		if (number == SIGWINCH)
			wire_send(&wire, FRAME_RESIZE, 0, 0, &size, sizeof size);
		else
			wire_send(&wire, FRAME_SIGNAL, 0, 0, &number, sizeof number);
	}
}

static int take_frame(const struct frame *frame, const char *payload)
{
	int32_t code;
	switch (frame->kind) {
	case FRAME_DATA:
		return frame->stream == 1 || frame->stream == 2 ? sink_take(&session.sinks[frame->stream], frame, payload) : -1;
	case FRAME_END:
		return 0;
	case FRAME_CREDIT:
		return source_credit(&session.input, frame, payload);
	case FRAME_EXIT:
		if (frame->length != sizeof code)
			return -1;
		memcpy(&code, payload, sizeof code);
		session.code = code & 255;
		session.over = 1;
		return 0;
	default:
		return -1;
	}
}

/* -1: the pod is gone, or makes no sense. */
static int take_frames(void)
{
	struct frame frame;
	const char *payload;
	int got, filled = wire_fill(&wire);
	while (!session.over && (got = wire_next(&wire, &frame, &payload)) != 0)
		if (got < 0 || take_frame(&frame, payload) < 0)
			return -1;
	return session.over ? 0 : filled;
}

static nfds_t gather(struct pollfd *fds)
{
	nfds_t n = 0;
	fds[n++] = (struct pollfd){.fd = session.over ? -1 : wire.fd, .events = wire_events(&wire)};
	fds[n++] = (struct pollfd){.fd = session.signals, .events = POLLIN};
	if (!session.over && source_wants(&session.input, &wire))
		fds[n++] = (struct pollfd){.fd = session.input.fd, .events = POLLIN};
	for (int i = 1; i <= 2; i++)
		if (session.sinks[i].output.length > 0 && session.sinks[i].output.fd >= 0)
			fds[n++] = (struct pollfd){.fd = session.sinks[i].output.fd, .events = POLLOUT};
	return n;
}

/* Standard input may be shared with others, so it stays as it is, and is read when something is there. */
static void read_input(void)
{
	struct pollfd ready = {.fd = session.input.fd, .events = POLLIN};
	if (source_wants(&session.input, &wire) && poll(&ready, 1, 0) == 1)
		source_read(&session.input, &wire, 0, 0);
}

static int converse(void)
{
	struct pollfd fds[6];
	while (!session.over || session.sinks[1].output.length + session.sinks[2].output.length > 0) {
		if (poll(fds, gather(fds), -1) < 0 && errno != EINTR)
			return fail("poll", error_text(errno));
		take_signals();
		if (!session.over && take_frames() < 0)
			return fail("the pod", "has ended");
		read_input();
		for (unsigned i = 1; i <= 2; i++)
			sink_flush(&session.sinks[i], &wire, 0, i);
		if (!session.over)
			wire_flush(&wire);
	}
	give_terminal_back();
	return session.code;
}

int main(int argc, char **argv)
{
	static struct plan plan;
	struct running_pod pod;
	subcommand = "enter";
	mend_inheritance();
	if (argc < 3)
		return fail("usage", "enter APP COMMAND ARGUMENTS…, in the pod directory");
	if (read_plan(&plan, "plan") < 0)
		return 254;
	if (plan_app(&plan, argv[1]) == NULL)
		return fail(argv[1], "no such app in this pod");
	if (require_pod(&pod) < 0)
		return 254;
	if (running_app(argv[1]) < 0)
		return fail(argv[1], "the app is not running");
	int fd = call(&pod);
	if (fd < 0)
		return fail("the pod", "nobody answers in it");
	session.signals = open_signals();
	if (session.signals < 0)
		return fail("signals", error_text(errno));
	session.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	wire_open(&wire, fd);
	if (ask(argv + 1) < 0)
		return fail(argv[2], "the command is too long for a machine: at most 64 KiB");
	source_open(&session.input, STDIN_FILENO);
	open_output(&session.sinks[1].output, STDOUT_FILENO);
	open_output(&session.sinks[2].output, STDERR_FILENO);
	if (session.terminal)
		take_terminal();
	return converse();
}
