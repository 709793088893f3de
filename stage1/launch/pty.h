/* The pod's pseudo-terminal, made by init in the pod's own devpts. */
#ifndef GANTRY_PTY_H
#define GANTRY_PTY_H

#include "step.h"

int perform_open_terminal(struct launch *launch, const struct step *step);
int perform_terminal(struct launch *launch, const struct step *step);
/* In init: the tree that perform_terminal attaches, which can be done once. */
int renew_terminal(struct launch *launch);
/* Makes the slave the standard streams and the controlling terminal of this session leader. */
int adopt_terminal(const struct launch *launch);
/* Drops all of the pty but the app's own descriptors. */
void close_terminal(struct launch *launch);

#endif
