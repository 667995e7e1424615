/* fingerprint.c - what makes two checkpoints the same model.
 *
 *	full  = H( config | tokenizer | for every tensor, by name: name, dtype, shape, H(all bytes) )
 *	        H(all bytes) is kept when a pass over the weights had them at hand: nothing is read twice for it
 *	quick = H( config | tokenizer | for every tensor, by name: name, dtype, shape, sampled blocks )
 *
 * Names are sorted and bytes belong to tensors, so that other shards, another order in the file or another header give
 *the same fingerprint; another dtype or container does not (that is what the weight sample of sample.c is for).
 *
 *  - config: config.json with sorted keys, without what only says who wrote it (`noise` below). GGUF: the metadata
 *without general.* (but the architecture), split.* and the tokenizer. An adapter adds its own config.
 *  - tokenizer: the bytes of the file that decides (tokenizer.json, else tokenizer.model, else a vocabulary) and the
 *    special tokens of tokenizer_config.json. GGUF: all tokenizer.* values but the chat template. None: nothing.
 */
#include "model/ckpt_priv.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK	(1u << 20)
#define MAPPED	((size_t)16 << 20) /* pages of the mapping are given back in pieces of this size */
#define TOK_MAX ((size_t)256 << 20)

static const char *const noise[] = { "transformers_version", "_name_or_path", "torch_dtype", "dtype", "use_cache",
	"_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "gradient_checkpointing",
	"output_attentions", "output_hidden_states", "return_dict", "base_model_name_or_path", "inference_mode",
	"auto_mapping", "revision" };

/* ---- config ---- */

static bool is_noise(const char *key, bool gguf)
{
	if (gguf && !strncmp(key, "general.", 8))
		return strcmp(key, "general.architecture") != 0;
	if (gguf)
		return !strncmp(key, "split.", 6) || !strncmp(key, "tokenizer.", 10);
	for (size_t i = 0; i < MM_COUNT(noise); i++)
		if (!strcmp(key, noise[i]))
			return true;
	return false;
}

static int put_json(struct mm_hasher *h, const json_t *config, bool gguf, struct mm_err *err)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)config);
	const char *key;
	void *next;
	json_t *value;
	json_object_foreach_safe (copy, next, key, value)
		if (is_noise(key, gguf))
			json_object_del(copy, key);
	char *text = copy ? json_dumps(copy, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
	json_decref(copy);
	if (!text)
		return mm_fail(err, MM_ENOMEM, "out of memory");
	mm_hasher_str(h, text);
	free(text); /* jansson's own allocation */
	return 0;
}

/* ---- tokenizer ---- */

/* What mm_tok_open looks for in a directory, in its order; `second` must be there too. (It also takes a .gguf file,
 * which is another checkpoint here.) */
static const struct known {
	const char *name, *second;
} known[] = {
	{ "tokenizer.json", NULL },
	{ "tokenizer.model", NULL },
	{ "tokenizer.model.v3", NULL },
	{ "spiece.model", NULL },
	{ "sentencepiece.bpe.model", NULL },
	{ "sentencepiece.model", NULL },
	{ "vocab.json", "merges.txt" },
	{ "tiktoken.model", NULL },
};

static bool is_vocabulary(const char *name)
{
	size_t n = strlen(name);
	return (n > 9 && !strcmp(name + n - 9, ".tiktoken")) ||
	       (!strncmp(name, "rwkv_vocab", 10) && n > 4 && !strcmp(name + n - 4, ".txt"));
}

bool mm_tokenizer_counts(const char *name)
{
	for (size_t i = 0; i < MM_COUNT(known); i++)
		if (!strcmp(name, known[i].name) || (known[i].second && !strcmp(name, known[i].second)))
			return true;
	return is_vocabulary(name) || !strcmp(name, "tokenizer_config.json");
}

/* The file that decides in this directory, owned by the caller; NULL when there is none. */
static char *tokenizer_file(const char *dir, const char **second, struct mm_err *err)
{
	char best[256] = "";
	*second = NULL;
	for (size_t i = 0; i < MM_COUNT(known); i++)
		if (mm_ckpt_has_file(dir, known[i].name) &&
			(!known[i].second || mm_ckpt_has_file(dir, known[i].second))) {
			*second = known[i].second;
			return mm_strdup(known[i].name, err);
		}
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' && is_vocabulary(e->d_name) && (!best[0] || strcmp(e->d_name, best) < 0))
			snprintf(best, sizeof best, "%s", e->d_name);
	if (d)
		closedir(d);
	if (best[0])
		return mm_strdup(best, err);
	mm_fail(err, MM_ENOENT, "no tokenizer in %s", dir);
	return NULL;
}

/* Is `dir` the directory of all that we may look at? Compared as files, since paths are written in many ways. */
static bool same_dir(const char *a, const char *b)
{
	struct stat x, y;
	return a && b && !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

char *mm_tokenizer_dir(const char *dir, const char *search_dir, char **file, struct mm_err *err)
{
	char *at = mm_strdup(dir, err), *name = NULL;
	const char *second;
	for (int level = 0; at && level < 3; level++) {
		struct mm_err none = { 0 };
		if ((name = tokenizer_file(at, &second, &none)) || same_dir(at, search_dir) || level == 2)
			break;
		char *up = mm_path_join(at, "..", err);
		mm_free(at);
		at = up;
	}
	if (at && !name) {
		mm_fail(err, MM_ENOENT, "no tokenizer: neither in the directory nor in the run's directory above it");
		mm_free(at);
		return NULL;
	}
	if (file)
		*file = name;
	else
		mm_free(name);
	return at;
}

char *mm_ckpt_tokenizer(const struct mm_ckpt *ck, struct mm_err *err)
{
	struct mm_err own = { 0 };
	if (ck->container == MM_CONTAINER_GGUF)
		return mm_strdup(ck->path, err);
	char *dir = mm_tokenizer_dir(ck->path, ck->search_dir, NULL, &own);
	if (!dir && ck->lora)
		dir = mm_tokenizer_dir(ck->lora->base_dir, ck->search_dir, NULL, &own);
	if (!dir)
		*err = own;
	return dir;
}

struct mm_tok *mm_tok_of(const struct mm_ckpt *ck, struct mm_err *err)
{
	char *path = mm_ckpt_tokenizer(ck, err);
	struct mm_tok *tok = path ? mm_tok_open(path, err) : NULL;
	mm_free(path);
	return tok;
}

static void put_special(struct mm_hasher *h, const json_t *config, const char *key)
{
	const json_t *v = json_object_get(config, key);
	const json_t *content = json_object_get(v, "content"); /* an added token written as an object */
	const char *s = json_string_value(content ? content : v);
	mm_hasher_str(h, key);
	mm_hasher_str(h, s ? s : json_is_true(v) ? "true" : json_is_false(v) ? "false" : "");
}

static int put_file(struct mm_hasher *h, const char *dir, const char *name, struct mm_err *err)
{
	size_t n = 0;
	char *path = mm_path_join(dir, name, err), *bytes = path ? mm_file_read(path, TOK_MAX, &n, err) : NULL;
	if (bytes) {
		mm_hasher_str(h, name);
		mm_hasher_put(h, bytes, n);
	}
	mm_free(path);
	mm_free(bytes);
	return bytes ? 0 : -1;
}

static int put_tokenizer_files(struct mm_hasher *h, const struct mm_ckpt *ck, struct mm_err *err)
{
	static const char *const special[] = { "bos_token", "eos_token", "add_bos_token", "add_eos_token" };
	struct mm_err none = { 0 };
	struct mm_ckpt_why ignored = { 0 };
	char *dir = mm_ckpt_tokenizer(ck, &none);
	const char *second;
	if (!dir)
		return none.code == MM_ENOENT ? 0 : mm_fail(err, none.code, "%s", none.text);
	char *name = tokenizer_file(dir, &second, err);
	int rc = !name || put_file(h, dir, name, err) || (second && put_file(h, dir, second, err)) ? -1 : 0;
	json_t *config =
		rc ? NULL : mm_ckpt_json(dir, "tokenizer_config.json", 16u << 20, &ignored, "bad_tokenizer", &none);
	for (size_t i = 0; config && i < MM_COUNT(special); i++)
		put_special(h, config, special[i]);
	json_decref(config);
	mm_free(name);
	mm_free(dir);
	return rc;
}

static void put_tokenizer_gguf(struct mm_hasher *h, const struct mm_gguf *g)
{
	for (size_t i = 0; i < g->n_kv; i++) { /* sorted by key */
		const struct mm_gguf_kv *kv = &g->kv[i];
		static const char prefix[] = "tokenizer.", template[] = "tokenizer.chat_template";
		if (kv->key_len < sizeof prefix || strncmp(kv->key, prefix, sizeof prefix - 1) ||
			!strncmp(kv->key, template, MM_MIN(kv->key_len, sizeof template - 1)))
			continue;
		uint32_t head[3] = { (uint32_t)kv->key_len, kv->type, kv->elem };
		uint64_t n = kv->size;
		mm_hasher_put(h, head, sizeof head);
		mm_hasher_put(h, kv->key, kv->key_len);
		mm_hasher_put(h, &n, sizeof n);
		mm_hasher_put(h, kv->data, kv->size);
	}
}

/* ---- tensors ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct mm_tensor *const *)a)->name, (*(const struct mm_tensor *const *)b)->name);
}

static const struct mm_tensor **sorted(const struct mm_ckpt *ck, struct mm_err *err)
{
	const struct mm_tensor **order = mm_calloc(ck->n_tensor, sizeof *order, err);
	for (size_t i = 0; order && i < ck->n_tensor; i++)
		order[i] = &ck->tensor[i];
	if (order && ck->n_tensor)
		qsort(order, ck->n_tensor, sizeof *order, by_name);
	return order;
}

static void put_shape(struct mm_hasher *h, const struct mm_tensor *t)
{
	mm_hasher_str(h, t->name);
	mm_hasher_str(h, mm_dtypes[t->dtype].name);
	mm_hasher_put(h, &t->n_dim, sizeof t->n_dim);
	mm_hasher_put(h, t->dim, t->n_dim * sizeof t->dim[0]);
}

static int put_range(struct mm_hasher *h, const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t from,
	uint64_t n, uint8_t *buf, struct mm_err *err)
{
	if (t->data) {
		for (size_t k; n; n -= k, from += k) {
			k = (size_t)MM_MIN(n, (uint64_t)MAPPED);
			mm_hasher_put(h, t->data + from, k);
			if (n >= MAPPED)
				mm_ckpt_drop(ck, t);
		}
		return 0;
	}
	for (size_t k; n; n -= k, from += k) {
		k = (size_t)MM_MIN(n, (uint64_t)CHUNK);
		if (mm_ckpt_bytes_read(ck, t, from, k, buf, err))
			return -1;
		mm_hasher_put(h, buf, k);
	}
	return 0;
}

/* NULL: none is kept of this tensor */
static struct mm_digest *kept_of(const struct mm_ckpt *ck, const struct mm_tensor *t)
{
	return ck->digest && t >= ck->tensor && t < ck->tensor + ck->n_tensor ? &ck->digest[t - ck->tensor] : NULL;
}

/* H(all bytes) */
static int digest(
	const struct mm_ckpt *ck, const struct mm_tensor *t, uint8_t *buf, struct mm_hash *out, struct mm_err *err)
{
	const struct mm_digest *kept = kept_of(ck, t);
	if (kept && kept->have) {
		*out = kept->hash;
		return 0;
	}
	struct mm_hasher *h = mm_hasher_new(err);
	int rc = h ? put_range(h, ck, t, 0, t->n_byte, buf, err) : -1;
	if (rc == 0)
		*out = mm_hasher_get(h);
	mm_hasher_free(h);
	return rc;
}

int mm_ckpt_digests_keep(struct mm_ckpt *ck, struct mm_err *err)
{
	if (!ck->digest && ck->n_tensor)
		ck->digest = mm_calloc(ck->n_tensor, sizeof(*ck->digest), err);
	return ck->digest || !ck->n_tensor ? 0 : -1;
}

void mm_ckpt_done(const struct mm_ckpt *ck, const struct mm_tensor *t)
{
	struct mm_digest *d = kept_of(ck, t);
	struct mm_err none = { 0 };
	if (d && !d->have && t->data && digest(ck, t, NULL, &d->hash, &none) == 0)
		d->have = true; /* else it is read when the fingerprint is asked for, and the error told then */
	mm_ckpt_drop(ck, t);
}

static int put_tensors(struct mm_hasher *h, const struct mm_ckpt *ck, bool full, struct mm_err *err)
{
	const struct mm_tensor **order = sorted(ck, err);
	uint8_t *buf = mm_calloc(CHUNK, 1, err);
	unsigned n_sample = mm_sample_count(ck);
	int rc = order && buf ? 0 : -1;
	for (size_t i = 0; !rc && i < ck->n_tensor; i++) {
		const struct mm_tensor *t = order[i];
		uint64_t len = MM_MIN(t->n_byte, (uint64_t)MM_SAMPLE_BYTES);
		unsigned n = t->n_byte > len ? n_sample : 1;
		put_shape(h, t);
		if (full) {
			struct mm_hash bytes;
			rc = digest(ck, t, buf, &bytes, err);
			if (!rc)
				mm_hasher_put(h, &bytes, sizeof(bytes));
			mm_ckpt_drop(ck, t);
			continue;
		}
		for (unsigned k = 0; !rc && k < n; k++)
			rc = put_range(h, ck, t, n > 1 ? mm_sample_at(t->n_byte, len, k, n) : 0, len, buf, err);
	}
	mm_free(order);
	mm_free(buf);
	return rc;
}

static int fingerprint(const struct mm_ckpt *ck, bool full, struct mm_hash *out, struct mm_err *err)
{
	bool gguf = ck->container == MM_CONTAINER_GGUF;
	int rc = -1;
	struct mm_hasher *h = mm_hasher_new(err);
	if (!h)
		return -1;
	mm_hasher_str(h, full ? "full 2" : "quick 1");
	if (put_json(h, ck->config, gguf, err) || (ck->lora && put_json(h, ck->lora->config, false, err)))
		goto out;
	mm_hasher_str(h, "tokenizer");
	if (gguf)
		put_tokenizer_gguf(h, ck->gguf);
	else if (put_tokenizer_files(h, ck, err))
		goto out;
	mm_hasher_str(h, "tensors");
	if (put_tensors(h, ck, full, err))
		goto out;
	*out = mm_hasher_get(h);
	rc = 0;
out:
	mm_hasher_free(h);
	return rc;
}

int mm_fingerprint_config(const struct mm_ckpt *ck, struct mm_hash *out, struct mm_err *err)
{
	struct mm_hasher *h = mm_hasher_new(err);
	if (!h)
		return -1;
	int rc = put_json(h, ck->config, ck->container == MM_CONTAINER_GGUF, err) ||
		 (ck->lora && put_json(h, ck->lora->config, false, err));
	*out = mm_hasher_get(h);
	mm_hasher_free(h);
	return rc ? -1 : 0;
}

int mm_fingerprint_quick(const struct mm_ckpt *ck, struct mm_hash *out, struct mm_err *err)
{
	return fingerprint(ck, false, out, err);
}

int mm_fingerprint_ckpt(const struct mm_ckpt *ck, struct mm_hash *out, struct mm_err *err)
{
	return fingerprint(ck, true, out, err);
}

int mm_fingerprint_full(const char *path, const char *search_dir, struct mm_hash *out, struct mm_err *err)
{
	struct mm_ckpt_why why = { 0 };
	struct mm_ckpt *ck = mm_ckpt_open_ex(path, search_dir, MM_CKPT_NOMAP, &why, err);
	int rc = ck ? fingerprint(ck, true, out, err) : -1;
	mm_ckpt_close(ck);
	return rc;
}
