#include "filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

/* The numbers of unshare, clone and ioctl in the machine's own calls and in those of its 32-bit kin. */
#if defined __x86_64__
enum { OWN = AUDIT_ARCH_X86_64, OWN_UNSHARE = 272, OWN_CLONE = 56, OWN_IOCTL = 16, X32_IOCTL = 514 };
enum { KIN = AUDIT_ARCH_I386, KIN_UNSHARE = 310, KIN_CLONE = 120, KIN_IOCTL = 54 };
#elif defined __aarch64__
enum { OWN = AUDIT_ARCH_AARCH64, OWN_UNSHARE = 97, OWN_CLONE = 220, OWN_IOCTL = 29, X32_IOCTL = OWN_IOCTL };
enum { KIN = AUDIT_ARCH_ARM, KIN_UNSHARE = 337, KIN_CLONE = 120, KIN_IOCTL = 54 };
#endif
enum { CLONE3 = 435, X32 = 0x40000000 };

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* Skips so many of the following lines. */
#define IF(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), yes, no)
#define ANSWER(word) BPF_STMT(BPF_RET | BPF_K, word)

/* clone3 has its flags in memory, where no filter sees them; without it programs use clone. */
static struct sock_filter without_user_namespaces[] = {
	LOAD(arch),
	IF(OWN, 2, 0),
	IF(KIN, 6, 0),
	ANSWER(SECCOMP_RET_ERRNO | ENOSYS),

	LOAD(nr),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(unsigned)X32),
	IF(CLONE3, 10, 0),
	IF(OWN_CLONE, 5, 0),
	IF(OWN_UNSHARE, 4, 7),

	LOAD(nr),
	IF(CLONE3, 6, 0),
	IF(KIN_CLONE, 1, 0),
	IF(KIN_UNSHARE, 0, 3),

	LOAD(args[0]), /* the lower half, where the flags are: both machines are little-endian */
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 0, 1),
	ANSWER(SECCOMP_RET_ERRNO | EPERM),
	ANSWER(SECCOMP_RET_ALLOW),
	ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
};

/* TIOCSTI types a byte, TIOCLINUX pastes a selection. The kernel takes the lower half of the request
 * only, so that is what must be looked at (CVE-2019-7303). */
static struct sock_filter without_terminal_input[] = {
	LOAD(arch),
	IF(OWN, 2, 0),
	IF(KIN, 5, 0),
	ANSWER(SECCOMP_RET_ERRNO | ENOSYS),

	LOAD(nr),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(unsigned)X32),
	IF(OWN_IOCTL, 3, 0),
	IF(X32_IOCTL, 2, 6),

	LOAD(nr),
	IF(KIN_IOCTL, 0, 4),

	LOAD(args[1]),
	IF(TIOCSTI, 1, 0),
	IF(TIOCLINUX, 0, 1),
	ANSWER(SECCOMP_RET_ERRNO | EPERM),
	ANSWER(SECCOMP_RET_ALLOW),
};

static int install(struct sock_filter *filter, size_t length)
{
	const struct sock_fprog program = {.len = (unsigned short)length, .filter = filter};
	return outcome(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

int perform_no_user_namespaces(struct launch *launch, const struct step *step)
{
	(void)launch, (void)step;
	return install(without_user_namespaces, sizeof without_user_namespaces / sizeof *without_user_namespaces);
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The bytes that so many digits stand for, up to the padding; -1 when they are not base64. */
static long decoded_length(const char *word)
{
	size_t length = strlen(word), padding = length - strspn(word, digits);
	if (length % 4 != 0 || padding > 2 || strspn(word + length - padding, "=") != padding)
		return -1;
	return (long)(length / 4 * 3 - padding);
}

_Bool filter_ok(const char *word)
{
	long length = decoded_length(word), one = sizeof(struct sock_filter);
	return length > 0 && length % one == 0 && length / one <= BPF_MAXINSNS;
}

int perform_seccomp(struct launch *launch, const struct step *step)
{
	if (launch->filter != NULL)
		return -EEXIST;
	launch->filter = step->argv[0];
	return 0;
}

int load_filter(const struct launch *launch)
{
	static struct sock_filter instructions[BPF_MAXINSNS];
	if (launch->filter == NULL)
		return 0;
	/* Ten thousand digits are looked up here, so not by a search. */
	unsigned char value[256], *to = (unsigned char *)instructions;
	for (unsigned i = 0; digits[i] != '\0'; i++)
		value[(unsigned char)digits[i]] = (unsigned char)i;
	unsigned bits = 0, count = 0;
	for (const char *at = launch->filter; *at != '\0' && *at != '='; at++) {
		bits = bits << 6 | value[(unsigned char)*at];
		count += 6;
		if (count >= 8) {
			count -= 8;
			*to++ = (unsigned char)(bits >> count);
		}
	}
	return install(instructions, (size_t)decoded_length(launch->filter) / sizeof *instructions);
}

int forbid_terminal_input(void)
{
	return install(without_terminal_input, sizeof without_terminal_input / sizeof *without_terminal_input);
}
