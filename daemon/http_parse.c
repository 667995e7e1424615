/* http_parse.c - the target of a request as a request of the protocol: /api/v1/COMMAND?ARGUMENT=VALUE&...
 *
 * There is no second table: the query becomes the JSON object that a socket client would have sent, each value in the
 * type that the command's row wants, and goes through the same check. A value that cannot be had in that type stays a
 * string, so that the check says what is wrong with it.
 *
 * What comes in is hostile. Paths are compared, never opened; "..", "%2e" and their kin are simply no path of ours.
 */
#include "daemon/http_priv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define API	 "/api/v1/"
#define MAX_ARGS 32

unsigned mm_http_status(enum mm_err_code code)
{
	switch (code) {
	case MM_EINVAL:
	case MM_EFORMAT:
		return MHD_HTTP_BAD_REQUEST;
	case MM_ENOENT:
	case MM_EUNSUPPORTED:
		return MHD_HTTP_NOT_FOUND;
	case MM_EDENIED:
		return MHD_HTTP_FORBIDDEN;
	case MM_ECONFLICT:
		return MHD_HTTP_CONFLICT;
	case MM_EBUSY:
	case MM_ECANCELLED:
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	case MM_ETIMEOUT:
		return MHD_HTTP_GATEWAY_TIMEOUT;
	default:
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* s[0..n) decoded into out (n + 1 bytes). */
static int decode(const char *s, size_t n, char *out, struct mm_err *err)
{
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] != '%') {
			out[k++] = s[i] == '+' ? ' ' : s[i];
			continue;
		}
		int hi = i + 1 < n ? hex(s[i + 1]) : -1, lo = i + 2 < n ? hex(s[i + 2]) : -1;
		if (hi < 0 || lo < 0)
			return mm_fail(err, MM_EFORMAT, "a %% in the query without two hexadecimal digits behind it");
		if (!(hi | lo))
			return mm_fail(err, MM_EFORMAT, "a NUL character in the query");
		out[k++] = (char)(hi << 4 | lo);
		i += 2;
	}
	out[k] = 0;
	return mm_utf8_valid(out, k) ? 0 : mm_fail(err, MM_EFORMAT, "the query is not UTF-8");
}

static json_t *integer_of(const char *s)
{
	const char *digits = s + (*s == '-');
	char *end;
	errno = 0;
	long long v = strtoll(s, &end, 10);
	bool ok = *digits >= '0' && *digits <= '9' && !*end && !errno;
	return ok ? json_integer(v) : NULL;
}

static json_t *number_of(const char *s)
{
	char *end;
	const char *digits = s + (*s == '-');
	if (strspn(digits, "0123456789.eE+-") != strlen(digits) || !*digits || *digits == '+' || *digits == '-')
		return NULL;
	double v = strtod(s, &end);
	return !*end && isfinite(v) ? json_real(v) : NULL;
}

/* The value in the type that the row wants; a string where that cannot be. */
static json_t *value_of(const struct mm_arg *a, const char *s)
{
	json_t *v = NULL;
	if (a->type == MM_ARG_INT)
		v = integer_of(s);
	else if (a->type == MM_ARG_NUM)
		v = number_of(s);
	else if (a->type == MM_ARG_BOOL && (!*s || !strcmp(s, "true") || !strcmp(s, "1")))
		v = json_true();
	else if (a->type == MM_ARG_BOOL && (!strcmp(s, "false") || !strcmp(s, "0")))
		v = json_false();
	return v ? v : json_string(s);
}

static int put_arg(const struct mm_cmd *c, json_t *body, const char *key, const char *value, struct mm_err *err)
{
	const struct mm_arg *a = c->arg;
	while (a->name && strcmp(a->name, key))
		a++;
	/* Keys of the envelope too: nobody may put another command in. */
	if (!a->name && json_object_get(body, key))
		return mm_fail(err, MM_EINVAL, "%s: unknown argument \"%.64s\"", c->name, key);
	if (json_object_get(body, key))
		return mm_fail(err, MM_EINVAL, "%s: argument \"%.64s\" stands twice", c->name, key);
	static const struct mm_arg any = { .type = MM_ARG_STR };
	json_t *v = value_of(a->name ? a : &any, value);
	return v && !json_object_set_new(body, key, v) ? 0 : mm_fail(err, MM_ENOMEM, "out of memory for a request");
}

/* The arguments of `query` into body; scratch has room for all of it twice. */
static int put_args(const struct mm_cmd *c, json_t *body, const char *query, char *scratch, struct mm_err *err)
{
	for (unsigned n = 0; *query; n++) {
		size_t len = strcspn(query, "&"), eq = strcspn(query, "=&");
		char *key = scratch, *value = scratch + eq + 1;
		if (n == MAX_ARGS)
			return mm_fail(err, MM_EINVAL, "%s: more than %d arguments", c->name, MAX_ARGS);
		size_t skip = eq < len ? eq + 1 : len;
		if (decode(query, eq, key, err) || decode(query + skip, len - skip, value, err))
			return -1;
		if (len && put_arg(c, body, key, value, err))
			return -1;
		query += len + (query[len] == '&');
	}
	return 0;
}

static int parse_command(const struct mm_cmd *c, const char *query, struct mm_request *out, struct mm_err *err)
{
	json_t *body = mm_request_new(1, c->name, NULL, err);
	char *scratch = body ? mm_calloc(strlen(query) + 3, 1, err) : NULL, *text = NULL;
	int rc = scratch ? put_args(c, body, query, scratch, err) : -1;
	if (!rc)
		rc = (text = mm_json_dump(body, err)) ? mm_request_parse(text, strlen(text), out, err) : -1;
	mm_free(text);
	mm_free(scratch);
	json_decref(body);
	return rc;
}

/* The row that a path names; what cannot be asked here is refused with the reason. */
static const struct mm_cmd *command_of(const char *name, size_t n, struct mm_err *err)
{
	char word[64];
	const char *names[64];
	size_t k = 0;
	for (size_t i = 0; i < mm_n_cmds; i++) {
		const struct mm_cmd *c = &mm_cmds[i];
		bool hit = strlen(c->name) == n && !memcmp(c->name, name, n);
		if (hit && !strcmp(c->name, "chunk"))
			mm_fail(err, MM_EUNSUPPORTED, "chunk: not here; export answers with the bytes themselves");
		else if (hit && c->access != MM_READ)
			mm_fail(err, MM_EDENIED, "%s changes something, and HTTP only answers questions", c->name);
		else if (hit)
			return c;
		if (hit)
			return NULL;
		if (c->access == MM_READ && k < MM_COUNT(names))
			names[k++] = c->name;
	}
	snprintf(word, sizeof word, "%.*s", (int)MM_MIN(n, sizeof word - 1), name);
	const char *near = mm_nearest(word, names, k);
	mm_fail(err, MM_ENOENT, "there is no " API "%s%s%s%s", word, near ? "; did you mean \"" : "", near ? near : "",
		near ? "\"?" : "");
	return NULL;
}

int mm_http_parse(const char *target, struct mm_http_ask *out, unsigned *status, struct mm_err *err)
{
	size_t path = strcspn(target, "?");
	const char *query = target[path] ? target + path + 1 : "";
	*out = (struct mm_http_ask){ .kind = MM_HTTP_COMMAND };
	*status = MHD_HTTP_OK;
	if (strlen(target) > MM_HTTP_TARGET_MAX) {
		*status = MHD_HTTP_URI_TOO_LONG;
		return mm_fail(err, MM_EINVAL, "a request line has at most %d bytes", MM_HTTP_TARGET_MAX);
	}
	const struct mm_cmd *c = NULL;
	size_t api = sizeof API - 1;
	if (path == 1 && target[0] == '/') {
		out->kind = MM_HTTP_INDEX;
		return 0;
	}
	if (path == 8 && !memcmp(target, "/metrics", 8)) {
		out->kind = MM_HTTP_METRICS;
		return 0;
	}
	if (path > api && !memcmp(target, API, api)) {
		if (path - api == 6 && !memcmp(target + api, "events", 6)) {
			out->kind = MM_HTTP_EVENTS;
			c = mm_cmd_find("events_since");
		} else {
			c = command_of(target + api, path - api, err);
		}
	} else {
		mm_fail(err, MM_ENOENT, "there is nothing at this path; " API "COMMAND, /metrics and / are there");
	}
	int rc = c ? parse_command(c, query, &out->request, err) : -1;
	if (rc)
		*status = mm_http_status(err->code);
	return rc;
}

void mm_http_ask_fini(struct mm_http_ask *a)
{
	mm_request_fini(&a->request);
}
