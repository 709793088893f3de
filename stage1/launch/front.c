/*
 * gantry: the front. What needs no policy it does by itself; for everything else it becomes Node on
 * the bundle, with the words as they were given.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "duration.h"
#include "process.h"
#include "read.h"
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

/* Whether a configuration moves the data directory; Node reads it then, and says --dir when it comes back. */
static _Bool paths_configured(void)
{
	static const char *const directories[] = {"/etc/gantry/paths.d", "/usr/lib/gantry/paths.d"};
	_Bool found = 0;
	for (size_t i = 0; i < 2; i++) {
		DIR *directory = opendir(directories[i]);
		if (directory == NULL)
			continue;
		for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
			size_t length = strlen(entry->d_name);
			found = found || (length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0);
		}
		closedir(directory);
	}
	return found;
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

/* The exit code, or -1 when Node has to see to it, if only to say what is wrong with the words. */
static int carry_out(const char *verb, struct words *w)
{
	if (!read_uuid_file(w) || w->count == 0)
		return -1;
	if (w->data == NULL) {
		if (paths_configured())
			return -1;
		w->data = "/var/lib/gantry";
	}
	subcommand = verb;
	if (strcmp(verb, "run-prepared") == 0)
		return w->count == 1 ? run_prepared(w->data, w->operands[0]) : -1;
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

int main(int argc, char **argv)
{
	mend_inheritance();
	struct words w = {.operands = calloc((size_t)argc + 2, sizeof(char *))};
	const char *verb = w.operands != NULL && argc > 1 ? read_words(&w, argv) : NULL;
	int code = -1;
	if (verb != NULL && geteuid() == 0) /* Node says why not */
		code = carry_out(verb, &w);
	free(w.operands);
	if (code >= 0)
		return code;
	subcommand = verb != NULL ? verb : "gantry";
	return become_node((size_t)argc - 1, argv + 1);
}
