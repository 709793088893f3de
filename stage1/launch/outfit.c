#include "outfit.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "process.h"
#include "step.h"
#include "text.h"

/* Where the descriptors this process keeps lie, beside the standard streams. */
enum { REPORT = 3, CHANNEL, USERS, KEPT };

/* Everything else is closed, the lock of the pod above all: it is held exactly as long as the supervisor lives. */
static int keep(int report, const struct errand *errand)
{
	int held[] = {report, errand->channel, errand->users};
	unsigned count = errand->users >= 0 ? USERS + 1 - REPORT : CHANNEL + 1 - REPORT;
	/* Above all those numbers first, so that none is in the way of another. */
	for (unsigned i = 0; i < count; i++)
		if ((held[i] = fcntl(held[i], F_DUPFD_CLOEXEC, KEPT)) < 0)
			return -1;
	for (unsigned i = 0; i < count; i++)
		if (dup2(held[i], REPORT + (int)i) < 0)
			return -1;
	/* What is complained about is the answer to whoever asked. */
	if (dup2(REPORT, STDERR_FILENO) < 0)
		return -1;
	subcommand = NULL;
	return close_range(REPORT + count, ~0U, 0);
}

static int make_mounts(const struct section *section, const char *app, struct launch *launch)
{
	umask(0);
	for (size_t i = 0; i < section->count; i++) {
		int status = perform(launch, &section->steps[i]);
		if (status < 0) {
			char message[900];
			struct text t = TEXT_IN(message);
			text_add(&t, app != NULL ? "app \"" : "outside: ");
			text_add(&t, app != NULL ? app : "");
			text_add(&t, app != NULL ? "\": " : "");
			describe_failure(&t, &section->steps[i], -status);
			complain(message);
			return -1;
		}
	}
	return 0;
}

/* `file`: what goes along before the trees, -1: nothing. */
static int send_trees(struct order *order, const struct launch *launch, int file)
{
	int fds[MAX_ATTACHED] = {file};
	size_t count = file >= 0 ? 1 : 0, trees = 0;
	for (size_t slot = 0; slot < MAX_SLOTS; slot++)
		if (launch->slots[slot] >= 0) {
			order->slots[trees++] = (uint16_t)slot;
			fds[count++] = launch->slots[slot];
		}
	if (send_with(CHANNEL, order, fds, count) == 0)
		return 0;
	complain(file >= 0 ? "the pod does not take the app: " : "init does not take the pod's mounts: ", error_text(errno));
	return -1;
}

static int outfit_app(const struct errand *errand, struct launch *launch)
{
	static struct plan plan;
	int file = open_app_plan(errand->name);
	if (file < 0) {
		complain("the plan of app \"", errand->name, "\" cannot be read: ", error_text(errno));
		return -1;
	}
	if (read_app_plan(&plan, errand->name, file, 0) < 0)
		return -1;
	const struct section *outside = &plan.outside;
	if (plan.joins_users != (launch->users >= 0)) {
		complain("the plan of app \"", errand->name, "\" is for a pod of other users");
		return -1;
	}
	if (errand->only_check)
		return 0;
	struct order order = {
		.kind = ORDER_START_APP, .app = (uint32_t)errand->app, .value = plan.apps[0].stop_signal};
	struct text name = TEXT_IN(order.name);
	text_add(&name, errand->name);
	return make_mounts(outside, errand->name, launch) < 0 ? -1 : send_trees(&order, launch, file);
}

static int outfit_pod(const struct errand *errand, struct launch *launch)
{
	struct order order = {.kind = ORDER_BEGIN};
	return make_mounts(&errand->pod->outside, NULL, launch) < 0 ? -1 : send_trees(&order, launch, -1);
}

static int carry_out(const struct errand *errand)
{
	struct launch launch;
	begin_launch(&launch);
	if (errand->users >= 0)
		launch.users = USERS;
	return errand->pod != NULL ? outfit_pod(errand, &launch) : outfit_app(errand, &launch);
}

int begin_outfit(struct outfit *outfit, const struct errand *errand)
{
	int report[2];
	pid_t supervisor = getpid();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0)
		return -1;
	pid_t pid = clone_process(CLONE_NEWNS, &outfit->process, -1);
	if (pid == 0) {
		/* It dies with the supervisor; one that died before that call is no parent any more. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != supervisor)
			_exit(254);
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		if (keep(report[1], errand) == 0 && carry_out(errand) == 0)
			send(REPORT, OUTFIT_DONE, 1, MSG_NOSIGNAL);
		_exit(0);
	}
	int number = errno;
	close(report[1]);
	if (pid < 0) {
		close(report[0]);
		errno = number;
		return -1;
	}
	outfit->report = report[0];
	return 0;
}

int finish_outfit(struct outfit *outfit)
{
	char line[1000];
	ssize_t n;
	while ((n = recv(outfit->report, line, sizeof line - 1, 0)) < 0 && errno == EINTR)
		;
	end_outfit(outfit);
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (n == 1 && line[0] == OUTFIT_DONE[0])
		return 0;
	complain(n > 0 ? line : OUTFIT_DIED);
	return -1;
}

void end_outfit(struct outfit *outfit)
{
	int by_signal;
	if (outfit->report < 0)
		return;
	close(outfit->report);
	signal_pidfd(outfit->process, SIGKILL);
	wait_pidfd(outfit->process, &by_signal);
	close(outfit->process);
	outfit->report = -1;
}
