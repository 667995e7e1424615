/* tok_read.h - what every kind of tokenizer file is read with: limits, the pull parser, the vocabulary. */
#ifndef MM_TOK_READ_H
#define MM_TOK_READ_H

#include "model/model.h"
#include "model/tok_uni.h"

#define TOK_NONE      UINT32_MAX
#define TOK_ID_MAX    0x7fffffffu /* ids above are refused: pseudo ids of the SentencePiece merger begin there */
#define TOK_FILE_MAX  ((size_t)512 << 20) /* of any tokenizer file */
#define TOK_TEXT_MAX  ((size_t)1 << 30)	  /* of one text: positions are 32 bits with room to grow */
#define TOK_STEPS_MAX 64		  /* flattened normalizers, or pre-tokenizers */

/* ---- tok_json.c: pull parser for the large parts of tokenizer.json ---- */

struct tok_json {
	const uint8_t *begin, *p, *end;
	const char *what; /* names the source in errors */
	struct mm_err *err;
	bool failed; /* sticky: err is set, every later call says false */
	bool fresh;  /* just behind '[' or '{' */
	unsigned depth;
	struct mm_buf tmp[4]; /* unescaped strings, in turn: the last four stay valid */
	unsigned turn;
};
void tok_json_init(struct tok_json *j, const void *data, size_t n, const char *what, struct mm_err *err);
void tok_json_fini(struct tok_json *j);
int tok_json_peek(struct tok_json *j); /* first byte of the next value: { [ " t f n - 0-9; 0 at the end */
bool tok_json_object(struct tok_json *j);
bool tok_json_key(struct tok_json *j, struct tok_str *key); /* false at '}', which is consumed, or on failure */
bool tok_json_array(struct tok_json *j);
bool tok_json_next(struct tok_json *j); /* false at ']', which is consumed, or on failure */
bool tok_json_string(struct tok_json *j, struct tok_str *out);
bool tok_json_u32(struct tok_json *j, uint32_t *out);  /* 0..TOK_ID_MAX */
bool tok_json_double(struct tok_json *j, double *out); /* rounded as the reference's parser rounds */
bool tok_json_bool(struct tok_json *j, bool *out);
bool tok_json_null(struct tok_json *j);			      /* consumes null if it is the next value */
bool tok_json_skip(struct tok_json *j, struct tok_str *span); /* any value; span may be NULL */
bool tok_json_done(struct tok_json *j);			      /* nothing but white space follows */
bool tok_json_fail(struct tok_json *j, const char *what);     /* always false */
static inline bool tok_str_is(struct tok_str a, const char *b)
{
	return a.n == __builtin_strlen(b) && !__builtin_memcmp(a.s, b, a.n);
}

/* ---- tok_vocab.c: strings <-> ids ---- */

struct tok_ent {
	uint32_t off, len, id;
};
struct tok_vocab {
	struct mm_buf blob;
	struct tok_ent *ent; /* in the order of the file */
	size_t n, cap;
	uint64_t *slot; /* tag << 32 | index + 1; n_slot is a power of two, at most half full */
	size_t n_slot;
	uint32_t *by_id; /* entry indices sorted by id; after tok_vocab_seal */
	uint64_t seed;	 /* random: no file can be made to collide */
	uint32_t max_id;
	size_t max_len; /* of the longest string */
};
int tok_vocab_init(struct tok_vocab *v, size_t expect, struct mm_err *err) MM_MUST_CHECK;
void tok_vocab_fini(struct tok_vocab *v);
/* A string that is there already gets the new id (the last one of a file counts). */
int tok_vocab_put(struct tok_vocab *v, struct tok_str s, uint32_t id, struct mm_err *err) MM_MUST_CHECK;
uint32_t tok_vocab_get(const struct tok_vocab *v, const uint8_t *s, size_t n); /* id, TOK_NONE */
int tok_vocab_seal(struct tok_vocab *v, struct mm_err *err) MM_MUST_CHECK;
bool tok_vocab_unique(const struct tok_vocab *v); /* no id stands for two strings; after tok_vocab_seal */
bool tok_vocab_text(const struct tok_vocab *v, uint32_t id, struct tok_str *out); /* first entry with that id */
uint64_t tok_hash(const uint8_t *s, size_t n, uint64_t seed);
uint64_t tok_seed(void);
int tok_byte_token(struct tok_str s);			    /* the byte of "<0xNN>", -1: it is not of that form */
void tok_meta_spaces(struct tok_str s, struct mm_buf *out); /* appends; U+2581 becomes a space */

#endif
