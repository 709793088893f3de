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

/* Ways into the control groups of the app, which has entered them by what section pod had opened for it. */
static int open_groups(const struct section *app, struct launch *launch)
{
	begin_launch(launch);
	for (size_t i = 0; i < app->count; i++) {
		const struct step *step = &app->steps[i];
		int status = step->word == WORD_ENTER_CGROUP ? perform_open_cgroup(launch, step) : 0;
		if (status < 0)
			return fail(step->argv[1], error_text(-status));
	}
	return 0;
}

/* The steps of the app's section that say what it may do, not those that made its root. */
static int take_on(const struct section *app, struct launch *launch)
{
	for (size_t i = 0; i < app->count; i++) {
		const struct step *step = &app->steps[i];
		int status = 0;
		if (step->word == WORD_ENTER_CGROUP || step->word == WORD_ENV || step->word == WORD_KEEP_CAPS || step->word == WORD_UMASK ||
		    step->word == WORD_NO_NEW_PRIVILEGES || step->word == WORD_NO_USER_NAMESPACES ||
		    step->word == WORD_SECCOMP)
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

/* What is joined, -1 what need not be. */
struct joined {
	int of[NAMESPACES];
	_Bool pods[NAMESPACES]; /* it belongs to the pod's users: joined as one of those only */
	int users;
	_Bool processes; /* the pod has a PID namespace of its own */
};

/* Whether both are descriptors of one namespace. */
static _Bool is_same(int namespace, int other)
{
	struct stat one, two;
	return fstat(namespace, &one) == 0 && fstat(other, &two) == 0 && one.st_ino == two.st_ino && one.st_dev == two.st_dev;
}

/* Whether a namespace belongs to the very user namespace the pod's init is in. */
static _Bool is_pods(int namespace, int users)
{
	int owner = ioctl(namespace, NS_GET_USERNS);
	_Bool same = owner >= 0 && is_same(owner, users);
	if (owner >= 0)
		close(owner);
	return same;
}

/* Whether process `pid` is in that namespace, of the kind `name`. */
static _Bool is_in(pid_t pid, const char *name, int namespace)
{
	int its = open_process_file(pid, name, O_RDONLY);
	_Bool same = its >= 0 && is_same(its, namespace);
	if (its >= 0)
		close(its);
	return same;
}

/* Opens the app's namespaces. An app may have given itself others (chroot lets every user make a user namespace, and in
 * that mounts): what a command finds in those is the app's user's, and would get uid 0 and capabilities. */
static int open_namespaces(const char *app, pid_t pid, int pidfd, const struct running_pod *pod, struct joined *joined)
{
	int users = open_process_file(pod->init_pid, "ns/user", O_RDONLY);
	if (users < 0)
		return fail("namespaces of the pod", error_text(errno));
	for (int i = 0; i < NAMESPACES; i++) {
		int held = joined->of[i] = open_process_file(pid, namespaces[i], O_RDONLY);
		if (held < 0)
			return fail("namespaces of the app", error_text(errno));
		joined->pods[i] = is_pods(held, users);
		/* One of the host's that the pod was left in, such as its network. */
		if (!joined->pods[i] && !is_in(pod->init_pid, namespaces[i], held))
			return fail(app, "the app has moved into namespaces that are not the pod's: it cannot be entered safely");
		/* An ordinary user has no power over those, but is in them already. */
		if (!joined->pods[i] && is_in(getpid(), namespaces[i], held)) {
			close(held);
			joined->of[i] = -1;
		}
	}
	joined->users = is_in(getpid(), "ns/user", users) ? -1 : users;
	int processes = open_process_file(pod->init_pid, "ns/pid", O_RDONLY);
	joined->processes = processes < 0 || !is_in(getpid(), "ns/pid", processes);
	if (processes >= 0)
		close(processes);
	/* Both are still who they were, so that was theirs. */
	if (signal_pidfd(pidfd, 0) < 0 || signal_pidfd(pod->init, 0) < 0)
		return fail(app, "the app is not running");
	return 0;
}

/* The host's own have to be joined while this process is still root there. */
static int join(const struct joined *joined)
{
	for (int i = 0; i < NAMESPACES; i++)
		if (!joined->pods[i] && joined->of[i] >= 0 && setns(joined->of[i], 0) < 0)
			return -1;
	if (joined->users >= 0 && setns(joined->users, CLONE_NEWUSER) < 0)
		return -1;
	for (int i = 0; i < NAMESPACES; i++)
		if (joined->pods[i] && setns(joined->of[i], 0) < 0)
			return -1;
	return 0;
}

/* Not earlier: changing user takes it back. `life` ends with the parent, which may have died before that call. */
static void die_with_parent(int life)
{
	struct pollfd parent = {.fd = life};
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (poll(&parent, 1, 0) == 1)
		_exit(254);
}

/* In the child, which is in the pod's PID namespace already. */
static int become_command(const struct section *app, struct launch *launch, const struct joined *joined, int life,
			  char **command)
{
	sigset_t none;
	if (join(joined) < 0)
		return fail("namespaces of the app", error_text(errno));
	if (chdir("/") < 0)
		return fail("root of the app", error_text(errno));
	if (leave_keyring() < 0)
		return fail("session keyring", error_text(errno));
	/* None of the caller's groups, which are the host's. */
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return fail("uid and gid 0", error_text(errno));
	/* Nothing in the pod may look into this process: as above. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	die_with_parent(life);
	/* The terminal is the caller's, and the command is the image's. */
	int status = forbid_terminal_input();
	if (status < 0)
		return fail("system call filter", error_text(-status));
	if (take_on(app, launch) != 0)
		return 254;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	const char *path = variable(launch, "PATH");
	environ = launch->environment;
	if (path == NULL)
		setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	status = load_filter(launch);
	if (status < 0)
		return fail("system call filter", error_text(-status));
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

static int run_inside(const struct plan *plan, const struct section *app, struct launch *launch,
		      const struct running_pod *pod, int pidfd, const struct joined *joined, char **command)
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
	if (joined->processes && setns(pidfd, CLONE_NEWPID) < 0)
		return fail("PID namespace of the pod", error_text(errno));
	pid_t pid = clone_process(0, &child, cgroup);
	/* An ordinary user may have been given the group of a service, but not the way there from a login's. */
	if (pid < 0 && errno == EACCES && cgroup >= 0)
		pid = clone_process(0, &child, -1);
	if (pid < 0)
		return fail("clone", error_text(errno));
	if (pid == 0) {
		close(life[1]);
		if (join_cgroups_of_v1(&plan->supervisor) < 0)
			_exit(254);
		_exit(become_command(app, launch, joined, life[0], command));
	}
	return wait_for(pid, child, pod->init, signals, adopted > 0);
}

/* The section of an app that came to a mutable pod. */
static const struct section *later_app(const char *name)
{
	static struct plan plan;
	int file = open_app_plan(name);
	int status = file >= 0 ? read_app_plan(&plan, name, file, 0) : -1;
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
	struct joined joined = {.users = -1};
	int pidfd = pid > 1 ? find_app(&pod, pid, &seen) : -1;
	if (pidfd < 0)
		return fail(app->name, "the app is not running");
	struct launch launch;
	if (open_groups(app, &launch) != 0)
		return 254;
	int status = open_namespaces(app->name, seen, pidfd, &pod, &joined);
	return status != 0 ? status : run_inside(&plan, app, &launch, &pod, pidfd, &joined, argv + 2);
}
