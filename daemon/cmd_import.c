/* cmd_import.c: models whose vectors a client brings (`import`), and models that are taken off the map (`forget`).
 *
 * A row comes in pieces that fit into a request: {import, texts, name, offset, data, more}, and what else is known of
 * the model (import_meta.c). Whole rows are kept here
 * until a piece says `commit`: then all of them become models in ONE transaction, or none does. So a client that is
 * killed, or a daemon that is, leaves whole batches; the same import again finds them ("same") and adds only what is
 * missing.
 *
 * An imported model has no files: its path is "import:NAME", which no watched directory can hold. Everything else
 * treats it as a scored model. What was scored here stays as it is when an import has the same name ("kept").
 *
 * Every row would look whether the map has grown enough for a new epoch; an import keeps that back (mm_map_hold) and
 * the client asks for one epoch in the end. */
#include "daemon/core_priv.h"
#include "daemon/map_priv.h"

#include <math.h>
#include <string.h>

#define ROWS_MAX    256
#define BATCH_MAX   ((size_t)256 << 20)
#define ABOVE_ZERO  1e-2f /* as scorer_check.c: rounding of a sum */
#define HOLD_S	    30.0  /* without a further piece the map may be fitted again */
#define PATH_PREFIX "import:"

struct mm_import {
	int64_t token;
	struct {
		char *name;
		struct mm_buf data; /* float32, little-endian */
		struct mm_import_meta meta;
	} row[ROWS_MAX];
	size_t n; /* begun */
};

static void stage_clear(struct mm_import *im)
{
	for (size_t i = 0; i < im->n; i++) {
		mm_free(im->row[i].name);
		mm_buf_fini(&im->row[i].data);
		mm_import_meta_fini(&im->row[i].meta);
	}
	*im = (struct mm_import){ 0 };
}

void mm_import_free(struct mm_import *im)
{
	if (im)
		stage_clear(im);
	mm_free(im);
}

bool mm_reg_imported(const struct mm_model_entry *e)
{
	return e->rec.path && !strncmp(e->rec.path, PATH_PREFIX, strlen(PATH_PREFIX));
}

/* ---- pieces ---- */

static int check_texts(const struct mm_daemon *d, const json_t *args, struct mm_err *err)
{
	char ours[MM_HASH_HEX];
	const char *theirs = json_string_value(json_object_get(args, "texts"));
	mm_hash_hex(d->texts.hash, ours);
	if (theirs && !strcmp(theirs, ours))
		return 0;
	return mm_fail(err, MM_ECONFLICT,
		"the vectors belong to another text set (%.40s) than the daemon's (%s, %zu texts); a daemon with that "
		"set "
		"needs it in texts: and a state_dir of its own",
		theirs ? theirs : "none", ours, d->texts.n);
}

/* The row that the piece belongs to: a new one, or the last, where it goes on. */
static int row_for(
	struct mm_import *im, const char *name, int64_t offset, size_t n_byte, size_t *at, struct mm_err *err)
{
	if (offset == 0) {
		if (im->n && im->row[im->n - 1].data.len < n_byte) { /* given up by who sent it */
			mm_free(im->row[--im->n].name);
			mm_buf_fini(&im->row[im->n].data);
			mm_import_meta_fini(&im->row[im->n].meta);
		}
		if (im->n == ROWS_MAX || (im->n + 1) * n_byte > BATCH_MAX + n_byte)
			return mm_fail(err, MM_EINVAL, "more than %zu models without a commit", im->n);
		if (!(im->row[im->n].name = mm_strdup(name, err)))
			return -1;
		im->row[im->n].data = (struct mm_buf){ 0 };
		im->row[im->n].meta = (struct mm_import_meta){ 0 };
		im->n++;
	}
	*at = im->n - 1;
	if (!im->n || strcmp(im->row[*at].name, name) != 0 || im->row[*at].data.len != (size_t)offset)
		return mm_fail(err, MM_ECONFLICT,
			"this piece of %s starts at byte %lld, which is not where the last one ended: another import "
			"came "
			"between; import again",
			name, (long long)offset);
	return 0;
}

static int check_row(const struct mm_buf *b, const char *name, size_t n, struct mm_err *err)
{
	const float *v = (const float *)(const void *)b->data;
	if (b->len != n * sizeof(float))
		return mm_fail(err, MM_EINVAL, "%s has %zu bytes of log-likelihoods, %zu texts have %zu", name, b->len,
			n, n * sizeof(float));
	for (size_t i = 0; i < n; i++)
		if (!isfinite(v[i]) || v[i] > ABOVE_ZERO)
			return mm_fail(err, MM_EINVAL, "%s: %g is no log-likelihood (text %zu)", name, (double)v[i], i);
	return 0;
}

static int take_piece(struct mm_daemon *d, struct mm_import *im, const json_t *args, struct mm_err *err)
{
	const json_t *data = json_object_get(args, "data");
	const char *given = json_string_value(json_object_get(args, "name"));
	int64_t token = 0, offset = 0;
	bool more = false;
	char name[1100];
	size_t at = 0, n = d->texts.n;
	if (check_texts(d, args, err) || mm_json_get_i64(args, "import", 1, INT64_MAX, &token, err) ||
		mm_json_get_i64(args, "offset", 0, INT64_MAX, &offset, err) ||
		mm_json_get_bool(args, "more", &more, err))
		return -1;
	if (im->token != token) {
		stage_clear(im);
		im->token = token;
	}
	mm_utf8_sanitize(name, sizeof name, given ? given : "", given ? strlen(given) : 0);
	if (row_for(im, name, offset, n * sizeof(float), &at, err))
		return -1;
	for (size_t i = 0; i < at; i++)
		if (!strcmp(im->row[i].name, name))
			return mm_fail(err, MM_EINVAL, "two models of one batch are called %s", name);
	struct mm_buf *b = &im->row[at].data;
	if (mm_import_meta_take(&im->row[at].meta, args, err) ||
		mm_base64_parse(b, json_string_value(data), json_string_length(data), err))
		return -1;
	if (b->len > n * sizeof(float) || !more)
		return check_row(b, name, n, err);
	return 0;
}

/* ---- a batch becomes models ---- */

struct change {
	struct mm_model_entry *e;
	struct mm_model_rec rec; /* as it will be */
	const float *v;
	float *loglik;
	bool fresh, described; /* described: the vector is there already */
};

struct batch {
	struct change change[ROWS_MAX];
	size_t n, n_fresh, n_same, n_replaced, n_described, n_texts;
	json_t *kept;
};

static int fill(const struct mm_daemon *d, struct mm_model_rec *r, const float *v, struct mm_err *err)
{
	size_t n = d->texts.n;
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (double)v[i];
	r->state = MM_ST_PLACED;
	r->gone = false;
	r->has_vector = true;
	r->same_as = 0;
	r->scored_at = r->state_since = mm_now();
	r->mean_loglik = n ? sum / (double)n : 0;
	r->bits_per_byte = d->texts.mean_bytes > 0 ? -r->mean_loglik / (d->texts.mean_bytes * M_LN2) : 0;
	return mm_reg_str(&r->container, "imported", err) || mm_reg_str(&r->note, "imported", err) ||
			       mm_reg_str(&r->reason, NULL, err) || mm_reg_str(&r->reason_code, NULL, err)
		       ? -1
		       : 0;
}

static struct mm_model_entry *fresh_entry(struct mm_daemon *d, const char *name, struct mm_err *err)
{
	struct mm_model_entry *e = mm_calloc(1, sizeof *e, err);
	char *path = e ? mm_asprintf(err, "%s%s", PATH_PREFIX, name) : NULL;
	if (e) {
		e->rec.step = -1;
		e->rec.first_seen = mm_now();
	}
	if (path && !mm_reg_set_path(d, e, name, path, err)) {
		mm_free(path);
		return e;
	}
	mm_free(path);
	if (e)
		mm_reg_discard(d, e);
	return NULL;
}

/* What becomes of one row: nothing (kept, same), or a change. */
static int plan(struct mm_daemon *d, struct batch *b, const char *name, const float *v,
	const struct mm_import_meta *meta, bool force, struct mm_err *err)
{
	struct mm_model_entry *e = mm_reg_by_name(d, name);
	size_t n_byte = b->n_texts * sizeof(float);
	struct change *c = &b->change[b->n];
	if (e && !mm_reg_imported(e)) {
		json_array_append_new(b->kept, json_string(name));
		return 0;
	}
	bool there = e && e->loglik && !e->rec.gone, same = there && !memcmp(e->loglik, v, n_byte);
	if (same && !mm_import_meta_new(meta, &e->rec)) {
		b->n_same++;
		return 0;
	}
	if (there && !same && !force)
		return mm_fail(
			err, MM_ECONFLICT, "%s was imported with other log-likelihoods; --force replaces them", name);
	*c = (struct change){ .e = e, .v = v, .fresh = !e, .described = same };
	if (!e && !(c->e = fresh_entry(d, name, err)))
		return -1;
	b->n++;
	b->n_fresh += c->fresh;
	b->n_described += same;
	b->n_replaced += !c->fresh && !same;
	if (mm_model_rec_dup(&c->rec, &c->e->rec, err) || (!same && fill(d, &c->rec, v, err)) ||
		mm_import_meta_put(meta, &c->rec, err) || !(c->loglik = mm_calloc(b->n_texts, sizeof(float), err)))
		return -1;
	memcpy(c->loglik, v, n_byte);
	return 0;
}

static int write_batch(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	struct batch *b = ctx;
	for (size_t i = 0; i < b->n; i++) {
		struct change *c = &b->change[i];
		struct mm_stored_array a = { .name = "loglik",
			.type = MM_A_F32,
			.n_dim = 1,
			.dim = { b->n_texts },
			.data = c->loglik,
			.n_byte = b->n_texts * sizeof(float) };
		c->rec.id = c->fresh ? 0 : c->e->rec.id; /* it may run again */
		if (mm_model_put(t, &c->rec, err) || mm_array_put(t, c->rec.id, &a, err))
			return -1;
	}
	return 0;
}

/* Stored: now memory, the map, the others. */
static void take_over(struct mm_daemon *d, struct batch *b)
{
	struct mm_err err;
	for (size_t i = 0; i < b->n; i++) {
		struct change *c = &b->change[i];
		struct mm_model_entry *e = c->e;
		mm_model_rec_fini(&e->rec);
		e->rec = c->rec;
		c->rec = (struct mm_model_rec){ 0 };
		mm_map_retire(d, e->loglik);
		e->loglik = c->loglik;
		e->not_finite = false;
		c->loglik = NULL;
		if (c->fresh && mm_reg_insert(d, e, &err))
			mm_log(MM_LOG_ERROR, "%s", err.text); /* cannot be: there is room */
		c->e = NULL;
		mm_event(d, "model", mm_reg_json(d, e, false));
		mm_map_scored(d, e);
		mm_alerts_model(d, e);
	}
}

static int commit(struct mm_daemon *d, struct mm_import *im, bool force, struct mm_reply *reply, struct mm_err *err)
{
	struct batch *b = mm_calloc(1, sizeof *b, err);
	int rc = b ? 0 : -1;
	if (b) {
		b->n_texts = d->texts.n;
		b->kept = json_array();
	}
	for (size_t i = 0; !rc && i < im->n; i++) {
		if (im->row[i].data.len != d->texts.n * sizeof(float))
			rc = mm_fail(err, MM_EINVAL, "%s is not complete", im->row[i].name);
		else
			rc = plan(d, b, im->row[i].name, (const float *)(const void *)im->row[i].data.data,
				&im->row[i].meta, force, err);
	}
	if (!rc && b->n) {
		mm_map_hold(d, HOLD_S);
		rc = mm_reg_room(d, b->n_fresh, err) || mm_store_write(d->store, write_batch, b, err) ? -1 : 0;
	}
	if (!rc) {
		reply->body = json_pack("{s:I, s:I, s:I, s:I, s:O}", "added", (json_int_t)b->n_fresh, "same",
			(json_int_t)b->n_same, "replaced", (json_int_t)b->n_replaced, "described",
			(json_int_t)b->n_described, "kept", b->kept);
		if (b->n)
			mm_log(MM_LOG_NOTICE, "%zu models imported, %zu replaced", b->n_fresh, b->n_replaced);
		take_over(d, b);
	}
	for (size_t i = 0; b && i < b->n; i++) {
		struct change *c = &b->change[i];
		if (c->fresh && c->e) /* not stored */
			mm_reg_discard(d, c->e);
		mm_model_rec_fini(&c->rec);
		mm_free(c->loglik);
	}
	if (b)
		json_decref(b->kept);
	mm_free(b);
	return rc;
}

int mm_cmd_import(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_import *im = d->reg->import;
	if (!im && !(im = d->reg->import = mm_calloc(1, sizeof *im, err)))
		return -1;
	int rc = take_piece(d, im, args, err);
	bool last = json_is_true(json_object_get(args, "commit"));
	if (!rc && last)
		rc = commit(d, im, json_is_true(json_object_get(args, "force")), reply, err);
	else if (!rc)
		reply->body = json_pack("{s:I}", "staged", (json_int_t)im->n);
	int64_t token = im->token;
	if (rc || last) { /* whatever comes of it, this batch is over */
		stage_clear(im);
		im->token = rc ? 0 : token;
	}
	return rc;
}

/* ---- forget ---- */

struct forgetting {
	struct mm_model_rec *rec;
	uint64_t id;
};

/* The arrays go with the record; it comes back without them, as the history of a name. */
static int write_forget(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	struct forgetting *f = ctx;
	f->rec->id = f->id;
	return mm_model_del(t, f->id, err) || mm_model_put(t, f->rec, err) ? -1 : 0;
}

static int may_forget(const struct mm_daemon *d, const struct mm_model_entry *e, struct mm_err *err)
{
	if (!mm_reg_imported(e) && !e->rec.gone)
		return mm_fail(err, MM_ECONFLICT,
			"the files of %s are there: it would only be scored again; move them out of the watched "
			"directory",
			e->rec.name);
	for (size_t i = 0; i < mm_reg_n(d); i++)
		if (mm_reg_at(d, i)->rec.same_as == e->rec.id)
			return mm_fail(err, MM_ECONFLICT, "%s has the vector of its copy %s too", e->rec.name,
				mm_reg_at(d, i)->rec.name);
	return 0;
}

int mm_cmd_forget(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	struct mm_model_entry *e = mm_reg_resolve(d, name ? name : "", err);
	struct mm_model_rec rec = { 0 };
	if (!e || may_forget(d, e, err))
		return -1;
	struct forgetting f = { &rec, e->rec.id };
	int rc = mm_model_rec_dup(&rec, &e->rec, err);
	if (!rc) {
		rec.gone = true;
		rec.has_vector = false;
		rec.same_as = 0;
		rec.state = MM_ST_WAITING;
		rec.scored_at = 0;
		rec.files = (struct mm_hash){ 0 };
		rc = mm_reg_str(&rec.reason, "forgotten by a user", err) ||
				     mm_reg_str(&rec.reason_code, "forgotten", err) ||
				     mm_store_write(d->store, write_forget, &f, err)
			     ? -1
			     : 0;
	}
	if (rc) {
		mm_model_rec_fini(&rec);
		return -1;
	}
	mm_model_rec_fini(&e->rec);
	e->rec = rec;
	mm_map_retire(d, e->loglik);
	e->loglik = NULL;
	e->not_finite = false;
	mm_log(MM_LOG_NOTICE, "%s: forgotten", e->rec.name);
	mm_event(d, "model", mm_reg_json(d, e, false));
	mm_alerts_model(d, e);
	reply->body = json_pack("{s:s}", "model", e->rec.name);
	return reply->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory for the answer");
}
