/* Carrying out steps. Every function that performs one returns 0 or -errno. */
#ifndef GANTRY_STEP_H
#define GANTRY_STEP_H

#include <errno.h>
#include <stdlib.h>

#include "plan.h"
#include "text.h"

/* What steps leave for later ones. Init fills it in section pod; every app gets a copy. */
struct launch {
	int slots[MAX_SLOTS]; /* detached mount trees, and ways into control groups; -1 when empty */
	int terminal_master, terminal_slave, terminal_tree;
	int journal, journal_server; /* of section outside; -1: none */
	int users;            /* the user namespace of the pod, where the section is done outside of it; else -1 */
	_Bool private_mounts; /* what is mounted here is of no concern to the host any more */
	_Bool raw;            /* the standard streams are those of whoever started the pod, not the app's to own */
	int null_device;      /* /dev/null as mask found it */
	int empty_tree;       /* an empty read-only tmpfs, attached by the first mask that needed it */
	int report;           /* of an app's process: where do_without() goes; -1: nowhere */
	const char *filter;   /* to be loaded right before exec, as the plan has it; or NULL */
	char **environment;   /* NAME=VALUE, NULL-terminated, or NULL */
	size_t variables;
};

/* What a system call returned, as 0 or -errno. */
static inline int outcome(long returned)
{
	return returned < 0 ? -errno : 0;
}

/* The slot that the first argument of a step names. */
static inline int *slot_of(struct launch *launch, const struct step *step)
{
	return &launch->slots[strtoul(step->argv[0], NULL, 10) % MAX_SLOTS];
}

void begin_launch(struct launch *launch);
int perform(struct launch *launch, const struct step *step);
/* What of a step could not be had, where the pod does without: a line for the operator. */
void do_without(const struct launch *launch, const struct step *step, const char *why);
/* `WORD ARGUMENTS: words for errno`; the content of files, the environment and filters are left out. */
void describe_failure(struct text *t, const struct step *step, int number);

#endif
