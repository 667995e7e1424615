/* score_priv.h - what the files of scoring share: batches, the texts of a killed job, token ids that are kept.
 *
 *	score_text.c --tok_cache.c, score_resume.c--> score.c --batches--> pass.c
 */
#ifndef MM_MODEL_SCORE_PRIV_H
#define MM_MODEL_SCORE_PRIV_H

#include "model/model_priv.h"

/* ---- matrix.c ---- */

struct mm_stage { /* where matrices are put together */
	void *p;
	size_t cap;
};
void *mm_stage_get(
	const struct mm_model *m, size_t n, struct mm_err *err) MM_MUST_CHECK; /* valid until the next call */
void mm_stage_drop(const struct mm_model *m);

enum mm_dtype mm_head_type(const struct mm_model *m); /* arithmetic of the head: MM_F32 or MM_BF16 */

/* ---- memory.c ---- */

double mm_memory_flops(const struct mm_model *m);		 /* multiplications and additions a token */
size_t mm_memory_rows(const struct mm_model *m, size_t longest); /* of a batch */
uint64_t mm_memory_keep(const struct mm_model *m, size_t rows, size_t longest); /* for mm_big_keep */

/* ---- score.c: sequences packed into batches ---- */

struct mm_score_seq {
	const uint32_t *id;
	size_t n, from; /* tokens; the first one that is scored (>= 1) */
	size_t index;	/* where the caller wants it */
};

struct mm_score_job {
	struct mm_model *m;
	const struct mm_score_opts *opts;
	struct mm_score_seq *seq; /* sorted, only those with something to score */
	size_t n_seq, n_total, n_done_before;
	uint64_t tokens, tokens_total;
	double start;
	size_t done, n_batch; /* texts done; tokens of the batch under way, of which `share` is done */
	double share, told;
	/* takes the log-probs of tokens from .. n-1 of one sequence; standard: the same in standard deviations from
	 * their means, NULL unless wanted */
	int (*take)(void *ctx, const struct mm_score_seq *s, const double *logprob, const float *standard,
		struct mm_err *err);
	bool want_standard;
	struct mm_feat *feat;	       /* or NULL */
	void (*batch_done)(void *ctx); /* after the last take of a batch; or NULL */
	void *ctx;
};
/* Sorts the sequences, packs, runs, hands out. Checks ids and lengths first. */
int mm_score_run(struct mm_score_job *j, struct mm_err *err) MM_MUST_CHECK;
int mm_score_tell(
	struct mm_score_job *j, const char *stage, size_t done, struct mm_err *err) MM_MUST_CHECK; /* progress */

/* ---- signs.c ---- */
double mm_sign_mink(double *v, size_t n); /* mean of the least fifth of v[n], which is put in another order */
/* out[index of the sequence]; nothing for sequences that are not there */
int mm_sign_unigram(
	const struct mm_score_seq *s, size_t n_seq, size_t n_vocab, float *out, struct mm_err *err) MM_MUST_CHECK;

/* ---- tok_cache.c: token ids of a text set; `front` places are left free in front of each text's ---- */

bool mm_tok_cache_get(const char *dir, const struct mm_tok *tok, const struct mm_texts *texts, unsigned flags,
	size_t front, struct mm_ids *out); /* false: not there, or spoilt */
void mm_tok_cache_put(const char *dir, const struct mm_tok *tok, const struct mm_texts *texts, unsigned flags,
	size_t front, const struct mm_ids *ids); /* an aid: a failure is of no consequence */

/* ---- score_resume.c: texts that a killed job has done ---- */

struct mm_resume;
int mm_resume_key(const struct mm_model *m, const struct mm_texts *texts, enum mm_bos bos, const char *tag,
	struct mm_hash *out, struct mm_err *err) MM_MUST_CHECK;
struct mm_resume *mm_resume_open(
	const char *path, struct mm_hash key, size_t n, double wait, struct mm_err *err) MM_MUST_CHECK;
void mm_resume_close(struct mm_resume *r); /* NULL is fine */
bool mm_resume_has(const struct mm_resume *r, size_t text);
void mm_resume_give(
	const struct mm_resume *r, double *loglik, float *mink20, float *mink20pp); /* [n] each: those that are done */
void mm_resume_add(struct mm_resume *r, size_t text, double loglik, float mink20, float mink20pp);
void mm_resume_flush(struct mm_resume *r, const char *path); /* after a batch; writes when it is time */
void mm_resume_add_feat(struct mm_resume *r, const struct mm_feat_row *row);
const struct mm_feat_row *mm_resume_feats(const struct mm_resume *r, size_t *n); /* what was done; borrowed */

/* ---- feat.c: next-byte features (feat_priv.h) ---- */

struct mm_feat;
/* Not MM_ENOMEM: this tokenizer has none. out: filled as probes get done. */
struct mm_feat *mm_feat_new(const struct mm_model *m, const struct mm_tok *tok, const struct mm_texts *texts, size_t n,
	bool exact, struct mm_features *out, struct mm_err *err) MM_MUST_CHECK;
/* of_text: [texts] each text's sequence as it will be scored (also those that `resume` has); front: what stands before
 * a text; limit: longest sequence. */
int mm_feat_plan_all(struct mm_feat *f, const struct mm_score_seq *of_text, const uint32_t *front, size_t n_front,
	size_t limit, struct mm_resume *resume, struct mm_err *err) MM_MUST_CHECK;
size_t mm_feat_n_own(const struct mm_feat *f);
struct mm_score_seq mm_feat_own(const struct mm_feat *f, size_t i); /* to be run too; nothing in it is scored */
/* Before and after a batch went through the model. */
int mm_feat_batch(struct mm_feat *f, const struct mm_score_seq *s, size_t n, struct mm_batch *b,
	struct mm_err *err) MM_MUST_CHECK;
int mm_feat_take(struct mm_feat *f, struct mm_err *err) MM_MUST_CHECK;
void mm_feat_end(struct mm_feat *f);  /* after the last batch */
void mm_feat_free(struct mm_feat *f); /* NULL is fine */

#endif
