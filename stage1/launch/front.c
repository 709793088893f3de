/*
 * gantry: the front. What needs no policy it does by itself; for everything else it becomes Node on
 * the bundle, with the words as they were given.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "duration.h"
#include "process.h"
#include "read.h"
#include "rootless.h"
#include "text.h"
#include "verbs.h"

extern char **environ;

/* The words of a command line the front understands whole. */
struct words {
	const char *data, *app, *wait, *wait_ready, *format, *uuid_file;
	_Bool force;
	char **operands; /* NULL-terminated */
	size_t count;
};

/* `<root>/REST` for this binary's `<root>/bin/gantry`. */
static _Bool installed(char *path, size_t room, const char *rest)
{
	ssize_t length = readlink("/proc/self/exe", path, room - 1);
	path[length > 0 ? length : 0] = '\0';
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(path, '/');
		if (slash == NULL)
			return 0;
		*slash = '\0';
	}
	struct text t = {.data = path, .room = room, .length = strlen(path)};
	text_add(&t, rest);
	return 1;
}

/*
 * Becomes Node with the `count` words from `words` on. V8 collects and compiles in the threads that do
 * the work: in a process of a second, threads of its own take more of the cores than they save (5 % of
 * the time of a fetch on two cores). What a short command allocates fits into 4 MiB of new space: it never collects.
 */
static int become_node(size_t count, char **words)
{
	static char gc[] = "--single-threaded-gc", compiler[] = "--no-concurrent-recompilation", space[] = "--min-semi-space-size=4";
	static char node[PATH_MAX], bundle[PATH_MAX];
	char **argv = calloc(count + 6, sizeof *argv);
	if (argv == NULL || !installed(node, sizeof node, "/bin/node") || !installed(bundle, sizeof bundle, "/dist/gantry.js")) {
		free(argv);
		complain("cannot find its own installation");
		return 254;
	}
	argv[0] = node;
	argv[1] = gc;
	argv[2] = compiler;
	argv[3] = space;
	argv[4] = bundle;
	memcpy(argv + 5, words, count * sizeof *argv);
	execve(node, argv, environ);
	complain(node, ": ", error_text(errno), ": build or install Gantry again");
	free(argv);
	return 254;
}

static _Bool has_configuration(const char *path)
{
	_Bool found = 0;
	DIR *directory = opendir(path);
	if (directory == NULL)
		return 0;
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		size_t length = strlen(entry->d_name);
		found = found || (length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0);
	}
	closedir(directory);
	return found;
}

/* Whether a configuration moves the data directory; Node reads it then, and says --dir when it comes back. An
 * ordinary user's data is moved by that user only. */
static _Bool paths_configured(void)
{
	char path[PATH_MAX] = "";
	struct text t = TEXT_IN(path);
	if (geteuid() == 0)
		return has_configuration("/etc/gantry/paths.d") || has_configuration("/usr/lib/gantry/paths.d");
	const char *own = user_directory("XDG_CONFIG_HOME", ".config");
	text_add(&t, own != NULL ? own : "");
	text_add(&t, "/paths.d");
	return own == NULL || has_configuration(path);
}

/* Where pods are unless the command line or a configuration says otherwise. */
static const char *default_data(void)
{
	return geteuid() == 0 ? "/var/lib/gantry" : user_directory("XDG_DATA_HOME", ".local/share");
}

/* The value of option `name` at word *at, as `--name=value` or in the next word; NULL when it is not this option. */
static const char *option(char **argv, size_t *at, const char *name)
{
	size_t length = strlen(name);
	if (strncmp(argv[*at], name, length) != 0)
		return NULL;
	if (argv[*at][length] == '=')
		return argv[*at] + length + 1;
	if (argv[*at][length] == '\0' && argv[*at + 1] != NULL)
		return argv[++*at];
	return NULL;
}

/* The same for an option whose value can only be given with `=`; "" without one. */
static const char *optional(const char *word, const char *name)
{
	size_t length = strlen(name);
	if (strncmp(word, name, length) != 0 || (word[length] != '\0' && word[length] != '='))
		return NULL;
	return word + length + (word[length] == '=');
}

static _Bool take_option(struct words *w, const char *verb, char **argv, size_t *at)
{
	const char *value;
	const _Bool enter = strcmp(verb, "enter") == 0, stop = strcmp(verb, "stop") == 0, status = strcmp(verb, "status") == 0;
	if ((value = option(argv, at, "--dir")) != NULL)
		w->data = value;
	else if (enter && (value = option(argv, at, "--app")) != NULL)
		w->app = value;
	else if (stop && strcmp(argv[*at], "--force") == 0)
		w->force = 1;
	else if ((stop || status) && (value = option(argv, at, "--uuid-file")) != NULL)
		w->uuid_file = value;
	else if (status && (value = option(argv, at, "--format")) != NULL)
		w->format = value;
	else if (status && (value = optional(argv[*at], "--wait")) != NULL)
		w->wait = value;
	else if (status && (value = optional(argv[*at], "--wait-ready")) != NULL)
		w->wait_ready = value;
	else
		return 0;
	return 1;
}

/* The verb, or NULL when Node must read these words: another verb, or an option not known here. */
static const char *read_words(struct words *w, char **argv)
{
	static const char *const verbs[] = {"run-prepared", "enter", "stop", "status"};
	const char *verb = NULL;
	for (size_t at = 1; argv[at] != NULL; at++) {
		if (argv[at][0] == '-') {
			if (!take_option(w, verb != NULL ? verb : "", argv, &at))
				return NULL;
		} else if (verb == NULL) {
			for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
				if (strcmp(argv[at], verbs[i]) == 0)
					verb = verbs[i];
			if (verb == NULL)
				return NULL;
		} else {
			w->operands[w->count++] = argv[at];
			if (strcmp(verb, "enter") != 0)
				continue;
			/* What follows the UUID is the command's. */
			at += argv[at + 1] != NULL && strcmp(argv[at + 1], "--") == 0;
			while (argv[at + 1] != NULL)
				w->operands[w->count++] = argv[++at];
		}
	}
	return verb;
}

/* --uuid-file stands for the one UUID. */
static _Bool read_uuid_file(struct words *w)
{
	static char uuid[128];
	if (w->uuid_file == NULL)
		return 1;
	if (w->count > 0 || read_small(w->uuid_file, uuid, sizeof uuid) < 0)
		return 0;
	char *from = uuid + strspn(uuid, " \t\r\n");
	from[strcspn(from, " \t\r\n")] = '\0';
	w->operands[w->count++] = from;
	return 1;
}

/* Waits, then has Node print, without the words that asked for the wait. */
static int status(const struct words *w, long long ready, long long ended)
{
	char directory[PATH_MAX + 8], format[64], *argv[4];
	struct text d = TEXT_IN(directory), f = TEXT_IN(format);
	size_t argc = 0;
	int code = wait_for_pod(w->data, w->operands[0], ready, ended);
	if (code != 0)
		return code;
	text_add(&d, "--dir=");
	text_add(&d, w->data);
	argv[argc++] = (char *)"status";
	argv[argc++] = directory;
	if (w->format != NULL) {
		text_add(&f, "--format=");
		text_add(&f, w->format);
		argv[argc++] = format;
	}
	argv[argc++] = w->operands[0];
	return become_node(argc, argv);
}

/* What lies in a data directory names programs that are run, as whoever uses it: so nobody uses another's, nor one
 * where others may have put them. */
static _Bool is_own(const char *data)
{
	struct stat st;
	if (stat(data, &st) < 0)
		return 1;
	if (st.st_uid != geteuid())
		complain("the data directory ", data, " belongs to another user: use it as that user, or choose one of your own with --dir");
	else if ((st.st_mode & S_IWOTH) != 0)
		complain("the data directory ", data, " can be written to by everybody: chmod o-w it, or choose another with --dir");
	else
		return 1;
	return 0;
}

/* The exit code, or -1 when Node has to see to it, if only to say what is wrong with the words. */
static int carry_out(const char *verb, struct words *w)
{
	if (!read_uuid_file(w) || w->count == 0)
		return -1;
	if (w->data == NULL) {
		w->data = paths_configured() ? NULL : default_data();
		if (w->data == NULL)
			return -1;
	}
	subcommand = verb;
	if (!is_own(w->data))
		return 254;
	if (strcmp(verb, "run-prepared") == 0) {
		if (w->count != 1)
			return -1;
		return geteuid() != 0 && enter_own_namespace() < 0 ? 254 : run_prepared(w->data, w->operands[0]);
	}
	if (strcmp(verb, "enter") == 0)
		return enter_pod(w->data, w->app, w->operands[0], w->operands + 1);
	if (strcmp(verb, "stop") == 0)
		return stop_pods(w->data, w->force, w->operands);
	long long ready = w->wait_ready != NULL ? parse_duration(w->wait_ready) : 0;
	long long ended = w->wait != NULL ? parse_duration(w->wait) : 0;
	if (w->count != 1 || ready < -1 || ended < -1 || (ready == 0 && ended == 0))
		return -1;
	return status(w, ready, ended);
}

/* Whether `word` is one of the NULL-terminated `words`. */
static _Bool is_one_of(const char *word, const char *const *words)
{
	while (*words != NULL && strcmp(word, *words) != 0)
		words++;
	return *words != NULL;
}

/* The command among the words; NULL where there is none. */
static const char *command_of(char **argv)
{
	static const char *const valued[] = {"--dir", "--insecure-options", "--local-config", "--system-config", "--user-config", NULL};
	for (; *argv != NULL; argv++) {
		if ((*argv)[0] != '-')
			return *argv;
		if (is_one_of(*argv, valued) && argv[1] != NULL)
			argv++;
	}
	return NULL;
}

/* Whether someone only wants to read how a command is used. */
static _Bool asks_for_help(char **argv)
{
	static const char *const help[] = {"--help", "-h", NULL};
	while (*argv != NULL && strcmp(*argv, "--") != 0 && !is_one_of(*argv, help))
		argv++;
	return *argv != NULL && strcmp(*argv, "--") != 0;
}

/* What an ordinary user's Node needs no namespace for: what touches no layer, and what looks at the processes of
 * pods, over which only who stands outside of their namespaces has power. */
static _Bool works_outside(char **words)
{
	static const char *const verbs[] = {"version", "help", "man",  "completion", "list",
					    "status",  "stop", "enter", "stage1",     NULL};
	const char *command = command_of(words);
	return command == NULL || is_one_of(command, verbs) || asks_for_help(words);
}

int main(int argc, char **argv)
{
	mend_inheritance();
	know_user();
	struct words w = {.operands = calloc((size_t)argc + 2, sizeof(char *))};
	const char *verb = w.operands != NULL && argc > 1 ? read_words(&w, argv) : NULL;
	int code = verb != NULL ? carry_out(verb, &w) : -1;
	free(w.operands);
	if (code >= 0)
		return code;
	subcommand = argc > 1 ? command_of(argv + 1) : NULL;
	if (geteuid() != 0 && !works_outside(argv + 1) && enter_own_namespace() < 0)
		return 254;
	subcommand = verb != NULL ? verb : "gantry";
	return become_node((size_t)argc - 1, argv + 1);
}
