#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

void wire_open(struct wire *wire, int fd)
{
	wire->fd = fd;
	wire->in = wire->taken = wire->out = wire->sent = 0;
}

int wire_fill(struct wire *wire)
{
	if (wire->taken > 0) {
		wire->in -= wire->taken;
		memmove(wire->inbox, wire->inbox + wire->taken, wire->in);
		wire->taken = 0;
	}
	if (wire->in == sizeof wire->inbox)
		return 0;
	ssize_t n = read(wire->fd, wire->inbox + wire->in, sizeof wire->inbox - wire->in);
	if (n > 0)
		wire->in += (size_t)n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)) ? 0 : -1;
}

int wire_next(struct wire *wire, struct frame *frame, const char **payload)
{
	size_t left = wire->in - wire->taken;
	if (left < sizeof *frame)
		return 0;
	memcpy(frame, wire->inbox + wire->taken, sizeof *frame);
	if (frame->length > LONGEST_PAYLOAD)
		return -1;
	if (left - sizeof *frame < frame->length)
		return 0;
	*payload = wire->inbox + wire->taken + sizeof *frame;
	wire->taken += sizeof *frame + frame->length;
	return 1;
}

size_t wire_room(const struct wire *wire)
{
	size_t room = WIRE_OUT - wire->out;
	return room > sizeof(struct frame) ? room - sizeof(struct frame) : 0;
}

int wire_send(struct wire *wire, enum frame_kind kind, unsigned session, unsigned stream, const void *payload, size_t length)
{
	const struct frame frame = {
		.kind = (uint8_t)kind, .stream = (uint8_t)stream, .session = (uint16_t)session, .length = (uint32_t)length};
	if (length > LONGEST_PAYLOAD || WIRE_OUT - wire->out < sizeof frame + length)
		return -1;
	if (wire->sent + wire->out + sizeof frame + length > WIRE_OUT) {
		memmove(wire->outbox, wire->outbox + wire->sent, wire->out);
		wire->sent = 0;
	}
	char *to = wire->outbox + wire->sent + wire->out;
	memcpy(to, &frame, sizeof frame);
	if (length > 0)
		memcpy(to + sizeof frame, payload, length);
	wire->out += sizeof frame + length;
	return 0;
}

int wire_flush(struct wire *wire)
{
	while (wire->out > 0) {
		ssize_t n = write(wire->fd, wire->outbox + wire->sent, wire->out);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -1;
		wire->sent += (size_t)n;
		wire->out -= (size_t)n;
	}
	wire->sent = 0;
	return 0;
}

short wire_events(const struct wire *wire)
{
	return (short)(POLLIN | (wire->out > 0 ? POLLOUT : 0));
}
