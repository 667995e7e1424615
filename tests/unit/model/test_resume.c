/* test_resume.c: a job that was stopped goes on where it was, with the bits of one that never stopped; a spoilt file or
 * one of another model, text set or policy is begun again. Token ids come from the cache with the same bits, and a
 * spoilt cache is not believed. */
#include "model/model.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define MODEL  "tests/fixtures/zoo/qwen2-a"
#define OTHER  "tests/fixtures/zoo/qwen2-a-shakespeare" /* the same tokenizer and shapes */
#define N_TEXT 20
#define BYTES  250

struct world {
	char dir[64], texts[96], resume[96], cache[96];
	struct mm_texts set;
	struct mm_score_result want;
};

static void texts_write(const char *path, uint64_t seed)
{
	struct mm_rng rng;
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	mm_rng_init(&rng, seed);
	for (size_t i = 0; i < N_TEXT; i++) {
		fputs("{\"text\": \"", f);
		for (size_t j = 0; j < BYTES; j++)
			fputc(j % 5 == 4 ? ' ' : (int)('a' + mm_rng_below(&rng, 26)), f);
		fputs("\"}\n", f);
	}
	assert_int_equal(fclose(f), 0);
}

struct stop {
	size_t after; /* texts */
};

static int stopper(void *ctx, const struct mm_score_progress *p)
{
	const struct stop *s = ctx;
	return !strcmp(p->stage, "score") && p->done >= s->after && p->done < p->total;
}

static int run(const struct world *w, const char *model, const struct mm_texts *set, struct mm_score_opts o,
	struct mm_score_result *r)
{
	struct mm_err err;
	struct mm_model *m =
		mm_model_open(model, &(struct mm_model_opts){ .compute = MM_COMPUTE_F32, .threads = 1 }, &err);
	struct mm_tok *tok = m ? mm_tok_of(mm_model_ckpt(m), &err) : NULL;
	(void)w;
	if (!tok)
		fail_msg("%s", err.text);
	int rc = mm_score_texts(m, tok, set, &o, r, &err);
	if (rc && err.code != MM_ECANCELLED)
		fail_msg("%s", err.text);
	mm_tok_close(tok);
	mm_model_close(m);
	return rc;
}

static void same_bits(const struct mm_score_result *a, const struct mm_score_result *b)
{
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->loglik, b->loglik, a->n * sizeof(*a->loglik));
	assert_memory_equal(a->mink20, b->mink20, a->n * sizeof(*a->mink20));
	assert_memory_equal(a->mink20pp, b->mink20pp, a->n * sizeof(*a->mink20pp));
	assert_memory_equal(a->unigram, b->unigram, a->n * sizeof(*a->unigram));
	assert_memory_equal(a->n_token, b->n_token, a->n * sizeof(*a->n_token));
}

/* Stops a job after its first batch. Leaves the file of what was done. */
static void stop_half(const struct world *w)
{
	struct mm_score_result r = { 0 };
	struct stop s = { 1 };
	unlink(w->resume);
	assert_int_equal(run(w, MODEL, &w->set,
				 (struct mm_score_opts){
					 .resume = w->resume, .resume_tag = "1", .progress = stopper, .ctx = &s },
				 &r),
		-1);
	assert_int_equal(access(w->resume, R_OK), 0);
}

/* Runs to the end with the file as it is; *resumed: tokens that were not scored again. */
static void finish(const struct world *w, const char *tag, uint64_t *resumed)
{
	struct mm_score_result r = { 0 };
	assert_int_equal(
		run(w, MODEL, &w->set, (struct mm_score_opts){ .resume = w->resume, .resume_tag = tag }, &r), 0);
	same_bits(&w->want, &r);
	*resumed = r.n_token_resumed;
	mm_score_result_fini(&r);
}

static void test_goes_on(void **state)
{
	struct world *w = *state;
	uint64_t resumed;
	stop_half(w);
	finish(w, "1", &resumed);
	assert_true(resumed > 0 && resumed < w->want.n_token_total);
	finish(w, "1", &resumed); /* everything is there */
	assert_int_equal(resumed, w->want.n_token_total);
	finish(w, "2", &resumed); /* another version: from the beginning */
	assert_int_equal(resumed, 0);
}

static void test_others_file(void **state)
{
	struct world *w = *state;
	struct mm_score_result plain = { 0 }, r = { 0 };
	struct mm_texts other;
	struct mm_err err;
	char path[120];
	stop_half(w);
	assert_int_equal(run(w, OTHER, &w->set, (struct mm_score_opts){ .bos = MM_BOS_AUTO }, &plain), 0);
	assert_int_equal(
		run(w, OTHER, &w->set, (struct mm_score_opts){ .resume = w->resume, .resume_tag = "1" }, &r), 0);
	assert_int_equal(r.n_token_resumed, 0);
	same_bits(&plain, &r);
	mm_score_result_fini(&r);
	mm_score_result_fini(&plain);

	stop_half(w);
	assert_int_equal(
		run(w, MODEL, &w->set,
			(struct mm_score_opts){ .bos = MM_BOS_NONE, .resume = w->resume, .resume_tag = "1" }, &r),
		0);
	assert_int_equal(r.n_token_resumed, 0);
	mm_score_result_fini(&r);

	stop_half(w);
	snprintf(path, sizeof(path), "%s/other.jsonl", w->dir);
	texts_write(path, 2);
	assert_int_equal(mm_texts_load(&other, path, &err), 0);
	assert_int_equal(
		run(w, MODEL, &other, (struct mm_score_opts){ .resume = w->resume, .resume_tag = "1" }, &r), 0);
	assert_int_equal(r.n_token_resumed, 0);
	mm_score_result_fini(&r);
	mm_texts_free(&other);
}

static void damage(const char *path, int kind)
{
	struct mm_err err;
	size_t len;
	char *p = mm_file_read(path, 1 << 26, &len, &err);
	assert_non_null(p);
	switch (kind) {
	case 0: /* cut in the middle of a chunk */
		len -= 5;
		break;
	case 1: /* a bit in the last number */
		p[len - 12] ^= 1;
		break;
	case 2: /* a bit in the key */
		p[12] ^= 1;
		break;
	case 3: /* the count of the first chunk */
		memset(p + 32, 0xff, 4);
		break;
	case 4:
		len = 3;
		break;
	default:
		len = 0;
	}
	FILE *f = fopen(path, "wb");
	assert_true(f && fwrite(p, 1, len, f) == len && !fclose(f));
	mm_free(p);
}

static void test_spoilt(void **state)
{
	struct world *w = *state;
	uint64_t resumed;
	for (int kind = 0; kind < 6; kind++) {
		stop_half(w);
		damage(w->resume, kind);
		finish(w, "1", &resumed);
		assert_true(resumed < w->want.n_token_total);
		finish(w, "1", &resumed); /* what came behind the damage was cut off: the file is whole again */
		assert_int_equal(resumed, w->want.n_token_total);
	}
}

static void test_no_place(void **state)
{
	struct world *w = *state;
	struct mm_score_result r = { 0 };
	assert_int_equal(run(w, MODEL, &w->set,
				 (struct mm_score_opts){
					 .resume = "/proc/none/file", .resume_tag = "1", .token_cache = "/proc/none" },
				 &r),
		0);
	same_bits(&w->want, &r);
	mm_score_result_fini(&r);
}

/* The only file of the cache. */
static void cache_file(const struct world *w, char out[400])
{
	DIR *d = opendir(w->cache);
	assert_non_null(d);
	out[0] = 0;
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			snprintf(out, 400, "%s/%s", w->cache, e->d_name);
	closedir(d);
}

static void test_tokens(void **state)
{
	struct world *w = *state;
	struct mm_score_opts o = { .token_cache = w->cache };
	char path[400];
	struct stat a, b;
	for (int kind = -2; kind < 6; kind++) { /* made; used; spoilt and made again */
		struct mm_score_result r = { 0 };
		if (kind >= 0) {
			cache_file(w, path);
			damage(path, kind);
		}
		assert_int_equal(run(w, MODEL, &w->set, o, &r), 0);
		same_bits(&w->want, &r);
		mm_score_result_fini(&r);
		cache_file(w, path);
		assert_int_equal(stat(path, &a), 0);
		if (kind > -2)
			assert_int_equal(a.st_size, b.st_size);
		b = a;
	}
	struct mm_score_result r = { 0 }, plain = { 0 }; /* another model of the same tokenizer: the same file */
	assert_int_equal(run(w, OTHER, &w->set, o, &r), 0);
	assert_int_equal(run(w, OTHER, &w->set, (struct mm_score_opts){ .bos = MM_BOS_AUTO }, &plain), 0);
	same_bits(&plain, &r);
	assert_int_equal(stat(path, &a), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	mm_score_result_fini(&r);
	mm_score_result_fini(&plain);
}

static int setup(void **state)
{
	static struct world w;
	struct mm_err err;
	*state = &w;
	snprintf(w.dir, sizeof(w.dir), "/tmp/mm-resume-XXXXXX");
	if (!mkdtemp(w.dir))
		return -1;
	snprintf(w.texts, sizeof(w.texts), "%s/texts.jsonl", w.dir);
	snprintf(w.resume, sizeof(w.resume), "%s/resume", w.dir);
	snprintf(w.cache, sizeof(w.cache), "%s/cache", w.dir);
	texts_write(w.texts, 1);
	if (mkdir(w.cache, 0700) || mm_texts_load(&w.set, w.texts, &err))
		return -1;
	return run(&w, MODEL, &w.set, (struct mm_score_opts){ .bos = MM_BOS_AUTO }, &w.want);
}

static int teardown(void **state)
{
	struct world *w = *state;
	char command[128];
	mm_texts_free(&w->set);
	mm_score_result_fini(&w->want);
	snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_on),
		cmocka_unit_test(test_others_file),
		cmocka_unit_test(test_spoilt),
		cmocka_unit_test(test_no_place),
		cmocka_unit_test(test_tokens),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
