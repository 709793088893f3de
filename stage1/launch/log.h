/* The line logger: what apps write, a line at a time, behind the time, their name and PID. */
#ifndef GANTRY_LOG_H
#define GANTRY_LOG_H

#include <stdbool.h>
#include <sys/types.h>

#include "output.h"

/* A longer line is split. */
#define LONGEST_LINE 8192

struct log_stream {
	int fd; /* reading end of the app's pipe, -1 once it ended */
	struct output *output;
	const char *name;
	pid_t pid;
	size_t length;
	char line[LONGEST_LINE];
};

/* Whether there is room to read more. */
bool log_wants(const struct log_stream *stream);
/* Reads what is there, once, and passes on the complete lines; at the end of the pipe the rest too.
 * `last`: every writer is gone, so an empty pipe is at its end, whoever was handed a copy of it. */
void log_read(struct log_stream *stream, bool last);
/* Passes on lines that had to wait for room in the output. */
void log_pass(struct log_stream *stream);
/* Whether everything the app wrote has reached the output. */
bool log_finished(const struct log_stream *stream);

#endif
