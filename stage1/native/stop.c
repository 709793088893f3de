/* stop [--force] UUID: ends the pod of the working directory (specs/stage1-interface.md). */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "../launch/pod.h"
#include "../launch/process.h"
#include "../launch/text.h"

static void pause_ms(long milliseconds)
{
	const struct timespec time = {.tv_nsec = milliseconds * 1000000};
	nanosleep(&time, NULL);
}

/* A pod that has just been started is locked before its processes can be found. */
static int find_started_pod(struct running_pod *pod, int patience_ms)
{
	for (int waited = 0; waited < patience_ms && pod_is_locked("."); waited += 10) {
		if (find_pod(pod) == 0)
			return 0;
		pause_ms(10);
	}
	return -1;
}

static int ended_within(int pidfd, int milliseconds)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	return poll(&end, 1, milliseconds) == 1;
}

/* Init first: with it every process of the pod ends, and the supervisor still clears up. */
static void force(const struct running_pod *pod)
{
	signal_pidfd(pod->init, SIGKILL);
	signal_pidfd(pod->supervisor, SIGCONT);
	if (!ended_within(pod->supervisor, 3000)) {
		signal_pidfd(pod->supervisor, SIGKILL);
		ended_within(pod->supervisor, 3000);
	}
}

int main(int argc, char **argv)
{
	struct running_pod pod;
	_Bool forced = argc > 1 && strcmp(argv[1], "--force") == 0;
	subcommand = "stop";
	/* By force, one that has not come so far, or never will, is killed as it is. */
	if (find_started_pod(&pod, forced ? 1000 : 5000) < 0) {
		if (forced && kill_lock_holders() > 0)
			return 0;
		complain(pod_is_locked(".") ? "the processes of the pod cannot be found by its file pid" :
					      "the pod is not running");
		return 254;
	}
	if (forced) {
		force(&pod);
	} else {
		signal_pidfd(pod.supervisor, SIGTERM);
		signal_pidfd(pod.supervisor, SIGCONT); /* or a stopped one would not take it */
	}
	return 0;
}
