#include "log.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

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

void log_pass(struct log_stream *stream)
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

bool log_wants(const struct log_stream *stream)
{
	return stream->fd >= 0 && stream->length < LONGEST_LINE;
}

static void log_close(struct log_stream *stream)
{
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
	log_pass(stream);
}

void log_read(struct log_stream *stream, bool last)
{
	if (!log_wants(stream))
		return;
	ssize_t n = read(stream->fd, stream->line + stream->length, LONGEST_LINE - stream->length);
	if (n > 0)
		stream->length += (size_t)n;
	if (n == 0 || (n < 0 && errno != EINTR && (last || errno != EAGAIN)))
		log_close(stream);
	else
		log_pass(stream);
}

bool log_finished(const struct log_stream *stream)
{
	return stream->fd < 0 && stream->length == 0;
}
