/* feat_tap.c: what is kept of one row of logits: masses of sets of tokens, and a random projection of sqrt(p).
 *
 * The vocabulary comes in chunks; masses are kept times exp(max) of what came so far and scaled when the maximum rises.
 * A tap's chunks come in their order and on one thread each: the same bits however many threads there are.
 *
 * Projection: coordinate d is the sum over the vocabulary of s(d, v) sqrt(p(v)) / sqrt(D), s = +1 or -1 by a hash of
 * probe, v and d. The dot product of two of them has the mean sum sqrt(p q) and a variance of at most 2 / D; signs
 * differ from probe to probe, so over M probes the standard error of the mean is at most sqrt(2 / (D M)): 0.011 with
 * D = 64 and M = 256. */
#include "model/feat_priv.h"

#include <math.h>
#include <string.h>

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static void project(struct mm_tap *t, size_t id0, size_t n, const float *root)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t sign = mix(t->seed + (id0 + i + 1) * UINT64_C(0x9E3779B97F4A7C15));
		uint32_t up, out;
		memcpy(&up, &root[i], sizeof(up));
		if (!up)
			continue;
		for (unsigned d = 0; d < MM_PROBES_PROJ; d++) {
			float g;
			out = up ^ (uint32_t)(sign >> d) << 31;
			memcpy(&g, &out, sizeof(g));
			t->proj[d] += g;
		}
	}
}

static void rescale(struct mm_tap *t, float max)
{
	double by = exp((double)t->max - (double)max);
	float half = (float)exp(0.5 * ((double)t->max - (double)max));
	t->sum *= by;
	t->want_mass *= by;
	for (size_t i = 0; i < MM_PROBES_BYTES; i++)
		t->bin[i] *= by;
	for (size_t a = 0; t->ring && a <= t->n_seen; a++) {
		t->ring[a] *= by;
		t->stop[a] *= by;
	}
	for (size_t d = 0; t->project && d < MM_PROBES_PROJ; d++)
		t->proj[d] *= half;
	t->max = max;
}

/* Tokens that share bytes with `seen`: by how many. Sorted, so that the shared part grows and shrinks step by step. */
static void range_add(struct mm_tap *t, const struct mm_feat_vocab *v, size_t id0, size_t n, const float *e)
{
	size_t a = 1;
	if (!t->n_seen)
		return;
	for (uint32_t i = t->lo[1]; i < t->hi[1]; i++) {
		while (a < t->n_seen && i >= t->lo[a + 1] && i < t->hi[a + 1])
			a++;
		while (i >= t->hi[a])
			a--;
		uint32_t id = v->sorted[i];
		if (id < id0 || id - id0 >= n)
			continue;
		double p = (double)e[id - id0];
		size_t len = mm_feat_len(v, id);
		t->ring[a] += p;
		if (len == a && id != t->want)
			t->stop[a] += p;
		else if (a == t->n_seen && len > a && id != t->want) /* that one leads to the next context */
			t->bin[v->blob[v->off[id] + a]] += p;
	}
}

void mm_tap_add(struct mm_tap *t, const struct mm_feat_vocab *v, const float *x, size_t id0, size_t n)
{
	float e[MM_HEAD_CHUNK], max = t->max;
	for (size_t i = 0; i < n; i++)
		if (!(x[i] <= max)) /* NaN too: it ends up in the sum */
			max = x[i];
	if (max > t->max)
		rescale(t, max);
	for (size_t i = 0; i < n; i++)
		e[i] = x[i] - max;
	mm_exp_row(e, n);
	if (t->logits)
		memcpy(t->logits + id0, x, n * sizeof(*x));
	for (size_t i = 0; i < n; i++)
		t->sum += (double)e[i];
	if (t->want >= id0 && t->want - id0 < n)
		t->want_mass = (double)e[t->want - id0];
	if (t->kind == MM_TAP_FIRST || t->kind == MM_TAP_OVER)
		for (size_t i = 0; i < n; i++) {
			uint16_t b = v->first[id0 + i];
			if (b < MM_FEAT_END)
				t->bin[t->kind == MM_TAP_FIRST ? b : ' '] += (double)e[i];
		}
	else if (t->kind == MM_TAP_RANGE)
		range_add(t, v, id0, n, e);
	for (size_t k = 0; t->ends && k < v->n_end; k++)
		if (v->end[k] >= id0 && v->end[k] - id0 < n)
			t->bin[MM_FEAT_END] += (double)e[v->end[k] - id0];
	if (t->project) {
		for (size_t i = 0; i < n; i++)
			e[i] = 0.5f * (x[i] - max);
		mm_exp_row(e, n);
		project(t, id0, n, e);
	}
}

void mm_tap_fini(struct mm_tap *t)
{
	mm_free(t->seen);
	mm_free(t->lo);
	mm_free(t->hi);
	mm_free(t->ring);
	mm_free(t->stop);
}
