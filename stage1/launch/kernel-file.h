/* Files of /proc by which the kernel is told something, of the process itself or of its namespaces. */
#ifndef GANTRY_KERNEL_FILE_H
#define GANTRY_KERNEL_FILE_H

#include "step.h"

int perform_sysctl(struct launch *launch, const struct step *step);
int perform_oom_score(struct launch *launch, const struct step *step);
int perform_label(struct launch *launch, const struct step *step);

#endif
