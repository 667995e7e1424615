/* inquiry.c: the way of a question about all models through the worker and back; see inquiry.h. */
#include "daemon/inquiry.h"
#include "daemon/metric.h"

#include <math.h>
#include <string.h>

void mm_inquiry_free(struct mm_inquiry *q)
{
	if (!q)
		return;
	for (size_t i = 0; q->who && i < q->k; i++)
		mm_free(q->who[i].name);
	if (q->own_free)
		q->own_free(q->own);
	mm_feats_free(q->feats);
	mm_free(q->who);
	mm_free(q->s);
	mm_buf_fini(&q->data);
	json_decref(q->args);
	json_decref(q->body);
	mm_free(q);
}

json_t *mm_inquiry_bits(const struct mm_inquiry *q, double two_kl)
{
	return json_real(mm_kl_bits_per_byte(two_kl, q->mean_bytes));
}

void mm_inquiry_put(const struct mm_inquiry *q, json_t *o, double tri)
{
	if (q->feats)
		mm_metric_put(o, q->feats->metric, mm_metric_of_tri(q->feats->metric, tri), NULL);
	else
		json_object_set_new(o, "kl_bits_per_byte", mm_inquiry_bits(q, tri));
}

/* ---- domains ---- */

static int unknown_domain(const struct mm_daemon *d, const char *name, struct mm_err *err)
{
	struct mm_buf all = { 0 };
	const char *near = mm_nearest(name, (const char *const *)d->texts.domain_name, d->texts.n_domain);
	for (size_t c = 0; c < d->texts.n_domain && c < 40; c++)
		mm_buf_printf(&all, "%s%s", c ? ", " : "",
			*d->texts.domain_name[c] ? d->texts.domain_name[c] : "\"\" (texts without one)");
	mm_buf_u8(&all, 0);
	mm_fail(err, MM_ENOENT, "there is no domain %s%s%s%s; there are: %s", name, near ? "; did you mean " : "",
		near ? near : "", near ? "?" : "", all.data ? (const char *)all.data : "");
	mm_buf_fini(&all);
	return -1;
}

int mm_domain_arg(const struct mm_daemon *d, const json_t *args, size_t *domain, struct mm_err *err)
{
	const char *name = NULL;
	*domain = SIZE_MAX;
	if (mm_json_get_str(args, "domain", &name, err))
		return -1;
	if (!name)
		return d->texts.n >= 2
			       ? 0
			       : mm_fail(err, MM_EINVAL,
					 "the text set has one text: a distance is the variance of a difference over "
					 "texts, and needs at least two");
	for (size_t c = 0; c < d->texts.n_domain; c++)
		if (strcmp(d->texts.domain_name[c], name) == 0)
			*domain = c;
	if (*domain == SIZE_MAX)
		return unknown_domain(d, name, err);
	size_t n = d->map->domain_start[*domain + 1] - d->map->domain_start[*domain];
	return n >= 2 ? 0
		      : mm_fail(err, MM_EINVAL,
				"domain %s has %s: a distance is the variance of a difference over texts, and needs "
				"at least two",
				name, n ? "one text" : "no texts");
}

double mm_domain_bytes(const struct mm_daemon *d, size_t domain)
{
	const struct mm_chart *m = d->map;
	size_t from = m->domain_start[domain], to = m->domain_start[domain + 1];
	double sum = 0;
	for (size_t s = from; s < to; s++)
		sum += (double)d->texts.len[m->by_domain[s]];
	return to > from ? sum / (double)(to - from) : 0;
}

/* ---- the worker's side ---- */

/* The rows, or copies of the domain's part of them in *block. */
static int rows_of(const struct mm_inquiry *q, const float **row, float **block, struct mm_err *err)
{
	size_t cells;
	for (size_t i = 0; i < q->k; i++)
		row[i] = q->s[i].vec;
	if (!q->sel)
		return 0;
	if (!mm_mul(q->k, q->n_sel, &cells))
		return mm_fail(err, MM_ENOMEM, "%zu models on %zu texts are too many", q->k, q->n_sel);
	if (!(*block = mm_calloc(cells, sizeof(**block), err)))
		return -1;
	struct mm_mat all = { row, q->k, q->n };
	mm_mat_gather(&all, q->sel, q->n_sel, *block);
	for (size_t i = 0; i < q->k; i++)
		row[i] = *block + i * q->n_sel;
	return 0;
}

static int pairs_of(struct mm_inquiry *q, const struct mm_mat *m, const _Atomic bool *cancel, struct mm_tri *t)
{
	if (q->no_pairs)
		return 0;
	if (!q->feats)
		return mm_dist_matrix_until(m, q->clip, cancel, t, &q->err);
	if (mm_feats_load(q->feats, cancel, &q->err))
		return -1;
	struct mm_byte_rows r = mm_feats_rows(q->feats);
	return mm_byte_matrix(q->feats->metric, &r, cancel, t, &q->err);
}

static void inquiry_run(void *ctx, const _Atomic bool *cancel)
{
	struct mm_inquiry *q = ctx;
	struct mm_tri t = { 0 };
	const float **row = mm_calloc(q->k, sizeof(*row), &q->err);
	float *block = NULL;
	q->failed = true;
	q->cancel = cancel;
	if (row && rows_of(q, row, &block, &q->err) == 0 && !*cancel) {
		struct mm_mat m = { row, q->k, q->sel ? q->n_sel : q->n };
		if (pairs_of(q, &m, cancel, &t) == 0) {
			/* what a part that says nothing else has met */
			mm_fail(&q->err, MM_ENOMEM, "out of memory");
			q->failed = q->answer(q, &m, &t, &q->err) != 0;
		}
	}
	mm_tri_fini(&t);
	mm_free(block);
	mm_free(row);
}

static double mean_distance(const struct mm_tri *t, size_t i)
{
	double sum = 0;
	for (size_t j = 0; j < t->k; j++)
		sum += mm_tri_get(t, i, j);
	return t->k > 1 ? sum / (double)(t->k - 1) : 0;
}

int mm_inquiry_kin(const struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_kin *kin,
	struct mm_err *err)
{
	double *var = mm_calloc(q->k, sizeof(*var), err), mean;
	uint64_t *group = var ? mm_calloc(q->k, sizeof(*group), err) : NULL;
	uint32_t *run = group ? mm_calloc(q->k, sizeof(*run), err) : NULL;
	int64_t *step = run ? mm_calloc(q->k, sizeof(*step), err) : NULL;
	for (size_t i = 0; step && i < q->k; i++) {
		if (q->feats) /* what is usual between models stands for what is usual between texts */
			var[i] = mean_distance(t, i);
		else
			mm_row_moments(m->row[i], m->n, q->clip, &mean, &var[i]);
		group[i] = q->who[i].group;
		run[i] = q->who[i].run;
		step[i] = q->who[i].step;
	}
	struct mm_kin_input in = { t, var, group, run, step };
	int rc = step ? mm_kin_tree(&in, kin, err) : -1;
	mm_free(step);
	mm_free(run);
	mm_free(group);
	mm_free(var);
	return rc;
}

/* ---- the loop's side ---- */

static void inquiry_done(struct mm_daemon *d, void *ctx, bool cancelled)
{
	struct mm_inquiry *q = ctx;
	struct mm_reply reply = { .fd = -1 };
	if (d->map)
		mm_map_unpin(d);
	if (cancelled)
		q->failed = mm_fail(&q->err, MM_ECANCELLED, "the daemon is stopping") != 0;
	if (!q->failed && q->finish)
		q->failed = q->finish(d, q, &q->err) != 0;
	if (!q->failed) {
		if (q->domain)
			json_object_set_new(q->body, "domain", json_string(q->domain));
		json_object_set_new(q->body, "epoch", json_integer((json_int_t)q->epoch));
		json_object_set_new(q->body, "clip", isfinite(q->clip) ? json_real(q->clip) : json_null());
		reply.body = q->body;
		reply.bulk = q->bulk;
		reply.data = q->data;
		q->body = NULL;
		q->data = (struct mm_buf){ 0 };
	}
	mm_ctl_finish(d, q->token, &reply, q->failed ? &q->err : NULL);
	mm_inquiry_free(q);
}

static uint64_t group_of(const struct mm_model_rec *r)
{
	char key[512];
	snprintf(key, sizeof(key), "%s %llu %llu", r->family ? r->family : "", (unsigned long long)r->params,
		(unsigned long long)r->vocab);
	return mm_hash64(key, strlen(key));
}

static int subjects(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err)
{
	q->who = mm_calloc(q->k, sizeof(*q->who), err);
	for (size_t i = 0; q->who && i < q->k; i++) {
		const struct mm_model_rec *r = &mm_reg_by_id(d, q->s[i].id)->rec;
		struct mm_subject *w = &q->who[i];
		*w = (struct mm_subject){ .group = group_of(r), .run = UINT32_MAX, .step = r->step };
		if (r->run)
			w->run = (uint32_t)mm_hash64(r->run, strlen(r->run)) & 0x7fffffff;
		if (!(w->name = mm_strdup(r->name, err)))
			return -1;
	}
	return q->who ? 0 : -1;
}

static int count_ok(const struct mm_inquiry *q, struct mm_err *err)
{
	if (q->k == 0)
		return mm_fail(err, MM_EINVAL, "no models on the map yet");
	/* Products make the pairs of two metrics (and of kl); the others cost a worker 0.2 ms a pair. */
	bool slow = q->feats && q->feats->metric != MM_METRIC_FISHER && q->feats->metric != MM_METRIC_HELLINGER;
	size_t most = slow ? MM_INQUIRY_SLOW_MAX : MM_INQUIRY_MODELS_MAX;
	if (q->no_pairs || q->k <= most)
		return 0;
	return mm_fail(err, MM_EINVAL, "%zu models are too many for this (at most %zu)", q->k, most);
}

static int pick_features(struct mm_daemon *d, struct mm_inquiry *q, uint64_t who, size_t domain, struct mm_err *err)
{
	enum mm_metric metric;
	if (mm_metric_arg(q->args, &metric, err))
		return -1;
	if (metric == MM_METRIC_KL)
		return 0;
	if (!(q->feats = mm_calloc(1, sizeof(*q->feats), err)))
		return -1;
	q->feats->metric = metric;
	return mm_feats_pick(q->feats, d, q->s, &q->k, who, domain, err);
}

struct mm_inquiry *mm_inquiry_new(
	struct mm_daemon *d, const json_t *args, const struct mm_reply *reply, bool any_number, struct mm_err *err)
{
	return mm_inquiry_of(d, args, reply, any_number, 0, err);
}

struct mm_inquiry *mm_inquiry_of(struct mm_daemon *d, const json_t *args, const struct mm_reply *reply, bool any_number,
	uint64_t who, struct mm_err *err)
{
	size_t k_fit, domain;
	if (mm_domain_arg(d, args, &domain, err))
		return NULL;
	struct mm_inquiry *q = mm_calloc(1, sizeof(*q), err);
	if (!q)
		return NULL;
	q->token = reply->token;
	q->no_pairs = any_number;
	q->n = d->texts.n;
	q->clip = mm_map_clip(d);
	q->mean_bytes = d->texts.mean_bytes;
	q->epoch = mm_map_epoch(d);
	q->args = args ? json_deep_copy(args) : json_object();
	if (domain != SIZE_MAX) {
		q->domain = d->texts.domain_name[domain];
		q->sel = d->map->by_domain + d->map->domain_start[domain];
		q->n_sel = d->map->domain_start[domain + 1] - d->map->domain_start[domain];
		q->mean_bytes = mm_domain_bytes(d, domain);
	}
	q->s = mm_map_snapshot(d, MM_SNAP_MEMBERS, &q->k, &k_fit, err);
	if (q->s && pick_features(d, q, who, domain, err) == 0 && count_ok(q, err) == 0 &&
		(q->no_pairs || subjects(d, q, err) == 0))
		return q;
	mm_inquiry_free(q);
	return NULL;
}

int mm_inquiry_submit(struct mm_daemon *d, struct mm_inquiry *q, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_work work = { inquiry_run, inquiry_done, q };
	if (q->soon ? mm_worker_submit_soon(d, &work, err) : mm_worker_submit(d, &work, err)) {
		mm_inquiry_free(q);
		return -1;
	}
	mm_map_pin(d);
	reply->deferred = true;
	return 0;
}
