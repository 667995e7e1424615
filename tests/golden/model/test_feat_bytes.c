/* test_feat_bytes.c: a byte-level model, where the next byte's distribution is the model's own softmax; and the random
 * projection, whose dot products must estimate sum sqrt(p q) within the error that feat_tap.c states. */
#include "feat_brute.h"

#define MODEL	"tests/fixtures/conformance/llama-mha"
#define OTHER	"tests/fixtures/conformance/mistral-swa" /* another model with as many ids */
#define N_PROBE 24
#define SAME	1e-6

static const char *const lines[] = { "some words, to begin with", "d\u00e9j\u00e0 vu 123", "A third text; short.",
	"and one more of them" };

/* A tokenizer of 256 bytes and nothing else: ids are GPT-2's alphabet in the order of its characters. */
static struct mm_tok *byte_tokenizer(struct brute *b)
{
	struct mm_err err;
	struct mm_buf j = { 0 };
	char path[] = "/tmp/mm-feat-XXXXXX.json";
	unsigned extra = 0;
	mm_buf_str(&j, "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
		       "\"add_prefix_space\":false,\"use_regex\":false},\"post_processor\":null,\"decoder\":null,"
		       "\"model\":{\"type\":\"BPE\",\"vocab\":{");
	for (unsigned c = 0; c < 256; c++) {
		bool itself = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174;
		mm_buf_printf(&j, "%s\"\\u%04x\":%u", c ? "," : "", itself ? c : 256 + extra++, c);
		b->spell[c][0] = (char)c;
		b->spell_n[c] = 1;
	}
	mm_buf_str(&j, "},\"merges\":[]}}");
	int fd = mkstemps(path, 5);
	assert_true(fd >= 0 && write(fd, j.data, j.len) == (ssize_t)j.len);
	close(fd);
	struct mm_tok *tok = mm_tok_open(path, &err);
	if (!tok)
		fail_msg("%s", err.text);
	unlink(path);
	mm_buf_fini(&j);
	return tok;
}

static void open_world(struct brute *b, const char *path)
{
	struct mm_model_info i;
	memset(b, 0, sizeof(*b));
	b->m = brute_model(path);
	mm_model_info(b->m, &i);
	assert_true(i.n_vocab <= BRUTE_VOCAB && i.bos >= 256 && i.eos >= 256);
	b->n_vocab = i.n_vocab;
	b->front = (uint32_t)i.bos;
	b->end[b->n_end++] = (uint32_t)i.eos;
	b->tok = byte_tokenizer(b);
}

static void close_world(struct brute *b)
{
	mm_tok_close(b->tok);
	mm_model_close(b->m);
}

static struct mm_score_result features(const struct brute *b, const struct mm_texts *t)
{
	struct mm_err err;
	struct mm_score_result r = { 0 };
	struct mm_score_opts o = { .probes = N_PROBE };
	if (mm_score_texts(b->m, b->tok, t, &o, &r, &err))
		fail_msg("%s", err.text);
	assert_int_equal(r.features.n, N_PROBE);
	return r;
}

/* The softmax at a probe over all ids. */
static void softmax(const struct brute *b, const struct mm_texts *t, const struct mm_probe_point *at, double *p)
{
	uint32_t c[BRUTE_SEQ];
	assert_true(at->offset < BRUTE_SEQ);
	for (size_t i = 0; i < at->offset; i++)
		c[i] = (unsigned char)t->text[at->text][i];
	brute_next(b, c, at->offset, p);
}

static struct brute one, two;

static void test_bytes(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_probes pr;
	struct mm_texts t = brute_texts(lines, MM_COUNT(lines));
	double worst = 0;
	open_world(&one, MODEL);
	struct mm_score_result r = features(&one, &t);
	assert_int_equal(mm_probes_make(&pr, &t, N_PROBE, &err), 0);
	for (size_t m = 0; m < pr.n; m++) {
		double p[BRUTE_VOCAB], sum = 0;
		softmax(&one, &t, &pr.at[m], p);
		for (size_t c = 0; c < 256; c++)
			sum += p[c];
		sum += p[one.end[0]]; /* ids without bytes are left out */
		for (size_t c = 0; c < 257; c++)
			worst = fmax(worst, fabs(r.features.row[m].p[c] - p[c < 256 ? c : one.end[0]] / sum));
		assert_true(r.features.row[m].missed == 0); /* there is one way to write a text */
	}
	printf("byte-level model: largest difference %.1e\n", worst);
	assert_true(worst < SAME);
	mm_probes_free(&pr);
	mm_score_result_fini(&r);
	mm_texts_free(&t);
	close_world(&one);
}

static void test_projection(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_probes pr;
	struct mm_texts t = brute_texts(lines, MM_COUNT(lines));
	open_world(&one, MODEL);
	open_world(&two, OTHER);
	assert_int_equal(one.n_vocab, two.n_vocab);
	struct mm_score_result r = features(&one, &t), s = features(&two, &t);
	double mean = 0, square = 0;
	assert_int_equal(mm_probes_make(&pr, &t, N_PROBE, &err), 0);
	for (size_t m = 0; m < pr.n; m++) {
		double p[BRUTE_VOCAB], q[BRUTE_VOCAB], truth = 0, dot = 0;
		softmax(&one, &t, &pr.at[m], p);
		softmax(&two, &t, &pr.at[m], q);
		for (size_t v = 0; v < one.n_vocab; v++)
			truth += sqrt(p[v] * q[v]);
		for (size_t d = 0; d < MM_PROBES_PROJ; d++)
			dot += (double)r.features.row[m].proj[d] * (double)s.features.row[m].proj[d];
		mean += (dot - truth) / N_PROBE;
		square += (dot - truth) * (dot - truth) / N_PROBE;
	}
	double se = sqrt(2.0 / MM_PROBES_PROJ);
	printf("projection: error of a dot product %.3f (at most %.3f), of the mean of %d %.4f (%.4f)\n", sqrt(square),
		se, N_PROBE, mean, se / sqrt(N_PROBE));
	assert_true(fabs(mean) < 4 * se / sqrt(N_PROBE));
	/* the mean of 24 squares of about normal errors: three of its own standard errors, 3 sqrt(2 / 24) */
	assert_true(square < se * se * (1 + 3 * sqrt(2.0 / N_PROBE)));
	mm_probes_free(&pr);
	mm_score_result_fini(&r);
	mm_score_result_fini(&s);
	mm_texts_free(&t);
	close_world(&one);
	close_world(&two);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bytes), cmocka_unit_test(test_projection) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
