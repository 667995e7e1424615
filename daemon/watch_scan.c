/* watch_scan.c - lists a directory, compares it with the snapshot before and tells which candidates differ.
 *
 * A directory is a candidate when it holds weights (or their index, or an adapter's config), or a config.json and no
 * .gguf file (beside .gguf files a config.json is only their description). A .gguf file is a candidate of its own, a
 * split one under the name of its first part.
 *
 * The digest of a candidate is the sum of the hashes of its files, so that it does not depend on their order; tokenizer
 * files of the directory above are in it, because a checkpoint in a run may use them. ctime is compared too but is not
 * in the digest: chmod makes us look, not read everything again.
 */
#include "daemon/core_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DEPTH_MAX 40

struct listing {
	struct mm_wfile *file;
	size_t n_file, cap_file;
	struct sub {
		char *name;
		uint64_t d_ino;
		bool link, known;
	} * sub;
	size_t n_sub, cap_sub;
};

static int by_name(const void *a, const void *b)
{
	const struct mm_wfile *x = a, *y = b;
	return strcmp(x->name, y->name);
}

static int sub_by_name(const void *a, const void *b)
{
	const struct sub *x = a, *y = b;
	return strcmp(x->name, y->name);
}

static struct mm_wfile *find(struct mm_wfile *f, size_t n, const char *name)
{
	struct mm_wfile key = { .name = (char *)(uintptr_t)name };
	return n ? bsearch(&key, f, n, sizeof *f, by_name) : NULL;
}

static int64_t ns_of(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void listing_fini(struct listing *l)
{
	for (size_t i = 0; i < l->n_file; i++)
		mm_free(l->file[i].name);
	for (size_t i = 0; i < l->n_sub; i++)
		mm_free(l->sub[i].name);
	mm_free(l->file);
	mm_free(l->sub);
}

static int add_sub(struct listing *l, const struct dirent *e, bool link)
{
	struct mm_err err;
	if (mm_grow(&l->sub, &l->cap_sub, l->n_sub + 1, sizeof *l->sub, &err))
		return -1;
	struct sub *s = &l->sub[l->n_sub];
	*s = (struct sub){ .d_ino = e->d_ino, .link = link };
	if (!(s->name = mm_strdup(e->d_name, &err)))
		return -1;
	l->n_sub++;
	return 0;
}

static int add_file(struct listing *l, const char *name, const struct stat *st)
{
	struct mm_err err;
	if (mm_grow(&l->file, &l->cap_file, l->n_file + 1, sizeof *l->file, &err))
		return -1;
	struct mm_wfile *f = &l->file[l->n_file];
	*f = (struct mm_wfile){ .kind = mm_watch_kind(name),
		.ino = st->st_ino,
		.size = st->st_size,
		.mtime_ns = ns_of(st->st_mtim),
		.ctime_ns = ns_of(st->st_ctim) };
	if (!(f->name = mm_strdup(name, &err)))
		return -1;
	l->n_file++;
	return 0;
}

/* One entry of the directory `fd`. -1: out of memory. */
static int take_entry(
	const struct mm_wroot *r, const struct mm_wnode *n, int fd, const struct dirent *e, struct listing *l)
{
	struct stat st;
	unsigned char type = e->d_type;
	if (e->d_name[0] == '.')
		return 0;
	if (type == DT_REG && mm_watch_kind(e->d_name) == MM_F_OTHER)
		return 0; /* by far most of the files of a big tree: no stat */
	if (type == DT_DIR)
		return mm_watch_ignored(e->d_name, true) ? 0 : add_sub(l, e, false);
	if (type != DT_REG && type != DT_LNK && type != DT_UNKNOWN)
		return 0;
	bool link = type == DT_LNK;
	if (type == DT_UNKNOWN) {
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			return 0;
		link = S_ISLNK(st.st_mode);
	}
	if (fstatat(fd, e->d_name, &st, 0))
		return 0; /* gone meanwhile, or a link to nowhere */
	if (S_ISDIR(st.st_mode)) {
		if (mm_watch_ignored(e->d_name, true) || (link && !r->opts.follow_symlinks))
			return 0;
		return add_sub(l, e, link);
	}
	if (!S_ISREG(st.st_mode) || mm_watch_ignored(e->d_name, false) || mm_watch_kind(e->d_name) == MM_F_OTHER)
		return 0;
	if (n->net)
		st.st_ino = 0;
	return add_file(l, e->d_name, &st);
}

/* 0; -1 with errno: cannot be listed */
static int list(struct mm_wroot *r, const struct mm_wnode *n, struct listing *l)
{
	struct stat st;
	struct dirent *e;
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK | (n->link || !n->parent ? 0 : O_NOFOLLOW);
	int fd = open(n->path, flags);
	if (fd < 0)
		return -1;
	DIR *dir = NULL;
	int rc = fstat(fd, &st);
	if (!rc && !n->net && (st.st_dev != n->dev || st.st_ino != n->ino)) {
		errno = ENOENT; /* another one under this name */
		rc = -1;
	}
	if (rc || !(dir = fdopendir(fd))) {
		int saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	while (errno = 0, (e = readdir(dir)) && !atomic_load(&r->stop))
		if (take_entry(r, n, fd, e, l)) {
			errno = ENOMEM;
			break;
		}
	int saved = errno;
	closedir(dir);
	if (l->n_file)
		qsort(l->file, l->n_file, sizeof *l->file, by_name);
	if (l->n_sub)
		qsort(l->sub, l->n_sub, sizeof *l->sub, sub_by_name);
	errno = saved;
	return saved ? -1 : 0;
}

/* ---- candidates ---- */

static struct mm_hash hash_file(const struct mm_wfile *f)
{
	struct mm_buf b = { 0 };
	mm_buf_u64(&b, (uint64_t)f->size);
	mm_buf_u64(&b, (uint64_t)f->mtime_ns);
	mm_buf_u64(&b, f->ino);
	mm_buf_str(&b, f->name);
	struct mm_hash h = mm_hash_of(b.data, b.len);
	mm_buf_fini(&b);
	return h;
}

static void sum(struct mm_hash *to, struct mm_hash h)
{
	to->hi += h.hi;
	to->lo += h.lo;
}

static bool is_candidate(const struct mm_wfile *f, size_t n)
{
	bool has[MM_F_GGUF + 1] = { 0 };
	for (size_t i = 0; i < n; i++)
		has[f[i].kind] = true;
	return has[MM_F_WEIGHTS] || (has[MM_F_CONFIG] && !has[MM_F_GGUF]);
}

static void touch_dir(struct mm_wroot *r, const struct mm_wnode *n)
{
	struct mm_wmsg m = { 0 };
	for (size_t i = 0; i < n->n_file; i++) {
		if (n->file[i].kind == MM_F_GGUF)
			continue;
		sum(&m.files, hash_file(&n->file[i]));
		m.newest_ns = MM_MAX(m.newest_ns, MM_MAX(n->file[i].mtime_ns, n->file[i].ctime_ns));
	}
	for (size_t i = 0; n->parent && i < n->parent->n_file; i++)
		if (n->parent->file[i].kind == MM_F_TOKENIZER)
			sum(&m.files, hash_file(&n->parent->file[i]));
	mm_wroot_emit(r, MM_W_TOUCH, n->path, NULL, &m);
}

static bool join(char *out, size_t cap, const struct mm_wnode *n, const char *name)
{
	const char *dir = strcmp(n->path, "/") ? n->path : "";
	return (size_t)snprintf(out, cap, "%s/%s", dir, name) < cap;
}

/* The file that stands for the .gguf candidate `name` belongs to: its first part, when it is there. */
static struct mm_wfile *group_of(const struct mm_wnode *n, const char *name)
{
	char first[300];
	unsigned part;
	return mm_watch_gguf_first(name, first, sizeof first, &part) ? find(n->file, n->n_file, first) : NULL;
}

static void touch_ggufs(struct mm_wroot *r, const struct mm_wnode *n, const struct listing *old, bool all)
{
	char path[4096];
	for (size_t i = 0; i < n->n_file; i++) {
		struct mm_wfile *f = &n->file[i], *g = f->kind == MM_F_GGUF ? group_of(n, f->name) : NULL;
		if (!g)
			continue;
		g->group_changed |= f->changed || all;
		g->group_newest = MM_MAX(g->group_newest, MM_MAX(f->mtime_ns, f->ctime_ns));
		sum(&g->group_sum, hash_file(f));
	}
	for (size_t i = 0; i < old->n_file; i++) {
		const struct mm_wfile *f = &old->file[i];
		if (f->kind != MM_F_GGUF || find(n->file, n->n_file, f->name))
			continue;
		char first[300];
		unsigned part;
		struct mm_wfile *g = group_of(n, f->name);
		if (g)
			g->group_changed = true;
		else if (mm_watch_gguf_first(f->name, first, sizeof first, &part) && part == 1 &&
			 join(path, sizeof path, n, f->name))
			mm_wroot_emit(r, MM_W_GONE, path, NULL, NULL);
	}
	for (size_t i = 0; i < n->n_file; i++) {
		const struct mm_wfile *f = &n->file[i];
		if (f->group_changed && join(path, sizeof path, n, f->name))
			mm_wroot_emit(r, MM_W_TOUCH, path, NULL,
				&(struct mm_wmsg){ .newest_ns = f->group_newest, .files = f->group_sum });
	}
}

bool mm_wscan_candidate(const struct mm_wnode *n, const char *file, char *out, size_t cap)
{
	if (mm_watch_kind(file) == MM_F_GGUF) {
		const struct mm_wfile *g = group_of(n, file);
		return g && join(out, cap, n, g->name);
	}
	return n->cand && (size_t)snprintf(out, cap, "%s", n->path) < cap;
}

/* Puts the new listing in the place of the snapshot and tells what differs. */
static void compare(struct mm_wroot *r, struct mm_wnode *n, struct listing *l)
{
	bool touched = false, tokens = false, was = n->cand;
	for (size_t i = 0; i < l->n_file; i++) {
		struct mm_wfile *f = &l->file[i];
		const struct mm_wfile *o = find(n->file, n->n_file, f->name);
		f->changed = !o || o->size != f->size || o->mtime_ns != f->mtime_ns || o->ctime_ns != f->ctime_ns ||
			     o->ino != f->ino || mm_wnames_has(&n->forced, f->name);
		touched |= f->changed && f->kind != MM_F_GGUF;
		tokens |= f->changed && f->kind == MM_F_TOKENIZER;
	}
	for (size_t i = 0; i < n->n_file; i++)
		if (!find(l->file, l->n_file, n->file[i].name)) {
			touched |= n->file[i].kind != MM_F_GGUF;
			tokens |= n->file[i].kind == MM_F_TOKENIZER;
		}
	mm_wnames_clear(&n->forced);
	struct listing old = { .file = n->file, .n_file = n->n_file };
	n->file = l->file;
	n->n_file = l->n_file;
	l->file = NULL;
	l->n_file = 0;
	n->cand = is_candidate(n->file, n->n_file);
	if (n->cand && (touched || !was))
		touch_dir(r, n);
	else if (was && !n->cand)
		mm_wroot_emit(r, MM_W_GONE, n->path, NULL, NULL);
	touch_ggufs(r, n, &old, false);
	listing_fini(&old);
	for (const struct mm_wnode *c = tokens ? n->child : NULL; c; c = c->sibling)
		if (c->cand)
			touch_dir(r, c);
}

/* ---- directories below ---- */

static struct mm_wnode *by_ino(const struct mm_wroot *r, uint64_t dev, uint64_t ino)
{
	struct mm_wnode *n = r->by_ino[ino % MM_WTABLE];
	while (n && (n->dev != dev || n->ino != ino))
		n = n->next_ino;
	return n;
}

/* Whether a directory that we know under another name stays there: then this name is an alias (link or bind mount), and
 * following both would score everything twice. Else it was moved, and the old name is taken out. */
static bool is_alias(struct mm_wroot *r, const struct mm_wnode *parent, const struct stat *st, bool link)
{
	struct stat now;
	struct mm_wnode *o = by_ino(r, st->st_dev, st->st_ino);
	if (!o || (o->net && !link))
		return false;
	for (const struct mm_wnode *a = parent; a; a = a->parent)
		if (a == o)
			return true; /* a loop */
	bool there = !(o->link ? stat(o->path, &now) : lstat(o->path, &now)) && now.st_dev == st->st_dev &&
		     now.st_ino == st->st_ino;
	if (there && (link || !o->link))
		return true;
	mm_wnode_remove(r, o); /* moved, or the real name of what was found through a link */
	return false;
}

static bool on_network(const char *path)
{
	struct statfs fs;
	return !statfs(path, &fs) && mm_watch_network_fs((long)fs.f_type);
}

static struct mm_wnode *add_node(
	struct mm_wroot *r, struct mm_wnode *parent, const char *path, const struct stat *st, bool link)
{
	struct mm_err err;
	struct mm_wnode *n = mm_calloc(1, sizeof *n, &err);
	if (!n || !(n->path = mm_strdup(path, &err))) {
		mm_free(n);
		atomic_store(&r->rescan, true);
		return NULL;
	}
	n->wd = -1;
	n->parent = parent;
	n->depth = parent ? parent->depth + 1 : 0;
	n->link = link || (parent && parent->link);
	n->dev = st->st_dev;
	n->ino = st->st_ino;
	n->net = !parent || st->st_dev != parent->dev ? on_network(path) : parent->net;
	n->poll = r->opts.mode == MM_WATCH_POLL || r->ino_fd < 0 || (parent && parent->poll) ||
		  (n->net && r->opts.mode == MM_WATCH_AUTO);
	n->next_ino = r->by_ino[n->ino % MM_WTABLE];
	r->by_ino[n->ino % MM_WTABLE] = n;
	n->back = parent ? &parent->child : &r->top;
	n->sibling = *n->back;
	if (n->sibling)
		n->sibling->back = &n->sibling;
	*n->back = n;
	if (!n->poll)
		mm_winotify_add(r, n); /* before it is listed */
	return n;
}

/* Marks the children that the listing still has and removes the others; marks the entries that have a child. */
static void match_subs(struct mm_wroot *r, struct mm_wnode *n, struct listing *l)
{
	for (struct mm_wnode *c = n->child, *next; c; c = next) {
		struct sub key = { .name = (char *)(uintptr_t)mm_wnode_name(c) }, *s = NULL;
		next = c->sibling;
		if (l->n_sub)
			s = bsearch(&key, l->sub, l->n_sub, sizeof *s, sub_by_name);
		c->seen = s && (c->net || c->d_ino == s->d_ino) && !mm_wnode_blind(c);
		if (c->seen)
			s->known = true;
		else
			mm_wnode_remove(r, c);
	}
}

static void add_sub_node(struct mm_wroot *r, struct mm_wnode *n, const struct sub *s)
{
	char path[4096];
	struct stat st;
	struct mm_wnode *c;
	bool link = s->link || n->link;
	if (n->depth >= DEPTH_MAX || !join(path, sizeof path, n, s->name)) {
		mm_wroot_log(r, MM_LOG_WARN, "%s/%s lies too deep, it is not watched", n->path, s->name);
		return;
	}
	if ((s->link ? stat(path, &st) : lstat(path, &st)) || !S_ISDIR(st.st_mode) || is_alias(r, n, &st, link) ||
		!(c = add_node(r, n, path, &st, s->link)))
		return;
	c->d_ino = s->d_ino;
	if (!mm_wscan_dir(r, c, true))
		mm_wnode_remove(r, c);
}

static void scan_subs(struct mm_wroot *r, struct mm_wnode *n, struct listing *l, bool deep)
{
	match_subs(r, n, l);
	/* New ones first. Adding one may remove others anywhere (a moved directory gives up its old name), so from here
	 * on no pointer to a child is kept over a scan. */
	for (size_t i = 0; i < l->n_sub && !atomic_load(&r->stop); i++)
		if (!l->sub[i].known)
			add_sub_node(r, n, &l->sub[i]);
	for (struct mm_wnode *c = deep ? n->child : NULL; c && !atomic_load(&r->stop);) {
		if (!c->seen) { /* new: has just been scanned */
			c = c->sibling;
			continue;
		}
		unsigned long removed = r->n_removed;
		struct mm_wnode *next = c->sibling;
		c->seen = false;
		bool there = mm_wscan_dir(r, c, true), same = removed == r->n_removed;
		if (!there)
			mm_wnode_remove(r, c);
		c = same ? next : n->child;
	}
}

static bool cannot_list(struct mm_wroot *r, struct mm_wnode *n, int why)
{
	if (why == ENOENT || why == ENOTDIR || why == ELOOP)
		return false;
	if (!n->unreadable)
		mm_wroot_log(r, MM_LOG_WARN, "cannot list %s: %s", n->path, strerrordesc_np(why));
	n->unreadable = true;
	/* What was known of it is kept: an error of the file system is no deletion. The probe says what it sees. */
	if (n->cand)
		touch_dir(r, n);
	return true;
}

bool mm_wscan_dir(struct mm_wroot *r, struct mm_wnode *n, bool deep)
{
	struct listing l = { 0 };
	if (atomic_load(&r->stop))
		return true;
	if (list(r, n, &l)) {
		int why = errno;
		listing_fini(&l);
		if (why == ENOMEM)
			atomic_store(&r->rescan, true);
		return cannot_list(r, n, why);
	}
	if (!atomic_load(&r->stop)) {
		n->unreadable = false;
		compare(r, n, &l);
		scan_subs(r, n, &l, deep);
	}
	listing_fini(&l);
	return true;
}

struct mm_wnode *mm_wscan_top(struct mm_wroot *r)
{
	struct stat st;
	if (stat(r->path, &st))
		return NULL;
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return NULL;
	}
	struct mm_wnode *n = add_node(r, NULL, r->path, &st, false);
	if (n && !mm_wscan_dir(r, n, true)) {
		mm_wnode_remove(r, n);
		errno = ENOENT;
		return NULL;
	}
	return n;
}
