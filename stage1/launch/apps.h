/* The apps of a pod from their birth to their end, as init sees them. */
#ifndef GANTRY_APPS_H
#define GANTRY_APPS_H

#include <poll.h>

#include "plan.h"
#include "spawn.h"
#include "step.h"

/* Starts all of the plan; none executes its program before all are set up. Of a mutable pod there are none yet.
 * The pod fails where one cannot be started. */
void start_apps(const struct plan *plan, struct launch *launch, int channel);
/* One of a mutable pod, which is refused while the pod is `stopping`. */
void start_later(const struct parcel *parcel, _Bool stopping);

/* What apps that are being started say. */
void read_reports(void);
/* MAX_APPS at most. */
nfds_t gather_reports(struct pollfd *fds);

/* To each app. */
void signal_apps(int number);
/* Asks each to end, and what is to be done before its start. */
void stop_apps(void);
/* KILL to each. Whether event handlers are to follow, or run; 0: nothing was done. */
_Bool kill_apps(void);
/* None is started any more. */
void give_up_handlers(void);
/* Stops one app of a mutable pod; one that is only being set up has nothing to do in order. */
void stop_app(uint32_t number);
/* When the grace of the first of these has passed, in milliseconds(); INT64_MAX: none is being stopped. */
long long next_overdue(void);
void kill_overdue(void);
/* For signal `number`, ends what does not run yet, where there is nobody to give time to: all of the pod, unless it is mutable. */
void stop_at_once(int number);

/* A child of init has ended. 1 where the pod is to be stopped for that. */
_Bool note_ended(pid_t pid, int status);
_Bool apps_exited(void);
/* Of the first app that failed, 0 where none did. */
int apps_code(void);

#endif
