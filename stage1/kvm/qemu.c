#include "qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../launch/text.h"

/* Out of the way of the numbers QEMU's descriptors get. */
#define FIRST_FREE 16
/* Whoever is root in the machine can make QEMU complain. */
#define MAX_COMPLAINTS 20

static void default_signals(void)
{
	sigset_t none;
	for (int number = 1; number <= SIGRTMAX; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Two connected sockets, both with high numbers: the parent's first. */
static int open_pair(int ends[2])
{
	int low[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, low) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, FIRST_FREE);
		close(low[i]);
	}
	if (ends[0] >= 0 && ends[1] >= 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0)
		return 0;
	return -1;
}

/*
 * A socket that the file server listens on, and one that is connected to it already, so that neither program waits
 * for the other. It has no name in any directory, and one of the machine's own network namespace only.
 */
static int open_service(int *listening, int *connected)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t length = sizeof address.sun_family; /* the kernel chooses the rest: unix(7), autobind */
	*listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listening < 0 || *connected < 0 || bind(*listening, (struct sockaddr *)&address, length) < 0)
		return -errno;
	length = sizeof address;
	if (getsockname(*listening, (struct sockaddr *)&address, &length) < 0 || listen(*listening, 1) < 0)
		return -errno;
	return outcome(connect(*connected, (struct sockaddr *)&address, length));
}

/* `fds` become the descriptors from 3 on; nothing else stays open but what the program complains to. */
_Noreturn static void become(const struct step *step, char **environment, int complaints, const int *fds, int count)
{
	static char *none[] = {NULL};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	default_signals();
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(complaints, STDOUT_FILENO) < 0 ||
	    dup2(complaints, STDERR_FILENO) < 0)
		_exit(254);
	for (int i = 0; i < count; i++)
		if (dup2(fds[i], STDERR_FILENO + 1 + i) < 0)
			_exit(254);
	close_range((unsigned)(STDERR_FILENO + 1 + count), ~0U, CLOSE_RANGE_CLOEXEC);
	execve(step->argv[0], step->argv + 1, environment != NULL ? environment : none);
	complain(step->argv[0], ": ", error_text(errno));
	_exit(254);
}

/* With a high number: the low ones are given to the programs. */
static int out_of_the_way(int *fd)
{
	int high = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FREE);
	if (high < 0)
		return -errno;
	close(*fd);
	*fd = high;
	return 0;
}

void qemu_begin(struct qemu *qemu)
{
	qemu->share = qemu->console.fd = qemu->complaints.fd = qemu->server_complaints.fd = -1;
}

int qemu_serve(struct qemu *qemu, const struct step *spawn)
{
	int listening, complaints[2];
	if (qemu->share >= 0)
		return -EEXIST;
	if (open_pair(complaints) < 0)
		return -errno;
	int status = open_service(&listening, &qemu->share);
	if (status == 0)
		status = out_of_the_way(&listening);
	if (status == 0)
		status = out_of_the_way(&qemu->share);
	if (status < 0)
		return status;
	qemu->server = fork();
	if (qemu->server == 0)
		become(spawn, NULL, complaints[1], (const int[]){[SERVER_SOCKET - 3] = listening}, 1);
	int number = errno;
	close(listening);
	close(complaints[1]);
	qemu->server_complaints.fd = complaints[0];
	return qemu->server < 0 ? -number : 0;
}

int qemu_start(struct qemu *qemu, struct launch *launch, const struct step *exec)
{
	int port[2], console[2], complaints[2];
	if (open_pair(port) < 0 || open_pair(console) < 0 || open_pair(complaints) < 0)
		return -errno;
	const int fds[] = {[QEMU_PORT - 3] = port[1], [QEMU_CONSOLE - 3] = console[1], [QEMU_SHARE - 3] = qemu->share};
	qemu->pid = fork();
	if (qemu->pid == 0)
		become(exec, launch->environment, complaints[1], fds, qemu->share >= 0 ? 3 : 2);
	int number = errno;
	close(port[1]);
	close(console[1]);
	close(complaints[1]);
	if (qemu->share >= 0)
		close(qemu->share);
	qemu->port = port[0];
	qemu->console.fd = console[0];
	qemu->complaints.fd = complaints[0];
	return qemu->pid < 0 ? -number : 0;
}

static void keep(struct qemu *qemu, const char *line)
{
	struct text t = TEXT_IN(qemu->last);
	text_add_plain(&t, line);
}

static void take_complaint(struct qemu *qemu, const char *line)
{
	char plain[256];
	struct text t = TEXT_IN(plain);
	keep(qemu, line);
	qemu->complained++;
	if (qemu->complained > MAX_COMPLAINTS)
		return;
	text_add_plain(&t, line);
	complain(plain);
	if (qemu->complained == MAX_COMPLAINTS)
		complain("QEMU may say more than that, which is left out");
}

static void take_server_complaint(struct qemu *qemu, const char *line)
{
	struct text t = TEXT_IN(qemu->server_last);
	text_add_plain(&t, line);
}

static void take_console(struct qemu *qemu, const char *line)
{
	const char *panic = strstr(line, "Kernel panic"), *own = strstr(line, "gantry: ");
	if (panic != NULL)
		keep(qemu, panic);
	else if (own != NULL && strstr(qemu->last, "Kernel panic") == NULL)
		keep(qemu, own + strlen("gantry: "));
}

static void read_report(struct qemu *qemu, struct report *report, void take(struct qemu *, const char *))
{
	char bytes[4096];
	if (report->fd < 0)
		return;
	ssize_t n = read(report->fd, bytes, sizeof bytes);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n; i++) {
		_Bool ends = bytes[i] == '\n' || report->length == sizeof report->line - 1;
		if (bytes[i] != '\n' && bytes[i] != '\r' && bytes[i] != '\0' && !ends)
			report->line[report->length++] = bytes[i];
		report->line[report->length] = '\0';
		if (ends && report->length > 0) {
			take(qemu, report->line);
			report->length = 0;
		}
	}
	if (n <= 0) {
		close(report->fd);
		report->fd = -1;
	}
}

void qemu_listen(struct qemu *qemu)
{
	read_report(qemu, &qemu->complaints, take_complaint);
	read_report(qemu, &qemu->console, take_console);
	read_report(qemu, &qemu->server_complaints, take_server_complaint);
}
