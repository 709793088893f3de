#include "pods.h"

#include <ctype.h>
#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

static const char *const phases[PHASE_NONE] = {"prepare", "prepared", "run", "exited-garbage"};

int pod_path(char path[PATH_MAX], const char *data, enum pod_phase phase, const char *uuid)
{
	struct text t = {.data = path, .room = PATH_MAX};
	path[0] = '\0';
	text_add(&t, data);
	text_add(&t, "/pods/");
	text_add(&t, phases[phase]);
	if (uuid != NULL) {
		text_add(&t, "/");
		text_add(&t, uuid);
	}
	return t.length < PATH_MAX - 1 ? 0 : -1;
}

/* 8-4-4-4-12 lower-case hexadecimal digits. */
static _Bool is_uuid(const char *name)
{
	size_t i = 0;
	for (; i < UUID_LENGTH && name[i] != '\0'; i++) {
		_Bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
		if (hyphen ? name[i] != '-' : strchr("0123456789abcdef", name[i]) == NULL)
			return 0;
	}
	return i == UUID_LENGTH && name[i] == '\0';
}

void locate_pod(const char *data, struct named_pod *pod)
{
	/* It only ever moves forward, but may do so while we look: look twice. */
	for (int look = 0; look < 2; look++)
		for (int phase = 0; phase < PHASE_NONE; phase++)
			if (pod_path(pod->path, data, (enum pod_phase)phase, pod->uuid) == 0 && access(pod->path, F_OK) == 0) {
				pod->phase = (enum pod_phase)phase;
				return;
			}
	pod->phase = PHASE_NONE;
}

/* Counts the distinct UUIDs of one phase that begin with `prefix`; the last goes to pod->uuid. */
static long long match_phase(const char *data, enum pod_phase phase, const char *prefix, struct named_pod *pod)
{
	char path[PATH_MAX];
	long long matches = 0;
	DIR *directory = pod_path(path, data, phase, NULL) == 0 ? opendir(path) : NULL;
	if (directory == NULL)
		return 0;
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (is_uuid(entry->d_name) && strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
		    strcmp(entry->d_name, pod->uuid) != 0) { /* moved on while we look: the same pod */
			memcpy(pod->uuid, entry->d_name, sizeof pod->uuid);
			matches++;
		}
	closedir(directory);
	return matches;
}

const char *find_named_pod(const char *data, const char *prefix, struct named_pod *pod)
{
	static char why[256];
	char lower[UUID_LENGTH + 2] = "";
	long long matches = 0;
	struct text t = TEXT_IN(why);

	for (size_t i = 0; i < sizeof lower - 1 && prefix[i] != '\0'; i++)
		lower[i] = (char)tolower((unsigned char)prefix[i]);
	if (lower[0] == '\0')
		return "UUID cannot be empty";
	memset(pod, 0, sizeof *pod);
	for (int phase = 0; phase < PHASE_NONE; phase++)
		matches += match_phase(data, (enum pod_phase)phase, lower, pod);
	if (matches == 1)
		locate_pod(data, pod);
	if (matches == 1 && pod->phase != PHASE_NONE)
		return NULL;
	if (matches > 1) {
		text_add(&t, "ambiguous uuid, ");
		text_number(&t, matches, 0, ' ');
		text_add(&t, " matches for \"");
	} else {
		text_add(&t, "no matches found for \"");
	}
	text_add_plain(&t, prefix);
	text_add(&t, matches > 1 ? "\": give more of its characters" : "\": gantry list shows the pods");
	return why;
}
