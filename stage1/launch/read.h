/* Reading small files whole. */
#ifndef GANTRY_READ_H
#define GANTRY_READ_H

#include <stddef.h>
#include <sys/types.h>

/* The length of the file's content, cut to `room` - 1 and NUL-terminated; -1 with errno. */
ssize_t read_small(const char *path, char *buffer, size_t room);
ssize_t read_small_at(int directory, const char *path, char *buffer, size_t room);

#endif
