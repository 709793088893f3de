/* The program the launcher's tests run inside pods: each argument is one thing to do, in order. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;

static void on_signal(int number)
{
	printf("got %s\n", strsignal(number));
	fflush(stdout);
	if (number == SIGTERM)
		_exit(42);
}

static void print_file(const char *path)
{
	char line[4096];
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		printf("%s: %s\n", path, strerror(errno));
		return;
	}
	while (fgets(line, sizeof line, file) != NULL)
		fputs(line, stdout);
	fclose(file);
}

static void print_terminal(void)
{
	struct winsize size;
	printf("tty=%s stdout=%d session=%d foreground=%d\n", ttyname(0), isatty(1), getsid(0) == getpid(),
	       tcgetpgrp(0) == getpgrp());
	if (ioctl(0, TIOCGWINSZ, &size) == 0)
		printf("size=%dx%d\n", size.ws_col, size.ws_row);
}

static void print_input(void)
{
	char line[256];
	while (fgets(line, sizeof line, stdin) != NULL)
		printf("read %zu: %s", strlen(line), line);
	printf("end of input\n");
}

static void write_long(long count)
{
	for (long i = 0; i < count; i++)
		putchar('a' + (int)(i % 26));
}

static void make_orphans(long count)
{
	for (long i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0) {
			if (fork() == 0) {
				usleep(20000);
				_exit(0);
			}
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
}

/* Orphans that do not end by themselves. */
static void make_litter(long count)
{
	for (long i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0) {
			if (fork() == 0)
				pause();
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
}

static void orphan_that_stays(void)
{
	if (fork() == 0) {
		signal(SIGTERM, SIG_IGN);
		setsid();
		for (;;)
			pause();
	}
}

/* `count` processes below each other, each a session of its own, that do not want to end. */
static void make_brood(long count)
{
	for (; count > 0 && fork() == 0; count--) {
		setsid();
		signal(SIGTERM, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		if (count == 1)
			pause();
	}
}

/* A process that is another one each time somebody looks. */
static void flee(void)
{
	if (fork() != 0)
		return;
	for (;;) {
		setsid();
		if (fork() > 0)
			_exit(0);
	}
}

static void print_directory_entries(const char *path)
{
	char command[256];
	struct stat st;
	snprintf(command, sizeof command, "%s", path);
	if (lstat(command, &st) < 0)
		printf("%s: %s\n", path, strerror(errno));
	else
		printf("%s: mode=%o uid=%d gid=%d rdev=%lx size=%ld\n", path, st.st_mode, st.st_uid, st.st_gid,
		       (unsigned long)st.st_rdev, (long)st.st_size);
}

/* Which of its turns this is, as the file tells, from 0. */
static void count_turn(const char *path)
{
	FILE *file = fopen(path, "a");
	fseek(file, 0, SEEK_END);
	printf("turn %ld\n", ftell(file));
	fputc('x', file);
	fclose(file);
}

static void print_descriptors(void)
{
	for (int fd = 0; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("fd %d\n", fd);
}

static void print_input_device(void)
{
	struct stat st;
	fstat(0, &st);
	printf("input %lu:%lu null=%d\n", (unsigned long)st.st_dev, (unsigned long)st.st_ino,
	       S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static void print_keyring(void)
{
	printf("keyring %ld\n", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
}

static void print_ignored(void)
{
	struct sigaction action;
	for (int number = 1; number < 32; number++)
		if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
			printf("signal %d is not default\n", number);
}

static void try(const char *what, int failed)
{
	printf("%s: %s\n", what, failed ? strerror(errno) : "ok");
}

static int put(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);
	ssize_t n = write(file, text, strlen(text));
	close(file);
	return n < 0;
}

/* As any user may where nothing forbids it: mounts of its own, in which /bin has what it likes. */
static void usurp(void)
{
	char users[64], groups[64], copy[65536];
	int self = open("/proc/self/exe", O_RDONLY);
	snprintf(users, sizeof users, "0 %d 1", getuid());
	snprintf(groups, sizeof groups, "0 %d 1", getgid());
	int failed = unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || put("/proc/self/setgroups", "deny") ||
		     put("/proc/self/uid_map", users) || put("/proc/self/gid_map", groups) ||
		     mount("none", "/bin", "tmpfs", 0, NULL) < 0;
	int evil = open("/bin/probe", O_WRONLY | O_CREAT, 0755);
	for (ssize_t n; !failed && (n = read(self, copy, sizeof copy)) > 0;)
		failed = write(evil, copy, (size_t)n) != n;
	close(evil);
	try("usurp", failed);
}

static void act(const char *word, const char *value)
{
	long number = atol(value);
	if (strcmp(word, "say") == 0)
		printf("%s\n", value);
	else if (strcmp(word, "say-part") == 0)
		printf("%s", value);
	else if (strcmp(word, "complain") == 0)
		fprintf(stderr, "%s\n", value);
	else if (strcmp(word, "cat") == 0)
		print_file(value);
	else if (strcmp(word, "stat") == 0)
		print_directory_entries(value);
	else if (strcmp(word, "count") == 0)
		count_turn(value);
	else if (strcmp(word, "exit") == 0)
		exit((int)number);
	else if (strcmp(word, "raise") == 0)
		raise((int)number);
	else if (strcmp(word, "kill") == 0)
		try("kill", kill((pid_t)number, SIGTERM) < 0);
	else if (strcmp(word, "catch") == 0)
		signal((int)number, on_signal);
	else if (strcmp(word, "ignore") == 0)
		signal((int)number, SIG_IGN);
	else if (strcmp(word, "sleep") == 0)
		usleep((useconds_t)number * 1000);
	else if (strcmp(word, "wait") == 0)
		for (;;)
			pause();
	else if (strcmp(word, "terminal") == 0)
		print_terminal();
	else if (strcmp(word, "input") == 0)
		print_input();
	else if (strcmp(word, "long") == 0)
		write_long(number);
	else if (strcmp(word, "orphans") == 0)
		make_orphans(number);
	else if (strcmp(word, "usurp") == 0)
		usurp();
	else if (strcmp(word, "litter") == 0)
		make_litter(number);
	else if (strcmp(word, "groups") == 0)
		printf("groups %d\n", getgroups(0, NULL));
	else if (strcmp(word, "stay") == 0)
		orphan_that_stays();
	else if (strcmp(word, "brood") == 0)
		make_brood(number);
	else if (strcmp(word, "flee") == 0)
		flee();
	else if (strcmp(word, "descriptors") == 0)
		print_descriptors();
	else if (strcmp(word, "input-device") == 0)
		print_input_device();
	else if (strcmp(word, "type") == 0) /* into the terminal, as if somebody had */
		try("type", ioctl(0, TIOCSTI, "x") < 0);
	else if (strcmp(word, "keyring") == 0)
		print_keyring();
	else if (strcmp(word, "signals") == 0)
		print_ignored();
	else if (strcmp(word, "open") == 0)
		try(value, open(value, O_WRONLY) < 0);
	else if (strcmp(word, "env") == 0)
		for (char **entry = environ; *entry != NULL; entry++)
			puts(*entry);
	else if (strcmp(word, "id") == 0)
		printf("uid=%d gid=%d pid=%d cwd=%s\n", getuid(), getgid(), getpid(), getcwd(NULL, 0));
	else if (strcmp(word, "mount") == 0)
		try("mount", mount("none", value, "tmpfs", 0, NULL) < 0);
	else if (strcmp(word, "bind") == 0)
		try("bind", mount(value, value, NULL, MS_BIND, NULL) < 0);
	else
		printf("what is %s?\n", word);
	if (strcmp(word, "say-part") != 0)
		fflush(stdout);
}

int main(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2)
		act(argv[i], argv[i + 1]);
	return 0;
}
