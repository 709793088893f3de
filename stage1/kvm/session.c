#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "../launch/text.h"
#include "stream.h"

#define ENTER "/enter"
#define MAX_WORDS 4096

static struct session {
	_Bool open, exited, closed; /* closed: the host has been told, or will not listen */
	pid_t pid;
	int code;
	int master; /* of its terminal, -1 without one */
	struct source sources[3];
	struct sink input;
	struct dimensions size;
} sessions[MAX_SESSIONS + 1];

static void resize(const struct session *session)
{
	const struct winsize size = {.ws_row = session->size.rows, .ws_col = session->size.columns};
	if (session->master >= 0 && size.ws_row != 0 && size.ws_col != 0)
		ioctl(session->master, TIOCSWINSZ, &size);
}

/* A session over nothing yet. The pod's keeps the size it was told before it had a terminal. */
static struct session *begin(unsigned number)
{
	struct session *session = &sessions[number];
	const struct dimensions size = session->size;
	memset(session, 0, sizeof *session);
	session->open = 1;
	session->master = session->input.output.fd = -1;
	session->size = size;
	for (int i = 0; i < 3; i++)
		source_open(&session->sources[i], -1);
	return session;
}

static void take_master(struct session *session, int master)
{
	fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
	session->master = master;
	source_open(&session->sources[1], fcntl(master, F_DUPFD_CLOEXEC, 0));
	session->input.output = (struct output){.fd = master, .kind = OUTPUT_OWN};
	resize(session);
}

void pod_logs(int output, int errors)
{
	struct session *pod = begin(0);
	source_open(&pod->sources[1], output);
	source_open(&pod->sources[2], errors);
}

void pod_terminal(int master)
{
	take_master(begin(0), master);
}

_Bool pod_silent(void)
{
	return sessions[0].sources[1].fd < 0 && sessions[0].sources[2].fd < 0;
}

/* --- starting a command ------------------------------------------------------------------------ */

/* The reading and the writing end; ours, which does not block, is end `own`. */
static int open_pipe(int ends[2], int own)
{
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	return fcntl(ends[own], F_SETFL, O_NONBLOCK);
}

static int open_terminal(int *master)
{
	int unlocked = 0;
	*master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*master < 0 || ioctl(*master, TIOCSPTLCK, &unlocked) < 0)
		return -1;
	return ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

_Noreturn static void become_enter(char **words, const int streams[3], _Bool terminal)
{
	sigset_t none;
	for (int number = 1; number <= SIGRTMAX; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(streams[fd], fd) < 0)
			_exit(254);
	if (terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
		_exit(254);
	if (words[0][0] != '\0')
		setenv("TERM", words[0], 1);
	else
		unsetenv("TERM");
	words[0] = (char *)"enter";
	execv(ENTER, words);
	complain(ENTER, ": ", error_text(errno));
	_exit(254);
}

static int start_on_terminal(struct session *session, char **words)
{
	int master;
	int slave = open_terminal(&master);
	if (slave < 0)
		return -1;
	take_master(session, master);
	session->pid = fork();
	if (session->pid == 0)
		become_enter(words, (const int[3]){slave, slave, slave}, 1);
	close(slave);
	return session->pid < 0 ? -1 : 0;
}

static int start_on_pipes(struct session *session, char **words)
{
	int input[2], output[2], errors[2];
	if (open_pipe(input, 1) < 0 || open_pipe(output, 0) < 0 || open_pipe(errors, 0) < 0)
		return -1;
	session->input.output = (struct output){.fd = input[1], .kind = OUTPUT_OWN};
	source_open(&session->sources[1], output[0]);
	source_open(&session->sources[2], errors[0]);
	session->pid = fork();
	if (session->pid == 0)
		become_enter(words, (const int[3]){input[0], output[1], errors[1]}, 0);
	close(input[0]);
	close(output[1]);
	close(errors[1]);
	return session->pid < 0 ? -1 : 0;
}

/* The words of a request, NULL-terminated; NULL when it is malformed. */
static char **read_request(char *bytes, size_t length, struct request *request)
{
	static char *words[MAX_WORDS + 1];
	char *at = bytes + sizeof *request;
	if (length < sizeof *request || bytes[length - 1] != '\0')
		return NULL;
	memcpy(request, bytes, sizeof *request);
	if (request->words < 3 || request->words > MAX_WORDS)
		return NULL;
	for (uint32_t i = 0; i < request->words; i++) {
		if (at >= bytes + length)
			return NULL;
		words[i] = at;
		at += strlen(at) + 1;
	}
	words[request->words] = NULL;
	return at == bytes + length ? words : NULL;
}

static void open_session(unsigned number, const char *payload, size_t length)
{
	static char bytes[LONGEST_PAYLOAD];
	struct request request;
	struct session *session = begin(number);
	memcpy(bytes, payload, length);
	char **words = read_request(bytes, length, &request);
	if (words != NULL) {
		session->size = request.size;
		if ((request.terminal ? start_on_terminal(session, words) : start_on_pipes(session, words)) == 0)
			return;
	}
	session->exited = 1;
	session->code = 254;
}

/* --- frames ------------------------------------------------------------------------------------ */

/* The host's relay has checked what may be said when. */
void session_take(const struct frame *frame, const char *payload)
{
	struct session *session = &sessions[frame->session % (MAX_SESSIONS + 1)];
	int32_t number;
	if (frame->kind == FRAME_OPEN && !session->open) {
		open_session(frame->session % (MAX_SESSIONS + 1), payload, frame->length);
		return;
	}
	if (frame->kind == FRAME_RESIZE && frame->length == sizeof session->size) {
		memcpy(&session->size, payload, sizeof session->size);
		if (session->open)
			resize(session);
		return;
	}
	if (!session->open)
		return; /* it ended before the host knew */
	switch (frame->kind) {
	case FRAME_DATA:
		sink_take(&session->input, frame, payload);
		break;
	case FRAME_END:
		session->input.ending = 1;
		break;
	case FRAME_CREDIT:
		if (frame->stream == 1 || frame->stream == 2)
			source_credit(&session->sources[frame->stream], frame, payload);
		break;
	case FRAME_SIGNAL:
		if (frame->length == sizeof number && !session->exited) {
			memcpy(&number, payload, sizeof number);
			kill(session->pid, number);
		}
		break;
	case FRAME_CLOSE: /* nobody reads what it still prints */
		session->closed = 1;
		if (!session->exited)
			kill(session->pid, SIGKILL); /* enter, and by its PDEATHSIG the command */
		break;
	default:
		break;
	}
}

void session_reap(pid_t pid, int status)
{
	for (unsigned number = 1; number <= MAX_SESSIONS; number++) {
		struct session *session = &sessions[number];
		if (session->open && !session->exited && session->pid == pid) {
			session->exited = 1;
			session->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		}
	}
}

/* --- moving bytes ------------------------------------------------------------------------------ */

nfds_t sessions_gather(struct pollfd *fds, const struct wire *wire)
{
	nfds_t n = 0;
	for (unsigned number = 0; number <= MAX_SESSIONS; number++) {
		const struct session *session = &sessions[number];
		if (!session->open)
			continue;
		for (int i = 1; i <= 2; i++)
			if (source_wants(&session->sources[i], wire))
				fds[n++] = (struct pollfd){.fd = session->sources[i].fd, .events = POLLIN};
		if (session->input.output.length > 0 && session->input.output.fd >= 0)
			fds[n++] = (struct pollfd){.fd = session->input.output.fd, .events = POLLOUT};
	}
	return n;
}

static void end_session(struct session *session)
{
	for (int i = 1; i <= 2; i++)
		if (session->sources[i].fd >= 0)
			close(session->sources[i].fd);
	if (session->input.output.fd >= 0)
		close(session->input.output.fd);
	memset(session, 0, sizeof *session);
}

/* Its end is the command's; what others it left behind still print is not waited for. */
static void finish(struct session *session, unsigned number, struct wire *wire)
{
	const int32_t code = session->code;
	for (int i = 1; i <= 2 && !session->closed; i++) {
		struct source *source = &session->sources[i];
		int got;
		while ((got = source_read(source, wire, number, (unsigned)i)) > 0)
			;
		/* Nothing read for want of credit or room says nothing about what there is. */
		if (got == 0 && source->fd >= 0 && !source_wants(source, wire))
			return;
	}
	if (wire_send(wire, FRAME_EXIT, number, 0, &code, sizeof code) == 0)
		end_session(session);
}

static void serve(struct session *session, unsigned number, struct wire *wire)
{
	for (unsigned i = 1; i <= 2; i++)
		source_read(&session->sources[i], wire, number, i);
	sink_flush(&session->input, wire, number, 0);
	if (session->input.ending && session->input.output.length == 0 && session->input.output.fd >= 0 &&
	    session->master < 0) {
		close(session->input.output.fd);
		session->input.output.fd = -1;
	}
	if (number != 0 && session->exited)
		finish(session, number, wire);
}

void sessions_serve(struct wire *wire)
{
	for (unsigned number = 0; number <= MAX_SESSIONS; number++)
		if (sessions[number].open)
			serve(&sessions[number], number, wire);
}
