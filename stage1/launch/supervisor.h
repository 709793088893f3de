/* The process that was started: it stays outside the pod, passes signals in and the exit code out. */
#ifndef GANTRY_SUPERVISOR_H
#define GANTRY_SUPERVISOR_H

#include "plan.h"

/* Runs the pod of the working directory; returns its exit code, 254 when it could not be set up. */
int supervise(const struct plan *plan);

#endif
