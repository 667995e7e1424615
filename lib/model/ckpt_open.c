/* ckpt_open.c - what is this path? A directory with adapter_config.json and no weights of its own is an adapter, any
 * other directory is config.json with safetensors, a file is GGUF. Pickled checkpoints are never opened, since reading
 * a pickle runs what is in it; the message says how to convert them.
 */
#include "model/ckpt_priv.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_MAX (16u << 20)

/* Python's json module writes NaN, Infinity and -Infinity, which are no JSON: null, 1e308 and -1e308 take their place.
 */
static int plain_numbers(const char *s, size_t n, struct mm_buf *out, struct mm_err *err)
{
	static const struct {
		const char *from, *to;
	} word[] = { { "NaN", "null" }, { "Infinity", "1e308" } };
	bool in = false;
	for (size_t i = 0; i < n; i++) {
		size_t w = MM_COUNT(word);
		for (w = 0; !in && w < MM_COUNT(word); w++)
			if (n - i >= strlen(word[w].from) && !memcmp(s + i, word[w].from, strlen(word[w].from)))
				break;
		if (!in && w < MM_COUNT(word)) {
			mm_buf_str(out, word[w].to);
			i += strlen(word[w].from) - 1;
			continue;
		}
		if (in && s[i] == '\\' && i + 1 < n)
			mm_buf_u8(out, (uint8_t)s[i++]);
		else if (s[i] == '"')
			in = !in;
		mm_buf_u8(out, (uint8_t)s[i]);
	}
	return mm_buf_check(out, err);
}

json_t *mm_ckpt_json(
	const char *dir, const char *name, size_t max, struct mm_ckpt_why *why, const char *code, struct mm_err *err)
{
	struct stat st;
	struct mm_buf plain = { 0 };
	json_t *j = NULL;
	char *text = NULL, *path = mm_path_join(dir, name, err);
	char absent[24];
	int fd = -1;
	if (!path)
		return NULL;
	snprintf(absent, sizeof absent, "no_%s",
		!strncmp(code, "bad_", 4) ? code + 4 : code); /* bad_config: no_config */
	if ((fd = mm_ckpt_open_file(path, name, absent, &st, why, err)) < 0)
		goto out;
	if ((uint64_t)st.st_size > max) {
		mm_ckpt_blame(why, code, name, 0, false);
		mm_fail(err, MM_EFORMAT, "%s: %lld bytes, more than %zu", name, (long long)st.st_size, max);
		goto out;
	}
	size_t n = (size_t)st.st_size;
	if (!(text = mm_calloc(n + 1, 1, err)) || mm_pread_full(fd, text, n, 0, name, err) ||
		plain_numbers(text, n, &plain, err)) {
		mm_ckpt_blame(why, code, name, 0, true);
		goto out;
	}
	if (!(j = mm_json_parse(plain.data ? (const char *)plain.data : "", plain.len, name, err))) {
		mm_ckpt_blame(why, code, name, 0, true); /* half written? */
	} else if (!json_is_object(j)) {
		mm_ckpt_blame(why, code, name, 0, false);
		mm_fail(err, MM_EFORMAT, "%s: not a JSON object", name);
		json_decref(j);
		j = NULL;
	}
out:
	if (fd >= 0)
		close(fd);
	mm_buf_fini(&plain);
	mm_free(text);
	mm_free(path);
	return j;
}

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), k = strlen(tail);
	return n >= k && !strcmp(s + n - k, tail);
}

static bool is_pickle(const char *name)
{
	static const char *const tail[] = { ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin.index.json" };
	for (size_t i = 0; i < MM_COUNT(tail); i++)
		if (ends_with(name, tail[i]) && strcmp(name, "training_args.bin"))
			return true;
	return false;
}

static int refuse_pickle(const char *name, struct mm_ckpt_why *why, struct mm_err *err)
{
	mm_ckpt_blame(why, "unsupported", name, 0, false);
	return mm_fail(err, MM_EUNSUPPORTED,
		"%s is a pickled PyTorch file, which is never opened since that would run code in it; convert it where "
		"you "
		"trust it: python3 -c \"import sys,transformers as t; "
		"t.AutoModelForCausalLM.from_pretrained(sys.argv[1],torch_dtype='auto').save_pretrained(sys.argv[2],"
		"safe_serialization=True)\" OLD_DIR NEW_DIR (adapters: peft's save_pretrained)",
		name);
}

/* No safetensors in the directory: what is there instead? */
static int explain_absence(const char *dir, struct mm_ckpt_why *why, struct mm_err *err)
{
	DIR *d = opendir(dir);
	char pickle[256] = "", gguf[256] = "", shard[256] = "";
	if (!d)
		return mm_fail_errno(err, "cannot list %s", dir);
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		if (is_pickle(e->d_name))
			snprintf(pickle, sizeof pickle, "%s", e->d_name);
		else if (ends_with(e->d_name, ".gguf"))
			snprintf(gguf, sizeof gguf, "%s", e->d_name);
		else if (ends_with(e->d_name, ".safetensors"))
			snprintf(shard, sizeof shard, "%s", e->d_name);
	}
	closedir(d);
	if (shard[0]) {
		mm_ckpt_blame(why, "no_weights", "model.safetensors.index.json", 0, true);
		return mm_fail(err, MM_ENOENT,
			"no weights: %s is here, but neither model.safetensors nor model.safetensors.index.json",
			shard);
	}
	if (pickle[0])
		return refuse_pickle(pickle, why, err);
	mm_ckpt_blame(why, "no_weights", "model.safetensors", 0, true);
	return mm_fail(err, MM_ENOENT,
		"no weights: neither model.safetensors nor model.safetensors.index.json is here%s%s",
		gguf[0] ? "; a GGUF file is a checkpoint of its own, give " : "", gguf);
}

static int open_adapter(struct mm_ckpt *ck, struct mm_ckpt_why *why, struct mm_err *err)
{
	if (!mm_ckpt_has_file(ck->path, "adapter_model.safetensors")) {
		if (mm_ckpt_has_file(ck->path, "adapter_model.bin"))
			return refuse_pickle("adapter_model.bin", why, err);
		mm_ckpt_blame(why, "no_weights", "adapter_model.safetensors", 0, true);
		return mm_fail(err, MM_ENOENT, "no weights: adapter_model.safetensors is not here");
	}
	return mm_lora_read(ck, ck->path, why, err);
}

static int open_dir(struct mm_ckpt *ck, struct mm_ckpt_why *why, struct mm_err *err)
{
	bool weights = mm_ckpt_has_file(ck->path, "model.safetensors") ||
		       mm_ckpt_has_file(ck->path, "model.safetensors.index.json");
	ck->container = MM_CONTAINER_SAFETENSORS;
	if (!weights && mm_ckpt_has_file(ck->path, "adapter_config.json"))
		return open_adapter(ck, why, err);
	if (!(ck->dir = mm_strdup(ck->path, err)) ||
		!(ck->config = mm_ckpt_json(ck->dir, "config.json", CONFIG_MAX, why, "bad_config", err)))
		return -1;
	if (!weights)
		return explain_absence(ck->dir, why, err);
	if (mm_shards_read(ck, "model", why, err))
		return -1;
	if (mm_fp8_attach(ck, err)) {
		mm_ckpt_blame(why, err->code == MM_ESHAPE ? "shape" : "unsupported", "config.json", 0, false);
		return -1;
	}
	return 0;
}

static int open_file(struct mm_ckpt *ck, struct mm_ckpt_why *why, struct mm_err *err)
{
	const char *base = strrchr(ck->path, '/');
	base = base ? base + 1 : ck->path;
	if (is_pickle(base))
		return refuse_pickle(base, why, err);
	if (ends_with(base, ".safetensors") || ends_with(base, ".json")) {
		mm_ckpt_blame(why, "unsupported", base, 0, false);
		return mm_fail(err, MM_EINVAL, "%s is a part of a checkpoint: give its directory", base);
	}
	ck->container = MM_CONTAINER_GGUF;
	ck->dir = base == ck->path ? mm_strdup(".", err)
				   : mm_strndup(ck->path, (size_t)MM_MAX(base - ck->path - 1, 1), err);
	return ck->dir ? mm_gguf_read(ck, base, why, err) : -1;
}

struct mm_ckpt *mm_ckpt_open_ex(
	const char *path, const char *search_dir, unsigned flags, struct mm_ckpt_why *why, struct mm_err *err)
{
	struct stat st;
	struct mm_ckpt *ck = mm_calloc(1, sizeof *ck, err);
	int rc = -1;
	if (!ck)
		return NULL;
	ck->flags = flags;
	if (!(ck->path = mm_strdup(path, err)) || (search_dir && !(ck->search_dir = mm_strdup(search_dir, err))) ||
		!(ck->arena = mm_arena_new(1 << 16, err)))
		goto out;
	if (stat(path, &st)) {
		mm_ckpt_blame_errno(why, "", "gone");
		mm_fail_errno(err, "%s", path);
	} else if (S_ISDIR(st.st_mode)) {
		rc = open_dir(ck, why, err);
	} else if (S_ISREG(st.st_mode)) {
		rc = open_file(ck, why, err);
	} else {
		mm_ckpt_blame(why, "not_regular", "", 0, false);
		mm_fail(err, MM_EINVAL, "%s: neither a directory nor a regular file", path);
	}
out:
	if (!rc)
		return ck;
	mm_ckpt_close(ck);
	return NULL;
}

struct mm_ckpt *mm_ckpt_open(const char *path, const char *search_dir, struct mm_err *err)
{
	struct mm_ckpt_why why = { 0 };
	return mm_ckpt_open_ex(path, search_dir, 0, &why, err);
}
