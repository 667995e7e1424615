/* tok_open.c - which file of a directory is the tokenizer, and what kind of file it is.
 *
 * Looked for in this order; kinds of single files are told by their content, never by the name alone. A checkpoint
 * without a tokenizer takes the one of the directory above it (a training run keeps it there).
 */
#include "model/tok_priv.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

static char *path_of(const char *dir, const char *name, struct mm_err *err)
{
	return mm_path_join(dir, name, err);
}

static bool is_file(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISREG(st.st_mode);
}

/* JSON beside the tokenizer; NULL and no error when there is none. */
static int beside(const char *dir, const char *name, json_t **out, struct mm_err *err)
{
	char *path = path_of(dir, name, err);
	int rc = 0;
	*out = NULL;
	if (!path)
		return -1;
	if (is_file(path)) {
		*out = mm_json_load(path, 64 << 20, err);
		rc = *out ? 0 : -1;
	}
	mm_free(path);
	return rc;
}

/* "bos_token": "<s>" or {"content": "<s>", ...} */
static int64_t token_id(const struct mm_tok *tok, const json_t *conf, const char *key)
{
	const json_t *v = json_object_get(conf, key);
	uint32_t id;
	if (json_is_object(v))
		v = json_object_get(v, "content");
	if (!json_is_string(v))
		return -1;
	id = tok_lookup(tok, (struct tok_str){ (const uint8_t *)json_string_value(v), json_string_length(v) });
	return id == TOK_NONE ? -1 : (int64_t)id;
}

void tok_conf_apply(struct mm_tok *tok, const json_t *conf)
{
	int64_t bos = token_id(tok, conf, "bos_token"), eos = token_id(tok, conf, "eos_token");
	tok->bos = bos >= 0 ? bos : tok->bos;
	tok->eos = eos >= 0 ? eos : tok->eos;
}

static void count_vocab(struct mm_tok *tok)
{
	uint32_t max = tok->vocab.n ? tok->vocab.max_id : 0;
	bool any = tok->vocab.n > 0;
	for (size_t i = 0; i < tok->added.n; i++) {
		max = MM_MAX(max, tok->added.tok[i].id);
		any = true;
	}
	tok->n_vocab = any ? (size_t)max + 1 : 0;
}

static void put_str(struct mm_hasher *h, struct tok_str s)
{
	uint64_t n = s.n;
	mm_hasher_put(h, &n, sizeof(n));
	mm_hasher_put(h, s.s, s.n);
}

/* Files beside the tokenizer's own that ids depend on: what decides the pattern, and the added tokens that came of
 * them. */
static void put_beside(struct mm_hasher *h, const struct mm_tok *tok, const json_t *conf)
{
	static const char *const key[] = { "pat_str", "tokenizer_class" };
	for (size_t i = 0; i < MM_COUNT(key); i++) {
		const char *s = json_string_value(json_object_get(conf, key[i]));
		mm_hasher_str(h, s ? s : "");
	}
	mm_hasher_str(h, json_is_true(json_object_get(conf, "add_prefix_space")) ? "space" : "");
	for (size_t i = 0; i < tok->added.n; i++) {
		const struct tok_added_token *t = &tok->added.tok[i];
		uint8_t flags[] = { t->single_word, t->lstrip, t->rstrip, t->normalized, t->special };
		put_str(h, t->text);
		mm_hasher_put(h, &t->id, sizeof(t->id));
		mm_hasher_put(h, flags, sizeof(flags));
	}
}

static int fingerprint(struct mm_tok *tok, const struct tok_source *src, const json_t *conf, struct mm_err *err)
{
	struct mm_hasher *h = mm_hasher_new(err);
	if (!h)
		return -1;
	mm_hasher_str(h, "modelmap tokenizer 1");
	mm_hasher_str(h, tok->class);
	for (size_t i = 0; i < src->n; i++)
		put_str(h, src->part[i]);
	if (strcmp(tok->class, "rwkv") && !src->whole)
		put_beside(h, tok, conf);
	mm_hasher_put(h, &tok->n_front, sizeof(tok->n_front));
	mm_hasher_put(h, tok->front, tok->n_front * sizeof(*tok->front));
	mm_hasher_put(h, tok->back, tok->n_back * sizeof(*tok->back));
	tok->hash = mm_hasher_get(h);
	mm_hasher_free(h);
	return 0;
}

/* ---- kinds of files ---- */

static bool looks_json(struct tok_str s)
{
	size_t i = 0;
	if (s.n >= 3 && !memcmp(s.s, "\xef\xbb\xbf", 3))
		return false;
	while (i < s.n && (s.s[i] == ' ' || s.s[i] == '\n' || s.s[i] == '\r' || s.s[i] == '\t'))
		i++;
	return i < s.n && s.s[i] == '{';
}

static bool looks_gguf(struct tok_str s)
{
	return s.n >= 4 && !memcmp(s.s, "GGUF", 4);
}

static const struct {
	bool (*looks)(struct tok_str s);
	int (*parse)(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err);
} kinds[] = {
	{ looks_json, tok_open_hf },
	{ tok_rwkv_looks, tok_open_rwkv },
	{ tok_tiktoken_looks, tok_open_tiktoken },
	{ tok_spm_looks, tok_open_spm },
};

int tok_open_hf(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err)
{
	(void)conf;
	src->whole = true;
	return tok_hf_parse(tok, src->part[0].s, src->part[0].n, src->name, err);
}

static int parse(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err)
{
	if (src->n > 1)
		return tok_open_pair(tok, src, conf, err);
	for (size_t i = 0; i < MM_COUNT(kinds); i++)
		if (kinds[i].looks(src->part[0]))
			return kinds[i].parse(tok, src, conf, err);
	return mm_fail(err, MM_EUNSUPPORTED, "%s is no tokenizer that is known", src->name);
}

struct mm_tok *tok_from_source(struct tok_source *src, const json_t *conf, struct mm_err *err)
{
	struct mm_tok *tok = tok_new(err);
	if (!tok)
		return NULL;
	if (parse(tok, src, conf, err) || fingerprint(tok, src, conf, err)) {
		mm_tok_close(tok);
		return NULL;
	}
	count_vocab(tok);
	tok_conf_apply(tok, conf);
	return tok;
}

/* One file, or two (vocab.json and merges.txt), of `dir`, with the configuration beside it. */
static struct mm_tok *open_files(const char *dir, const char *const *path, size_t n, struct mm_err *err)
{
	struct mm_map map[2] = { { 0 }, { 0 } };
	struct tok_source src = { .n = n, .dir = dir };
	json_t *conf = NULL;
	struct mm_tok *tok = NULL;
	const char *base = strrchr(path[0], '/');
	src.name = base ? base + 1 : path[0];
	for (size_t i = 0; i < n; i++) {
		if (mm_map_open(&map[i], path[i], err))
			goto out;
		if (map[i].size > TOK_FILE_MAX) {
			mm_fail(err, MM_EUNSUPPORTED, "%s is larger than %zu MB", path[i], TOK_FILE_MAX >> 20);
			goto out;
		}
		src.part[i] = (struct tok_str){ map[i].size ? map[i].data : (const uint8_t *)"", map[i].size };
	}
	if (beside(dir, "tokenizer_config.json", &conf, err))
		goto out;
	if (!conf && beside(dir, "special_tokens_map.json", &conf, err))
		goto out;
	if (n == 1 && looks_gguf(src.part[0]))
		tok = tok_open_gguf(path[0], err);
	else
		tok = tok_from_source(&src, conf, err);
	if (!tok)
		mm_wrap(err, "%s", path[0]);
out:
	json_decref(conf);
	mm_map_close(&map[0]);
	mm_map_close(&map[1]);
	return tok;
}

/* ---- directories ---- */

static const struct {
	const char *name, *second; /* second: both must be there */
} known[] = {
	{ "tokenizer.json", NULL },
	{ "tokenizer.model", NULL },
	{ "tokenizer.model.v3", NULL },
	{ "spiece.model", NULL },
	{ "sentencepiece.bpe.model", NULL },
	{ "sentencepiece.model", NULL },
	{ "vocab.json", "merges.txt" },
	{ "qwen.tiktoken", NULL },
	{ "tiktoken.model", NULL },
	{ "tokenizer.tiktoken", NULL },
	{ "rwkv_vocab_v20230424.txt", NULL },
	{ "rwkv_vocab.txt", NULL },
	{ "tokenizer.gguf", NULL },
};

/* The first known file that is there: 1, 0 none, -1 error. Both paths are to be freed. */
static int find(const char *dir, char **path, char **second, struct mm_err *err)
{
	*path = *second = NULL;
	for (size_t i = 0; i < MM_COUNT(known); i++) {
		*path = path_of(dir, known[i].name, err);
		*second = *path && known[i].second ? path_of(dir, known[i].second, err) : NULL;
		if (!*path || (known[i].second && !*second))
			return -1;
		if (is_file(*path) && (!*second || is_file(*second)))
			return 1;
		mm_free(*path);
		mm_free(*second);
		*path = *second = NULL;
	}
	return tok_dir_find(dir, path, err);
}

/* The first by name that ends in .tiktoken, or is a vocabulary of RWKV's, or a .gguf file. */
int tok_dir_find(const char *dir, char **path, struct mm_err *err)
{
	static const char *const suffix[] = { ".tiktoken", ".gguf" };
	char *best = NULL;
	int rank = 99, rc = 0;
	struct dirent *e;
	DIR *d = opendir(dir);
	*path = NULL;
	if (!d)
		return mm_fail_errno(err, "%s", dir);
	while (!rc && (e = readdir(d))) {
		size_t n = strlen(e->d_name);
		int r = 99;
		if (e->d_name[0] == '.')
			continue;
		for (int i = 0; i < (int)MM_COUNT(suffix); i++)
			if (n > strlen(suffix[i]) && !strcmp(e->d_name + n - strlen(suffix[i]), suffix[i]))
				r = 2 * i;
		if (!strncmp(e->d_name, "rwkv_vocab", 10) && n > 4 && !strcmp(e->d_name + n - 4, ".txt"))
			r = 1;
		if (r == 99 || r > rank || (r == rank && best && strcmp(e->d_name, best) >= 0))
			continue;
		mm_free(best);
		best = mm_strdup(e->d_name, err);
		rank = r;
		rc = best ? 0 : -1;
	}
	closedir(d);
	if (best) {
		*path = mm_path_join(dir, best, err);
		rc = !*path ? -1 : is_file(*path) ? 1 : 0;
	}
	if (rc != 1) {
		mm_free(*path);
		*path = NULL;
	}
	mm_free(best);
	return rc;
}

static char *parent_of(const char *dir, struct mm_err *err)
{
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/')
		n--;
	while (n && dir[n - 1] != '/')
		n--;
	while (n > 1 && dir[n - 1] == '/')
		n--;
	return n ? mm_strndup(dir, n, err) : mm_path_join(dir, "..", err);
}

static struct mm_tok *open_dir(const char *dir, bool above, struct mm_err *err)
{
	char *path = NULL, *second = NULL, *up;
	struct mm_tok *tok = NULL;
	int rc = find(dir, &path, &second, err);
	if (rc > 0)
		tok = open_files(dir, (const char *const[]){ path, second }, second ? 2 : 1, err);
	mm_free(path);
	mm_free(second);
	if (rc || above)
		return tok;
	up = parent_of(dir, err);
	if (!up)
		return NULL;
	rc = find(up, &path, &second, err);
	mm_free(path);
	mm_free(second);
	if (rc > 0)
		tok = open_dir(up, true, err);
	else if (!rc)
		mm_fail(err, MM_ENOENT, "%s: no tokenizer here, nor in the directory above", dir);
	mm_free(up);
	return tok;
}

struct mm_tok *mm_tok_open(const char *path, struct mm_err *err)
{
	struct stat st;
	char *dir;
	struct mm_tok *tok;
	if (stat(path, &st)) {
		mm_fail_errno(err, "%s", path);
		return NULL;
	}
	if (S_ISDIR(st.st_mode))
		return open_dir(path, false, err);
	dir = strchr(path, '/') ? parent_of(path, err) : mm_strdup(".", err);
	if (!dir)
		return NULL;
	tok = open_files(dir, &path, 1, err);
	mm_free(dir);
	return tok;
}
