#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

/* Another open file description of the same pipe or terminal: O_NONBLOCK on the inherited one would
 * be seen by every process that shares it. */
static int reopen(int fd)
{
	char path[32];
	struct text t = TEXT_IN(path);
	text_add(&t, "/proc/self/fd/");
	text_number(&t, fd, 0, ' ');
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void open_output(struct output *output, int fd)
{
	struct stat st;
	output->start = output->length = 0;
	output->kind = OUTPUT_SHARED;
	output->fd = -1;
	if (fstat(fd, &st) < 0)
		return;
	if (S_ISFIFO(st.st_mode) || (S_ISCHR(st.st_mode) && isatty(fd)))
		output->fd = reopen(fd);
	if (output->fd >= 0) {
		output->kind = OUTPUT_OWN;
		return;
	}
	output->fd = fd;
	if (S_ISSOCK(st.st_mode))
		output->kind = OUTPUT_SOCKET;
}

size_t output_room(const struct output *output)
{
	return OUTPUT_ROOM - output->length;
}

void output_add(struct output *output, const void *bytes, size_t length)
{
	if (output->fd < 0 || length > output_room(output))
		return;
	if (output->start + output->length + length > OUTPUT_ROOM) {
		memmove(output->bytes, output->bytes + output->start, output->length);
		output->start = 0;
	}
	memcpy(output->bytes + output->start + output->length, bytes, length);
	output->length += length;
}

static ssize_t write_some(struct output *output)
{
	const char *from = output->bytes + output->start;
	if (output->kind == OUTPUT_OWN)
		return write(output->fd, from, output->length);
	if (output->kind == OUTPUT_SOCKET)
		return send(output->fd, from, output->length, MSG_DONTWAIT | MSG_NOSIGNAL);
	/* A pipe that polls writable takes a page without waiting. */
	struct pollfd ready = {.fd = output->fd, .events = POLLOUT};
	if (poll(&ready, 1, 0) != 1) {
		errno = EAGAIN;
		return -1;
	}
	return write(output->fd, from, output->length < 4096 ? output->length : 4096);
}

void output_flush(struct output *output)
{
	while (output->fd >= 0 && output->length > 0) {
		ssize_t n = write_some(output);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) { /* the reader is gone, or the disk is full */
			output->length = 0;
			if (errno == EPIPE || errno == EIO)
				output->fd = -1;
			return;
		}
		output->start += (size_t)n;
		output->length -= (size_t)n;
	}
	output->start = 0;
}
