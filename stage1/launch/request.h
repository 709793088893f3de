/* The asking side of control.h: what the entry points for apps that come and go are. */
#ifndef GANTRY_REQUEST_H
#define GANTRY_REQUEST_H

/* The main() of `app-VERB UUID APP`, in the pod directory. */
int request_app(int argc, char **argv, const char *entry, const char *verb);

#endif
