#include "visitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum state {
	FREE,
	CONNECTED, /* has not said yet what it wants */
	INSIDE,
	GONE, /* the machine has not confirmed the end of its session yet */
};

static struct {
	int listener;
	struct visitor {
		enum state state;
		struct wire *wire;
	} at[MAX_SESSIONS + 1]; /* by session; 0 is nobody's */
} visitors = {.listener = -1};

int visitors_begin(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = VISITORS_SOCKET};
	visitors.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (visitors.listener < 0)
		return -errno;
	mode_t mask = umask(0177);
	int status = bind(visitors.listener, (struct sockaddr *)&address, sizeof address);
	umask(mask);
	return status < 0 || listen(visitors.listener, MAX_SESSIONS) < 0 ? -errno : 0;
}

static unsigned free_session(void)
{
	for (unsigned session = 1; session <= MAX_SESSIONS; session++)
		if (visitors.at[session].state == FREE)
			return session;
	return 0;
}

nfds_t visitors_gather(struct pollfd *fds)
{
	nfds_t n = 0;
	if (free_session() != 0)
		fds[n++] = (struct pollfd){.fd = visitors.listener, .events = POLLIN};
	for (unsigned session = 1; session <= MAX_SESSIONS; session++)
		if (visitors.at[session].wire != NULL)
			fds[n++] = (struct pollfd){.fd = visitors.at[session].wire->fd, .events = wire_events(visitors.at[session].wire)};
	return n;
}

/* Root alone gets to the socket; whoever a descriptor of it was handed to does not. */
static _Bool is_root(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == 0;
}

static void admit(void)
{
	unsigned session = free_session();
	int fd = session != 0 ? accept4(visitors.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
	if (fd < 0)
		return;
	struct wire *wire = is_root(fd) ? malloc(sizeof *wire) : NULL;
	if (wire == NULL) {
		close(fd);
		return;
	}
	wire_open(wire, fd);
	visitors.at[session] = (struct visitor){.state = CONNECTED, .wire = wire};
}

static void leave(struct visitor *visitor, enum state state)
{
	close(visitor->wire->fd);
	free(visitor->wire);
	*visitor = (struct visitor){.state = state};
}

/* What a visitor may say, and when. */
static _Bool may_say(const struct visitor *visitor, const struct frame *frame)
{
	switch (frame->kind) {
	case FRAME_OPEN:
		return visitor->state == CONNECTED;
	case FRAME_DATA:
	case FRAME_END:
		return visitor->state == INSIDE && frame->stream == 0;
	case FRAME_CREDIT:
		return visitor->state == INSIDE && (frame->stream == 1 || frame->stream == 2);
	case FRAME_RESIZE:
	case FRAME_SIGNAL:
		return visitor->state == INSIDE;
	default:
		return 0;
	}
}

/* Passes on whole frames while the machine takes them; -1: the visitor is no longer welcome. */
static int pass_on(struct visitor *visitor, unsigned session, struct wire *machine)
{
	struct frame frame;
	const char *payload;
	int got = 0;
	while (wire_room(machine) >= LONGEST_PAYLOAD && (got = wire_next(visitor->wire, &frame, &payload)) > 0) {
		if (!may_say(visitor, &frame))
			return -1;
		visitor->state = INSIDE;
		wire_send(machine, frame.kind, session, frame.stream, payload, frame.length);
	}
	return got;
}

static void serve(struct visitor *visitor, unsigned session, struct wire *machine)
{
	if (visitor->state == GONE || visitor->wire == NULL)
		return;
	_Bool left = wire_flush(visitor->wire) < 0 || wire_fill(visitor->wire) < 0;
	if (pass_on(visitor, session, machine) < 0 || left) {
		_Bool inside = visitor->state == INSIDE;
		/* Tried again until there is room: the slot is not free before the machine knows. */
		if (inside && wire_send(machine, FRAME_CLOSE, session, 0, NULL, 0) < 0)
			return;
		leave(visitor, inside ? GONE : FREE);
	}
}

void visitors_serve(struct wire *machine)
{
	admit();
	for (unsigned session = 1; session <= MAX_SESSIONS; session++)
		serve(&visitors.at[session], session, machine);
}

/* The last word to a visitor goes out before its connection closes, unless it does not listen. */
static void dismiss(struct visitor *visitor)
{
	wire_flush(visitor->wire);
	leave(visitor, FREE);
}

int visitor_take(const struct frame *frame, const char *payload)
{
	if (frame->session == 0 || frame->session > MAX_SESSIONS)
		return -1;
	struct visitor *visitor = &visitors.at[frame->session];
	_Bool known = ((frame->kind == FRAME_DATA || frame->kind == FRAME_END) && (frame->stream == 1 || frame->stream == 2)) ||
		      (frame->kind == FRAME_CREDIT && frame->stream == 0) ||
		      (frame->kind == FRAME_EXIT && frame->length == sizeof(int32_t));
	if (!known || visitor->state == FREE || visitor->state == CONNECTED)
		return -1;
	if (visitor->state == GONE) {
		if (frame->kind == FRAME_EXIT)
			visitor->state = FREE;
		return 0;
	}
	if (wire_send(visitor->wire, frame->kind, 0, frame->stream, payload, frame->length) < 0)
		return -1;
	if (frame->kind == FRAME_EXIT)
		dismiss(visitor);
	return 0;
}
