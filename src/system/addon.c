#include "addon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call begin(napi_env env, napi_callback_info info)
{
	struct call c = {.env = env, .argc = MAX_ARGS, .ok = 1};
	if (napi_get_cb_info(env, info, &c.argc, c.argv, NULL, NULL) != napi_ok)
		c.ok = 0;
	return c;
}

napi_value bad_arguments(napi_env env)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "binding: argument of the wrong type");
	return NULL;
}

int64_t integer(struct call *c, size_t i)
{
	int64_t value = 0;
	if (i >= c->argc || napi_get_value_int64(c->env, c->argv[i], &value) != napi_ok)
		c->ok = 0;
	return value;
}

int fd_of(struct call *c, size_t i)
{
	return (int)integer(c, i);
}

/* As text(); NULL for what is none. */
static char *text_of(napi_env env, napi_value value)
{
	size_t length = 0, got = 0;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok)
		return NULL;
	char *text = malloc(length + 1);
	if (text == NULL)
		return NULL;
	if (napi_get_value_string_utf8(env, value, text, length + 1, &got) != napi_ok ||
	    strlen(text) != length) {
		free(text);
		return NULL;
	}
	return text;
}

char *text(struct call *c, size_t i)
{
	char *value = i < c->argc ? text_of(c->env, c->argv[i]) : NULL;
	if (value == NULL)
		c->ok = 0;
	return value;
}

void bytes(struct call *c, size_t i, void **data, size_t *length)
{
	napi_typedarray_type type;
	*data = NULL;
	*length = 0;
	if (i >= c->argc ||
	    napi_get_typedarray_info(c->env, c->argv[i], &type, length, data, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array)
		c->ok = 0;
}

static const char *errno_word(int number)
{
	const char *word = strerrorname_np(number);
	return word != NULL ? word : "EUNKNOWN";
}

napi_value fail(napi_env env, const char *syscall, int number)
{
	char message[256];
	const char *word = errno_word(number);
	napi_value code, msg, error, value;

	snprintf(message, sizeof message, "%s: %s, %s", word, strerror(number), syscall);
	if (napi_create_string_utf8(env, word, NAPI_AUTO_LENGTH, &code) != napi_ok ||
	    napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &msg) != napi_ok ||
	    napi_create_error(env, code, msg, &error) != napi_ok)
		return NULL;
	if (napi_create_int32(env, -number, &value) == napi_ok)
		napi_set_named_property(env, error, "errno", value);
	if (napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &value) == napi_ok)
		napi_set_named_property(env, error, "syscall", value);
	napi_throw(env, error);
	return NULL;
}

napi_value number(napi_env env, int64_t value)
{
	napi_value result = NULL;
	napi_create_int64(env, value, &result);
	return result;
}

napi_value boolean(napi_env env, int value)
{
	napi_value result = NULL;
	napi_get_boolean(env, value != 0, &result);
	return result;
}

napi_value done(napi_env env, const char *syscall, int result)
{
	return result < 0 ? fail(env, syscall, errno) : NULL;
}

void free_words(char **words)
{
	for (size_t i = 0; words != NULL && words[i] != NULL; i++)
		free(words[i]);
	free(words);
}

char **words_of(struct call *c, size_t i)
{
	uint32_t length = 0;
	if (i >= c->argc || napi_get_array_length(c->env, c->argv[i], &length) != napi_ok)
		return NULL;
	char **words = calloc((size_t)length + 1, sizeof *words);
	for (uint32_t w = 0; words != NULL && w < length; w++) {
		napi_value value;
		if (napi_get_element(c->env, c->argv[i], w, &value) != napi_ok ||
		    (words[w] = text_of(c->env, value)) == NULL) {
			free_words(words);
			return NULL;
		}
	}
	return words;
}
