/* The form of a launch plan (specs/launch-plan.md): its words, what their arguments may be, and which sections
 * they may stand in. */
#ifndef GANTRY_GRAMMAR_H
#define GANTRY_GRAMMAR_H

#include <stddef.h>

#include "plan.h"

/* No file of one may be larger. */
#define MAX_PLAN 4194304

/* Finds the steps and sections in the plan's `size` bytes. `of_app`: it is the plan of one app. -1 with the
 * reason told. */
int read_steps(struct plan *plan, size_t size, _Bool of_app);

/* What the section of a part is called. */
const char *part_name(enum part part);

/* Tells the reason; -1. */
int refuse_plan(const char *why, const char *what);

#endif
