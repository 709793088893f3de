/* The line logger: what apps write, a line at a time, behind the time, their name and PID. */
#ifndef GANTRY_LOG_H
#define GANTRY_LOG_H

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "plan.h"

/* A longer line is split. */
#define LONGEST_LINE 8192

/* Takes standard output and standard error. Needs /proc, so before the root changes. */
void log_begin(void);
/* A pipe whose lines go to standard output (0) or standard error (1); returns its writing end, or -1. */
int log_open(const char *name, int which);
/* Who writes to the two pipes opened last. */
void log_writer(pid_t pid);
/* From now on each line is also an entry of the journal that `socket` leads to. */
void log_to_journal(int socket);
/* Two of each app, and as many of each of its event handlers, which may leave somebody who writes. */
#define MAX_STREAMS ((size_t)MAX_APPS * 2 * PARTS)
#define LOG_FDS (MAX_STREAMS + 3)
/* What to wait for, LOG_FDS at most. */
nfds_t log_gather(struct pollfd *fds);
/* Moves output along as far as can be without waiting. `last`: every writer is gone, so an empty pipe is
 * at its end, whoever was handed a copy of it. */
void log_serve(bool last);
/* Whether everything that was written has been passed on. */
bool log_finished(void);

/* Waits, a second at most, until the journal has taken what it was sent: it may have only just started. */
void log_settle(void);

#endif
