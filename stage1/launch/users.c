#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "process.h"
#include "text.h"

/* The kernel takes a map whole, by one write, and once. */
static int write_map(const struct section *supervisor, enum word word, pid_t pid, const char *file)
{
	char lines[2048];
	struct text t = TEXT_IN(lines);
	for (size_t i = 0; i < supervisor->count; i++) {
		const struct step *step = &supervisor->steps[i];
		if (step->word != word)
			continue;
		for (size_t k = 0; k < step->argc; k++) {
			text_add(&t, step->argv[k]);
			text_add(&t, k + 1 < step->argc ? " " : "\n");
		}
	}
	if (t.length + 1 == t.room) { /* what did not fit is cut off */
		errno = E2BIG;
		return -1;
	}
	int fd = open_process_file(pid, file, O_WRONLY);
	ssize_t n = fd < 0 ? -1 : write(fd, lines, t.length);
	int number = errno;
	if (fd >= 0)
		close(fd);
	errno = number;
	return n == (ssize_t)t.length ? 0 : -1;
}

int map_users(const struct section *supervisor, pid_t pid)
{
	if (write_map(supervisor, WORD_MAP_USERS, pid, "uid_map") < 0)
		return -1;
	return write_map(supervisor, WORD_MAP_GROUPS, pid, "gid_map");
}

int open_users(pid_t pid)
{
	return open_process_file(pid, "ns/user", O_RDONLY);
}

/* Changes of credentials undo both: that this process dies with its parent, and that nobody may look into it. */
static int stay_bound(int signal)
{
	if (prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) < 0)
		return -errno;
	return outcome(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
}

/* What a mount namespace copies of one that belongs to other users it locks: what is read-only there, say, root
 * here cannot make writable (mount_namespaces(7), Restrictions). */
int perform_join_users(struct launch *launch, const struct step *step)
{
	(void)step;
	int signal = 0;
	if (launch->users < 0)
		return -EINVAL;
	int status = outcome(prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0));
	if (status == 0)
		status = outcome(setns(launch->users, CLONE_NEWUSER));
	if (status == 0)
		status = outcome(unshare(CLONE_NEWNS));
	return status == 0 ? stay_bound(signal) : status;
}

int perform_become_root(struct launch *launch, const struct step *step)
{
	(void)launch, (void)step;
	int signal = 0;
	int status = outcome(prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0));
	if (status == 0)
		status = outcome(setgroups(0, NULL));
	if (status == 0)
		status = outcome(setresgid(0, 0, 0));
	if (status == 0)
		status = outcome(setresuid(0, 0, 0));
	return status == 0 ? stay_bound(signal) : status;
}
