/* Which devices the processes of a cgroup v2 group may open or make: by a BPF program, there being no control file. */
#ifndef GANTRY_DEVICE_FILTER_H
#define GANTRY_DEVICE_FILTER_H

#include "step.h"

/* Whether a word is a rule `KIND:MAJOR:MINOR:ACCESS`: `c` or `b`, numbers or `*`, some of `rwm`. */
_Bool device_rule_ok(const char *word);
/* Carries out a device-access step: attaches to the group what allows the devices of the rules and no others. The
 * kernel drops it with the group. 0 or -errno. */
int filter_devices(const struct step *step);

#endif
