#include "credentials.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In the order of their numbers in linux/capability.h. */
static const char *const capability_names[] = {
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
	"linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
	"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
	"sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
	"mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
	"checkpoint_restore"};
_Static_assert(sizeof capability_names / sizeof *capability_names == CAP_CHECKPOINT_RESTORE + 1, "every capability");

int capability_number(const char *name)
{
	if (strncasecmp(name, "cap_", 4) == 0)
		name += 4;
	for (int i = 0; i <= CAP_CHECKPOINT_RESTORE; i++)
		if (strcasecmp(name, capability_names[i]) == 0)
			return i;
	return -1;
}

int rlimit_number(const char *name)
{
	static const char *const names[RLIM_NLIMITS] = {
		[RLIMIT_AS] = "as", [RLIMIT_CORE] = "core", [RLIMIT_CPU] = "cpu", [RLIMIT_DATA] = "data",
		[RLIMIT_FSIZE] = "fsize", [RLIMIT_LOCKS] = "locks", [RLIMIT_MEMLOCK] = "memlock",
		[RLIMIT_MSGQUEUE] = "msgqueue", [RLIMIT_NICE] = "nice", [RLIMIT_NOFILE] = "nofile",
		[RLIMIT_NPROC] = "nproc", [RLIMIT_RSS] = "rss", [RLIMIT_RTPRIO] = "rtprio",
		[RLIMIT_RTTIME] = "rttime", [RLIMIT_SIGPENDING] = "sigpending", [RLIMIT_STACK] = "stack"};
	for (int i = 0; i < (int)RLIM_NLIMITS; i++)
		if (names[i] != NULL && strcmp(name, names[i]) == 0)
			return i;
	return -1;
}

struct capability_sets {
	struct __user_cap_data_struct half[2];
};

static int get_capabilities(struct capability_sets *sets)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	return outcome(syscall(SYS_capget, &header, sets->half));
}

static int set_capabilities(const struct capability_sets *sets)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	return outcome(syscall(SYS_capset, &header, sets->half));
}

int perform_umask(struct launch *launch, const struct step *step)
{
	(void)launch;
	umask((mode_t)strtoul(step->argv[0], NULL, 8));
	return 0;
}

/* Gives the app its standard streams, or it could not open /dev/stdout again (pipes are 0600). Never
 * /dev/null, which is the host's, nor what was there before the pod. */
static int give_streams(const struct launch *launch, uid_t uid)
{
	if (launch->raw)
		return 0;
	for (int fd = 0; fd <= 2; fd++) {
		struct stat st;
		if (fstat(fd, &st) < 0)
			return -errno;
		if ((S_ISFIFO(st.st_mode) || launch->terminal_slave >= 0) && fchown(fd, uid, (gid_t)-1) < 0)
			return -errno;
	}
	return 0;
}

static int set_groups(const struct step *step)
{
	gid_t groups[256];
	size_t count = step->argc - 2;
	if (count > sizeof groups / sizeof *groups)
		return -E2BIG;
	for (size_t i = 0; i < count; i++)
		groups[i] = (gid_t)strtoul(step->argv[i + 2], NULL, 10);
	return outcome(setgroups(count, groups));
}

int perform_user(struct launch *launch, const struct step *step)
{
	uid_t uid = (uid_t)strtoul(step->argv[0], NULL, 10);
	gid_t gid = (gid_t)strtoul(step->argv[1], NULL, 10);
	struct capability_sets sets;

	int status = give_streams(launch, uid);
	if (status == 0)
		status = set_groups(step);
	if (status == 0)
		status = outcome(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	if (status == 0)
		status = outcome(setresgid(gid, gid, gid));
	if (status == 0)
		status = outcome(setresuid(uid, uid, uid));
	/* Leaving uid 0 emptied the effective set; keep-caps needs it back. */
	if (status == 0)
		status = get_capabilities(&sets);
	if (status == 0) {
		sets.half[0].effective = sets.half[0].permitted;
		sets.half[1].effective = sets.half[1].permitted;
		status = set_capabilities(&sets);
	}
	return status;
}

/* Bounding, permitted and effective sets become `keep`, the latter two with what is `for_now` until exec. */
static int keep_capabilities(uint64_t keep, uint64_t for_now)
{
	/* To the last one the kernel knows, also those newer than this file. */
	for (int cap = 0; cap < 64; cap++) {
		int bounded = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
		if (bounded < 0)
			break;
		if (bounded > 0 && (keep >> cap & 1) == 0 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;

	struct capability_sets sets;
	int status = get_capabilities(&sets);
	for (int i = 0; status == 0 && i < 2; i++) {
		uint32_t half = (uint32_t)((keep | for_now) >> (32 * i)) & sets.half[i].permitted;
		/* Inheritable stays empty: CVE-2022-24769. */
		sets.half[i] = (struct __user_cap_data_struct){.permitted = half, .effective = half};
	}
	return status == 0 ? set_capabilities(&sets) : status;
}

int perform_keep_caps(struct launch *launch, const struct step *step)
{
	uint64_t keep = 0;
	for (size_t i = 0; i < step->argc; i++)
		keep |= UINT64_C(1) << capability_number(step->argv[i]);
	/* Loading a filter takes it, or no-new-privileges. exec takes it away: that goes by the bounding set. */
	return keep_capabilities(keep, launch->filter != NULL ? UINT64_C(1) << CAP_SYS_ADMIN : 0);
}

int keep_kill_alone(void)
{
	return keep_capabilities(UINT64_C(1) << CAP_KILL, 0);
}

int perform_no_new_privileges(struct launch *launch, const struct step *step)
{
	(void)launch, (void)step;
	return outcome(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int perform_caps_of_every_user(struct launch *launch, const struct step *step)
{
	(void)launch, (void)step;
	int bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	return bits < 0 ? -errno : outcome(prctl(PR_SET_SECUREBITS, (unsigned)bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0));
}

static rlim_t limit(const char *word)
{
	return strcmp(word, "unlimited") == 0 ? RLIM_INFINITY : strtoull(word, NULL, 10);
}

static void add_limit(struct text *t, rlim_t value)
{
	if (value == RLIM_INFINITY)
		text_add(t, "unlimited");
	else
		text_number(t, (long long)value, 0, ' ');
}

int perform_rlimit(struct launch *launch, const struct step *step)
{
	__rlimit_resource_t resource = (__rlimit_resource_t)rlimit_number(step->argv[0]);
	struct rlimit limits = {.rlim_cur = limit(step->argv[1]), .rlim_max = limit(step->argv[2])}, own;
	int status = outcome(setrlimit(resource, &limits));
	if (status != -EPERM || getrlimit(resource, &own) < 0)
		return status;
	/* The pod runs with what is allowed. */
	char why[160];
	struct text t = TEXT_IN(why);
	text_add(&t, "this host allows no more than ");
	add_limit(&t, own.rlim_max);
	limits.rlim_max = limits.rlim_max < own.rlim_max ? limits.rlim_max : own.rlim_max;
	limits.rlim_cur = limits.rlim_cur < limits.rlim_max ? limits.rlim_cur : limits.rlim_max;
	status = outcome(setrlimit(resource, &limits));
	if (status == 0)
		do_without(launch, step, why);
	return status;
}
