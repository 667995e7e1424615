/* reg_name.c - display names: how a path becomes one, how a run and a step are read from it, and which model a user
 * means.
 *
 * A name is the path relative to the watched directory. When two watched directories hold the same relative path, the
 * one that comes second gets the name of its directory in front, more of the path where that is not enough. A model
 * keeps the name that it got: others that come or go do not change it.
 */
#include "daemon/core_priv.h"

#include <ctype.h>
#include <string.h>

/* path below root, "" for the root itself; borrowed from path */
static const char *relative(const char *root, const char *path)
{
	size_t n = strlen(root);
	while (n && root[n - 1] == '/')
		n--;
	if (strncmp(root, path, n))
		return path;
	path += n;
	while (*path == '/')
		path++;
	return path;
}

/* The last `k` components of s; all of s when it has fewer. */
static const char *last_components(const char *s, unsigned k)
{
	const char *p = s + strlen(s);
	for (; k && p > s; k--)
		for (p--; p > s && p[-1] != '/'; p--)
			;
	return p;
}

char *mm_reg_make_name(
	struct mm_daemon *d, const char *root, const char *path, const struct mm_model_entry *self, struct mm_err *err)
{
	const char *rel = relative(root, path);
	unsigned depth = 1, max = 2;
	for (const char *p = rel; *p; p++)
		depth += *p == '/';
	depth = *rel ? depth : 1; /* a watched directory that is a checkpoint itself has its own name */
	for (const char *p = path; *p; p++)
		max += *p == '/';
	for (unsigned i = 0;; i++) {
		const char *tail = last_components(path, MM_MIN(depth + i, max));
		size_t n = strlen(tail);
		char *name = mm_calloc(n + 16, 1, err);
		if (!name)
			return NULL;
		mm_utf8_sanitize(name, n + 1, tail, n);
		if (depth + i > max) /* only possible when sanitising made two names one */
			snprintf(name + strlen(name), 16, "~%u", depth + i - max);
		struct mm_model_entry *other = mm_reg_by_name(d, name);
		if (!other || other == self)
			return name;
		mm_free(name);
	}
}

int mm_reg_run_step(const char *root, const char *path, char **run, int64_t *step, struct mm_err *err)
{
	static const char *const prefix[] = { "checkpoint-", "checkpoint_", "checkpoint", "global_step", "global-step",
		"step-", "step_", "step", "ckpt-", "ckpt_", "iter_", "iter-", "iteration-" };
	const char *rel = relative(root, path), *last = last_components(path, 1);
	int64_t n = -1;
	*run = NULL;
	*step = -1;
	for (size_t i = 0; i < MM_COUNT(prefix) && n < 0; i++) {
		size_t k = strlen(prefix[i]);
		const char *s = last + k;
		if (strncmp(last, prefix[i], k) || !isdigit((unsigned char)*s) || strlen(s) > 15)
			continue;
		for (n = 0; isdigit((unsigned char)*s); s++)
			n = n * 10 + (*s - '0');
		if (*s && strcmp(s, ".gguf"))
			n = -1;
	}
	if (n < 0)
		return 0;
	/* The run is the directory above: relative where it lies below the root, else the root's own name. */
	size_t len = strlen(rel) - strlen(last_components(rel, 1));
	const char *from = rel;
	if (!len) {
		from = last_components(root, 1);
		len = strlen(from);
	}
	while (len && from[len - 1] == '/')
		len--;
	char *raw = mm_strndup(from, len, err), *clean = raw ? mm_calloc(len + 1, 1, err) : NULL;
	if (clean)
		mm_utf8_sanitize(clean, len + 1, raw, len);
	mm_free(raw);
	if (!clean)
		return -1;
	*run = clean;
	*step = n;
	return 0;
}

/* ---- what a user typed ---- */

static bool contains(const char *name, const char *part)
{
	size_t n = strlen(part);
	for (; *name; name++)
		if (!strncasecmp(name, part, n))
			return true;
	return false;
}

static void list_names(char *out, size_t cap, struct mm_model_entry *const *e, size_t n)
{
	size_t at = 0;
	out[0] = 0;
	for (size_t i = 0; i < n && i < 6 && at < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? ", " : "", e[i]->rec.name);
	if (n > 6 && at < cap)
		snprintf(out + at, cap - at, " and %zu more", n - 6);
}

/* Nearest names by edit distance, best first, each named once. */
static int unknown(const struct mm_daemon *d, const char *name, struct mm_err *err)
{
	const char *names[3] = { 0 };
	size_t n_reg = mm_reg_n(d), n = 0, k = 0;
	const char **all = mm_calloc(n_reg, sizeof *all, err);
	if (!all)
		return -1;
	for (size_t i = 0; i < n_reg; i++)
		if (!mm_reg_at(d, i)->rec.gone)
			all[n++] = mm_reg_at(d, i)->rec.name;
	while (k < MM_COUNT(names)) {
		const char *best = mm_nearest(name, all, n);
		if (!best)
			break;
		names[k++] = best;
		for (size_t i = 0; i < n; i++)
			if (all[i] == best) {
				all[i] = all[--n];
				break;
			}
	}
	mm_free(all);
	if (!k)
		return mm_fail(err, MM_ENOENT, "no model is called %s; `modelmap models` lists them", name);
	return mm_fail(err, MM_ENOENT, "no model is called %s; the nearest names: %s%s%s%s%s", name, names[0],
		k > 1 ? ", " : "", k > 1 ? names[1] : "", k > 2 ? ", " : "", k > 2 ? names[2] : "");
}

struct mm_model_entry *mm_reg_resolve(const struct mm_daemon *d, const char *name, struct mm_err *err)
{
	struct mm_model_entry *e = mm_reg_by_name(d, name), **hit;
	size_t n = 0, n_reg = mm_reg_n(d);
	if (e || (name[0] == '/' && (e = mm_reg_by_path(d, name))))
		return e;
	if (!name[0]) {
		mm_fail(err, MM_EINVAL, "the model's name is empty");
		return NULL;
	}
	if (!(hit = mm_calloc(n_reg, sizeof(struct mm_model_entry *), err)))
		return NULL;
	/* History and what is gone answer only when nothing that is there does. */
	for (int gone = 0; gone < 2 && !n; gone++)
		for (size_t i = 0; i < n_reg; i++)
			if (mm_reg_at(d, i)->rec.gone == (gone == 1) && contains(mm_reg_at(d, i)->rec.name, name))
				hit[n++] = mm_reg_at(d, i);
	if (n == 1) {
		e = hit[0];
	} else if (n) {
		char list[600];
		list_names(list, sizeof list, hit, n);
		mm_fail(err, MM_EINVAL, "%s is ambiguous: %s", name, list);
	} else {
		unknown(d, name, err);
	}
	mm_free(hit);
	return e;
}
