/* The program an app becomes: its environment, where it starts, what it is. */
#ifndef GANTRY_PROGRAM_H
#define GANTRY_PROGRAM_H

#include "step.h"

int perform_env(struct launch *launch, const struct step *step);
int perform_chdir(struct launch *launch, const struct step *step);
/* The value of a variable of the app, or NULL. */
const char *variable(const struct launch *launch, const char *name);
/* Becomes the program; returns -errno. */
int become_program(struct launch *launch, const struct step *exec);

#endif
