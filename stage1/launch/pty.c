#include "pty.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mount.h"
#include "path.h"

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Opens the ptmx at `path`, which must be the device: the path is resolved first, then reopened. */
static int open_master(const char *path)
{
	int master = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	if (master < 0)
		return -errno;
	if (fstat(master, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2)) {
		close(master);
		return -ENOTTY;
	}
	return master;
}

/* Taken by init, since a copy can be taken only in the mount namespace the devpts is in. */
int renew_terminal(struct launch *launch)
{
	drop(&launch->terminal_tree);
	launch->terminal_tree = open_tree(launch->terminal_slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return outcome(launch->terminal_tree);
}

int perform_open_terminal(struct launch *launch, const struct step *step)
{
	struct winsize size;
	int unlocked = 0;
	int master = open_master(step->argv[0]);
	if (master < 0)
		return master;
	launch->terminal_master = master;
	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return -errno;
	/* Not by name: the slave is that of this master, whatever lies in /dev/pts. */
	launch->terminal_slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (launch->terminal_slave < 0)
		return -errno;
	int status = renew_terminal(launch);
	if (status < 0)
		return status;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		ioctl(master, TIOCSWINSZ, &size);
	return 0;
}

int perform_terminal(struct launch *launch, const struct step *step)
{
	return attach_tree(launch->terminal_tree, step->argv[0]);
}

int adopt_terminal(const struct launch *launch)
{
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(launch->terminal_slave, fd) < 0)
			return -errno;
	return ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0 ? -errno : 0;
}

void close_terminal(struct launch *launch)
{
	drop(&launch->terminal_master);
	drop(&launch->terminal_slave);
	drop(&launch->terminal_tree);
}
