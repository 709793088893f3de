#include "entry.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>

#include "read.h"
#include "text.h"

/* What follows `NAME ` on a line of its own; NULL when there is no such line. Cuts `lines` at its end. */
static const char *program_of(char *lines, const char *name)
{
	size_t length = strlen(name);
	for (char *line = lines, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
		if (strncmp(line, name, length) == 0 && line[length] == ' ') {
			*end = '\0';
			return line + length + 1;
		}
	return NULL;
}

const char *entry_point(const char *name)
{
	static char path[PATH_MAX];
	char lines[4096];
	struct text t = TEXT_IN(path);
	const char *program = name;
	/* A pod that was prepared before there was this file has the native stage1, whose programs are called so. */
	if (read_small("entrypoints", lines, sizeof lines) >= 0)
		program = program_of(lines, name);
	else if (errno != ENOENT)
		return NULL;
	if (program == NULL)
		return NULL;
	path[0] = '\0';
	text_add(&t, "stage1/");
	text_add(&t, program);
	return path;
}
