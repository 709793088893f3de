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
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
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

/* Makes a node at "PATH=KIND:MAJOR:MINOR", and opens it for reading and for writing. */
static void try_device(const char *wish)
{
	char path[4096], kind;
	unsigned device_major, device_minor;
	if (sscanf(wish, "%4095[^=]=%c:%u:%u", path, &kind, &device_major, &device_minor) != 4)
		return;
	unlink(path);
	if (mknod(path, (kind == 'b' ? S_IFBLK : S_IFCHR) | 0600, makedev(device_major, device_minor)) < 0) {
		printf("mknod %s: %s\n", wish, strerror(errno));
		return;
	}
	try_open(path, O_RDONLY | O_NONBLOCK, "read");
	try_open(path, O_WRONLY | O_NONBLOCK, "write");
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

/* NUMBER[:FIRST]: a system call, by the machine's own table, or by that of its 32-bit programs. */
static void try_call(const char *what, const char *words, int narrow)
{
	char *end;
	long number = strtol(words, &end, 0), result;
	unsigned long first = *end == ':' ? strtoul(end + 1, NULL, 0) : 0;
	if (narrow) {
#ifdef __x86_64__
		__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(0L), "d"(0L) : "memory", "r8", "r9", "r10", "r11");
#else
		result = -ENOSYS;
#endif
		errno = (int)-result;
	} else {
		result = syscall(number, first, 0, 0, 0, 0);
	}
	printf("%s %s: %s\n", what, words, result < 0 ? strerror(errno) : "ok");
}

static void told(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerror(errno) : "ok");
}

/* What only root of the host may do, whatever an app may do. */
static void powers(void)
{
	struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY}, devices = {.attr_clr = MOUNT_ATTR_NODEV};
	struct timeval now = {.tv_sec = 1};
	umount2("/proc/kcore", 0);
	try_open("/proc/kcore", O_RDONLY, "read");
	umount2("/proc/sys", 0);
	try_open("/proc/sys/kernel/core_pattern", O_WRONLY, "write");
	try_open("/proc/sysrq-trigger", O_WRONLY, "write");
	told("settimeofday", settimeofday(&now, NULL));
	told("init_module", syscall(SYS_init_module, "", 0, ""));
	told("mknod", mknod("/disk", S_IFBLK | 0600, makedev(7, 0)));
	told("mount ext4", mount("/dev/null", "/sys", "ext4", 0, NULL));
	told("devices of /", mount_setattr(AT_FDCWD, "/", 0, &devices, sizeof devices));
	told("writable /ro", mount_setattr(AT_FDCWD, "/ro", 0, &writable, sizeof writable));
	told("remount /ro", mount(NULL, "/ro", NULL, MS_REMOUNT | MS_BIND, NULL));
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

/* How many files this process may have open. */
static void open_files(void)
{
	int last = -1, fd;
	while ((fd = open("/", O_RDONLY)) >= 0)
		last = fd;
	printf("files %d: %s\n", last + 1, strerror(errno));
	for (fd = 3; fd <= last; fd++)
		close(fd);
}

/* A child writes so many bytes to a file, which is there already. */
static void grow(int size)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		char bytes[4096] = "";
		int file = open("/tmp-file", O_WRONLY | O_CREAT | O_TRUNC, 0644);
		while (size > 0 && write(file, bytes, sizeof bytes) > 0)
			size -= (int)sizeof bytes;
		_exit(size > 0);
	}
	waitpid(child, &status, 0);
	printf("grow: %s\n", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : WEXITSTATUS(status) ? "no" : "ok");
}

/* A child crashes. */
static void crash(void)
{
	int status;
	pid_t child = fork();
	if (child == 0)
		abort();
	waitpid(child, &status, 0);
	printf("crash: %s\n", WCOREDUMP(status) ? "core" : "no core");
}

static void end(int number)
{
	(void)number;
	_exit(7);
}

/* Takes that many MiB, and writes to all of it. */
static void hold(size_t mib)
{
	for (size_t i = 0; i < mib; i++) {
		char *taken = malloc(1 << 20);
		if (taken == NULL) {
			printf("hold: %s\n", strerror(errno));
			return;
		}
		memset(taken, (int)i + 1, 1 << 20);
	}
	printf("hold %zu: ok\n", mib);
}

/* Has that many children at the same time, or as many as it may. */
static void forks(int wanted)
{
	pid_t children[1024];
	int got = 0, error = 0;
	while (got < wanted && got < 1024 && error == 0) {
		pid_t child = fork();
		if (child == 0) {
			pause();
			_exit(0);
		}
		if (child < 0)
			error = errno;
		else
			children[got++] = child;
	}
	printf("forks %d: %s\n", got, error != 0 ? strerror(error) : "ok");
	for (int i = 0; i < got; i++)
		kill(children[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

static long long nanoseconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Computes for that many milliseconds, and says how many of a processor's it got. */
static void spin(int milliseconds)
{
	long long end = nanoseconds(CLOCK_MONOTONIC) + milliseconds * 1000000LL, used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
	while (nanoseconds(CLOCK_MONOTONIC) < end)
		;
	printf("spin %lld\n", (nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - used) / 1000000);
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
		} else if (strcmp(command, "open-files") == 0) {
			open_files();
			continue;
		} else if (strcmp(command, "crash") == 0) {
			crash();
			continue;
		} else if (strcmp(command, "powers") == 0) {
			powers();
			continue;
		} else if (strcmp(command, "effective") == 0) {
			printf("effective %u:%u\n", geteuid(), getegid());
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
		else if (strcmp(command, "device") == 0)
			try_device(argument);
		else if (strcmp(command, "unlink") == 0)
			printf("unlink %s: %s\n", argument, unlink(argument) < 0 ? strerror(errno) : "ok");
		else if (strcmp(command, "echo") == 0)
			printf("%s\n", argument);
		else if (strcmp(command, "await") == 0)
			await_file(argument);
		else if (strcmp(command, "call") == 0)
			try_call("call", argument, 0);
		else if (strcmp(command, "call32") == 0)
			try_call("call32", argument, 1);
		else if (strcmp(command, "mount") == 0)
			printf("mount %s: %s\n", argument, mount("probe", argument, "tmpfs", 0, NULL) < 0 ? strerror(errno) : "ok");
		else if (strcmp(command, "grow") == 0)
			grow(atoi(argument));
		else if (strcmp(command, "sleep") == 0)
			sleep((unsigned)atoi(argument));
		else if (strcmp(command, "hold") == 0)
			hold((size_t)atoi(argument));
		else if (strcmp(command, "forks") == 0)
			forks(atoi(argument));
		else if (strcmp(command, "spin") == 0)
			spin(atoi(argument));
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
