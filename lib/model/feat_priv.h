/* feat_priv.h - next-byte features: what a model says comes next, in bytes, after each probe of the text set.
 *
 *	feat_vocab.c	tokens as byte strings, sorted; which ones end a text
 *	feat_plan.c	which rows of which sequences say something about a probe
 *	feat_tap.c	what is gathered of such a row while the head goes through the vocabulary
 *	feat_full.c	not for features: whole rows of log-probabilities, by the same way
 *	feat.c		from what was gathered to a distribution; what scoring calls
 *
 * Let x be the prefix of a probe, tokenized by itself into t_1 .. t_k, and y the bytes of these tokens. A text that
 *goes on from x need not go on from t_k: its tokenizer may cover the last bytes of x and the next ones with one token.
 *So
 *
 *	P(x b) = sum over contexts c and tokens v:  P(c) p(v | c),  bytes(c) bytes(v) begins with y b,  bytes(c) no
 *longer than y
 *
 * and the feature is P(x b) over its sum over b and the end of text (which follows t_1 .. t_k only). The one-step form
 * takes the contexts t_1 .. t_l, l <= k: all are rows of one sequence. The exact form (the byte-token representation of
 * arXiv 2410.09303) adds the tokenization of every shorter prefix of x, cut between characters: what a text's own
 * tokenizer can have put there. Where no token crosses the probe, both are the masses of all tokens by their first
 *byte.
 *
 * Bytes are those of mm_tok_bytes: the space that a tokenizer puts in front of a text is one. Tokens that end a text
 * count as its end; other special and unknown tokens, ids without a token, are left out and the rest renormalised. A
 * tokenizer that drops spaces (WordPiece) leaves the prefix's last one to the next token; one whose words end in one
 * (`</w>`) has it not yet seen. */
#ifndef MM_FEAT_PRIV_H
#define MM_FEAT_PRIV_H

#include "model/score_priv.h"

/* ---- feat_vocab.c ---- */

#define MM_FEAT_END  256
#define MM_FEAT_NONE 0xffff

struct mm_feat_vocab {
	size_t n;	 /* ids of the model */
	uint16_t *first; /* [n] first byte, MM_FEAT_END or MM_FEAT_NONE */
	uint32_t *off;	 /* [n + 1] into blob: the bytes of each id; none unless first is a byte */
	uint8_t *blob;
	uint32_t *sorted; /* [n_sorted] ids with bytes, by their bytes, then by id */
	size_t n_sorted, longest;
	uint32_t *end; /* [n_end] ids that end a text */
	size_t n_end;
};
int mm_feat_vocab_make(
	struct mm_feat_vocab *v, const struct mm_model *m, const struct mm_tok *tok, struct mm_err *err) MM_MUST_CHECK;
void mm_feat_vocab_fini(struct mm_feat_vocab *v);
/* sorted[*lo .. *hi): tokens that begin with s, s itself included (those come first). Narrows what is given in. */
void mm_feat_range(const struct mm_feat_vocab *v, const uint8_t *s, size_t n, uint32_t *lo, uint32_t *hi);
size_t mm_feat_len(const struct mm_feat_vocab *v, uint32_t id);

/* ---- feat_tap.c ---- */

enum mm_tap_kind {
	MM_TAP_PATH,  /* only the probability of `want` counts */
	MM_TAP_FIRST, /* tokens by their first byte */
	MM_TAP_RANGE, /* tokens longer than `seen` that begin with it, by the byte behind it */
	MM_TAP_OVER   /* any token is a space: the context has said so already */
};
struct mm_tap {
	uint32_t probe, want; /* token whose probability is wanted; UINT32_MAX: none */
	size_t seq, pos;      /* sequence (texts first, then own ones), position in it */
	enum mm_tap_kind kind;
	bool ends, project;
	uint64_t seed; /* of the projection */
	uint8_t *seen; /* [n_seen] owned */
	size_t n_seen;
	uint32_t *lo, *hi; /* [n_seen + 1] sorted[lo[a] .. hi[a]) begin with seen[0 .. a) */
	size_t row;	   /* of the batch under way */
	/* Gathered; all masses are times exp(max). */
	float max;
	double sum, want_mass, bin[MM_PROBES_BYTES];
	double *ring; /* [n_seen + 1] tokens that begin with seen[0 .. a) and not with more of it */
	double *stop; /* [n_seen + 1] of these, the token that is seen[0 .. a) itself, unless wanted */
	float proj[MM_PROBES_PROJ];
	float *logits; /* [n_vocab] whole, for feat_full.c; NULL: not wanted */
};
struct mm_taps {	     /* of a batch, by row; their rows need no target */
	struct mm_tap **tap; /* [n] */
	size_t n;
	const struct mm_feat_vocab *vocab;
};
/* Logits x of ids id0 .. id0 + n - 1 of the tap's row; chunk after chunk, by one thread. n: at most MM_HEAD_CHUNK. */
void mm_tap_add(struct mm_tap *t, const struct mm_feat_vocab *v, const float *x, size_t id0, size_t n);
void mm_tap_fini(struct mm_tap *t);

/* ---- feat_plan.c ---- */

struct mm_feat_chain { /* contexts that follow from one another: tap + i stands behind start + i tokens of the prefix */
	uint32_t probe, start;
	size_t tap, n_tap;
};
struct mm_feat_probe {
	bool given;	       /* by a job that was killed */
	size_t chain, n_chain; /* the first one is t_1 .. t_k's */
	size_t left;	       /* taps that were not gathered yet */
};
struct mm_feat_seq { /* own sequences: a prefix's tokens, and one more, which is not looked at */
	uint32_t *id;
	size_t n;
	bool borrowed; /* a text's ids */
};
struct mm_feat {
	const struct mm_model *m;
	const struct mm_tok *tok;
	const struct mm_texts *texts;
	struct mm_probes probes;
	bool exact;
	struct mm_feat_vocab vocab;
	struct mm_feat_probe *probe; /* [probes.n] */
	struct mm_feat_chain *chain;
	size_t n_chain, cap_chain;
	struct mm_tap *tap;
	size_t n_tap, cap_tap;
	struct mm_feat_seq *own;
	size_t n_own, cap_own;
	size_t *order; /* [n_tap] taps by sequence and position */
	size_t *from;  /* [texts->n + n_own + 1] into order */
	struct mm_taps live;
	size_t cap_live;
	struct mm_features *out;
	struct mm_resume *resume; /* or NULL */
};
struct mm_feat_text { /* a text's sequence as it will be scored */
	const uint32_t *id;
	size_t n;
	bool done; /* by the killed job: it will not come again */
};
/* Taps and own sequences of probe m. text: the sequence of its text. */
int mm_feat_plan(struct mm_feat *f, size_t m, const struct mm_feat_text *text, const uint32_t *front, size_t n_front,
	size_t limit, struct mm_err *err) MM_MUST_CHECK;
/* When all probes are planned. */
int mm_feat_plan_order(struct mm_feat *f, struct mm_err *err) MM_MUST_CHECK;

#endif
