/* A system call filter, for what no namespace, capability or mount keeps from an app. */
#ifndef GANTRY_FILTER_H
#define GANTRY_FILTER_H

#include "step.h"

int perform_no_user_namespaces(struct launch *launch, const struct step *step);

/* From here on nothing can be put into a terminal's input, as if somebody had typed it. 0 or -errno. */
int forbid_terminal_input(void);

#endif
