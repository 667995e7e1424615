/* core_kit.h - a daemon of the rooms from watch to scorer, with a store in a fresh directory and a fake modelmap-score.
 *
 * The fake is the test program itself: called with --probe or --stream it plays the scorer (fake_main). A fake
 * checkpoint is a directory with config.json, tokenizer.json (here or above) and model.safetensors, which begins with
 * "SIZE n\n" and is complete with n bytes. What goes wrong is written into the file `behave` beside them: "probe:X" and
 * "stream:X" lines. Every call is logged in ROOT/.log, so that tests can count them.
 */
#ifndef TESTS_CORE_KIT_H
#define TESTS_CORE_KIT_H

#include "daemon/core_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define KIT_TEXTS      6
#define KIT_DEADLINE_S 30.0

/* Not linked here: what the daemon proper has. */
__attribute__((weak)) void mm_service_ready(struct mm_daemon *d)
{
	(void)d;
}
__attribute__((weak)) void mm_service_status(struct mm_daemon *d)
{
	(void)d;
}

/* ---- the fake scorer ---- */

static inline char *fake_read(const char *dir, const char *name, size_t *len)
{
	struct mm_err err;
	char path[4300];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return mm_file_read(path, 1 << 20, len, &err);
}

/* The value of "key:" in `behave`, "" when there is none. */
static inline const char *fake_behave(const char *dir, const char *key)
{
	static char out[64];
	size_t n;
	char *text = fake_read(dir, "behave", &n), *at = text ? strstr(text, key) : NULL;
	out[0] = 0;
	if (at)
		sscanf(at + strlen(key), "%63[^\n]", out);
	mm_free(text);
	return out;
}

static inline void fake_log(const char *root, const char *what, const char *path)
{
	char name[4200], line[4300];
	snprintf(name, sizeof name, "%s/.log", root);
	int n = snprintf(line, sizeof line, "%s %s\n", what, path + strlen(root) + (path[strlen(root)] == '/'));
	int fd = open(name, O_CREAT | O_WRONLY | O_APPEND, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		_exit(9);
	close(fd);
}

static inline bool fake_exists(const char *dir, const char *name)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return !access(path, F_OK);
}

struct fake_id {
	struct mm_hash quick, full;
	long want, have; /* bytes of the weights; have -1: no file */
	bool config, tokenizer;
};

static inline struct fake_id fake_identify(const char *dir)
{
	struct fake_id id = { .have = -1 };
	struct mm_buf b = { 0 };
	size_t n;
	char above[4200], *s = fake_read(dir, "config.json", &n);
	id.config = s != NULL;
	if (s)
		mm_buf_put(&b, s, n);
	mm_free(s);
	snprintf(above, sizeof above, "%s/..", dir);
	if (!(s = fake_read(dir, "tokenizer.json", &n)))
		s = fake_read(above, "tokenizer.json", &n);
	id.tokenizer = s != NULL;
	if (s)
		mm_buf_put(&b, s, n);
	mm_free(s);
	if ((s = fake_read(dir, "model.safetensors", &n))) {
		id.have = (long)n;
		if (sscanf(s, "SIZE %ld", &id.want) != 1)
			id.want = -1;
		mm_buf_put(&b, s, MM_MIN(n, (size_t)40)); /* the quick fingerprint sees the beginning */
		id.quick = mm_hash_of(b.data, b.len);
		mm_buf_put(&b, s, n);
		id.full = mm_hash_of(b.data, b.len);
	}
	mm_free(s);
	mm_buf_fini(&b);
	return id;
}

static inline json_t *fake_hex(struct mm_hash h)
{
	char hex[MM_HASH_HEX];
	mm_hash_hex(h, hex);
	return json_string(hex);
}

static inline int fake_probe(const char *path, const char *root, bool full)
{
	static const char *const file[] = { "config.json", "model.safetensors", "tokenizer.json" };
	const char *how = fake_behave(path, "probe:");
	struct mm_err err;
	struct stat st;
	fake_log(root, full ? "full" : "probe", path);
	if (!strcmp(how, "hang"))
		pause();
	if (!strcmp(how, "crash"))
		signal(SIGSEGV, SIG_DFL), raise(SIGSEGV);
	if (!strcmp(how, "garbage"))
		return puts("{\"state\": \"ready\", \"quick\": 7}") < 0;
	struct fake_id id = fake_identify(path);
	json_t *o = json_object(), *files = json_array();
	const char *code = NULL, *name = NULL;
	long missing = 0;
	if (!id.config)
		code = "no_config", name = "config.json";
	else if (id.have < 0)
		code = "no_weights";
	else if (id.have != id.want)
		code = "truncated", name = "model.safetensors", missing = id.want - id.have;
	else if (!id.tokenizer)
		code = "no_tokenizer";
	bool failed = !code && !strncmp(how, "failed", 6);
	if (failed)
		code = "unsupported", name = "config.json";
	json_object_set_new(o, "state", json_string(failed ? "failed" : code ? "waiting" : "ready"));
	if (code)
		json_object_set_new(o, "reason",
			json_pack("{s:s, s:s*, s:i, s:s}", "code", code, "file", name, "missing_bytes", (int)missing,
				"text", code));
	for (size_t i = 0; i < MM_COUNT(file); i++) {
		char p[4200];
		snprintf(p, sizeof p, "%s/%s", path, file[i]);
		if (!stat(p, &st))
			json_array_append_new(files,
				json_pack("{s:s, s:I, s:I, s:I}", "name", file[i], "bytes", (json_int_t)st.st_size,
					"mtime_ns",
					(json_int_t)st.st_mtim.tv_sec * 1000000000 + (json_int_t)st.st_mtim.tv_nsec,
					"ino", (json_int_t)st.st_ino));
	}
	json_object_set_new(o, "files", files);
	if (!code)
		json_object_set_new(o, "quick", fake_hex(id.quick));
	if (full && !code)
		json_object_set_new(o, "full", fake_hex(id.full));
	json_object_set_new(o, "meta", json_pack("{s:s, s:s, s:i}", "family", "fake", "dtype", "f32", "params", 1000));
	char *text = mm_json_dump(o, &err);
	puts(text);
	mm_free(text);
	json_decref(o);
	return 0;
}

static inline float fake_loglik(struct mm_hash full, size_t i)
{
	return -100.0f - (float)((full.lo >> (8 * (i % 8))) & 0xff) - (float)i;
}

static inline void fake_array(
	struct mm_frame_out *out, const char *name, enum mm_array_type t, size_t n, const void *data)
{
	struct mm_err err;
	struct mm_array a = { .name = name, .type = t, .n_dim = 1, .dim = { n }, .data = data, .n_byte = n * 4 };
	if (mm_frame_put_array(out, &a, &err))
		_exit(8);
}

static inline void fake_wait_for(const char *path, const char *name)
{
	struct timespec t = { .tv_nsec = 5000000 };
	while (!fake_exists(path, name)) /* the test says when */
		nanosleep(&t, NULL);
}

/* What goes wrong before anything is sent. */
static inline int fake_trouble(const char *path, const char *how, struct mm_frame_out *out)
{
	struct mm_err err;
	static const char junk[1 << 16];
	if (!strcmp(how, "kill9"))
		raise(SIGKILL);
	if (!strcmp(how, "segv"))
		signal(SIGSEGV, SIG_DFL), raise(SIGSEGV);
	if (!strcmp(how, "exit3"))
		return fputs("first line\nall went wrong\n", stderr) < 0 ? 1 : 3;
	if (!strcmp(how, "hang"))
		pause();
	if (!strcmp(how, "close"))
		close(1), pause();
	if (!strcmp(how, "wait"))
		fake_wait_for(path, "go");
	if (!strcmp(how, "garbage")) {
		while (write(1, junk, sizeof junk) > 0)
			;
		pause();
	}
	if (!strncmp(how, "error ", 6)) {
		json_t *e = json_pack("{s:s, s:s}", "code", how + 6, "text", "said the scorer");
		if (mm_frame_put_json(out, 'E', e, &err) || mm_frame_end(out, &err))
			return 8;
		json_decref(e);
		return 1;
	}
	return 0;
}

static inline int fake_stream(
	const char *path, const char *root, const char *texts, const char *bos, const char *compute)
{
	struct mm_err err;
	struct mm_texts t;
	char how[64];
	snprintf(how, sizeof how, "%s", fake_behave(path, "stream:"));
	fake_log(root, "stream", path);
	if (!strncmp(how, "once ", 5)) {
		char tried[4200];
		snprintf(tried, sizeof tried, "%s/.tried", path);
		memmove(how, how + 5, strlen(how + 5) + 1);
		if (!access(tried, F_OK))
			how[0] = 0;
		close(open(tried, O_CREAT | O_WRONLY, 0644));
	}
	struct mm_frame_out *out = mm_frame_out_new(1, &err);
	if (!out || mm_texts_load(&t, texts, &err))
		return 1;
	struct fake_id id = fake_identify(path);
	json_t *p = json_pack("{s:s, s:i, s:i, s:i, s:i, s:f, s:f}", "stage", "score", "done", 1, "total", (int)t.n,
		"tokens", 10, "tokens_total", 60, "tokens_per_s", 5.0, "eta_s", 10.0);
	if (mm_frame_put_json(out, 'P', p, &err))
		return 8;
	json_decref(p);
	int rc = fake_trouble(path, how, out);
	if (rc)
		return rc;
	size_t n = t.n - !strcmp(how, "wrongn");
	float ll[64];
	uint32_t tok[64];
	for (size_t i = 0; i < n; i++) {
		ll[i] = fake_loglik(id.full, i);
		tok[i] = (uint32_t)(10 + i);
	}
	if (!strcmp(how, "nan"))
		ll[2] = NAN, ll[4] = INFINITY;
	if (!strcmp(how, "positive"))
		ll[1] = 3;
	fake_array(out, "loglik", MM_A_F32, n, ll);
	fake_array(out, "n_tokens", !strcmp(how, "type") ? MM_A_F32 : MM_A_U32, n, tok);
	if (!strcmp(how, "hash"))
		t.hash.lo ^= 1;
	if (!strcmp(how, "quick"))
		id.quick.lo ^= 1;
	json_t *m = json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:s, s:f}", "version", MM_SCORER_VERSION, "bos",
		bos, "compute_policy", compute, "n_texts", (int)n, "n_cut", !strcmp(how, "cuts") ? 3 : 0, "texts",
		fake_hex(t.hash), "quick", fake_hex(id.quick), "full", fake_hex(id.full), "compute", "f32",
		"seconds_score", 1.5);
	if (strcmp(how, "nometa") != 0 && mm_frame_put_json(out, 'M', m, &err))
		return 8;
	if (!strcmp(how, "meta2") && mm_frame_put_json(out, 'M', m, &err))
		return 8;
	if (!strcmp(how, "cut"))
		return 0; /* no end frame */
	if (mm_frame_end(out, &err))
		return 8;
	if (!strcmp(how, "late1"))
		return 1;
	if (!strcmp(how, "late9"))
		raise(SIGKILL);
	return 0;
}

static inline const char *fake_option(int argc, char **argv, const char *name)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], name))
			return argv[i + 1];
	return NULL;
}

/* _exit: what the fake leaves allocated is nobody's leak. */
static inline void fake_exit(int status)
{
	fflush(stdout);
	_exit(status);
}

/* First line of main: exits when this process is to play the scorer. */
static inline void fake_main(int argc, char **argv)
{
	const char *root = fake_option(argc, argv, "--search"), *probe = fake_option(argc, argv, "--probe");
	if (probe)
		fake_exit(fake_probe(probe, root, !strcmp(argv[argc - 1], "--full")));
	const char *resume = fake_option(argc, argv, "--resume");
	FILE *f = resume ? fopen(resume, "we") : NULL;
	if (f)
		fclose(f);
	if (fake_option(argc, argv, "--stream"))
		fake_exit(fake_stream(argv[argc - 1], root, fake_option(argc, argv, "--texts"),
			fake_option(argc, argv, "--bos"), fake_option(argc, argv, "--compute")));
}

/* ---- files ---- */

static char kit_root[64]; /* the watched directory */
static char kit_state[80];

static inline const char *kit_at(const char *fmt, ...) MM_PRINTF(1, 2);
static inline const char *kit_at(const char *fmt, ...)
{
	static char ring[8][4200];
	static unsigned next;
	char rel[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(rel, sizeof rel, fmt, ap);
	va_end(ap);
	char *out = ring[next++ % 8];
	snprintf(out, sizeof ring[0], "%s/%s", kit_root, rel);
	return out;
}

static inline void kit_put(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static inline void kit_mkdir(const char *path)
{
	struct mm_err err;
	if (mm_mkdirs(path, 0755, &err))
		fail_msg("%s", err.text);
}

/* A whole checkpoint; `content` decides its fingerprints: the first characters the quick one, all of it the full one.
 */
static inline void kit_weights(const char *path, const char *content)
{
	char text[2048], f[4200];
	size_t body = 100 + strlen(content);
	snprintf(text, sizeof text, "SIZE %06zu\n%s", body, content);
	memset(text + strlen(text), '.', body); /* padding up to the size that is told */
	text[body] = 0;
	snprintf(f, sizeof f, "%s/model.safetensors", path);
	kit_put(f, text);
}

static inline void kit_checkpoint(const char *path, const char *content, const char *behave)
{
	char f[4200];
	kit_mkdir(path);
	if (behave) {
		snprintf(f, sizeof f, "%s/behave", path);
		kit_put(f, behave);
	}
	snprintf(f, sizeof f, "%s/config.json", path);
	kit_put(f, "{\"model_type\":\"fake\"}");
	snprintf(f, sizeof f, "%s/tokenizer.json", path);
	kit_put(f, "{}");
	kit_weights(path, content);
}

static inline int kit_rm_one(const char *p, const struct stat *st, int flag, struct FTW *f)
{
	(void)st, (void)flag, (void)f;
	return remove(p);
}

static inline void kit_rm(const char *p)
{
	nftw(p, kit_rm_one, 32, FTW_DEPTH | FTW_PHYS);
}

/* How often the fake was called so: "stream a". */
static inline unsigned kit_calls(const char *line)
{
	size_t n, k = strlen(line);
	unsigned count = 0;
	char *text = fake_read(kit_root, ".log", &n);
	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		count += !strncmp(p, line, k) && p[k] == '\n';
	mm_free(text);
	return count;
}

/* ---- the daemon ---- */

static struct mm_daemon kit;
static char kit_self[4096];

static inline struct mm_model_entry *kit_model(const char *name)
{
	return mm_reg_by_name(&kit, name);
}

static inline bool kit_is(const char *name, enum mm_model_state st)
{
	const struct mm_model_entry *e = kit_model(name);
	return e && e->rec.state == st;
}

static inline void kit_start(void)
{
	struct mm_err err = { 0 };
	static char *dirs[1];
	static char texts[100];
	ssize_t n = readlink("/proc/self/exe", kit_self, sizeof kit_self - 1);
	assert_true(n > 0);
	dirs[0] = kit_root;
	snprintf(texts, sizeof texts, "%s/texts.jsonl", kit_state);
	struct mm_config cfg = kit.cfg;
	kit = (struct mm_daemon){ .cfg = cfg, .score_program = kit_self };
	kit.cfg.watch.dirs = dirs;
	kit.cfg.watch.n_dirs = 1;
	kit.cfg.texts = texts;
	assert_true(sd_event_new(&kit.loop) >= 0);
	if (mm_texts_load(&kit.texts, texts, &err))
		fail_msg("%s", err.text);
	struct mm_store_pin pin = { .texts = kit.texts.hash,
		.n_texts = kit.texts.n,
		.mean_bytes = kit.texts.mean_bytes,
		.bos = "auto",
		.compute = "f32",
		.scorer = "1" };
	if (!(kit.store = mm_store_open(kit_state, &pin, &err)) || mm_reg_start(&kit, &err) ||
		mm_queue_start(&kit, &err) || mm_scorer_start(&kit, &err) || mm_ready_start(&kit, &err) ||
		mm_watch_start(&kit, &err))
		fail_msg("%s", err.text);
}

static inline void kit_stop(void)
{
	kit.stopping = true;
	mm_watch_stop(&kit);
	mm_ready_stop(&kit);
	mm_scorer_stop(&kit);
	mm_queue_stop(&kit);
	mm_reg_stop(&kit);
	mm_store_close(kit.store);
	mm_texts_free(&kit.texts);
	sd_event_unref(kit.loop);
}

#define KIT_UNTIL(cond)                                                                                                \
	do {                                                                                                           \
		double until_ = mm_monotonic() + KIT_DEADLINE_S;                                                       \
		while (!(cond)) {                                                                                      \
			if (mm_monotonic() > until_)                                                                   \
				fail_msg("not seen in %.0f s: %s", KIT_DEADLINE_S, #cond);                             \
			if (sd_event_run(kit.loop, 50000) < 0)                                                         \
				fail_msg("the loop broke");                                                            \
		}                                                                                                      \
	} while (0)

/* Nothing is under way any more. */
static inline bool kit_quiet(void)
{
	if (!kit.first_scan_done)
		return false;
	for (size_t i = 0; i < kit.ready->n; i++)
		if (kit.ready->c[i]->stage != MM_STAGE_IDLE)
			return false;
	for (size_t i = 0; i < kit.queue->n; i++)
		if (kit.queue->live[i]->rec.state > MM_JOB_WAITING)
			return false;
	return true;
}

static inline int kit_setup(void **state)
{
	char path[120];
	(void)state;
	snprintf(kit_root, sizeof kit_root, "/tmp/mm-core-XXXXXX");
	if (!mkdtemp(kit_root))
		return -1;
	snprintf(kit_state, sizeof kit_state, "%s-state", kit_root);
	mkdir(kit_state, 0755);
	snprintf(path, sizeof path, "%s/texts.jsonl", kit_state);
	FILE *f = fopen(path, "w");
	for (int i = 0; i < KIT_TEXTS; i++)
		fprintf(f, "{\"text\":\"text number %d\",\"domain\":\"d\"}\n", i);
	fclose(f);
	kit.cfg = (struct mm_config){ .state_dir = kit_state,
		.watch = { .mode = MM_WATCH_INOTIFY, .settle = 0.1, .give_up = 3600, .poll_interval = 0.1 },
		.score = { .concurrency = 1,
			.threads = 1,
			.compute = "f32",
			.bos = "auto",
			.order = MM_ORDER_OLDEST,
			.retries = 2,
			.backoff = 0,
			.timeout = 20 } };
	return 0;
}

static inline int kit_teardown(void **state)
{
	(void)state;
	kit_rm(kit_root);
	kit_rm(kit_state);
	return 0;
}

/* The vector of a model, from the store. */
static inline bool kit_vector_is(const char *name, const char *dir)
{
	struct mm_err err = { 0 };
	struct mm_stored_array a;
	const struct mm_model_entry *e = kit_model(name);
	struct fake_id id = fake_identify(dir);
	struct mm_txn *t = mm_txn_begin(kit.store, false, &err);
	bool ok = t && !mm_array_get(t, e->rec.same_as ? e->rec.same_as : e->rec.id, "loglik", &a, &err) &&
		  a.n_byte == KIT_TEXTS * sizeof(float);
	for (size_t i = 0; ok && i < KIT_TEXTS; i++) {
		float v;
		memcpy(&v, (const char *)a.data + i * sizeof v, sizeof v);
		ok = v == fake_loglik(id.full, i);
	}
	mm_txn_abort(t);
	return ok;
}

#endif
