#include "apps.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app-table.h"
#include "app.h"
#include "clock.h"
#include "ending.h"
#include "memory.h"
#include "pty.h"
#include "remains.h"
#include "text.h"

struct app_table apps;

/* Of the apps of a mutable pod, by their numbers. Apart, so that the memory of those that never come is
 * never touched. */
static struct {
	char name[APP_NAME_ROOM];
	char refusal[900]; /* why it could not be started; empty when it could */
} later[MAX_APPS];

/* NULL, or the name of the call that failed. `parcel` is of an app that comes later, else NULL. */
static const char *start_part(struct app *app, enum part part, const struct parcel *parcel)
{
	struct spawn spawn = {.name = app->name, .section = part_of(app, part), .parcel = parcel, .processes = apps.processes,
			      .lines = apps.plan->output == OUTPUT_LINES};
	/* What shows the terminal in a part's mounts is gone with them. */
	if (apps.open && apps.launch->terminal_slave >= 0 && renew_terminal(apps.launch) < 0)
		return "terminal";
	const char *failed = spawn_app(&spawn, apps.launch);
	app->part = part;
	app->pid = spawn.pid;
	app->report = spawn.report;
	if (failed == NULL)
		app->phase = SETTING_UP;
	return failed;
}

/* The operator hears of it; nothing ends for it. */
static void say(const struct app *app, const char *what, const char *more)
{
	char message[900];
	struct text t = TEXT_IN(message);
	text_add(&t, "app \"");
	text_add(&t, app->name);
	text_add(&t, "\": ");
	text_add(&t, what);
	text_add(&t, more);
	send_event(apps.channel, EVENT_TOLD, number_of(app), 0, message, -1);
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
	apps.processes = -1;
	if (plan->mutable) {
		await_apps();
		return;
	}
	for (size_t i = 0; i < plan->app_count; i++) {
		struct app *app = &apps.of[i];
		app->name = plan->apps[i].name;
		app->stop_signal = plan->apps[i].stop_signal;
		const char *failed = start_part(app, part_of(app, PART_PRE_START) != NULL ? PART_PRE_START : PART_MAIN, NULL);
		if (failed != NULL)
			fail_call(apps.channel, failed);
		apps.count++;
	}
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
	const char *failed = start_part(app, PART_MAIN, parcel);
	if (failed != NULL)
		refuse_app(app, failed, ": the pod cannot take another app now");
}

static _Bool all_in(enum phase phase)
{
	for (size_t i = 0; i < apps.count; i++)
		if (apps.of[i].phase != phase)
			return 0;
	return 1;
}

static void let_start(struct app *app)
{
	app->phase = STARTING;
	send(app->report, REPORT_SET_UP, 1, MSG_NOSIGNAL);
	/* What was asked of the others while this one was not there yet. */
	if (apps.stopping && app->part == PART_MAIN)
		ask_to_end(app);
}

static void open_gate(void)
{
	send_event(apps.channel, EVENT_SET_UP, 0, 0, NULL, -1);
	apps.open = 1;
	for (size_t i = 0; i < apps.count; i++)
		let_start(&apps.of[i]);
}

/* The app cannot be started: the end of the pod, or in a mutable one of the app's process, which ends. What comes
 * after an app's end changes nothing about that. */
static void app_failed(struct app *app, const char *message)
{
	if (app->part != PART_POST_STOP && !apps.no_handlers && !apps.plan->mutable)
		fail(apps.channel, message);
	close(app->report);
	app->report = -1;
	if (!apps.plan->mutable) {
		if (!apps.no_handlers)
			send_event(apps.channel, EVENT_TOLD, number_of(app), 0, message, -1);
		return;
	}
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
	if (app->part != PART_MAIN) {
		release_code();
		return;
	}
	app->started = 1;
	send_event(apps.channel, EVENT_STARTED, number_of(app), app->pid, NULL, -1);
	if (apps.plan->mutable) {
		release_code();
		return;
	}
	_Bool all = 1;
	for (size_t i = 0; i < apps.count; i++)
		all = all && apps.of[i].started;
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
	int mounts;
	ssize_t n = receive_one(app->report, message, sizeof message - 1, &mounts);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (mounts >= 0 && app->mounts < 0 && are_other_mounts(apps.processes, mounts)) {
		app->mounts = mounts;
	} else if (mounts >= 0) {
		close(mounts);
	}
	if (n <= 0) {
		report_closed(app);
	} else if (message[0] == REPORT_TOLD[0]) {
		message[n] = '\0';
		say(app, message + 1, "");
	} else if (message[0] != REPORT_SET_UP[0]) {
		message[n] = '\0';
		app_failed(app, message);
	} else if (apps.plan->mutable || apps.open) {
		let_start(app);
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

/* Once the app's own program has ended, or will not be executed. */
static void begin_post_stop(struct app *app)
{
	if (part_of(app, PART_POST_STOP) == NULL || apps.no_handlers)
		return;
	const char *failed = start_part(app, PART_POST_STOP, NULL);
	app->deadline = milliseconds() + apps.plan->grace * 1000LL;
	if (failed != NULL)
		say(app, failed, ": its post-stop event handler cannot be run");
}

static _Bool is_wanted(const struct app *app)
{
	return app->phase != EXITED && app->part != PART_POST_STOP;
}

/* Whether the pod is to be stopped for it. */
static _Bool app_ended(struct app *app, int code)
{
	_Bool others = 0;
	begin_post_stop(app);
	if (code == 0 || apps.code != 0)
		return 0;
	apps.code = code;
	for (size_t i = 0; i < apps.count; i++)
		others = others || is_wanted(&apps.of[i]);
	return others;
}

/* Likewise. Without what is to be done before it, the app is not started. */
static _Bool handler_ended(struct app *app, int code)
{
	char number[32];
	struct text t = TEXT_IN(number);
	text_number(&t, code, 0, ' ');
	if (app->part == PART_POST_STOP) {
		if (code != 0)
			say(app, "its post-stop event handler ended with exit code ", number);
		return 0;
	}
	if (code == 0 && !apps.stopping) {
		const char *failed = start_part(app, PART_MAIN, NULL);
		if (failed != NULL)
			fail_call(apps.channel, failed);
		return 0;
	}
	text_add(&t, ": the app is not started");
	if (!apps.stopping)
		say(app, "its pre-start event handler ended with exit code ", number);
	return app_ended(app, code);
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
	if (app->part != PART_MAIN)
		return handler_ended(app, code);
	if (app->started)
		send_event(apps.channel, EVENT_EXITED, number_of(app), code, NULL, -1);
	return app_ended(app, code);
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
