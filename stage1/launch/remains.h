/* What an app of a mutable pod leaves behind: every process in its mount namespace, and the mounts. Without
 * a control group for each app, which not every host has, that is how they are told from the others'. */
#ifndef GANTRY_REMAINS_H
#define GANTRY_REMAINS_H

#include <sys/types.h>

/* A view of the processes of this PID namespace that needs no path: a descriptor, or -errno. */
int open_processes(void);
/* The mount namespace of this process, held so that no other gets its number; -1 when it cannot be had. An app's, which
 * cannot be looked into by anybody until it is executed, opens its own. */
int open_own_mounts(int processes);
/* Whether `mounts` is a mount namespace other than that of this process. */
_Bool are_other_mounts(int processes, int mounts);
/* Starts a process that kills what is left in `mounts`, but not those that made another of their own, which
 * takes CAP_SYS_ADMIN, and is the last to hold them: when it has ended, the mounts are gone. -1 when it cannot
 * be started, and what is left has been killed here. */
pid_t bury_remains(int processes, int mounts);

#endif
