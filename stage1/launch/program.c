#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "filter.h"
#include "path.h"

/* Where NAME=… of the environment is, or its end. */
static size_t find(const struct launch *launch, const char *name)
{
	size_t length = strlen(name), i = 0;
	while (i < launch->variables && !(strncmp(launch->environment[i], name, length) == 0 &&
					  launch->environment[i][length] == '='))
		i++;
	return i;
}

int perform_env(struct launch *launch, const struct step *step)
{
	const char *name = step->argv[0], *value = step->argv[1];
	size_t at = find(launch, name), name_length = strlen(name), value_length = strlen(value);
	char *entry = malloc(name_length + value_length + 2);
	char **grown = realloc(launch->environment, (launch->variables + 2) * sizeof *grown);
	if (grown != NULL)
		launch->environment = grown;
	if (entry == NULL || grown == NULL) {
		free(entry);
		return -ENOMEM;
	}
	memcpy(entry, name, name_length);
	entry[name_length] = '=';
	memcpy(entry + name_length + 1, value, value_length + 1);
	if (at == launch->variables)
		grown[++launch->variables] = NULL;
	else
		free(grown[at]);
	grown[at] = entry;
	return 0;
}

const char *variable(const struct launch *launch, const char *name)
{
	size_t at = find(launch, name);
	return at < launch->variables ? launch->environment[at] + strlen(name) + 1 : NULL;
}

int perform_chdir(struct launch *launch, const struct step *step)
{
	(void)launch;
	int directory = open_path(step->argv[0], O_DIRECTORY);
	if (directory < 0)
		return directory;
	int status = fchdir(directory) < 0 ? -errno : 0;
	close(directory);
	return status;
}

int become_program(struct launch *launch, const struct step *exec)
{
	static char *none[] = {NULL};
	/* Whatever a caller left open beyond the standard streams ends here (CVE-2024-21626). */
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	int status = load_filter(launch);
	if (status < 0)
		return status;
	execve(exec->argv[0], exec->argv + 1, launch->environment != NULL ? launch->environment : none);
	return -errno;
}
