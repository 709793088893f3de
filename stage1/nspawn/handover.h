/* What systemd-nspawn hands on to the pod's init, as a service manager hands on sockets (sd_listen_fds(3)). */
#ifndef GANTRY_HANDOVER_H
#define GANTRY_HANDOVER_H

enum handover {
	HANDED_CHANNEL = 3, /* to the supervisor */
	HANDED_JOURNAL,	    /* where the pod has one */
};

#endif
