#include "account.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "../launch/channel.h"
#include "../launch/text.h"
#include "outlet.h"

struct account account;

_Noreturn void give_up(const char *message)
{
	for (size_t i = 0; i < account.plan->app_count; i++)
		if (account.started[i] && !account.exited[i])
			send_event(account.channel, EVENT_EXITED, (uint32_t)i, 128 + SIGKILL, NULL, -1);
	send_event(account.channel, EVENT_FAILED, 0, 0, message, -1);
	_exit(254); /* the kernel ends QEMU, which is in this PID namespace */
}

_Noreturn void give_up_call(const char *what, int number)
{
	char message[300];
	struct text t = TEXT_IN(message);
	text_add(&t, what);
	text_add(&t, ": ");
	text_add(&t, error_text(number));
	give_up(message);
}

/* What the machine tells, fit for one line of the operator's terminal. */
static const char *plain(const char *text, size_t length)
{
	static char message[900];
	size_t shown = 0;
	for (; shown < length && shown < sizeof message - 1 && text[shown] != '\0'; shown++)
		message[shown] = text[shown] < ' ' || text[shown] > '~' ? '?' : text[shown];
	message[shown] = '\0';
	return message;
}

static void pass_on(const char *text)
{
	if (++account.told > MAX_TOLD * account.plan->app_count)
		give_up(BREACH);
	send_event(account.channel, EVENT_TOLD, 0, 0, text, -1);
}

static void give_terminal(void)
{
	int master = outlet_terminal();
	if (master < 0)
		give_up(BREACH);
	send_event(account.channel, EVENT_TERMINAL, 0, 0, NULL, master);
	close(master);
}

void account_take(const struct frame *frame, const char *payload)
{
	struct pod_event event;
	if (frame->length < sizeof event)
		give_up(BREACH);
	memcpy(&event, payload, sizeof event);
	const _Bool is_code = event.value >= 0 && event.value <= 255;
	if (event.app >= account.plan->app_count)
		give_up(BREACH);
	switch (event.kind) {
	case EVENT_TERMINAL:
		give_terminal();
		return;
	case EVENT_FAILED:
		give_up(plain(payload + sizeof event, frame->length - sizeof event));
	case EVENT_TOLD:
		pass_on(plain(payload + sizeof event, frame->length - sizeof event));
		return;
	case EVENT_STARTED:
		if (event.value < 1 || account.started[event.app])
			give_up(BREACH);
		account.started[event.app] = 1;
		break;
	case EVENT_EXITED:
		if (!is_code || !account.started[event.app] || account.exited[event.app])
			give_up(BREACH);
		account.exited[event.app] = 1;
		break;
	case EVENT_ENDED:
		if (!is_code)
			give_up(BREACH);
		account.ended = 1;
		account.code = event.value;
		return;
	case EVENT_SET_UP:
		if (account.set_up)
			give_up(BREACH);
		account.set_up = 1;
		break;
	case EVENT_READY:
		if (account.ready)
			give_up(BREACH);
		account.ready = 1;
		break;
	default:
		give_up(BREACH);
	}
	send_event(account.channel, event.kind, event.app, event.value, NULL, -1);
}
