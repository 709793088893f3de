/* What init and the supervisor tell each other, over a socket pair that keeps messages apart. */
#ifndef GANTRY_CHANNEL_H
#define GANTRY_CHANNEL_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* From init. */
enum event_kind {
	EVENT_TERMINAL = 1, /* the master of the pod's pty comes with it */
	EVENT_FAILED,       /* the pod could not be set up; `text` says why */
	EVENT_SET_UP,       /* every app is set up; they start now */
	EVENT_STARTED,      /* app number `app` runs, PID `value` in the pod */
	EVENT_READY,        /* all of them do */
	EVENT_EXITED,       /* app number `app` ended with exit code `value` */
	EVENT_ENDED,        /* the pod ends; its exit code is `value` */
};

struct event {
	uint32_t kind, app;
	int32_t value, nanoseconds;
	int64_t seconds; /* CLOCK_REALTIME */
	char text[1000];
};

/* From the supervisor. */
enum order_kind {
	ORDER_SIGNAL = 1, /* pass signal `value` to the apps */
	ORDER_STOP,       /* stop in order, because of signal `value` */
	ORDER_KILL,       /* do not wait for the grace to pass */
};

struct order {
	uint32_t kind;
	int32_t value;
};

/* Sends an event stamped with the time; `fd` goes along unless negative, `text` unless NULL. */
void send_event(int channel, enum event_kind kind, uint32_t app, int value, const char *text, int fd);
/* 1: an event, with *fd set when one came along; 0: none now; -1: init is gone. */
int receive_event(int channel, struct event *event, int *fd);

void send_order(int channel, enum order_kind kind, int value);
int receive_order(int channel, struct order *order);

#endif
