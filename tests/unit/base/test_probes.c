/* test_probes.c: the places of probes: a pure function, at character boundaries, every domain its share, as many as the
 * texts allow. */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct line {
	const char *text, *domain;
};

static struct mm_texts load(const struct line *line, size_t n)
{
	struct mm_err err;
	struct mm_texts t;
	char path[] = "/tmp/mm-probes-XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	assert_non_null(f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "{\"text\": \"%s\", \"domain\": \"%s\"}\n", line[i].text, line[i].domain);
	assert_int_equal(fclose(f), 0);
	if (mm_texts_load(&t, path, &err))
		fail_msg("%s", err.text);
	unlink(path);
	return t;
}

static struct mm_probes make(const struct mm_texts *t, size_t n)
{
	struct mm_err err;
	struct mm_probes p;
	if (mm_probes_make(&p, t, n, &err))
		fail_msg("%s", err.text);
	return p;
}

/* Texts of the set that comes with the program: 5 domains and more, some of them with long characters. */
static void test_shipped(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_texts t;
	if (mm_texts_load(&t, "config/texts.jsonl", &err))
		fail_msg("%s", err.text);
	struct mm_probes a = make(&t, MM_PROBES_DEFAULT), b = make(&t, MM_PROBES_DEFAULT);
	assert_int_equal(a.n, MM_PROBES_DEFAULT);
	assert_memory_equal(a.at, b.at, a.n * sizeof(*a.at));
	assert_true(mm_hash_eq(a.hash, b.hash));
	size_t *share = calloc(t.n_domain, sizeof(*share));
	double sum = 0;
	for (size_t m = 0; m < a.n; m++) {
		const struct mm_probe_point *p = &a.at[m];
		assert_true(p->text < t.n && p->offset > 0 && p->offset <= t.len[p->text]);
		assert_int_equal(p->domain, t.domain[p->text]);
		assert_true(mm_utf8_valid(t.text[p->text], p->offset));
		assert_true(!m || p[-1].text < p->text || (p[-1].text == p->text && p[-1].offset < p->offset));
		share[p->domain]++;
		sum += p->offset;
	}
	for (size_t d = 0; d < t.n_domain; d++) /* nobody's share is more than one above another's */
		assert_true(share[d] == a.n / t.n_domain || share[d] == a.n / t.n_domain + 1);
	assert_true(sum / (double)a.n < 0.4 * t.mean_bytes); /* early: what an own pass costs */
	free(share);
	mm_probes_free(&a);
	mm_probes_free(&b);
	mm_texts_free(&t);
}

static void test_short(void **state)
{
	(void)state;
	static const struct line few[] = { { "x", "a" }, { "\xc3\xa9\xc3\xa9", "b" }, { "\xf0\x9f\x98\x80", "b" } };
	struct mm_texts t = load(few, MM_COUNT(few));
	struct mm_probes p = make(&t, 100);
	assert_true(p.n >= 3 && p.n <= 4); /* every place there is: behind x, e', e'e', and the face */
	for (size_t m = 0; m < p.n; m++)
		assert_true(mm_utf8_valid(t.text[p.at[m].text], p.at[m].offset));
	mm_probes_free(&p);
	p = make(&t, 0);
	assert_int_equal(p.n, 0);
	mm_probes_free(&p);
	struct mm_err err;
	assert_int_equal(mm_probes_make(&p, &t, MM_PROBES_MAX + 1, &err), -1);
	mm_texts_free(&t);
}

/* Other texts, another number, another method: other identities. */
static void test_identity(void **state)
{
	(void)state;
	static const struct line one[] = { { "the first text of all", "a" }, { "another one", "b" } },
				 two[] = { { "the first text of all", "a" }, { "another One", "b" } };
	struct mm_texts t = load(one, 2), u = load(two, 2);
	struct mm_probes p = make(&t, 6), q = make(&u, 6), r = make(&t, 5);
	uint8_t id[4][MM_PROBES_ID];
	mm_probes_id(&p, false, id[0]);
	mm_probes_id(&q, false, id[1]);
	mm_probes_id(&r, false, id[2]);
	mm_probes_id(&p, true, id[3]);
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(id[i], id[j], MM_PROBES_ID);
	assert_memory_equal(id[0], id[3], 16); /* the same places */
	mm_probes_free(&p);
	mm_probes_free(&q);
	mm_probes_free(&r);
	mm_texts_free(&t);
	mm_texts_free(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_identity),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
