/* Requests, replies and events from bytes: whatever comes in, no crash, and what passes keeps its promises. */
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_request q;
	if (!mm_request_parse(data, size, &q, &err)) {
		check(q.cmd && json_is_object(q.body) && size <= MM_REQUEST_MAX);
		for (const struct mm_arg *a = q.cmd->arg; a->name; a++) {
			const json_t *v = json_object_get(q.body, a->name);
			check(v || !a->required);
			check(!v || a->type != MM_ARG_STR || strlen(json_string_value(v)) == json_string_length(v));
		}
		mm_request_fini(&q);
	} else {
		check(*err.text && err.code != MM_OK && mm_utf8_valid(err.text, strlen(err.text)) &&
			!strchr(err.text, '\n') && !q.body);
		json_t *r = mm_reply_error(q.id, &err); /* every refusal can be told */
		check(r != NULL);
		json_decref(r);
	}
	int64_t id;
	json_t *body;
	bool refused;
	struct mm_err why = { 0 };
	if (!mm_reply_parse(data, size, &id, &body, &refused, &why)) {
		check(json_is_object(body) && !json_object_get(body, "ok"));
		struct mm_event_head h;
		if (!mm_event_head(body, &h, &why))
			check(h.boot && h.type);
		json_decref(body);
	} else {
		check(*why.text && !body);
	}
	return 0;
}
