/* The pod's user namespace (user_namespaces(7)): made with init, whose users and groups the supervisor then maps. */
#ifndef GANTRY_USERS_H
#define GANTRY_USERS_H

#include <sys/types.h>

#include "step.h"

/* Writes what section supervisor maps for process `pid`, which is in a user namespace without a map yet. -1 with errno. */
int map_users(const struct section *supervisor, pid_t pid);
/* The user namespace process `pid` is in; -1 with errno. */
int open_users(pid_t pid);

int perform_join_users(struct launch *launch, const struct step *step);
int perform_become_root(struct launch *launch, const struct step *step);

#endif
