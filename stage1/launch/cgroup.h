/* The pod's control groups, by their directories. */
#ifndef GANTRY_CGROUP_H
#define GANTRY_CGROUP_H

#include <sys/types.h>

#include "plan.h"

/* Carries out the make-cgroup steps; 0 or -1 with the reason told. */
int make_cgroups(const struct section *supervisor);
/* A descriptor of the first cgroup v2 directory to join, to be born in (clone3); -1 when there is none. */
int open_birth_cgroup(const struct section *supervisor);
/* A descriptor of the cgroup v2 directory a process is in; -1 when there is none. */
int open_cgroup_of(pid_t pid);
/* Moves the calling process into the others; 0 or -1 with the reason told. */
int join_cgroups(const struct section *supervisor, _Bool born_inside);
/* Carries out the teardown. What cannot be removed is told, and left to gc. */
int remove_cgroups(const struct section *teardown);

#endif
