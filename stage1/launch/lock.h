/* What the host has of one kind only: a lock is held by the supervisor, and nobody else, as long as it lives. */
#ifndef GANTRY_LOCK_H
#define GANTRY_LOCK_H

#include "plan.h"

/* Takes the locks of section supervisor. -1 with the reason told. */
int hold_locks(const struct section *supervisor);

#endif
