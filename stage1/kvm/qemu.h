/* QEMU, and virtiofsd where that has the files: starting them, and what they and the kernel inside say. */
#ifndef GANTRY_QEMU_H
#define GANTRY_QEMU_H

#include <sys/types.h>

#include "../launch/step.h"

/* The descriptors QEMU finds its character devices at; the plan's command line names them. */
#define QEMU_PORT 3
#define QEMU_CONSOLE 4
#define QEMU_SHARE 5 /* with a file server */
/* Where that finds the socket it listens on. */
#define SERVER_SOCKET 3

/* What is read line by line, and what its last lines were. */
struct report {
	int fd; /* -1: ended */
	size_t length;
	char line[256];
};

struct qemu {
	pid_t pid, server; /* 0: none */
	int port;
	int share; /* what QEMU reaches the file server by; -1: there is none */
	struct report console, complaints, server_complaints;
	unsigned complained; /* lines */
	char last[256]; /* what best explains its end; "" when nothing does */
	char server_last[256];
};

void qemu_begin(struct qemu *qemu);
/* Starts the program of a `spawn` step, which serves files to the machine: one. 0 or -errno. */
int qemu_serve(struct qemu *qemu, const struct step *spawn);
/* Starts the program of an `exec` step. 0 or -errno. */
int qemu_start(struct qemu *qemu, struct launch *launch, const struct step *exec);
/* Reads what there is of its reports. QEMU's own complaints are passed on; of the kernel's console only what
 * tells why it ended is kept, and of the file server, which complains of every end of QEMU's, the last. */
void qemu_listen(struct qemu *qemu);

#endif
