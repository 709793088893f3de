/* Those who enter: `enter` connects to a socket in the pod directory, and its frames pass through to a session
 * inside of the machine. */
#ifndef GANTRY_VISITOR_H
#define GANTRY_VISITOR_H

#include <poll.h>

#include "wire.h"

/* Where the socket lies, in the pod directory. */
#define VISITORS_SOCKET "enter.sock"

/* Before the root changes. 0 or -errno. */
int visitors_begin(void);
/* What to wait for, at most MAX_SESSIONS and one. */
nfds_t visitors_gather(struct pollfd *fds);
/* Moves along what can be moved without waiting. */
void visitors_serve(struct wire *machine);
/* A frame that came out of the machine for a session. -1: it should not have. */
int visitor_take(const struct frame *frame, const char *payload);

#endif
