/* The data directory's pods: DATA/pods/PHASE/UUID (specs/lifecycle.md). */
#ifndef GANTRY_PODS_H
#define GANTRY_PODS_H

#include <limits.h>

#define UUID_LENGTH 36

/* Those in which a pod can be named, in the order it goes through them. */
enum pod_phase { PHASE_PREPARE, PHASE_PREPARED, PHASE_RUN, PHASE_EXITED_GARBAGE, PHASE_NONE };

struct named_pod {
	char uuid[UUID_LENGTH + 1];
	enum pod_phase phase;
	char path[PATH_MAX];
};

/* Finds the one pod whose UUID begins with `prefix`, upper or lower case; returns NULL, or why not. */
const char *find_named_pod(const char *data, const char *prefix, struct named_pod *pod);
/* Finds the phase of pod->uuid again; PHASE_NONE when the pod is gone. */
void locate_pod(const char *data, struct named_pod *pod);
/* DATA/pods/PHASE[/UUID] */
int pod_path(char path[PATH_MAX], const char *data, enum pod_phase phase, const char *uuid);

#endif
