/*
 * The system calls Node lacks, one JavaScript function each, all synchronous. Arguments are checked
 * for type only; policy lives in TypeScript. A failing call throws an Error with the fields Node's
 * own errors have: `code` (ENOENT), `errno` (negative) and `syscall`.
 */
#include "addon.h"

static int export_functions(napi_env env, napi_value exports, const struct function *functions)
{
	for (; functions->name != NULL; functions++) {
		napi_value value;
		if (napi_create_function(env, functions->name, NAPI_AUTO_LENGTH, functions->call, NULL, &value) != napi_ok ||
		    napi_set_named_property(env, exports, functions->name, value) != napi_ok)
			return -1;
	}
	return 0;
}

NAPI_MODULE_INIT()
{
	if (export_functions(env, exports, file_functions) < 0 || export_functions(env, exports, process_functions) < 0 ||
	    export_functions(env, exports, host_functions) < 0)
		return NULL;
	return exports;
}
