/* A system call filter, for what no namespace, capability or mount keeps from an app. */
#ifndef GANTRY_FILTER_H
#define GANTRY_FILTER_H

#include "step.h"

int perform_no_user_namespaces(struct launch *launch, const struct step *step);
/* Keeps the app's filter in mind: what it does not allow may be needed until exec. */
int perform_seccomp(struct launch *launch, const struct step *step);
/* Loads it. From here on only what it allows can be done. 0 or -errno. */
int load_filter(const struct launch *launch);
/* Whether a word is a filter: instructions in base64, as many as the kernel takes. */
_Bool filter_ok(const char *word);

/* From here on nothing can be put into a terminal's input, as if somebody had typed it. 0 or -errno. */
int forbid_terminal_input(void);

#endif
