/* A standard stream written without ever waiting for its reader: what it does not take is kept. */
#ifndef GANTRY_OUTPUT_H
#define GANTRY_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#define OUTPUT_ROOM 16384

struct output {
	int fd; /* -1: nobody reads any more; everything is dropped */
	enum { OUTPUT_OWN, OUTPUT_SOCKET, OUTPUT_SHARED } kind;
	size_t start, length;
	char bytes[OUTPUT_ROOM];
};

/* Needs /proc, so before the root changes. */
void open_output(struct output *output, int fd);
size_t output_room(const struct output *output);
/* At most output_room() bytes. */
void output_add(struct output *output, const void *bytes, size_t length);
/* Writes what can be written now. */
void output_flush(struct output *output);

#endif
