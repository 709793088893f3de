/* The verbs the front carries out by itself. Each returns the exit code. */
#ifndef GANTRY_VERBS_H
#define GANTRY_VERBS_H

int run_prepared(const char *data, const char *uuid);
/* `app` may be NULL; `command` ends with NULL, and may be empty. */
int enter_pod(const char *data, const char *app, const char *uuid, char **command);
/* `uuids` ends with NULL. */
int stop_pods(const char *data, _Bool force, char **uuids);
/* Waits, in milliseconds (-1: for ever, 0: not at all), for the pod to be ready and to end. Returns 0,
 * or 254 with the reason told. */
int wait_for_pod(const char *data, const char *uuid, long long ready, long long ended);

#endif
