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

/* Where the two descriptors this process keeps lie, beside the standard streams. */
enum { REPORT = 3, CHANNEL = 4, KEPT };

/* Everything else is closed, the lock of the pod above all: it is held exactly as long as the supervisor lives. */
static int keep(int report, int channel)
{
	int first = fcntl(report, F_DUPFD, KEPT), second = fcntl(channel, F_DUPFD, KEPT);
	if (first < 0 || second < 0 || dup2(first, REPORT) < 0 || dup2(second, CHANNEL) < 0)
		return -1;
	/* What is complained about is the answer to whoever asked. */
	if (dup2(REPORT, STDERR_FILENO) < 0)
		return -1;
	subcommand = NULL;
	return close_range(KEPT, ~0U, 0);
}

static int make_mounts(const struct plan *plan, struct launch *launch)
{
	const struct section *section = &plan->outside;
	begin_launch(launch);
	umask(0);
	for (size_t i = 0; i < section->count; i++) {
		int status = perform(launch, &section->steps[i]);
		if (status < 0) {
			char message[900];
			struct text t = TEXT_IN(message);
			text_add(&t, "app \"");
			text_add(&t, plan->apps[0].name);
			text_add(&t, "\": ");
			describe_failure(&t, &section->steps[i], -status);
			complain(message);
			return -1;
		}
	}
	return 0;
}

static int send_app(const struct plan *plan, const struct launch *launch, size_t app, int file)
{
	struct order order = {.kind = ORDER_START_APP, .app = (uint32_t)app, .value = plan->apps[0].stop_signal};
	struct text name = TEXT_IN(order.name);
	int fds[MAX_ATTACHED] = {file};
	size_t count = 1;
	text_add(&name, plan->apps[0].name);
	for (size_t slot = 0; slot < MAX_SLOTS; slot++)
		if (launch->slots[slot] >= 0) {
			order.slots[count - 1] = (uint8_t)slot;
			fds[count++] = launch->slots[slot];
		}
	if (send_app_start(CHANNEL, &order, fds, count) == 0)
		return 0;
	complain("the pod does not take the app: ", error_text(errno));
	return -1;
}

static int outfit_app(size_t app, const char *name, _Bool only_check)
{
	static struct plan plan;
	struct launch launch;
	int file = open_app_plan(name);
	if (file < 0) {
		complain("the plan of app \"", name, "\" cannot be read: ", error_text(errno));
		return -1;
	}
	if (read_app_plan(&plan, name, file) < 0)
		return -1;
	if (only_check)
		return 0;
	return make_mounts(&plan, &launch) < 0 ? -1 : send_app(&plan, &launch, app, file);
}

int begin_outfit(struct outfit *outfit, size_t app, const char *name, int channel, _Bool only_check)
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
		if (keep(report[1], channel) == 0 && outfit_app(app, name, only_check) == 0)
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
