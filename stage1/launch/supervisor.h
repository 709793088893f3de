/* The process that was started: it stays outside the pod, passes signals in and the exit code out. */
#ifndef GANTRY_SUPERVISOR_H
#define GANTRY_SUPERVISOR_H

#include "plan.h"

/*
 * What the supervisor's child becomes, in the namespaces the plan names: the pod's init (run_init), or
 * what brings an init to life elsewhere, in a container or a machine. `channel` leads to the supervisor;
 * beside it only the standard streams are open. An init that is not that child itself sends EVENT_HERE
 * first.
 */
typedef void become_inside(const struct plan *plan, int channel);

/* Runs the pod of the working directory; returns its exit code, 254 when it could not be set up. */
int supervise(const struct plan *plan, become_inside *inside);

#endif
