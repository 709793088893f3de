#include "journal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "text.h"

static int open_journal_socket(const struct sockaddr_un *address)
{
	const int on = 1;
	int server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server < 0)
		return -errno;
	/* Set before there are entries, so that the first ones too have their sender and their time. */
	if (setsockopt(server, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 &&
	    setsockopt(server, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on) == 0 &&
	    bind(server, (const struct sockaddr *)address, sizeof *address) == 0)
		return server;
	int number = errno;
	close(server);
	return -number;
}

int perform_journal_socket(struct launch *launch, const struct step *step)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(step->argv[0]) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, step->argv[0], strlen(step->argv[0]) + 1);
	if (launch->journal_server >= 0)
		return -EEXIST;
	int server = open_journal_socket(&address);
	if (server < 0)
		return server;
	launch->journal_server = server;
	launch->journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (launch->journal < 0)
		return -errno;
	return outcome(connect(launch->journal, (const struct sockaddr *)&address, sizeof address));
}

static struct iovec part(const char *bytes, size_t length)
{
	return (struct iovec){.iov_base = (void *)bytes, .iov_len = length};
}

/* The native protocol: NAME=VALUE lines (systemd's docs/JOURNAL_NATIVE_PROTOCOL.md). */
bool journal_send(int *journal, const char *app, pid_t pid, const char *line, size_t length)
{
	static const char message[] = "MESSAGE=", after[] = "\nPRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_PID=";
	static const char identifier[] = "\nSYSLOG_IDENTIFIER=";
	char digits[32];
	struct text number = TEXT_IN(digits);
	text_number(&number, pid, 0, ' ');
	struct iovec parts[] = {
		part(message, sizeof message - 1), part(line, length), part(after, sizeof after - 1),
		part(digits, number.length), part(identifier, sizeof identifier - 1), part(app, strlen(app)), part("\n", 1),
	};
	const struct msghdr entry = {.msg_iov = parts, .msg_iovlen = sizeof parts / sizeof *parts};
	if (sendmsg(*journal, &entry, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return true;
	if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
		return false;
	/* Nobody takes entries any more. The line still goes to the supervisor's streams. */
	close(*journal);
	*journal = -1;
	return true;
}
