#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "step.h"
#include "text.h"

/* The directory is in /run, say, which is empty when the machine starts. */
static int make_place(const char *path)
{
	char parent[PATH_MAX] = "", mode[] = "0700";
	size_t length = (size_t)(strrchr(path, '/') - path);
	char *words[] = {parent, mode, NULL};
	if (length == 0)
		return 0;
	memcpy(parent, path, length);
	return perform_make_directory(NULL, &(struct step){.word = WORD_MAKE_DIRECTORY, .argc = 2, .argv = words});
}

/* 1: whoever cleared the file away was quicker. */
static int try_to_hold(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int status = outcome(flock(fd, LOCK_EX | LOCK_NB));
	if (status == 0)
		status = outcome(fstat(fd, &st));
	if (status == 0 && st.st_nlink == 0)
		status = 1;
	/* One that is held is never closed, and goes to no child. */
	if (status != 0)
		close(fd);
	return status;
}

static int hold(const char *path)
{
	int status = make_place(path);
	if (status < 0)
		return status;
	while ((status = try_to_hold(path)) > 0)
		;
	return status;
}

int hold_locks(const struct section *supervisor)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		const struct step *step = &supervisor->steps[i];
		int status = step->word == WORD_HOLD_LOCK ? hold(step->argv[0]) : 0;
		if (status == 0)
			continue;
		complain("hold-lock ", step->argv[0], ": ",
			 status == -EWOULDBLOCK ? "another pod that runs has it: prepare this one anew" : error_text(-status));
		return -1;
	}
	return 0;
}
