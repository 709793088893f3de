/* What init and the supervisor tell each other, over a socket pair that keeps messages apart. */
#ifndef GANTRY_CHANNEL_H
#define GANTRY_CHANNEL_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "plan.h"

/* From init. */
enum event_kind {
	EVENT_TERMINAL = 1, /* the master of the pod's pty comes with it */
	EVENT_HERE,         /* from an init that is not the supervisor's child: it exists */
	EVENT_FAILED,       /* the pod could not be set up; `text` says why */
	EVENT_SET_UP,       /* every app is set up; they start now */
	EVENT_STARTED,      /* app number `app` runs, PID `value` in the pod */
	EVENT_READY,        /* all of them do */
	EVENT_EXITED,       /* app number `app` ended with exit code `value` */
	EVENT_REFUSED,      /* app number `app` of a mutable pod could not be started; `text` says why */
	EVENT_ENDED,        /* the pod ends; its exit code is `value` */
	EVENT_TOLD,         /* `text` is for the operator to know; the pod goes on */
};

struct event {
	uint32_t kind, app;
	int32_t value, nanoseconds;
	int64_t seconds; /* CLOCK_REALTIME */
	char text[1000];
};

/* A pair of ends; the supervisor's is first. -1 with errno. */
int open_channel(int ends[2]);

/* From the supervisor. */
enum order_kind {
	ORDER_SIGNAL = 1, /* pass signal `value` to the apps */
	ORDER_STOP,       /* stop in order, because of signal `value` */
	ORDER_KILL,       /* do not wait for the grace to pass */
	ORDER_BEGIN, /* init's users are mapped; trees for slots of section pod come with it */
	/* Of a mutable pod: */
	ORDER_START_APP, /* start app number `app`; with it come its plan and the trees for its slots */
	ORDER_STOP_APP,  /* stop app number `app` in order */
};

#define APP_NAME_ROOM 129

struct order {
	uint32_t kind;
	int32_t value; /* of an app to be started: what asks it to end */
	uint32_t app;
	char name[APP_NAME_ROOM];
	uint16_t slots[MAX_SLOTS]; /* of each descriptor but the first, in order */
};

/* The plan of an app, and a tree for each slot at most. */
#define MAX_ATTACHED (1 + MAX_SLOTS)

/* Sends `length` bytes, and `fd` with them unless it is negative. -1 with errno. */
ssize_t send_one(int socket, const void *data, size_t length, int fd);
/* What there is, without waiting; *fd is what came with it, or -1. -1 with errno. */
ssize_t receive_one(int socket, void *data, size_t room, int *fd);

/* Sends an event stamped with the time; `fd` goes along unless negative, `text` unless NULL. */
void send_event(int channel, enum event_kind kind, uint32_t app, int value, const char *text, int fd);
/* What came with an event. */
struct attached {
	int fd;       /* -1: none */
	pid_t sender; /* as the receiver's PID namespace has it; the kernel's word, not the sender's */
};
/* 1: an event; 0: none now; -1: init is gone. */
int receive_event(int channel, struct event *event, struct attached *attached);

void send_order(int channel, enum order_kind kind, int value);
/* 0 when sent: the order that app number `app` end. */
int send_app_stop(int channel, size_t app);
/* 0 when sent: an order with `count` descriptors. Waits until init takes it. */
int send_with(int channel, const struct order *order, const int *fds, size_t count);
/* 1: an order, with *count descriptors in `fds`; 0: none now; -1: the supervisor is gone. */
int receive_order(int channel, struct order *order, int fds[MAX_ATTACHED], size_t *count);

#endif
