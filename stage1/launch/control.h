/* The requests that reach the supervisor of a mutable pod: apps are added, started, stopped and removed
 * (specs/stage1-interface.md). Over the socket `control` of the pod directory, a packet `VERB APP` is asked
 * and a packet answered: `ok`, or why not. */
#ifndef GANTRY_CONTROL_H
#define GANTRY_CONTROL_H

#include <poll.h>

#include "channel.h"
#include "plan.h"
#include "status.h"

#define CONTROL_SOCKET "control"
#define MAX_REQUESTS 32
/* The most that control_gather() adds. */
#define CONTROL_FDS (1 + MAX_REQUESTS + MAX_APPS)

/* Listens. The apps are noted in `apps`, of which there are MAX_APPS. -1 with the reason told. */
int control_begin(struct app_record *apps);
/* The way to init is open, which is in the user namespace `users`; -1: the host's. */
void control_connect(int channel, int users);
nfds_t control_gather(struct pollfd *fds);
/* `stopping`: the pod is, and no app comes any more. */
void control_serve(_Bool stopping);
/* What init tells of an app, after it has been noted. */
void control_hear(const struct event *event);
/* Nobody is answered any more but by this. */
void control_end(void);

#endif
