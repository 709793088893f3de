/* The pod's control groups, by their directories. */
#ifndef GANTRY_CGROUP_H
#define GANTRY_CGROUP_H

#include <sys/types.h>

#include "step.h"

/* Carries out the make-cgroup, set-cgroup and device-access steps; 0 or -1 with the reason told. */
int make_cgroups(const struct section *supervisor);
/* A descriptor of the first cgroup v2 directory to join, to be born in (clone3); -1 when there is none. */
int open_birth_cgroup(const struct section *supervisor);
/* A descriptor of the cgroup v2 directory a process is in; -1 when there is none. */
int open_cgroup_of(pid_t pid);
/* Moves the calling process into the others; 0 or -1 with the reason told. */
int join_cgroups(const struct section *supervisor, _Bool born_inside);
/* Moves the calling process into those of v1 alone; 0 or -1 with the reason told. */
int join_cgroups_of_v1(const struct section *supervisor);
/* The same steps in other sections, and those by which an app gets into its groups (step.h). */
int perform_make_cgroup(struct launch *launch, const struct step *step);
int perform_set_cgroup(struct launch *launch, const struct step *step);
int perform_open_cgroup(struct launch *launch, const struct step *step);
int perform_enter_cgroup(struct launch *launch, const struct step *step);
/* Tells which apps the kernel killed processes of, as their groups count it. */
void tell_killed(const struct section *teardown);
/* Removes the groups of the teardown. What cannot be removed is told, and left to gc. */
int remove_cgroups(const struct section *teardown);

#endif
