#include "app-table.h"

#include <signal.h>

#include "apps.h"
#include "channel.h"
#include "clock.h"
#include "ending.h"

void ask_to_end(const struct app *app)
{
	kill(app->pid, app->stop_signal);
	kill(app->pid, SIGCONT);
}

static _Bool lives(const struct app *app)
{
	return app->phase == STARTING || app->phase == RUNNING;
}

static _Bool takes_signals(const struct app *app)
{
	return app->part == PART_MAIN && lives(app);
}

void signal_apps(int number)
{
	for (size_t i = 0; i < apps.count; i++)
		if (takes_signals(&apps.of[i]))
			kill(apps.of[i].pid, number);
}

void stop_apps(void)
{
	apps.stopping = 1;
	for (size_t i = 0; i < apps.count; i++)
		if (lives(&apps.of[i]) && apps.of[i].part != PART_POST_STOP)
			ask_to_end(&apps.of[i]);
}

_Bool kill_apps(void)
{
	_Bool followed = 0;
	for (size_t i = 0; i < apps.count; i++)
		followed = followed || (apps.of[i].phase != EXITED && part_of(&apps.of[i], PART_POST_STOP) != NULL);
	for (size_t i = 0; followed && i < apps.count; i++)
		if (lives(&apps.of[i]) && apps.of[i].part != PART_POST_STOP)
			kill(apps.of[i].pid, SIGKILL);
	return followed;
}

void give_up_handlers(void)
{
	apps.no_handlers = 1;
}

void stop_app(uint32_t number)
{
	struct app *app = &apps.of[number % MAX_APPS];
	if (app->phase < STARTING) {
		kill(app->pid, SIGKILL);
	} else if (takes_signals(app) && app->deadline == 0) {
		app->deadline = milliseconds() + apps.plan->grace * 1000LL;
		ask_to_end(app);
	}
}

void kill_overdue(void)
{
	for (size_t i = 0; i < apps.count; i++)
		if (apps.of[i].deadline != 0 && apps.of[i].phase <= RUNNING && milliseconds() >= apps.of[i].deadline)
			kill(apps.of[i].pid, SIGKILL);
}

long long next_overdue(void)
{
	long long next = INT64_MAX;
	for (size_t i = 0; i < apps.count; i++) {
		const struct app *app = &apps.of[i];
		if (app->deadline != 0 && app->phase <= RUNNING && app->deadline < next)
			next = app->deadline;
	}
	return next;
}

void stop_at_once(int number)
{
	if (apps.plan->mutable) {
		for (size_t i = 0; i < apps.count; i++)
			if (apps.of[i].phase < STARTING)
				stop_app((uint32_t)i);
		return;
	}
	for (size_t i = 0; i < apps.count && !apps.open; i++)
		if (apps.of[i].phase < STARTING) {
			send_event(apps.channel, EVENT_ENDED, 0, 128 + number, NULL, -1);
			leave(0);
		}
}
