#include "initrd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../launch/text.h"

/* The kernel keeps its own limits; these only say that something is amiss. */
#define MAX_FILE (64LL << 20)

static struct {
	int fd;
	unsigned number; /* of the last entry: as an inode, so that none looks like a hard link */
	size_t written;
} archive = {.fd = -1};

static int put(const void *bytes, size_t length)
{
	const char *from = bytes;
	while (length > 0) {
		ssize_t n = write(archive.fd, from, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		from += n;
		length -= (size_t)n;
		archive.written += (size_t)n;
	}
	return 0;
}

/* Everything begins at a multiple of four. */
static int pad(void)
{
	return put("\0\0\0", (4 - archive.written % 4) % 4);
}

static void add_field(struct text *t, unsigned long long value)
{
	static const char digits[] = "0123456789abcdef";
	char field[9] = "00000000";
	for (int at = 7; at >= 0; at--, value >>= 4)
		field[at] = digits[value & 15];
	text_add(t, field);
}

static int put_head(const char *name, unsigned mode, size_t size)
{
	char head[128];
	struct text t = TEXT_IN(head);
	const unsigned long long fields[] = {++archive.number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, strlen(name) + 1, 0};
	text_add(&t, "070701");
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		add_field(&t, fields[i]);
	int status = put(head, t.length);
	if (status == 0)
		status = put(name, strlen(name) + 1);
	return status == 0 ? pad() : status;
}

/* One that is there already is left as it is. */
static int put_parents(const char *name)
{
	char parent[256];
	int status = 0;
	if (strlen(name) >= sizeof parent)
		return -ENAMETOOLONG;
	for (const char *slash = name; status == 0 && (slash = strchr(slash, '/')) != NULL; slash++) {
		memcpy(parent, name, (size_t)(slash - name));
		parent[slash - name] = '\0';
		status = put_head(parent, S_IFDIR | 0755, 0);
	}
	return status;
}

static int copy(int source, long long size)
{
	char bytes[65536];
	while (size > 0) {
		ssize_t n = read(source, bytes, size < (long long)sizeof bytes ? (size_t)size : sizeof bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO; /* it has become shorter meanwhile */
		int status = put(bytes, (size_t)n);
		if (status < 0)
			return status;
		size -= n;
	}
	return pad();
}

static int add(const char *name, const char *source)
{
	struct stat st;
	int file = open(source, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (file < 0 || fstat(file, &st) < 0) {
		int number = errno;
		if (file >= 0)
			close(file);
		return -number;
	}
	int status = S_ISREG(st.st_mode) && st.st_size <= MAX_FILE ? put_parents(name) : -EINVAL;
	if (status == 0)
		status = put_head(name, S_IFREG | 0755, (size_t)st.st_size);
	if (status == 0)
		status = copy(file, st.st_size);
	close(file);
	return status;
}

int perform_initrd(const struct step *step, const char **file)
{
	*file = step->argv[0];
	if (step->argc % 2 != 1)
		return -EINVAL;
	archive.fd = open(step->argv[0], O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (archive.fd < 0)
		return -errno;
	int status = 0;
	for (size_t i = 1; status == 0 && i < step->argc; i += 2) {
		*file = step->argv[i + 1];
		status = add(step->argv[i], *file);
	}
	if (status == 0)
		status = put_head("TRAILER!!!", 0, 0);
	if (close(archive.fd) < 0 && status == 0)
		status = -errno;
	return status;
}
