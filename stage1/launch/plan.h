/* The launch plan, read whole and checked before anything is done (specs/launch-plan.md). */
#ifndef GANTRY_PLAN_H
#define GANTRY_PLAN_H

#include <stddef.h>

#define MAX_APPS 64
/* Mounts lie in the first 64; control groups, four for each app, in the others. */
#define MAX_SLOTS 320

enum word {
	WORD_SECTION,
	/* supervisor */
	WORD_NAMESPACES,
	WORD_GRACE,
	WORD_OUTPUT,
	WORD_MUTABLE,
	WORD_MAKE_CGROUP,
	WORD_SET_CGROUP,
	WORD_DEVICE_ACCESS,
	WORD_JOIN_CGROUP,
	WORD_MAP_USERS,
	WORD_MAP_GROUPS,
	WORD_HOLD_LOCK,
	/* pod and app */
	WORD_PRIVATE_MOUNTS,
	WORD_HOSTNAME,
	WORD_LOOPBACK,
	WORD_MOUNT,
	WORD_MOUNT_ATTRIBUTES,
	WORD_OPEN_CGROUP,
	WORD_OPEN_TREE,
	WORD_MOVE_TREE,
	WORD_TREE_ATTRIBUTES,
	WORD_MAKE_DIRECTORY,
	WORD_MAKE_FILE,
	WORD_WRITE_FILE,
	WORD_MAKE_DEVICE,
	WORD_SYMLINK,
	WORD_PIVOT_ROOT,
	WORD_OPEN_TERMINAL,
	WORD_SYSCTL,
	WORD_BECOME_ROOT,
	/* outside */
	WORD_JOURNAL_SOCKET,
	WORD_SPAWN,
	WORD_JOIN_USERS,
	/* app */
	WORD_ENTER_CGROUP,
	WORD_UNSHARE,
	WORD_MASK,
	WORD_READ_ONLY,
	WORD_TERMINAL,
	WORD_UMASK,
	WORD_USER,
	WORD_KEEP_CAPS,
	WORD_NO_NEW_PRIVILEGES,
	WORD_CAPS_OF_EVERY_USER,
	WORD_NO_USER_NAMESPACES,
	WORD_SECCOMP,
	WORD_RLIMIT,
	WORD_OOM_SCORE,
	WORD_LABEL,
	WORD_ENV,
	WORD_CHDIR,
	WORD_STOP_SIGNAL,
	WORD_SILENCE,
	WORD_EXEC,
	/* outside, for a machine */
	WORD_INITRD,
	/* teardown */
	WORD_TELL_OOM,
	WORD_REMOVE_CGROUP,
	WORDS
};

struct step {
	enum word word;
	size_t argc;
	char **argv; /* argc words, then NULL */
};

/* What of an app is executed, in this order: its event handlers before and after its own program. */
enum part { PART_PRE_START, PART_MAIN, PART_POST_STOP, PARTS };

struct section {
	const char *name; /* of an app; otherwise the kind */
	struct step *steps;
	size_t count;
	int stop_signal; /* of an app: what asks it to end */
};

/* Where the apps' standard streams lead. */
enum output_kind { OUTPUT_LINES, OUTPUT_TERMINAL, OUTPUT_RAW };

struct plan {
	struct section supervisor, outside, pod, teardown;
	struct section apps[MAX_APPS];
	size_t app_count;
	struct section *handlers; /* pre-start and post-stop of each app in turn, those without steps not there; NULL: none */
	/* What every reader asks of section supervisor. */
	unsigned long long namespaces; /* CLONE_NEW… */
	unsigned grace;                /* seconds */
	enum output_kind output;
	_Bool mutable; /* apps come and go while the pod runs */
	/* Of an app's own plan: its mounts are made for a pod with users of its own. */
	_Bool joins_users;
	/* What all of the above points into. */
	char *bytes, **arguments;
	struct step *steps;
};

/* Reads and checks the plan at `path`. On refusal says why with complain() and returns -1. The
 * plan's memory stays until the process ends. */
int read_plan(struct plan *plan, const char *path);

/* The plan of an app of a mutable pod, `apps/NAME/plan`: an open file, or -1 with errno. */
int open_app_plan(const char *app);
/* Reads and checks such a plan, whatever the file's offset: section outside, then that of `app`. Refuses as
 * read_plan does. `received`: from one who has made sure whose file it is, which in another user namespace cannot be
 * told. */
int read_app_plan(struct plan *plan, const char *app, int fd, _Bool received);

/* Whether the pod has users of its own. */
_Bool has_own_users(const struct plan *plan);
const struct section *plan_app(const struct plan *plan, const char *name);
/* A part of app number `app`; NULL where there is none. */
const struct section *app_part(const struct plan *plan, size_t app, enum part part);
/* Milliseconds that an orderly stop may take: the grace, and what comes after an app's end as long again. */
long long stopping_time(const struct plan *plan);
const char *word_name(enum word word);

#endif
