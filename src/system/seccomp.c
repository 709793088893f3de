/*
 * System call filters, compiled by libseccomp, which is linked in: an addon of its own, since only those who
 * compile a filter need it. What a filter allows is TypeScript's to say.
 */
#define NAPI_VERSION 8
#include <errno.h>
#include <node_api.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The 32-bit kin of the machine's own calls; programs of these run too, by the same rules. */
#if defined __x86_64__
static const uint32_t kin[] = {SCMP_ARCH_X86};
#elif defined __aarch64__
static const uint32_t kin[] = {SCMP_ARCH_ARM};
#endif

/* Longer than the name of any system call or errno. */
#define MAX_NAME 64
/* Of a rule in the array of numbers: its action, and which bits of which argument must be what. */
enum { ACTION, ARGUMENT, MASK, VALUE, NUMBERS };
/* In place of an argument: the rule looks at none. */
enum { NO_ARGUMENT = 6 };

static napi_value fail(napi_env env, const char *what, int number)
{
	char message[160];
	const char *word = strerrorname_np(number);
	snprintf(message, sizeof message, "libseccomp: %s: %s", what, word != NULL ? word : "unknown error");
	napi_throw_error(env, NULL, message);
	return NULL;
}

static napi_value bad_arguments(napi_env env)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "seccomp: argument of the wrong type");
	return NULL;
}

/* A name of at most MAX_NAME - 1 bytes; a longer one is cut, and then none that anybody knows. */
static int name_of(napi_env env, napi_value value, char name[MAX_NAME])
{
	size_t length;
	return napi_get_value_string_utf8(env, value, name, MAX_NAME, &length) == napi_ok && strlen(name) == length;
}

/* The one argument, a name. */
static int only_name(napi_env env, napi_callback_info info, char name[MAX_NAME])
{
	size_t argc = 1;
	napi_value argument;
	return napi_get_cb_info(env, info, &argc, &argument, NULL, NULL) == napi_ok && argc > 0 && name_of(env, argument, name);
}

/* callNumber(name) -> the call's number, negative where this machine's own architecture has no such call;
 * undefined when libseccomp does not know it on any. */
static napi_value do_call_number(napi_env env, napi_callback_info info)
{
	char name[MAX_NAME];
	napi_value result = NULL;
	if (!only_name(env, info, name))
		return bad_arguments(env);
	int number = seccomp_syscall_resolve_name(name);
	if (number != __NR_SCMP_ERROR)
		napi_create_int32(env, number, &result);
	return result;
}

/* errnoNumber(name) -> of ENOENT and the like; undefined when there is no such errno. */
static napi_value do_errno_number(napi_env env, napi_callback_info info)
{
	char name[MAX_NAME];
	napi_value result = NULL;
	if (!only_name(env, info, name))
		return bad_arguments(env);
	for (int number = 1; number < 256; number++) {
		const char *known = strerrorname_np(number);
		if (known != NULL && strcmp(known, name) == 0) {
			napi_create_int32(env, number, &result);
			break;
		}
	}
	return result;
}

static int add_rule(scmp_filter_ctx filter, const char *name, const uint64_t *numbers)
{
	int call = seccomp_syscall_resolve_name(name);
	if (call == __NR_SCMP_ERROR)
		return -EINVAL;
	const struct scmp_arg_cmp condition = {
		.arg = (unsigned)numbers[ARGUMENT],
		.op = SCMP_CMP_MASKED_EQ,
		.datum_a = numbers[MASK],
		.datum_b = numbers[VALUE],
	};
	unsigned conditions = numbers[ARGUMENT] == NO_ARGUMENT ? 0 : 1;
	return seccomp_rule_add_array(filter, (uint32_t)numbers[ACTION], call, conditions, &condition);
}

/* A filter for every architecture of the machine, still without rules. */
static int begin(scmp_filter_ctx *filter, uint32_t otherwise)
{
	*filter = seccomp_init(otherwise);
	if (*filter == NULL)
		return -ENOMEM;
	int status = 0;
	for (size_t i = 0; status == 0 && i < sizeof kin / sizeof *kin; i++)
		status = seccomp_arch_add(*filter, kin[i]);
	/* A binary tree: the kernel tries every number when the filter is installed, to find out what it always allows. */
	if (status == 0)
		status = seccomp_attr_set(*filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return status;
}

/* What the kernel will be given, as a Buffer: libseccomp writes it to a file. */
static int take_program(napi_env env, scmp_filter_ctx filter, napi_value *result)
{
	struct stat st;
	void *bytes;
	int fd = memfd_create("filter", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int status = seccomp_export_bpf(filter, fd);
	if (status == 0 && fstat(fd, &st) < 0)
		status = -errno;
	if (status == 0 && napi_create_buffer(env, (size_t)st.st_size, &bytes, result) != napi_ok)
		status = -ENOMEM;
	if (status == 0 && pread(fd, bytes, (size_t)st.st_size, 0) != st.st_size)
		status = -EIO;
	close(fd);
	return status;
}

static napi_value compile(napi_env env, uint32_t otherwise, napi_value names, uint32_t count, const uint64_t *numbers)
{
	scmp_filter_ctx filter = NULL;
	char name[MAX_NAME] = "filter";
	napi_value result = NULL, value;
	int status = begin(&filter, otherwise);
	for (uint32_t i = 0; status == 0 && i < count; i++) {
		if (napi_get_element(env, names, i, &value) != napi_ok || !name_of(env, value, name))
			status = -EINVAL;
		else
			status = add_rule(filter, name, numbers + (size_t)i * NUMBERS);
	}
	if (status == 0)
		status = take_program(env, filter, &result);
	if (filter != NULL)
		seccomp_release(filter);
	return status == 0 ? result : fail(env, name, -status);
}

/* compile(otherwise, names, numbers) -> the program, as the kernel takes it. `otherwise` is the action of calls
 * without a rule; rule i is about call names[i], with numbers (a BigUint64Array) 4i to 4i+3 as above. */
static napi_value do_compile(napi_env env, napi_callback_info info)
{
	size_t argc = 3, length;
	napi_value argv[3];
	napi_typedarray_type type;
	uint32_t otherwise, count;
	void *numbers;
	if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc < 3 ||
	    napi_get_value_uint32(env, argv[0], &otherwise) != napi_ok ||
	    napi_get_array_length(env, argv[1], &count) != napi_ok ||
	    napi_get_typedarray_info(env, argv[2], &type, &length, &numbers, NULL, NULL) != napi_ok ||
	    type != napi_biguint64_array || length != (size_t)count * NUMBERS)
		return bad_arguments(env);
	return compile(env, otherwise, argv[1], count, numbers);
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback function;
	} functions[] = {
		{"callNumber", do_call_number},
		{"errnoNumber", do_errno_number},
		{"compile", do_compile},
	};
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		napi_value value;
		if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &value) !=
			napi_ok ||
		    napi_set_named_property(env, exports, functions[i].name, value) != napi_ok)
			return NULL;
	}
	return exports;
}
