#include "grammar.h"

#include <stdlib.h>
#include <string.h>

#include "argument.h"
#include "text.h"

enum {
	IN_SUPERVISOR = 1,
	IN_POD = 2,
	IN_APP = 4,
	IN_TEARDOWN = 8,
	IN_OUTSIDE = 16,
	IN_ANY = IN_OUTSIDE | IN_POD | IN_APP
};

/*
 * One letter per argument: what it may be (see argument_ok). `?` after a letter: may be absent,
 * `*`: any number of them; both only at the end.
 */
static const struct rule {
	const char *word, *arguments;
	unsigned sections;
} rules[WORDS] = {
	[WORD_SECTION] = {"section", "tN?", IN_SUPERVISOR | IN_ANY | IN_TEARDOWN},
	[WORD_NAMESPACES] = {"namespaces", "kk*", IN_SUPERVISOR},
	[WORD_GRACE] = {"grace", "n", IN_SUPERVISOR},
	[WORD_OUTPUT] = {"output", "o", IN_SUPERVISOR},
	[WORD_MUTABLE] = {"mutable", "", IN_SUPERVISOR},
	[WORD_MAKE_CGROUP] = {"make-cgroup", "A", IN_SUPERVISOR | IN_OUTSIDE | IN_POD},
	[WORD_SET_CGROUP] = {"set-cgroup", "AFtO?", IN_SUPERVISOR | IN_OUTSIDE | IN_POD},
	[WORD_DEVICE_ACCESS] = {"device-access", "AD*", IN_SUPERVISOR},
	[WORD_JOIN_CGROUP] = {"join-cgroup", "A", IN_SUPERVISOR},
	[WORD_MAP_USERS] = {"map-users", "nnn", IN_SUPERVISOR},
	[WORD_MAP_GROUPS] = {"map-groups", "nnn", IN_SUPERVISOR},
	[WORD_HOLD_LOCK] = {"hold-lock", "A", IN_SUPERVISOR},
	[WORD_PRIVATE_MOUNTS] = {"private-mounts", "", IN_OUTSIDE | IN_POD},
	[WORD_HOSTNAME] = {"hostname", "t", IN_ANY},
	[WORD_LOOPBACK] = {"loopback", "", IN_ANY},
	[WORD_MOUNT] = {"mount", "tptft*", IN_ANY},
	[WORD_MOUNT_ATTRIBUTES] = {"mount-attributes", "pfr?", IN_ANY},
	[WORD_OPEN_CGROUP] = {"open-cgroup", "sA", IN_OUTSIDE | IN_POD},
	[WORD_OPEN_TREE] = {"open-tree", "spr?", IN_ANY},
	[WORD_MOVE_TREE] = {"move-tree", "sp", IN_ANY},
	[WORD_TREE_ATTRIBUTES] = {"tree-attributes", "sfr?", IN_ANY},
	[WORD_MAKE_DIRECTORY] = {"make-directory", "pm", IN_ANY},
	[WORD_MAKE_FILE] = {"make-file", "pm", IN_ANY},
	[WORD_WRITE_FILE] = {"write-file", "pmt", IN_ANY},
	[WORD_MAKE_DEVICE] = {"make-device", "pmdnn", IN_ANY},
	[WORD_SYMLINK] = {"symlink", "pp", IN_ANY},
	[WORD_PIVOT_ROOT] = {"pivot-root", "p", IN_ANY},
	[WORD_OPEN_TERMINAL] = {"open-terminal", "p", IN_POD},
	[WORD_SYSCTL] = {"sysctl", "pt", IN_POD},
	[WORD_BECOME_ROOT] = {"become-root", "", IN_POD},
	[WORD_JOURNAL_SOCKET] = {"journal-socket", "p", IN_OUTSIDE},
	[WORD_SPAWN] = {"spawn", "ptt*", IN_OUTSIDE},
	[WORD_JOIN_USERS] = {"join-users", "", IN_OUTSIDE},
	[WORD_ENTER_CGROUP] = {"enter-cgroup", "sA", IN_APP},
	[WORD_UNSHARE] = {"unshare", "M", IN_APP},
	[WORD_MASK] = {"mask", "p", IN_APP},
	[WORD_READ_ONLY] = {"read-only", "p", IN_APP},
	[WORD_TERMINAL] = {"terminal", "p", IN_APP},
	[WORD_UMASK] = {"umask", "m", IN_OUTSIDE | IN_APP},
	[WORD_USER] = {"user", "nnn*", IN_APP},
	[WORD_KEEP_CAPS] = {"keep-caps", "c*", IN_OUTSIDE | IN_APP},
	[WORD_NO_NEW_PRIVILEGES] = {"no-new-privileges", "", IN_OUTSIDE | IN_APP},
	[WORD_CAPS_OF_EVERY_USER] = {"caps-of-every-user", "", IN_OUTSIDE},
	[WORD_NO_USER_NAMESPACES] = {"no-user-namespaces", "", IN_APP},
	[WORD_SECCOMP] = {"seccomp", "b", IN_APP},
	[WORD_RLIMIT] = {"rlimit", "lvv", IN_APP},
	[WORD_OOM_SCORE] = {"oom-score", "z", IN_APP},
	[WORD_LABEL] = {"label", "Lt", IN_APP},
	[WORD_ENV] = {"env", "et", IN_OUTSIDE | IN_APP},
	[WORD_CHDIR] = {"chdir", "p", IN_APP},
	[WORD_STOP_SIGNAL] = {"stop-signal", "S", IN_APP},
	[WORD_SILENCE] = {"silence", "ii*", IN_APP},
	[WORD_EXEC] = {"exec", "ptt*", IN_OUTSIDE | IN_APP},
	[WORD_INITRD] = {"initrd", "pppp*", IN_OUTSIDE},
	[WORD_TELL_OOM] = {"tell-oom", "NAF", IN_TEARDOWN},
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

int refuse_plan(const char *why, const char *what)
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
	return refuse_plan(buffer, why);
}

static int read_step(struct reader *r)
{
	unsigned long long argc = 0;
	char *word = next_word(r);
	if (word == NULL)
		return refuse_plan("ends in the middle of a word", "");
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
		return refuse_plan("out of memory", "");
	*r = (struct reader){.at = plan->bytes, .end = plan->bytes + size, .arguments = plan->arguments, .steps = plan->steps};

	const char *magic = next_word(r), *version = magic != NULL ? next_word(r) : NULL;
	if (magic == NULL || version == NULL || strcmp(magic, "gantry-plan") != 0)
		return refuse_plan("not a launch plan", "");
	if (strcmp(version, "1") != 0)
		return refuse_plan("unknown version ", version);
	while (r->at < r->end)
		if (read_step(r) < 0)
			return -1;
	return 0;
}

/* Where in the plan reading stands. */
struct place {
	unsigned kind;  /* of the section: IN_…; 0 before the first */
	enum part part; /* of an app, with IN_APP */
	_Bool of_app;   /* it is the plan of one app */
};

const char *part_name(enum part part)
{
	static const char *const names[PARTS] = {"pre-start", "app", "post-stop"};
	return names[part];
}

/* -1: this is no section of an app. */
static int part_named(const char *name)
{
	for (int part = 0; part < PARTS; part++)
		if (strcmp(name, part_name((enum part)part)) == 0)
			return part;
	return -1;
}

/* Where that section is kept; NULL without memory. */
static struct section *place_of_handler(struct plan *plan, size_t app, enum part part)
{
	if (plan->handlers == NULL)
		plan->handlers = calloc((size_t)2 * MAX_APPS, sizeof *plan->handlers);
	return plan->handlers != NULL ? &plan->handlers[2 * app + (part == PART_POST_STOP)] : NULL;
}

/* Whether another app may begin here. */
static _Bool takes_app(const struct plan *plan, const struct place *at, const char *name)
{
	_Bool here = at->of_app ? at->kind == IN_OUTSIDE : at->kind == IN_POD || at->kind == IN_APP;
	return here && plan->app_count < MAX_APPS && plan_app(plan, name) == NULL;
}

/* A handler stands beside its app: pre-start before it, post-stop behind it. */
static struct section *open_part(struct plan *plan, const struct place *at, enum part part, const char *name)
{
	_Bool within = at->kind == IN_APP;
	if (within && at->part == PART_PRE_START) {
		if (part != PART_MAIN || strcmp(app_part(plan, plan->app_count, PART_PRE_START)->name, name) != 0)
			return NULL;
		return &plan->apps[plan->app_count++];
	}
	if (part == PART_POST_STOP) {
		if (!within || at->part != PART_MAIN || strcmp(plan->apps[plan->app_count - 1].name, name) != 0)
			return NULL;
		return place_of_handler(plan, plan->app_count - 1, part);
	}
	if (!takes_app(plan, at, name))
		return NULL;
	return part == PART_MAIN ? &plan->apps[plan->app_count++] : place_of_handler(plan, plan->app_count, part);
}

/* A section that is of no app, or NULL where it may not be here. */
static struct section *open_common(struct plan *plan, const struct place *at, const char *name, unsigned *kind)
{
	if (strcmp(name, "supervisor") == 0 && at->kind == 0 && !at->of_app) {
		*kind = IN_SUPERVISOR;
		return &plan->supervisor;
	}
	if (strcmp(name, "outside") == 0 && at->kind == (at->of_app ? 0 : IN_SUPERVISOR)) {
		*kind = IN_OUTSIDE;
		return &plan->outside;
	}
	if (at->of_app)
		return NULL;
	if (strcmp(name, "pod") == 0 && (at->kind == IN_SUPERVISOR || at->kind == IN_OUTSIDE)) {
		*kind = IN_POD;
		return &plan->pod;
	}
	_Bool last = at->kind == IN_POD || (at->kind == IN_APP && at->part != PART_PRE_START);
	if (strcmp(name, "teardown") != 0 || !last)
		return NULL;
	*kind = IN_TEARDOWN;
	return &plan->teardown;
}

/* The section a `section` step opens, or NULL when it may not be here. */
static struct section *open_section(struct plan *plan, const struct step *step, struct place *at)
{
	const char *name = step->argv[0];
	struct section *section = NULL;
	int part = name != NULL ? part_named(name) : -1;
	unsigned kind = IN_APP;

	if (name == NULL || (part >= 0) != (step->argc == 2))
		return NULL;
	if (part >= 0)
		section = open_part(plan, at, (enum part)part, step->argv[1]);
	else
		section = open_common(plan, at, name, &kind);
	if (section == NULL)
		return NULL;
	*at = (struct place){.kind = kind, .part = part >= 0 ? (enum part)part : PART_MAIN, .of_app = at->of_app};
	section->name = part >= 0 ? step->argv[1] : name;
	section->steps = (struct step *)step + 1;
	return section;
}

static int divide(struct plan *plan, const struct reader *r, _Bool of_app)
{
	struct section *section = NULL;
	struct place at = {.of_app = of_app};

	for (size_t i = 0; i < r->count; i++) {
		const struct step *step = &r->steps[i];
		if (step->word == WORD_SECTION) {
			section = open_section(plan, step, &at);
			if (section == NULL)
				return refuse_plan("misplaced section ", step->argv[0]);
		} else if (section == NULL || (rules[step->word].sections & at.kind) == 0) {
			return refuse_plan("misplaced step ", rules[step->word].word);
		} else {
			section->count++;
		}
	}
	if (at.kind == IN_APP && at.part == PART_PRE_START)
		return refuse_plan("pre-start without its app", "");
	return 0;
}

int read_steps(struct plan *plan, size_t size, _Bool of_app)
{
	struct reader r;
	if (read_words(&r, plan, size) < 0)
		return -1;
	return divide(plan, &r, of_app);
}
