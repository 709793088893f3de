/* Gantry for an ordinary user: in a user namespace of theirs, where they are root (specs/rootless.md). */
#ifndef GANTRY_ROOTLESS_H
#define GANTRY_ROOTLESS_H

/*
 * Takes down whom this process serves: GANTRY_USER is the user's number, or absent for root, whatever the
 * caller's environment said; HOME is what /etc/passwd says where the caller has none.
 */
void know_user(void);
/* `$VARIABLE/gantry`, or `$HOME/FALLBACK/gantry`; NULL where neither is an absolute path. */
const char *user_directory(const char *variable, const char *fallback);
/*
 * Makes this process root of a new user namespace, in which the user is 0 and the user's subordinate ids
 * follow, and of a new mount namespace. Returns -1 after telling why not.
 */
int enter_own_namespace(void);
/* Joins the user namespace of the running pod of the working directory, its owner's; the same. */
int join_namespace_of_pod(void);

#endif
