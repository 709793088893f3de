#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "output.h"
#include "plan.h"
#include "text.h"

struct log_stream {
	int fd; /* reading end of the app's pipe, -1 once it ended */
	struct output *output;
	const char *name;
	pid_t pid;
	size_t length;
	char line[LONGEST_LINE];
};

static struct output outputs[2];
#define MAX_STREAMS ((size_t)MAX_APPS * 2)
static struct log_stream *streams[MAX_STREAMS];
static size_t count;

void log_begin(void)
{
	open_output(&outputs[0], STDOUT_FILENO);
	open_output(&outputs[1], STDERR_FILENO);
}

int log_open(const char *name, int which)
{
	int ends[2];
	struct log_stream *stream = count < MAX_STREAMS ? calloc(1, sizeof *stream) : NULL;
	if (stream == NULL || pipe2(ends, O_CLOEXEC) < 0) {
		free(stream);
		return -1;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	stream->fd = ends[0];
	stream->output = &outputs[which];
	stream->name = name;
	streams[count++] = stream;
	return ends[1];
}

void log_writer(pid_t pid)
{
	streams[count - 2]->pid = streams[count - 1]->pid = pid;
}

/* `[SECONDS.MICROSECONDS] NAME[PID]: ` */
static void add_prefix(const struct log_stream *stream, struct text *t)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	text_add(t, "[");
	text_number(t, now.tv_sec, 5, ' ');
	text_add(t, ".");
	text_number(t, now.tv_nsec / 1000, 6, '0');
	text_add(t, "] ");
	text_add(t, stream->name);
	text_add(t, "[");
	text_number(t, stream->pid, 0, ' ');
	text_add(t, "]: ");
}

/* The bytes of the next line to pass on, without its newline; *taken counts that too. 0 taken: none yet. */
static size_t next_line(const struct log_stream *stream, size_t from, size_t *taken)
{
	size_t left = stream->length - from;
	const char *newline = memchr(stream->line + from, '\n', left);
	*taken = 0;
	if (newline != NULL) {
		size_t length = (size_t)(newline - stream->line) - from;
		*taken = length + 1;
		return length;
	}
	if (left == LONGEST_LINE || stream->fd < 0)
		*taken = left;
	return left;
}

/* Passes on complete lines, as far as there is room. */
static void pass(struct log_stream *stream)
{
	size_t from = 0, taken, length;
	while ((length = next_line(stream, from, &taken)), taken > 0) {
		char prefix[192];
		struct text t = TEXT_IN(prefix);
		add_prefix(stream, &t);
		if (t.length + length + 1 > output_room(stream->output))
			output_flush(stream->output);
		if (t.length + length + 1 > output_room(stream->output))
			break;
		output_add(stream->output, prefix, t.length);
		output_add(stream->output, stream->line + from, length);
		output_add(stream->output, "\n", 1);
		from += taken;
	}
	if (from > 0) {
		stream->length -= from;
		memmove(stream->line, stream->line + from, stream->length);
	}
}

static bool wants(const struct log_stream *stream)
{
	return stream->fd >= 0 && stream->length < LONGEST_LINE;
}

/* Reads what is there, once. At the end of the pipe what is left is a line too. */
static void read_once(struct log_stream *stream, bool last)
{
	if (!wants(stream))
		return;
	ssize_t n = read(stream->fd, stream->line + stream->length, LONGEST_LINE - stream->length);
	if (n > 0) {
		stream->length += (size_t)n;
	} else if (n == 0 || (errno != EINTR && (last || errno != EAGAIN))) {
		close(stream->fd);
		stream->fd = -1;
	}
	pass(stream);
}

nfds_t log_gather(struct pollfd *fds)
{
	nfds_t n = 0;
	for (size_t i = 0; i < count; i++)
		if (wants(streams[i]))
			fds[n++] = (struct pollfd){.fd = streams[i]->fd, .events = POLLIN};
	for (int which = 0; which < 2; which++)
		if (outputs[which].length > 0 && outputs[which].fd >= 0)
			fds[n++] = (struct pollfd){.fd = outputs[which].fd, .events = POLLOUT};
	return n;
}

void log_serve(bool last)
{
	for (size_t i = 0; i < count; i++) {
		pass(streams[i]); /* what had to wait for room */
		read_once(streams[i], last);
	}
	output_flush(&outputs[0]);
	output_flush(&outputs[1]);
}

bool log_finished(void)
{
	for (size_t i = 0; i < count; i++)
		if (streams[i]->fd >= 0 || streams[i]->length > 0)
			return false;
	return (outputs[0].length == 0 || outputs[0].fd < 0) && (outputs[1].length == 0 || outputs[1].fd < 0);
}
