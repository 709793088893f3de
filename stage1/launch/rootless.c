#include "rootless.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pod.h"
#include "text.h"

/* The kernel takes 340 lines of a map (user_namespaces(7)); nobody has so many ranges. */
#define MOST_RANGES 32
/* (uid_t)-1 is nobody's id. */
#define LARGEST_ID 0xfffffffeULL

/* Ids of the host's, from `start` on. */
struct range {
	unsigned long long start, count;
};

/* One of the two maps: of users or of groups. */
struct map {
	const char *program, *file;
	unsigned long long self;
	struct range ranges[MOST_RANGES];
	size_t count;
};

static int refuse(const char *what, const char *why, const char *remedy)
{
	complain("cannot run as unprivileged user: ", what, why, remedy);
	return -1;
}

/* --- who the user is --------------------------------------------------------------------------- */

/* Fields `name` and `home` of the user's line in /etc/passwd (passwd(5)); 0 when there is none. This program is
 * linked statically, and so cannot ask other sources: their users are known by number, and by their HOME. */
static _Bool find_account(unsigned long long uid, char *name, char *home, size_t room)
{
	FILE *file = fopen("/etc/passwd", "re");
	char *line = NULL;
	size_t size = 0;
	_Bool found = 0;
	while (file != NULL && !found && getline(&line, &size, file) > 0) {
		char *rest = line, *fields[7];
		unsigned long long number;
		for (size_t i = 0; i < 7; i++)
			fields[i] = rest != NULL ? strsep(&rest, ":\n") : NULL;
		found = fields[5] != NULL && parse_number(fields[2], 10, LARGEST_ID, &number) && number == uid &&
			strlen(fields[0]) < room && strlen(fields[5]) < room;
		if (found) {
			memcpy(name, fields[0], strlen(fields[0]) + 1);
			memcpy(home, fields[5], strlen(fields[5]) + 1);
		}
	}
	free(line);
	if (file != NULL)
		fclose(file);
	return found;
}

void know_user(void)
{
	char number[24] = "", name[PATH_MAX], home[PATH_MAX];
	struct text t = TEXT_IN(number);
	unsetenv("GANTRY_USER");
	if (geteuid() == 0)
		return;
	text_number(&t, geteuid(), 0, ' ');
	setenv("GANTRY_USER", number, 1);
	if (getenv("HOME") == NULL && find_account(geteuid(), name, home, sizeof home))
		setenv("HOME", home, 1);
}

const char *user_directory(const char *variable, const char *fallback)
{
	static char path[PATH_MAX];
	struct text t = TEXT_IN(path);
	const char *base = getenv(variable);
	/* XDG Base Directory Specification: a relative path is invalid, and to be ignored. */
	_Bool told = base != NULL && base[0] == '/';
	if (!told)
		base = getenv("HOME");
	if (base == NULL || base[0] != '/')
		return NULL;
	path[0] = '\0';
	text_add(&t, base);
	if (!told) {
		text_add(&t, "/");
		text_add(&t, fallback);
	}
	text_add(&t, "/gantry");
	return path;
}

/* --- the user's subordinate ids ---------------------------------------------------------------- */

static _Bool overlaps(const struct map *map, const struct range *range)
{
	if (map->self >= range->start && map->self - range->start < range->count)
		return 1;
	for (size_t i = 0; i < map->count; i++) {
		const struct range *other = &map->ranges[i];
		if (range->start < other->start + other->count && other->start < range->start + range->count)
			return 1;
	}
	return 0;
}

/* The lines `NAME:START:COUNT` (subuid(5)) of the user's name or number. What is there twice the kernel would refuse. */
static void read_ranges(struct map *map, const char *name, const char *number)
{
	FILE *file = fopen(map->file, "re");
	char *line = NULL;
	size_t size = 0;
	while (file != NULL && map->count < MOST_RANGES && getline(&line, &size, file) > 0) {
		struct range range;
		char *rest = line;
		const char *owner = strsep(&rest, ":\n"), *start = rest != NULL ? strsep(&rest, ":\n") : NULL,
			   *count = rest != NULL ? strsep(&rest, ":\n") : NULL;
		if (count == NULL || (strcmp(owner, name) != 0 && strcmp(owner, number) != 0))
			continue;
		if (parse_number(start, 10, LARGEST_ID, &range.start) && range.start > 0 &&
		    parse_number(count, 10, LARGEST_ID - range.start, &range.count) && range.count > 0 &&
		    !overlaps(map, &range))
			map->ranges[map->count++] = range;
	}
	free(line);
	if (file != NULL)
		fclose(file);
}

/* newuidmap and newgidmap give what those files grant: where the distributions have them, and nobody but root can
 * have put something else in their place. */
static const char *find_program(const char *name, char path[PATH_MAX])
{
	static const char *const directories[] = {"/usr/bin/", "/bin/", "/run/wrappers/bin/"};
	for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
		struct text t = {.data = path, .room = PATH_MAX};
		struct stat st;
		path[0] = '\0';
		text_add(&t, directories[i]);
		text_add(&t, name);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 && (st.st_mode & 022) == 0)
			return path;
	}
	return NULL;
}

/* Becomes newuidmap PID 0 SELF 1 1 START COUNT …, or newgidmap. */
static void become_mapper(const struct map *map, pid_t process)
{
	static char *nothing[] = {NULL};
	char path[PATH_MAX], numbers[5 + 3 * MOST_RANGES][24], *argv[sizeof numbers / sizeof *numbers + 2];
	unsigned long long values[sizeof numbers / sizeof *numbers] = {(unsigned long long)process, 0, map->self, 1}, inside = 1;
	size_t count = 4;
	for (size_t i = 0; i < map->count; i++) {
		values[count++] = inside;
		values[count++] = map->ranges[i].start;
		values[count++] = map->ranges[i].count;
		inside += map->ranges[i].count;
	}
	argv[0] = (char *)map->program;
	for (size_t i = 0; i < count; i++) {
		struct text t = TEXT_IN(numbers[i]);
		numbers[i][0] = '\0';
		text_number(&t, (long long)values[i], 0, ' ');
		argv[i + 1] = numbers[i];
	}
	argv[count + 1] = NULL;
	const char *program = find_program(map->program, path);
	if (program != NULL)
		execve(program, argv, nothing);
}

/* --- the namespace ----------------------------------------------------------------------------- */

/* Runs one of the two programs to its end; what it has to say goes to `says`. */
static _Bool write_map(const struct map *map, pid_t process, int says)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		int null = open("/dev/null", O_RDWR);
		if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(says, STDOUT_FILENO) >= 0 && dup2(says, STDERR_FILENO) >= 0 &&
		    close_range(3, ~0U, 0) == 0)
			become_mapper(map, process);
		_exit(127);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 0;
	return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* In a child that stays in the host's user namespace, where those programs have their power: waits for the word
 * that the parent is in its new one; the end of the pipe, should the parent die, is none. */
static int write_maps(const struct map maps[2], pid_t parent, int go, int says)
{
	char word;
	if (read(go, &word, 1) != 1)
		return 254;
	return write_map(&maps[0], parent, says) && write_map(&maps[1], parent, says) ? 0 : 254;
}

/* What the programs said, as far as it is one line. */
static void listen_to(int says, char *line, size_t room)
{
	size_t length = 0;
	ssize_t n;
	while (length < room - 1 && ((n = read(says, line + length, room - 1 - length)) > 0 || (n < 0 && errno == EINTR)))
		length += n > 0 ? (size_t)n : 0;
	line[length] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

static int refuse_maps(const char *said)
{
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return refuse("newuidmap", ": this process may gain no privileges (no_new_privs)",
			      ": start it without (NoNewPrivileges=no in a unit, setpriv without --no-new-privs)");
	char plain[160] = "";
	struct text t = TEXT_IN(plain);
	text_add_plain(&t, said[0] != '\0' ? said : "newuidmap: it failed");
	return refuse(plain, "",
		      strstr(said, "not permitted") != NULL
			      ? ": newuidmap and newgidmap must be set-user-ID, or have file capabilities, on a mount without nosuid"
			      : ": newuidmap(1) and /etc/subuid say what it asks for");
}

static int refuse_namespace(int number)
{
	return refuse("no user namespace can be made: ", error_text(number),
		      number == ENOSPC ? ": raise the sysctl user.max_user_namespaces" : ": ask the administrator whether this host forbids them");
}

/* Unshares, while `helper` waits at `go`. */
static int unshare_users(int go)
{
	if (unshare(CLONE_NEWUSER) < 0)
		return refuse_namespace(errno);
	return write(go, "", 1) == 1 ? 0 : refuse_namespace(errno);
}

static int enter_mapped(const struct map maps[2])
{
	char said[512] = "";
	int go[2], says[2], status = 0;
	pid_t self = getpid();
	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(says, O_CLOEXEC) < 0)
		return refuse_namespace(errno);
	pid_t helper = fork();
	if (helper == 0) {
		close(go[1]);
		close(says[0]);
		_exit(write_maps(maps, self, go[0], says[1]));
	}
	close(go[0]);
	close(says[1]);
	int result = helper > 0 ? unshare_users(go[1]) : refuse_namespace(errno);
	close(go[1]);
	listen_to(says[0], said, sizeof said);
	close(says[0]);
	while (helper > 0 && waitpid(helper, &status, 0) < 0 && errno == EINTR)
		;
	if (result < 0)
		return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : refuse_maps(said);
}

static int own_mounts(void)
{
	if (unshare(CLONE_NEWNS) == 0)
		return 0;
	return refuse("no mount namespace: ", error_text(errno),
		      ": a security module withholds what user namespaces give (on Ubuntu the sysctl kernel.apparmor_restrict_unprivileged_userns=0 lets it go)");
}

int enter_own_namespace(void)
{
	char path[PATH_MAX], number[24] = "", name[PATH_MAX] = "", home[PATH_MAX];
	struct map maps[] = {{.program = "newuidmap", .file = "/etc/subuid", .self = geteuid()},
			     {.program = "newgidmap", .file = "/etc/subgid", .self = getegid()}};
	struct text t = TEXT_IN(number);
	text_number(&t, geteuid(), 0, ' ');
	if (!find_account(geteuid(), name, home, sizeof home))
		memcpy(name, number, sizeof number);
	for (size_t i = 0; i < 2; i++) {
		char remedy[256] = "";
		struct text r = TEXT_IN(remedy);
		read_ranges(&maps[i], name, number);
		text_add(&r, " has no ids for you: as root run usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ");
		text_add_plain(&r, name);
		if (find_program(maps[i].program, path) == NULL)
			return refuse(maps[i].program, " is missing", ": as root install the package uidmap (shadow-utils)");
		if (maps[i].count == 0)
			return refuse(maps[i].file, remedy, " (other numbers where these are somebody's)");
	}
	return enter_mapped(maps) < 0 ? -1 : own_mounts();
}

int join_namespace_of_pod(void)
{
	struct running_pod pod;
	if (require_pod(&pod) < 0)
		return -1;
	/* Its owner has every capability in it, from outside; from inside a namespace beside it, none (user_namespaces(7)). */
	if (setns(pod.supervisor, CLONE_NEWUSER) < 0) {
		complain("user namespace of the pod: ", error_text(errno));
		return -1;
	}
	close(pod.supervisor);
	close(pod.init);
	return own_mounts();
}
