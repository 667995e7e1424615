/* texts_build.c - text files, or JSONL with a string "text" a line, into a text set.
 *
 * As the paper does it: a document is cut from its start into pieces of at most 1,024 bytes (--bytes), each at the end
 * of a character; a piece of 256 bytes or less (the end of a document, as a rule) is left out. The sample is drawn by
 * rank: a piece's key is the hash of seed and text, the n smallest keys stay, in their order. So the same seed and the
 * same texts give the same set, whatever the order of the files, and a text that comes twice counts once.
 */
#include "client/client.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE_MAX ((size_t)1024)
#define PIECE_MIN 257 /* more than 256 */
#define FILE_MAX  (UINT64_C(1) << 30)
#define DEPTH_MAX 64

/* ---- domains ---- */

static const struct {
	const char *ending, *domain;
} types[] = { { "c", "c" }, { "h", "c" }, { "cc", "c++" }, { "cpp", "c++" }, { "hpp", "c++" }, { "py", "python" },
	{ "pl", "perl" }, { "pm", "perl" }, { "rs", "rust" }, { "go", "go" }, { "java", "java" },
	{ "js", "javascript" }, { "ts", "javascript" }, { "sh", "shell" }, { "bash", "shell" }, { "md", "docs" },
	{ "rst", "docs" }, { "txt", "text" }, { "text", "text" }, { "tex", "tex" }, { "html", "html" },
	{ "htm", "html" }, { "xml", "xml" }, { "json", "json" }, { "yaml", "config" }, { "yml", "config" },
	{ "toml", "config" }, { "ini", "config" }, { "conf", "config" }, { "mk", "build" }, { "cmake", "build" },
	{ "sql", "sql" }, { "rb", "ruby" }, { "lua", "lua" }, { "r", "r" }, { "jl", "julia" }, { "1", "man" },
	{ "5", "man" }, { "7", "man" }, { "8", "man" } };

/* By the ending; else the directory's name; else "text". */
static void domain_of(const char *path, char *out, size_t cap)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
	for (size_t i = 0; dot && i < MM_COUNT(types); i++)
		if (!strcasecmp(types[i].ending, dot + 1)) {
			snprintf(out, cap, "%s", types[i].domain);
			return;
		}
	if (!strcasecmp(base, "makefile")) {
		snprintf(out, cap, "build");
		return;
	}
	const char *end = slash, *start = end;
	while (start && start > path && start[-1] != '/')
		start--;
	size_t n = start ? (size_t)(end - start) : 0;
	if (n && n < cap && start[0] != '.' && mm_utf8_valid(start, n))
		snprintf(out, cap, "%.*s", (int)n, start);
	else
		snprintf(out, cap, "text");
}

static int domain_index(struct mm_chunks *c, const char *name, unsigned *out, struct mm_err *err)
{
	for (size_t i = 0; i < c->n_domain; i++)
		if (!strcmp(c->domain[i], name)) {
			*out = (unsigned)i;
			return 0;
		}
	if (mm_grow(&c->domain, &c->cap_domain, c->n_domain + 1, sizeof *c->domain, err) ||
		!(c->domain[c->n_domain] = mm_strdup(name, err)))
		return -1;
	*out = (unsigned)c->n_domain++;
	return 0;
}

/* ---- what has been seen ---- */

static size_t slot_of(const struct mm_hash *seen, size_t cap, struct mm_hash h)
{
	size_t i = (size_t)h.lo & (cap - 1);
	while ((seen[i].hi || seen[i].lo) && !mm_hash_eq(seen[i], h))
		i = (i + 1) & (cap - 1);
	return i;
}

/* 1: new, 0: seen before, -1: no memory */
static int first_time(struct mm_chunks *c, struct mm_hash h, struct mm_err *err)
{
	if (!h.hi && !h.lo)
		h.lo = 1; /* zero marks a free slot */
	if (2 * (c->n_seen + 1) > c->cap_seen) {
		size_t cap = c->cap_seen ? 2 * c->cap_seen : 1024;
		struct mm_hash *bigger = mm_calloc(cap, sizeof *bigger, err);
		if (!bigger)
			return -1;
		for (size_t i = 0; i < c->cap_seen; i++)
			if (c->seen[i].hi || c->seen[i].lo)
				bigger[slot_of(bigger, cap, c->seen[i])] = c->seen[i];
		mm_free(c->seen);
		c->seen = bigger;
		c->cap_seen = cap;
	}
	size_t i = slot_of(c->seen, c->cap_seen, h);
	if (c->seen[i].hi || c->seen[i].lo)
		return 0;
	c->seen[i] = h;
	c->n_seen++;
	return 1;
}

/* ---- cutting ---- */

static bool is_blank(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isspace((unsigned char)s[i]))
			return false;
	return true;
}

static int add_piece(struct mm_chunks *c, const char *s, size_t len, unsigned domain, struct mm_err *err)
{
	if (len < PIECE_MIN || is_blank(s, len)) {
		c->n_short++;
		return 0;
	}
	int rc = first_time(c, mm_hash_of(s, len), err);
	if (rc < 1) {
		c->n_duplicate += rc == 0;
		return rc;
	}
	if (mm_grow(&c->chunk, &c->cap, c->n + 1, sizeof *c->chunk, err))
		return -1;
	struct mm_chunk *k = &c->chunk[c->n];
	if (!(k->text = mm_strndup(s, len, err)))
		return -1;
	k->len = len;
	k->domain = domain;
	c->n++;
	return 0;
}

int mm_chunks_cut(struct mm_chunks *c, const char *text, size_t len, const char *domain, struct mm_err *err)
{
	unsigned d;
	if (domain_index(c, domain, &d, err))
		return -1;
	for (size_t off = 0; off < len;) {
		size_t n = MM_MIN(len - off, c->piece_max ? c->piece_max : PIECE_MAX);
		if (off + n < len)
			while (n > 0 && ((unsigned char)text[off + n] & 0xC0) == 0x80)
				n--; /* not into a character */
		if (add_piece(c, text + off, n, d, err))
			return -1;
		off += n;
	}
	return 0;
}

/* ---- files ---- */

static int add_jsonl(
	struct mm_chunks *c, const char *path, const char *text, size_t len, const char *domain, struct mm_err *err)
{
	size_t line = 0;
	for (size_t off = 0; off < len;) {
		const char *end = memchr(text + off, '\n', len - off);
		size_t n = end ? (size_t)(end - (text + off)) : len - off;
		line++;
		if (!is_blank(text + off, n)) {
			json_t *o = mm_json_parse(text + off, n, path, err);
			const json_t *t = json_object_get(o, "text"), *d = json_object_get(o, "domain");
			if (!json_is_string(d))
				d = json_object_get(o, "pile_set_name");
			if (!json_is_string(d))
				d = json_object_get(json_object_get(o, "meta"), "pile_set_name");
			int rc = !o ? -1 : 0;
			if (o && !json_is_string(t))
				rc = mm_fail(err, MM_EFORMAT, "%s: line %zu: expected an object with a string \"text\"",
					path, line);
			if (!rc)
				rc = mm_chunks_cut(c, json_string_value(t), json_string_length(t),
					domain		    ? domain
					: json_is_string(d) ? json_string_value(d)
							    : "",
					err);
			json_decref(o);
			if (rc)
				return mm_wrap(err, "line %zu", line);
			c->n_line++;
		}
		off += n + 1;
	}
	return 0;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && !strcasecmp(s + n - m, end);
}

static int add_file(struct mm_chunks *c, const char *path, const char *domain, struct mm_err *err)
{
	size_t len;
	char own[256];
	char *text = mm_file_read(path, FILE_MAX, &len, err);
	int rc = 0;
	if (!text)
		return -1;
	c->n_file++;
	/* A NUL is valid UTF-8, but no text has one. */
	if (!mm_utf8_valid(text, len) || memchr(text, 0, len)) {
		c->n_binary++;
	} else if (ends_with(path, ".jsonl")) {
		rc = add_jsonl(c, path, text, len, domain, err);
	} else {
		domain_of(path, own, sizeof own);
		rc = mm_chunks_cut(c, text, len, domain ? domain : own, err);
	}
	mm_free(text);
	return rc;
}

static int visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static int add_path(struct mm_chunks *c, const char *path, const char *domain, unsigned depth, struct mm_err *err);

static int add_dir(struct mm_chunks *c, const char *path, const char *domain, unsigned depth, struct mm_err *err)
{
	struct dirent **e;
	if (depth > DEPTH_MAX)
		return mm_fail(err, MM_EINVAL, "%s: more than %d directories deep", path, DEPTH_MAX);
	int n = scandir(path, &e, visible, alphasort), rc = 0;
	if (n < 0)
		return mm_fail_errno(err, "cannot read %s", path);
	for (int i = 0; i < n; i++) {
		char *sub = rc ? NULL : mm_path_join(path, e[i]->d_name, err);
		if (!rc)
			rc = sub ? add_path(c, sub, domain, depth + 1, err) : -1;
		mm_free(sub);
		free(e[i]);
	}
	free(e);
	return rc;
}

/* Below a directory links are not followed and what is neither file nor directory is passed over. */
static int add_path(struct mm_chunks *c, const char *path, const char *domain, unsigned depth, struct mm_err *err)
{
	struct stat st;
	if (depth ? lstat(path, &st) : stat(path, &st))
		return mm_fail_errno(err, "cannot look at %s", path);
	if (S_ISDIR(st.st_mode))
		return add_dir(c, path, domain, depth, err);
	if (depth && !S_ISREG(st.st_mode))
		return 0;
	return add_file(c, path, domain, err);
}

int mm_chunks_add(struct mm_chunks *c, const char *path, const char *domain, struct mm_err *err)
{
	return add_path(c, path, domain, 0, err);
}

/* ---- sample and output ---- */

static int cmp_key(const void *a, const void *b)
{
	const struct mm_chunk *x = a, *y = b;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	size_t n = MM_MIN(x->len, y->len);
	int c = memcmp(x->text, y->text, n);
	return c ? c : (x->len > y->len) - (x->len < y->len);
}

void mm_chunks_sample(struct mm_chunks *c, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < c->n; i++) {
		struct mm_rng r;
		/* The generator mixes seed and text's hash, so that seeds 1 and 2 give unrelated samples. */
		mm_rng_init(&r, seed ^ mm_hash64(c->chunk[i].text, c->chunk[i].len));
		c->chunk[i].key = mm_rng_u64(&r);
	}
	if (c->n)
		qsort(c->chunk, c->n, sizeof *c->chunk, cmp_key);
	while (n && c->n > n)
		mm_free(c->chunk[--c->n].text);
}

int mm_chunks_write(const struct mm_chunks *c, struct mm_buf *out, struct mm_err *err)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct mm_chunk *k = &c->chunk[i];
		json_t *o = json_pack("{s:I, s:s%, s:s}", "index", (json_int_t)i, "text", k->text, k->len, "domain",
			c->domain[k->domain]);
		char *line = o ? mm_json_dump(o, err) : NULL;
		if (!o)
			mm_fail(err, MM_ENOMEM, "out of memory for a text");
		json_decref(o);
		if (!line)
			return -1;
		mm_buf_str(out, line);
		mm_buf_u8(out, '\n');
		mm_free(line);
	}
	return mm_buf_check(out, err);
}

void mm_chunks_free(struct mm_chunks *c)
{
	for (size_t i = 0; i < c->n; i++)
		mm_free(c->chunk[i].text);
	for (size_t i = 0; i < c->n_domain; i++)
		mm_free(c->domain[i]);
	mm_free(c->chunk);
	mm_free(c->domain);
	mm_free(c->seen);
	*c = (struct mm_chunks){ 0 };
}
