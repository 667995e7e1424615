/* test_features.c: next-byte features in a scorer's stream, right and wrong in every way that is checked. */
#include "core_kit.h"

#define N_PROBE	 3
#define N_TEXT	 4
#define ONE	 0x3c00 /* 1 as f16 */
#define MANY	 8	/* most probes that a case sends */
#define DATA_MAX 40000

static const struct mm_hash texts_hash = { 7, 9 };

struct feat_case {
	const char *what, *drop; /* drop: array left out */
	size_t n;		 /* probes sent */
	uint16_t byte;		 /* first value of next_byte */
	float missed;
	uint16_t proj;
	uint8_t id; /* first byte of the probe set */
	bool unasked;
	enum mm_err_code code; /* MM_OK: taken */
};

static const struct feat_case cases[] = {
	{ "right", NULL, N_PROBE, ONE, 0.5f, ONE, 1, false, MM_OK },
	{ "rounded", NULL, N_PROBE, 0x3bff, 0.5f, ONE, 1, false, MM_OK },
	{ "other probes", NULL, N_PROBE, ONE, 0.5f, ONE, 9, false, MM_ECONFLICT },
	{ "not asked for", NULL, N_PROBE, ONE, 0.5f, ONE, 1, true, MM_EFORMAT },
	{ "one too many", NULL, N_PROBE + 1, ONE, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "one too few", NULL, N_PROBE - 1, ONE, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "none", NULL, 0, ONE, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "1.5", NULL, N_PROBE, 0x3e00, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "0", NULL, N_PROBE, 0, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "-1", NULL, N_PROBE, 0xbc00, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "NaN", NULL, N_PROBE, 0x7e00, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "infinity", NULL, N_PROBE, 0x7c00, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "missed 1.5", NULL, N_PROBE, ONE, 1.5f, ONE, 1, false, MM_EFORMAT },
	{ "missed -1", NULL, N_PROBE, ONE, -1, ONE, 1, false, MM_EFORMAT },
	{ "missed NaN", NULL, N_PROBE, ONE, NAN, ONE, 1, false, MM_EFORMAT },
	{ "projection", NULL, N_PROBE, ONE, 0.5f, 0x7c00, 1, false, MM_EFORMAT },
	{ "no next_byte", "next_byte", N_PROBE, ONE, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "no missed", "next_byte_missed", N_PROBE, ONE, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "no projection", "vocab_proj", N_PROBE, ONE, 0.5f, ONE, 1, false, MM_EFORMAT },
	{ "no probe set", "probe_set", N_PROBE, ONE, 0.5f, ONE, 1, false, MM_EFORMAT },
};

static void put(struct mm_frame_out *o, const struct feat_case *w, const char *name, enum mm_array_type type,
	uint64_t rows, uint64_t width, const void *data)
{
	struct mm_err err;
	struct mm_array a = { .name = name, .type = type, .n_dim = width ? 2 : 1, .data = data };
	a.dim[0] = rows;
	a.dim[1] = width;
	a.n_byte = rows * (width ? width : 1) * mm_array_type_size(type);
	if (!w->drop || strcmp(w->drop, name) != 0)
		assert_int_equal(mm_frame_put_array(o, &a, &err), 0);
}

static void put_all(struct mm_frame_out *o, const struct feat_case *w)
{
	static uint16_t byte[MANY * MM_PROBES_BYTES], proj[MANY * MM_PROBES_PROJ];
	float ll[N_TEXT] = { -1, -2, -3, -4 }, missed[MANY] = { 0, w->missed };
	uint32_t n[N_TEXT] = { 1, 2, 3, 4 };
	uint8_t id[MM_PROBES_ID] = { w->id, 2, 3 };
	for (size_t m = 0; m < MANY; m++)
		byte[m * MM_PROBES_BYTES] = ONE;
	byte[0] = w->byte;
	proj[5] = w->proj;
	fake_array(o, "loglik", MM_A_F32, N_TEXT, ll);
	fake_array(o, "n_tokens", MM_A_U32, N_TEXT, n);
	put(o, w, "next_byte", MM_A_F16, w->n, MM_PROBES_BYTES, byte);
	put(o, w, "next_byte_missed", MM_A_F32, w->n, 0, missed);
	put(o, w, "vocab_proj", MM_A_F16, w->n, MM_PROBES_PROJ, proj);
	put(o, w, "probe_set", MM_A_U8, MM_PROBES_ID, 0, id);
}

static int run(const struct feat_case *w, struct mm_result *r, struct mm_err *err)
{
	static char data[DATA_MAX];
	static const uint8_t want[MM_PROBES_ID] = { 1, 2, 3 };
	char name[] = "/tmp/mm-stream-XXXXXX";
	int fd = mkstemp(name);
	bool said;
	unlink(name);
	struct mm_frame_out *o = mm_frame_out_new(fd, err);
	put_all(o, w);
	json_t *m = json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o}", "version", MM_SCORER_VERSION, "bos", "auto",
		"compute_policy", "f32", "n_texts", N_TEXT, "n_cut", 1, "texts", fake_hex(texts_hash), "quick",
		fake_hex((struct mm_hash){ 1, 1 }), "full", fake_hex((struct mm_hash){ 2, 2 }));
	assert_int_equal(mm_frame_put_json(o, 'M', m, err), 0);
	assert_int_equal(mm_frame_end(o, err), 0);
	mm_frame_out_free(o);
	json_decref(m);
	ssize_t len = pread(fd, data, sizeof data, 0);
	close(fd);
	assert_true(len > 0 && len < DATA_MAX);
	struct mm_collect_opts co = { .n_texts = N_TEXT,
		.texts = texts_hash,
		.bos = "auto",
		.compute = "f32",
		.probe_set = w->unasked ? NULL : want,
		.n_probe = N_PROBE };
	struct mm_collect *c = mm_collect_new(&co, err);
	assert_non_null(c);
	assert_int_equal(mm_collect_feed(c, data, (size_t)len, err), 0);
	int rc = mm_collect_end(c, r, &said, err);
	mm_collect_free(c);
	return rc;
}

static void test_streams(void **state)
{
	(void)state;
	for (size_t i = 0; i < MM_COUNT(cases); i++) {
		struct mm_err err = { 0 };
		struct mm_result r = { 0 };
		int rc = run(&cases[i], &r, &err);
		if ((rc ? err.code : MM_OK) != cases[i].code)
			fail_msg("%s: %s %s", cases[i].what, rc ? "refused:" : "taken", err.text);
		if (!rc)
			assert_int_equal(r.n_array, 7); /* the six, and an empty reason */
		mm_result_fini(&r);
	}
}

/* A result without features empties whatever an older one left. */
static void test_void(void **state)
{
	(void)state;
	struct mm_stored_array out[MM_FEATURE_ARRAYS], have = { .name = "no_features", .type = MM_A_U8, .n_dim = 1 };
	struct mm_result r = { .array = &have, .n_array = 1 };
	size_t n = mm_features_void(&r, out);
	assert_int_equal(n, MM_FEATURE_ARRAYS - 1);
	for (size_t i = 0; i < n; i++) {
		assert_string_not_equal(out[i].name, "no_features");
		assert_int_equal(out[i].n_byte, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_streams), cmocka_unit_test(test_void) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
