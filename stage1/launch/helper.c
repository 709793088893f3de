#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "text.h"

enum { FIRST = 3 };

/* In the child. The environment is what says which socket is there. */
static void become_helper(int socket, const struct step *step)
{
	char number[48];
	struct text t = TEXT_IN(number);
	char *environment[] = {(char *)"LISTEN_FDS=1", number, NULL}, *none[] = {NULL};
	sigset_t empty;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 2; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			return;
	if (socket == FIRST ? fcntl(FIRST, F_SETFD, 0) < 0 : socket >= 0 && dup2(socket, FIRST) < 0)
		return;
	close_range(socket >= 0 ? FIRST + 1 : FIRST, ~0U, 0);
	text_add(&t, "LISTEN_PID=");
	text_number(&t, getpid(), 0, ' ');
	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	execve(step->argv[0], step->argv + 1, socket >= 0 ? environment : none);
}

int perform_spawn(struct launch *launch, const struct step *step)
{
	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0)
		return 0;
	/* The parent may have died before the call, which then came too late. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == parent)
		become_helper(launch->journal_server, step);
	_exit(254);
}
