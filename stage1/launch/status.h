/* The files in the pod directory that tell how the pod fares (specs/stage1-interface.md). */
#ifndef GANTRY_STATUS_H
#define GANTRY_STATUS_H

#include <stdint.h>
#include <sys/types.h>

struct moment {
	int64_t seconds; /* CLOCK_REALTIME; 0: has not come yet */
	int32_t nanoseconds;
};

struct app_status {
	pid_t pid; /* in the pod */
	struct moment started, finished;
	int code;
};

/* An app as the supervisor knows it. */
struct app_record {
	const char *name; /* NULL: there is none */
	struct app_status status;
};

/* All relative to the working directory, each replaced as a whole. */
void write_pids(pid_t supervisor, pid_t init);
void write_moment(const char *file, struct moment moment);
void write_app_status(const char *app, const struct app_status *status);
void write_exit(int code);

#endif
