#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "path.h"
#include "text.h"

struct flags {
	struct mount_attr attributes;
	_Bool bind, recursive;
};

static const struct {
	const char *word;
	uint64_t set, clear, propagation;
} attribute_words[] = {
	{"ro", MOUNT_ATTR_RDONLY, 0, 0},
	{"rw", 0, MOUNT_ATTR_RDONLY, 0},
	{"nosuid", MOUNT_ATTR_NOSUID, 0, 0},
	{"nodev", MOUNT_ATTR_NODEV, 0, 0},
	{"noexec", MOUNT_ATTR_NOEXEC, 0, 0},
	{"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0, 0},
	{"nodiratime", MOUNT_ATTR_NODIRATIME, 0, 0},
	{"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, 0},
	{"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, 0},
	{"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, 0},
	{"users", MOUNT_ATTR_IDMAP, 0, 0},
	{"private", 0, 0, MS_PRIVATE},
	{"slave", 0, 0, MS_SLAVE},
	{"shared", 0, 0, MS_SHARED},
};

static _Bool add_flag(struct flags *flags, const char *word, size_t length)
{
	if (length == 4 && memcmp(word, "bind", 4) == 0)
		return flags->bind = 1;
	if (length == 3 && memcmp(word, "rec", 3) == 0)
		return flags->recursive = 1;
	for (size_t i = 0; i < sizeof attribute_words / sizeof *attribute_words; i++)
		if (strlen(attribute_words[i].word) == length && memcmp(word, attribute_words[i].word, length) == 0) {
			flags->attributes.attr_set |= attribute_words[i].set;
			flags->attributes.attr_clr |= attribute_words[i].clear;
			if (attribute_words[i].propagation != 0)
				flags->attributes.propagation = attribute_words[i].propagation;
			return 1;
		}
	return 0;
}

static _Bool parse_flags(const char *text, struct flags *flags)
{
	memset(flags, 0, sizeof *flags);
	while (*text != '\0') {
		size_t length = strcspn(text, ",");
		if (!add_flag(flags, text, length))
			return 0;
		text += length + (text[length] == ',');
	}
	return 1;
}

_Bool mount_flags_ok(const char *text)
{
	struct flags flags;
	return parse_flags(text, &flags);
}

static int set_attributes(const struct launch *launch, int mount, struct flags *flags, _Bool recursive)
{
	if ((flags->attributes.attr_set & MOUNT_ATTR_IDMAP) != 0) {
		if (launch->users < 0)
			return -EINVAL;
		flags->attributes.userns_fd = (uint64_t)launch->users;
	}
	if (flags->attributes.attr_set == 0 && flags->attributes.attr_clr == 0 && flags->attributes.propagation == 0)
		return 0;
	return outcome(mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U), &flags->attributes,
				    sizeof flags->attributes));
}

/* `at`: what to copy, which is closed, or -errno. */
static int clone_tree_at(int at, _Bool recursive)
{
	if (at < 0)
		return at;
	int tree = open_tree(at, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0U));
	int number = errno;
	close(at);
	return tree >= 0 ? tree : -number;
}

static int clone_tree(const char *source, _Bool recursive)
{
	return clone_tree_at(open_path(source, 0), recursive);
}

int attach_tree(int tree, const char *target)
{
	int at = open_path(target, 0);
	if (at < 0)
		return at;
	int status = outcome(move_mount(tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
	close(at);
	return status;
}

int perform_private_mounts(struct launch *launch, const struct step *step)
{
	(void)step;
	launch->private_mounts = 1;
	return outcome(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

int perform_unshare(struct launch *launch, const struct step *step)
{
	(void)step;
	launch->private_mounts = 1;
	return outcome(unshare(CLONE_NEWNS));
}

int perform_pivot_root(struct launch *launch, const struct step *step)
{
	(void)launch;
	int root = open_path(step->argv[0], O_DIRECTORY);
	if (root < 0)
		return root;
	int status = outcome(fchdir(root));
	close(root);
	/* With "." for both, the old root ends on top of the new one, in no directory of it. */
	if (status == 0)
		status = outcome(syscall(SYS_pivot_root, ".", "."));
	if (status == 0)
		status = outcome(umount2(".", MNT_DETACH));
	if (status == 0)
		status = outcome(chdir("/"));
	return status;
}

/* `key` or `key=value`. */
static int set_option(int filesystem, const char *option)
{
	char key[64];
	size_t length = strcspn(option, "=");
	if (option[length] == '\0')
		return outcome(fsconfig(filesystem, FSCONFIG_SET_FLAG, option, NULL, 0));
	if (length >= sizeof key)
		return -EINVAL;
	memcpy(key, option, length);
	key[length] = '\0';
	return outcome(fsconfig(filesystem, FSCONFIG_SET_STRING, key, option + length + 1, 0));
}

static int configure(int filesystem, const char *source, const char *const *options)
{
	int status = strcmp(source, "-") == 0 ? 0 : outcome(fsconfig(filesystem, FSCONFIG_SET_STRING, "source", source, 0));
	for (; status == 0 && *options != NULL; options++)
		status = set_option(filesystem, *options);
	return status < 0 ? status : outcome(fsconfig(filesystem, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
}

/* A detached mount of a new file system, or -errno. */
static int new_mount(const char *type, const char *source, const char *const *options, uint64_t attributes)
{
	int filesystem = fsopen(type, FSOPEN_CLOEXEC);
	if (filesystem < 0)
		return -errno;
	int status = configure(filesystem, source, options);
	if (status == 0) {
		status = fsmount(filesystem, FSMOUNT_CLOEXEC, (unsigned)attributes);
		status = status < 0 ? -errno : status;
	}
	close(filesystem);
	return status;
}

int detached_mount(const char *type)
{
	static const char *const none[] = {NULL};
	return new_mount(type, "-", none, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

int perform_mount(struct launch *launch, const struct step *step)
{
	char **argv = step->argv;
	struct flags flags;
	int tree, status = 0;

	if (!parse_flags(argv[3], &flags) || (flags.bind && step->argc > 4) ||
	    (!flags.bind && (flags.attributes.propagation != 0 || (flags.attributes.attr_set & MOUNT_ATTR_IDMAP) != 0)))
		return -EINVAL;
	if (flags.bind) {
		tree = clone_tree(argv[0], flags.recursive);
		if (tree >= 0)
			status = set_attributes(launch, tree, &flags, flags.recursive);
	} else {
		tree = new_mount(argv[2], argv[0], (const char *const *)argv + 4, flags.attributes.attr_set);
	}
	if (tree < 0)
		return tree;
	if (status == 0)
		status = attach_tree(tree, argv[1]);
	close(tree);
	return status;
}

int perform_mount_attributes(struct launch *launch, const struct step *step)
{
	struct flags flags;
	int at = open_path(step->argv[0], 0);
	if (at < 0)
		return at;
	int status = parse_flags(step->argv[1], &flags) ? set_attributes(launch, at, &flags, step->argc == 3) : -EINVAL;
	close(at);
	return status;
}

/* Whether a line of /proc/self/mountinfo (proc_pid_mountinfo(5)) is of mount `id`, and that is shared. In paths
 * blanks are escaped, so the first lone hyphen ends the optional fields. */
static _Bool is_shared_line(const char *line, const char *id)
{
	const char *fields = strstr(line, " - "), *shared = strstr(line, " shared:");
	size_t length = strlen(id);
	return strncmp(line, id, length) == 0 && line[length] == ' ' && fields != NULL && shared != NULL && shared < fields;
}

/* The mounts of this namespace, to be freed; NULL when they cannot be read whole. */
static char *read_mounts(void)
{
	size_t room = 65536, length = 0;
	char *text = malloc(room);
	ssize_t n = -1;
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	while (text != NULL && fd >= 0 && (n = read(fd, text + length, room - 1 - length)) > 0) {
		length += (size_t)n;
		if (length < room - 1)
			continue;
		char *grown = realloc(text, room *= 2);
		if (grown == NULL)
			break;
		text = grown;
	}
	if (fd >= 0)
		close(fd);
	if (text != NULL)
		text[length] = '\0';
	if (n == 0)
		return text;
	free(text);
	return NULL;
}

/* Whether mounts travel between the mount that `at` lies on and others. What cannot be told is taken for no. */
static _Bool is_shared(int at)
{
	char number[32] = "";
	struct text id = TEXT_IN(number);
	struct statx st;
	_Bool shared = 0;
	if (statx(at, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0 || (st.stx_mask & STATX_MNT_ID) == 0)
		return 0;
	text_number(&id, (long long)st.stx_mnt_id, 0, ' ');
	char *mounts = read_mounts(), *rest = mounts;
	for (char *line; !shared && (line = strsep(&rest, "\n")) != NULL;)
		shared = is_shared_line(line, number);
	free(mounts);
	return shared;
}

int perform_open_tree(struct launch *launch, const struct step *step)
{
	int *held = slot_of(launch, step);
	if (*held >= 0)
		return -EEXIST;
	int at = open_path(step->argv[1], 0);
	/* Taken before `private-mounts` it is for mounts to travel through. */
	if (at >= 0 && !launch->private_mounts && !is_shared(at)) {
		close(at);
		return -EOPNOTSUPP;
	}
	int tree = clone_tree_at(at, step->argc == 3);
	if (tree < 0)
		return tree;
	*held = tree;
	return 0;
}

int perform_move_tree(struct launch *launch, const struct step *step)
{
	int *held = slot_of(launch, step);
	if (*held < 0)
		return -EBADF;
	int status = attach_tree(*held, step->argv[1]);
	close(*held);
	*held = -1;
	return status;
}

int perform_tree_attributes(struct launch *launch, const struct step *step)
{
	struct flags flags;
	int held = *slot_of(launch, step);
	if (held < 0)
		return -EBADF;
	return parse_flags(step->argv[1], &flags) ? set_attributes(launch, held, &flags, step->argc == 3) : -EINVAL;
}

/* A descriptor of an empty read-only directory. One file system serves all masks: the first is
 * attached at its target, later ones are copies of it. */
static int empty_tree(struct launch *launch)
{
	static const char *const options[] = {"mode=0555", "size=4k", NULL};
	if (launch->empty_tree >= 0) {
		int copy = open_tree(launch->empty_tree, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		return copy >= 0 ? copy : -errno;
	}
	int tree = new_mount("tmpfs", "tmpfs", options,
			     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (tree >= 0)
		launch->empty_tree = fcntl(tree, F_DUPFD_CLOEXEC, 0);
	return tree;
}

/* A copy of the mount of /dev/null, which must be the device: an image may have put a file there. */
static int null_tree(struct launch *launch)
{
	struct stat st;
	if (launch->null_device < 0)
		launch->null_device = open_path("/dev/null", O_NOFOLLOW);
	if (launch->null_device < 0)
		return launch->null_device;
	if (fstat(launch->null_device, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return -ENODEV;
	int tree = open_tree(launch->null_device, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return tree >= 0 ? tree : -errno;
}

/* What is to be masked or protected may be absent, but must not seem so: a link of the image's could have
 * led here before something was mounted over where it led. Hence no links. */
int perform_mask(struct launch *launch, const struct step *step)
{
	struct stat st;
	int at = open_straight_path(step->argv[0]);
	if (at < 0)
		return at == -ENOENT || at == -ENOTDIR ? 0 : at;
	int status = outcome(fstat(at, &st)), tree = -1;
	if (status == 0) {
		tree = S_ISDIR(st.st_mode) ? empty_tree(launch) : null_tree(launch);
		status = tree < 0 ? tree : outcome(move_mount(tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
	}
	if (tree >= 0)
		close(tree);
	close(at);
	return status;
}

int perform_read_only(struct launch *launch, const struct step *step)
{
	struct flags flags = {.attributes = {.attr_set = MOUNT_ATTR_RDONLY}};
	int tree = clone_tree_at(open_straight_path(step->argv[0]), 1);
	if (tree < 0)
		return tree == -ENOENT || tree == -ENOTDIR ? 0 : tree;
	int status = set_attributes(launch, tree, &flags, 1);
	if (status == 0)
		status = attach_tree(tree, step->argv[0]);
	close(tree);
	return status;
}
