/* Finding the processes of a running pod. The `pid` file is a hint: every PID in it is held by a pidfd
 * first and checked then, so that a number used again by a stranger is never signalled or entered. */
#ifndef GANTRY_POD_H
#define GANTRY_POD_H

#include <sys/types.h>

struct running_pod {
	int supervisor, init; /* pidfds */
	pid_t init_pid;
};

/* Whether some process holds the lock of the directory, which is what running means. */
_Bool pod_is_locked(const char *directory);
/* Kills whatever holds the lock of the pod of the working directory, and thereby is the pod; how many there
 * were. For a pod whose processes cannot be found in the order find_pod() asks for. */
int kill_lock_holders(void);
/* The processes of the pod of the working directory; -1 when it does not run (any more, or yet). */
int find_pod(struct running_pod *pod);
/* The same; -1 after telling why not. */
int require_pod(struct running_pod *pod);
/* The PID in the pod of an app of the pod of the working directory; -1 when it does not run. A hint, too. */
pid_t running_app(const char *app);
/* A pidfd of the app with PID `pid` in the pod: init's child, which here has the PID *seen. -1 when there is none. */
int find_app(const struct running_pod *pod, pid_t pid, pid_t *seen);

#endif
