#include "terminal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "clock.h"
#include "output.h"

static struct termios found;
static volatile sig_atomic_t taken;

void take_terminal(void)
{
	struct termios raw;
	if (!isatty(STDIN_FILENO) || (!taken && tcgetattr(STDIN_FILENO, &found) < 0))
		return;
	raw = found;
	cfmakeraw(&raw);
	/* In the background this stops the process until it is brought to the foreground, as it should. */
	while (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0 && errno == EINTR)
		;
	taken = 1;
}

void give_terminal_back(void)
{
	if (!taken)
		return;
	taken = 0;
	/* In the background the terminal is the shell's, which has set its own modes. */
	if (tcgetpgrp(STDIN_FILENO) == getpgrp())
		tcsetattr(STDIN_FILENO, TCSADRAIN, &found);
}

void stop_with_terminal(void)
{
	int had = taken;
	give_terminal_back();
	raise(SIGSTOP);
	if (had)
		take_terminal();
	resize_relay();
}

/* Standard input to the pod, the pod to standard output. */
static struct {
	int master; /* -1: not relaying, or hung up */
	_Bool input_ended;
	char input[4096];
	size_t start, length;
	char last;
	struct output output;
} wire = {.master = -1, .last = '\n'};

void begin_relay(int master)
{
	wire.master = master;
	open_output(&wire.output, STDOUT_FILENO);
	resize_relay();
}

void resize_relay(void)
{
	struct winsize size;
	if (wire.master >= 0 &&
	    (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0))
		ioctl(wire.master, TIOCSWINSZ, &size);
}

nfds_t gather_relay(struct pollfd *fds)
{
	nfds_t n = 0;
	short events = 0;
	if (wire.master < 0)
		return 0;
	if (!wire.input_ended && wire.length == 0)
		fds[n++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	if (wire.length > 0)
		events |= POLLOUT;
	if (output_room(&wire.output) >= sizeof wire.input)
		events |= POLLIN;
	if (events != 0)
		fds[n++] = (struct pollfd){.fd = wire.master, .events = events};
	if (wire.output.length > 0 && wire.output.fd >= 0)
		fds[n++] = (struct pollfd){.fd = wire.output.fd, .events = POLLOUT};
	return n;
}

/* A file or pipe ends; a terminal's line discipline says that with its end-of-file character, which
 * needs saying twice in the middle of a line. */
static void end_input(void)
{
	struct termios modes;
	wire.input_ended = 1;
	if (isatty(STDIN_FILENO) || tcgetattr(wire.master, &modes) < 0)
		return;
	wire.start = 0;
	wire.length = wire.last == '\n' ? 1 : 2;
	memset(wire.input, modes.c_cc[VEOF], wire.length);
}

static void relay_input(void)
{
	struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
	if (!wire.input_ended && wire.length == 0 && poll(&ready, 1, 0) == 1) {
		ssize_t n = read(STDIN_FILENO, wire.input, sizeof wire.input);
		if (n > 0) {
			wire.start = 0;
			wire.length = (size_t)n;
			wire.last = wire.input[n - 1];
		} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
			end_input();
		}
	}
	if (wire.length > 0) {
		ssize_t n = write(wire.master, wire.input + wire.start, wire.length);
		if (n > 0) {
			wire.start += (size_t)n;
			wire.length -= (size_t)n;
		}
	}
}

/* 1 when something was read. */
static int relay_output(void)
{
	char bytes[4096];
	output_flush(&wire.output);
	if (output_room(&wire.output) < sizeof bytes)
		return 0;
	ssize_t n = read(wire.master, bytes, sizeof bytes);
	if (n > 0) {
		output_add(&wire.output, bytes, (size_t)n);
		output_flush(&wire.output);
		return 1;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) { /* EIO: the last slave is closed */
		close(wire.master);
		wire.master = -1;
	}
	return 0;
}

void relay(void)
{
	if (wire.master >= 0)
		relay_input();
	if (wire.master >= 0)
		relay_output();
}

void finish_relay(long long limit)
{
	long long deadline = milliseconds() + limit;
	while (wire.master >= 0 || wire.output.length > 0) {
		output_flush(&wire.output);
		if (wire.master >= 0 && relay_output())
			continue;
		if (wire.output.length == 0)
			return; /* nothing more comes: every process of the pod is gone */
		if (wire.output.fd < 0 || (limit >= 0 && milliseconds() >= deadline))
			return;
		struct pollfd ready = {.fd = wire.output.fd, .events = POLLOUT};
		poll(&ready, 1, limit < 0 ? -1 : 50);
	}
}
