#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "argument.h"
#include "grammar.h"
#include "text.h"

static size_t occurrences(const struct section *section, enum word word)
{
	size_t n = 0;
	for (size_t i = 0; i < section->count; i++)
		n += section->steps[i].word == word;
	return n;
}

static enum output_kind output_kind(const char *word)
{
	if (strcmp(word, "terminal") == 0)
		return OUTPUT_TERMINAL;
	return strcmp(word, "raw") == 0 ? OUTPUT_RAW : OUTPUT_LINES;
}

static int settle_supervisor(struct plan *plan)
{
	unsigned long long number = 0;
	plan->grace = 10;
	for (size_t i = 0; i < plan->supervisor.count; i++) {
		const struct step *step = &plan->supervisor.steps[i];
		if (step->word == WORD_NAMESPACES)
			for (size_t k = 0; k < step->argc; k++)
				plan->namespaces |= namespace_flag(step->argv[k]);
		else if (step->word == WORD_GRACE && parse_number(step->argv[0], 10, 1000000, &number))
			plan->grace = (unsigned)number;
		else if (step->word == WORD_OUTPUT)
			plan->output = output_kind(step->argv[0]);
		else if (step->word == WORD_MUTABLE)
			plan->mutable = 1;
	}
	return (plan->namespaces & CLONE_NEWNS) != 0 ? 0 : refuse_plan("namespaces must include mount", "");
}

_Bool has_own_users(const struct plan *plan)
{
	return (plan->namespaces & CLONE_NEWUSER) != 0;
}

/* A user namespace is mapped, and init becomes root in it: it would be whoever started the pod otherwise. */
static int check_users(const struct plan *plan)
{
	_Bool users = has_own_users(plan);
	size_t user_maps = occurrences(&plan->supervisor, WORD_MAP_USERS);
	size_t group_maps = occurrences(&plan->supervisor, WORD_MAP_GROUPS);
	if ((user_maps > 0) != users || (group_maps > 0) != users)
		return refuse_plan("namespaces user, map-users and map-groups go together", "");
	if (occurrences(&plan->pod, WORD_BECOME_ROOT) != (users ? 1 : 0))
		return refuse_plan("namespaces user and one become-root go together", "");
	return 0;
}

/* What is made outside for a pod in a user namespace is sent to it: copies taken after join-users, so that
 * nobody in the pod can undo what they are, and ways into groups. One taken before would be sent as it is,
 * unless it is attached again. */
static _Bool ends_in_trees(const struct section *section)
{
	size_t at = 0, taken = 0, attached = 0;
	for (; at < section->count && section->steps[at].word != WORD_JOIN_USERS; at++) {
		taken += section->steps[at].word == WORD_OPEN_TREE;
		attached += section->steps[at].word == WORD_MOVE_TREE;
	}
	if (taken != attached)
		return 0;
	if (at + 1 >= section->count)
		return 0;
	while (++at < section->count) {
		enum word word = section->steps[at].word;
		if (word != WORD_OPEN_TREE && word != WORD_TREE_ATTRIBUTES && word != WORD_OPEN_CGROUP)
			return 0;
	}
	return 1;
}

static void settle_app(struct section *app)
{
	unsigned long long number = SIGTERM;
	for (size_t i = 0; i < app->count; i++)
		if (app->steps[i].word == WORD_STOP_SIGNAL)
			parse_number(app->steps[i].argv[0], 10, (unsigned long long)SIGRTMAX, &number);
	app->stop_signal = (int)number;
}

/* Copies taken before that still share mounts with the host: those which are to. */
static _Bool begins_private(const struct section *section)
{
	size_t first = 0;
	while (first < section->count && section->steps[first].word == WORD_OPEN_TREE)
		first++;
	return first < section->count && section->steps[first].word == WORD_PRIVATE_MOUNTS;
}

static _Bool ends_in_exec(const struct section *section)
{
	return section->count > 0 && section->steps[section->count - 1].word == WORD_EXEC &&
	       occurrences(section, WORD_EXEC) == 1;
}

static int check_part(struct section *section, const char *kind, size_t terminals)
{
	settle_app(section);
	if (!ends_in_exec(section)) {
		complain("plan: exec must be the one last step of ", kind, " ", section->name);
		return -1;
	}
	if (occurrences(section, WORD_TERMINAL) > terminals) {
		complain("plan: terminal without output terminal in ", kind, " ", section->name);
		return -1;
	}
	return 0;
}

/* The app's own section, and those of its event handlers. */
static int check_parts(struct plan *plan, size_t app, size_t terminals)
{
	for (int part = 0; part < PARTS; part++) {
		struct section *section = (struct section *)app_part(plan, app, (enum part)part);
		if (section != NULL && check_part(section, part_name((enum part)part), terminals) < 0)
			return -1;
	}
	return 0;
}

/* Outside of the pod there are only mounts to be made: host name and network are the host's there. */
static int check_mounts_only(const struct section *outside)
{
	static const enum word strange[] = {WORD_EXEC, WORD_SPAWN, WORD_HOSTNAME, WORD_LOOPBACK, WORD_PIVOT_ROOT};
	for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
		if (occurrences(outside, strange[i]) > 0)
			return refuse_plan("misplaced step ", word_name(strange[i]));
	return 0;
}

static int check_gathering(const struct section *outside)
{
	if (check_mounts_only(outside) < 0)
		return -1;
	return ends_in_trees(outside) ? 0 : refuse_plan("section outside must end in join-users and then open-tree", "");
}

static int check_whole(struct plan *plan)
{
	if (settle_supervisor(plan) < 0)
		return -1;
	if (plan->mutable != (plan->app_count == 0))
		return refuse_plan(plan->mutable ? "a mutable pod begins without apps" : "no app", "");
	if (!begins_private(&plan->pod))
		return refuse_plan("section pod must begin with private-mounts, only open-tree before it", "");
	if (check_users(plan) < 0)
		return -1;
	if (plan->outside.name != NULL && !begins_private(&plan->outside))
		return refuse_plan("section outside must begin with private-mounts", "");
	if (plan->outside.name != NULL && !has_own_users(plan) && !ends_in_exec(&plan->outside))
		return refuse_plan("section outside must end in its one exec", "");
	if (plan->outside.name != NULL && has_own_users(plan) && check_gathering(&plan->outside) < 0)
		return -1;
	size_t terminals = plan->output == OUTPUT_TERMINAL ? 1 : 0;
	if (occurrences(&plan->pod, WORD_OPEN_TERMINAL) != terminals)
		return refuse_plan("output terminal and one open-terminal go together", "");
	if (plan->output != OUTPUT_LINES && plan->app_count != 1)
		return refuse_plan("output terminal and output raw are for one app", "");
	for (size_t i = 0; i < plan->app_count; i++)
		if (check_parts(plan, i, terminals) < 0)
			return -1;
	return 0;
}

static int check_app_plan(struct plan *plan, const char *app)
{
	struct section *section = &plan->apps[0];
	if (plan->app_count != 1 || strcmp(section->name, app) != 0)
		return refuse_plan("there must be one section of app ", app);
	if (!begins_private(&plan->outside))
		return refuse_plan("section outside must begin with private-mounts", "");
	if (check_mounts_only(&plan->outside) < 0)
		return -1;
	plan->joins_users = occurrences(&plan->outside, WORD_JOIN_USERS) > 0;
	if (plan->joins_users && !ends_in_trees(&plan->outside))
		return refuse_plan("after join-users only slots are filled", "");
	if (section->count > 0 && section->steps[0].word != WORD_UNSHARE)
		return refuse_plan("unshare must be the first step of app ", app);
	return check_parts(plan, 0, 0);
}

static int refuse_file(const char *path, const char *why)
{
	complain("plan ", path, ": ", why);
	return -1;
}

static int open_plan(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* Reads the file's bytes. Not mapped: a mapping would follow later writes. */
static int load(struct plan *plan, int fd, const char *path, _Bool received, size_t *size)
{
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return refuse_file(path, error_text(errno));
	_Bool safe = S_ISREG(st.st_mode) && st.st_size <= MAX_PLAN &&
		     (received || (st.st_uid == geteuid() && (st.st_mode & 022) == 0));
	plan->bytes = safe ? malloc((size_t)st.st_size + 1) : NULL;
	*size = 0;
	ssize_t n = 1;
	while (plan->bytes != NULL && n > 0 && *size < (size_t)st.st_size) {
		n = pread(fd, plan->bytes + *size, (size_t)st.st_size - *size, (off_t)*size);
		*size += n > 0 ? (size_t)n : 0;
	}
	if (!safe)
		return refuse_file(path, "must be a regular file of up to 4 MiB that only its owner may write");
	return plan->bytes != NULL && n > 0 ? 0 : refuse_file(path, "cannot be read whole");
}

int read_plan(struct plan *plan, const char *path)
{
	size_t size;
	memset(plan, 0, sizeof *plan);
	int fd = open_plan(path), loaded = load(plan, fd, path, 0, &size);
	if (fd >= 0)
		close(fd);
	if (loaded < 0 || read_steps(plan, size, 0) < 0)
		return -1;
	return check_whole(plan);
}

static void add_app_path(struct text *t, const char *app)
{
	text_add(t, "apps/");
	text_add(t, app);
	text_add(t, "/plan");
}

int open_app_plan(const char *app)
{
	char path[192];
	struct text t = TEXT_IN(path);
	if (!argument_ok('N', app)) {
		errno = EINVAL;
		return -1;
	}
	add_app_path(&t, app);
	return open_plan(path);
}

int read_app_plan(struct plan *plan, const char *app, int fd, _Bool received)
{
	size_t size;
	char path[192];
	struct text t = TEXT_IN(path);
	add_app_path(&t, app);
	memset(plan, 0, sizeof *plan);
	if (load(plan, fd, path, received, &size) < 0 || read_steps(plan, size, 1) < 0)
		return -1;
	return check_app_plan(plan, app);
}

const struct section *plan_app(const struct plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->app_count; i++)
		if (plan->apps[i].name != NULL && strcmp(plan->apps[i].name, name) == 0)
			return &plan->apps[i];
	return NULL;
}

const struct section *app_part(const struct plan *plan, size_t app, enum part part)
{
	if (part == PART_MAIN)
		return &plan->apps[app];
	if (plan->handlers == NULL)
		return NULL;
	const struct section *handler = &plan->handlers[2 * app + (part == PART_POST_STOP)];
	return handler->name != NULL ? handler : NULL;
}

long long stopping_time(const struct plan *plan)
{
	const long long grace = plan->grace * 1000LL;
	return plan->handlers != NULL ? 2 * grace : grace;
}
