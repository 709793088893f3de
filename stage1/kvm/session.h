/* Inside of a machine: the pod's own streams (session 0), and the commands of those who entered. */
#ifndef GANTRY_SESSION_H
#define GANTRY_SESSION_H

#include <poll.h>
#include <sys/types.h>

#include "wire.h"

/* Takes what the pod's init writes to: the reading ends of two pipes. */
void pod_logs(int output, int errors);
/* Takes the master of the pod's terminal. */
void pod_terminal(int master);
/* Whether everything the pod printed is on the wire. */
_Bool pod_silent(void);

/* A frame of the host's about a session. */
void session_take(const struct frame *frame, const char *payload);
/* A child of this process ended. */
void session_reap(pid_t pid, int status);
/* What to wait for, at most three for each session. */
#define SESSION_DESCRIPTORS (3 * (MAX_SESSIONS + 1))
nfds_t sessions_gather(struct pollfd *fds, const struct wire *wire);
/* Moves along what can be moved without waiting. */
void sessions_serve(struct wire *wire);

#endif
