/* What every function of the binding does with its arguments and results. */
#ifndef GANTRY_ADDON_H
#define GANTRY_ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_ARGS 8

/* The arguments of one call; `ok` turns false at the first argument of the wrong type. */
struct call {
	napi_env env;
	napi_value argv[MAX_ARGS];
	size_t argc;
	int ok;
};

struct call begin(napi_env env, napi_callback_info info);
int64_t integer(struct call *c, size_t i);
int fd_of(struct call *c, size_t i);
/* A string without NUL bytes as malloc'd UTF-8, or NULL. */
char *text(struct call *c, size_t i);
/* A NULL-terminated vector of an array of strings, or NULL; `ok` stays as it is. */
char **words_of(struct call *c, size_t i);
void free_words(char **words);
/* A Uint8Array's own memory. */
void bytes(struct call *c, size_t i, void **data, size_t *length);

napi_value number(napi_env env, int64_t value);
napi_value boolean(napi_env env, int value);
/* The result of a call that answers 0 or -1 with errno. */
napi_value done(napi_env env, const char *syscall, int result);
/* Throws what errno says of `syscall`. */
napi_value fail(napi_env env, const char *syscall, int number);
napi_value bad_arguments(napi_env env);

/* What JavaScript calls by that name; the last of an array has none. */
struct function {
	const char *name;
	napi_callback call;
};

extern const struct function file_functions[], process_functions[], host_functions[];

#endif
