/* What this host can do, and how it tells the time. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * canFilterDevices() -> boolean: whether this process may load programs that say which devices a control group has
 * (BPF_PROG_TYPE_CGROUP_DEVICE): the kernel has them, and neither a user namespace, missing capabilities nor a
 * filter of system calls is in the way. One that allows nothing is loaded and dropped again.
 */
static napi_value do_can_filter_devices(napi_env env, napi_callback_info info)
{
	static const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attributes;
	(void)info;
	memset(&attributes, 0, sizeof attributes);
	attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attributes.insns = (uint64_t)(uintptr_t)nothing;
	attributes.insn_cnt = sizeof nothing / sizeof *nothing;
	attributes.license = (uint64_t)(uintptr_t)"Apache-2.0";
	int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
	if (program >= 0)
		close(program);
	return boolean(env, program >= 0);
}

/*
 * localTime(seconds, fraction) -> "2016-01-25 17:42:32.563 +0100 CET" with ".563" for `fraction`: a moment
 * in the host's time zone, whose abbreviations Intl has for some languages only.
 */
static napi_value do_local_time(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	const time_t seconds = (time_t)integer(&c, 0);
	char *fraction = text(&c, 1), clock[64] = "", zone[64] = "", out[160];
	struct tm local;
	napi_value result = NULL;
	if (!c.ok) {
		free(fraction);
		return bad_arguments(env);
	}
	if (localtime_r(&seconds, &local) != NULL) {
		if (strftime(clock, sizeof clock, "%Y-%m-%d %H:%M:%S", &local) == 0 ||
		    strftime(zone, sizeof zone, "%z %Z", &local) == 0)
			clock[0] = zone[0] = '\0';
	}
	snprintf(out, sizeof out, "%s%.16s %s", clock, fraction, zone);
	free(fraction);
	napi_create_string_utf8(env, out, NAPI_AUTO_LENGTH, &result);
	return result;
}

static int write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, word, strlen(word));
	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

struct own_users {
	char uid_map[32], gid_map[32];
	int fd;
};

/* In a process that shares memory and descriptors with this one, which waits: a user namespace of one user, itself, is
 * opened for both. */
static int enter_own_users(void *shared)
{
	struct own_users *own = shared;
	if (write_word("/proc/self/uid_map", own->uid_map) == 0 && write_word("/proc/self/setgroups", "deny") == 0 &&
	    write_word("/proc/self/gid_map", own->gid_map) == 0)
		own->fd = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	_exit(0);
}

/* A user namespace that nobody is in any more; -1 where this kernel gives none. */
static int open_own_users(void)
{
	enum { STACK = 65536 };
	struct own_users own = {.fd = -1};
	char *stack = malloc(STACK);
	if (stack == NULL)
		return -1;
	snprintf(own.uid_map, sizeof own.uid_map, "0 %u 1", geteuid());
	snprintf(own.gid_map, sizeof own.gid_map, "0 %u 1", getegid());
	pid_t pid = clone(enter_own_users, stack + STACK, CLONE_NEWUSER | CLONE_VM | CLONE_VFORK | CLONE_FILES, &own);
	if (pid > 0)
		waitpid(pid, NULL, __WALL);
	free(stack);
	return own.fd;
}

/* (path, recursive): whether what is there can be mounted with other users, tried on a copy attached nowhere. */
static napi_value do_can_map_users(napi_env env, napi_callback_info info)
{
	struct call c = begin(env, info);
	char *path = text(&c, 0);
	bool recursive = false;
	if (c.argc < 2 || napi_get_value_bool(env, c.argv[1], &recursive) != napi_ok)
		c.ok = 0;
	unsigned deep = recursive ? AT_RECURSIVE : 0U;
	int tree = -1, users = -1, can = 0, error = 0;
	if (c.ok) {
		tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep);
		error = tree < 0 ? errno : 0;
		users = tree < 0 ? -1 : open_own_users();
	}
	if (users >= 0) {
		struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)users};
		can = mount_setattr(tree, "", AT_EMPTY_PATH | deep, &attributes, sizeof attributes) == 0;
		close(users);
	}
	if (tree >= 0)
		close(tree);
	free(path);
	if (!c.ok)
		return bad_arguments(env);
	return error != 0 ? fail(env, "open_tree", error) : boolean(env, can);
}

const struct function host_functions[] = {
	{"canMapUsers", do_can_map_users},
	{"canFilterDevices", do_can_filter_devices},
	{"localTime", do_local_time},
	{NULL, NULL},
};
