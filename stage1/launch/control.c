#include "control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "argument.h"
#include "outfit.h"
#include "text.h"

enum verb { VERB_ADD, VERB_START, VERB_STOP, VERB_REMOVE, VERBS };
static const char *const verbs[VERBS] = {"add", "start", "stop", "rm"};

/* CHECKING: its plan is, for `add`. OUTFITTING and STARTING: see outfit.h, then init. */
enum phase { IDLE, CHECKING, OUTFITTING, STARTING, RUNNING };

struct request {
	int fd; /* -1: free */
	enum verb verb;
	int app; /* -1: not read yet */
};

static struct {
	struct app_record *apps;
	struct {
		enum phase phase;
		struct outfit outfit;
		_Bool stopping;
		char name[APP_NAME_ROOM];
	} states[MAX_APPS];
	struct request requests[MAX_REQUESTS];
	int listener, channel, users;
} control = {.listener = -1};

/* --- answers ----------------------------------------------------------------------------------- */

static void close_request(struct request *request)
{
	close(request->fd);
	request->fd = -1;
}

/* Whoever does not read its answer has to do without. */
static void answer(struct request *request, const char *what, const char *app, const char *why)
{
	char line[1024];
	struct text t = TEXT_IN(line);
	text_add(&t, what);
	text_add(&t, app);
	text_add(&t, why);
	send(request->fd, line, t.length, MSG_NOSIGNAL | MSG_DONTWAIT);
	close_request(request);
}

static void answer_ok(struct request *request)
{
	answer(request, "ok", "", "");
}

/* Everyone who waits with `verb` for app number `app`; NULL for `why`: it went well. */
static void answer_all(enum verb verb, size_t app, const char *why)
{
	for (size_t i = 0; i < MAX_REQUESTS; i++) {
		struct request *request = &control.requests[i];
		if (request->fd < 0 || request->app != (int)app || request->verb != verb)
			continue;
		if (why == NULL)
			answer_ok(request);
		else
			answer(request, why, "", "");
	}
}

/* --- the apps ---------------------------------------------------------------------------------- */

static int find_app(const char *name)
{
	for (int i = 0; i < MAX_APPS; i++)
		if (control.apps[i].name != NULL && strcmp(control.apps[i].name, name) == 0)
			return i;
	return -1;
}

/* -1: there are as many as there can be. */
static int note_app(const char *name)
{
	for (int i = 0; i < MAX_APPS; i++)
		if (control.apps[i].name == NULL) {
			struct text t = TEXT_IN(control.states[i].name);
			text_add(&t, name);
			control.apps[i] = (struct app_record){.name = control.states[i].name};
			control.states[i].phase = IDLE;
			control.states[i].stopping = 0;
			return i;
		}
	return -1;
}

static void forget_app(size_t app)
{
	control.apps[app].name = NULL;
}

static _Bool has_plan(const char *name)
{
	int file = open_app_plan(name);
	if (file >= 0)
		close(file);
	return file >= 0;
}

static void prepare_app(struct request *request, _Bool only_check)
{
	size_t app = (size_t)request->app;
	const struct errand errand = {.app = app, .name = control.apps[app].name, .only_check = only_check,
				      .channel = control.channel, .users = control.users};
	if (begin_outfit(&control.states[app].outfit, &errand) < 0)
		answer(request, "cannot begin: ", error_text(errno), "");
	else
		control.states[app].phase = only_check ? CHECKING : OUTFITTING;
}

static void stop_app(struct request *request)
{
	size_t app = (size_t)request->app;
	if (control.states[app].phase == IDLE)
		answer_ok(request);
	else if (control.states[app].phase < STARTING)
		answer(request, "app \"", control.apps[app].name, "\" is just being started");
	else if (send_app_stop(control.channel, app) < 0)
		answer(request, "the pod takes no orders: ", error_text(errno), "");
	else
		control.states[app].stopping = 1;
}

static void remove_app(struct request *request)
{
	size_t app = (size_t)request->app;
	if (control.states[app].phase != IDLE) {
		answer(request, "app \"", control.apps[app].name, "\" is still running");
		return;
	}
	answer_ok(request);
	forget_app(app);
}

static void start_app(struct request *request)
{
	size_t app = (size_t)request->app;
	switch (control.states[app].phase) {
	case IDLE:
		prepare_app(request, 0);
		break;
	case CHECKING:
		answer(request, "app \"", control.apps[app].name, "\" is just being added");
		break;
	case OUTFITTING:
	case STARTING:
		break; /* the same answer as whoever asked before */
	case RUNNING:
		if (control.states[app].stopping)
			answer(request, "app \"", control.apps[app].name, "\" is just being stopped");
		else
			answer_ok(request);
		break;
	}
}

/* --- requests ---------------------------------------------------------------------------------- */

/* What the app directory holds is what counts: an app not known here yet may have been added by someone who
 * did not get as far as to say so, and one without a plan is none any more. */
static void begin_request(struct request *request, const char *name, _Bool stopping)
{
	_Bool comes = request->verb == VERB_ADD || request->verb == VERB_START;
	int app = find_app(name);
	if (comes && stopping) {
		answer(request, "the pod is being stopped", "", "");
		return;
	}
	if (!comes && app < 0) {
		answer_ok(request);
		return;
	}
	if (comes && !has_plan(name)) {
		answer(request, "no such app \"", name, "\"");
		return;
	}
	request->app = app >= 0 ? app : note_app(name);
	if (request->app < 0)
		answer(request, "the pod has as many apps as it can", "", "");
	else if (request->verb == VERB_STOP)
		stop_app(request);
	else if (request->verb == VERB_REMOVE)
		remove_app(request);
	else if (request->verb == VERB_START)
		start_app(request);
	else if (control.states[request->app].phase == IDLE)
		prepare_app(request, 1);
	else
		answer(request, "app \"", name, "\" is there already");
}

static void read_request(struct request *request, _Bool stopping)
{
	char line[256];
	ssize_t n = recv(request->fd, line, sizeof line - 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) { /* it went away; what it asked for goes on */
		close_request(request);
		return;
	}
	if (request->app >= 0)
		return;
	line[n] = '\0';
	char *space = strchr(line, ' ');
	size_t verb = 0;
	if (space != NULL)
		*space = '\0';
	while (verb < VERBS && strcmp(verbs[verb], line) != 0)
		verb++;
	if (verb == VERBS || space == NULL || !argument_ok('N', space + 1)) {
		answer(request, "no request: VERB APP is one", "", "");
		return;
	}
	request->verb = (enum verb)verb;
	begin_request(request, space + 1, stopping);
}

static struct request *free_request(void)
{
	for (size_t i = 0; i < MAX_REQUESTS; i++)
		if (control.requests[i].fd < 0)
			return &control.requests[i];
	return NULL;
}

/* Whoever can reach the socket may ask, but only one of this user: descriptors travel further than paths. */
static _Bool may_ask(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

static void take_requests(void)
{
	struct request *request;
	while ((request = free_request()) != NULL) {
		int fd = accept4(control.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		if (may_ask(fd))
			*request = (struct request){.fd = fd, .app = -1};
		else
			close(fd);
	}
}

/* --- what comes of them ------------------------------------------------------------------------ */

static void settle_outfit(size_t app)
{
	char line[1000];
	enum phase phase = control.states[app].phase;
	ssize_t n = recv(control.states[app].outfit.report, line, sizeof line - 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	end_outfit(&control.states[app].outfit);
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	_Bool done = n == 1 && line[0] == OUTFIT_DONE[0];
	const char *why = n > 0 ? line : OUTFIT_DIED;
	control.states[app].phase = done && phase == OUTFITTING ? STARTING : IDLE;
	if (phase == CHECKING)
		answer_all(VERB_ADD, app, done ? NULL : why);
	else if (!done)
		answer_all(VERB_START, app, why);
	if (!done && phase == CHECKING)
		forget_app(app);
}

void control_hear(const struct event *event)
{
	size_t app = event->app % MAX_APPS;
	if (control.listener < 0 ||
	    (event->kind != EVENT_STARTED && event->kind != EVENT_REFUSED && event->kind != EVENT_EXITED))
		return;
	/* Init can be quicker to tell than the process that sent it the app. */
	end_outfit(&control.states[app].outfit);
	if (event->kind == EVENT_STARTED) {
		control.states[app].phase = RUNNING;
		control.states[app].stopping = 0;
		answer_all(VERB_START, app, NULL);
	} else {
		control.states[app].phase = IDLE;
		control.states[app].stopping = 0;
		answer_all(VERB_START, app, event->kind == EVENT_REFUSED ? event->text : "it ended before it was started");
		answer_all(VERB_STOP, app, NULL);
	}
}

/* --- being there ------------------------------------------------------------------------------- */

int control_begin(struct app_record *apps)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET};
	control.apps = apps;
	for (size_t i = 0; i < MAX_REQUESTS; i++)
		control.requests[i].fd = -1;
	for (size_t i = 0; i < MAX_APPS; i++)
		control.states[i].outfit.report = -1;
	control.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t umask_before = umask(0177);
	int bound = control.listener < 0 ? -1 : bind(control.listener, (const struct sockaddr *)&address, sizeof address);
	int number = errno;
	umask(umask_before);
	errno = number;
	if (bound == 0 && listen(control.listener, 128) == 0)
		return 0;
	complain(CONTROL_SOCKET, ": ", error_text(errno));
	return -1;
}

void control_connect(int channel, int users)
{
	control.channel = channel;
	control.users = users;
}

nfds_t control_gather(struct pollfd *fds)
{
	nfds_t n = 0;
	if (control.listener < 0)
		return 0;
	if (free_request() != NULL)
		fds[n++] = (struct pollfd){.fd = control.listener, .events = POLLIN};
	for (size_t i = 0; i < MAX_REQUESTS; i++)
		if (control.requests[i].fd >= 0)
			fds[n++] = (struct pollfd){.fd = control.requests[i].fd, .events = POLLIN};
	for (size_t i = 0; i < MAX_APPS; i++)
		if (control.states[i].outfit.report >= 0)
			fds[n++] = (struct pollfd){.fd = control.states[i].outfit.report, .events = POLLIN};
	return n;
}

void control_serve(_Bool stopping)
{
	if (control.listener < 0)
		return;
	for (size_t i = 0; i < MAX_APPS; i++)
		if (control.states[i].outfit.report >= 0)
			settle_outfit(i);
	for (size_t i = 0; i < MAX_REQUESTS; i++)
		if (control.requests[i].fd >= 0)
			read_request(&control.requests[i], stopping);
	take_requests();
}

void control_end(void)
{
	if (control.listener < 0)
		return;
	unlink(CONTROL_SOCKET);
	close(control.listener);
	control.listener = -1;
	for (size_t i = 0; i < MAX_APPS; i++)
		end_outfit(&control.states[i].outfit);
	for (size_t i = 0; i < MAX_REQUESTS; i++)
		if (control.requests[i].fd >= 0)
			answer(&control.requests[i], "the pod has ended", "", "");
}
