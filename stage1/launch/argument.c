#include "argument.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "credentials.h"
#include "device-filter.h"
#include "filter.h"
#include "mount.h"
#include "plan.h"
#include "silence.h"
#include "text.h"

unsigned long long namespace_flag(const char *kind)
{
	static const struct {
		const char *kind;
		unsigned long long flag;
	} kinds[] = {{"pid", CLONE_NEWPID}, {"mount", CLONE_NEWNS}, {"ipc", CLONE_NEWIPC},
		     {"uts", CLONE_NEWUTS}, {"net", CLONE_NEWNET}, {"user", CLONE_NEWUSER}};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kind, kinds[i].kind) == 0)
			return kinds[i].flag;
	return 0;
}

/* An AC Name; it becomes a path component and part of every line of output. */
static _Bool app_name_ok(const char *name)
{
	size_t length = strlen(name);
	return length > 0 && length <= 128 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length &&
	       name[0] != '-' && name[length - 1] != '-';
}

static _Bool path_ok(const char *path)
{
	return *path != '\0' && strlen(path) < PATH_MAX;
}

_Bool argument_ok(char kind, const char *word)
{
	unsigned long long number;
	switch (kind) {
	case 't':
		return 1;
	case 'p':
		return path_ok(word);
	case 'A':
		return path_ok(word) && word[0] == '/';
	case 'D':
		return device_rule_ok(word);
	case 'F':
		return *word != '\0' && *word != '.' && strchr(word, '/') == NULL && strlen(word) <= NAME_MAX;
	case 'O':
		return strcmp(word, "optional") == 0;
	case 'n': /* -1 means "unchanged" to the calls that take user ids */
		return parse_number(word, 10, UINT32_MAX - 1, &number);
	case 'm':
		return parse_number(word, 8, 07777, &number);
	case 's':
		return parse_number(word, 10, MAX_SLOTS - 1, &number);
	case 'S':
		return parse_number(word, 10, (unsigned long long)SIGRTMAX, &number) && number > 0;
	case 'f':
		return mount_flags_ok(word);
	case 'r':
		return strcmp(word, "recursive") == 0;
	case 'k':
		return namespace_flag(word) != 0;
	case 'o':
		return strcmp(word, "lines") == 0 || strcmp(word, "terminal") == 0 || strcmp(word, "raw") == 0;
	case 'd':
		return strcmp(word, "char") == 0 || strcmp(word, "block") == 0;
	case 'c':
		return capability_number(word) >= 0;
	case 'l':
		return rlimit_number(word) >= 0;
	case 'v':
		return strcmp(word, "unlimited") == 0 || parse_number(word, 10, UINT64_MAX - 1, &number);
	case 'z':
		return parse_number(word + (*word == '-'), 10, 1000, &number);
	case 'L':
		return strcmp(word, "selinux") == 0 || strcmp(word, "apparmor") == 0;
	case 'e':
		return *word != '\0' && strchr(word, '=') == NULL;
	case 'i':
		return stream_number(word) >= 0;
	case 'M':
		return strcmp(word, "mount") == 0;
	case 'b':
		return filter_ok(word);
	case 'N':
		return app_name_ok(word);
	default:
		return 0;
	}
}
