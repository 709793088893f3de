#include "stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 4096

void source_open(struct source *source, int fd)
{
	source->fd = fd;
	source->credit = WINDOW;
}

_Bool source_wants(const struct source *source, const struct wire *wire)
{
	return source->fd >= 0 && source->credit > sizeof(struct frame) && wire_room(wire) >= CHUNK;
}

int source_read(struct source *source, struct wire *wire, unsigned session, unsigned stream)
{
	char bytes[CHUNK];
	if (!source_wants(source, wire))
		return 0;
	size_t most = source->credit - sizeof(struct frame);
	ssize_t n = read(source->fd, bytes, most < sizeof bytes ? most : sizeof bytes);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) { /* EIO: the last slave of a terminal is closed */
		close(source->fd);
		source->fd = -1;
		wire_send(wire, FRAME_END, session, stream, NULL, 0);
		return -1;
	}
	source->credit -= sizeof(struct frame) + (size_t)n;
	wire_send(wire, FRAME_DATA, session, stream, bytes, (size_t)n);
	return 1;
}

int source_credit(struct source *source, const struct frame *frame, const char *payload)
{
	uint32_t used;
	if (frame->length != sizeof used)
		return -1;
	memcpy(&used, payload, sizeof used);
	if (used > WINDOW - source->credit)
		return -1;
	source->credit += used;
	return 0;
}

int sink_take(struct sink *sink, const struct frame *frame, const char *payload)
{
	sink->owed += sizeof *frame;
	if (sink->output.fd < 0) /* nobody reads any more: as good as used up */
		sink->owed += frame->length;
	else if (frame->length > output_room(&sink->output))
		return -1;
	else
		output_add(&sink->output, payload, frame->length);
	return 0;
}

void sink_flush(struct sink *sink, struct wire *wire, unsigned session, unsigned stream)
{
	size_t before = sink->output.length;
	if (sink->output.fd < 0)
		sink->output.length = 0;
	output_flush(&sink->output);
	sink->owed += before - sink->output.length;
	uint32_t used = (uint32_t)sink->owed;
	if (used > 0 && wire_send(wire, FRAME_CREDIT, session, stream, &used, sizeof used) == 0)
		sink->owed = 0;
}
