/* ready_probe.c - runs modelmap-score --probe in a child and reads its answer.
 *
 * The child reads files that others wrote, so its answer is taken for hostile too: bounded in size, every field
 * checked, strings made one line of valid UTF-8. Of the numbers only those are kept that fit.
 */
#include "daemon/core_priv.h"

#include <signal.h>
#include <string.h>

#define ANSWER_MAX (16u << 20)
#define QUICK_S	   300.0
#define FULL_RATE  5e6 /* bytes per second that a full fingerprint must reach, a slow file server's pace */
#define FILES_MAX  100000

static int get_text(const json_t *o, const char *key, size_t cap, char **out, struct mm_err *err)
{
	const json_t *v = json_object_get(o, key);
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return mm_fail(err, MM_EFORMAT, "probe: %s is not a string", key);
	size_t n = json_string_length(v);
	char *s = mm_calloc(MM_MIN(n, cap) + 1, 1, err);
	if (!s)
		return -1;
	mm_utf8_sanitize(s, MM_MIN(n, cap) + 1, json_string_value(v), n);
	mm_free(*out);
	*out = s;
	return 0;
}

static int get_u64(const json_t *o, const char *key, uint64_t *out, struct mm_err *err)
{
	int64_t v = 0;
	if (mm_json_get_i64(o, key, 0, INT64_MAX, &v, err))
		return mm_wrap(err, "probe");
	*out = (uint64_t)v;
	return 0;
}

static int get_hash(const json_t *o, const char *key, struct mm_hash *out, struct mm_err *err)
{
	const char *s = NULL;
	if (mm_json_get_str(o, key, &s, err))
		return mm_wrap(err, "probe");
	return s && !mm_hash_parse(s, out) ? mm_fail(err, MM_EFORMAT, "probe: %s is not a fingerprint", key) : 0;
}

static int get_reason(const json_t *o, struct mm_probe_result *p, struct mm_err *err)
{
	const json_t *r = json_object_get(o, "reason");
	char *code = NULL;
	if (!r || json_is_null(r))
		return 0;
	if (!json_is_object(r))
		return mm_fail(err, MM_EFORMAT, "probe: reason is not an object");
	int rc = get_text(r, "code", sizeof p->code - 1, &code, err) || get_text(r, "file", 500, &p->file, err) ||
		 get_text(r, "text", 900, &p->text, err) || get_u64(r, "missing_bytes", &p->missing_bytes, err);
	snprintf(p->code, sizeof p->code, "%s", code ? code : "unknown");
	mm_free(code);
	return rc ? -1 : 0;
}

static int get_files(const json_t *o, struct mm_probe_result *p, struct mm_err *err)
{
	const json_t *list = json_object_get(o, "files"), *f;
	struct mm_buf b = { 0 };
	size_t i;
	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > FILES_MAX)
		return mm_fail(err, MM_EFORMAT, "probe: files is not a list of reasonable length");
	int rc = 0;
	json_array_foreach (list, i, f) {
		const char *name = "";
		int64_t bytes = 0, mtime = 0, ino = 0;
		if (!json_is_object(f)) {
			rc = mm_fail(err, MM_EFORMAT, "probe: files holds something else than objects");
			break;
		}
		if (mm_json_get_str(f, "name", &name, err) || mm_json_get_i64(f, "bytes", 0, INT64_MAX, &bytes, err) ||
			mm_json_get_i64(f, "mtime_ns", INT64_MIN, INT64_MAX, &mtime, err) ||
			mm_json_get_i64(f, "ino", INT64_MIN, INT64_MAX, &ino, err)) {
			rc = mm_wrap(err, "probe: files");
			break;
		}
		mm_buf_u64(&b, strlen(name));
		mm_buf_str(&b, name);
		mm_buf_u64(&b, (uint64_t)bytes);
		mm_buf_u64(&b, (uint64_t)mtime);
		mm_buf_u64(&b, (uint64_t)ino);
		p->newest_ns = MM_MAX(p->newest_ns, mtime);
		if (!mm_add(p->file_bytes, (size_t)bytes, &p->file_bytes))
			p->file_bytes = SIZE_MAX;
	}
	if (!rc)
		rc = mm_buf_check(&b, err);
	if (!rc)
		p->stat_id = mm_hash_of(b.data, b.len);
	mm_buf_fini(&b);
	return rc;
}

static int get_meta(const json_t *o, struct mm_probe_result *p, struct mm_err *err)
{
	const json_t *m = json_object_get(o, "meta");
	if (!m || json_is_null(m))
		return 0;
	if (!json_is_object(m))
		return mm_fail(err, MM_EFORMAT, "probe: meta is not an object");
	return get_text(m, "family", 60, &p->family, err) || get_text(m, "architecture", 100, &p->architecture, err) ||
			       get_text(m, "dtype", 30, &p->dtype, err) ||
			       get_text(m, "container", 30, &p->container, err) ||
			       get_text(m, "base_claimed", 300, &p->base_claimed, err) ||
			       get_u64(m, "params", &p->params, err) || get_u64(m, "bytes", &p->bytes, err) ||
			       get_u64(m, "context", &p->context, err) || get_u64(m, "vocab", &p->vocab, err)
		       ? -1
		       : 0;
}

int mm_probe_parse(const char *data, size_t len, struct mm_probe_result *out, struct mm_err *err)
{
	struct mm_probe_result p = { 0 };
	const char *state = NULL;
	json_t *o = mm_json_parse(data, len, "probe", err);
	if (!o)
		return -1;
	int rc = -1;
	if (!json_is_object(o)) {
		mm_fail(err, MM_EFORMAT, "probe: the answer is not an object");
		goto out;
	}
	if (mm_json_get_str(o, "state", &state, err) || get_reason(o, &p, err) || get_hash(o, "quick", &p.quick, err) ||
		get_hash(o, "full", &p.full, err) || get_files(o, &p, err) || get_meta(o, &p, err))
		goto out;
	p.ready = state && !strcmp(state, "ready");
	p.failed = state && !strcmp(state, "failed");
	if (!state || (!p.ready && !p.failed && strcmp(state, "waiting"))) {
		mm_fail(err, MM_EFORMAT, "probe: no state that we know");
		goto out;
	}
	if (p.ready && (mm_hash_is_zero(p.quick) || mm_hash_is_zero(p.stat_id))) {
		mm_fail(err, MM_EFORMAT, "probe: ready, but without fingerprint or files");
		goto out;
	}
	if (!p.ready && !p.code[0])
		snprintf(p.code, sizeof p.code, "unknown");
	*out = p;
	p = (struct mm_probe_result){ 0 };
	rc = 0;
out:
	mm_probe_result_fini(&p);
	json_decref(o);
	return rc;
}

void mm_probe_result_fini(struct mm_probe_result *p)
{
	mm_free(p->file);
	mm_free(p->text);
	mm_free(p->family);
	mm_free(p->architecture);
	mm_free(p->dtype);
	mm_free(p->container);
	mm_free(p->base_claimed);
	*p = (struct mm_probe_result){ 0 };
}

/* ---- the child ---- */

struct mm_prober {
	struct mm_child *child;
	struct mm_buf answer;
	mm_probe_done done;
	void *ctx;
};

static int on_answer(void *ctx, const void *data, size_t len)
{
	struct mm_prober *p = ctx;
	mm_buf_put(&p->answer, data, len);
	return 0;
}

static void on_end(void *ctx, const struct mm_child_end *e)
{
	struct mm_prober *p = ctx;
	struct mm_probe_result r;
	struct mm_err err;
	int rc = -1;
	if (e->killed_for)
		mm_fail(&err, e->stuck ? MM_ETIMEOUT : MM_EIO, "the probe was stopped: %s%s", e->killed_for,
			e->stuck ? " (it hangs in the kernel)" : "");
	else if (!e->exited && e->status == SIGKILL)
		mm_fail(&err, MM_EBUSY, "the probe was killed");
	else if (!e->exited)
		mm_fail(&err, MM_EINTERNAL, "the probe died by signal %d (%s)", e->status, strsignal(e->status));
	else if (e->status)
		mm_fail(&err, MM_EIO, "the probe failed: %s", *e->err_tail ? e->err_tail : "without a word");
	else if (!mm_buf_check(&p->answer, &err))
		rc = mm_probe_parse((const char *)p->answer.data, p->answer.len, &r, &err);
	mm_probe_done done = p->done;
	void *c = p->ctx;
	mm_buf_fini(&p->answer);
	mm_free(p);
	done(c, rc ? NULL : &r, rc ? &err : NULL);
	if (!rc)
		mm_probe_result_fini(&r);
}

struct mm_prober *mm_probe_start(struct mm_daemon *d, const char *root, const char *path, bool full, uint64_t bytes,
	mm_probe_done done, void *ctx, struct mm_err *err)
{
	const char *argv[] = { d->score_program, "--probe", path, "--search", root, "--priority", mm_scorer_priority(d),
		full ? "--full" : NULL, NULL };
	struct mm_prober *p = mm_calloc(1, sizeof *p, err);
	if (!p)
		return NULL;
	p->done = done;
	p->ctx = ctx;
	struct mm_child_opts o = { .argv = argv,
		.threads = 1,
		.timeout = QUICK_S + (full ? (double)bytes / FULL_RATE : 0),
		.max_out = ANSWER_MAX,
		.out = on_answer,
		.end = on_end,
		.ctx = p };
	if (!(p->child = mm_child_start(d->loop, &o, err))) {
		mm_free(p);
		return NULL;
	}
	return p;
}

void mm_probe_cancel(struct mm_prober *p)
{
	if (!p)
		return;
	mm_child_abandon(p->child);
	mm_buf_fini(&p->answer);
	mm_free(p);
}
