/* feat_brute.h - next-byte distributions the obvious way, for tiny vocabularies and short prefixes: every sequence of
 * tokens that spells a beginning of the prefix is tried, every token behind it, and the model is asked for the
 * probability of each by the log-probabilities of given ids. Shares nothing with lib/model/feat*.c. */
#ifndef FEAT_BRUTE_H
#define FEAT_BRUTE_H

#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define BRUTE_VOCAB 384
#define BRUTE_SEQ   48

struct brute {
	struct mm_model *m;
	struct mm_tok *tok;
	size_t n_vocab;
	char spell[BRUTE_VOCAB][16]; /* bytes of each token; "": none */
	size_t spell_n[BRUTE_VOCAB];
	uint32_t front;	 /* the context token */
	uint32_t end[8]; /* ids that end a text */
	size_t n_end;
	bool exact;
	/* of one prefix */
	const char *x;
	size_t n;
	uint32_t t[BRUTE_SEQ]; /* its tokens */
	size_t k;
	char y[256];
	size_t n_y;
	double p[257], one;	   /* masses; `one`: of the one-step contexts alone */
	size_t n_context, n_cross; /* contexts with mass; those before the last */
};

/* p(v | front, c[0 .. n)) of every v */
static inline void brute_next(const struct brute *b, const uint32_t *c, size_t n, double *p)
{
	static uint32_t id[BRUTE_VOCAB][BRUTE_SEQ + 2];
	static double lp[BRUTE_VOCAB][BRUTE_SEQ + 2];
	const uint32_t *ids[BRUTE_VOCAB];
	double *lps[BRUTE_VOCAB];
	size_t len[BRUTE_VOCAB];
	struct mm_err err;
	assert_true(n < BRUTE_SEQ);
	for (uint32_t v = 0; v < b->n_vocab; v++) {
		id[v][0] = b->front;
		memcpy(id[v] + 1, c, n * sizeof(*c));
		id[v][n + 1] = v;
		ids[v] = id[v];
		lps[v] = lp[v];
		len[v] = n + 2;
	}
	if (mm_score_sequences(b->m, b->n_vocab, ids, len, lps, NULL, &err))
		fail_msg("%s", err.text);
	for (size_t v = 0; v < b->n_vocab; v++)
		p[v] = exp(lp[v][n]);
}

static inline bool brute_is_prefix(const struct brute *b, const uint32_t *c, size_t n)
{
	return n <= b->k && !memcmp(c, b->t, n * sizeof(*c));
}

/* Is c what the tokenizer makes of some beginning of x? */
static inline bool brute_is_encoding(const struct brute *b, const uint32_t *c, size_t n)
{
	struct mm_err err;
	bool yes = false;
	for (size_t i = 0; i <= b->n && !yes; i++) {
		struct mm_ids ids = { 0 };
		if (i < b->n && ((unsigned char)b->x[i] & 0xC0) == 0x80)
			continue;
		assert_int_equal(mm_tok_encode(b->tok, b->x, i, 0, &ids, &err), 0);
		yes = ids.n == n && (!n || !memcmp(ids.id, c, n * sizeof(*c)));
		mm_free(ids.id);
	}
	return yes;
}

static inline void brute_context(struct brute *b, const uint32_t *c, size_t n, size_t at, double mass)
{
	double p[BRUTE_VOCAB], sum = 0;
	bool step = brute_is_prefix(b, c, n);
	if (!step && !(b->exact && brute_is_encoding(b, c, n)))
		return;
	brute_next(b, c, n, p);
	for (size_t v = 0; v < b->n_vocab; v++) {
		size_t len = b->spell_n[v];
		if (at + len <= b->n_y || memcmp(b->spell[v], b->y + at, b->n_y - at) != 0)
			continue;
		b->p[(unsigned char)b->spell[v][b->n_y - at]] += mass * p[v];
		sum += mass * p[v];
	}
	for (size_t e = 0; e < b->n_end && step && n == b->k; e++) {
		b->p[256] += mass * p[b->end[e]];
		sum += mass * p[b->end[e]];
	}
	b->one += step ? sum : 0;
	b->n_context += sum > 0;
	b->n_cross += sum > 0 && n < b->k;
}

/* All sequences that spell a beginning of y, one token after the other. */
static inline void brute_walk(struct brute *b, uint32_t *c, size_t n, size_t at)
{
	struct mm_err err;
	double lp[BRUTE_SEQ + 2], sum = 0;
	uint32_t id[BRUTE_SEQ + 2] = { b->front };
	if (brute_is_prefix(b, c, n) || (b->exact && brute_is_encoding(b, c, n))) {
		memcpy(id + 1, c, n * sizeof(*c));
		if (n && mm_score_ids(b->m, id, n + 1, lp, &err))
			fail_msg("%s", err.text);
		for (size_t i = 0; i < n; i++)
			sum += lp[i];
		brute_context(b, c, n, at, exp(sum));
	}
	for (uint32_t v = 0; v < b->n_vocab; v++) {
		size_t len = b->spell_n[v];
		if (!len || at + len > b->n_y || memcmp(b->spell[v], b->y + at, len) != 0)
			continue;
		c[n] = v;
		brute_walk(b, c, n + 1, at + len);
	}
}

/* p[257] of what follows x[0 .. n). */
static inline void brute_run(struct brute *b, const char *x, size_t n)
{
	struct mm_err err;
	struct mm_ids ids = { 0 };
	uint32_t c[BRUTE_SEQ];
	double sum = 0;
	b->x = x;
	b->n = n;
	assert_int_equal(mm_tok_encode(b->tok, x, n, 0, &ids, &err), 0);
	assert_true(ids.n < BRUTE_SEQ);
	b->k = ids.n;
	b->n_y = b->n_context = b->n_cross = 0;
	b->one = 0;
	memset(b->p, 0, sizeof(b->p));
	for (size_t i = 0; i < ids.n; i++) {
		b->t[i] = ids.id[i];
		memcpy(b->y + b->n_y, b->spell[ids.id[i]], b->spell_n[ids.id[i]]);
		b->n_y += b->spell_n[ids.id[i]];
	}
	mm_free(ids.id);
	/* Where words bring their space in front: a space at the end of x that no token has spelled yet. */
	if (n && x[n - 1] == ' ' && b->n_y && b->y[b->n_y - 1] != ' ')
		b->y[b->n_y++] = ' ';
	brute_walk(b, c, 0, 0);
	for (size_t i = 0; i < 257; i++)
		sum += b->p[i];
	for (size_t i = 0; i < 257; i++)
		b->p[i] /= sum;
	b->one /= sum;
}

static inline struct mm_model *brute_model(const char *path)
{
	struct mm_err err;
	struct mm_model *m =
		mm_model_open(path, &(struct mm_model_opts){ .compute = MM_COMPUTE_F32, .threads = 2 }, &err);
	if (!m)
		fail_msg("%s", err.text);
	return m;
}

/* A text set of the given texts, each a line. */
static inline struct mm_texts brute_texts(const char *const *text, size_t n)
{
	struct mm_err err;
	struct mm_texts t;
	char path[] = "/tmp/mm-feat-XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	assert_non_null(f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "{\"text\": \"%s\", \"domain\": \"d%zu\"}\n", text[i], i % 3);
	assert_int_equal(fclose(f), 0);
	if (mm_texts_load(&t, path, &err))
		fail_msg("%s", err.text);
	unlink(path);
	return t;
}

#endif
