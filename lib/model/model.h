/* model.h - checkpoints, tokenizers, forward passes and scoring. Used by modelmap-score only: the daemon never links
 * this.
 *
 * A checkpoint is a Hugging Face directory (config.json + safetensors) or a .gguf file. Everything read here was
 * written by others and is treated as hostile: every size is checked against the bytes that remain before it is used.
 */
#ifndef MM_MODEL_H
#define MM_MODEL_H

#include "base/base.h"
#include "tensor/tensor.h"

/* ---- ckpt.c (safetensors.c, shards.c, gguf.c): the container ---- */

#define MM_DIMS_MAX 8

struct mm_tensor { /* one stored tensor; shape as the file says it, row-major, outermost dimension first (GGUF is
		      reversed on load) */
	const char *name;
	enum mm_dtype dtype;
	unsigned n_dim;
	uint64_t dim[MM_DIMS_MAX];
	uint64_t n_elem, n_byte;
	const uint8_t *data; /* in the mapping; borrowed from the checkpoint; may be unaligned */
	unsigned file;	     /* index into mm_ckpt_file() */
	uint64_t offset;     /* of data in that file */
	const void *overlay; /* an adapter's delta lies on top: data is not the whole value, read with mm_ckpt_read */
	uint32_t scale; /* number of the tensor with factors of FP8 blocks, plus 1; 0: none. Then too, mm_ckpt_read */
	uint32_t scale_rows, scale_cols; /* of a block */
};

enum mm_container { MM_CONTAINER_SAFETENSORS, MM_CONTAINER_GGUF };

struct mm_ckpt;
/* `path`: directory or .gguf file (the first part of a split one). Maps the shards; reads headers only. A directory
 * with a LoRA adapter opens its base model, looked for below `search_dir` (may be NULL), with the adapter's weights on
 * top. */
struct mm_ckpt *mm_ckpt_open(const char *path, const char *search_dir, struct mm_err *err) MM_MUST_CHECK;
void mm_ckpt_close(struct mm_ckpt *ck);
enum mm_container mm_ckpt_container(const struct mm_ckpt *ck);
const char *mm_ckpt_path(const struct mm_ckpt *ck);
const json_t *mm_ckpt_config(
	const struct mm_ckpt *ck); /* config.json; GGUF: its metadata as one flat object {"llama.block_count": 2, ...},
				      arrays longer than 1024 left out. Borrowed */
size_t mm_ckpt_n_tensor(const struct mm_ckpt *ck);
const struct mm_tensor *mm_ckpt_tensor(const struct mm_ckpt *ck, size_t i);	  /* in file order */
const struct mm_tensor *mm_ckpt_find(const struct mm_ckpt *ck, const char *name); /* NULL when absent; O(1) */
size_t mm_ckpt_n_file(const struct mm_ckpt *ck);
const char *mm_ckpt_file(const struct mm_ckpt *ck, size_t i); /* name relative to the directory */
uint64_t mm_ckpt_bytes(const struct mm_ckpt *ck);	      /* of all weight files */
/* Tells the kernel that the pages of this tensor are not needed any more (layer streaming). */
void mm_ckpt_drop(const struct mm_ckpt *ck, const struct mm_tensor *t);
/* The same, and the tensor's digest is kept for the fingerprint where one will be asked for. */
void mm_ckpt_done(const struct mm_ckpt *ck, const struct mm_tensor *t);
/* Tells it that they will be needed soon: read ahead. */
void mm_ckpt_willneed(const struct mm_ckpt *ck, const struct mm_tensor *t);
/* GGUF only (else NULL): typed access to one metadata value, also the long arrays (tokenizer). */
struct mm_gguf;
const struct mm_gguf *mm_ckpt_gguf(const struct mm_ckpt *ck);

/* ---- tok.c (tok_*.c): tokenizers ---- */

struct mm_tok;
struct mm_ids { /* zero-initialise; free id with mm_free */
	uint32_t *id;
	size_t n, cap;
};
enum mm_tok_flags {
	MM_TOK_SPECIAL = 1, /* apply the post-processor's template (BOS, EOS...) */
	MM_TOK_PLAIN = 2,   /* special tokens written out in the text are plain text (else they become the token, as in
			       the reference) */
};

/* The tokenizer of an open checkpoint: its own, that of the run's directory above it, or an adapter's base's. */
struct mm_tok *mm_tok_of(const struct mm_ckpt *ck, struct mm_err *err) MM_MUST_CHECK;
/* `path`: a checkpoint directory or one that holds only a tokenizer (tokenizer.json, else tokenizer.model, else
 * tiktoken or RWKV vocabulary), a single tokenizer.json / tokenizer.model / vocabulary .txt / .tiktoken / .gguf. A
 * checkpoint inside a run finds the tokenizer of the run's directory above it. tokenizer_config.json beside it is read
 * for bos/eos. MM_ENOENT when there is none; MM_EUNSUPPORTED names a component that we do not know. */
struct mm_tok *mm_tok_open(const char *path, struct mm_err *err) MM_MUST_CHECK;
void mm_tok_close(struct mm_tok *tok);
/* Appends the ids of text[0..len) (valid UTF-8, may hold NULs) to `out`. May be called from several threads at once. */
int mm_tok_encode(const struct mm_tok *tok, const char *text, size_t len, unsigned flags, struct mm_ids *out,
	struct mm_err *err) MM_MUST_CHECK;
/* Bytes that the ids stand for (for round trips and next-byte features). Appends to `out`. */
int mm_tok_decode(
	const struct mm_tok *tok, const uint32_t *id, size_t n, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;
/* Appends the bytes of one token as they stand inside a text: nothing is stripped (mm_tok_decode drops the space that
 * the tokenizer itself puts in front of a text). */
int mm_tok_bytes(const struct mm_tok *tok, uint32_t id, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;
/* What the template puts in front of and behind a single text; n may be 0. Borrowed. */
void mm_tok_template(
	const struct mm_tok *tok, const uint32_t **front, size_t *n_front, const uint32_t **back, size_t *n_back);
int64_t mm_tok_bos(const struct mm_tok *tok); /* bos_token of tokenizer_config.json (or GGUF); -1: none */
int64_t mm_tok_eos(const struct mm_tok *tok);
size_t mm_tok_n_vocab(const struct mm_tok *tok); /* highest id + 1, added tokens included */
struct mm_hash mm_tok_hash(
	const struct mm_tok *tok); /* of everything that the ids depend on: key of the token id cache */
const char *mm_tok_class(
	const struct mm_tok *tok); /* "bpe-bytelevel", "bpe-sentencepiece", "unigram", "wordpiece", "rwkv", ... */

/* ---- load.c, family.c, fam_*.c: families ---- */

enum mm_compute { MM_COMPUTE_AUTO, MM_COMPUTE_F32, MM_COMPUTE_BF16 };

struct mm_model; /* a checkpoint with its weights resolved, ready for forward passes; owns the mm_ckpt given to it */
struct mm_model_opts {
	enum mm_compute compute;
	unsigned threads;	/* 0: all cores */
	uint64_t memory;	/* bound on the resident set in bytes; 0: none */
	const char *search_dir; /* where an adapter's base model may be looked for; NULL: none */
	bool fingerprint; /* mm_fingerprint_ckpt will be asked for: weights are hashed when they are read anyway */
};
struct mm_model *mm_model_open(const char *path, const struct mm_model_opts *opts, struct mm_err *err) MM_MUST_CHECK;
void mm_model_close(struct mm_model *m);

struct mm_model_info {
	const char *family;	  /* our row: "llama" */
	const char *architecture; /* what the file says: "LlamaForCausalLM" */
	const char *dtype;	  /* of most weights: "bf16", "q4_k" */
	uint64_t n_param;	  /* elements of all weights that the model uses, tied ones once */
	uint64_t n_byte;
	size_t n_layer, n_embd, n_vocab, n_ctx; /* n_ctx: positions the model was made for; 0: unlimited (recurrent) */
	const char *compute;			/* what is used: "f32" or "bf16" */
	const char *kernel;			/* "onednn avx512_core_bf16", "openblas haswell" */
	double flops;				/* of the matrices, a token; attention left out */
	uint64_t n_memory_min;			/* 0, or the bound on memory cannot be kept: bytes that will be taken */
	int64_t bos, eos;			/* of config.json (first of a list); -1: none */
};
const struct mm_ckpt *mm_model_ckpt(const struct mm_model *m);		  /* borrowed */
void mm_model_info(const struct mm_model *m, struct mm_model_info *info); /* strings borrowed from the model */

/* ---- score.c: log-likelihoods ---- */

enum mm_bos { MM_BOS_AUTO, MM_BOS_PAPER, MM_BOS_NONE };

struct mm_score_progress {
	const char *stage;  /* "load", "tokenize", "score" */
	size_t done, total; /* texts */
	uint64_t tokens, tokens_total;
	double seconds;
};
struct mm_score_opts {
	enum mm_bos bos;
	bool want_tokens;					       /* keep per-token log-probs */
	int (*progress)(void *ctx, const struct mm_score_progress *p); /* non-zero: cancel */
	void *ctx;
	const char *token_cache; /* directory for token ids of text sets; NULL: none */
	const char
		*resume; /* file of what a killed job had done, and this one does; NULL: none. The caller removes it */
	const char *resume_tag; /* version of whoever asks: another one begins again */
	double resume_wait;	/* seconds between two writings */
	size_t probes;		/* next-byte features at that many places; 0: none */
	bool exact;		/* of these: all covers, not the one-step ones */
};
struct mm_feat_row { /* what the model says comes next at a probe (feat_priv.h); kept in files: no padding */
	uint32_t probe, zero;
	double p[MM_PROBES_BYTES];  /* next byte, then end of text; sums to 1 */
	double missed;		    /* share of mass that the one-step form neglects: estimated; with exact: summed */
	float proj[MM_PROBES_PROJ]; /* of sqrt(p) of the next token after the prefix's own ones (feat_tap.c) */
};
struct mm_features {
	size_t n;		 /* 0: none, and none[] says why when some were asked for */
	struct mm_feat_row *row; /* [n] by probe */
	uint8_t id[MM_PROBES_ID];
	bool exact;
	size_t n_own;	      /* sequences for the probes alone */
	uint64_t n_own_token; /* their rows */
	char none[256];
};
struct mm_score_result { /* zero-initialise; free with mm_score_result_fini */
	size_t n;
	double *loglik;	   /* [n] nats, natural logarithm, summed over the scored tokens in double */
	uint32_t *n_token; /* [n] scored tokens */
	uint8_t *cut;	   /* [n] 1: longer than the context, scored up to there */
	float *mink20;	   /* [n] nats: mean of the 20 % least likely tokens */
	float *mink20pp;   /* [n] standard deviations: the same of log p against its own distribution */
	float *unigram;	   /* [n] nats: log-likelihood by the frequencies of the tokens in all the texts */
	size_t n_cut;
	uint64_t n_token_total;
	uint64_t n_token_resumed; /* of these, not scored by this run */
	double seconds_load, seconds_tokenize, seconds_score;
	double seconds_cpu; /* processor time of all threads while scoring */
	struct mm_features features;
};
int mm_score_texts(struct mm_model *m, const struct mm_tok *tok, const struct mm_texts *texts,
	const struct mm_score_opts *opts, struct mm_score_result *out, struct mm_err *err) MM_MUST_CHECK;
void mm_score_result_fini(struct mm_score_result *r);
void mm_features_fini(struct mm_features *o);
/* logprob[t-1] = log p(id[t] | id[<t]), nats, for t = 1..n-1; nothing added. Ids beyond the vocabulary are an error. */
int mm_score_ids(struct mm_model *m, const uint32_t *id, size_t n, double *logprob, struct mm_err *err) MM_MUST_CHECK;
/* Several sequences at once (packed): logprob[s] has room for n[s]-1. */
int mm_score_sequences(struct mm_model *m, size_t n_seq, const uint32_t *const *id, const size_t *n,
	double *const *logprob, const struct mm_score_opts *opts, struct mm_err *err) MM_MUST_CHECK;

/* logprob[t * n_vocab + v] = log p(v | id[0 .. t]) for t = 0 .. n-1: whole distributions. One sequence, one pass. */
int mm_score_full(struct mm_model *m, const uint32_t *id, size_t n, float *logprob, struct mm_err *err) MM_MUST_CHECK;

/* Writes {"families":[{"family","architectures","containers","proof"}]} from the tables. Caller decrefs. */
json_t *mm_families_json(struct mm_err *err) MM_MUST_CHECK;

/* ---- probe.c: is this checkpoint whole? (see daemon/ready.c for who asks) ---- */

enum mm_probe_state { MM_PROBE_READY, MM_PROBE_WAITING, MM_PROBE_FAILED };
/* Fills a JSON object:
 *  {"state": "ready|waiting|failed",
 *   "reason": {"code": waiting: no_config, bad_config, no_weights, bad_index, missing_shard, truncated, empty_blocks,
 * unreadable, no_tokenizer, bad_tokenizer, no_base (of an adapter), io; failed: bad_config, unsupported, shape,
 *                      bad_weights, bad_index, not_regular, split_part (a later part of a split GGUF),
 *              "file": "model-00002-of-00002.safetensors", "missing_bytes": 4711, "text": "one sentence"},   absent
 * when ready "quick": hex, "files": [{"name","bytes","mtime_ns","ino"}],   files that count, sorted by name (also when
 * waiting) "meta": {"family","architecture","params","bytes","dtype","container","context","vocab","base_claimed"}} as
 * far as known. Returns -1 only when the probe itself cannot be done. Caller decrefs. */
json_t *mm_probe(const char *path, const char *search_dir, struct mm_err *err) MM_MUST_CHECK;
/* Full fingerprint: canonical config, tokenizer, every weight by name (see fingerprint.c for what is in it). */
int mm_fingerprint_full(
	const char *path, const char *search_dir, struct mm_hash *out, struct mm_err *err) MM_MUST_CHECK;
/* The same of an open checkpoint, through its mapping; tensors that a model opened with opts.fingerprint has read are
 * not read again. */
int mm_fingerprint_ckpt(const struct mm_ckpt *ck, struct mm_hash *out, struct mm_err *err) MM_MUST_CHECK;
/* Of the config alone, without what only says who wrote it. */
int mm_fingerprint_config(const struct mm_ckpt *ck, struct mm_hash *out, struct mm_err *err) MM_MUST_CHECK;
/* Weights at seeded positions that depend on names and shapes only, widened to f32: equal or nearly so when two
 * checkpoints hold the same weights in another dtype or other shards (see fingerprint.c for GGUF). */
#define MM_WEIGHT_SAMPLE 1024
int mm_weight_sample(const struct mm_ckpt *ck, float out[MM_WEIGHT_SAMPLE], struct mm_err *err) MM_MUST_CHECK;

#endif
