/* The pod's own uts and network namespaces. */
#ifndef GANTRY_IDENTITY_H
#define GANTRY_IDENTITY_H

#include "step.h"

int perform_hostname(struct launch *launch, const struct step *step);
int perform_loopback(struct launch *launch, const struct step *step);

#endif
