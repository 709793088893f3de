/* enter APP COMMAND ARGUMENTS…: runs a command inside an app of the pod of the working directory
 * (specs/stage1-interface.md): its namespaces, cgroup, environment and capabilities; uid 0. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../launch/cgroup.h"
#include "../launch/descendants.h"
#include "../launch/filter.h"
#include "../launch/plan.h"
#include "../launch/pod.h"
#include "../launch/process.h"
#include "../launch/program.h"
#include "../launch/step.h"
#include "../launch/text.h"

static int fail(const char *what, const char *why)
{
	complain(what, ": ", why);
	return 254;
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

/* Those of the app that the command joins; its mounts last, since they take /proc out of sight. */
enum { NAMESPACES = 5 };
static const char *const namespaces[NAMESPACES] = {"ns/ipc", "ns/uts", "ns/net", "ns/cgroup", "ns/mnt"};

/* `/proc/PID/REST` */
static int open_of(pid_t pid, const char *rest)
{
	char path[64];
	struct text t = TEXT_IN(path);
	text_add(&t, "/proc/");
	text_number(&t, pid, 0, ' ');
	text_add(&t, "/");
	text_add(&t, rest);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Whether a namespace belongs to the very user namespace the pod's init is in. */
static _Bool is_pods(int namespace, const struct stat *users)
{
	struct stat st;
	int owner = ioctl(namespace, NS_GET_USERNS);
	_Bool same = owner >= 0 && fstat(owner, &st) == 0 && st.st_ino == users->st_ino && st.st_dev == users->st_dev;
	if (owner >= 0)
		close(owner);
	return same;
}

/* Opens the app's namespaces. An app may have given itself others (chroot lets every user make a user namespace, and in
 * that mounts): what a command finds in those is the app's user's, and would get uid 0 and capabilities. */
static int open_namespaces(const char *app, pid_t pid, int pidfd, const struct running_pod *pod, int held[NAMESPACES])
{
	struct stat users;
	int init = open_of(pod->init_pid, "ns/user");
	if (init < 0 || fstat(init, &users) < 0)
		return fail("namespaces of the pod", error_text(errno));
	for (int i = 0; i < NAMESPACES; i++) {
		held[i] = open_of(pid, namespaces[i]);
		if (held[i] < 0)
			return fail("namespaces of the app", error_text(errno));
		if (!is_pods(held[i], &users))
			return fail(app, "the app has moved into namespaces that are not the pod's: it cannot be entered safely");
	}
	close(init);
	/* Both are still who they were, so that was theirs. */
	if (signal_pidfd(pidfd, 0) < 0 || signal_pidfd(pod->init, 0) < 0)
		return fail(app, "the app is not running");
	return 0;
}

/* In the child, which is in the pod's PID namespace already. */
static int become_command(const struct section *app, const int held[NAMESPACES], char **command)
{
	struct launch launch;
	sigset_t none;
	for (int i = 0; i < NAMESPACES; i++)
		if (setns(held[i], 0) < 0)
			return fail("namespaces of the app", error_text(errno));
	if (chdir("/") < 0)
		return fail("root of the app", error_text(errno));
	if (leave_keyring() < 0)
		return fail("session keyring", error_text(errno));
	/* None of the caller's groups, which are the host's. */
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return fail("uid and gid 0", error_text(errno));
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

/* The pod has ended: so does the command, as the kernel would have it in a PID namespace. */
static int end_command(int child, _Bool adopts)
{
	int by_signal;
	signal_pidfd(child, SIGKILL);
	if (adopts)
		kill_descendants();
	int code = wait_pidfd(child, &by_signal);
	if (adopts)
		end_descendants();
	return code;
}

/* What the command left behind and this process adopted is waited for; the command itself is not, yet. */
static void reap_orphans(pid_t command)
{
	siginfo_t info = {0};
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0 && info.si_pid != command) {
		waitpid(info.si_pid, NULL, 0);
		info.si_pid = 0;
	}
}

/* Waits for the child, passing on what others send; what the terminal sends, the child gets itself. */
static int wait_for(pid_t pid, int child, int init, int signals, _Bool adopts)
{
	int by_signal;
	struct pollfd fds[] = {
		{.fd = child, .events = POLLIN}, {.fd = signals, .events = POLLIN}, {.fd = init, .events = POLLIN}};
	while ((fds[0].revents & POLLIN) == 0) {
		struct signalfd_siginfo taken;
		if (poll(fds, 3, -1) < 0)
			continue;
		if ((fds[2].revents & POLLIN) != 0)
			return end_command(child, adopts);
		while (read(signals, &taken, sizeof taken) == sizeof taken)
			if (taken.ssi_signo == SIGCHLD)
				reap_orphans(pid);
			else if (taken.ssi_code != SI_KERNEL)
				signal_pidfd(child, (int)taken.ssi_signo);
	}
	return wait_pidfd(child, &by_signal);
}

static int open_signals(void)
{
	static const int taken[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
		sigaddset(&set, taken[i]);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run_inside(const struct plan *plan, const struct section *app, const struct running_pod *pod, int pidfd,
		      const int held[NAMESPACES], char **command)
{
	int child, life[2];
	_Bool within = (plan->namespaces & CLONE_NEWPID) != 0 || plan->outside.name != NULL;
	int adopted = within ? 0 : adopt_descendants();
	if (adopted < 0)
		return fail("children of the command cannot be watched", error_text(errno));
	int signals = open_signals();
	/* What is started outside may have taken the pod elsewhere. */
	int cgroup = plan->outside.name != NULL ? open_cgroup_of(pod->init_pid) : open_birth_cgroup(&plan->supervisor);
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
		_exit(become_command(app, held, command));
	}
	return wait_for(pid, child, pod->init, signals, adopted > 0);
}

/* The section of an app that came to a mutable pod. */
static const struct section *later_app(const char *name)
{
	static struct plan plan;
	int file = open_app_plan(name);
	int status = file >= 0 ? read_app_plan(&plan, name, file) : -1;
	if (file >= 0)
		close(file);
	return status == 0 ? &plan.apps[0] : NULL;
}

/* Whether the pod's processes are among those of the host: who could open the executable of one with more
 * capabilities than its own could open every other program's of the host as well, sealed or not. */
static _Bool sees_the_host(const struct plan *plan)
{
	return (plan->namespaces & CLONE_NEWPID) == 0 && plan->outside.name == NULL;
}

int main(int argc, char **argv)
{
	static struct plan plan;
	struct running_pod pod;
	subcommand = "enter";
	mend_inheritance();
	if (argc < 3)
		return fail("usage", "enter APP COMMAND ARGUMENTS…, in the pod directory");
	if (read_plan(&plan, "plan") < 0)
		return 254;
	if (!sees_the_host(&plan))
		run_sealed(argv);
	const struct section *app = plan.mutable ? later_app(argv[1]) : plan_app(&plan, argv[1]);
	if (app == NULL)
		return fail(argv[1], "no such app in this pod");
	if (require_pod(&pod) < 0)
		return 254;
	pid_t pid = running_app(app->name), seen = -1;
	int held[NAMESPACES], pidfd = pid > 1 ? find_app(&pod, pid, &seen) : -1;
	if (pidfd < 0)
		return fail(app->name, "the app is not running");
	int status = open_namespaces(app->name, seen, pidfd, &pod, held);
	return status != 0 ? status : run_inside(&plan, app, &pod, pidfd, held, argv + 2);
}
