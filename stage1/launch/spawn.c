#include "spawn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "log.h"
#include "plan.h"

/* Closes what else init has open, as the mounts of other apps, which would be held until this one is executed.
 * `keep` has room for one more, and is sorted. */
static void close_others(int *keep, size_t count)
{
	keep[count++] = STDERR_FILENO;
	for (size_t i = 1; i < count; i++)
		for (size_t k = i; k > 0 && keep[k - 1] > keep[k]; k--) {
			int other = keep[k];
			keep[k] = keep[k - 1];
			keep[k - 1] = other;
		}
	for (size_t i = 0; i < count; i++) {
		unsigned first = (unsigned)keep[i] + 1, last = i + 1 < count ? (unsigned)keep[i + 1] - 1 : ~0U;
		if (keep[i] >= STDERR_FILENO && first <= last)
			close_range(first, last, 0);
	}
}

/* In the app's process, which alone reads the plan: init stays as small as it is. */
_Noreturn static void unpack_app(const struct parcel *parcel, const struct app_streams *streams)
{
	static struct plan plan;
	struct launch launch;
	int keep[MAX_ATTACHED + 5] = {streams->report, streams->output, streams->errors, streams->processes};
	memcpy(keep + 4, parcel->fds, parcel->count * sizeof *keep);
	close_others(keep, parcel->count + 4);
	begin_launch(&launch);
	for (size_t i = 1; i < parcel->count; i++)
		launch.slots[parcel->order->slots[i - 1] % MAX_SLOTS] = parcel->fds[i];
	if (read_app_plan(&plan, parcel->order->name, parcel->fds[0], 1) < 0)
		_exit(254);
	run_app(&launch, &plan.apps[0], streams);
}

static void close_streams(const struct app_streams *streams)
{
	if (streams->output >= 0)
		close(streams->output);
	if (streams->errors >= 0)
		close(streams->errors);
	close(streams->report);
}

const char *spawn_app(struct spawn *spawn, struct launch *launch)
{
	int report[2];
	struct app_streams streams = {.processes = spawn->processes, .output = -1, .errors = -1};
	const char *failed = NULL;

	spawn->pid = spawn->report = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0)
		return "socketpair";
	streams.report = report[1];
	if (spawn->lines) {
		streams.output = log_open(spawn->name, 0);
		streams.errors = streams.output >= 0 ? log_open(spawn->name, 1) : -1;
		failed = streams.errors < 0 ? "pipe" : NULL;
	}
	if (failed == NULL && (spawn->pid = fork()) < 0)
		failed = "fork";
	if (failed == NULL && spawn->pid == 0) {
		if (spawn->parcel != NULL)
			unpack_app(spawn->parcel, &streams);
		run_app(launch, spawn->section, &streams);
	}
	int number = errno;
	close_streams(&streams);
	if (failed != NULL) {
		close(report[0]);
	} else {
		spawn->report = report[0];
		if (spawn->lines)
			log_writer(spawn->pid);
	}
	errno = number;
	return failed;
}
