/* One app's process: set up by the steps of its section, then waiting for the others, then exec. */
#ifndef GANTRY_APP_H
#define GANTRY_APP_H

#include <sys/types.h>

#include "step.h"

/* What the process says on its `report` socket; it is closed by exec. In a mutable pod its mount namespace comes with it. */
#define REPORT_SET_UP "\1"
/* Before a line for the operator: something was left out, and the app goes on. */
#define REPORT_TOLD "\2"

struct app_streams {
	int report;         /* socket to init */
	int processes;      /* of a mutable pod (remains.h), else -1 */
	int output, errors; /* writing ends of the app's pipes, -1 with a terminal or output raw */
};

/* In the child: never returns. */
_Noreturn void run_app(struct launch *launch, const struct section *section, const struct app_streams *streams);

#endif
