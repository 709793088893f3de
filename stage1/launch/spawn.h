/* The birth of an app's process: a child of init, with a way to report and pipes to write to. */
#ifndef GANTRY_SPAWN_H
#define GANTRY_SPAWN_H

#include "channel.h"
#include "step.h"

/* What came with the order to start an app of a mutable pod: its plan, then the trees for its slots. */
struct parcel {
	const struct order *order;
	const int *fds;
	size_t count;
};

struct spawn {
	const char *name;
	const struct section *section; /* unless there is a parcel */
	const struct parcel *parcel;   /* or NULL */
	int processes;                 /* of a mutable pod: see remains.h; else -1 */
	_Bool lines;                   /* its output is logged, not a terminal's */
	/* What comes of it: */
	pid_t pid;
	int report; /* init's end; -1: none */
};

/* NULL, or the name of the call that failed, with errno; then nothing is left. */
const char *spawn_app(struct spawn *spawn, struct launch *launch);

#endif
