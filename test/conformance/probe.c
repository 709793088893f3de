/* What the pods of the conformance check run: pairs of words, a command and its argument, carried out
 * in order. What it finds it says as lines `KEY=VALUE`. Run on the host it also serves the check itself. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;
static int code_on_term = -1; /* -1: TERM is noticed and nothing more */

static const char *result(int status)
{
	return status < 0 ? strerror(errno) : "ok";
}

/* The lines of a file that begin with `start`, each behind `key`. */
static void show_file(const char *key, const char *path, const char *start)
{
	char line[4096];
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		printf("%s=%s\n", key, strerror(errno));
		return;
	}
	while (fgets(line, sizeof line, file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		for (char *tab = line; (tab = strchr(tab, '\t')) != NULL;)
			*tab = ' ';
		if (strncmp(line, start, strlen(start)) == 0)
			printf("%s=%s\n", key, line);
	}
	fclose(file);
}

static void list(const char *path)
{
	DIR *directory = opendir(path);
	if (directory == NULL) {
		printf("list:%s=%s\n", path, strerror(errno));
		return;
	}
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (entry->d_name[0] != '.')
			printf("entry:%s=%s\n", path, entry->d_name);
	closedir(directory);
}

static void report_namespaces(void)
{
	static const char *const kinds[] = {"pid", "mnt", "ipc", "uts", "net"};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		char path[64], target[64] = "";
		snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
		if (readlink(path, target, sizeof target - 1) < 0)
			snprintf(target, sizeof target, "%s", strerror(errno));
		printf("ns-%s=%s\n", kinds[i], target);
	}
}

static void report(void)
{
	char directory[4096] = "";
	struct utsname names;
	mode_t mask = umask(0);
	umask(mask);
	uname(&names);
	printf("pid=%d\nuid=%u\ngid=%u\numask=%03o\nhostname=%s\n", getpid(), getuid(), getgid(), mask, names.nodename);
	printf("cwd=%s\n", getcwd(directory, sizeof directory) != NULL ? directory : "");
	report_namespaces();
	show_file("CapEff", "/proc/self/status", "CapEff:");
	show_file("CapBnd", "/proc/self/status", "CapBnd:");
	show_file("CapInh", "/proc/self/status", "CapInh:");
	show_file("SigBlk", "/proc/self/status", "SigBlk:");
	show_file("SigIgn", "/proc/self/status", "SigIgn:");
	show_file("NoNewPrivs", "/proc/self/status", "NoNewPrivs:");
	show_file("cgroup", "/proc/self/cgroup", "");
	show_file("boot", "/proc/sys/kernel/random/boot_id", "");
	for (int fd = 3; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("descriptor=%d\n", fd);
	for (char **entry = environ; *entry != NULL; entry++)
		printf("env:%s\n", *entry);
	printf("reported=yes\n");
}

static void on_signal(int number)
{
	char line[64];
	int length = snprintf(line, sizeof line, "got=%s\n", sigabbrev_np(number));
	ssize_t written = write(1, line, (size_t)length);
	(void)written;
	if (number == SIGTERM && code_on_term >= 0)
		_exit(code_on_term);
}

static void catch_signals(void)
{
	static const int caught[] = {SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGTERM, SIGINT};
	const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
		sigaction(caught[i], &action, NULL);
}

static void try_open(const char *what, const char *path, int flags)
{
	int fd = open(path, flags | O_NONBLOCK, 0644);
	printf("%s:%s=%s\n", what, path, result(fd));
	if (fd >= 0)
		close(fd);
}

/* The options of what is mounted at a path, the topmost; `none` where nothing is (proc_pid_mountinfo(5)). */
static void show_mount(const char *path)
{
	char line[4096], point[2048], options[512], found[512] = "none";
	FILE *mounts = fopen("/proc/self/mountinfo", "r");
	while (mounts != NULL && fgets(line, sizeof line, mounts) != NULL)
		if (sscanf(line, "%*s %*s %*s %*s %2047s %511s", point, options) == 2 && strcmp(point, path) == 0)
			memcpy(found, options, sizeof found);
	if (mounts != NULL)
		fclose(mounts);
	printf("mount:%s=%s\n", path, found);
}

/* Takes so many MiB, and writes to each of their pages. */
static void allocate(const char *mebibytes)
{
	size_t size = (size_t)atoi(mebibytes) << 20;
	volatile char *memory = malloc(size);
	for (size_t at = 0; memory != NULL && at < size; at += 4096)
		memory[at] = 1;
	printf("allocated=%s\n", memory != NULL ? mebibytes : strerror(errno));
}

/* Waits for something to be there, ten seconds at most. */
static void await(const char *path)
{
	int status = -1;
	for (int tries = 0; status < 0 && tries < 1000; tries++)
		if ((status = access(path, F_OK)) < 0)
			usleep(10000);
	printf("await:%s=%s\n", path, result(status));
}

static void try_to_connect(const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	printf("connect=%s\n", result(connect(fd, (const struct sockaddr *)&address, sizeof address)));
	close(fd);
}

/* A process that nobody but the pod's end stops. */
static void leave_orphan(void)
{
	if (fork() != 0)
		return;
	setsid();
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (;;)
		pause();
}

/* As many children as it may have at the same time, up to twenty. */
static void count_children(void)
{
	pid_t children[20];
	int count = 0;
	while (count < 20 && (children[count] = fork()) > 0)
		count++;
	if (count < 20 && children[count] == 0) {
		pause();
		_exit(0);
	}
	printf("children=%d\n", count);
	for (int i = 0; i < count; i++)
		kill(children[i], SIGKILL);
}

static void show_terminal(void)
{
	struct winsize size = {0};
	ioctl(0, TIOCGWINSZ, &size);
	printf("terminal=%d size=%dx%d foreground=%d\n", isatty(0) && isatty(1) && isatty(2), size.ws_col, size.ws_row,
	       tcgetpgrp(0) == getpgrp());
}

static void show_input(void)
{
	char line[4096];
	while (fgets(line, sizeof line, stdin) != NULL)
		printf("input=%s", line);
}

/* On the host: says what comes to a socket like a service manager's. */
static void listen_on(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	printf("listening=%s\n", result(bind(fd, (const struct sockaddr *)&address, sizeof address)));
	for (;;) {
		char message[4096];
		ssize_t length = recv(fd, message, sizeof message - 1, 0);
		if (length < 0)
			return;
		message[length] = '\0';
		for (char *save, *line = strtok_r(message, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
			printf("notified %s\n", line);
	}
}

/* On the host: whether somebody holds the lock of a directory exclusively. */
static void show_lock(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		printf("lock=%s\n", strerror(errno));
	else
		printf("lock=%s\n", flock(fd, LOCK_SH | LOCK_NB) == 0 ? "free" : errno == EWOULDBLOCK ? "held" : strerror(errno));
}

static int carry_out(const char *command, const char *argument)
{
	if (strcmp(command, "report") == 0)
		report();
	else if (strcmp(command, "catch") == 0) {
		code_on_term = atoi(argument);
		catch_signals();
	} else if (strcmp(command, "say") == 0)
		printf("%s\n", argument);
	else if (strcmp(command, "wait") == 0)
		for (;;)
			pause();
	else if (strcmp(command, "sleep") == 0)
		usleep((useconds_t)atoi(argument) * 1000);
	else if (strcmp(command, "raise") == 0)
		raise(atoi(argument));
	else if (strcmp(command, "exit") == 0)
		exit(atoi(argument));
	else if (strcmp(command, "read") == 0)
		try_open("read", argument, O_RDONLY);
	else if (strcmp(command, "write") == 0)
		try_open("write", argument, O_WRONLY);
	else if (strcmp(command, "personality") == 0)
		printf("personality=%s\n", result(personality(0xffffffff)));
	else if (strcmp(command, "create") == 0)
		try_open("create", argument, O_WRONLY | O_CREAT);
	else if (strcmp(command, "show") == 0)
		show_file("content", argument, "");
	else if (strcmp(command, "list") == 0)
		list(argument);
	else if (strcmp(command, "await") == 0)
		await(argument);
	else if (strcmp(command, "mount") == 0)
		show_mount(argument);
	else if (strcmp(command, "allocate") == 0)
		allocate(argument);
	else if (strcmp(command, "connect") == 0)
		try_to_connect(argument);
	else if (strcmp(command, "shm") == 0)
		printf("shm=%s\n", result(shmget((key_t)atoi(argument), 0, 0)));
	else if (strcmp(command, "make-shm") == 0)
		printf("shm=%s\n", result(shmget((key_t)atoi(argument), 4096, IPC_CREAT | IPC_EXCL | 0600)));
	else if (strcmp(command, "remove-shm") == 0)
		printf("shm=%s\n", result(shmctl(shmget((key_t)atoi(argument), 0, 0), IPC_RMID, NULL)));
	else if (strcmp(command, "orphan") == 0)
		leave_orphan();
	else if (strcmp(command, "children") == 0)
		count_children();
	else if (strcmp(command, "terminal") == 0)
		show_terminal();
	else if (strcmp(command, "input") == 0)
		show_input();
	else if (strcmp(command, "listen") == 0)
		listen_on(argument);
	else if (strcmp(command, "lock") == 0)
		show_lock(argument);
	else
		return 0;
	return 1;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i + 1 < argc; i += 2)
		if (!carry_out(argv[i], argv[i + 1])) {
			fprintf(stderr, "probe: no command %s\n", argv[i]);
			return 99;
		}
	return 0;
}
