/* Who a process is and what it may do: user, capabilities, limits. */
#ifndef GANTRY_CREDENTIALS_H
#define GANTRY_CREDENTIALS_H

#include "step.h"

/* `chown` or `CAP_CHOWN` → 0; -1 when there is no such capability. */
int capability_number(const char *name);
/* `nofile` → RLIMIT_NOFILE; -1 when there is no such limit. */
int rlimit_number(const char *name);

int perform_umask(struct launch *launch, const struct step *step);
int perform_user(struct launch *launch, const struct step *step);
int perform_keep_caps(struct launch *launch, const struct step *step);
int perform_no_new_privileges(struct launch *launch, const struct step *step);
int perform_caps_of_every_user(struct launch *launch, const struct step *step);

/* Takes every capability but CAP_KILL from the process, also from what it may execute. 0, or -errno. */
int keep_kill_alone(void);
int perform_rlimit(struct launch *launch, const struct step *step);

#endif
