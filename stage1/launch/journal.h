/* A journal of the pod's own: the socket of a systemd-journald that runs for it, and entries for that. */
#ifndef GANTRY_JOURNAL_H
#define GANTRY_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "step.h"

/* Entries are kept until the journald that is given the socket takes them. */
int perform_journal_socket(struct launch *launch, const struct step *step);

/* The entry of one line of an app's output, without newline: false where it has to wait until `journal` can be
 * written to. */
bool journal_send(int *journal, const char *app, pid_t pid, const char *line, size_t length);

#endif
