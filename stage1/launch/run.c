#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan.h"
#include "process.h"
#include "text.h"

/* The descriptor that holds the lock of the pod directory, -1 when GANTRY_LOCK_FD names none. */
static int find_lock(void)
{
	const char *word = getenv("GANTRY_LOCK_FD");
	unsigned long long fd;
	struct stat held, here;
	/* One of the standard streams would be an app's. */
	if (word == NULL || !parse_number(word, 10, 1 << 20, &fd) || fd <= STDERR_FILENO || fstat((int)fd, &held) < 0 || stat(".", &here) < 0)
		return -1;
	if (held.st_dev != here.st_dev || held.st_ino != here.st_ino || flock((int)fd, LOCK_EX | LOCK_NB) < 0)
		return -1;
	return (int)fd;
}

static int run(int argc, char **argv, become_inside *inside, _Bool sealed)
{
	static struct plan plan;
	subcommand = "run";
	mend_inheritance();
	if (argc != 2) {
		complain("usage: run UUID, in the pod directory");
		return 254;
	}
	int lock = find_lock();
	if (lock < 0) {
		complain("GANTRY_LOCK_FD does not name the lock of the pod directory");
		return 254;
	}
	if (sealed)
		run_sealed(argv);
	fcntl(lock, F_SETFD, FD_CLOEXEC);
	if (read_plan(&plan, "plan") < 0)
		return 254;
	return supervise(&plan, inside);
}

int run_pod(int argc, char **argv, become_inside *inside)
{
	return run(argc, argv, inside, 1);
}

int run_pod_unsealed(int argc, char **argv, become_inside *inside)
{
	return run(argc, argv, inside, 0);
}
