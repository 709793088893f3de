/* What the host's side does for an app that is started in a running pod, or for a whole pod whose users are not the
 * host's: a short-lived process makes its mounts in a mount namespace of its own, and sends them to init. It reads
 * and checks the app's plan first. The supervisor stays small, and whatever goes wrong there goes with that process. */
#ifndef GANTRY_OUTFIT_H
#define GANTRY_OUTFIT_H

#include <stddef.h>

#include "plan.h"

/* What the process says when all went well; anything else is why not. */
#define OUTFIT_DONE "\1"
/* Why not, where it could not even say so. */
#define OUTFIT_DIED "the process that makes its mounts has died"

struct outfit {
	int report;  /* -1: there is none */
	int process; /* a pidfd */
};

/* What is to be done. */
struct errand {
	const struct plan *pod; /* the plan whose section outside is meant; NULL: that of an app */
	size_t app;             /* its number */
	const char *name;
	_Bool only_check;       /* nothing but the app's plan is looked at */
	int channel;
	int users;              /* the pod's user namespace; -1: the host's */
};

/* -1 with errno. */
int begin_outfit(struct outfit *outfit, const struct errand *errand);
/* Waits for one that makes the mounts of a pod. -1 with the reason told. */
int finish_outfit(struct outfit *outfit);
/* Ends it, whether it is done or not. */
void end_outfit(struct outfit *outfit);

#endif
