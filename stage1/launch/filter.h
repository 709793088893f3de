/* A system call filter, for what no namespace, capability or mount keeps from an app. */
#ifndef GANTRY_FILTER_H
#define GANTRY_FILTER_H

#include "step.h"

int perform_no_user_namespaces(struct launch *launch, const struct step *step);

#endif
