/* The watch thread of one directory: what it tells about candidates, under inotify and polling. Messages are awaited,
 * never slept for; the state that the messages add up to is compared with what lies on the disk. */
#include "daemon/core_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_S 30

/* ---- what the thread has told so far ---- */

struct known {
	char *path;
	bool there;
	unsigned touches, gones;
	bool writing;
	struct mm_hash files;
};
static struct {
	pthread_mutex_t lock;
	pthread_cond_t news;
	struct known k[4096];
	size_t n;
	unsigned scanned, logs, messages;
	char last_log[1024];
} w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, { { 0 } }, 0, 0, 0, 0, "" };
static char dir[64];

static struct known *known(const char *path)
{
	for (size_t i = 0; i < w.n; i++)
		if (!strcmp(w.k[i].path, path))
			return &w.k[i];
	if (w.n == MM_COUNT(w.k))
		abort();
	w.k[w.n] = (struct known){ .path = strdup(path) };
	return &w.k[w.n++];
}

static void sink(void *ctx, struct mm_wmsg *m)
{
	(void)ctx;
	pthread_mutex_lock(&w.lock);
	w.messages++;
	struct known *k = m->path ? known(m->path) : NULL;
	switch (m->type) {
	case MM_W_TOUCH:
		k->there = true;
		k->touches++;
		k->files = m->files;
		break;
	case MM_W_GONE:
		k->there = false;
		k->gones++;
		k->writing = false;
		break;
	case MM_W_WRITING:
		k->writing = true;
		break;
	case MM_W_CLOSED:
		k->writing = false;
		break;
	case MM_W_SCANNED:
		w.scanned++;
		break;
	case MM_W_LOG:
		w.logs++;
		snprintf(w.last_log, sizeof w.last_log, "%s", m->text);
		break;
	}
	mm_free(m->path);
	mm_free(m->text);
	pthread_cond_broadcast(&w.news);
	pthread_mutex_unlock(&w.lock);
}

/* Waits until `cond` holds, with the lock held inside of it. */
#define AWAIT(cond)                                                                                                    \
	do {                                                                                                           \
		struct timespec t_;                                                                                    \
		bool ok_;                                                                                              \
		int rc_ = 0;                                                                                           \
		clock_gettime(CLOCK_REALTIME, &t_);                                                                    \
		t_.tv_sec += DEADLINE_S;                                                                               \
		pthread_mutex_lock(&w.lock);                                                                           \
		while (!(ok_ = (cond)) && rc_ != ETIMEDOUT)                                                            \
			rc_ = pthread_cond_timedwait(&w.news, &w.lock, &t_);                                           \
		pthread_mutex_unlock(&w.lock);                                                                         \
		if (!ok_)                                                                                              \
			fail_msg("not seen in %d s: %s", DEADLINE_S, #cond);                                           \
	} while (0)

static const char *at(const char *fmt, ...) MM_PRINTF(1, 2);
static const char *at(const char *fmt, ...)
{
	static char ring[8][4096];
	static unsigned next;
	char rel[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(rel, sizeof rel, fmt, ap);
	va_end(ap);
	char *out = ring[next++ % 8];
	snprintf(out, sizeof ring[0], "%s/%s", dir, rel);
	return out;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void make(const char *path)
{
	struct mm_err err;
	if (mm_mkdirs(path, 0755, &err))
		fail_msg("%s", err.text);
}

static void checkpoint(const char *path)
{
	char f[4200];
	make(path);
	snprintf(f, sizeof f, "%s/config.json", path);
	put(f, "{}");
	snprintf(f, sizeof f, "%s/model.safetensors", path);
	put(f, path);
}

static bool there(const char *path)
{
	return known(path)->there;
}

static int rm_one(const char *p, const struct stat *st, int flag, struct FTW *f)
{
	(void)st, (void)flag, (void)f;
	return remove(p);
}

static void rm_tree(const char *p)
{
	nftw(p, rm_one, 32, FTW_DEPTH | FTW_PHYS);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/mm-watch-XXXXXX");
	for (size_t i = 0; i < w.n; i++)
		free(w.k[i].path);
	w.n = 0;
	w.scanned = w.logs = w.messages = 0;
	return !mkdtemp(dir);
}

static int teardown(void **state)
{
	(void)state;
	rm_tree(dir);
	return 0;
}

static struct mm_wroot *start(enum mm_watch_mode mode, bool links, long max)
{
	struct mm_err err;
	struct mm_wroot_opts o = { .mode = mode, .poll_interval = 0.05, .follow_symlinks = links, .max_watches = max };
	struct mm_wroot *r = mm_wroot_start(dir, &o, sink, NULL, &err);
	if (!r)
		fail_msg("%s", err.text);
	AWAIT(w.scanned == 1);
	return r;
}

static void stop(struct mm_wroot *r)
{
	assert_true(mm_wroot_stop(r, 20));
}

/* ---- names ---- */

static void names(void **state)
{
	static const struct {
		const char *name;
		enum mm_fkind kind;
	} kind[] = { { "config.json", MM_F_CONFIG }, { "model.safetensors", MM_F_WEIGHTS },
		{ "model-00001-of-00002.safetensors", MM_F_WEIGHTS }, { "model.safetensors.index.json", MM_F_WEIGHTS },
		{ "adapter_config.json", MM_F_WEIGHTS }, { "pytorch_model.bin", MM_F_WEIGHTS },
		{ "tokenizer.json", MM_F_TOKENIZER }, { "tokenizer.model", MM_F_TOKENIZER },
		{ "vocab.txt", MM_F_TOKENIZER }, { "a.gguf", MM_F_GGUF }, { "trainer_state.json", MM_F_OTHER },
		{ "README.md", MM_F_OTHER }, { "training_args.bin", MM_F_OTHER }, { "train.txt", MM_F_OTHER } };
	static const struct {
		const char *name;
		bool dir, ignored;
	} ign[] = { { ".git", true, true }, { ".cache", true, true }, { "x.tmp", false, true },
		{ "model.safetensors.part", false, true }, { "a.incomplete", false, true }, { "a~", false, true },
		{ "tmp-checkpoint-500", true, true }, { "checkpoint-500", true, false },
		{ "model.safetensors", false, false }, { "template", true, false }, { "a.tmp-1234", false, true } };
	static const struct {
		const char *name, *first;
		unsigned part;
	} gguf[] = { { "m.gguf", "m.gguf", 1 }, { "m-00001-of-00003.gguf", "m-00001-of-00003.gguf", 1 },
		{ "m-00003-of-00003.gguf", "m-00001-of-00003.gguf", 3 },
		{ "m-0003-of-00003.gguf", "m-0003-of-00003.gguf", 1 },
		{ "-00002-of-00003.gguf", "-00002-of-00003.gguf", 1 } };
	(void)state;
	for (size_t i = 0; i < MM_COUNT(kind); i++)
		if (mm_watch_kind(kind[i].name) != kind[i].kind)
			fail_msg("%s: kind %d", kind[i].name, (int)mm_watch_kind(kind[i].name));
	for (size_t i = 0; i < MM_COUNT(ign); i++)
		if (mm_watch_ignored(ign[i].name, ign[i].dir) != ign[i].ignored)
			fail_msg("%s: ignored %d", ign[i].name, !ign[i].ignored);
	for (size_t i = 0; i < MM_COUNT(gguf); i++) {
		char out[64];
		unsigned part;
		assert_true(mm_watch_gguf_first(gguf[i].name, out, sizeof out, &part));
		assert_string_equal(out, gguf[i].first);
		assert_int_equal(part, gguf[i].part);
	}
	assert_true(mm_watch_network_fs(0x6969));
	assert_true(mm_watch_network_fs(0x65735546));
	assert_false(mm_watch_network_fs(0x794c7630)); /* overlay */
	assert_false(mm_watch_network_fs(0xEF53));     /* ext4 */
}

/* ---- what is there at the start, what comes, what goes ---- */

static void life(enum mm_watch_mode mode)
{
	checkpoint(at("old"));
	make(at("only-tokenizer"));
	put(at("only-tokenizer/tokenizer.json"), "{}");
	struct mm_wroot *r = start(mode, false, 0);
	AWAIT(there(at("old")));
	assert_int_equal(mm_wroot_modes(r), mode == MM_WATCH_POLL ? 2 : 1);

	checkpoint(at("run/checkpoint-100"));
	AWAIT(there(at("run/checkpoint-100")));
	put(at("x.gguf"), "GGUF");
	AWAIT(there(at("x.gguf")));
	put(at("s-00002-of-00002.gguf"), "GGUF");
	put(at("s-00001-of-00002.gguf"), "GGUF");
	AWAIT(there(at("s-00001-of-00002.gguf")));

	/* Later parts, tokenizers of the run, files of the same length: all of them are changes. */
	unsigned n = known(at("s-00001-of-00002.gguf"))->touches;
	put(at("s-00002-of-00002.gguf"), "longer");
	AWAIT(known(at("s-00001-of-00002.gguf"))->touches > n);
	n = known(at("run/checkpoint-100"))->touches;
	put(at("run/tokenizer.json"), "{}");
	AWAIT(known(at("run/checkpoint-100"))->touches > n);
	n = known(at("old"))->touches;
	put(at("old/model.safetensors"), "other");
	AWAIT(known(at("old"))->touches > n);
	assert_false(there(at("run"))); /* a tokenizer alone is no candidate */
	assert_false(there(at("only-tokenizer")));

	/* A directory beside .gguf files is none, whatever describes them. */
	make(at("g"));
	put(at("g/a.gguf"), "GGUF");
	AWAIT(there(at("g/a.gguf")));
	put(at("g/config.json"), "{}");
	checkpoint(at("later")); /* once this is seen, the one before was looked at */
	AWAIT(there(at("later")));
	assert_false(there(at("g")));

	/* Renamed into place and away, removed. */
	checkpoint(at(".incoming/new"));
	assert_int_equal(rename(at(".incoming/new"), at("new")), 0);
	AWAIT(there(at("new")));
	assert_int_equal(rename(at("new"), at("newer")), 0);
	AWAIT(there(at("newer")) && !there(at("new")));
	assert_int_equal(rename(at("run"), at("run2")), 0);
	AWAIT(there(at("run2/checkpoint-100")) && !there(at("run/checkpoint-100")));
	rm_tree(at("old"));
	AWAIT(!there(at("old")));
	unlink(at("x.gguf"));
	AWAIT(!there(at("x.gguf")));
	unlink(at("s-00001-of-00002.gguf"));
	AWAIT(!there(at("s-00001-of-00002.gguf")));
	assert_false(there(at(".incoming/new")));
	stop(r);
}

static void life_inotify(void **state)
{
	(void)state;
	life(MM_WATCH_INOTIFY);
}

static void life_poll(void **state)
{
	(void)state;
	life(MM_WATCH_POLL);
}

/* The same files give the same digest, whichever way they were found; another mtime another one. */
static void digest(void **state)
{
	struct timespec t[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	(void)state;
	checkpoint(at("a"));
	struct mm_wroot *r = start(MM_WATCH_INOTIFY, false, 0);
	struct mm_hash h = known(at("a"))->files;
	stop(r);
	w.scanned = 0;
	known(at("a"))->there = false;
	r = start(MM_WATCH_POLL, false, 0);
	AWAIT(there(at("a")));
	assert_true(mm_hash_eq(h, known(at("a"))->files));
	assert_int_equal(rename(at("a"), at("b")), 0);
	AWAIT(there(at("b")));
	assert_true(mm_hash_eq(h, known(at("b"))->files)); /* the name of the directory is not in it */
	assert_int_equal(utimensat(AT_FDCWD, at("b/config.json"), t, 0), 0);
	AWAIT(!mm_hash_eq(h, known(at("b"))->files));
	stop(r);
}

/* Directories that are made as fast as possible, deep ones, moved ones: none may be missed. */
static void race(enum mm_watch_mode mode)
{
	enum { N = 300 };
	struct mm_wroot *r = start(mode, false, 0);
	for (int i = 0; i < N; i++) {
		char p[4200];
		snprintf(p, sizeof p, "%s/d%d/e/f%d", dir, i % 7, i);
		checkpoint(p);
		if (i % 5 == 0) {
			char q[4200];
			snprintf(q, sizeof q, "%s/m%d", dir, i);
			assert_int_equal(rename(p, q), 0);
		} else if (i % 11 == 3) {
			rm_tree(p);
		}
	}
	for (int i = 0; i < N; i++) {
		const char *p = at("d%d/e/f%d", i % 7, i), *q = at("m%d", i);
		if (i % 5 == 0)
			AWAIT(there(q) && !there(p));
		else if (i % 11 == 3)
			AWAIT(!there(p));
		else
			AWAIT(there(p));
	}
	stop(r);
}

static void race_inotify(void **state)
{
	(void)state;
	race(MM_WATCH_INOTIFY);
}

static void race_poll(void **state)
{
	(void)state;
	race(MM_WATCH_POLL);
}

static void *make_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200; i++) {
		char p[4200];
		snprintf(p, sizeof p, "%s/t%d/u", dir, i);
		checkpoint(p);
	}
	return NULL;
}

/* Made while the first scan is under way. */
static void race_with_scan(void **state)
{
	pthread_t t;
	(void)state;
	assert_int_equal(pthread_create(&t, NULL, make_many, NULL), 0);
	struct mm_wroot *r = start(MM_WATCH_INOTIFY, false, 0);
	pthread_join(t, NULL);
	for (int i = 0; i < 200; i++)
		AWAIT(there(at("t%d/u", i)));
	stop(r);
}

/* ---- trouble ---- */

static void root_comes_and_goes(enum mm_watch_mode mode)
{
	char away[80];
	snprintf(away, sizeof away, "%s-away", dir);
	checkpoint(at("a"));
	struct mm_wroot *r = start(mode, false, 0);
	AWAIT(there(at("a")));
	assert_int_equal(rename(dir, away), 0);
	AWAIT(!there(at("a")));
	assert_int_equal(rename(away, dir), 0);
	AWAIT(there(at("a")));
	rm_tree(dir);
	AWAIT(!there(at("a")));
	make(dir);
	checkpoint(at("b"));
	AWAIT(there(at("b")));
	stop(r);
}

static void root_inotify(void **state)
{
	(void)state;
	root_comes_and_goes(MM_WATCH_INOTIFY);
}

static void root_poll(void **state)
{
	(void)state;
	root_comes_and_goes(MM_WATCH_POLL);
}

static void root_missing(void **state)
{
	(void)state;
	rm_tree(dir);
	struct mm_wroot *r = start(MM_WATCH_AUTO, false, 0);
	AWAIT(w.logs > 0 && strstr(w.last_log, "cannot watch"));
	make(dir);
	checkpoint(at("a"));
	AWAIT(there(at("a")));
	stop(r);
}

/* No watches left: what has none is polled, and that is said once. */
static void no_watches(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++)
		checkpoint(at("p%d", i));
	struct mm_wroot *r = start(MM_WATCH_INOTIFY, false, 4);
	AWAIT(mm_wroot_modes(r) == 3);
	assert_int_equal(w.logs, 1);
	assert_non_null(strstr(w.last_log, "max_user_watches"));
	for (int i = 0; i < 8; i++) {
		unsigned n = known(at("p%d", i))->touches;
		put(at("p%d/model.safetensors", i), "changed");
		AWAIT(known(at("p%d", i))->touches > n);
	}
	checkpoint(at("q/r"));
	AWAIT(there(at("q/r")));
	rm_tree(at("p7"));
	AWAIT(!there(at("p7")));
	assert_int_equal(w.logs, 1);
	stop(r);
}

/* Lost events: the rescan finds all, and nothing twice when nothing changed. */
static void rescan(void **state)
{
	(void)state;
	checkpoint(at("a"));
	struct mm_wroot *r = start(MM_WATCH_INOTIFY, false, 0);
	AWAIT(there(at("a")));
	unsigned n = known(at("a"))->touches;
	mm_wroot_rescan(r);
	checkpoint(at("b"));
	AWAIT(there(at("b")));
	mm_wroot_rescan(r);
	checkpoint(at("c"));
	AWAIT(there(at("c")));
	assert_int_equal(known(at("a"))->touches, n);
	stop(r);
}

static void links(void **state)
{
	char out[80];
	(void)state;
	snprintf(out, sizeof out, "%s-out", dir);
	char p[100];
	snprintf(p, sizeof p, "%s/model", out);
	checkpoint(p);
	checkpoint(at("real"));
	assert_int_equal(symlink(out, at("link")), 0);
	assert_int_equal(symlink(at("real"), at("alias")), 0);
	assert_int_equal(symlink(dir, at("loop")), 0);
	assert_int_equal(symlink("..", at("real/up")), 0);
	/* Weights that are links to files, as in the Hugging Face cache. */
	make(at("snap"));
	put(at("blob"), "weights");
	assert_int_equal(symlink("../blob", at("snap/model.safetensors")), 0);
	struct mm_wroot *r = start(MM_WATCH_INOTIFY, false, 0);
	AWAIT(there(at("real")) && there(at("snap")));
	assert_false(there(at("link/model")));
	stop(r);
	w.scanned = 0;
	r = start(MM_WATCH_INOTIFY, true, 0);
	AWAIT(there(at("link/model")));
	snprintf(p, sizeof p, "%s/model2", out);
	checkpoint(p);
	AWAIT(there(at("link/model2")));
	assert_false(there(at("alias"))); /* the same directory under its own name */
	assert_false(there(at("loop/real")));
	unlink(at("link"));
	AWAIT(!there(at("link/model")));
	stop(r);
	rm_tree(out);
}

/* A file that was written to and not closed has a writer, through write and through a mapping's truncate too. */
static void writers(void **state)
{
	(void)state;
	checkpoint(at("a"));
	struct mm_wroot *r = start(MM_WATCH_INOTIFY, false, 0);
	AWAIT(there(at("a")));
	int fd = open(at("a/model.safetensors"), O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "x", 1), 1);
	AWAIT(known(at("a"))->writing);
	int fd2 = open(at("a/config.json"), O_WRONLY | O_APPEND);
	assert_int_equal(write(fd2, "x", 1), 1);
	unsigned n = known(at("a"))->touches;
	close(fd2);
	AWAIT(known(at("a"))->touches > n);
	assert_true(known(at("a"))->writing); /* the other one is still open */
	close(fd);
	AWAIT(!known(at("a"))->writing);
	put(at("g.gguf"), "GGUF");
	AWAIT(there(at("g.gguf")));
	fd = open(at("g.gguf"), O_RDWR);
	assert_int_equal(ftruncate(fd, 100000), 0);
	AWAIT(known(at("g.gguf"))->writing);
	close(fd);
	AWAIT(!known(at("g.gguf"))->writing);
	stop(r);
}

/* Odd names do no harm. */
static void odd_names(void **state)
{
	char deep[4200];
	(void)state;
	struct mm_wroot *r = start(MM_WATCH_INOTIFY, false, 0);
	checkpoint(at("a b\nc\xff%%s"));
	AWAIT(there(at("a b\nc\xff%%s")));
	snprintf(deep, sizeof deep, "%s", dir);
	for (int i = 0; i < 60; i++)
		strcat(deep, "/d");
	checkpoint(deep);
	AWAIT(w.logs > 0 && strstr(w.last_log, "too deep"));
	make(at("fifo"));
	assert_int_equal(mkfifo(at("fifo/model.safetensors"), 0600), 0);
	make(at("dir-for-file/model.safetensors"));
	checkpoint(at("last"));
	AWAIT(there(at("last")));
	assert_false(there(at("fifo")));
	assert_false(there(at("dir-for-file")));
	stop(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(names), T(life_inotify), T(life_poll), T(digest), T(race_inotify),
		T(race_poll), T(race_with_scan), T(root_inotify), T(root_poll), T(root_missing), T(no_watches),
		T(rescan), T(links), T(writers), T(odd_names) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
