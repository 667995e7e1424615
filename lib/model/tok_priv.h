/* tok_priv.h - tokenizers, inside lib/model/tok*.c only.
 *
 * How a text becomes ids (the pipeline of tokenizer.json; every other kind of file is brought into the same form):
 *
 *	text --added (raw)--> segments --normalizers--> --added (normalized)--> segments
 *	     --pre-tokenizer steps, depth first--> pieces --model (BPE, Unigram, WordPiece...)--> ids --template--> ids
 *
 * A tokenizer is immutable after opening. What a call needs to write (buffers, the word cache, the regex engine's
 *state) is in a tok_ctx, taken from the tokenizer's free list for the time of the call: one thread, one context.
 *
 * Everything that comes from a file is somebody else's: sizes, ids, nesting and regexes are bounded here.
 */
#ifndef MM_TOK_PRIV_H
#define MM_TOK_PRIV_H

#include "model/tok_read.h"

#include <pthread.h>

struct tok_ctx;

/* ---- tok_regex.c, tok_onig.c: a regex in the reference's (Oniguruma's) syntax ---- */

struct tok_regex;
struct tok_regex *tok_regex_new(struct tok_str pattern, struct mm_err *err) MM_MUST_CHECK;
struct tok_regex *tok_regex_literal(struct tok_str text, struct mm_err *err) MM_MUST_CHECK; /* matches just that */
void tok_regex_free(struct tok_regex *re);
/* First match at or after `from`: 1 and [*a, *b), 0 none, -1 error (limits). `last` is the end of the previous match,
 * SIZE_MAX none: an empty match right there is passed over. */
int tok_regex_next(const struct tok_regex *re, struct tok_ctx *c, struct tok_str text, size_t from, size_t last,
	size_t *a, size_t *b) MM_MUST_CHECK;
int tok_regex_translate(
	struct tok_str pattern, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK; /* to PCRE2's syntax */
int tok_regex_slow(
	struct tok_regex *re, struct mm_err *err) MM_MUST_CHECK; /* tests: PCRE2 where a scanner would be used */
bool tok_regex_is_scan(const struct tok_regex *re);

/* tok_scan.c: hand-made scanners for the usual patterns; equal to PCRE2's answer by a test */
typedef size_t (*tok_scan_fn)(const uint8_t *s, size_t n, size_t from); /* end of the match that begins at `from` */
tok_scan_fn tok_scan_find(struct tok_str pattern);			/* NULL: not one of them */
struct tok_regex *tok_pattern_parse(const json_t *j,
	struct mm_err *err) MM_MUST_CHECK; /* the "pattern" of Split and Replace; in tok_pretok_parse.c */
const char *tok_scan_pattern(size_t i);	   /* those that there are, for the test; NULL behind the last */

/* ---- tok_norm.c, tok_charsmap.c: normalizers ---- */

struct tok_charsmap;
struct tok_charsmap *tok_charsmap_new(const uint8_t *blob, size_t n, struct mm_err *err) MM_MUST_CHECK;
void tok_charsmap_free(struct tok_charsmap *m);
/* Longest key that is a prefix of s: its length, 0 none; *out is what replaces it. */
size_t tok_charsmap_prefix(const struct tok_charsmap *m, const uint8_t *s, size_t n, struct tok_str *out);
/* The way of tokenizer.json's Precompiled: grapheme by grapheme. Appends. *first: bytes of the result that stand where
 * the text begins. */
int tok_charsmap_apply(const struct tok_charsmap *m, struct tok_str s, struct mm_buf *out, size_t *first,
	struct mm_err *err) MM_MUST_CHECK;

/* tok_nf.c */
enum tok_nf { TOK_NFC, TOK_NFD, TOK_NFKC, TOK_NFKD };
bool tok_nf_is_plain(
	struct tok_str s, enum tok_nf form); /* nothing in it that the form changes, as far as is quickly seen */
int tok_nf_apply(struct tok_ctx *c, struct tok_str s, enum tok_nf form, struct mm_buf *out) MM_MUST_CHECK; /* appends */

enum tok_norm_kind {
	TOK_NORM_NF,
	TOK_NORM_LOWER,
	TOK_NORM_REPLACE,
	TOK_NORM_PREPEND,
	TOK_NORM_STRIP,
	TOK_NORM_STRIP_M,  /* StripAccents */
	TOK_NORM_STRIP_MN, /* BertNormalizer's */
	TOK_NORM_CHARSMAP,
	TOK_NORM_NMT,
	TOK_NORM_CLEAN,
	TOK_NORM_IDEOGRAPHS, /* spaces around them */
	TOK_NORM_BYTES
};

struct tok_norm {
	enum tok_norm_kind kind;
	enum tok_nf nf;
	struct tok_regex *re;	  /* TOK_NORM_REPLACE; NULL: literally `from` */
	struct mm_buf from, text; /* TOK_NORM_REPLACE, TOK_NORM_PREPEND */
	bool left, right;	  /* TOK_NORM_STRIP */
	struct tok_charsmap *map;
	uint8_t ascii[128]; /* one character at a time: what becomes of it, 0xff: it is dropped or becomes several */
};

int tok_norm_ascii(struct tok_norm *st, struct mm_err *err) MM_MUST_CHECK; /* fills the table of a new step */
struct tok_norms {
	struct tok_norm *step;
	size_t n, cap;
};
/* Appends the steps of a tokenizer.json normalizer (Sequence is flattened). */
int tok_norms_parse(struct tok_norms *ns, const json_t *j, unsigned depth, struct mm_err *err) MM_MUST_CHECK;
void tok_norms_fini(struct tok_norms *ns);
/* *text becomes the normalized text, in a buffer of the context or unchanged. *zero: leading bytes that stand at offset
 * 0 of the original text. */
int tok_norms_run(const struct tok_norms *ns, struct tok_ctx *c, struct tok_str *text, size_t *zero) MM_MUST_CHECK;
int tok_norms_add_nfc(struct tok_norms *ns, struct mm_err *err) MM_MUST_CHECK;
int tok_norms_add_prepend(struct tok_norms *ns, const char *s, struct mm_err *err) MM_MUST_CHECK;
int tok_norms_add_replace(struct tok_norms *ns, const char *from, const char *to, struct mm_err *err) MM_MUST_CHECK;
int tok_norms_add_bert(struct tok_norms *ns, bool clean, bool ideographs, bool strip_accents, bool lowercase,
	struct mm_err *err) MM_MUST_CHECK;
int tok_norms_add_charsmap(struct tok_norms *ns, const uint8_t *blob, size_t n, struct mm_err *err) MM_MUST_CHECK;
int tok_base64(const char *s, size_t n, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK; /* appends */
bool tok_norms_prepend(const struct tok_norms *ns);   /* something like a space is put in front */
bool tok_norms_bytelevel(const struct tok_norms *ns); /* the last step maps bytes to characters */

/* ---- tok_pretok.c: pre-tokenizers ---- */

enum tok_behavior { TOK_ISOLATED, TOK_REMOVED, TOK_CONTIGUOUS, TOK_WITH_PREVIOUS, TOK_WITH_NEXT };
enum tok_pre_kind {
	TOK_PRE_REGEX,	/* re, behavior, invert */
	TOK_PRE_CLASS,	/* flags, or cp when there are none; behavior */
	TOK_PRE_WORDS,	/* \w+|[^\w\s]+ */
	TOK_PRE_LENGTH, /* length */
	TOK_PRE_SCRIPT,
	TOK_PRE_SPACE, /* a space in front unless there is one */
	TOK_PRE_BYTES, /* to the byte alphabet */
	TOK_PRE_META,  /* text, scheme */
};
enum tok_scheme { TOK_ALWAYS, TOK_FIRST, TOK_NEVER };
struct tok_pre {
	enum tok_pre_kind kind;
	enum tok_behavior behavior;
	bool invert;
	struct tok_regex *re;
	unsigned flags;
	uint32_t cp;
	size_t length;
	enum tok_scheme scheme;
	struct mm_buf text; /* Metaspace's replacement */
};
struct tok_pres {
	struct tok_pre *step;
	size_t n, cap;
	bool bytes;	 /* the text behind the last step is in the byte alphabet: the model gets the bytes */
	bool last_bytes; /* ... and the last step is the mapping, which is left out */
};
int tok_pres_parse(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err) MM_MUST_CHECK;
bool tok_pres_prepend(const struct tok_pres *ps);
void tok_pres_fini(struct tok_pres *ps);
int tok_pres_add_regex(
	struct tok_pres *ps, const char *pattern, struct mm_err *err) MM_MUST_CHECK; /* Split, Isolated */
int tok_pres_add_bytes(struct tok_pres *ps, struct mm_err *err) MM_MUST_CHECK;	     /* ByteLevel, no regex */
/* Settles `bytes` once all steps are there. want: the model can take bytes. mapped: a normalizer mapped them already.
 */
void tok_pres_seal(struct tok_pres *ps, bool want, bool mapped);
int tok_pres_run(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str text, size_t zero) MM_MUST_CHECK;

/* ---- tok_added.c: added tokens ---- */

struct tok_added_token {
	struct tok_str text; /* as the file says it */
	struct tok_str norm; /* what is searched for */
	uint32_t id;
	bool single_word, lstrip, rstrip, normalized, special;
};
struct tok_ac;
struct tok_added {
	struct tok_added_token *tok;
	size_t n, cap;
	struct mm_arena *arena;
	struct tok_ac *raw, *normalized; /* NULL: none of that kind */
};
int tok_added_put(
	struct tok_added *a, const struct tok_added_token *t, struct mm_err *err) MM_MUST_CHECK; /* copies text */
int tok_added_settle(struct tok_added *a, struct mm_err *err) MM_MUST_CHECK; /* of equal ids the last one stays */
int tok_added_seal(struct tok_added *a, struct mm_err *err) MM_MUST_CHECK;
void tok_added_fini(struct tok_added *a);
const struct tok_added_token *tok_added_by_id(const struct tok_added *a, uint32_t id);
struct tok_split { /* one added token in a text, or the end (token NULL) */
	const struct tok_added_token *token;
	size_t from, to; /* text before it that is to be tokenized: [from, to) */
};
struct tok_added_iter {
	const struct tok_added *a;
	const struct tok_ac *ac;
	struct tok_str text;
	size_t pos, start;
	bool plain; /* special ones are passed over */
};
void tok_added_iter_init(
	struct tok_added_iter *it, const struct tok_added *a, const struct tok_ac *ac, struct tok_str text, bool plain);
bool tok_added_iter_next(struct tok_added_iter *it, struct tok_split *out); /* false: the text's end was handed out */

/* ---- models ---- */

struct tok_model_ops {
	const char *name;
	int (*encode)(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str piece);
	void (*free)(void *model);
	/* Bytes of one vocabulary entry as they stand in a text. */
	void (*bytes)(const struct mm_tok *tok, struct tok_str token, struct mm_buf *out);
};

/* tok_merge.c: the table of pairs and the merging itself */
struct tok_merge {
	uint64_t pair; /* left << 32 | right; UINT64_MAX: free */
	uint32_t rank, id;
};
struct tok_merges {
	struct tok_merge *slot;
	size_t n_slot, n; /* n_slot a power of two, at most half full */
	uint64_t seed;
	const uint8_t
		*watch; /* [id] not NULL: note in ctx.unused from what a TOK_SPM_UNUSED piece could last be made */
};
int tok_merges_init(struct tok_merges *m, size_t expect, struct mm_err *err) MM_MUST_CHECK;
void tok_merges_fini(struct tok_merges *m);
int tok_merges_put(struct tok_merges *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t id,
	struct mm_err *err) MM_MUST_CHECK;
static inline const struct tok_merge *tok_merges_get(const struct tok_merges *m, uint32_t left, uint32_t right)
{
	uint64_t pair = (uint64_t)left << 32 | right, h = (pair ^ m->seed) * 0x9e3779b97f4a7c15u;
	for (size_t i = (size_t)(h ^ h >> 32) & (m->n_slot - 1);; i = (i + 1) & (m->n_slot - 1)) {
		if (m->slot[i].pair == pair)
			return &m->slot[i];
		if (m->slot[i].pair == UINT64_MAX)
			return NULL;
	}
}
/* Merges sym[0..n) in place, lowest rank first, leftmost on ties; returns what is left. SIZE_MAX: out of memory. */
size_t tok_merge_run(const struct tok_merges *m, struct tok_ctx *c, uint32_t *sym, size_t n);

/* tok_bpe.c */
struct tok_bpe {
	struct tok_merges merges;
	bool bytes; /* pieces are bytes, the vocabulary is written in the byte alphabet */
	bool raw;   /* pieces are bytes and so is the vocabulary (tiktoken) */
	bool byte_fallback, fuse_unk, ignore_merges;
	bool has_unk;
	uint32_t unk;		       /* TOK_NONE: named but not in the vocabulary */
	struct tok_str prefix, suffix; /* continuing_subword_prefix, end_of_word_suffix; in `own` */
	struct mm_buf own;
	uint32_t byte_id[256];	/* of <0xNN>; TOK_NONE */
	uint32_t first[4][256]; /* bytes, or ASCII: id of the symbol; [not first << 1 | last] */
	bool cut;		/* pieces may be cut before U+2581 behind a character that is not in `glue` */
	uint8_t *glue;		/* bitmap over code points: seen before U+2581 inside a merged token */
};
extern const struct tok_model_ops tok_bpe_ops;
/* Fills the tables that follow from vocabulary and merges; call it last. */
int tok_bpe_seal(struct tok_bpe *b, const struct tok_vocab *v, bool bytes, struct mm_err *err) MM_MUST_CHECK;
void tok_bpe_free(void *bpe);
/* Every way to put an entry together from two others becomes a pair of rank[entry]; for files that only have ranks or
 * scores. */
int tok_bpe_pairs(
	struct tok_merges *m, const struct tok_vocab *v, const uint32_t *rank, struct mm_err *err) MM_MUST_CHECK;

/* tok_unigram.c */
struct tok_unigram;
struct tok_unigram_opts {
	bool byte_fallback;
	bool spm;    /* the C++ library's arithmetic and rules instead of the Rust one's */
	int64_t unk; /* -1: none */
};
extern const struct tok_model_ops tok_unigram_ops;
struct tok_unigram *tok_unigram_new(const struct tok_vocab *v, const double *score, const uint8_t *type,
	const struct tok_unigram_opts *opts, struct mm_err *err) MM_MUST_CHECK;
int tok_unigram_run(
	const struct tok_unigram *u, const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s) MM_MUST_CHECK;

/* tok_wordpiece.c: WordPiece and WordLevel */
struct tok_wordpiece {
	struct tok_str unk, prefix; /* in own */
	struct mm_buf own;
	uint32_t unk_id;
	size_t max_chars;
	size_t max_len; /* longest entry in bytes: no longer candidate needs to be tried */
};
extern const struct tok_model_ops tok_wordpiece_ops, tok_wordlevel_ops;
struct tok_wordpiece *tok_wordpiece_new(const struct tok_vocab *v, struct tok_str unk, struct tok_str prefix,
	size_t max_chars, struct mm_err *err) MM_MUST_CHECK;

/* tok_rwkv.c: longest match */
extern const struct tok_model_ops tok_rwkv_ops;
int tok_rwkv_begin(struct mm_tok *tok, size_t expect, struct mm_err *err) MM_MUST_CHECK;
int tok_rwkv_add(struct mm_tok *tok, struct tok_str bytes, uint32_t id, struct mm_err *err) MM_MUST_CHECK;
bool tok_python_literal(struct tok_str s, struct mm_buf *out); /* appends; false: it is none */
bool tok_escaped_bytes(struct tok_str s, struct mm_buf *out);  /* the same without quotes: UTF-8, and \\xHH for bytes */
bool tok_line_next(struct tok_str *rest, struct tok_str *line); /* without its LF; false at the end */

struct tok_trie; /* bytes -> value; longest and all prefixes */
struct tok_trie *tok_trie_new(size_t expect, struct mm_err *err) MM_MUST_CHECK;
void tok_trie_free(struct tok_trie *t);
int tok_trie_put(struct tok_trie *t, struct tok_str key, uint32_t value, struct mm_err *err) MM_MUST_CHECK;
uint32_t tok_trie_step(const struct tok_trie *t, uint32_t node, uint8_t b); /* TOK_NONE: no such edge; the root is 0 */
uint32_t tok_trie_value(const struct tok_trie *t, uint32_t node);	    /* TOK_NONE: not a key */

/* tok_spm.c: SentencePiece's own normalization and BPE; tok_spm_file.c reads the file */
enum tok_spm_kind { TOK_SPM_UNIGRAM = 1, TOK_SPM_BPE, TOK_SPM_WORD, TOK_SPM_CHAR };
enum tok_spm_type { TOK_SPM_NORMAL = 1, TOK_SPM_UNKNOWN, TOK_SPM_CONTROL, TOK_SPM_USER, TOK_SPM_UNUSED, TOK_SPM_BYTE };
struct tok_spm {
	enum tok_spm_kind kind;
	bool dummy, fold, escape,
		suffix; /* a space in front (behind: suffix), extra white space removed, U+2581 for spaces */
	bool byte_fallback, has_unused;
	bool cut; /* see tok_bpe */
	uint8_t *glue;
	uint8_t *type; /* [n] enum tok_spm_type */
	size_t n;
	uint32_t unk, byte_id[256];
	struct tok_charsmap *map;
	struct tok_trie *user; /* user-defined pieces; NULL: none */
	struct tok_merges merges;
	struct tok_unigram *unigram;
};
extern const struct tok_model_ops tok_spm_ops;
void tok_spm_free(void *model);
int tok_spm_pairs(struct tok_spm *m, const struct tok_vocab *v, const uint32_t *rank, struct mm_err *err) MM_MUST_CHECK;
/* Dense ranks by score: the highest is 0, equal scores share one. rank[n] */
int tok_rank_scores(const double *score, size_t n, uint32_t *rank, struct mm_err *err) MM_MUST_CHECK;
static inline bool tok_spm_is_text(const struct tok_spm *m, uint32_t id) /* pieces that text can be made of */
{
	return m->type[id] == TOK_SPM_NORMAL || m->type[id] == TOK_SPM_USER || m->type[id] == TOK_SPM_UNUSED;
}
/* tok_bpe.c: where words may be cut in front of U+2581 */
void tok_glue_mark(uint8_t *glue, struct tok_str token);
bool tok_glued(const uint8_t *glue, const uint8_t *begin, const uint8_t *at);

/* ---- tok_ctx.c: what a call writes to ---- */

#define TOK_WORD_KEY 22
#define TOK_WORD_IDS 10
struct tok_word { /* one cache line of the word cache: a piece and its ids */
	uint8_t len, n;
	uint8_t key[TOK_WORD_KEY];
	uint32_t id[TOK_WORD_IDS];
};
#define TOK_CACHE_SLOTS (1u << 15)

struct tok_heap_entry {
	uint64_t key; /* rank << 32 | position */
	uint32_t id;
};
struct tok_ctx {
	const struct mm_tok *tok;
	struct mm_ids *out;
	struct mm_err *err;
	bool plain; /* MM_TOK_PLAIN */
	struct tok_word *cache;
	uint64_t seed;
	struct mm_buf norm[2]; /* normalizers write to one while they read the other */
	struct mm_buf *step;   /* [n pre-tokenizer steps]: text that a step has made */
	size_t n_step;
	struct mm_buf bytes; /* a piece brought back from the byte alphabet */
	struct mm_buf piece; /* the model's own */
	uint32_t *sym;	     /* symbols of a word */
	size_t sym_cap;
	uint32_t *link; /* prev and next of a long word */
	size_t link_cap;
	struct tok_heap_entry *heap;
	size_t heap_cap;
	void *path; /* Viterbi */
	size_t path_cap;
	void *match, *match_ctx, *jit_stack; /* PCRE2's */
	uint32_t *unused; /* SentencePiece: [2 n], what an UNUSED piece was last joined from; NULL until there is one */
	struct tok_ctx *next;
};
struct tok_ctx *tok_ctx_take(const struct mm_tok *tok, struct mm_err *err) MM_MUST_CHECK;
void tok_ctx_give(const struct mm_tok *tok, struct tok_ctx *c);
void tok_ctx_free(struct tok_ctx *c);
int tok_ids_room(struct mm_ids *ids, size_t n, struct mm_err *err) MM_MUST_CHECK;
static inline int tok_emit(struct tok_ctx *c, uint32_t id)
{
	if (c->out->n == c->out->cap && tok_ids_room(c->out, 1, c->err))
		return -1;
	c->out->id[c->out->n++] = id;
	return 0;
}
/* The ids of a piece from the cache: true and they are in the output. *slot: where to put them later, NULL: too long.
 */
bool tok_cache_get(struct tok_ctx *c, struct tok_str piece, struct tok_word **slot);
void tok_cache_put(struct tok_ctx *c, struct tok_word *slot, struct tok_str piece,
	size_t first_id); /* ids from out->id[first_id] on */
void tok_regex_ctx_free(struct tok_ctx *c);

/* ---- the tokenizer ---- */

struct mm_tok {
	const struct tok_model_ops *ops;
	void *model;
	struct tok_vocab vocab;
	struct tok_norms norms;
	struct tok_pres pres;
	struct tok_added added;
	uint32_t *front, *back; /* template */
	size_t n_front, n_back, cap_front, cap_back;
	int64_t bos, eos;
	size_t n_vocab;
	bool strip_prefix; /* decoding drops one space in front */
	const char *class;
	struct mm_hash hash;
	pthread_mutex_t *lock; /* of free_ctx */
	struct tok_ctx **free_ctx;
};
struct mm_tok *tok_new(struct mm_err *err) MM_MUST_CHECK;
/* Once model, normalizers and pre-tokenizers are there: settles what the model gets, its tables, the class's name. */
int tok_pipeline_seal(struct mm_tok *tok, struct mm_err *err) MM_MUST_CHECK;

/* ---- tok_open.c: kinds of files ---- */

struct tok_source { /* what a tokenizer is made from; its fingerprint covers all parts */
	const char *name, *dir;
	struct tok_str part[2];
	size_t n;
	bool whole; /* says all that there is to say: nothing beside it counts */
};
/* Tells the kind by the content and parses it. conf: tokenizer_config.json or NULL. */
struct mm_tok *tok_from_source(struct tok_source *src, const json_t *conf, struct mm_err *err) MM_MUST_CHECK;
void tok_conf_apply(struct mm_tok *tok, const json_t *conf); /* bos and eos */
bool tok_rwkv_looks(struct tok_str s);
bool tok_tiktoken_looks(struct tok_str s);
bool tok_spm_looks(struct tok_str s);
int tok_open_hf(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err) MM_MUST_CHECK;
int tok_open_rwkv(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err) MM_MUST_CHECK;
int tok_open_tiktoken(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err) MM_MUST_CHECK;
int tok_open_spm(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err) MM_MUST_CHECK;
int tok_open_pair(struct mm_tok *tok, struct tok_source *src, const json_t *conf,
	struct mm_err *err) MM_MUST_CHECK; /* vocab.json, merges.txt */
struct mm_tok *tok_open_gguf(const char *path, struct mm_err *err) MM_MUST_CHECK;
/* A tokenizer under a name that is not fixed (*.tiktoken): 1 and its path, 0 none. */
/* added_tokens_decoder of tokenizer_config.json, with the ids as it says them */
int tok_added_decoder(struct mm_tok *tok, const json_t *conf, struct mm_err *err) MM_MUST_CHECK;
int tok_dir_find(const char *dir, char **path, struct mm_err *err) MM_MUST_CHECK;

/* tok_gguf.c, tok_gguf_pre.c */
struct mm_gguf;
struct tok_gguf_defaults { /* what the kind of vocabulary implies unless the file says otherwise */
	bool ignore_merges, bos, eos, sep;
};
int tok_gguf_build(struct mm_tok *tok, const struct mm_gguf *g, struct mm_err *err) MM_MUST_CHECK;
/* Adds normalizers and pre-tokenizers for a name of tokenizer.ggml.pre. */
int tok_gguf_pre(struct mm_tok *tok, struct tok_str name, struct tok_str architecture, struct tok_gguf_defaults *out,
	struct mm_err *err) MM_MUST_CHECK;
const char *tok_gguf_pre_name(size_t i); /* all that there are; NULL behind the last */

/* tok_hf.c: tokenizer.json from memory; `what` names it in errors */
/* A merge of merges.txt: two tokens with a space between. */
int tok_bpe_merge_line(struct tok_bpe *b, const struct tok_vocab *v, struct tok_str line, uint32_t rank,
	struct mm_buf *tmp, struct mm_err *err) MM_MUST_CHECK;
int tok_bpe_affixes(struct tok_bpe *b, struct tok_str prefix, struct tok_str suffix, struct mm_err *err) MM_MUST_CHECK;
/* Gives an added token its id as the reference does and puts it in. seen: those before it. Empty ones are passed over.
 */
int tok_added_number(struct mm_tok *tok, struct tok_added_token *t, struct tok_vocab *seen, uint32_t *next,
	struct mm_err *err) MM_MUST_CHECK;
int tok_hf_parse(struct mm_tok *tok, const void *data, size_t n, const char *what, struct mm_err *err) MM_MUST_CHECK;
/* tok_post.c */
int tok_post_parse(struct mm_tok *tok, const json_t *j, struct mm_err *err) MM_MUST_CHECK;
int tok_template_add(struct mm_tok *tok, bool back, uint32_t id, struct mm_err *err) MM_MUST_CHECK;
/* what stands for a token in files: its id from the added tokens, else from the vocabulary */
uint32_t tok_lookup(const struct mm_tok *tok, struct tok_str s);

#endif
