#include "request.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "text.h"

static int fail(const char *why)
{
	complain(why);
	return 254;
}

/* A socket whose supervisor is gone refuses, so no lock need be asked. */
static int reach_supervisor(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	int number = errno;
	close(fd);
	errno = number;
	return -1;
}

int request_app(int argc, char **argv, const char *entry, const char *verb)
{
	char line[256] = "", reply[1024];
	struct text t = TEXT_IN(line);
	subcommand = entry;
	if (argc != 3)
		return fail("usage: UUID APP, in the pod directory");
	text_add(&t, verb);
	text_add(&t, " ");
	text_add(&t, argv[2]);
	int fd = reach_supervisor();
	if (fd < 0) {
		complain("the pod does not run, or its apps do not come and go: ", error_text(errno));
		return 254;
	}
	ssize_t n = send(fd, line, t.length, MSG_NOSIGNAL) < 0 ? -1 : recv(fd, reply, sizeof reply - 1, 0);
	close(fd);
	if (n <= 0)
		return fail("the pod has ended");
	reply[n] = '\0';
	return strcmp(reply, "ok") == 0 ? 0 : fail(reply);
}
