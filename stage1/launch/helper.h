/* Programs that run beside the pod, outside of it. */
#ifndef GANTRY_HELPER_H
#define GANTRY_HELPER_H

#include "step.h"

/* The program lives as long as the process that starts it and has nothing open but /dev/null and, where there is
 * one, the socket of the journal as its first (sd_listen_fds(3)). */
int perform_spawn(struct launch *launch, const struct step *step);

#endif
