/* enter APP COMMAND ARGUMENTS…: runs a command inside an app of the pod of the working directory
 * (specs/stage1-interface.md): its namespaces, cgroup, environment and capabilities; uid 0. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../launch/cgroup.h"
#include "../launch/filter.h"
#include "../launch/plan.h"
#include "../launch/pod.h"
#include "../launch/process.h"
#include "../launch/program.h"
#include "../launch/read.h"
#include "../launch/step.h"
#include "../launch/text.h"

static int fail(const char *what, const char *why)
{
	complain(what, ": ", why);
	return 254;
}

/* The app's PID in the pod, -1 when it does not run. */
static pid_t running_app(const char *app)
{
	char path[192], content[256];
	struct text t = TEXT_IN(path);
	text_add(&t, "apps/");
	text_add(&t, app);
	text_add(&t, "/state");
	if (read_small(path, content, sizeof content) <= 0 || strncmp(content, "pid=", 4) != 0 ||
	    strstr(content, "\nexit=") != NULL)
		return -1;
	return (pid_t)strtol(content + 4, NULL, 10);
}

/* The steps of the app's section that say what it may do, not those that made its root. */
static int take_on(const struct section *app, struct launch *launch)
{
	begin_launch(launch);
	for (size_t i = 0; i < app->count; i++) {
		const struct step *step = &app->steps[i];
		int status = 0;
		if (step->word == WORD_ENV || step->word == WORD_KEEP_CAPS || step->word == WORD_UMASK ||
		    step->word == WORD_NO_NEW_PRIVILEGES || step->word == WORD_NO_USER_NAMESPACES)
			status = perform(launch, step);
		if (status < 0)
			return fail(word_name(step->word), error_text(-status));
	}
	const char *terminal = getenv("TERM");
	char *words[] = {(char *)"TERM", (char *)terminal, NULL};
	const struct step term = {.word = WORD_ENV, .argc = 2, .argv = words};
	if (terminal != NULL && variable(launch, "TERM") == NULL)
		perform(launch, &term);
	return 0;
}

/* In the child, which is in the pod's PID namespace already. */
static int become_command(const struct section *app, int pidfd, char **command)
{
	struct launch launch;
	sigset_t none;
	if (setns(pidfd, CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) < 0 || chdir("/") < 0)
		return fail("namespaces of the app", error_text(errno));
	if (leave_keyring() < 0)
		return fail("session keyring", error_text(errno));
	/* The terminal is the caller's, and the command is the image's. */
	int status = forbid_terminal_input();
	if (status < 0)
		return fail("system call filter", error_text(-status));
	if (take_on(app, &launch) != 0)
		return 254;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	const char *path = variable(&launch, "PATH");
	environ = launch.environment;
	if (path == NULL)
		setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	execvp(command[0], command);
	return fail(command[0], error_text(errno));
}

/* Waits for the child, passing on what others send; what the terminal sends, the child gets itself. */
static int wait_for(int child, int signals)
{
	int by_signal;
	struct pollfd fds[] = {{.fd = child, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
	while ((fds[0].revents & POLLIN) == 0) {
		struct signalfd_siginfo taken;
		if (poll(fds, 2, -1) < 0)
			continue;
		while (read(signals, &taken, sizeof taken) == sizeof taken)
			if (taken.ssi_code != SI_KERNEL)
				signal_pidfd(child, (int)taken.ssi_signo);
	}
	return wait_pidfd(child, &by_signal);
}

static int open_signals(void)
{
	static const int taken[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
		sigaddset(&set, taken[i]);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run_inside(const struct plan *plan, const struct section *app, int pidfd, char **command)
{
	int child, life[2];
	int signals = open_signals(), cgroup = open_birth_cgroup(&plan->supervisor);
	if (signals < 0 || pipe2(life, O_CLOEXEC) < 0)
		return fail("signals", error_text(errno));
	/* Nothing in the pod may look into this process, whose capabilities are still whole. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (setns(pidfd, CLONE_NEWPID) < 0)
		return fail("PID namespace of the pod", error_text(errno));
	pid_t pid = clone_process(0, &child, cgroup);
	if (pid < 0)
		return fail("clone", error_text(errno));
	if (pid == 0) {
		struct pollfd parent = {.fd = life[0]};
		close(life[1]);
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (poll(&parent, 1, 0) == 1) /* it died before that call */
			_exit(254);
		_exit(become_command(app, pidfd, command));
	}
	return wait_for(child, signals);
}

int main(int argc, char **argv)
{
	static struct plan plan;
	struct running_pod pod;
	subcommand = "enter";
	if (argc < 3)
		return fail("usage", "enter APP COMMAND ARGUMENTS…, in the pod directory");
	run_sealed(argv);
	if (read_plan(&plan, "plan") < 0)
		return 254;
	const struct section *app = plan_app(&plan, argv[1]);
	if (app == NULL)
		return fail(argv[1], "no such app in this pod");
	if (find_pod(&pod) < 0)
		return fail("the pod", "is not running");
	pid_t pid = running_app(app->name);
	int pidfd = pid > 1 ? find_app(&pod, pid) : -1;
	if (pidfd < 0)
		return fail(app->name, "the app is not running");
	return run_inside(&plan, app, pidfd, argv + 2);
}
