/* Telling a service manager, sd_notify(3). */
#ifndef GANTRY_NOTIFY_H
#define GANTRY_NOTIFY_H

/* Sends `state` (`READY=1`) to $NOTIFY_SOCKET, if there is one. */
void notify_manager(const char *state);

#endif
