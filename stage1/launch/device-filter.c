#include "device-filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's numbers of devices have 12 and 20 bits. */
enum { MAX_MAJOR = 0xfff, MAX_MINOR = 0xfffff, ANY = -1 };

struct rule {
	int kind, major, minor, access; /* BPF_DEVCG_DEV_…, a number or ANY, BPF_DEVCG_ACC_… */
};

/* A number or `*` up to the next colon; what follows that, or NULL. */
static const char *read_number(const char *at, unsigned long long max, int *number)
{
	char digits[16];
	unsigned long long value;
	size_t length = strcspn(at, ":");
	if (at[length] != ':' || length >= sizeof digits)
		return NULL;
	memcpy(digits, at, length);
	digits[length] = '\0';
	if (strcmp(digits, "*") == 0)
		*number = ANY;
	else if (parse_number(digits, 10, max, &value))
		*number = (int)value;
	else
		return NULL;
	return at + length + 1;
}

static int access_of(char letter)
{
	switch (letter) {
	case 'r':
		return BPF_DEVCG_ACC_READ;
	case 'w':
		return BPF_DEVCG_ACC_WRITE;
	case 'm':
		return BPF_DEVCG_ACC_MKNOD;
	default:
		return 0;
	}
}

static _Bool read_rule(const char *word, struct rule *rule)
{
	if ((word[0] != 'c' && word[0] != 'b') || word[1] != ':')
		return 0;
	rule->kind = word[0] == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK;
	rule->access = 0;
	const char *at = read_number(word + 2, MAX_MAJOR, &rule->major);
	if (at != NULL)
		at = read_number(at, MAX_MINOR, &rule->minor);
	if (at == NULL || *at == '\0')
		return 0;
	for (; *at != '\0'; at++) {
		if (access_of(*at) == 0)
			return 0;
		rule->access |= access_of(*at);
	}
	return 1;
}

_Bool device_rule_ok(const char *word)
{
	struct rule rule;
	return read_rule(word, &rule);
}

/* --- the program ------------------------------------------------------------------------------- */

enum { MAX_RULES = 256, RULE_LENGTH = 5, AROUND = 8 };

struct program {
	struct bpf_insn lines[AROUND + MAX_RULES * RULE_LENGTH];
	uint32_t length;
};

/* Registers: the answer, the context, and what the prologue takes from it. */
enum { ANSWER = BPF_REG_0, CONTEXT = BPF_REG_1, ACCESS = BPF_REG_2, KIND = BPF_REG_3, MAJOR = BPF_REG_4, MINOR = BPF_REG_5 };

static void add(struct program *p, int code, int to, int from, size_t offset, int value)
{
	p->lines[p->length++] = (struct bpf_insn){
		.code = (uint8_t)code,
		.dst_reg = (uint8_t)(to & 0xf),
		.src_reg = (uint8_t)(from & 0xf),
		.off = (int16_t)offset,
		.imm = value,
	};
}

static void load(struct program *p, int to, size_t offset)
{
	add(p, BPF_LDX | BPF_MEM | BPF_W, to, CONTEXT, offset, 0);
}

/* struct bpf_cgroup_dev_ctx has kind and access in one word: the lower half and the upper. */
static void begin(struct program *p)
{
	load(p, KIND, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	load(p, MAJOR, offsetof(struct bpf_cgroup_dev_ctx, major));
	load(p, MINOR, offsetof(struct bpf_cgroup_dev_ctx, minor));
	add(p, BPF_ALU64 | BPF_MOV | BPF_X, ACCESS, KIND, 0, 0);
	add(p, BPF_ALU64 | BPF_AND | BPF_K, KIND, 0, 0, 0xffff);
	add(p, BPF_ALU64 | BPF_MOV | BPF_K, ANSWER, 0, 0, 1);
}

/* What does not fit goes on behind the last line of the rule; what comes to that is allowed. */
static void allow(struct program *p, const struct rule *rule)
{
	const int others = (BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE) & ~rule->access;
	size_t left = 2 + (rule->major != ANY) + (rule->minor != ANY);
	add(p, BPF_JMP | BPF_JNE | BPF_K, KIND, 0, left--, rule->kind);
	add(p, BPF_JMP | BPF_JSET | BPF_K, ACCESS, 0, left--, others << 16);
	if (rule->major != ANY)
		add(p, BPF_JMP | BPF_JNE | BPF_K, MAJOR, 0, left--, rule->major);
	if (rule->minor != ANY)
		add(p, BPF_JMP | BPF_JNE | BPF_K, MINOR, 0, left, rule->minor);
	add(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void end(struct program *p)
{
	add(p, BPF_ALU64 | BPF_MOV | BPF_K, ANSWER, 0, 0, 0);
	add(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* --- into the kernel --------------------------------------------------------------------------- */

static int bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int load_program(const struct program *p)
{
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attributes.insns = (uint64_t)(uintptr_t)p->lines;
	attributes.insn_cnt = p->length;
	attributes.license = (uint64_t)(uintptr_t)"Apache-2.0";
	memcpy(attributes.prog_name, "gantry_devices", sizeof "gantry_devices");
	return bpf(BPF_PROG_LOAD, &attributes);
}

/* Beside those of whoever owns the group above (systemd's): a device is allowed when all say so. */
static int attach(int group, int program)
{
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.target_fd = (uint32_t)group;
	attributes.attach_bpf_fd = (uint32_t)program;
	attributes.attach_type = BPF_CGROUP_DEVICE;
	attributes.attach_flags = BPF_F_ALLOW_MULTI;
	return bpf(BPF_PROG_ATTACH, &attributes);
}

int filter_devices(const struct step *step)
{
	struct program p = {.length = 0};
	if (step->argc - 1 > MAX_RULES)
		return -E2BIG;
	begin(&p);
	for (size_t i = 1; i < step->argc; i++) {
		struct rule rule;
		if (!read_rule(step->argv[i], &rule))
			return -EINVAL;
		allow(&p, &rule);
	}
	end(&p);
	int group = open(step->argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (group < 0)
		return -errno;
	int program = load_program(&p), status = outcome(program);
	if (program >= 0) {
		status = outcome(attach(group, program));
		close(program);
	}
	close(group);
	return status;
}
