/* What init knows of each app; of concern to apps.c and stopping.c alone. */
#ifndef GANTRY_APP_TABLE_H
#define GANTRY_APP_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "plan.h"
#include "step.h"

/* ENDING is of a mutable pod: the app's process has ended, what it left behind has not; `pid` is of the process
 * that sees to that. */
enum phase { SETTING_UP, WAITING, STARTING, RUNNING, ENDING, EXITED };

struct app {
	const char *name;
	enum part part; /* what `pid` is, or is to be; each goes through the phases */
	_Bool started;  /* its own program was executed */
	int stop_signal;
	enum phase phase;
	pid_t pid;
	int report;
	long long deadline; /* of post-stop, and of the grace of one that alone is being stopped; else 0 */
	/* Of a mutable pod: */
	int mounts; /* its mount namespace, -1 until it is set up */
	int code;
};

struct app_table {
	const struct plan *plan;
	struct launch *launch;
	int channel;
	struct app of[MAX_APPS];
	size_t count;
	_Bool open;        /* all were set up: none waits for another any more */
	_Bool stopping;    /* none is started any more */
	_Bool no_handlers; /* nor any post-stop */
	int processes;     /* of a mutable pod: see remains.h */
	int code;          /* of the first app that failed */
};

extern struct app_table apps;

static inline uint32_t number_of(const struct app *app)
{
	return (uint32_t)(app - apps.of);
}

static inline const struct section *part_of(const struct app *app, enum part part)
{
	/* In a mutable pod the app's own process reads its plan. */
	return apps.plan->mutable ? NULL : app_part(apps.plan, number_of(app), part);
}

/* By its stop signal. */
void ask_to_end(const struct app *app);

#endif
