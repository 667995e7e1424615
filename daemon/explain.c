/* explain.c - `modelmapd --explain FILE`: what the daemon would make of these settings and of what lies below the
 *watched directories, as one JSON document, without a daemon. It asks the very functions that the watch asks
 *(watch_name.c), so that the two cannot differ; `modelmap doctor` puts it into words together with what the running
 *daemon says.
 *
 *	{"version", "config": {"file", "error", "values": {"watch.settle": "5s", ...}, "dirs": [...]},
 *	 "cpu": {"kernels", "f32", "bf16", "bf16_fast"},
 *	 "roots": [{"path", "error", "network", "directories"}],
 *	 "dirs": [{"path", "hex", "root", "kind", "code", "why", "do"}], "left_out": N, "newest": unix seconds}
 *
 * Kinds: "candidate" (the daemon looks at it), "passed_over" (it looks like a model, but is none to the daemon),
 *"plain" (nothing of a model in it). Paths are shown as names are: what is not printable UTF-8 becomes '?',
 * and "hex" has the bytes. */
#include "daemon/config_priv.h"
#include "daemon/core_priv.h"
#include "tensor/tensor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DEPTH_MAX 40 /* as watch_scan.c */
#define LIST_MAX  20000
#define PEEK_DEEP 4 /* how far below a directory that is passed over models are looked for */
#define PEEK_MAX  2000

struct walk {
	const struct mm_config *c;
	const char *root;
	json_t *dirs;
	struct mm_index seen; /* directories by device and inode -> path */
	char **path;	      /* [n] owned */
	size_t n, cap, left_out;
	int64_t newest;
};

struct found { /* what one directory holds */
	bool has[MM_F_GGUF + 1];
	size_t n_entry, n_sub;
	char foreign[300], unfinished[300], orphan[300]; /* a file each; "": none */
	char **sub;
	size_t cap_sub;
	char **gguf; /* names that stand for a candidate */
	size_t n_gguf, cap_gguf;
};

static void set_text(json_t *o, const char *key, const char *s)
{
	char text[4200];
	mm_utf8_sanitize(text, sizeof text, s, strlen(s));
	json_object_set_new(o, key, json_string(text));
}

/* A path that cannot be shown as it is can still be asked about. */
static void set_hex(json_t *o, const char *path)
{
	struct mm_buf b = { 0 };
	for (const char *p = path; *p; p++)
		mm_buf_printf(&b, "%02x", (unsigned)(unsigned char)*p);
	json_object_set_new(o, "hex", json_string(b.data ? (const char *)b.data : ""));
	mm_buf_fini(&b);
}

static void tell(
	struct walk *w, const char *path, const char *kind, const char *code, const char *why, const char *todo)
{
	if (json_array_size(w->dirs) >= LIST_MAX) {
		w->left_out++;
		return;
	}
	json_t *o = json_object();
	set_text(o, "path", path);
	set_text(o, "root", w->root);
	set_text(o, "kind", kind);
	set_text(o, "code", code);
	set_text(o, "why", why);
	set_text(o, "do", todo);
	if (strcmp(path, json_string_value(json_object_get(o, "path"))) != 0)
		set_hex(o, path);
	json_array_append_new(w->dirs, o);
}

static bool ends(const char *s, const char *tail)
{
	size_t n = strlen(s), k = strlen(tail);
	return n > k && !strcmp(s + n - k, tail);
}

static bool is_foreign(const char *name)
{
	static const char *const tail[] = { ".pt", ".pth", ".bin", ".ckpt", ".h5", ".msgpack", ".onnx", ".npz", ".pkl",
		".ggml", ".nemo", ".mlmodel", ".distcp", ".params" };
	for (size_t i = 0; i < MM_COUNT(tail); i++)
		if (ends(name, tail[i]))
			return true;
	return false;
}

static bool is_model_file(const char *name)
{
	enum mm_fkind k = mm_watch_kind(name);
	return !mm_watch_ignored(name, false) && (k == MM_F_WEIGHTS || k == MM_F_CONFIG || k == MM_F_GGUF);
}

/* Whether a directory that is passed over has a model in it: only then is it worth a line. */
static bool holds_model(const char *path, unsigned depth, size_t *budget)
{
	char sub[4096];
	struct dirent *e;
	struct stat st;
	bool yes = false;
	DIR *d = opendir(path);
	while (d && !yes && *budget && (e = readdir(d))) {
		--*budget;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		yes = is_model_file(e->d_name);
		if (!yes && depth && (size_t)snprintf(sub, sizeof sub, "%s/%s", path, e->d_name) < sizeof sub &&
			!lstat(sub, &st) && S_ISDIR(st.st_mode))
			yes = holds_model(sub, depth - 1, budget);
	}
	if (d)
		closedir(d);
	return yes;
}

static void pass_over(struct walk *w, const char *path, const char *name, bool link)
{
	size_t budget = PEEK_MAX;
	if (!holds_model(path, PEEK_DEEP, &budget))
		return;
	if (link)
		tell(w, path, "passed_over", "link",
			"a symbolic link to a directory with a model; links are not followed",
			"set watch.follow_symlinks: true, or put the target's directory into watch.dirs, and restart");
	else if (name[0] == '.')
		tell(w, path, "passed_over", "hidden", "a hidden directory with a model in it",
			"rename it, or put this very directory into watch.dirs");
	else
		tell(w, path, "passed_over", "temporary",
			"its name is one that writers give to what is not finished, and a model lies in it",
			"rename it when it is whole");
}

static void keep(char name[300], const char *s)
{
	if (!*name)
		snprintf(name, 300, "%s", s);
}

static void add_name(char ***list, size_t *n, size_t *cap, const char *name)
{
	struct mm_err err;
	if (mm_grow(list, cap, *n + 1, sizeof **list, &err) || !((*list)[*n] = mm_strdup(name, &err)))
		return;
	++*n;
}

static void take_file(struct found *f, const char *name)
{
	enum mm_fkind k = mm_watch_kind(name);
	char first[300];
	unsigned part;
	if (mm_watch_ignored(name, false)) {
		if (name[0] != '.' && (strstr(name, ".safetensors") || strstr(name, ".gguf")))
			keep(f->unfinished, name);
		return;
	}
	if (k == MM_F_GGUF && mm_watch_gguf_first(name, first, sizeof first, &part)) {
		if (part == 1)
			add_name(&f->gguf, &f->n_gguf, &f->cap_gguf, name);
		else
			keep(f->orphan, first);
	}
	if (k == MM_F_OTHER && is_foreign(name))
		keep(f->foreign, name);
	f->has[k] = true;
}

static int list(struct walk *w, const char *path, struct found *f)
{
	char sub[4096];
	struct dirent *e;
	struct stat st;
	DIR *d = opendir(path);
	if (!d)
		return -1;
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		f->n_entry++;
		if ((size_t)snprintf(sub, sizeof sub, "%s/%s", path, e->d_name) >= sizeof sub || lstat(sub, &st))
			continue;
		bool link = S_ISLNK(st.st_mode);
		if (link && stat(sub, &st))
			continue; /* to nowhere */
		if (S_ISDIR(st.st_mode) && mm_watch_ignored(e->d_name, true)) {
			pass_over(w, sub, e->d_name, false);
		} else if (S_ISDIR(st.st_mode) && link && !w->c->watch.follow_symlinks) {
			pass_over(w, sub, e->d_name, true);
		} else if (S_ISDIR(st.st_mode)) {
			add_name(&f->sub, &f->n_sub, &f->cap_sub, sub);
		} else if (S_ISREG(st.st_mode)) {
			take_file(f, e->d_name);
			if (mm_watch_kind(e->d_name) != MM_F_OTHER)
				w->newest = MM_MAX(w->newest, (int64_t)st.st_mtim.tv_sec);
		}
	}
	closedir(d);
	return 0;
}

/* The first part of a split .gguf that is not there keeps the others from being a model. */
static bool has_first(const struct found *f, const char *first)
{
	for (size_t i = 0; i < f->n_gguf; i++)
		if (!strcmp(f->gguf[i], first))
			return true;
	return false;
}

static void judge(struct walk *w, const char *path, const struct found *f)
{
	char text[700], file[4500];
	bool cand = f->has[MM_F_WEIGHTS] || (f->has[MM_F_CONFIG] && !f->has[MM_F_GGUF]);
	if (cand)
		tell(w, path, "candidate", f->has[MM_F_WEIGHTS] ? "weights" : "config",
			f->has[MM_F_WEIGHTS] ? "it holds weights" : "it holds a config.json", "");
	for (size_t i = 0; i < f->n_gguf; i++) {
		snprintf(file, sizeof file, "%s/%s", path, f->gguf[i]);
		tell(w, file, "candidate", "gguf", "a .gguf file is a model of its own", "");
	}
	if (*f->orphan && !has_first(f, f->orphan)) {
		snprintf(text, sizeof text, "parts of a split .gguf file are here, but not its first, %s", f->orphan);
		tell(w, path, "passed_over", "first_part_missing", text, "copy the first part here too");
	} else if (cand || f->n_gguf) {
		;
	} else if (*f->unfinished) {
		snprintf(text, sizeof text, "the only weights have the name of an unfinished file: %s", f->unfinished);
		tell(w, path, "passed_over", "unfinished", text, "let the writer finish, or rename the file");
	} else if (*f->foreign) {
		snprintf(text, sizeof text, "%s is in no format that is read (safetensors, GGUF)", f->foreign);
		tell(w, path, "passed_over", "foreign_format", text,
			"convert it to safetensors with its config.json and tokenizer, or to GGUF");
	} else if (f->has[MM_F_TOKENIZER] && !f->n_sub) {
		tell(w, path, "passed_over", "only_tokenizer", "a tokenizer, but neither config.json nor weights",
			"copy config.json and the weights here too");
	} else {
		tell(w, path, "plain", f->n_entry ? f->n_sub ? "above" : "no_model" : "empty",
			!f->n_entry ? "it is empty"
			: f->n_sub  ? "no file of a model itself; directories below it are looked at"
				    : "no file of a model in it",
			"");
	}
}

static bool seen_before(struct walk *w, const char *path, const struct stat *st)
{
	struct mm_err err;
	uint64_t key[2] = { st->st_dev, st->st_ino };
	size_t at = 0;
	char text[4200];
	const char *other = mm_index_next(&w->seen, mm_hash64(key, sizeof key), &at);
	if (other) {
		snprintf(text, sizeof text, "the same directory as %.3900s, by a link or a mount", other);
		tell(w, path, "passed_over", "alias", text, "");
		return true;
	}
	if (mm_grow(&w->path, &w->cap, w->n + 1, sizeof *w->path, &err) || !(w->path[w->n] = mm_strdup(path, &err)))
		return false;
	w->n++;
	return mm_index_put(&w->seen, mm_hash64(key, sizeof key), w->path[w->n - 1], &err) != 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void look(struct walk *w, const char *path, unsigned depth)
{
	struct found f = { 0 };
	struct stat st;
	char text[300];
	if (stat(path, &st) || seen_before(w, path, &st))
		return;
	if (depth > DEPTH_MAX) {
		tell(w, path, "passed_over", "too_deep", "it lies too many directories below the watched one",
			"watch a directory nearer to it");
	} else if (list(w, path, &f)) {
		snprintf(text, sizeof text, "it cannot be listed: %s", strerrordesc_np(errno));
		tell(w, path, "passed_over", "unreadable", text,
			"give the daemon's user the rights to read it (r and x for directories), or run doctor as that "
			"user");
	} else {
		judge(w, path, &f);
		if (f.n_sub)
			qsort(f.sub, f.n_sub, sizeof *f.sub, by_name);
		for (size_t i = 0; i < f.n_sub; i++)
			look(w, f.sub[i], depth + 1);
	}
	for (size_t i = 0; i < f.n_sub; i++)
		mm_free(f.sub[i]);
	for (size_t i = 0; i < f.n_gguf; i++)
		mm_free(f.gguf[i]);
	mm_free(f.sub);
	mm_free(f.gguf);
}

static json_t *roots(struct walk *w)
{
	json_t *list_out = json_array();
	for (size_t i = 0; i < w->c->watch.n_dirs; i++) {
		json_t *o = json_object();
		struct stat st;
		struct statfs fs;
		size_t before = w->n;
		w->root = w->c->watch.dirs[i];
		set_text(o, "path", w->root);
		if (stat(w->root, &st))
			json_object_set_new(o, "error", json_string(strerrordesc_np(errno)));
		else if (!S_ISDIR(st.st_mode))
			json_object_set_new(o, "error", json_string("it is no directory"));
		else
			look(w, w->root, 0);
		json_object_set_new(
			o, "network", json_boolean(!statfs(w->root, &fs) && mm_watch_network_fs((long)fs.f_type)));
		json_object_set_new(o, "directories", json_integer((json_int_t)(w->n - before)));
		json_array_append_new(list_out, o);
	}
	return list_out;
}

static json_t *values(const struct mm_config *c)
{
	json_t *o = json_object();
	char key[64];
	for (size_t i = 0; i < mm_n_keys; i++) {
		struct mm_buf b = { 0 };
		if (mm_keys[i].type == MM_K_PATHS)
			continue;
		snprintf(
			key, sizeof key, "%s%s%s", mm_keys[i].section, *mm_keys[i].section ? "." : "", mm_keys[i].name);
		mm_key_text(c, &mm_keys[i], &b);
		set_text(o, key, b.data ? (const char *)b.data : "");
		mm_buf_fini(&b);
	}
	return o;
}

static json_t *cpu(void)
{
	bool bf16 = mm_lin_can(MM_BF16);
	return json_pack("{s:s, s:s, s:s?, s:b, s:s?}", "kernels", mm_ops_isa(), "f32", mm_lin_kernel(MM_F32), "bf16",
		bf16 ? mm_lin_kernel(MM_BF16) : NULL, "bf16_fast", bf16 && mm_lin_bf16_fast(), "openblas",
		mm_blas_coretype());
}

int mm_explain(const char *config, FILE *out, struct mm_err *err)
{
	struct mm_config c = { 0 };
	struct mm_err why = { 0 };
	struct walk w = { .c = &c, .dirs = json_array() };
	json_t *conf = json_object(), *o = json_object();
	set_text(conf, "file", config);
	set_text(o, "version", MM_VERSION);
	json_object_set_new(o, "cpu", cpu());
	if (mm_config_load(&c, config, &why)) {
		set_text(conf, "error", why.text);
	} else {
		json_object_set_new(conf, "values", values(&c));
		json_object_set_new(o, "roots", roots(&w));
		mm_config_free(&c);
	}
	json_object_set_new(o, "config", conf);
	json_object_set_new(o, "dirs", w.dirs);
	json_object_set_new(o, "left_out", json_integer((json_int_t)w.left_out));
	json_object_set_new(o, "newest", json_integer(w.newest));
	char *text = mm_json_dump(o, err);
	int rc = !text						 ? -1
		 : fprintf(out, "%s\n", text) < 0 || fflush(out) ? mm_fail(err, MM_EIO, "cannot write the output")
								 : 0;
	mm_free(text);
	json_decref(o);
	for (size_t i = 0; i < w.n; i++)
		mm_free(w.path[i]);
	mm_free(w.path);
	mm_index_fini(&w.seen);
	return rc;
}
