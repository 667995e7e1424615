/* msg_parse.c - requests and replies as bytes: strict reading against the command table, and building.
 *
 * What comes in is hostile: size first, then JSON (depth, duplicate keys, UTF-8), then version, command, and every
 * argument by its row. A request that passes needs no second look by its handler, except for what names mean.
 */
#include "wire/wire.h"

#include <math.h>
#include <string.h>

#define STR_MAX 4096 /* bytes of a string argument without a bound of its own */

static const char *const envelope[] = { "v", "id", "cmd" };

static bool in_list(const char *const *list, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], s))
			return true;
	return false;
}

static int unknown_command(const char *name, struct mm_err *err)
{
	const char *names[64];
	size_t n = 0;
	for (; n < mm_n_cmds && n < MM_COUNT(names); n++)
		names[n] = mm_cmds[n].name;
	const char *near = mm_nearest(name, names, n);
	return mm_fail(err, MM_EUNSUPPORTED, "unknown command \"%.64s\"%s%s%s", name, near ? "; did you mean \"" : "",
		near ? near : "", near ? "\"?" : "");
}

static int unknown_key(const struct mm_cmd *c, const char *key, struct mm_err *err)
{
	const char *names[MM_CMD_MAX_ARGS];
	size_t n = 0;
	for (; n < MM_COUNT(names) && c->arg[n].name; n++)
		names[n] = c->arg[n].name;
	const char *near = mm_nearest(key, names, n);
	if (near)
		return mm_fail(
			err, MM_EINVAL, "%s: unknown argument \"%.64s\"; did you mean \"%s\"?", c->name, key, near);
	return mm_fail(
		err, MM_EINVAL, "%s: unknown argument \"%.64s\"%s", c->name, key, n ? "" : "; it takes no arguments");
}

static const struct mm_arg *arg_find(const struct mm_cmd *c, const char *key)
{
	for (const struct mm_arg *a = c->arg; a->name; a++)
		if (!strcmp(a->name, key))
			return a;
	return NULL;
}

static bool is_choice(const char *choices, const char *s)
{
	size_t n = strlen(s);
	for (const char *p = choices; *p;) {
		size_t len = strcspn(p, "|");
		if (len == n && !memcmp(p, s, n))
			return true;
		p += len + (p[len] == '|');
	}
	return false;
}

static int check_str(const struct mm_cmd *c, const struct mm_arg *a, const json_t *v, struct mm_err *err)
{
	const char *s = json_string_value(v);
	size_t n = json_string_length(v), max = a->max > 0 ? (size_t)a->max : STR_MAX;
	if (strlen(s) != n)
		return mm_fail(err, MM_EINVAL, "%s: argument \"%s\" holds a NUL character", c->name, a->name);
	if (n < (size_t)a->min)
		return mm_fail(err, MM_EINVAL, "%s: argument \"%s\" is empty", c->name, a->name);
	if (n > max)
		return mm_fail(err, MM_EINVAL, "%s: argument \"%s\" has %zu bytes, at most %zu are allowed", c->name,
			a->name, n, max);
	if (a->choices && !is_choice(a->choices, s))
		return mm_fail(err, MM_EINVAL, "%s: argument \"%s\" is \"%.64s\", expected one of %s", c->name, a->name,
			s, a->choices);
	return 0;
}

static int check_arg(const struct mm_cmd *c, const struct mm_arg *a, const json_t *v, struct mm_err *err)
{
	bool right = a->type == MM_ARG_STR    ? json_is_string(v)
		     : a->type == MM_ARG_INT  ? json_is_integer(v)
		     : a->type == MM_ARG_NUM  ? json_is_number(v)
		     : a->type == MM_ARG_BOOL ? json_is_boolean(v)
					      : false;
	if (!right)
		return mm_fail(
			err, MM_EINVAL, "%s: argument \"%s\" must be %s", c->name, a->name, mm_arg_type_name(a->type));
	if (a->type == MM_ARG_STR)
		return check_str(c, a, v, err);
	if (a->type == MM_ARG_BOOL || a->max <= a->min)
		return 0;
	double x = json_number_value(v);
	if (!isfinite(x) || x < a->min || x > a->max)
		return mm_fail(err, MM_EINVAL, "%s: argument \"%s\" is %.17g, outside %.17g .. %.17g", c->name, a->name,
			x, a->min, a->max);
	return 0;
}

static int check_args(const struct mm_cmd *c, json_t *body, struct mm_err *err)
{
	const char *key;
	json_t *v;
	json_object_foreach (body, key, v) {
		if (in_list(envelope, MM_COUNT(envelope), key))
			continue;
		const struct mm_arg *a = arg_find(c, key);
		if (!a)
			return unknown_key(c, key, err);
		if (check_arg(c, a, v, err))
			return -1;
	}
	for (const struct mm_arg *a = c->arg; a->name; a++)
		if (a->required && !json_object_get(body, a->name))
			return mm_fail(err, MM_EINVAL, "%s: argument \"%s\" (%s) is missing", c->name, a->name,
				mm_arg_type_name(a->type));
	return 0;
}

static int check_version(const json_t *body, struct mm_err *err)
{
	const json_t *v = json_object_get(body, "v");
	if (!json_is_integer(v))
		return mm_fail(err, MM_EINVAL, "key \"v\" (the protocol's version, %d) is %s", MM_WIRE_VERSION,
			v ? "not an integer" : "missing");
	if (json_integer_value(v) != MM_WIRE_VERSION)
		return mm_fail(err, MM_EUNSUPPORTED, "protocol version %lld; this program speaks %d",
			(long long)json_integer_value(v), MM_WIRE_VERSION);
	return 0;
}

int mm_request_parse(const void *data, size_t len, struct mm_request *out, struct mm_err *err)
{
	*out = (struct mm_request){ 0 };
	if (len > MM_REQUEST_MAX)
		return mm_fail(err, MM_EINVAL, "request has %zu bytes, at most %u are allowed", len, MM_REQUEST_MAX);
	json_t *body = mm_json_parse(data, len, "request", err);
	if (!body)
		return -1;
	const json_t *id = json_object_get(body, "id"), *cmd = json_object_get(body, "cmd");
	if (json_is_integer(id))
		out->id = json_integer_value(id);
	int rc = -1;
	if (!json_is_object(body))
		mm_fail(err, MM_EFORMAT, "request: expected an object");
	else if (check_version(body, err))
		rc = -1;
	else if (!json_is_integer(id))
		mm_fail(err, MM_EINVAL, "key \"id\" (an integer that the reply repeats) is %s",
			id ? "not an integer" : "missing");
	else if (!json_is_string(cmd))
		mm_fail(err, MM_EINVAL, "key \"cmd\" (a string) is %s", cmd ? "not a string" : "missing");
	else if (!(out->cmd = mm_cmd_find(json_string_value(cmd))))
		unknown_command(json_string_value(cmd), err);
	else
		rc = check_args(out->cmd, body, err);
	if (rc) {
		json_decref(body);
		out->cmd = NULL;
		return -1;
	}
	out->body = body;
	return 0;
}

void mm_request_fini(struct mm_request *r)
{
	json_decref(r->body);
	*r = (struct mm_request){ 0 };
}

json_t *mm_request_new(int64_t id, const char *cmd, json_t *args, struct mm_err *err)
{
	json_t *o = json_pack("{s:i, s:I, s:s}", "v", MM_WIRE_VERSION, "id", (json_int_t)id, "cmd", cmd);
	bool ok = o && (!args || !json_object_update(o, args));
	json_decref(args);
	if (ok)
		return o;
	json_decref(o);
	mm_fail(err, MM_ENOMEM, "out of memory for a request");
	return NULL;
}

/* Puts `body` behind the envelope; a key of the envelope in it is our own mistake, and found by every test that makes
 * the reply. */
static json_t *with_body(json_t *head, json_t *body, const char *what, struct mm_err *err)
{
	const char *key;
	json_t *v;
	bool ok = head && (!body || json_is_object(body));
	if (!ok)
		mm_fail(err, head ? MM_EINTERNAL : MM_ENOMEM, "%s: %s", what,
			head ? "its body is not an object" : "out of memory");
	json_object_foreach (body, key, v) {
		if (!ok)
			break;
		if (json_object_get(head, key)) {
			mm_fail(err, MM_EINTERNAL, "%s: its body uses the envelope's key \"%s\"", what, key);
			ok = false;
		} else if (json_object_set(head, key, v)) {
			mm_fail(err, MM_ENOMEM, "%s: out of memory", what);
			ok = false;
		}
	}
	json_decref(body);
	if (ok)
		return head;
	json_decref(head);
	return NULL;
}

json_t *mm_reply_ok(int64_t id, const char *cmd, json_t *body, struct mm_err *err)
{
	json_t *head =
		json_pack("{s:i, s:I, s:b, s:s}", "v", MM_WIRE_VERSION, "id", (json_int_t)id, "ok", 1, "cmd", cmd);
	return with_body(head, body, cmd, err);
}

json_t *mm_reply_error(int64_t id, const struct mm_err *why)
{
	return json_pack("{s:i, s:I, s:b, s:{s:s, s:s}}", "v", MM_WIRE_VERSION, "id", (json_int_t)id, "ok", 0, "error",
		"code", mm_err_name(why->code), "text", why->text);
}

static int reply_error(const json_t *e, bool *refused, struct mm_err *err)
{
	const char *code = json_string_value(json_object_get(e, "code"));
	const char *text = json_string_value(json_object_get(e, "text"));
	if (!code || !text)
		return mm_fail(err, MM_EFORMAT, "reply: an error without code or text");
	*refused = true;
	return mm_fail(err, mm_err_code_of(code), "%s", text);
}

int mm_reply_parse(const void *data, size_t len, int64_t *id, json_t **body, bool *refused, struct mm_err *err)
{
	static const char *const keys[] = { "v", "id", "ok", "cmd" };
	*id = -1;
	*body = NULL;
	*refused = false;
	json_t *o = mm_json_parse(data, len, "reply", err);
	if (!o)
		return -1;
	const json_t *jid = json_object_get(o, "id"), *ok = json_object_get(o, "ok");
	if (json_is_integer(jid))
		*id = json_integer_value(jid);
	int rc = -1;
	if (!json_is_object(o) || !json_is_integer(jid) || !json_is_boolean(ok))
		mm_fail(err, MM_EFORMAT, "reply: expected an object with v, id and ok");
	else if (!check_version(o, err))
		rc = json_is_true(ok) ? 0 : reply_error(json_object_get(o, "error"), refused, err);
	if (rc) {
		json_decref(o);
		return -1;
	}
	for (size_t i = 0; i < MM_COUNT(keys); i++)
		json_object_del(o, keys[i]);
	*body = o;
	return 0;
}

json_t *mm_event_new(const char *boot, int64_t seq, int64_t time, const char *type, json_t *body, struct mm_err *err)
{
	json_t *head = json_pack("{s:i, s:s, s:I, s:I, s:s}", "v", MM_WIRE_VERSION, "boot", boot, "seq",
		(json_int_t)seq, "time", (json_int_t)time, "type", type);
	return with_body(head, body, type, err);
}

int mm_event_head(const json_t *event, struct mm_event_head *out, struct mm_err *err)
{
	const json_t *boot = json_object_get(event, "boot"), *type = json_object_get(event, "type"),
		     *seq = json_object_get(event, "seq"), *time = json_object_get(event, "time");
	if (!json_is_string(boot) || !json_is_string(type) || !json_is_integer(seq) || !json_is_integer(time))
		return mm_fail(err, MM_EFORMAT, "event: expected an object with boot, seq, time and type");
	if (check_version(event, err))
		return -1;
	*out = (struct mm_event_head){ .boot = json_string_value(boot),
		.type = json_string_value(type),
		.seq = json_integer_value(seq),
		.time = json_integer_value(time) };
	return 0;
}
