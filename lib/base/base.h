/* base.h - what every layer stands on: errors, log, memory, byte cursors,
 * files, hashes, random numbers, JSON, text sets, .npy files.
 *
 * Conventions that hold in the whole project:
 *  - What can fail ends in `struct mm_err *err` and returns 0 or -1, or a
 *    pointer or NULL. On success `err` is not touched. `err` is never NULL.
 *  - The library neither prints nor exits. Whoever handles an error logs it.
 *  - Nothing here keeps global state except the log sink and the failing
 *    allocator of the tests; all functions may be called from any thread.
 */
#ifndef MM_BASE_H
#define MM_BASE_H

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MM_VERSION "0.1.0"

#define MM_MUST_CHECK	__attribute__((warn_unused_result))
#define MM_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define MM_COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define MM_MIN(a, b)	((a) < (b) ? (a) : (b))
#define MM_MAX(a, b)	((a) > (b) ? (a) : (b))

/* ---- err.c: error codes, text, context ---- */

/* The name is what clients and job records see: it never changes. */
#define MM_ERR_TABLE(X)                                                                                                \
	X(MM_OK, "ok")                                                                                                 \
	X(MM_EINVAL, "invalid")		  /* an argument or a message is wrong */                                      \
	X(MM_EIO, "io")			  /* the system said no: text has the errno text */                            \
	X(MM_ENOENT, "not_found")	  /* no such file, name, id */                                                 \
	X(MM_ENOMEM, "no_memory")	  /* allocation failed or a bound was reached */                               \
	X(MM_EFORMAT, "format")		  /* a file or message is malformed */                                         \
	X(MM_ETRUNC, "truncated")	  /* shorter than it says it is: may still be growing */                       \
	X(MM_EUNSUPPORTED, "unsupported") /* well-formed, but we do not know it (architecture, dtype...) */            \
	X(MM_ESHAPE, "shape")		  /* tensor missing or of the wrong shape */                                   \
	X(MM_ENONFINITE, "not_finite")	  /* NaN or infinity in weights or results */                                  \
	X(MM_ECHANGED, "changed")	  /* the files changed while they were read */                                 \
	X(MM_ECONFLICT, "conflict")	  /* store and request disagree (text set, BOS policy, state) */               \
	X(MM_EBUSY, "busy")		  /* try again later */                                                        \
	X(MM_ECORRUPT, "corrupt")	  /* checksum of our own data is wrong */                                      \
	X(MM_EDENIED, "denied")		  /* this endpoint or key may not do this */                                   \
	X(MM_ECANCELLED, "cancelled")                                                                                  \
	X(MM_ETIMEOUT, "timeout")                                                                                      \
	X(MM_EINTERNAL, "internal")

enum mm_err_code {
#define X(code, name) code,
	MM_ERR_TABLE(X)
#undef X
		MM_ERR_COUNT
};

struct mm_err {
	enum mm_err_code code;
	char text[1000]; /* one line, no newline, valid UTF-8, cut with "..." when too long */
};

/* Sets code and text; always returns -1. Control bytes of the text become '?'. */
int mm_fail(struct mm_err *err, enum mm_err_code code, const char *fmt, ...) MM_PRINTF(3, 4);
/* Same, with ": strerror(errno)" at the end and the code taken from errno (ENOENT, ENOMEM, else MM_EIO). */
int mm_fail_errno(struct mm_err *err, const char *fmt, ...) MM_PRINTF(2, 3);
/* Puts "context: " in front of the text; always returns -1. */
int mm_wrap(struct mm_err *err, const char *fmt, ...) MM_PRINTF(2, 3);
const char *mm_err_name(enum mm_err_code code);	   /* "format"; never NULL */
enum mm_err_code mm_err_code_of(const char *name); /* unknown name: MM_EINTERNAL */

/* ---- log.c: one line a call, to stderr (with <n> prefix when stderr is the journal) ---- */

enum mm_log_level { MM_LOG_ERROR = 3, MM_LOG_WARN = 4, MM_LOG_NOTICE = 5, MM_LOG_INFO = 6, MM_LOG_DEBUG = 7 };
void mm_log_init(enum mm_log_level level); /* looks at JOURNAL_STREAM; default level is INFO */
void mm_log(enum mm_log_level level, const char *fmt, ...) MM_PRINTF(2, 3);

/* ---- mem.c: checked sizes, arena, failing allocator for tests ---- */

/* Zeroed n * size bytes, 64-byte aligned when n * size >= 4096. NULL and MM_ENOMEM on overflow or failure.
 * n == 0 gives a valid pointer. Free with mm_free. */
void *mm_calloc(size_t n, size_t size, struct mm_err *err) MM_MUST_CHECK;
/* Like reallocarray: new part not zeroed, old block kept on failure. */
void *mm_realloc(void *p, size_t n, size_t size, struct mm_err *err) MM_MUST_CHECK;
char *mm_strdup(const char *s, struct mm_err *err) MM_MUST_CHECK;
char *mm_strndup(const char *s, size_t n, struct mm_err *err) MM_MUST_CHECK;
char *mm_asprintf(struct mm_err *err, const char *fmt, ...) MM_PRINTF(2, 3) MM_MUST_CHECK;
void mm_free(void *p); /* NULL is fine */
/* Grows *p (elements of `size`) so that it holds at least `need`; amortised doubling. */
int mm_grow(void *p, size_t *cap, size_t need, size_t size, struct mm_err *err) MM_MUST_CHECK;
/* false when a * b overflows size_t */
bool mm_mul(size_t a, size_t b, size_t *out) MM_MUST_CHECK;
bool mm_add(size_t a, size_t b, size_t *out) MM_MUST_CHECK;
/* Tests: the n-th allocation from now fails (1 = the next one), and every later one; 0 switches it off. */
void mm_mem_fail_after(long n);
long mm_mem_count(void); /* allocations so far, to know how far a test has to go */

struct mm_arena; /* bump allocator; everything freed at once; one thread at a time */
struct mm_arena *mm_arena_new(size_t block, struct mm_err *err) MM_MUST_CHECK;
void *mm_arena_get(
	struct mm_arena *a, size_t n, size_t size, struct mm_err *err) MM_MUST_CHECK; /* zeroed, 64-byte aligned */
void mm_arena_reset(struct mm_arena *a);					      /* keeps the blocks */
void mm_arena_free(struct mm_arena *a);

/* ---- buf.c: read cursor with sticky error; growing write buffer with sticky error ---- */

struct mm_cur { /* little-endian; after the first failed read every later one gives 0 / NULL */
	const uint8_t *data;
	size_t size, off;
	bool failed;
};
static inline struct mm_cur mm_cur_of(const void *data, size_t size)
{
	return (struct mm_cur){ .data = data, .size = size };
}
uint8_t mm_cur_u8(struct mm_cur *c);
uint16_t mm_cur_u16(struct mm_cur *c);
uint32_t mm_cur_u32(struct mm_cur *c);
uint64_t mm_cur_u64(struct mm_cur *c);
float mm_cur_f32(struct mm_cur *c);
double mm_cur_f64(struct mm_cur *c);
const uint8_t *mm_cur_bytes(struct mm_cur *c, uint64_t n); /* borrowed; NULL when fewer remain */
static inline size_t mm_cur_left(const struct mm_cur *c)
{
	return c->failed ? 0 : c->size - c->off;
}

struct mm_buf { /* zero-initialise; data always has a NUL after len once something was put */
	uint8_t *data;
	size_t len, cap;
	bool failed; /* out of memory: later puts do nothing */
};
void mm_buf_put(struct mm_buf *b, const void *p, size_t n);
void mm_buf_u8(struct mm_buf *b, uint8_t v);
void mm_buf_u16(struct mm_buf *b, uint16_t v);
void mm_buf_u32(struct mm_buf *b, uint32_t v);
void mm_buf_u64(struct mm_buf *b, uint64_t v);
void mm_buf_f32(struct mm_buf *b, float v);
void mm_buf_f64(struct mm_buf *b, double v);
void mm_buf_str(struct mm_buf *b, const char *s); /* without the NUL */
void mm_buf_printf(struct mm_buf *b, const char *fmt, ...) MM_PRINTF(2, 3);
int mm_buf_check(const struct mm_buf *b, struct mm_err *err) MM_MUST_CHECK; /* -1 and MM_ENOMEM when failed */
void mm_buf_fini(struct mm_buf *b);

/* ---- base64.c ---- */

void mm_base64_put(struct mm_buf *b, const void *data, size_t n);
/* Appends the bytes; refuses everything but the one text that mm_base64_put makes of them. */
int mm_base64_parse(struct mm_buf *b, const char *s, size_t len, struct mm_err *err) MM_MUST_CHECK;

/* ---- utf8.c ---- */

/* Decodes one code point of s[0..n): bytes used (1-4), *cp set; 0 when malformed (overlong, surrogate, > 10FFFF, cut).
 */
unsigned mm_utf8_decode(const uint8_t *s, size_t n, uint32_t *cp);
unsigned mm_utf8_encode(uint32_t cp, uint8_t out[4]); /* bytes written; 0 for surrogates and > 10FFFF */
bool mm_utf8_valid(const void *s, size_t n);
/* Copies to `out`, malformed bytes and control characters (but not in valid UTF-8 text >= 0x20) become '?'. For
 * messages. */
void mm_utf8_sanitize(char *out, size_t cap, const void *s, size_t n);

/* ---- file.c: mapping, whole reads, atomic replace ---- */

struct mm_map {
	const uint8_t *data; /* NULL when size is 0 */
	size_t size;
	uint64_t dev, ino;
	int64_t mtime_ns;
};
/* Read-only private mapping of a regular file (anything else: MM_EINVAL; O_NONBLOCK, so a FIFO never blocks). */
int mm_map_open(struct mm_map *m, const char *path, struct mm_err *err) MM_MUST_CHECK;
void mm_map_close(struct mm_map *m); /* zeroed is fine */
/* Whole regular file, NUL-terminated; refuses more than `max` bytes. Free with mm_free. */
char *mm_file_read(const char *path, size_t max, size_t *len, struct mm_err *err) MM_MUST_CHECK;
/* Writes path.tmp-PID, fsyncs, renames over path, fsyncs the directory. What is there and no regular file (a device, a
 * pipe) is written into instead. */
int mm_file_write(const char *path, const void *data, size_t len, struct mm_err *err) MM_MUST_CHECK;
int mm_mkdirs(const char *path, unsigned mode, struct mm_err *err) MM_MUST_CHECK; /* like mkdir -p */
char *mm_path_join(const char *dir, const char *name, struct mm_err *err) MM_MUST_CHECK;

/* ---- hash.c: XXH3-128 content fingerprints (not a cryptographic hash) ---- */

struct mm_hash {
	uint64_t hi, lo;
};
#define MM_HASH_HEX 33 /* 32 hex digits and NUL */
struct mm_hasher;
struct mm_hash mm_hash_of(const void *data, size_t len);
struct mm_hasher *mm_hasher_new(struct mm_err *err) MM_MUST_CHECK;
void mm_hasher_put(struct mm_hasher *h, const void *data, size_t len);
void mm_hasher_str(struct mm_hasher *h, const char *s); /* length first, so that "ab","c" differs from "a","bc" */
struct mm_hash mm_hasher_get(const struct mm_hasher *h);
void mm_hasher_free(struct mm_hasher *h);
uint64_t mm_hash64(const void *data, size_t len); /* XXH3-64: checksums of our own records */
bool mm_hash_eq(struct mm_hash a, struct mm_hash b);
void mm_hash_hex(struct mm_hash h, char out[MM_HASH_HEX]);
bool mm_hash_parse(const char *hex, struct mm_hash *out);

/* ---- rng.c: xoshiro256++ seeded by splitmix64; the same seed gives the same numbers everywhere ---- */

struct mm_rng {
	uint64_t s[4];
};
void mm_rng_init(struct mm_rng *r, uint64_t seed);
uint64_t mm_rng_u64(struct mm_rng *r);
uint64_t mm_rng_below(struct mm_rng *r, uint64_t n); /* uniform in [0, n), unbiased; n > 0 */
double mm_rng_double(struct mm_rng *r);		     /* uniform in [0, 1) */
double mm_rng_normal(struct mm_rng *r);		     /* mean 0, variance 1 */

/* ---- json.c: jansson with limits and errors that name the place ---- */

#define MM_JSON_DEPTH 64
/* Parses untrusted text: at most MM_JSON_DEPTH levels (checked before jansson recurses), duplicate keys refused, valid
 * UTF-8. `what` names the source in the error ("config.json"). */
json_t *mm_json_parse(const char *data, size_t len, const char *what, struct mm_err *err) MM_MUST_CHECK;
json_t *mm_json_load(const char *path, size_t max, struct mm_err *err) MM_MUST_CHECK;
/* Compact, keys in insertion order. Free with mm_free. */
char *mm_json_dump(const json_t *j, struct mm_err *err) MM_MUST_CHECK;
/* Typed getters. Absent or null key: *out untouched (set the default first), return 0. Wrong type or range: -1, names
 * the key. */
int mm_json_get_str(
	const json_t *o, const char *key, const char **out, struct mm_err *err) MM_MUST_CHECK; /* borrowed */
int mm_json_get_i64(
	const json_t *o, const char *key, int64_t min, int64_t max, int64_t *out, struct mm_err *err) MM_MUST_CHECK;
int mm_json_get_double(const json_t *o, const char *key, double *out, struct mm_err *err) MM_MUST_CHECK; /* finite */
int mm_json_get_bool(const json_t *o, const char *key, bool *out, struct mm_err *err) MM_MUST_CHECK;

/* ---- units.c: sizes and durations as people write them ---- */

int mm_parse_size(const char *s, uint64_t *bytes,
	struct mm_err *err) MM_MUST_CHECK; /* "4G", "512M", "1.5T", "4096"; 1024-based */
int mm_parse_duration(
	const char *s, double *seconds, struct mm_err *err) MM_MUST_CHECK; /* "5s", "1h", "250ms", "2m30s", "7d" */
void mm_format_size(uint64_t bytes, char *out, size_t cap);		   /* "1.5 GB" style, 1024-based: "1.5G" */
void mm_format_duration(double seconds, char *out, size_t cap);		   /* "2m30s" */
void mm_format_time(int64_t unix_seconds, char *out, size_t cap);	   /* "2026-11-20T19:30:00Z" */
int64_t mm_now(void);							   /* unix seconds */
double mm_monotonic(void);						   /* seconds */
/* The name of `names` closest to `s` by edit distance, or NULL when none is near (for "did you mean"). */
const char *mm_nearest(const char *s, const char *const *names, size_t n);

/* ---- texts.c: the text set; its identity is the hash of its texts in order ---- */

struct mm_texts {
	size_t n;
	const char **text; /* [n] valid UTF-8; may contain NUL bytes, so use len */
	size_t *len;	   /* [n] bytes */
	uint32_t *domain;  /* [n] index into domain_name */
	size_t n_domain;
	char **domain_name; /* [n_domain]; "" where a line has none */
	bool *control;	    /* [n] "role": "control": known to be unseen by all models */
	size_t n_control;
	struct mm_hash hash; /* over the texts in order (lengths included), nothing else */
	double mean_bytes;
	void *priv;
};
/* JSONL, one object a line: "text" (string, required, not empty), "domain" or "pile_set_name" (also under "meta"),
 * "role" ("control" means something, anything else nothing).
 * Errors name the line. */
int mm_texts_load(struct mm_texts *t, const char *path, struct mm_err *err) MM_MUST_CHECK;
void mm_texts_free(struct mm_texts *t); /* zeroed is fine */

/* ---- probes.c: places in the text set where models are asked for their next byte ---- */

#define MM_PROBES_DEFAULT 256
#define MM_PROBES_MAX	  4096
#define MM_PROBES_METHOD  1   /* version of places and features: others are not comparable */
#define MM_PROBES_ID	  32  /* bytes of the array "probe_set" */
#define MM_PROBES_BYTES	  257 /* a row of "next_byte": 256 byte values, then end of text */
#define MM_PROBES_PROJ	  64  /* a row of "vocab_proj" */

struct mm_probe_point {
	uint32_t text, offset; /* the byte text[text][offset] is the one to come; offset == len: the end of the text */
	uint32_t domain;       /* of the text */
};
struct mm_probes { /* free with mm_probes_free; zeroed is fine */
	size_t n;
	struct mm_probe_point *at; /* [n] by text, then offset; no two alike */
	struct mm_hash hash;	   /* of texts and places */
};
/* At most `n` places (fewer when the texts are too short), every domain its share. The same for the same texts, domains
 * and n. */
int mm_probes_make(struct mm_probes *p, const struct mm_texts *t, size_t n, struct mm_err *err) MM_MUST_CHECK;
void mm_probes_free(struct mm_probes *p);
/* Bytes 0-15: texts and places; 16-31: these, MM_PROBES_METHOD and whether exact. */
void mm_probes_id(const struct mm_probes *p, bool exact, uint8_t out[MM_PROBES_ID]);

/* ---- npy.c: NumPy's .npy version 1.0, C order, little-endian ---- */

/* Header for an array of `ndim` dimensions; descr "<f4", "<f8", "<u4". Appends to `b`. */
void mm_npy_header(struct mm_buf *b, const char *descr, size_t ndim, const size_t *shape);
struct mm_npy {
	char descr[8];
	size_t ndim, shape[4];
	const uint8_t *data; /* borrowed from the input */
	size_t bytes;
};
int mm_npy_parse(struct mm_npy *out, const void *data, size_t len, struct mm_err *err) MM_MUST_CHECK;

#endif
