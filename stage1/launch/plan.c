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
#include "text.h"

#define MAX_PLAN 1048576

enum { IN_SUPERVISOR = 1, IN_POD = 2, IN_APP = 4, IN_TEARDOWN = 8, IN_BOTH = IN_POD | IN_APP };

/*
 * One letter per argument: what it may be (see argument_ok). `?` after a letter: may be absent,
 * `*`: any number of them; both only at the end.
 */
static const struct rule {
	const char *word, *arguments;
	unsigned sections;
} rules[WORDS] = {
	[WORD_SECTION] = {"section", "tN?", IN_SUPERVISOR | IN_POD | IN_APP | IN_TEARDOWN},
	[WORD_NAMESPACES] = {"namespaces", "kk*", IN_SUPERVISOR},
	[WORD_GRACE] = {"grace", "n", IN_SUPERVISOR},
	[WORD_OUTPUT] = {"output", "o", IN_SUPERVISOR},
	[WORD_MAKE_CGROUP] = {"make-cgroup", "A", IN_SUPERVISOR},
	[WORD_JOIN_CGROUP] = {"join-cgroup", "A", IN_SUPERVISOR},
	[WORD_PRIVATE_MOUNTS] = {"private-mounts", "", IN_POD},
	[WORD_HOSTNAME] = {"hostname", "t", IN_BOTH},
	[WORD_LOOPBACK] = {"loopback", "", IN_BOTH},
	[WORD_MOUNT] = {"mount", "tptft*", IN_BOTH},
	[WORD_MOUNT_ATTRIBUTES] = {"mount-attributes", "pfr?", IN_BOTH},
	[WORD_OPEN_TREE] = {"open-tree", "spr?", IN_BOTH},
	[WORD_MOVE_TREE] = {"move-tree", "sp", IN_BOTH},
	[WORD_TREE_ATTRIBUTES] = {"tree-attributes", "sfr?", IN_BOTH},
	[WORD_MAKE_DIRECTORY] = {"make-directory", "pm", IN_BOTH},
	[WORD_MAKE_FILE] = {"make-file", "pm", IN_BOTH},
	[WORD_WRITE_FILE] = {"write-file", "pmt", IN_BOTH},
	[WORD_MAKE_DEVICE] = {"make-device", "pmdnn", IN_BOTH},
	[WORD_SYMLINK] = {"symlink", "pp", IN_BOTH},
	[WORD_PIVOT_ROOT] = {"pivot-root", "p", IN_BOTH},
	[WORD_OPEN_TERMINAL] = {"open-terminal", "p", IN_POD},
	[WORD_UNSHARE] = {"unshare", "M", IN_APP},
	[WORD_MASK] = {"mask", "p", IN_APP},
	[WORD_READ_ONLY] = {"read-only", "p", IN_APP},
	[WORD_TERMINAL] = {"terminal", "p", IN_APP},
	[WORD_UMASK] = {"umask", "m", IN_APP},
	[WORD_USER] = {"user", "nnn*", IN_APP},
	[WORD_KEEP_CAPS] = {"keep-caps", "c*", IN_APP},
	[WORD_NO_NEW_PRIVILEGES] = {"no-new-privileges", "", IN_APP},
	[WORD_NO_USER_NAMESPACES] = {"no-user-namespaces", "", IN_APP},
	[WORD_RLIMIT] = {"rlimit", "lvv", IN_APP},
	[WORD_ENV] = {"env", "et", IN_APP},
	[WORD_CHDIR] = {"chdir", "p", IN_APP},
	[WORD_STOP_SIGNAL] = {"stop-signal", "S", IN_APP},
	[WORD_EXEC] = {"exec", "ptt*", IN_APP},
	[WORD_REMOVE_CGROUP] = {"remove-cgroup", "A", IN_TEARDOWN},
};

const char *word_name(enum word word)
{
	return rules[word].word;
}

/* The first argument that breaks the rule, counted from 1; 0 when all are well. */
static size_t first_bad_argument(const struct rule *rule, const struct step *step)
{
	const char *kind = rule->arguments;
	size_t i = 0;
	for (; i < step->argc && *kind != '\0'; i++) {
		if (!argument_ok(*kind, step->argv[i]))
			return i + 1;
		if (kind[1] == '?')
			kind += 2;
		else if (kind[1] != '*')
			kind++;
	}
	if (i < step->argc || (*kind != '\0' && kind[1] != '*' && kind[1] != '?'))
		return i + 1;
	return 0;
}

/* Where reading stands: NUL-terminated words from `at` to `end`. */
struct reader {
	char *at, *end;
	char **arguments; /* room for every argument and the NULL after each step */
	struct step *steps;
	size_t count;
};

static char *next_word(struct reader *r)
{
	char *word = r->at;
	char *nul = memchr(word, '\0', (size_t)(r->end - r->at));
	if (nul == NULL)
		return NULL;
	r->at = nul + 1;
	return word;
}

static int refuse(const char *why, const char *what)
{
	complain("plan: ", why, what);
	return -1;
}

static int refuse_step(const struct reader *r, const char *word, const char *why)
{
	char buffer[256];
	struct text t = TEXT_IN(buffer);
	text_add(&t, "step ");
	text_number(&t, (long long)r->count + 1, 0, ' ');
	text_add(&t, ": ");
	text_add_plain(&t, word);
	text_add(&t, ": ");
	return refuse(buffer, why);
}

static int read_step(struct reader *r)
{
	unsigned long long argc = 0;
	char *word = next_word(r);
	if (word == NULL)
		return refuse("ends in the middle of a word", "");
	char *counted = next_word(r);
	if (counted == NULL || !parse_number(counted, 10, MAX_PLAN, &argc))
		return refuse_step(r, word, "no argument count follows");

	struct step *step = &r->steps[r->count];
	step->argc = argc;
	step->argv = r->arguments;
	for (size_t i = 0; i < argc; i++)
		if ((*r->arguments++ = next_word(r)) == NULL)
			return refuse_step(r, word, "the plan ends before its last argument");
	*r->arguments++ = NULL;

	size_t known = 0;
	while (known < WORDS && strcmp(rules[known].word, word) != 0)
		known++;
	if (known == WORDS)
		return refuse_step(r, word, "unknown step");
	step->word = (enum word)known;
	size_t bad = first_bad_argument(&rules[known], step);
	if (bad != 0) {
		char number[32];
		struct text t = TEXT_IN(number);
		text_add(&t, "argument ");
		text_number(&t, (long long)bad, 0, ' ');
		text_add(&t, bad > argc ? " is missing" : " is wrong");
		return refuse_step(r, word, number);
	}
	r->count++;
	return 0;
}

static int read_words(struct reader *r, struct plan *plan, size_t size)
{
	size_t words = 0;
	for (size_t i = 0; i < size; i++)
		words += plan->bytes[i] == '\0';
	/* A step takes two words besides its arguments, so there is room for a NULL after each. */
	plan->arguments = calloc(words + 1, sizeof *plan->arguments);
	plan->steps = calloc(words / 2 + 1, sizeof *plan->steps);
	if (plan->arguments == NULL || plan->steps == NULL)
		return refuse("out of memory", "");
	*r = (struct reader){.at = plan->bytes, .end = plan->bytes + size, .arguments = plan->arguments, .steps = plan->steps};

	const char *magic = next_word(r), *version = magic != NULL ? next_word(r) : NULL;
	if (magic == NULL || version == NULL || strcmp(magic, "gantry-plan") != 0)
		return refuse("not a launch plan", "");
	if (strcmp(version, "1") != 0)
		return refuse("unknown version ", version);
	while (r->at < r->end)
		if (read_step(r) < 0)
			return -1;
	return 0;
}

/* The section a `section` step opens, or NULL when it may not be here. */
static struct section *open_section(struct plan *plan, const struct step *step, unsigned *kind)
{
	const char *name = step->argv[0];
	struct section *section = NULL;
	_Bool is_app = name != NULL && strcmp(name, "app") == 0;

	if (name == NULL || is_app != (step->argc == 2))
		return NULL;
	if (is_app && plan->pod.name != NULL && plan->teardown.name == NULL && plan->app_count < MAX_APPS &&
	    plan_app(plan, step->argv[1]) == NULL) {
		section = &plan->apps[plan->app_count++];
		*kind = IN_APP;
	} else if (strcmp(name, "supervisor") == 0 && *kind == 0) {
		section = &plan->supervisor;
		*kind = IN_SUPERVISOR;
	} else if (strcmp(name, "pod") == 0 && *kind == IN_SUPERVISOR) {
		section = &plan->pod;
		*kind = IN_POD;
	} else if (strcmp(name, "teardown") == 0 && *kind == IN_APP) {
		section = &plan->teardown;
		*kind = IN_TEARDOWN;
	}
	if (section != NULL) {
		section->name = is_app ? step->argv[1] : name;
		section->steps = (struct step *)step + 1;
	}
	return section;
}

static int divide(struct plan *plan, const struct reader *r)
{
	struct section *section = NULL;
	unsigned kind = 0;

	for (size_t i = 0; i < r->count; i++) {
		const struct step *step = &r->steps[i];
		if (step->word == WORD_SECTION) {
			section = open_section(plan, step, &kind);
			if (section == NULL)
				return refuse("misplaced section ", step->argv[0]);
		} else if (section == NULL || (rules[step->word].sections & kind) == 0) {
			return refuse("misplaced step ", rules[step->word].word);
		} else {
			section->count++;
		}
	}
	return plan->app_count > 0 ? 0 : refuse("no app", "");
}

static size_t occurrences(const struct section *section, enum word word)
{
	size_t n = 0;
	for (size_t i = 0; i < section->count; i++)
		n += section->steps[i].word == word;
	return n;
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
			plan->terminal = strcmp(step->argv[0], "terminal") == 0;
	}
	/* The end of a pod is the end of its PID namespace, and its mounts must be its own. */
	const unsigned long long needed = CLONE_NEWPID | CLONE_NEWNS;
	return (plan->namespaces & needed) == needed ? 0 : refuse("namespaces must include pid and mount", "");
}

static void settle_app(struct section *app)
{
	unsigned long long number = SIGTERM;
	for (size_t i = 0; i < app->count; i++)
		if (app->steps[i].word == WORD_STOP_SIGNAL)
			parse_number(app->steps[i].argv[0], 10, (unsigned long long)SIGRTMAX, &number);
	app->stop_signal = (int)number;
}

static int check_whole(struct plan *plan)
{
	if (settle_supervisor(plan) < 0)
		return -1;
	if (plan->pod.count == 0 || plan->pod.steps[0].word != WORD_PRIVATE_MOUNTS)
		return refuse("section pod must begin with private-mounts", "");
	if (occurrences(&plan->pod, WORD_OPEN_TERMINAL) != (plan->terminal ? 1U : 0U))
		return refuse("output terminal and one open-terminal go together", "");
	if (plan->terminal && plan->app_count != 1)
		return refuse("output terminal is for one app", "");
	for (size_t i = 0; i < plan->app_count; i++) {
		struct section *app = &plan->apps[i];
		settle_app(app);
		if (app->count == 0 || app->steps[app->count - 1].word != WORD_EXEC ||
		    occurrences(app, WORD_EXEC) != 1)
			return refuse("exec must be the one last step of app ", app->name);
		if (occurrences(app, WORD_TERMINAL) > (plan->terminal ? 1U : 0U))
			return refuse("terminal without output terminal in app ", app->name);
	}
	return 0;
}

static int refuse_file(const char *path, const char *why)
{
	complain("plan ", path, ": ", why);
	return -1;
}

/* Reads the file's bytes. Not mapped: a mapping would follow later writes. */
static int load(struct plan *plan, const char *path, size_t *size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int number = errno;
		if (fd >= 0)
			close(fd);
		return refuse_file(path, error_text(number));
	}
	_Bool safe = S_ISREG(st.st_mode) && st.st_size <= MAX_PLAN && st.st_uid == geteuid() && (st.st_mode & 022) == 0;
	plan->bytes = safe ? malloc((size_t)st.st_size + 1) : NULL;
	*size = 0;
	ssize_t n = 1;
	while (plan->bytes != NULL && n > 0 && *size < (size_t)st.st_size) {
		n = read(fd, plan->bytes + *size, (size_t)st.st_size - *size);
		*size += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (!safe)
		return refuse_file(path, "must be a regular file of up to 1 MiB that only its owner may write");
	return plan->bytes != NULL && n > 0 ? 0 : refuse_file(path, "cannot be read whole");
}

int read_plan(struct plan *plan, const char *path)
{
	struct reader r;
	size_t size;
	memset(plan, 0, sizeof *plan);
	if (load(plan, path, &size) < 0 || read_words(&r, plan, size) < 0 || divide(plan, &r) < 0)
		return -1;
	return check_whole(plan);
}

const struct section *plan_app(const struct plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->app_count; i++)
		if (plan->apps[i].name != NULL && strcmp(plan->apps[i].name, name) == 0)
			return &plan->apps[i];
	return NULL;
}
