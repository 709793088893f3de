/* The pod's init: PID 1 of its PID namespace. It makes the pod, starts the apps, reaps, logs, stops. */
#ifndef GANTRY_INIT_H
#define GANTRY_INIT_H

#include "plan.h"

/* In the process born in the new namespaces; `channel` leads to the supervisor. */
void run_init(const struct plan *plan, int channel);

#endif
