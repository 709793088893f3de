#include "apps.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "clock.h"
#include "ending.h"
#include "memory.h"
#include "remains.h"
#include "text.h"

/* ENDING is of a mutable pod: the app's process has ended, what it left behind has not; `pid` is of the process
 * that sees to that. */
enum phase { SETTING_UP, WAITING, STARTING, RUNNING, ENDING, EXITED };

struct app {
	const char *name;
	const struct section *section; /* NULL in a mutable pod, where the app's own process reads its plan */
	int stop_signal;
	enum phase phase;
	pid_t pid;
	int report;
	/* Of a mutable pod: */
	int mounts;         /* its mount namespace, -1 until it is set up */
	long long deadline; /* of its grace while it alone is being stopped, else 0 */
	int code;
};

static struct {
	const struct plan *plan;
	struct launch *launch;
	int channel;
	struct app of[MAX_APPS];
	size_t count;
	int processes; /* of a mutable pod: see remains.h */
	int code;      /* of the first app that failed */
} apps;

/* Of the apps of a mutable pod, by their numbers. Apart, so that the memory of those that never come is
 * never touched. */
static struct {
	char name[APP_NAME_ROOM];
	char refusal[900]; /* why it could not be started; empty when it could */
} later[MAX_APPS];

/* NULL, or the name of the call that failed. `parcel` is of an app that comes later, else NULL. */
static const char *start_app(struct app *app, const struct parcel *parcel)
{
	struct spawn spawn = {
		.name = app->name, .section = app->section, .parcel = parcel, .lines = apps.plan->output == OUTPUT_LINES};
	const char *failed = spawn_app(&spawn, apps.launch);
	app->pid = spawn.pid;
	app->report = spawn.report;
	return failed;
}

/* None of a mutable pod is there yet, so that all can come. */
static void await_apps(void)
{
	apps.processes = open_processes();
	if (apps.processes < 0) {
		errno = -apps.processes;
		fail_call(apps.channel, "proc");
	}
	apps.count = MAX_APPS;
	for (size_t i = 0; i < apps.count; i++) {
		apps.of[i].phase = EXITED;
		apps.of[i].report = -1;
	}
}

void start_apps(const struct plan *plan, struct launch *launch, int channel)
{
	apps.plan = plan;
	apps.launch = launch;
	apps.channel = channel;
	if (plan->mutable) {
		await_apps();
		return;
	}
	for (size_t i = 0; i < plan->app_count; i++) {
		struct app *app = &apps.of[i];
		app->section = &apps.plan->apps[i];
		app->name = app->section->name;
		app->stop_signal = app->section->stop_signal;
		const char *failed = start_app(app, NULL);
		if (failed != NULL)
			fail_call(apps.channel, failed);
		apps.count++;
	}
}

static uint32_t number_of(const struct app *app)
{
	return (uint32_t)(app - apps.of);
}

static void refuse_app(const struct app *app, const char *what, const char *why)
{
	char message[256];
	struct text t = TEXT_IN(message);
	text_add(&t, what);
	text_add(&t, why);
	send_event(apps.channel, EVENT_REFUSED, number_of(app), 0, message, -1);
}

void start_later(const struct parcel *parcel, _Bool stopping)
{
	struct app *app = &apps.of[parcel->order->app % MAX_APPS];
	if (!apps.plan->mutable || parcel->count == 0 || stopping || app->phase != EXITED) {
		refuse_app(app, "", stopping ? "the pod is being stopped" : "the pod takes no app here");
		return;
	}
	struct text name = TEXT_IN(later[number_of(app)].name);
	text_add(&name, parcel->order->name);
	later[number_of(app)].refusal[0] = '\0';
	*app = (struct app){.name = name.data, .phase = EXITED, .report = -1, .mounts = -1,
			    .stop_signal = parcel->order->value};
	const char *failed = start_app(app, parcel);
	if (failed == NULL)
		app->phase = SETTING_UP;
	else
		refuse_app(app, failed, ": the pod cannot take another app now");
}

static _Bool all_in(enum phase phase)
{
	for (size_t i = 0; i < apps.count; i++)
		if (apps.of[i].phase != phase)
			return 0;
	return 1;
}

static void open_gate(void)
{
	send_event(apps.channel, EVENT_SET_UP, 0, 0, NULL, -1);
	for (size_t i = 0; i < apps.count; i++) {
		apps.of[i].phase = STARTING;
		send(apps.of[i].report, REPORT_SET_UP, 1, MSG_NOSIGNAL);
	}
}

/* The app cannot be started: the end of the pod, or in a mutable one of the app's process, which ends. */
static void app_failed(struct app *app, const char *message)
{
	if (!apps.plan->mutable)
		fail(apps.channel, message);
	close(app->report);
	app->report = -1;
	struct text refusal = TEXT_IN(later[number_of(app)].refusal);
	text_add(&refusal, message);
}

static void report_closed(struct app *app)
{
	if (app->phase != STARTING) {
		char message[256];
		struct text t = TEXT_IN(message);
		text_add(&t, "app \"");
		text_add(&t, app->name);
		text_add(&t, "\": its process died while it was set up");
		app_failed(app, message);
		return;
	}
	close(app->report);
	app->report = -1;
	app->phase = RUNNING;
	send_event(apps.channel, EVENT_STARTED, number_of(app), app->pid, NULL, -1);
	if (apps.plan->mutable) {
		release_code();
		return;
	}
	_Bool all = 1;
	for (size_t i = 0; i < apps.count; i++)
		all = all && apps.of[i].phase >= RUNNING;
	if (all) {
		send_event(apps.channel, EVENT_READY, 0, 0, NULL, -1);
		release_code();
	}
}

static void read_report(struct app *app)
{
	char message[900];
	if (app->report < 0)
		return;
	ssize_t n = recv(app->report, message, sizeof message - 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		report_closed(app);
	} else if (message[0] != REPORT_SET_UP[0]) {
		message[n] = '\0';
		app_failed(app, message);
	} else if (apps.plan->mutable) {
		app->mounts = open_mounts(apps.processes, app->pid);
		app->phase = STARTING;
		send(app->report, REPORT_SET_UP, 1, MSG_NOSIGNAL);
	} else {
		app->phase = WAITING;
		if (all_in(WAITING))
			open_gate();
	}
}

void read_reports(void)
{
	for (size_t i = 0; i < apps.count; i++)
		read_report(&apps.of[i]);
}

nfds_t gather_reports(struct pollfd *fds)
{
	nfds_t n = 0;
	for (size_t i = 0; i < apps.count; i++)
		if (apps.of[i].report >= 0)
			fds[n++] = (struct pollfd){.fd = apps.of[i].report, .events = POLLIN};
	return n;
}

_Bool apps_exited(void)
{
	return all_in(EXITED);
}

static _Bool takes_signals(const struct app *app)
{
	return app->phase == STARTING || app->phase == RUNNING;
}

void signal_apps(int number)
{
	for (size_t i = 0; i < apps.count; i++)
		if (takes_signals(&apps.of[i]))
			kill(apps.of[i].pid, number > 0 ? number : apps.of[i].stop_signal);
}

void stop_app(uint32_t number)
{
	struct app *app = &apps.of[number % MAX_APPS];
	if (app->phase < STARTING) {
		kill(app->pid, SIGKILL);
	} else if (takes_signals(app) && app->deadline == 0) {
		app->deadline = milliseconds() + apps.plan->grace * 1000LL;
		kill(app->pid, app->stop_signal);
		kill(app->pid, SIGCONT);
	}
}

void kill_overdue(void)
{
	for (size_t i = 0; i < apps.count; i++)
		if (apps.of[i].deadline != 0 && takes_signals(&apps.of[i]) && milliseconds() >= apps.of[i].deadline)
			kill(apps.of[i].pid, SIGKILL);
}

long long next_overdue(void)
{
	long long next = INT64_MAX;
	for (size_t i = 0; i < apps.count; i++) {
		const struct app *app = &apps.of[i];
		if (app->deadline != 0 && takes_signals(app) && app->deadline < next)
			next = app->deadline;
	}
	return next;
}

/* Once an app of a mutable pod has ended, with everything it left behind, its number is free again. */
static void finish_app(struct app *app)
{
	app->phase = EXITED;
	const char *refusal = later[number_of(app)].refusal;
	if (refusal[0] != '\0')
		send_event(apps.channel, EVENT_REFUSED, number_of(app), 0, refusal, -1);
	else
		send_event(apps.channel, EVENT_EXITED, number_of(app), app->code, NULL, -1);
}

static void bury_app(struct app *app)
{
	app->phase = ENDING;
	app->pid = app->mounts >= 0 ? bury_remains(apps.processes, app->mounts) : -1;
	if (app->mounts >= 0)
		close(app->mounts);
	app->mounts = -1;
	if (app->pid < 0)
		finish_app(app);
}

/* Whether the pod is to be stopped for it. */
static _Bool app_exited(struct app *app, int status)
{
	/* Its report may still say that it could not be executed. */
	while (app->report >= 0)
		read_report(app);
	int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (apps.plan->mutable) {
		app->code = code;
		bury_app(app);
		return 0;
	}
	app->phase = EXITED;
	send_event(apps.channel, EVENT_EXITED, number_of(app), code, NULL, -1);
	if (code == 0 || apps.code != 0)
		return 0;
	apps.code = code;
	return !all_in(EXITED);
}

_Bool note_ended(pid_t pid, int status)
{
	_Bool stop = 0;
	for (size_t i = 0; i < apps.count; i++)
		if (apps.of[i].pid == pid && apps.of[i].phase == ENDING)
			finish_app(&apps.of[i]);
		else if (apps.of[i].pid == pid && apps.of[i].phase != EXITED)
			stop = app_exited(&apps.of[i], status) || stop;
	return stop;
}

int apps_code(void)
{
	return apps.code;
}

void stop_at_once(int number)
{
	if (apps.plan->mutable) {
		for (size_t i = 0; i < apps.count; i++)
			if (apps.of[i].phase < STARTING)
				stop_app((uint32_t)i);
		return;
	}
	for (size_t i = 0; i < apps.count; i++)
		if (apps.of[i].phase < STARTING) {
			send_event(apps.channel, EVENT_ENDED, 0, 128 + number, NULL, -1);
			leave(0);
		}
}
