/* Carrying out steps. Every function that performs one returns 0 or -errno. */
#ifndef GANTRY_STEP_H
#define GANTRY_STEP_H

#include <errno.h>

#include "plan.h"
#include "text.h"

/* What steps leave for later ones. Init fills it in section pod; every app gets a copy. */
struct launch {
	int slots[MAX_SLOTS]; /* detached mount trees, -1 when empty */
	int terminal_master, terminal_slave, terminal_tree;
	int journal, journal_server; /* of section outside; -1: none */
	_Bool private_mounts; /* what is mounted here is of no concern to the host any more */
	_Bool raw;         /* the standard streams are those of whoever started the pod, not the app's to own */
	int null_device;  /* /dev/null as mask found it */
	int empty_tree;   /* an empty read-only tmpfs, attached by the first mask that needed it */
	char **environment; /* NAME=VALUE, NULL-terminated, or NULL */
	size_t variables;
};

/* What a system call returned, as 0 or -errno. */
static inline int outcome(long returned)
{
	return returned < 0 ? -errno : 0;
}

void begin_launch(struct launch *launch);
int perform(struct launch *launch, const struct step *step);
/* `WORD ARGUMENTS: words for errno`; the content of files and the environment are left out. */
void describe_failure(struct text *t, const struct step *step, int number);

#endif
