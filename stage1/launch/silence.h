/* Standard streams of an app that lead nowhere. */
#ifndef GANTRY_SILENCE_H
#define GANTRY_SILENCE_H

#include "step.h"

/* The stream of this name, or -1: `input`, `output` or `errors`. */
int stream_number(const char *name);
int perform_silence(struct launch *launch, const struct step *step);

#endif
