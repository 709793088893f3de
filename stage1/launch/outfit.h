/* What the host's side does for an app that is started in a running pod: a short-lived process reads and
 * checks the app's plan, makes its mounts in a mount namespace of its own, and sends them to init. The
 * supervisor stays small, and whatever goes wrong there goes with that process. */
#ifndef GANTRY_OUTFIT_H
#define GANTRY_OUTFIT_H

#include <stddef.h>

/* What the process says when all went well; anything else is why not. */
#define OUTFIT_DONE "\1"

struct outfit {
	int report; /* -1: there is none */
	int process; /* a pidfd */
};

/* Begins one for app number `app`; with `only_check` nothing but the plan is looked at. -1 with errno. */
int begin_outfit(struct outfit *outfit, size_t app, const char *name, int channel, _Bool only_check);
/* Ends it, whether it is done or not. */
void end_outfit(struct outfit *outfit);

#endif
