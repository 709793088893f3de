/* How init ends: what is in the pod first, then itself, with the reason told. */
#ifndef GANTRY_ENDING_H
#define GANTRY_ENDING_H

/* Whether the processes of the pod are those of a PID namespace, which the kernel ends with its init. */
_Bool first_process(void);

/* KILL to all in the pod that can be found now. */
void kill_rest(void);
/* Returns when nothing is left in the pod but this process. */
void end_rest(void);

/* What else is in the pod ends with this process. */
_Noreturn void leave(int code);
/* The pod cannot be set up. The supervisor hears why over `channel`. */
_Noreturn void fail(int channel, const char *message);
/* The same, for a call that failed, with errno. */
_Noreturn void fail_call(int channel, const char *what);

#endif
