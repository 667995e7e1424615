/* ckpt_priv.h - containers, inside lib/model only: how weights are read, typed GGUF metadata, adapters.
 *
 * Reading weights. A loader asks for a tensor by name (mm_ckpt_find), checks its shape (mm_tensor_shape_is) and reads
 * it with mm_ckpt_read, which widens to f32 and adds what an adapter puts on top. `data` may be used directly only
 * when `overlay` is NULL. In GGUF files outer dimensions of 1 are dropped on load ([8,1,1,1] is a vector of 8), and the
 * order is turned round: dim[0] is the number of rows, the last one the row length, as in safetensors.
 *
 *	safetensors:  [u64 length of the header][header: JSON][data ...............]   offsets relative to the data
 *	gguf:         [header][metadata][tensor infos][padding][data ..............]   offsets relative to the data
 *
 * Weights are mapped read-only. A file that becomes shorter while it is mapped raises SIGBUS in whoever touches the
 * lost pages: the scorer dies of it, and the daemon, which compares the identity of the files before and after, tries
 * again. The probe never maps (MM_CKPT_NOMAP): it reads headers and samples with pread.
 *
 * An open checkpoint is immutable: all functions that take it as const may be called from several threads.
 */
#ifndef MM_CKPT_PRIV_H
#define MM_CKPT_PRIV_H

#include "model/model.h"

#include <sys/stat.h>

/* ---- ckpt.c: opening, finding, reading ---- */

enum mm_ckpt_flags {
	MM_CKPT_NOMAP = 1, /* headers only: mm_tensor.data stays NULL, mm_ckpt_read uses pread */
};

/* What stands in the way of opening, for the probe's answer. Zeroed: nothing. */
struct mm_ckpt_why {
	char code[24];	/* "no_config", "no_weights", "truncated", "missing_shard", "empty_blocks", "bad_config", ... */
	char file[256]; /* relative to the checkpoint's directory */
	uint64_t missing; /* bytes */
	bool may_pass;	  /* somebody may still be writing: waiting, not failed */
};

struct mm_ckpt *mm_ckpt_open_ex(const char *path, const char *search_dir, unsigned flags, struct mm_ckpt_why *why,
	struct mm_err *err) MM_MUST_CHECK;

/* f32 values of elements [first, first + n) in row-major order; both multiples of the dtype's block. With an adapter's
 * overlay: W + scale * B A, in f32. n elements of dst are written. */
int mm_ckpt_read(const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t first, size_t n, float *dst,
	struct mm_err *err) MM_MUST_CHECK;
/* Stored bytes [first, first + n) of a tensor (no overlay), from the mapping or with pread. */
int mm_ckpt_bytes_read(const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t first, size_t n, void *dst,
	struct mm_err *err) MM_MUST_CHECK;
/* Leading dimensions of 1 do not matter on either side: [1, 8] is [8]. */
bool mm_tensor_shape_is(const struct mm_tensor *t, unsigned n_dim, const uint64_t *dim);
/* "[8, 16]" */
void mm_shape_format(unsigned n_dim, const uint64_t *dim, char *out, size_t cap);

/* ---- gguf.c: typed metadata (tokenizers, families) ---- */

enum mm_gguf_type {
	MM_GGUF_U8,
	MM_GGUF_I8,
	MM_GGUF_U16,
	MM_GGUF_I16,
	MM_GGUF_U32,
	MM_GGUF_I32,
	MM_GGUF_F32,
	MM_GGUF_BOOL,
	MM_GGUF_STRING,
	MM_GGUF_ARRAY,
	MM_GGUF_U64,
	MM_GGUF_I64,
	MM_GGUF_F64,
	MM_GGUF_TYPE_COUNT
};

/* Metadata of a .gguf file alone (the first part of a split one); the view of an open checkpoint is mm_ckpt_gguf().
 * Strings and arrays are borrowed from it; everything was checked against the file's bounds when it was opened. */
struct mm_gguf *mm_gguf_open(const char *path, struct mm_err *err) MM_MUST_CHECK;
void mm_gguf_close(struct mm_gguf *g);
bool mm_gguf_has(const struct mm_gguf *g, const char *key);
/* Getters in the manner of mm_json_get_*: an absent key leaves *out alone and returns 0; a value of another type, or
 * one out of range, is an error that names the key. Any integer type serves get_i64; f32 and f64 serve get_double. */
int mm_gguf_get_i64(const struct mm_gguf *g, const char *key, int64_t min, int64_t max, int64_t *out,
	struct mm_err *err) MM_MUST_CHECK;
int mm_gguf_get_u32(const struct mm_gguf *g, const char *key, uint32_t *out, struct mm_err *err) MM_MUST_CHECK;
int mm_gguf_get_i32(const struct mm_gguf *g, const char *key, int32_t *out, struct mm_err *err) MM_MUST_CHECK;
int mm_gguf_get_f32(const struct mm_gguf *g, const char *key, float *out, struct mm_err *err) MM_MUST_CHECK;
int mm_gguf_get_double(const struct mm_gguf *g, const char *key, double *out, struct mm_err *err) MM_MUST_CHECK;
int mm_gguf_get_bool(const struct mm_gguf *g, const char *key, bool *out, struct mm_err *err) MM_MUST_CHECK;
/* Not NUL-terminated, may be invalid UTF-8 and hold NULs. */
int mm_gguf_get_str(
	const struct mm_gguf *g, const char *key, const char **s, size_t *len, struct mm_err *err) MM_MUST_CHECK;
/* Arrays. Absent: n stays as it was (set it to 0 before). Numbers are unaligned little-endian: copy out with the
 * functions below. Any integer element type serves i64_at; f32/f64 elements serve f32_at. */
struct mm_gguf_array {
	enum mm_gguf_type type; /* of the elements */
	size_t n;
	const uint8_t *data;
	size_t size; /* bytes that the elements take */
};
int mm_gguf_get_array(const struct mm_gguf *g, const char *key, enum mm_gguf_type type, struct mm_gguf_array *out,
	struct mm_err *err) MM_MUST_CHECK;
/* The same with any integer, or any float, element type. */
int mm_gguf_get_ints(
	const struct mm_gguf *g, const char *key, struct mm_gguf_array *out, struct mm_err *err) MM_MUST_CHECK;
int mm_gguf_get_floats(
	const struct mm_gguf *g, const char *key, struct mm_gguf_array *out, struct mm_err *err) MM_MUST_CHECK;
int64_t mm_gguf_i64_at(const struct mm_gguf_array *a, size_t i); /* i < n; u64 beyond the range: INT64_MAX */
double mm_gguf_f64_at(const struct mm_gguf_array *a, size_t i);
/* Strings one after the other: start with `*off` = 0; false at the end. The bytes are borrowed, not NUL-terminated. */
bool mm_gguf_str_next(const struct mm_gguf_array *a, size_t *off, const char **s, size_t *len);

/* ---- unwritten.c: space that was set aside and not filled yet ---- */

/* 1: found (why and err say where), 0: nothing found, -1: cannot read. */
int mm_unwritten_find(const struct mm_ckpt *ck, struct mm_ckpt_why *why, struct mm_err *err) MM_MUST_CHECK;
/* Where sample k of n_sample (of `len` bytes) begins in `n_byte` bytes: first and last are the ends. */
uint64_t mm_sample_at(uint64_t n_byte, uint64_t len, unsigned k, unsigned n_sample);
/* Samples a tensor gets, so that the whole checkpoint stays below a few thousand reads. */
unsigned mm_sample_count(const struct mm_ckpt *ck);
#define MM_SAMPLE_BYTES 4096u

/* ---- claim.c: what a model card says it comes from ---- */

/* `base_model` of README.md's front matter; NULL: none (or out of memory). mm_free it. */
char *mm_claim_readme(const char *dir, struct mm_err *err);
char *mm_claim_parse(const char *data, size_t len, struct mm_err *err);

/* ---- fingerprint.c ---- */

/* Keeps digests from now on; a pass that is through with a tensor says so with mm_ckpt_done, which also gives its pages
 * back. */
int mm_ckpt_digests_keep(struct mm_ckpt *ck, struct mm_err *err) MM_MUST_CHECK;
/* Quick fingerprint of an open checkpoint: config, tokenizer, names and shapes, sampled blocks. */
int mm_fingerprint_quick(const struct mm_ckpt *ck, struct mm_hash *out, struct mm_err *err) MM_MUST_CHECK;
/* What to give mm_tok_open for this checkpoint: its directory, the run's above it (up to two levels, not above
 * search_dir), an adapter's base, or the GGUF file. NULL and MM_ENOENT: no tokenizer anywhere. Free with mm_free. */
char *mm_ckpt_tokenizer(const struct mm_ckpt *ck, struct mm_err *err) MM_MUST_CHECK;
/* Is this one of the files that a tokenizer is made of? */
bool mm_tokenizer_counts(const char *name);
/* The same for a directory alone; *file (may be NULL) gets the deciding file in it, owned by the caller. */
char *mm_tokenizer_dir(const char *dir, const char *search_dir, char **file, struct mm_err *err) MM_MUST_CHECK;

/* ---- for the container files only: a checkpoint while it is being put together ---- */

struct mm_ckpt_file {
	char *name; /* relative to dir, as messages show it */
	char *path;
	uint64_t size, dev, ino;
	int64_t mtime_ns;
	uint8_t *map;  /* NULL: MM_CKPT_NOMAP, or empty */
	int fd;	       /* MM_CKPT_NOMAP and not too many files: kept open; else -1 */
	uint64_t data; /* where tensor data begin */
};
struct mm_lora;
struct mm_digest { /* of all bytes of a tensor, made while a pass over the weights had them at hand */
	struct mm_hash hash;
	bool have;
};

struct mm_ckpt {
	enum mm_container container;
	unsigned flags;
	char *path, *dir; /* dir: where the files' names are relative to */
	char *search_dir;
	json_t *config;
	struct mm_ckpt_file *file;
	size_t n_file, cap_file;
	struct mm_tensor *tensor;
	size_t n_tensor, cap_tensor;
	uint32_t *slot; /* open addressing over names: index + 1, 0 = free; n_slot is a power of two >= 2 n_tensor */
	size_t n_slot;
	struct mm_arena *arena; /* names */
	struct mm_gguf *gguf;
	struct mm_lora *lora;
	struct mm_digest *digest; /* [n_tensor]; NULL: none are kept */
};

/* ckpt.c */
/* Says why; always -1, so that it can be returned after mm_fail. `why` keeps the first reason. */
int mm_ckpt_blame(struct mm_ckpt_why *why, const char *code, const char *file, uint64_t missing, bool may_pass);
/* The same from errno; `absent` is the code of ENOENT. */
void mm_ckpt_blame_errno(struct mm_ckpt_why *why, const char *name, const char *absent);
bool mm_ckpt_has_file(const char *dir, const char *name);
/* Opens a regular file (following links) for reading; anything else is an error that never waits. */
int mm_ckpt_open_file(const char *path, const char *name, const char *absent, struct stat *st, struct mm_ckpt_why *why,
	struct mm_err *err) MM_MUST_CHECK;
/* Opens `name` below dir as a weight file: regular, sized, mapped unless MM_CKPT_NOMAP. Returns a descriptor for
 * reading the header (caller closes) and appends to file[]; -1 on failure. */
int mm_ckpt_file_add(struct mm_ckpt *ck, const char *name, struct mm_ckpt_why *why, struct mm_err *err) MM_MUST_CHECK;
/* Reads exactly n bytes at `off`; a short file is MM_ETRUNC. */
int mm_pread_full(int fd, void *dst, size_t n, uint64_t off, const char *name, struct mm_err *err) MM_MUST_CHECK;
/* Appends a tensor; its name (len bytes, checked for NUL and UTF-8 by the caller) is copied. A name that is there
 * already is an error. */
int mm_ckpt_tensor_add(
	struct mm_ckpt *ck, const struct mm_tensor *t, const char *name, size_t len, struct mm_err *err) MM_MUST_CHECK;
/* Product of the dimensions, and bytes from the dtype's blocks; overflow and rows that are no whole blocks are errors.
 */
int mm_tensor_size(struct mm_tensor *t, const char *name, struct mm_err *err) MM_MUST_CHECK;
/* Whole JSON file of somebody else's: NaN and Infinity, which Python writes, become null and 1e308. */
json_t *mm_ckpt_json(const char *dir, const char *name, size_t max, struct mm_ckpt_why *why, const char *code,
	struct mm_err *err) MM_MUST_CHECK;
/* true when `p[0..n)` has a run of zero bytes that no text and no header has: space set aside, not yet written */
bool mm_ckpt_unwritten(const void *p, size_t n);

/* safetensors.c: adds the file's tensors */
int mm_safetensors_read(
	struct mm_ckpt *ck, const char *name, struct mm_ckpt_why *why, struct mm_err *err) MM_MUST_CHECK;
/* The header alone (n bytes of JSON, a file of `size` bytes in all) into file number `file`; for the fuzzer too. */
int mm_safetensors_parse(struct mm_ckpt *ck, unsigned file, const uint8_t *header, size_t n, struct mm_ckpt_why *why,
	struct mm_err *err) MM_MUST_CHECK;

/* shards.c: model.safetensors, or the shards of the index */
int mm_shards_read(struct mm_ckpt *ck, const char *stem, struct mm_ckpt_why *why, struct mm_err *err) MM_MUST_CHECK;
/* Names of the shards that an index lists, sorted, each once; every one a plain file name. Free each and the array. */
int mm_shards_list(const json_t *index, const char *what, char ***name, size_t *n, struct mm_err *err) MM_MUST_CHECK;
void mm_shards_free(char **name, size_t n);

/* gguf.c, gguf_kv.c */
extern const uint8_t mm_gguf_type_bytes[MM_GGUF_TYPE_COUNT]; /* of a value; 0: not of fixed size */
int mm_gguf_key_compare(const char *a, size_t n_a, const char *b, size_t n_b);
struct mm_gguf_kv { /* one metadata value; everything points into mm_gguf.buf */
	const char *key;
	size_t key_len;
	enum mm_gguf_type type, elem; /* elem: of an array */
	size_t n;		      /* elements of an array, bytes of a string */
	const uint8_t *data;
	size_t size; /* bytes that the elements take */
};
struct mm_gguf {
	uint8_t *buf; /* header, metadata and tensor infos, read with pread */
	size_t n_buf;
	uint64_t n_tensor;
	size_t infos;	       /* where the tensor infos begin in buf */
	struct mm_gguf_kv *kv; /* sorted by key */
	size_t n_kv, cap_kv;
};
/* Reads the metadata of an open file of `size` bytes; `name` is for messages. */
struct mm_gguf *mm_gguf_load(
	int fd, uint64_t size, const char *name, struct mm_ckpt_why *why, struct mm_err *err) MM_MUST_CHECK;
/* Makes sure that the first n bytes of the file are in buf. */
int mm_gguf_more(
	struct mm_gguf *g, int fd, uint64_t size, size_t n, const char *name, struct mm_err *err) MM_MUST_CHECK;
/* The metadata as one flat object; long arrays and strings left out. */
json_t *mm_gguf_json(const struct mm_gguf *g, struct mm_err *err) MM_MUST_CHECK;

/* gguf_hints.c: what mm_setup_layer_types does for config.json */
struct mm_setup;
int mm_gguf_layer_types(
	struct mm_setup *s, int full_rope, int slide_rope, bool *found, struct mm_err *err) MM_MUST_CHECK;

/* gguf_read.c: fills a checkpoint from one or several parts */
/* NAME-00002-of-00003.gguf: the length of NAME, -1 when the name is not of that form. */
int mm_gguf_split_name(const char *name, int *no, int *count);
int mm_gguf_read(struct mm_ckpt *ck, const char *path, struct mm_ckpt_why *why, struct mm_err *err) MM_MUST_CHECK;

/* fp8.c */
/* *fp8: quantization_config describes 8-bit matrices with factors, which mm_ckpt_read applies. */
int mm_fp8_config(const json_t *config, bool *fp8, struct mm_err *err) MM_MUST_CHECK;
/* Finds the factors of 8-bit matrices when config.json says that there are some; a missing one is an error. */
int mm_fp8_attach(struct mm_ckpt *ck, struct mm_err *err) MM_MUST_CHECK;
/* Multiplies elements [first, first + n) of t, which are in dst, with their factors. */
int mm_fp8_apply(const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t first, size_t n, float *dst,
	struct mm_err *err) MM_MUST_CHECK;

/* lora.c */
struct mm_lora { /* what an adapter puts on top of the base, whose tensors and files are in the same mm_ckpt */
	char *base_dir;
	char *base_name; /* as the adapter names it */
	json_t *config;	 /* adapter_config.json */
	struct mm_lora_delta *delta;
	size_t n_delta;
};
int mm_lora_read(struct mm_ckpt *ck, const char *dir, struct mm_ckpt_why *why, struct mm_err *err) MM_MUST_CHECK;
/* lora_base.c: the directory of the base model that an adapter names, below search_dir (NULL: beside the adapter). */
char *mm_lora_find_base(const char *name, const char *adapter_dir, const char *search_dir, struct mm_ckpt_why *why,
	struct mm_err *err) MM_MUST_CHECK;
/* Adds the overlay's values of elements [first, first + n) to dst. */
void mm_lora_apply(const void *overlay, const struct mm_tensor *t, uint64_t first, size_t n, float *dst);
void mm_lora_free(struct mm_lora *l);

#endif
