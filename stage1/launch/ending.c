#include "ending.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "descendants.h"
#include "text.h"

_Bool first_process(void)
{
	return getpid() == 1;
}

_Noreturn void leave(int code)
{
	if (!first_process())
		end_descendants();
	_exit(code);
}

_Noreturn void fail(int channel, const char *message)
{
	send_event(channel, EVENT_FAILED, 0, 0, message, -1);
	leave(254);
}

_Noreturn void fail_call(int channel, const char *what)
{
	char message[256];
	struct text t = TEXT_IN(message);
	int number = errno;
	text_add(&t, what);
	text_add(&t, ": ");
	text_add(&t, error_text(number));
	fail(channel, message);
}

void kill_rest(void)
{
	/* Never beyond the pod: outside of a PID namespace -1 is every process of the host. */
	if (first_process())
		kill(-1, SIGKILL);
	else
		kill_descendants();
}

void end_rest(void)
{
	if (!first_process()) {
		end_descendants();
		return;
	}
	kill_rest();
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}
