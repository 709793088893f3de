/*
 * The pod's own streams on the host, session 0 of the wire: its output to the standard streams, or its
 * terminal, which is a pseudo-terminal of the host's between the supervisor and this process.
 */
#ifndef GANTRY_OUTLET_H
#define GANTRY_OUTLET_H

#include <poll.h>
#include <stdint.h>

#include "wire.h"

/* Before the root changes. 0 or -errno. */
int outlet_begin(_Bool terminal);
/* The master of the terminal, once, for the supervisor; from then on what is typed goes to the machine. -1: none. */
int outlet_terminal(void);
/* How large the terminal is now. */
struct dimensions outlet_size(void);
/* A frame about a stream. -1: a machine that keeps to the protocol does not send it. */
int outlet_take(const struct frame *frame, const char *payload);
/* What to wait for, at most three. */
nfds_t outlet_gather(struct pollfd *fds, const struct wire *wire);
/* Moves along what can be moved without waiting. */
void outlet_serve(struct wire *wire);
/* Whether everything is out. */
_Bool outlet_empty(void);
/* Nobody waits any longer for whoever reads: what is left is dropped, and what comes. */
void outlet_drop(void);

#endif
