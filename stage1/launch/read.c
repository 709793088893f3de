#include "read.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

ssize_t read_small(const char *path, char *buffer, size_t room)
{
	return read_small_at(AT_FDCWD, path, buffer, room);
}

ssize_t read_small_at(int directory, const char *path, char *buffer, size_t room)
{
	size_t length = 0;
	ssize_t n = 0;
	int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -1;
	while (length < room - 1 && (n = read(fd, buffer + length, room - 1 - length)) > 0)
		length += (size_t)n;
	int number = errno;
	close(fd);
	errno = number;
	buffer[length] = '\0';
	return n < 0 ? -1 : (ssize_t)length;
}
