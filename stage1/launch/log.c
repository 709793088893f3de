#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"
#include "output.h"
#include "plan.h"
#include "text.h"

struct log_stream {
	int fd; /* reading end of the app's pipe, -1 once it ended */
	struct output *output;
	char *name;
	pid_t pid;
	size_t length;
	char line[LONGEST_LINE];
};

static struct output outputs[2];
static struct log_stream *streams[MAX_STREAMS];
static size_t count;
static int journal = -1;
static bool journal_full; /* a line waits for it */

void log_begin(void)
{
	open_output(&outputs[0], STDOUT_FILENO);
	open_output(&outputs[1], STDERR_FILENO);
}

void log_to_journal(int socket)
{
	journal = socket;
}

int log_open(const char *name, int which)
{
	int ends[2];
	struct log_stream *stream = count < MAX_STREAMS ? calloc(1, sizeof *stream) : NULL;
	/* Its own copy: what the app wrote may be passed on after it is gone. */
	char *copy = stream != NULL ? strdup(name) : NULL;
	if (copy == NULL || pipe2(ends, O_CLOEXEC) < 0) {
		free(copy);
		free(stream);
		return -1;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	stream->fd = ends[0];
	stream->output = &outputs[which];
	stream->name = copy;
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
		if (journal >= 0 && !journal_send(&journal, stream->name, stream->pid, stream->line + from, length)) {
			journal_full = true;
			break;
		}
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
	if (journal_full)
		fds[n++] = (struct pollfd){.fd = journal, .events = POLLOUT};
	return n;
}

/* Forgets the streams that have ended and been passed on: a pod may have any number of them, in turn. */
static void forget_ended(void)
{
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		if (streams[i]->fd >= 0 || streams[i]->length > 0) {
			streams[kept++] = streams[i];
			continue;
		}
		free(streams[i]->name);
		free(streams[i]);
	}
	count = kept;
}

void log_serve(bool last)
{
	journal_full = false;
	for (size_t i = 0; i < count; i++) {
		pass(streams[i]); /* what had to wait for room */
		read_once(streams[i], last);
	}
	output_flush(&outputs[0]);
	output_flush(&outputs[1]);
	forget_ended();
}

void log_settle(void)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	int unread = 0;
	for (int tries = 500; journal >= 0 && tries > 0; tries--) {
		if (ioctl(journal, SIOCOUTQ, &unread) < 0 || unread == 0)
			return;
		nanosleep(&pause, NULL);
	}
}

bool log_finished(void)
{
	for (size_t i = 0; i < count; i++)
		if (streams[i]->fd >= 0 || streams[i]->length > 0)
			return false;
	return (outputs[0].length == 0 || outputs[0].fd < 0) && (outputs[1].length == 0 || outputs[1].fd < 0);
}
