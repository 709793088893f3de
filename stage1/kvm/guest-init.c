/*
 * The first process inside of a machine: it loads the kernel's modules, and starts what stands for the
 * supervisor here: that brings the pod's init to life, the very one of the native flavour, and passes on
 * what that and the host tell each other. What it complains about goes to the console, of which the host
 * tells the last line when the machine ends.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../launch/channel.h"
#include "../launch/init.h"
#include "../launch/plan.h"
#include "../launch/process.h"
#include "../launch/status.h"
#include "../launch/text.h"
#include "session.h"
#include "wire.h"

/* Where the initrd has what becomes the root here: nothing can pivot away from the kernel's first one. */
#define MACHINE "/machine"
#define MODULES "/modules"
#define PORT "/dev/vport0p1"

static struct {
	struct plan plan;
	int channel, signals;
	pid_t init;
	_Bool begun, told, ended; /* told: init said how the pod ended */
	int code;
	struct app_status apps[MAX_APPS];
} guest;

static struct wire wire;

/* --- coming to life ---------------------------------------------------------------------------- */

_Noreturn static void end_machine(void)
{
	sync();
	reboot(RB_AUTOBOOT); /* of which QEMU makes its own end */
	_exit(254);
}

_Noreturn static void fail(const char *what, const char *why)
{
	complain(what, ": ", why);
	end_machine();
}

static void mount_here(const char *source, const char *target, const char *type, unsigned long flags, const char *options)
{
	if ((mkdir(target, 0755) < 0 && errno != EEXIST) || mount(source, target, type, flags, options) < 0)
		fail(target, error_text(errno));
}

/* Where limits of the pod are set, if it has any: not every kernel has control groups, and a plan that needs them says
 * what is missing. */
static void mount_groups(void)
{
	if (mkdir("/cgroups", 0755) == 0)
		mount("cgroup2", "/cgroups", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static void change_root(void)
{
	if (mount(MACHINE, MACHINE, NULL, MS_BIND, NULL) < 0 || chdir(MACHINE) < 0 ||
	    mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
		fail(MACHINE, error_text(errno));
}

static void open_console(void)
{
	int null = open("/dev/null", O_RDWR | O_NOCTTY), console = open("/dev/console", O_WRONLY | O_NOCTTY);
	if (null < 0)
		fail("/dev/null", error_text(errno));
	if (console < 0)
		console = null;
	dup2(null, STDIN_FILENO);
	dup2(console, STDOUT_FILENO);
	dup2(console, STDERR_FILENO);
	close_range(3, ~0U, 0);
}

static _Bool is_compressed(const char *name)
{
	size_t length = strlen(name);
	return length < 3 || strcmp(name + length - 3, ".ko") != 0;
}

static void load_module(int directory, const char *name)
{
	int file = openat(directory, name, O_RDONLY | O_CLOEXEC);
	unsigned flags = is_compressed(name) ? 4U /* MODULE_INIT_COMPRESSED_FILE, Linux 5.17 */ : 0;
	if (file < 0 || (syscall(SYS_finit_module, file, "", flags) < 0 && errno != EEXIST)) {
		complain("kernel module ", name, ": ", error_text(errno));
		end_machine();
	}
	close(file);
}

/* In the order of their names. */
static void load_modules(void)
{
	struct dirent **entries;
	int directory = open(MODULES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int count = directory >= 0 ? scandir(MODULES, &entries, NULL, alphasort) : 0;
	for (int i = 0; i < count; i++)
		if (entries[i]->d_name[0] != '.')
			load_module(directory, entries[i]->d_name);
	/* The few names are not worth giving back. */
	if (directory >= 0)
		close(directory);
}

/* The port appears a moment after its driver. */
static int open_port(void)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int port = -1;
	for (int tries = 0; tries < 20000 && (port = open(PORT, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0; tries++)
		nanosleep(&pause, NULL);
	if (port < 0)
		fail(PORT, error_text(errno));
	return port;
}

/* --- the pod ----------------------------------------------------------------------------------- */

_Noreturn static void become_init(int channel, const int streams[3])
{
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(streams[fd], fd) < 0)
			_exit(254);
	close_range(3, (unsigned)channel - 1, 0);
	close_range((unsigned)channel + 1, ~0U, 0);
	run_init(&guest.plan, channel);
	_exit(254);
}

static void start_init(void)
{
	int ends[2], output[2], errors[2], pidfd;
	if (open_channel(ends) < 0 || pipe2(output, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0)
		fail("pod", error_text(errno));
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	fcntl(errors[0], F_SETFL, O_NONBLOCK);
	guest.init = clone_process(guest.plan.namespaces, &pidfd, -1);
	if (guest.init < 0)
		fail("namespaces", error_text(errno));
	if (guest.init == 0)
		become_init(ends[1], (const int[3]){STDIN_FILENO, output[1], errors[1]});
	close(ends[1]);
	close(output[1]);
	close(errors[1]);
	close(pidfd);
	guest.channel = ends[0];
	if (guest.plan.output == OUTPUT_TERMINAL) {
		close(output[0]);
		close(errors[0]);
	} else {
		pod_logs(output[0], errors[0]);
	}
	write_pids(getpid(), guest.init);
}

/* What `enter` reads here, as it does of a pod on the host. */
static void prepare_directory(void)
{
	int lock;
	if (chdir("/pod") < 0 || (lock = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || flock(lock, LOCK_EX) < 0)
		fail("/pod", error_text(errno));
	mkdir("apps", 0755);
	for (size_t i = 0; i < guest.plan.app_count; i++) {
		char path[160];
		struct text t = TEXT_IN(path);
		text_add(&t, "apps/");
		text_add(&t, guest.plan.apps[i].name);
		mkdir(path, 0755);
	}
}

/* --- events and orders ------------------------------------------------------------------------- */

static void tell(uint32_t kind, uint32_t app, int value, const char *text)
{
	struct {
		struct pod_event event;
		char text[1000];
	} message = {.event = {.kind = kind, .app = app, .value = value}};
	struct text t = TEXT_IN(message.text);
	text_add(&t, text);
	wire_send(&wire, FRAME_EVENT, 0, 0, &message, sizeof message.event + t.length);
}

static void note(const struct event *event)
{
	struct app_status *app = &guest.apps[event->app % MAX_APPS];
	const struct moment now = {.seconds = event->seconds, .nanoseconds = event->nanoseconds};
	if (event->kind == EVENT_STARTED) {
		*app = (struct app_status){.pid = event->value, .started = now};
	} else if (event->kind == EVENT_EXITED) {
		app->finished = now;
		app->code = event->value;
	} else {
		return;
	}
	write_app_status(guest.plan.apps[event->app % MAX_APPS].name, app);
}

static void take_event(const struct event *event, const struct attached *attached)
{
	note(event);
	if (event->kind == EVENT_TERMINAL && attached->fd >= 0)
		pod_terminal(attached->fd);
	if (event->kind == EVENT_ENDED || event->kind == EVENT_FAILED)
		guest.told = 1;
	if (event->kind == EVENT_ENDED)
		guest.code = event->value; /* told when all that was printed has been */
	else
		tell(event->kind, event->app, event->value, event->text);
	guest.ended = guest.ended || event->kind == EVENT_FAILED;
}

static void take_events(void)
{
	struct event event;
	struct attached attached;
	int got = 0;
	while (guest.channel >= 0 && wire_room(&wire) >= 4096 && (got = receive_event(guest.channel, &event, &attached)) > 0)
		take_event(&event, &attached);
	if (got < 0) {
		close(guest.channel);
		guest.channel = -1;
		if (!guest.told)
			tell(EVENT_FAILED, 0, 0, "the pod's init was killed in its machine");
		guest.ended = guest.ended || !guest.told;
	}
}

static void take_frame(const struct frame *frame, const char *payload)
{
	struct order order;
	if (frame->kind == FRAME_BEGIN && !guest.begun && frame->length == sizeof(struct dimensions)) {
		const struct frame size = {.kind = FRAME_RESIZE, .length = frame->length};
		guest.begun = 1;
		session_take(&size, payload);
		start_init();
	} else if (frame->kind == FRAME_ORDER && frame->length == sizeof order && guest.begun) {
		memcpy(&order, payload, sizeof order);
		if (guest.channel >= 0)
			send_order(guest.channel, order.kind, order.value);
	} else {
		session_take(frame, payload);
	}
}

static void take_frames(void)
{
	struct frame frame;
	const char *payload;
	int got;
	if (wire_fill(&wire) < 0)
		_exit(254); /* the host is gone, and the machine with it */
	while ((got = wire_next(&wire, &frame, &payload)) > 0)
		take_frame(&frame, payload);
	if (got < 0)
		_exit(254);
}

static void reap(void)
{
	struct signalfd_siginfo taken;
	int status;
	pid_t pid;
	while (read(guest.signals, &taken, sizeof taken) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == guest.init)
			guest.init = 0;
		else
			session_reap(pid, status);
}

/* --- the loop ---------------------------------------------------------------------------------- */

static void wait_and_serve(void)
{
	struct pollfd fds[3 + SESSION_DESCRIPTORS];
	nfds_t n = 0;
	fds[n++] = (struct pollfd){.fd = wire.fd, .events = wire_events(&wire)};
	fds[n++] = (struct pollfd){.fd = guest.signals, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = wire_room(&wire) >= 4096 ? guest.channel : -1, .events = POLLIN};
	n += sessions_gather(fds + n, &wire);
	if (poll(fds, n, -1) < 0 && errno != EINTR)
		_exit(254);
	take_frames();
	if (guest.channel >= 0)
		take_events();
	reap();
	sessions_serve(&wire);
	wire_flush(&wire);
	/* Every process of the pod is gone, and all they printed is under way. */
	if (guest.begun && guest.channel < 0 && guest.told && guest.init == 0 && pod_silent() && !guest.ended) {
		sync();
		tell(EVENT_ENDED, 0, guest.code, "");
		guest.ended = 1;
	}
}

static void serve(void)
{
	sigset_t children;
	subcommand = "machine";
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_SETMASK, &children, NULL);
	guest.channel = -1;
	guest.signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (guest.signals < 0)
		fail("signalfd", error_text(errno));
	wire_open(&wire, open_port());
	if (chdir("/pod") < 0 || read_plan(&guest.plan, "plan") < 0)
		return;
	prepare_directory();
	while (!guest.ended || wire.out > 0)
		wait_and_serve();
	/* The host ends the machine as soon as it has read that. */
	pause();
}

int main(void)
{
	int status;
	subcommand = "machine";
	if (getpid() != 1) {
		complain("this is the first process of a machine: stage1/run starts those");
		return 254;
	}
	change_root();
	mount_here("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL);
	open_console();
	mount_here("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_here("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5");
	mount_groups();
	load_modules();
	pid_t child = fork();
	if (child == 0) {
		serve();
		_exit(254);
	}
	while (child > 0) {
		pid_t pid = waitpid(-1, &status, 0);
		if (pid == child || (pid < 0 && errno != EINTR))
			break;
	}
	end_machine();
}
