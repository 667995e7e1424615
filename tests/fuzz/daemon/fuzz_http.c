/* fuzz_http.c - the target of an HTTP request becomes a request of the protocol or a refusal: never one that changes
 * something, never one that the table would not take, never a text that cannot be told. */
#include "daemon/http_priv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void one(const char *target)
{
	struct mm_http_ask a;
	struct mm_err err = { 0 };
	unsigned status;
	if (mm_http_parse(target, &a, &status, &err)) {
		check(status >= 400 && status < 600 && *err.text && err.code != MM_OK && !a.request.body);
		check(mm_utf8_valid(err.text, strlen(err.text)) && !strchr(err.text, '\n'));
		json_t *told = json_string(err.text);
		check(told != NULL);
		json_decref(told);
		return;
	}
	check(status == 200 && strlen(target) <= MM_HTTP_TARGET_MAX);
	if (a.kind == MM_HTTP_COMMAND || a.kind == MM_HTTP_EVENTS) {
		check(a.request.cmd && a.request.cmd->access == MM_READ && strcmp(a.request.cmd->name, "chunk"));
		check(!strcmp(json_string_value(json_object_get(a.request.body, "cmd")), a.request.cmd->name));
		for (const struct mm_arg *arg = a.request.cmd->arg; arg->name; arg++)
			check(!arg->required || json_object_get(a.request.body, arg->name));
	}
	mm_http_ask_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_http_addr addr;
	struct mm_err err;
	char *s = malloc(size + 1);
	check(s != NULL);
	if (size)
		memcpy(s, data, size);
	s[size] = 0;
	one(s);
	mm_http_host_is_local(s);
	if (!mm_http_addr_parse(s, &addr, &err)) {
		char url[80];
		mm_http_addr_url(&addr, url, sizeof url);
		check(!strncmp(url, "http://", 7));
	}
	free(s);
	return 0;
}
