#include "app.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "program.h"
#include "pty.h"
#include "remains.h"

_Noreturn static void fail(const struct app_streams *streams, const char *message)
{
	send(streams->report, message, strlen(message), MSG_NOSIGNAL);
	_exit(254);
}

_Noreturn static void fail_step(const struct app_streams *streams, const struct section *section,
				const struct step *step, int number)
{
	char message[900];
	struct text t = TEXT_IN(message);
	text_add(&t, "app \"");
	text_add(&t, section->name);
	text_add(&t, "\": ");
	if (step->word == WORD_EXEC && number == ENOENT) { /* the words scripts written for rkt look for */
		text_add(&t, "Error: Unable to open \"");
		text_add_plain(&t, step->argv[0]);
		text_add(&t, "\": ");
		text_add(&t, error_text(number));
	} else {
		describe_failure(&t, step, number);
	}
	fail(streams, message);
}

static void default_signals(void)
{
	sigset_t none;
	for (int number = 1; number <= SIGRTMAX; number++)
		signal(number, SIG_DFL); /* refused for KILL and STOP */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int adopt_pipes(const struct app_streams *streams)
{
	if (streams->output < 0) /* output raw */
		return 0;
	if (dup2(streams->output, STDOUT_FILENO) < 0 || dup2(streams->errors, STDERR_FILENO) < 0)
		return -errno;
	return 0;
}

/* Says that this app is set up and waits until all are. */
static void wait_for_others(const struct app_streams *streams)
{
	char go;
	int mounts = streams->processes >= 0 ? open_own_mounts(streams->processes) : -1;
	send_one(streams->report, REPORT_SET_UP, 1, mounts);
	if (mounts >= 0)
		close(mounts);
	ssize_t n;
	while ((n = recv(streams->report, &go, 1, 0)) < 0 && errno == EINTR)
		;
	if (n != 1)
		_exit(254);
}

_Noreturn void run_app(struct launch *launch, const struct section *section, const struct app_streams *streams)
{
	launch->report = streams->report;
	default_signals();
	setsid();
	int status = launch->terminal_slave >= 0 ? adopt_terminal(launch) : adopt_pipes(streams);
	if (status < 0)
		fail(streams, "standard streams cannot be set up");

	const struct step *exec = &section->steps[section->count - 1];
	for (const struct step *step = section->steps; step < exec; step++) {
		status = perform(launch, step);
		if (status < 0)
			fail_step(streams, section, step, -status);
	}
	/* Found out now, a missing program keeps the other apps from starting. */
	if (access(exec->argv[0], F_OK) < 0)
		fail_step(streams, section, exec, errno);
	/* Where no PID namespace does it. Not earlier: changing user takes it back. Should init be dead already,
	 * the others are waited for in vain. */
	if (getppid() != 1)
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	wait_for_others(streams);
	fail_step(streams, section, exec, -become_program(launch, exec));
}
