/* What is known of the pod in the machine: by what the machine tells, each word of it checked, since whoever
 * is root there may send anything. It is passed on to the supervisor. */
#ifndef GANTRY_KVM_ACCOUNT_H
#define GANTRY_KVM_ACCOUNT_H

#include "../launch/plan.h"
#include "wire.h"

/* Lines that a machine may have for the operator, of each app. */
#define MAX_TOLD 64
#define BREACH "the machine does not keep to the protocol, and was ended"

struct account {
	const struct plan *plan;
	int channel; /* to the supervisor */
	_Bool set_up, ready, ended;
	int code; /* once ended, which is told when everything that was printed is out */
	_Bool started[MAX_APPS], exited[MAX_APPS];
	size_t told; /* lines for the operator */
};

/* There is one for each machine. */
extern struct account account;

/* The pod has failed: with it goes whatever still ran. */
_Noreturn void give_up(const char *message);
_Noreturn void give_up_call(const char *what, int number);

/* Takes an event of the pod's init. Fails for one that the machine should not send. */
void account_take(const struct frame *frame, const char *payload);

#endif
