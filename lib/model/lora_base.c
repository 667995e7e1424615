/* lora_base.c - where is the base model that an adapter names? Looked for below one directory only.
 *
 * The name may be a hub's ("org/name") or a path on the machine that trained the adapter. Nothing outside the search
 * directory is opened whatever it says: the name is only compared with what is there. Every directory with a
 * config.json and safetensors weights is a candidate; the one whose path agrees with the name in the most trailing
 * components wins, so "org/name" beats another "name". A hub cache (models--org--name/snapshots/REV) is read as
 * org/name. Two equally good ones are an error that names both: guessing would score another model.
 */
#include "model/ckpt_priv.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX   6
#define ENTRIES_MAX 200000u
#define PARTS_MAX   64

struct search {
	const char *name;
	char *best, *rival; /* rival: as good as best */
	int score;
	unsigned entries;
	struct stat self; /* the adapter's own directory */
	struct mm_err *err;
	bool failed;
};

struct part {
	const char *s;
	size_t n;
};

/* Components of a path, the last first; "." and empty ones left out. Returns how many. */
static int split(const char *path, struct part out[PARTS_MAX])
{
	int n = 0;
	const char *end = path + strlen(path);
	while (end > path && n < PARTS_MAX) {
		const char *s = end;
		while (s > path && s[-1] != '/')
			s--;
		if (end > s && !(end - s == 1 && *s == '.'))
			out[n++] = (struct part){ s, (size_t)(end - s) };
		end = s > path ? s - 1 : path;
	}
	return n;
}

/* ".../models--org--name/snapshots/REV" becomes name, org. */
static int canonical(struct part *p, int n)
{
	static const char prefix[] = "models--";
	if (n < 3 || p[1].n != 9 || memcmp(p[1].s, "snapshots", 9) || p[2].n < sizeof prefix ||
		memcmp(p[2].s, prefix, sizeof prefix - 1))
		return n;
	const char *s = p[2].s + sizeof prefix - 1, *end = p[2].s + p[2].n, *cut = NULL;
	for (const char *c = s; c + 1 < end; c++)
		if (c[0] == '-' && c[1] == '-')
			cut = c;
	if (!cut)
		p[0] = (struct part){ s, (size_t)(end - s) };
	else
		p[0] = (struct part){ cut + 2, (size_t)(end - cut - 2) };
	if (!cut)
		return 1;
	p[1] = (struct part){ s, (size_t)(cut - s) };
	return 2;
}

static int score_of(const char *name, const char *path)
{
	struct part a[PARTS_MAX], b[PARTS_MAX];
	int n_a = canonical(a, split(name, a)), n_b = canonical(b, split(path, b)), n = 0;
	while (n < n_a && n < n_b && a[n].n == b[n].n && !memcmp(a[n].s, b[n].s, a[n].n))
		n++;
	return n;
}

static void consider(struct search *s, const char *dir)
{
	int score = score_of(s->name, dir);
	if (!score || score < s->score || !mm_ckpt_has_file(dir, "config.json") ||
		!(mm_ckpt_has_file(dir, "model.safetensors") || mm_ckpt_has_file(dir, "model.safetensors.index.json")))
		return;
	char *copy = mm_strdup(dir, s->err);
	if (!copy) {
		s->failed = true;
		return;
	}
	mm_free(s->rival);
	s->rival = NULL;
	if (score == s->score) {
		s->rival = copy;
	} else {
		mm_free(s->best);
		s->best = copy;
		s->score = score;
	}
}

static void walk(struct search *s, const char *dir, int depth)
{
	DIR *d = opendir(dir);
	if (!d)
		return; /* what we may not read cannot be the base */
	for (struct dirent *e; !s->failed && (e = readdir(d)) && ++s->entries < ENTRIES_MAX;) {
		struct stat st;
		if (e->d_name[0] == '.' || (e->d_type != DT_DIR && e->d_type != DT_LNK && e->d_type != DT_UNKNOWN))
			continue;
		char *path = mm_path_join(dir, e->d_name, s->err);
		if (!path) {
			s->failed = true;
		} else if (!stat(path, &st) && S_ISDIR(st.st_mode) &&
			   !(st.st_dev == s->self.st_dev && st.st_ino == s->self.st_ino)) {
			consider(s, path);
			if (depth < DEPTH_MAX)
				walk(s, path, depth + 1);
		}
		mm_free(path);
	}
	closedir(d);
}

char *mm_lora_find_base(
	const char *name, const char *adapter_dir, const char *search_dir, struct mm_ckpt_why *why, struct mm_err *err)
{
	struct search s = { .name = name, .err = err };
	char shown[300], *root = search_dir ? mm_strdup(search_dir, err) : mm_path_join(adapter_dir, "..", err);
	mm_utf8_sanitize(shown, sizeof shown, name, strlen(name));
	if (!root || stat(adapter_dir, &s.self)) {
		mm_free(root);
		mm_fail_errno(err, "%s", adapter_dir);
		return NULL;
	}
	walk(&s, root, 1);
	if (s.failed) {
		mm_free(s.best);
		s.best = NULL;
	} else if (!s.best) {
		mm_ckpt_blame(why, "no_base", "adapter_config.json", 0, true);
		mm_fail(err, MM_ENOENT, "an adapter of \"%s\", which is not below %s: put the base model there", shown,
			root);
	} else if (s.rival) {
		mm_ckpt_blame(why, "no_base", "adapter_config.json", 0, true);
		mm_fail(err, MM_ECONFLICT, "an adapter of \"%s\", which may be %s or %s: name it by more of its path",
			shown, s.best, s.rival);
		mm_free(s.best);
		s.best = NULL;
	}
	mm_free(s.rival);
	mm_free(root);
	return s.best;
}
