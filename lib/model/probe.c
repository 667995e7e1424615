/* probe.c - is this checkpoint whole, and what is it? Answers in JSON; runs in a child of the daemon.
 *
 * The questions in order; the first "no" is the answer:
 *
 *	config.json (metadata) is there and parses          waiting: no_config, bad_config
 *	the architecture is one we know                     failed: unsupported
 *	weights are there, every shard, every header fits   waiting: no_weights, missing_shard, truncated, empty_blocks
 *	every weight of the architecture, right shape       failed: shape
 *	no part of a file is set aside and unwritten        waiting: empty_blocks
 *	a tokenizer is there and can be read                waiting: no_tokenizer, bad_tokenizer
 *
 * What may still come from somebody who writes is waiting, what only other files can cure is failed: struct mm_ckpt_why
 *says which. Files that others may cut short at any time are read with pread, never mapped. The files that count are
 *listed with the identity they had before they were read, so that a change in between shows.
 */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the files that count ---- */

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), k = strlen(tail);
	return n >= k && !strcmp(s + n - k, tail);
}

/* Names that writers give to what is not finished. */
static bool is_temporary(const char *name)
{
	static const char *const tail[] = { ".tmp", ".part", ".partial", ".incomplete", ".crdownload", ".aria2",
		".download", ".lock", "~", ".swp" };
	for (size_t i = 0; i < MM_COUNT(tail); i++)
		if (ends_with(name, tail[i]))
			return true;
	return name[0] == '.' || strstr(name, ".tmp-") || strstr(name, ".tmp.");
}

static bool is_counted(const char *name, bool tokenizer_only)
{
	static const char *const exact[] = { "config.json", "adapter_config.json" };
	static const char *const tail[] = { ".safetensors", ".safetensors.index.json" };
	if (is_temporary(name))
		return false;
	for (size_t i = 0; !tokenizer_only && i < MM_COUNT(exact); i++)
		if (!strcmp(name, exact[i]))
			return true;
	for (size_t i = 0; !tokenizer_only && i < MM_COUNT(tail); i++)
		if (ends_with(name, tail[i]))
			return true;
	return mm_tokenizer_counts(name);
}

static int put_file(json_t *files, const char *name, const char *path, struct mm_err *err)
{
	struct stat st;
	if (stat(path, &st)) {
		memset(&st, 0, sizeof st); /* a dangling link counts: it may be filled later */
	}
	json_t *o = json_pack("{s:s, s:I, s:I, s:I}", "name", name, "bytes", (json_int_t)st.st_size, "mtime_ns",
		(json_int_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, "ino", (json_int_t)st.st_ino);
	return !o || json_array_append_new(files, o) ? mm_fail(err, MM_ENOMEM, "out of memory") : 0;
}

/* Files of `dir` that count, or only those of the tokenizer. `prefix` goes in front of the names. */
static int put_dir(json_t *files, const char *dir, const char *prefix, bool tokenizer, struct mm_err *err)
{
	int rc = 0;
	DIR *d = opendir(dir);
	if (!d)
		return mm_fail_errno(err, "cannot list %s", dir);
	for (struct dirent *e; !rc && (e = readdir(d));) {
		if (!mm_utf8_valid(e->d_name, strlen(e->d_name)) || !is_counted(e->d_name, tokenizer))
			continue;
		char *path = mm_path_join(dir, e->d_name, err), *name = mm_asprintf(err, "%s%s", prefix, e->d_name);
		rc = path && name ? put_file(files, name, path, err) : -1;
		mm_free(path);
		mm_free(name);
	}
	closedir(d);
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(json_string_value(json_object_get(*(json_t *const *)a, "name")),
		json_string_value(json_object_get(*(json_t *const *)b, "name")));
}

static json_t *sorted(json_t *files, struct mm_err *err)
{
	size_t n = json_array_size(files);
	json_t *out = json_array(), **v = mm_calloc(n, sizeof *v, err);
	for (size_t i = 0; v && i < n; i++)
		v[i] = json_array_get(files, i);
	if (v && n)
		qsort(v, n, sizeof *v, by_name);
	for (size_t i = 0; v && i < n; i++)
		json_array_append(out, v[i]);
	mm_free(v);
	return out;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* A file, and the later parts of a split one as far as they are there. */
static int put_parts(json_t *files, const char *path, struct mm_err *err)
{
	const char *name = base_name(path);
	int no, count, rc = put_file(files, name, path, err), stem = mm_gguf_split_name(name, &no, &count);
	for (int i = 2; !rc && stem >= 0 && i <= count; i++) {
		char *part = mm_asprintf(err, "%.*s-%05d-of-%05d.gguf", (int)(name - path) + stem, path, i, count);
		rc = part ? 0 : -1;
		if (part && !access(part, F_OK) && i != no)
			rc = put_file(files, base_name(part), part, err);
		mm_free(part);
	}
	return rc;
}

/* Before anything is opened: what is here, and what the run's directory above it lends. */
static json_t *list_files(const char *path, bool is_dir, const char *search_dir, struct mm_err *err)
{
	json_t *files = json_array();
	int rc = 0;
	if (!is_dir) {
		rc = put_parts(files, path, err);
	} else if (!(rc = put_dir(files, path, "", false, err))) {
		struct mm_err none = { 0 };
		char *dir = mm_tokenizer_dir(path, search_dir, NULL, &none);
		if (dir && strcmp(dir, path)) { /* mm_tokenizer_dir appends "/.." for each level */
			const char *up = dir + strlen(path) + (path[strlen(path) - 1] != '/');
			char *prefix = mm_asprintf(err, "%s/", up);
			rc = prefix ? put_dir(files, dir, prefix, true, err) : -1;
			mm_free(prefix);
		}
		mm_free(dir);
	}
	if (!rc) {
		json_t *s = sorted(files, err);
		json_decref(files);
		return s;
	}
	json_decref(files);
	return NULL;
}

/* ---- the answer ---- */

struct probe {
	const char *path, *search_dir;
	bool is_dir;
	struct mm_ckpt *ck;
	struct mm_ckpt_why why;
	struct mm_err said; /* why not */
	json_t *meta;
	enum mm_probe_state state;
};

/* A question answered with no. */
static void stop(struct probe *p, const char *code, const char *file, bool may_pass)
{
	mm_ckpt_blame(&p->why, code, file, 0, may_pass);
	p->state = p->why.may_pass ? MM_PROBE_WAITING : MM_PROBE_FAILED;
}

static const char *config_name(const struct probe *p)
{
	return p->is_dir ? "config.json" : base_name(p->path);
}

/* Where a tensor that is missing should be. */
static const char *weights_name(const struct mm_ckpt *ck)
{
	return ck->n_file == 1			    ? ck->file[0].name
	       : ck->lora			    ? "adapter_model.safetensors"
	       : ck->container == MM_CONTAINER_GGUF ? ck->file[0].name
						    : "model.safetensors.index.json";
}

/* The code of a failed check against the family's tables. */
static const char *code_of(const struct mm_err *err)
{
	return err->code == MM_ESHAPE ? "shape" : err->code == MM_EUNSUPPORTED ? "unsupported" : "bad_config";
}

static void set(json_t *o, const char *key, json_t *v)
{
	if (v)
		json_object_set_new(o, key, v);
}

/* Element type of most weights, and how many there are; buffers that some writers save do not count. */
static void put_sizes(struct probe *p)
{
	uint64_t by_type[MM_DTYPE_COUNT] = { 0 }, n = 0;
	int most = 0;
	for (size_t i = 0; i < p->ck->n_tensor; i++) {
		const struct mm_tensor *t = &p->ck->tensor[i];
		if (!mm_dtypes[t->dtype].is_float || ends_with(t->name, "inv_freq") ||
			ends_with(t->name, "masked_bias") || strstr(t->name, ".lora_"))
			continue;
		by_type[t->dtype] += t->n_elem;
		n += t->n_elem;
	}
	for (int d = 1; d < MM_DTYPE_COUNT; d++)
		if (by_type[d] > by_type[most])
			most = d;
	set(p->meta, "params", json_integer((json_int_t)n));
	set(p->meta, "bytes", json_integer((json_int_t)mm_ckpt_bytes(p->ck)));
	set(p->meta, "dtype", json_string(mm_dtypes[most].name));
	set(p->meta, "container", json_string(p->ck->container == MM_CONTAINER_GGUF ? "gguf" : "safetensors"));
}

/* Family and architecture from a config alone. -1: we do not know it. */
static int put_family(struct probe *p, const json_t *config)
{
	const char *arch = NULL;
	const struct mm_family *fam = mm_family_of(config, &arch, &p->said);
	if (!fam)
		return -1;
	set(p->meta, "family", json_string(fam->name));
	if (arch)
		set(p->meta, "architecture", json_string(arch));
	/* the card is written by people, the config's entry by whatever loaded the model last */
	char *card = p->is_dir ? mm_claim_readme(p->path, &p->said) : NULL;
	const char *base = card ? card : json_string_value(json_object_get(config, "_name_or_path"));
	if (base && base[0])
		set(p->meta, "base_claimed", json_string(base));
	mm_free(card);
	return 0;
}

static int put_hparams(struct probe *p)
{
	struct mm_hp hp = { 0 };
	const char *arch;
	const struct mm_family *fam = mm_family_of(p->ck->config, &arch, &p->said);
	int rc = fam ? mm_hp_read(&hp, fam, p->ck->config, p->ck, &p->said) : -1;
	if (!rc) {
		set(p->meta, "context", json_integer((json_int_t)hp.n_ctx));
		set(p->meta, "vocab", json_integer((json_int_t)hp.n_vocab));
	}
	mm_hp_fini(&hp);
	return rc;
}

/* aria2 fills a file of full length in pieces and keeps NAME.aria2 beside it until it is done. */
static bool is_downloading(const struct mm_ckpt *ck, size_t *file)
{
	struct mm_err none = { 0 };
	for (*file = 0; *file < ck->n_file; ++*file) {
		char *control = mm_asprintf(&none, "%s.aria2", ck->file[*file].path);
		bool yes = control && !access(control, F_OK);
		mm_free(control);
		if (yes)
			return true;
	}
	return false;
}

static void check_tokenizer(struct probe *p)
{
	struct mm_tok *tok = mm_tok_of(p->ck, &p->said);
	const char *file = p->is_dir ? "tokenizer.json" : base_name(p->path);
	if (!tok && p->said.code == MM_ENOENT)
		stop(p, "no_tokenizer", file, p->is_dir);
	else if (!tok && p->said.code == MM_EUNSUPPORTED)
		stop(p, "unsupported", file, false);
	else if (!tok) /* half written? */
		stop(p, "bad_tokenizer", file, p->is_dir);
	mm_tok_close(tok);
}

/* -1: the probe itself failed (p->said). */
static int check_config(struct probe *p)
{
	bool is_adapter = mm_ckpt_has_file(p->path, "adapter_config.json") && !mm_ckpt_has_file(p->path, "config.json");
	if (!p->is_dir || is_adapter)
		return 0; /* the config comes with the container */
	json_t *config = mm_ckpt_json(p->path, "config.json", 16u << 20, &p->why, "bad_config", &p->said);
	if (!config || put_family(p, config))
		stop(p, "unsupported", "config.json", false);
	json_decref(config);
	return 0;
}

static void check_weights(struct probe *p)
{
	size_t file;
	p->ck = mm_ckpt_open_ex(p->path, p->search_dir, MM_CKPT_NOMAP, &p->why, &p->said);
	if (!p->ck) {
		stop(p, "bad_weights", "", false);
		return;
	}
	put_sizes(p);
	if (p->ck->lora)
		set(p->meta, "base_claimed", json_string(p->ck->lora->base_name));
	if (is_downloading(p->ck, &file)) {
		mm_fail(&p->said, MM_ETRUNC, "%s is being downloaded by aria2", p->ck->file[file].name);
		stop(p, "truncated", p->ck->file[file].name, true);
	} else if (put_family(p, p->ck->config) || put_hparams(p) || mm_model_check(p->ck, &p->said)) {
		stop(p, code_of(&p->said), p->said.code == MM_ESHAPE ? weights_name(p->ck) : config_name(p), false);
	} else {
		switch (mm_unwritten_find(p->ck, &p->why, &p->said)) {
		case 0:
			break;
		default:
			stop(p, "empty_blocks", "", true); /* found, or became unreadable meanwhile */
		}
	}
}

/* An adapter's result changes with its base. */
static int put_base(const struct mm_ckpt *ck, json_t *files, struct mm_err *err)
{
	char *config = mm_path_join(ck->lora->base_dir, "config.json", err);
	int rc = config ? put_file(files, config, config, err) : -1;
	size_t n = strlen(ck->lora->base_dir);
	for (size_t i = 0; !rc && i < ck->n_file; i++)
		if (!strncmp(ck->file[i].path, ck->lora->base_dir, n) && ck->file[i].path[n] == '/')
			rc = put_file(files, ck->file[i].path, ck->file[i].path, err);
	mm_free(config);
	return rc;
}

static json_t *answer(struct probe *p, json_t *files, struct mm_err *err)
{
	static const char *const name[] = { "ready", "waiting", "failed" };
	struct mm_hash quick;
	char hex[MM_HASH_HEX];
	if (p->ck && p->ck->lora && put_base(p->ck, files, err))
		return NULL;
	json_t *o = json_pack("{s:s, s:O, s:O}", "state", name[p->state], "files", files, "meta", p->meta);
	if (o && p->state == MM_PROBE_READY) {
		if (mm_fingerprint_quick(p->ck, &quick, err)) {
			json_decref(o);
			return NULL;
		}
		mm_hash_hex(quick, hex);
		set(o, "quick", json_string(hex));
	} else if (o) {
		json_t *r =
			json_pack("{s:s, s:s, s:s}", "code", p->why.code, "file", p->why.file, "text", p->said.text);
		if (p->why.missing)
			set(r, "missing_bytes", json_integer((json_int_t)p->why.missing));
		set(o, "reason", r);
	}
	if (!o)
		mm_fail(err, MM_ENOMEM, "out of memory");
	return o;
}

json_t *mm_probe(const char *path, const char *search_dir, struct mm_err *err)
{
	struct probe p = { .path = path, .search_dir = search_dir };
	struct stat st;
	json_t *files = NULL, *out = NULL;
	if (stat(path, &st)) {
		mm_fail_errno(err, "%s", path);
		return NULL;
	}
	p.is_dir = S_ISDIR(st.st_mode);
	if (!(p.meta = json_object()) || !(files = list_files(path, p.is_dir, search_dir, err)))
		goto out;
	if (check_config(&p))
		goto out;
	if (p.state == MM_PROBE_READY)
		check_weights(&p);
	if (p.state == MM_PROBE_READY)
		check_tokenizer(&p);
	if (p.state != MM_PROBE_READY && p.said.code == MM_ENOMEM)
		*err = p.said; /* says nothing about the checkpoint */
	else
		out = answer(&p, files, err);
out:
	mm_ckpt_close(p.ck);
	json_decref(p.meta);
	json_decref(files);
	return out;
}
