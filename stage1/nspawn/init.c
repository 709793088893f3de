/* The pod's init, as systemd-nspawn starts it: PID 1 of the container, with the plan beside it in the root and
 * what run.c handed over open. */
#include "../launch/init.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../launch/channel.h"
#include "../launch/log.h"
#include "../launch/text.h"
#include "handover.h"

_Noreturn static void fail(const char *why)
{
	char message[256];
	struct text t = TEXT_IN(message);
	text_add(&t, "init: ");
	text_add(&t, why);
	send_event(HANDED_CHANNEL, EVENT_FAILED, 0, 0, message, -1);
	_exit(254);
}

static _Bool was_handed(enum handover what)
{
	const char *word = getenv("LISTEN_FDS");
	unsigned long long count = 0;
	return word != NULL && parse_number(word, 10, 1024, &count) && HANDED_CHANNEL + count > (unsigned)what;
}

int main(void)
{
	static struct plan plan;
	subcommand = "init";
	if (getpid() != 1 || fcntl(HANDED_CHANNEL, F_SETFD, FD_CLOEXEC) < 0) {
		complain("is started by systemd-nspawn, as PID 1 of a pod");
		return 254;
	}
	send_event(HANDED_CHANNEL, EVENT_HERE, 0, 0, NULL, -1);
	if (read_plan(&plan, "/plan") < 0)
		fail("the plan cannot be used in the pod");
	if (was_handed(HANDED_JOURNAL) && fcntl(HANDED_JOURNAL, F_SETFD, FD_CLOEXEC) == 0)
		log_to_journal(HANDED_JOURNAL);
	run_init(&plan, HANDED_CHANNEL);
}
