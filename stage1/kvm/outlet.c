#include "outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "stream.h"

static struct {
	struct sink sinks[3];
	struct source typed;
	int master, slave; /* -1 without a terminal */
} outlet = {.master = -1, .slave = -1, .typed = {.fd = -1, .credit = WINDOW}};

/* As wide as the terminal outside until the supervisor says otherwise. Bytes pass through as they are: the line
 * discipline is that of the terminal in the machine. */
static int open_terminal(void)
{
	struct winsize size;
	struct termios modes;
	int unlocked = 0;
	outlet.master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (outlet.master < 0 || ioctl(outlet.master, TIOCSPTLCK, &unlocked) < 0)
		return -errno;
	outlet.slave = ioctl(outlet.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (outlet.slave < 0 || tcgetattr(outlet.slave, &modes) < 0)
		return -errno;
	cfmakeraw(&modes);
	if (tcsetattr(outlet.slave, TCSANOW, &modes) < 0 || ioctl(outlet.slave, TIOCSCTTY, 0) < 0)
		return -errno;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		ioctl(outlet.slave, TIOCSWINSZ, &size);
	return 0;
}

int outlet_begin(_Bool terminal)
{
	if (!terminal) {
		open_output(&outlet.sinks[1].output, STDOUT_FILENO);
		open_output(&outlet.sinks[2].output, STDERR_FILENO);
		return 0;
	}
	int status = open_terminal();
	outlet.sinks[1].output = (struct output){.fd = outlet.slave, .kind = OUTPUT_OWN};
	outlet.sinks[2].output.fd = -1;
	return status;
}

int outlet_terminal(void)
{
	int master = outlet.master;
	outlet.master = -1;
	if (master >= 0)
		source_open(&outlet.typed, fcntl(outlet.slave, F_DUPFD_CLOEXEC, 0));
	return master;
}

struct dimensions outlet_size(void)
{
	struct winsize size = {0};
	if (outlet.slave >= 0)
		ioctl(outlet.slave, TIOCGWINSZ, &size);
	return (struct dimensions){.rows = size.ws_row, .columns = size.ws_col};
}

int outlet_take(const struct frame *frame, const char *payload)
{
	if (frame->kind == FRAME_CREDIT)
		return frame->stream == 0 ? source_credit(&outlet.typed, frame, payload) : -1;
	if (frame->stream != 1 && frame->stream != 2)
		return -1;
	if (frame->kind == FRAME_DATA)
		return sink_take(&outlet.sinks[frame->stream], frame, payload);
	return frame->kind == FRAME_END ? 0 : -1;
}

nfds_t outlet_gather(struct pollfd *fds, const struct wire *wire)
{
	nfds_t n = 0;
	if (source_wants(&outlet.typed, wire))
		fds[n++] = (struct pollfd){.fd = outlet.typed.fd, .events = POLLIN};
	for (int i = 1; i <= 2; i++)
		if (outlet.sinks[i].output.length > 0 && outlet.sinks[i].output.fd >= 0)
			fds[n++] = (struct pollfd){.fd = outlet.sinks[i].output.fd, .events = POLLOUT};
	return n;
}

void outlet_serve(struct wire *wire)
{
	source_read(&outlet.typed, wire, 0, 0);
	for (unsigned i = 1; i <= 2; i++)
		sink_flush(&outlet.sinks[i], wire, 0, i);
}

_Bool outlet_empty(void)
{
	return outlet.sinks[1].output.length + outlet.sinks[2].output.length == 0;
}

void outlet_drop(void)
{
	for (int i = 1; i <= 2; i++)
		outlet.sinks[i].output.fd = -1;
}
