/* moe.c: mixtures of experts: router, the chosen experts, the shared one.
 *
 *   1 router     logits of all experts for all rows, by tiles
 *   2 choice     per row: k experts and their weights (struct pick); the kinds of routers differ only here
 *   3 experts    rows are gathered by expert into tiles of MM_TILE (the rest zeros); each tile is a job of its own, and
 * writes its results to places that belong to (row, rank), so that jobs never meet 4 sum        per row: weighted
 * results in the order of the expert's number, as the reference adds them 5 shared     a dense feed-forward for all
 * rows, perhaps behind a sigmoid gate Padding rows take no part in 2 to 4. */
#include "model/model_priv.h"

#include <math.h>
#include <omp.h>
#include <string.h>

struct mm_moe {
	size_t n_expert, n_used;
	struct mm_lin *router;			      /* [n_expert, n_embd] */
	float *select;				      /* [n_expert] added for the choice only, or NULL */
	struct mm_lin **gate_up;		      /* [n_expert] of [2 ff, n_embd]; without a gate [ff, n_embd] */
	struct mm_lin **down;			      /* [n_expert] of [n_embd, ff] */
	struct mm_lin *s_gate_up, *s_down, *s_router; /* shared expert, its gate [1, n_embd] */
	const struct mm_model *m;		      /* without residence: experts are packed one by one, when their */
	size_t layer;				      /* turn comes, from this layer of this model; else NULL */
};

/* ---- loading ---- */

/* Rows gate0, up0, gate1, up1... become all gate rows, then all up rows (gpt_oss). */
static struct mm_lin *lin_interleaved(const struct mm_model *m, size_t l, size_t e, struct mm_err *err)
{
	size_t n = 2 * m->hp.n_ff_expert, d = m->hp.n_embd;
	float *raw = mm_calloc(n * d, sizeof(float), err), *w = raw ? mm_calloc(n * d, sizeof(float), err) : NULL;
	float *b = w ? mm_calloc(2 * n, sizeof(float), err) : NULL;
	struct mm_lin *lin = NULL;
	bool bias = mm_w_get(m, l, MM_W_EGATE_UP_B) != NULL;
	if (!b || mm_w_read(m, l, MM_W_EGATE_UP, e, 0, n, raw, err) ||
		(bias && mm_w_read(m, l, MM_W_EGATE_UP_B, e, 0, n, b + n, err)))
		goto out;
	for (size_t i = 0; i < n; i++) {
		size_t to = i / 2 + (i % 2) * (n / 2);
		memcpy(w + to * d, raw + i * d, d * sizeof(float));
		b[to] = b[n + i];
	}
	lin = mm_lin_new(n, d, w, bias ? b : NULL, m->compute == MM_COMPUTE_BF16 ? MM_BF16 : MM_F32, err);
out:
	mm_free(raw);
	mm_free(w);
	mm_free(b);
	return lin;
}

static int expert_load(const struct mm_model *m, size_t l, size_t e, const struct mm_moe *x, struct mm_err *err)
{
	const enum mm_slot two[] = { MM_W_EGATE, MM_W_EUP, MM_W_COUNT }, one[] = { MM_W_EGATE_UP, MM_W_COUNT };
	const enum mm_slot one_b[] = { MM_W_EGATE_UP_B }, two_b[] = { MM_W_EGATE_B, MM_W_EUP_B },
			   up[] = { MM_W_EUP, MM_W_COUNT };
	const enum mm_slot down[] = { MM_W_EDOWN, MM_W_COUNT }, down_b[] = { MM_W_EDOWN_B };
	if (m->hp.moe_interleaved && mm_w_get(m, l, MM_W_EGATE_UP))
		x->gate_up[e] = lin_interleaved(m, l, e, err);
	else if (mm_w_get(m, l, MM_W_EGATE_UP))
		x->gate_up[e] = mm_w_lin(m, l, one, one_b, e, err);
	else
		x->gate_up[e] = mm_w_lin(m, l, m->hp.gated ? two : up, m->hp.gated ? two_b : NULL, e, err);
	x->down[e] = x->gate_up[e] ? mm_w_lin(m, l, down, down_b, e, err) : NULL;
	return x->down[e] ? 0 : -1;
}

int mm_moe_load(const struct mm_model *m, size_t l, struct mm_moe **out, struct mm_err *err)
{
	const enum mm_slot router[] = { MM_W_ROUTER, MM_W_COUNT }, router_b[] = { MM_W_ROUTER_B };
	const enum mm_slot s_in[] = { MM_W_SGATE, MM_W_SUP, MM_W_COUNT }, s_down[] = { MM_W_SDOWN, MM_W_COUNT };
	const enum mm_slot s_gate[] = { MM_W_SROUTER, MM_W_COUNT };
	struct mm_moe *x = mm_calloc(1, sizeof(*x), err);
	*out = x;
	if (!x)
		return -1;
	x->n_expert = m->hp.n_expert;
	x->n_used = m->hp.n_expert_used;
	x->gate_up = mm_calloc(x->n_expert, sizeof(*x->gate_up), err);
	x->down = x->gate_up ? mm_calloc(x->n_expert, sizeof(*x->down), err) : NULL;
	if (!x->down || !(x->router = mm_w_lin_as(m, l, router, router_b, 0, MM_F32, err)) ||
		mm_w_vec(m, l, MM_W_ROUTER_SEL, &x->select, err))
		return -1;
	x->m = m->resident ? NULL : m;
	x->layer = l;
	for (size_t e = 0; e < x->n_expert && !x->m; e++)
		if (expert_load(m, l, e, x, err))
			return mm_wrap(err, "expert %zu", e);
	if (mm_w_get(m, l, MM_W_SDOWN) && (!(x->s_gate_up = mm_w_lin(m, l, s_in, NULL, 0, err)) ||
						  !(x->s_down = mm_w_lin(m, l, s_down, NULL, 0, err))))
		return -1;
	if (mm_w_get(m, l, MM_W_SROUTER) && !(x->s_router = mm_w_lin_as(m, l, s_gate, NULL, 0, MM_F32, err)))
		return -1;
	return 0;
}

void mm_moe_free(struct mm_moe *x)
{
	if (!x)
		return;
	for (size_t e = 0; e < x->n_expert; e++) {
		if (x->gate_up)
			mm_lin_free(x->gate_up[e]);
		if (x->down)
			mm_lin_free(x->down[e]);
	}
	mm_free(x->gate_up);
	mm_free(x->down);
	mm_lin_free(x->router);
	mm_lin_free(x->s_gate_up);
	mm_lin_free(x->s_down);
	mm_lin_free(x->s_router);
	mm_free(x->select);
	mm_free(x);
}

/* ---- choice ---- */

struct pick { /* one expert for one row */
	uint32_t expert;
	float weight;
};

/* The k largest of s[0..n), largest first, ties by number; taken ones are marked in `taken`. */
static void top_k(const float *s, size_t n, size_t k, bool *taken, struct pick *out)
{
	memset(taken, 0, n);
	for (size_t i = 0; i < k; i++) {
		size_t best = n;
		for (size_t e = 0; e < n; e++)
			if (!taken[e] && (best == n || s[e] > s[best]))
				best = e;
		taken[best] = true;
		out[i] = (struct pick){ (uint32_t)best, s[best] };
	}
}

/* Only the best groups of experts stay in the choice; the others' scores become 0, as in the reference. */
static void group_limit(const struct mm_hp *h, float *s, size_t n, bool *taken)
{
	size_t g = h->n_group, size = n / g;
	float score[256];
	struct pick keep[256];
	for (size_t i = 0; i < g; i++) {
		struct pick two[2] = { { 0 } };
		size_t k = h->moe_group_top2 && size > 1 ? 2 : 1;
		top_k(s + i * size, size, k, taken, two);
		score[i] = two[0].weight + (k > 1 ? two[1].weight : 0);
	}
	top_k(score, g, h->n_group_used, taken, keep);
	bool stays[256] = { false };
	for (size_t i = 0; i < h->n_group_used; i++)
		stays[keep[i].expert] = true;
	for (size_t e = 0; e < n; e++)
		if (!stays[e / size])
			s[e] = 0;
}

/* logits [n_expert] destroyed; tmp: n_expert floats, taken: n_expert */
static void choose(
	const struct mm_hp *h, const struct mm_moe *x, float *logits, float *tmp, bool *taken, struct pick *out)
{
	size_t n = x->n_expert, k = x->n_used;
	if (h->router == MM_ROUTE_SOFTMAX_TOPK)
		mm_softmax_row(logits, n, 1, 0, NULL, NULL);
	else if (h->router == MM_ROUTE_SIGMOID_TOPK)
		mm_act_row(MM_ACT_SIGMOID, logits, n);
	for (size_t e = 0; e < n; e++)
		tmp[e] = logits[e] + (x->select ? x->select[e] : 0);
	if (h->n_group > 1 && h->n_group_used < h->n_group)
		group_limit(h, tmp, n, taken);
	top_k(tmp, n, k, taken, out);
	float sum = 0;
	for (size_t i = 0; i < k; i++) {
		tmp[i] = logits[out[i].expert];
		sum += tmp[i];
	}
	if (h->router == MM_ROUTE_TOPK_SOFTMAX)
		mm_softmax_row(tmp, k, 1, 0, NULL, NULL);
	else if (h->moe_norm_topk)
		for (size_t i = 0; i < k; i++)
			tmp[i] /= sum + (h->router == MM_ROUTE_SIGMOID_TOPK ? 1e-20f : 0);
	for (size_t i = 0; i < k; i++)
		out[i].weight = tmp[i] * (float)h->mult_router;
}

/* ---- running ---- */

struct job { /* one tile of one expert: assignments [first, first + n) of the list sorted by expert */
	size_t expert, first, n;
};

struct run {
	struct mm_pass *p;
	const struct mm_moe *x;
	const float *y;
	float *out, scale;
	size_t n, k, d;
	struct pick *pick; /* [n, k] */
	uint32_t *list;	   /* [n * k] assignments (row * k + rank) sorted by expert, then row */
	struct job *job;
	size_t n_job;
	float *res; /* [n * k, d] result of each assignment */
};

/* in -> act(gate) * up -> down for one tile; g: scratch of 2 ff columns */
static void expert_tile(const struct mm_hp *h, const struct mm_lin *gate_up, const struct mm_lin *down, const float *in,
	float *out, float *g)
{
	size_t w = mm_lin_out(gate_up), f = mm_lin_in(down);
	mm_lin_tile(gate_up, in, g);
	for (size_t r = 0; r < MM_TILE; r++) {
		float *a = g + r * w, *u = a + f, *z = g + r * f;
		if (w == f) {
			mm_act_row(h->act, a, f);
		} else if (h->act_limit > 0) { /* clamped swish with a slope, times (up + 1) */
			mm_clamp_row(a, f, -INFINITY, (float)h->act_limit);
			mm_clamp_row(u, f, -(float)h->act_limit, (float)h->act_limit);
			for (size_t i = 0; i < f; i++)
				z[i] = (u[i] + 1) * (a[i] / (1 + expf(-(float)h->act_alpha * a[i])));
		} else {
			mm_act_gate(h->act, a, u, z, f);
		}
	}
	mm_lin_tile(down, g, out);
}

static int route(struct run *r, struct mm_err *err)
{
	size_t ne = r->x->n_expert, n_row = r->p->b->n_row;
	float *logits = mm_calloc(n_row * ne, sizeof(float), err);
	float *tmp = logits ? mm_calloc(r->p->n_thread * ne, sizeof(float), err) : NULL;
	bool *taken = tmp ? mm_calloc(r->p->n_thread * ne, sizeof(bool), err) : NULL;
	if (taken) {
		mm_lin_rows(r->x->router, n_row, r->y, logits);
#pragma omp parallel for schedule(static) num_threads((int)r->p->n_thread)
		for (size_t i = 0; i < r->n; i++) {
			size_t t = (size_t)omp_get_thread_num() * ne;
			choose(r->p->hp, r->x, logits + i * ne, tmp + t, taken + t, r->pick + i * r->k);
		}
	}
	int rc = taken ? 0 : -1;
	mm_free(logits);
	mm_free(tmp);
	mm_free(taken);
	return rc;
}

/* Counting sort of the assignments by expert, and the tiles that come of it. */
static int jobs_make(struct run *r, struct mm_err *err)
{
	size_t ne = r->x->n_expert, n = r->n * r->k;
	size_t *start = mm_calloc(ne + 2, sizeof(*start), err);
	r->job = mm_calloc(n / MM_TILE + ne + 1, sizeof(*r->job), err);
	if (!start || !r->job) {
		mm_free(start);
		return -1;
	}
	for (size_t i = 0; i < n; i++)
		start[r->pick[i].expert + 2]++;
	for (size_t e = 2; e < ne + 2; e++)
		start[e] += start[e - 1];
	for (size_t i = 0; i < n; i++)
		r->list[start[r->pick[i].expert + 1]++] = (uint32_t)i;
	for (size_t e = 0; e < ne; e++)
		for (size_t a = start[e]; a < start[e + 1]; a += MM_TILE)
			r->job[r->n_job++] = (struct job){ e, a, MM_MIN((size_t)MM_TILE, start[e + 1] - a) };
	mm_free(start);
	return 0;
}

static void job_run(const struct run *r, const struct job *j, float *work)
{
	float *in = work, *out = in + MM_TILE * r->d, *g = out + MM_TILE * r->d;
	for (size_t i = 0; i < MM_TILE; i++) {
		if (i < j->n)
			memcpy(in + i * r->d, r->y + r->list[j->first + i] / r->k * r->d, r->d * sizeof(float));
		else
			memset(in + i * r->d, 0, r->d * sizeof(float));
	}
	expert_tile(r->p->hp, r->x->gate_up[j->expert], r->x->down[j->expert], in, out, g);
	for (size_t i = 0; i < j->n; i++)
		memcpy(r->res + r->list[j->first + i] * r->d, out + i * r->d, r->d * sizeof(float));
}

/* Jobs [from, to), all of whose experts are packed. */
static void jobs_run(const struct run *r, size_t from, size_t to)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)r->p->n_thread)
	for (size_t j = from; j < to; j++)
		job_run(r, &r->job[j], r->p->work[omp_get_thread_num()]);
}

/* One expert after the other is packed, used, dropped; those without a row are not touched. */
static int jobs_stream(const struct run *r, struct mm_err *err)
{
	const struct mm_moe *x = r->x;
	for (size_t j = 0, k; j < r->n_job; j = k) {
		size_t e = r->job[j].expert;
		for (k = j; k < r->n_job && r->job[k].expert == e;)
			k++;
		if (expert_load(x->m, x->layer, e, x, err))
			return mm_wrap(err, "layer %zu, expert %zu", x->layer, e);
		jobs_run(r, j, k);
		mm_lin_free(x->gate_up[e]);
		mm_lin_free(x->down[e]);
		x->gate_up[e] = x->down[e] = NULL;
	}
	return 0;
}

static void sum_row(const struct run *r, size_t row)
{
	const struct pick *p = r->pick + row * r->k;
	int64_t last = -1;
	for (size_t done = 0; done < r->k; done++) { /* by rising expert number; k is small */
		size_t at = r->k;
		for (size_t i = 0; i < r->k; i++)
			if ((int64_t)p[i].expert > last && (at == r->k || p[i].expert < p[at].expert))
				at = i;
		last = p[at].expert;
		mm_axpy_row(p[at].weight * r->scale, r->res + (row * r->k + at) * r->d, r->out + row * r->d, r->d);
	}
}

static void shared_tile(const struct run *r, size_t row, float *work)
{
	float *out = work + MM_TILE * r->d, *g = out + MM_TILE * r->d, gate[MM_TILE];
	const float *in = r->y + row * r->d;
	expert_tile(r->p->hp, r->x->s_gate_up, r->x->s_down, in, out, g);
	for (size_t i = 0; i < MM_TILE; i++)
		gate[i] = 1;
	if (r->x->s_router) {
		mm_lin_tile(r->x->s_router, in, gate);
		mm_act_row(MM_ACT_SIGMOID, gate, MM_TILE);
	}
	for (size_t i = 0; i < MM_TILE; i++)
		mm_axpy_row(gate[i] * r->scale, out + i * r->d, r->out + (row + i) * r->d, r->d);
}

int mm_moe_run(struct mm_pass *p, const struct mm_moe *x, const float *y, float *out, float scale, struct mm_err *err)
{
	struct run r = {
		.p = p, .x = x, .y = y, .out = out, .scale = scale, .n = p->b->n_tok, .k = x->n_used, .d = p->hp->n_embd
	};
	int rc = -1;
	if (!(r.pick = mm_calloc(r.n * r.k + 1, sizeof(*r.pick), err)) ||
		!(r.list = mm_calloc(r.n * r.k + 1, sizeof(*r.list), err)) ||
		!(r.res = mm_big_alloc((r.n * r.k * r.d + 1) * sizeof(float), err)) || route(&r, err) ||
		jobs_make(&r, err))
		goto out;
	if (!x->m)
		jobs_run(&r, 0, r.n_job);
	else if (jobs_stream(&r, err))
		goto out;
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t i = 0; i < r.n; i++)
		sum_row(&r, i);
	if (x->s_down) {
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)p->n_thread)
		for (size_t row = 0; row < p->b->n_row; row += MM_TILE)
			shared_tile(&r, row, p->work[omp_get_thread_num()]);
	}
	rc = 0;
out:
	mm_free(r.pick);
	mm_free(r.list);
	mm_free(r.job);
	mm_big_free(r.res);
	return rc;
}
