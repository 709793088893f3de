/*
 * The two ends of a stream on a wire. A sender has WINDOW bytes of credit, frames' heads included, and
 * gets back what the receiver has used up: so nobody has to hold more than that, nothing stands in the
 * way of other streams, and more than that is a breach of the protocol.
 */
#ifndef GANTRY_STREAM_H
#define GANTRY_STREAM_H

#include "../launch/output.h"
#include "wire.h"

#define WINDOW OUTPUT_ROOM

/* From a descriptor onto the wire. */
struct source {
	int fd; /* -1: nothing comes (any more) */
	size_t credit;
};

/* From the wire to a descriptor. */
struct sink {
	struct output output;
	size_t owed; /* used up, and the sender not told yet */
	_Bool ending; /* nothing comes any more; what has come is still to be written */
};

void source_open(struct source *source, int fd);
/* Whether it is worth waiting for the descriptor. */
_Bool source_wants(const struct source *source, const struct wire *wire);
/* Reads once without waiting, if there is credit and room: 1: something; 0: nothing; -1: its end, which is told
 * and the descriptor closed. */
int source_read(struct source *source, struct wire *wire, unsigned session, unsigned stream);
/* A FRAME_CREDIT. -1: more than was ever used. */
int source_credit(struct source *source, const struct frame *frame, const char *payload);

/* Takes a FRAME_DATA. -1: more than the sender had credit for. */
int sink_take(struct sink *sink, const struct frame *frame, const char *payload);
/* Writes what can be written now, and tells the sender what that used up. */
void sink_flush(struct sink *sink, struct wire *wire, unsigned session, unsigned stream);

#endif
