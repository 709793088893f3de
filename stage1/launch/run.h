/* What the `run` of every flavour does first (specs/stage1-interface.md). */
#ifndef GANTRY_RUN_H
#define GANTRY_RUN_H

#include "supervisor.h"

/* The main() of a `run UUID`: finds the lock and the plan of the working directory's pod, and supervises it. */
int run_pod(int argc, char **argv, become_inside *inside);
/* The same where the processes of the pod see those of the host (run_sealed in process.h). */
int run_pod_unsealed(int argc, char **argv, become_inside *inside);

#endif
