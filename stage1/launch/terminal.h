/* The operator's terminal, and moving bytes between it and the pod's. */
#ifndef GANTRY_TERMINAL_H
#define GANTRY_TERMINAL_H

#include <poll.h>

/* Raw from here on, if standard input is a terminal. */
void take_terminal(void);
/* As it was found. Safe in a signal handler, and when nothing was taken. */
void give_terminal_back(void);
/* Stops this process as SIGTSTP would, with the terminal as it was found meanwhile. */
void stop_with_terminal(void);

/* Starts relaying to the pod's terminal; owns `master`. */
void begin_relay(int master);
/* Gives the pod's terminal the size of the operator's. */
void resize_relay(void);
/* What to wait for: at most three. */
nfds_t gather_relay(struct pollfd *fds);
void relay(void);
/* Passes on what the pod still printed, for at most `milliseconds`; -1: however long it takes. */
void finish_relay(long long milliseconds);

#endif
