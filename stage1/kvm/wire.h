/*
 * The wire between host and machine: frames over a virtio-serial port, and on the host over the socket
 * that leads to whoever entered. What comes out of a machine is hostile: a frame too long, or more of
 * them than was asked for, ends the connection.
 */
#ifndef GANTRY_WIRE_H
#define GANTRY_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum frame_kind {
	FRAME_BEGIN = 1, /* to the machine: make the pod */
	FRAME_EVENT,     /* from it: an event of the pod's init (launch/channel.h) */
	FRAME_ORDER,     /* to it: an order for the pod's init */
	FRAME_OPEN,      /* to it: a session; struct request, then NUL-terminated words */
	FRAME_DATA,      /* bytes of a stream */
	FRAME_END,       /* the end of a stream */
	FRAME_CREDIT,    /* uint32_t: so much of a stream has been used up */
	FRAME_RESIZE,    /* to it: struct dimensions of a session's terminal */
	FRAME_SIGNAL,    /* to it: int32_t, a signal for a session's command */
	FRAME_EXIT,      /* from it: int32_t, a session's exit code; the session is over */
	FRAME_CLOSE,     /* to it: a session has nobody any more */
};

/* Session 0 is the pod's own output or terminal; others are commands that entered. */
#define MAX_SESSIONS 32

/* Both ends are Gantry's, built together: no byte order or version to agree on. */
struct frame {
	uint8_t kind, stream; /* stream: 0 to 2, as standard streams are numbered */
	uint16_t session;
	uint32_t length;
};

struct pod_event {
	uint32_t kind, app;
	int32_t value;
};

struct dimensions {
	uint16_t rows, columns;
};

struct request {
	struct dimensions size;
	uint32_t terminal; /* 1: on a terminal */
	uint32_t words;    /* TERM (may be empty), app, command, arguments */
};

#define LONGEST_PAYLOAD 65536
#define WIRE_OUT (2 * (LONGEST_PAYLOAD + sizeof(struct frame)))

struct wire {
	int fd; /* does not block; -1 once it is closed */
	size_t in, taken;
	size_t out, sent;
	char inbox[sizeof(struct frame) + LONGEST_PAYLOAD];
	char outbox[WIRE_OUT];
};

void wire_open(struct wire *wire, int fd);
/* Reads what there is, as far as there is room. -1: the other end is gone. */
int wire_fill(struct wire *wire);
/* The next whole frame, which stays until the next call: 1; 0: none yet; -1: this is no frame. */
int wire_next(struct wire *wire, struct frame *frame, const char **payload);
/* How long a payload that is sent now may be; 0 also for none at all. */
size_t wire_room(const struct wire *wire);
/* Puts a frame behind those that wait to be written; 0, or -1 when there is no room. */
int wire_send(struct wire *wire, enum frame_kind kind, unsigned session, unsigned stream, const void *payload, size_t length);
/* Writes what can be written now. -1: the other end is gone. */
int wire_flush(struct wire *wire);
/* What to wait for. */
short wire_events(const struct wire *wire);

#endif
