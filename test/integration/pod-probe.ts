import { buildProgram } from '../support/program.ts';

/**
 * The program the pods of these tests run: it says what an app finds around it. Its arguments are
 * commands, carried out in order; `exit N` ends it.
 */
const SOURCE = String.raw`
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void cat(const char *path)
{
	char line[4096];
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		printf("cat %s: %s\n", path, strerror(errno));
		return;
	}
	while (fgets(line, sizeof line, file) != NULL)
		fputs(line, stdout);
	fclose(file);
}

static void list(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	if (directory == NULL) {
		printf("ls %s: %s\n", path, strerror(errno));
		return;
	}
	while ((entry = readdir(directory)) != NULL)
		if (entry->d_name[0] != '.')
			printf("ls %s: %s\n", path, entry->d_name);
	closedir(directory);
}

static void stat_path(const char *path)
{
	struct stat s;
	if (lstat(path, &s) < 0)
		printf("stat %s: %s\n", path, strerror(errno));
	else
		printf("stat %s: %o %u:%u\n", path, s.st_mode, s.st_uid, s.st_gid);
}

static void link_of(const char *path)
{
	char target[4096];
	ssize_t length = readlink(path, target, sizeof target - 1);
	if (length < 0)
		printf("link %s: %s\n", path, strerror(errno));
	else
		printf("link %s: %.*s\n", path, (int)length, target);
}

static void try_open(const char *path, int flags, const char *what)
{
	int fd = open(path, flags, 0644);
	printf("%s %s: %s\n", what, path, fd < 0 ? strerror(errno) : "ok");
	if (fd >= 0)
		close(fd);
}

/* Makes a node for the memory device and opens it. */
static void try_node(const char *path)
{
	if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) < 0)
		printf("node %s: mknod: %s\n", path, strerror(errno));
	else
		try_open(path, O_RDWR, "node");
}

static void identity(void)
{
	gid_t groups[64];
	int count = getgroups(64, groups);
	printf("id %u:%u", getuid(), getgid());
	for (int i = 0; i < count; i++)
		printf(",%u", groups[i]);
	printf("\n");
}

/* Each of the ways to make a user namespace, in a child of its own. */
static void user_namespaces(void)
{
	pid_t child = fork();
	if (child == 0) {
		printf("unshare: %s\n", unshare(CLONE_NEWUSER) < 0 ? strerror(errno) : "ok");
		exit(0);
	}
	waitpid(child, NULL, 0);
	child = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		_exit(0);
	printf("clone: %s\n", child < 0 ? strerror(errno) : "ok");
	printf("clone3: %s\n", syscall(SYS_clone3, NULL, 0) < 0 ? strerror(errno) : "ok");
}

/* Waits for a file, half a second at most. */
static void await_file(const char *path)
{
	struct stat s;
	int tries = 50;
	while (stat(path, &s) < 0 && --tries > 0)
		usleep(10000);
	printf("await %s: %s\n", path, tries > 0 ? "ok" : "no");
}

static void end(int number)
{
	(void)number;
	_exit(7);
}

static void environment(void)
{
	for (char **entry = environ; *entry != NULL; entry++)
		printf("env %s\n", *entry);
}

int main(int argc, char **argv)
{
	char directory[4096];
	struct utsname names;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		const char *command = argv[i];
		const char *argument = i + 1 < argc ? argv[i + 1] : "";
		if (strcmp(command, "env") == 0) {
			environment();
			continue;
		} else if (strcmp(command, "id") == 0) {
			identity();
			continue;
		} else if (strcmp(command, "user-namespaces") == 0) {
			user_namespaces();
			continue;
		} else if (strcmp(command, "pwd") == 0) {
			printf("pwd %s\n", getcwd(directory, sizeof directory));
			continue;
		} else if (strcmp(command, "uname") == 0) {
			uname(&names);
			printf("uname %s\n", names.nodename);
			continue;
		} else if (strcmp(command, "args") == 0) {
			for (int a = 0; a < argc; a++)
				printf("arg %d %s\n", a, argv[a]);
			return 0;
		}
		i++;
		if (strcmp(command, "cat") == 0)
			cat(argument);
		else if (strcmp(command, "ls") == 0)
			list(argument);
		else if (strcmp(command, "stat") == 0)
			stat_path(argument);
		else if (strcmp(command, "link") == 0)
			link_of(argument);
		else if (strcmp(command, "read") == 0)
			try_open(argument, O_RDONLY, "read");
		else if (strcmp(command, "write") == 0)
			try_open(argument, O_WRONLY | O_CREAT, "write");
		else if (strcmp(command, "node") == 0)
			try_node(argument);
		else if (strcmp(command, "unlink") == 0)
			printf("unlink %s: %s\n", argument, unlink(argument) < 0 ? strerror(errno) : "ok");
		else if (strcmp(command, "echo") == 0)
			printf("%s\n", argument);
		else if (strcmp(command, "await") == 0)
			await_file(argument);
		else if (strcmp(command, "mount") == 0)
			printf("mount %s: %s\n", argument, mount("probe", argument, "tmpfs", 0, NULL) < 0 ? strerror(errno) : "ok");
		else if (strcmp(command, "sleep") == 0)
			sleep((unsigned)atoi(argument));
		else if (strcmp(command, "kill") == 0)
			kill(getpid(), atoi(argument));
		else if (strcmp(command, "trap") == 0)
			signal(atoi(argument), end);
		else if (strcmp(command, "exit") == 0)
			return atoi(argument);
	}
	return 0;
}
`;

/** The path of the compiled program, static. */
export function buildProbe(): string {
  return buildProgram(SOURCE);
}
