/* cmd_select.c: fewer texts: texts_select draws a part of the text set that keeps the distances, place puts a model on
 * the map that was scored on such a part only.
 *
 * A text drawn with probability p stands for 1 / p others: its weight. Distances on the part are weighted variances
 * with the epoch's threshold, and have two sources of error: the texts are a sample of language, as always, and the
 * part is a sample of the texts. Resampling the part contains both, so that the interval is wider than that of a model
 * scored on all texts. What is placed here is answered and marked as partial; it does not become a member of the map.
 */
#include "daemon/inquiry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ERROR_PAIRS 20000
#define NEIGHBOURS  10

/* ---- texts_select ---- */

struct selection {
	enum mm_select how;
	size_t want;
	uint64_t seed;
	uint32_t *index;
	double *weight;
	size_t got;
	double error;
	char set[MM_HASH_HEX]; /* hash of the whole set */
};

static void selection_free(void *own)
{
	struct selection *s = own;
	if (!s)
		return;
	mm_free(s->index);
	mm_free(s->weight);
	mm_free(s);
}

static int answer_select(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct selection *s = q->own;
	double *p = mm_calloc(m->n, sizeof(*p), err);
	(void)t;
	int rc = p && (s->index = mm_calloc(m->n, sizeof(*s->index), err)) &&
				 (s->weight = mm_calloc(m->n, sizeof(*s->weight), err))
			 ? 0
			 : -1;
	if (rc == 0)
		rc = mm_select_weights(m, q->clip, s->how, p, err) ||
				     mm_select_draw(p, m->n, s->want, s->seed, s->index, s->weight, &s->got, err) ||
				     mm_select_error(
					     m, q->clip, s->index, s->weight, s->got, ERROR_PAIRS, &s->error, err)
			     ? -1
			     : 0;
	mm_free(p);
	return rc;
}

static int put_text(
	const struct mm_daemon *d, const struct selection *s, size_t i, struct mm_buf *out, struct mm_err *err)
{
	size_t at = s->index[i];
	json_t *o = json_pack("{s:s%, s:s, s:I, s:f, s:s}", "text", d->texts.text[at], d->texts.len[at], "domain",
		d->texts.domain_name[d->texts.domain[at]], "index", (json_int_t)at, "weight", s->weight[i], "set",
		s->set);
	char *line = o ? mm_json_dump(o, err) : NULL;
	json_decref(o);
	if (!line)
		return o ? -1 : mm_fail(err, MM_ENOMEM, "out of memory for text %zu", at);
	mm_buf_str(out, line);
	mm_buf_u8(out, '\n');
	mm_free(line);
	return 0;
}

/* The loop writes the file: the texts are its own. */
static int finish_select(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err)
{
	static const char *const how[] = {
		[MM_SELECT_UNIFORM] = "uniform", [MM_SELECT_LENGTH] = "length", [MM_SELECT_KL] = "kl"
	};
	struct selection *s = q->own;
	mm_hash_hex(d->texts.hash, s->set);
	for (size_t i = 0; i < s->got; i++)
		if (put_text(d, s, i, &q->data, err))
			return -1;
	if (mm_buf_check(&q->data, err))
		return -1;
	q->bulk = true;
	q->body = json_pack("{s:I, s:I, s:s, s:I, s:f, s:s, s:I}", "n", (json_int_t)s->got, "of", (json_int_t)q->n,
		"by", how[s->how], "seed", (json_int_t)s->seed, "expected_error", s->error, "texts", s->set, "models",
		(json_int_t)q->k);
	return q->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}

int mm_cmd_texts_select(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const char *by = "kl";
	int64_t n = 0, seed = 1;
	if (mm_json_get_i64(args, "n", 1, INT32_MAX, &n, err) ||
		mm_json_get_i64(args, "seed", 0, INT64_MAX, &seed, err) || mm_json_get_str(args, "by", &by, err))
		return -1;
	if ((size_t)n >= d->texts.n)
		return mm_fail(err, MM_EINVAL, "%lld texts of %zu are no smaller set: ask for fewer", (long long)n,
			d->texts.n);
	if (n < 2)
		return mm_fail(err, MM_EINVAL, "one text holds no distance: ask for more");
	struct mm_inquiry *q = mm_inquiry_new(d, args, reply, true, err);
	if (!q)
		return -1;
	struct selection *s = q->k < 2 ? NULL : mm_calloc(1, sizeof(*s), err);
	q->own = s;
	q->own_free = selection_free;
	q->answer = answer_select;
	q->finish = finish_select;
	if (!s) {
		if (q->k < 2)
			mm_fail(err, MM_EINVAL,
				"texts are chosen by the distances of models: at least two must be on the map");
		mm_inquiry_free(q);
		return -1;
	}
	s->how = strcmp(by, "uniform") == 0  ? MM_SELECT_UNIFORM
		 : strcmp(by, "length") == 0 ? MM_SELECT_LENGTH
					     : MM_SELECT_KL;
	s->want = (size_t)n;
	s->seed = (uint64_t)seed;
	return mm_inquiry_submit(d, q, reply, err);
}

/* ---- place ---- */

struct partial {
	size_t n;
	uint32_t *index; /* ascending */
	double *weight;
	float *x;  /* [texts] the values at index, elsewhere 0 and never looked at */
	double *d; /* [k] two_kl */
};

static void partial_free(void *own)
{
	struct partial *p = own;
	if (!p)
		return;
	mm_free(p->index);
	mm_free(p->weight);
	mm_free(p->x);
	mm_free(p->d);
	mm_free(p);
}

/* "12:-803.25:1.5 17:-660:0.8": text, log-likelihood, weight. */
static int parse_values(struct partial *p, const char *s, size_t n_texts, struct mm_err *err)
{
	size_t cap = strlen(s) / 5 + 1;
	if (!(p->index = mm_calloc(cap, sizeof(*p->index), err)) ||
		!(p->weight = mm_calloc(cap, sizeof(*p->weight), err)) ||
		!(p->x = mm_calloc(n_texts, sizeof(*p->x), err)))
		return -1;
	while (*s) {
		char *end;
		unsigned long at = strtoul(s, &end, 10);
		if (*s < '0' || *s > '9' || *end != ':' || at >= n_texts || (p->n && at <= p->index[p->n - 1]) ||
			p->n == cap)
			return mm_fail(
				err, MM_EINVAL, "values: item %zu has no text's number, or one out of order", p->n);
		double v = strtod(end + 1, &end), w = *end == ':' ? strtod(end + 1, &end) : NAN;
		if (!isfinite(v) || !isfinite(w) || !(w > 0) || fabs(v) > 1e30 || (*end && *end != ' '))
			return mm_fail(err, MM_EINVAL, "values: text %lu has no finite log-likelihood or weight", at);
		p->index[p->n] = (uint32_t)at;
		p->weight[p->n++] = w;
		p->x[at] = (float)v;
		s = *end ? end + 1 : end;
	}
	return p->n >= 2 ? 0 : mm_fail(err, MM_EINVAL, "values: at least two texts are needed");
}

static int answer_place(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct partial *p = q->own;
	(void)t;
	if (!(p->d = mm_calloc(q->k, sizeof(*p->d), err)))
		return -1;
	for (size_t i = 0; i < q->k; i++)
		p->d[i] = mm_dist_weighted(p->x, m->row[i], p->index, p->weight, p->n, q->clip);
	return 0;
}

/* Standard deviation and 95 % interval of one distance over resamples of the part. */
static int interval_of(
	const struct partial *p, const float *row, double clip, struct mm_interval *v, struct mm_err *err)
{
	struct mm_rng r;
	double *w = mm_calloc(p->n + MM_BOOT_DEFAULT, sizeof(*w), err), *draw = w ? w + p->n : NULL, sum = 0, sum2 = 0;
	if (!w)
		return -1;
	mm_rng_init(&r, 1);
	for (size_t b = 0; b < MM_BOOT_DEFAULT; b++) {
		memset(w, 0, p->n * sizeof(*w));
		for (size_t i = 0; i < p->n; i++) {
			size_t at = mm_rng_below(&r, p->n);
			w[at] += p->weight[at];
		}
		double x = mm_dist_weighted(p->x, row, p->index, w, p->n, clip);
		size_t j = b; /* sorted as they come */
		for (; j > 0 && draw[j - 1] > x; j--)
			draw[j] = draw[j - 1];
		draw[j] = x;
		sum += x;
		sum2 += x * x;
	}
	double mean = sum / MM_BOOT_DEFAULT;
	v->stderr_ = sqrt(fmax(sum2 / MM_BOOT_DEFAULT - mean * mean, 0));
	v->lo = fmin(draw[MM_BOOT_DEFAULT / 40], v->value);
	v->hi = fmax(draw[MM_BOOT_DEFAULT - 1 - MM_BOOT_DEFAULT / 40], v->value);
	mm_free(w);
	return 0;
}

static json_t *neighbour(const struct mm_daemon *d, const struct mm_inquiry *q, size_t i, struct mm_err *err)
{
	const struct partial *p = q->own;
	const struct mm_model_entry *e = mm_reg_by_id(d, q->s[i].id);
	struct mm_interval v = { .value = p->d[i] };
	if (!e || interval_of(p, q->s[i].vec, q->clip, &v, err))
		return NULL;
	return json_pack("{s:s, s:o, s:f, s:o, s:[o, o]}", "name", e->rec.name, "kl_bits_per_byte",
		mm_inquiry_bits(q, v.value), "kl_nats_per_text", v.value / 2, "stderr_bits_per_byte",
		mm_inquiry_bits(q, v.stderr_), "interval_bits_per_byte", mm_inquiry_bits(q, v.lo),
		mm_inquiry_bits(q, v.hi));
}

/* Coordinates follow from the distances: in the projection too, where a vector is not there to be projected. */
static json_t *place_json(const struct mm_daemon *d, const struct mm_inquiry *q, struct mm_err *err)
{
	const struct partial *p = q->own;
	double *dist = mm_calloc(4 * q->k, sizeof(*dist), err), *c = dist ? dist + q->k : NULL, at[3] = { 0 };
	json_t *o = dist ? json_object() : NULL;
	for (int w = -1; o && w < MM_LAYOUT_COUNT; w++) {
		size_t dims = w < 0 ? MM_MAP_DIMS : mm_layout_kinds[w].dims, n = 0;
		for (size_t i = 0; i < q->k; i++) {
			const struct mm_model_entry *e = mm_reg_by_id(d, q->s[i].id);
			const struct mm_place *m = e ? e->map_state : NULL;
			if (!m || !m->placed || !m->in_fit || (w >= 0 && !(m->has_alt >> w & 1)))
				continue;
			memcpy(c + dims * n, w < 0 ? m->coord : m->alt[w], dims * sizeof(*c));
			dist[n++] = p->d[i];
		}
		if (n < 2)
			continue;
		if (w < 0)
			mm_mds_place(dist, c, n, dims, at);
		else if (mm_map_layout_place(dist, c, n, (enum mm_layout)w, at, err))
			break;
		json_object_set_new(o, w < 0 ? "pca" : mm_layout_kinds[w].name,
			dims == 2 ? json_pack("[f, f]", at[0], at[1]) : json_pack("[f, f, f]", at[0], at[1], at[2]));
	}
	mm_free(dist);
	return o;
}

static int finish_place(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err)
{
	const struct partial *p = q->own;
	struct mm_near near[NEIGHBOURS];
	size_t n = mm_knn_row(p->d, q->k, SIZE_MAX, MM_MIN((size_t)NEIGHBOURS, q->k), near);
	json_t *list = json_array();
	for (size_t i = 0; list && i < n; i++)
		json_array_append_new(list, neighbour(d, q, near[i].i, err));
	json_t *where = list ? place_json(d, q, err) : NULL;
	q->body = where ? json_pack("{s:b, s:I, s:I, s:o, s:o}", "partial", 1, "n", (json_int_t)p->n, "of",
				  (json_int_t)q->n, "neighbours", list, "places", where)
			: NULL;
	if (!where)
		json_decref(list);
	return q->body ? 0 : -1;
}

int mm_cmd_place(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const char *values = json_string_value(json_object_get(args, "values"));
	const char *texts = json_string_value(json_object_get(args, "texts"));
	char hash[MM_HASH_HEX];
	mm_hash_hex(d->texts.hash, hash);
	if (texts && strcmp(texts, hash) != 0)
		return mm_fail(err, MM_ECONFLICT,
			"these values are of another text set (%.12s) than this daemon's (%.12s)", texts, hash);
	struct mm_inquiry *q = mm_inquiry_new(d, args, reply, true, err);
	if (!q)
		return -1;
	struct partial *p = q->own = mm_calloc(1, sizeof(*p), err);
	q->own_free = partial_free;
	q->answer = answer_place;
	q->finish = finish_place;
	if (p && parse_values(p, values ? values : "", d->texts.n, err) == 0)
		return mm_inquiry_submit(d, q, reply, err);
	mm_inquiry_free(q);
	return -1;
}
