#include "step.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "app.h"
#include "cgroup.h"
#include "credentials.h"
#include "file.h"
#include "filter.h"
#include "helper.h"
#include "identity.h"
#include "journal.h"
#include "kernel-file.h"
#include "mount.h"
#include "program.h"
#include "pty.h"
#include "silence.h"
#include "users.h"

void begin_launch(struct launch *launch)
{
	memset(launch, 0, sizeof *launch);
	for (size_t i = 0; i < MAX_SLOTS; i++)
		launch->slots[i] = -1;
	launch->terminal_master = launch->terminal_slave = launch->terminal_tree = -1;
	launch->null_device = launch->empty_tree = -1;
	launch->journal = launch->journal_server = launch->report = -1;
	launch->users = -1;
}

/* Init keeps these in mind; the app itself does nothing. */
static int perform_nothing(struct launch *launch, const struct step *step)
{
	(void)launch, (void)step;
	return 0;
}

/* exec is not here: it waits for the other apps first (app.c). Supervisor and teardown steps are the
 * supervisor's. */
static int (*const performers[WORDS])(struct launch *, const struct step *) = {
	[WORD_PRIVATE_MOUNTS] = perform_private_mounts,
	[WORD_HOSTNAME] = perform_hostname,
	[WORD_LOOPBACK] = perform_loopback,
	[WORD_MOUNT] = perform_mount,
	[WORD_MOUNT_ATTRIBUTES] = perform_mount_attributes,
	[WORD_MAKE_CGROUP] = perform_make_cgroup,
	[WORD_SET_CGROUP] = perform_set_cgroup,
	[WORD_OPEN_CGROUP] = perform_open_cgroup,
	[WORD_OPEN_TREE] = perform_open_tree,
	[WORD_MOVE_TREE] = perform_move_tree,
	[WORD_TREE_ATTRIBUTES] = perform_tree_attributes,
	[WORD_MAKE_DIRECTORY] = perform_make_directory,
	[WORD_MAKE_FILE] = perform_make_file,
	[WORD_WRITE_FILE] = perform_write_file,
	[WORD_MAKE_DEVICE] = perform_make_device,
	[WORD_SYMLINK] = perform_symlink,
	[WORD_PIVOT_ROOT] = perform_pivot_root,
	[WORD_OPEN_TERMINAL] = perform_open_terminal,
	[WORD_SYSCTL] = perform_sysctl,
	[WORD_BECOME_ROOT] = perform_become_root,
	[WORD_JOURNAL_SOCKET] = perform_journal_socket,
	[WORD_SPAWN] = perform_spawn,
	[WORD_JOIN_USERS] = perform_join_users,
	[WORD_ENTER_CGROUP] = perform_enter_cgroup,
	[WORD_UNSHARE] = perform_unshare,
	[WORD_MASK] = perform_mask,
	[WORD_READ_ONLY] = perform_read_only,
	[WORD_TERMINAL] = perform_terminal,
	[WORD_UMASK] = perform_umask,
	[WORD_USER] = perform_user,
	[WORD_KEEP_CAPS] = perform_keep_caps,
	[WORD_NO_NEW_PRIVILEGES] = perform_no_new_privileges,
	[WORD_CAPS_OF_EVERY_USER] = perform_caps_of_every_user,
	[WORD_NO_USER_NAMESPACES] = perform_no_user_namespaces,
	[WORD_SECCOMP] = perform_seccomp,
	[WORD_RLIMIT] = perform_rlimit,
	[WORD_OOM_SCORE] = perform_oom_score,
	[WORD_LABEL] = perform_label,
	[WORD_ENV] = perform_env,
	[WORD_CHDIR] = perform_chdir,
	[WORD_STOP_SIGNAL] = perform_nothing,
	[WORD_SILENCE] = perform_silence,
};

int perform(struct launch *launch, const struct step *step)
{
	return performers[step->word] != NULL ? performers[step->word](launch, step) : -ENOSYS;
}

void do_without(const struct launch *launch, const struct step *step, const char *why)
{
	char message[400];
	struct text t = TEXT_IN(message);
	text_add(&t, REPORT_TOLD);
	text_add(&t, word_name(step->word));
	for (size_t i = 0; i < step->argc; i++) {
		text_add(&t, " ");
		text_add_plain(&t, step->argv[i]);
	}
	text_add(&t, ": ");
	text_add(&t, why);
	if (launch->report >= 0)
		send(launch->report, message, t.length, MSG_NOSIGNAL);
}

void describe_failure(struct text *t, const struct step *step, int number)
{
	size_t shown = step->argc;
	if (step->word == WORD_WRITE_FILE)
		shown = 2;
	else if (step->word == WORD_ENV || step->word == WORD_DEVICE_ACCESS)
		shown = 1;
	else if (step->word == WORD_SECCOMP)
		shown = 0;
	text_add(t, word_name(step->word));
	for (size_t i = 0; i < shown; i++) {
		text_add(t, " ");
		text_add_plain(t, step->argv[i]);
	}
	text_add(t, ": ");
	if (step->word == WORD_OPEN_TREE && number == EOPNOTSUPP)
		text_add(t, "lies on no shared mount any more, so no mounts would travel: mount --make-shared it");
	else
		text_add(t, error_text(number));
}
