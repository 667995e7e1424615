/* The map for the eye: joined data, labels that never overlap, characters and SVG with hostile names. */
#include "client/client.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EVIL "</text><script>alert(1)</script>&\"'\033[2J\xC2\x9B\xEF\xBF\xBF\xFF"

static json_t *point(const char *name, double x, double y, const char *family, const char *run, int step)
{
	json_t *p = json_pack("{s:f, s:f, s:f}", "x", x, "y", y, "z", 0.0);
	json_object_set_new(p, "name", json_string_nocheck(name));
	if (family)
		json_object_set_new(p, "family", json_string(family));
	if (run) {
		json_object_set_new(p, "run", json_string(run));
		json_object_set_new(p, "step", json_integer(step));
	}
	return p;
}

static void make(struct mm_view *v, bool evil)
{
	struct mm_err err = { 0 };
	json_t *pts = json_array();
	json_array_append_new(pts, point("r/checkpoint-1000", 4, 0, "llama", "r", 1000));
	json_array_append_new(pts, point("r/checkpoint-200", 2, 0, "llama", "r", 200));
	json_array_append_new(pts, point("r/checkpoint-30", 0, 1, "llama", "r", 30));
	json_array_append_new(pts, point("lone", 10, 10, NULL, "other", 1)); /* family comes from `models` */
	json_array_append_new(pts, point("twin", 10, 10, NULL, NULL, 0));
	json_array_append_new(pts, point(evil ? EVIL : "plain", -5, 3, evil ? "<f&>" : "qwen2", NULL, 0));
	json_array_append_new(pts, json_pack("{s:s, s:n}", "name", "not placed", "x"));
	json_t *map = json_pack("{s:i, s:s, s:s, s:[f, f, f], s:o}", "epoch", 7, "method", "pca", "unit",
		"sqrt(nats per text)", "explained", 0.61, 0.2, 0.1, "points", pts);
	json_t *models = json_pack("{s:[{s:s, s:s, s:s, s:f}, {s:s, s:s}]}", "models", "name", "lone", "family",
		"mistral", "state", "gone", "bits_per_byte", 1.25, "name", "twin", "family", "mistral");
	json_t *alerts = json_pack("{s:[{s:s, s:s, s:s}, {s:s, s:s, s:s}, {s:s, s:s, s:s}]}", "alerts", "model", "twin",
		"state", "acked", "message", "first", "model", "twin", "state", "open", "message", "same <as> lone",
		"model", "nobody", "state", "open", "message", "x");
	assert_int_equal(mm_view_make(v, map, models, alerts, &err), 0);
}

static void test_view(void **state)
{
	(void)state;
	struct mm_view v;
	make(&v, false);
	assert_int_equal(v.n, 6);
	assert_int_equal(v.n_family, 3);
	assert_string_equal(v.family[0], "llama"); /* the largest first */
	assert_string_equal(v.family[1], "mistral");
	assert_int_equal(v.n_run, 1); /* a run of one step is no line */
	assert_int_equal(v.run[0].n, 3);
	assert_string_equal(v.point[v.run[0].at[0]].name, "r/checkpoint-30"); /* by step, not by text */
	assert_string_equal(v.point[v.run[0].at[2]].name, "r/checkpoint-1000");
	for (size_t i = 0; i < v.n; i++)
		assert_int_equal(v.point[i].alert, strcmp(v.point[i].name, "twin") ? 0 : 2);
	char caption[200];
	mm_view_caption(&v, caption, sizeof caption);
	assert_string_equal(caption, "6 models, epoch 7, pca: axes show 61 % + 20 % of the variance");
	assert_true(v.x0 == -5 && v.x1 == 10 && v.y0 == 0 && v.y1 == 10);
	mm_view_free(&v);
}

static void test_few(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	struct mm_term t = { .width = 80 };
	static const double big[] = { 0, 5, -1e15, 1e300 };
	for (size_t n = 0; n < 3; n++)
		for (size_t b = 0; b < MM_COUNT(big); b++) {
			struct mm_view v;
			json_t *pts = json_array();
			for (size_t i = 0; i < n; i++)
				json_array_append_new(pts, point(i ? "b" : "a", big[b], big[b], NULL, NULL, 0));
			assert_int_equal(mm_view_make(&v, json_pack("{s:o}", "points", pts), NULL, NULL, &err), 0);
			assert_true(v.x1 > v.x0 && v.y1 > v.y0);
			char *text;
			size_t len;
			FILE *f = open_memstream(&text, &len);
			assert_int_equal(mm_term_map(&v, &t, 60, 20, true, f, &err), 0);
			fclose(f);
			free(text);
			struct mm_buf svg = { 0 };
			assert_int_equal(mm_svg_map(&v, "t", &svg, &err), 0);
			assert_null(strstr((char *)svg.data, "nan"));
			assert_null(strstr((char *)svg.data, "inf"));
			mm_buf_fini(&svg);
			mm_view_free(&v);
		}
}

static bool overlap(const struct mm_box *a, const struct mm_box *b)
{
	return a->x0 < b->x1 && b->x0 < a->x1 && a->y0 < b->y1 && b->y0 < a->y1;
}

static void test_labels(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	struct mm_label l[120], again[120];
	struct mm_rng r;
	struct mm_box frame = { 0, 0, 600, 400 };
	for (unsigned seed = 0; seed < 20; seed++) {
		mm_rng_init(&r, seed);
		bool grid = seed & 1;
		size_t n = 5 + mm_rng_below(&r, 115), shown = 0;
		for (size_t i = 0; i < n; i++)
			l[i] = (struct mm_label){ .x = floor(mm_rng_double(&r) * 600) + 0.5,
				.y = floor(mm_rng_double(&r) * 400) + 0.5,
				.r = 3.5,
				.w = (double)(20 + mm_rng_below(&r, 100)),
				.h = 13,
				.weight = (double)mm_rng_below(&r, 3) };
		memcpy(again, l, sizeof l);
		assert_int_equal(mm_place_labels(l, n, frame, 2, grid, &err), 0);
		assert_int_equal(mm_place_labels(again, n, frame, 2, grid, &err), 0);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(l[i].shown, again[i].shown); /* the same again */
			if (!l[i].shown)
				continue;
			shown++;
			const struct mm_box *b = &l[i].box;
			assert_true(b->x0 >= 0 && b->y0 >= 0 && b->x1 <= 600 && b->y1 <= 400);
			assert_true(!grid || (b->x0 == floor(b->x0) && b->y0 == floor(b->y0)));
			for (size_t k = 0; k < n; k++) {
				struct mm_box mark = { l[k].x - l[k].r, l[k].y - l[k].r, l[k].x + l[k].r,
					l[k].y + l[k].r };
				assert_false(overlap(b, &mark));
				assert_false(k != i && l[k].shown && overlap(b, &l[k].box));
			}
		}
		assert_true(shown > 0 && (n > 30 || shown == n));
	}
	/* The heavier one gets the only place there is. */
	struct mm_label two[2] = { { .x = 20, .y = 10, .r = 4, .w = 70, .h = 12, .weight = 1 },
		{ .x = 20, .y = 10, .r = 4, .w = 70, .h = 12, .weight = 2 } };
	assert_int_equal(mm_place_labels(two, 2, (struct mm_box){ 0, 4, 100, 16 }, 2, false, &err), 0);
	assert_true(two[1].shown && !two[0].shown);
}

static char *draw(const struct mm_view *v, bool utf8, bool color, int width)
{
	struct mm_err err = { 0 };
	struct mm_term t = { .utf8 = utf8, .color = color, .width = width };
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	assert_int_equal(mm_term_map(v, &t, width, 20, true, f, &err), 0);
	fclose(f);
	return text;
}

static void test_characters(void **state)
{
	(void)state;
	struct mm_view v;
	make(&v, true);
	static const char *const must[] = { "r/checkpoint-30", "r/checkpoint-1000", "lone", "twin !", "llama",
		"mistral", "epoch 7", "61 %", "sqrt(nats per text)", "open alert", "training run" };
	for (int utf8 = 0; utf8 < 2; utf8++) {
		char *t = draw(&v, utf8, false, 100);
		assert_null(strchr(t, 033)); /* neither ours nor the name's */
		assert_null(strstr(t, "\xC2\x9B"));
		assert_true(mm_utf8_valid(t, strlen(t)));
		for (size_t i = 0; i < MM_COUNT(must); i++)
			if (!strstr(t, must[i]))
				fail_msg("\"%s\" is not in\n%s", must[i], t);
		struct mm_term term = { .utf8 = utf8 };
		for (char *p = t; *p;) {
			size_t n = strcspn(p, "\n");
			p[n] = 0;
			assert_true(mm_term_width(&term, p) <= 100 || strstr(p, "sqrt"));
			for (size_t i = 0; !utf8 && i < n; i++)
				assert_true((unsigned char)p[i] < 0x80);
			p += n + 1;
		}
		free(t);
	}
	char *t = draw(&v, true, true, 100);
	assert_non_null(strstr(t, "\033[31m")); /* the open alert */
	assert_null(strstr(t, "\033[2J"));
	free(t);
	for (int w = 10; w < 60; w += 7)
		free(draw(&v, true, false, w)); /* narrow ones end, too */
	mm_view_free(&v);
}

/* A small check of well-formedness: tags nest, attributes are quoted, text has no bare markup. */
static void check_xml(const char *s)
{
	char stack[32][32];
	size_t depth = 0, elements = 0;
	assert_true(mm_utf8_valid(s, strlen(s)));
	for (const char *p = s; *p; p++) {
		assert_true((unsigned char)*p >= 0x20 || *p == '\n' || *p == '\t');
		if (*p == '&') {
			size_t n = strspn(p + 2, "0123456789");
			assert_true(p[1] == '#' && n > 0 && p[2 + n] == ';');
		}
		assert_true(*p != '>'); /* ends of tags are read below */
		if (*p != '<')
			continue;
		const char *name = p + 1 + (p[1] == '/');
		size_t n = strcspn(name, " />?");
		const char *end = name;
		for (; *end != '>'; end++) {
			assert_true(*end && *end != '<');
			if (*end == '"') {
				end = strchr(end + 1, '"');
				assert_non_null(end);
			}
		}
		assert_true(n < sizeof stack[0]);
		if (p[1] == '/') {
			assert_true(depth > 0);
			depth--;
			assert_true(strlen(stack[depth]) == n && !memcmp(stack[depth], name, n));
		} else if (p[1] != '?' && end[-1] != '/') {
			assert_true(depth < MM_COUNT(stack));
			memcpy(stack[depth], name, n);
			stack[depth++][n] = 0;
		}
		elements++;
		p = end;
	}
	assert_int_equal(depth, 0);
	assert_true(elements > 20);
}

static void test_svg(void **state)
{
	(void)state;
	struct mm_view v;
	struct mm_err err = { 0 };
	struct mm_buf b = { 0 }, again = { 0 };
	make(&v, true);
	assert_int_equal(mm_svg_map(&v, "A <title> & more", &b, &err), 0);
	assert_int_equal(mm_svg_map(&v, "A <title> & more", &again, &err), 0);
	assert_int_equal(b.len, again.len);
	assert_memory_equal(b.data, again.data, b.len);
	const char *s = (const char *)b.data;
	check_xml(s);
	assert_null(strstr(s, "<script"));
	static const char *const must[] = { ">r/checkpoint-30<", ">lone<", "61.0 %", "epoch 7", "1.25000 bits per byte",
		"same &#60;as&#62; lone", "open alert", "training run", "no longer there" };
	for (size_t i = 0; i < MM_COUNT(must); i++)
		if (!strstr(s, must[i]))
			fail_msg("\"%s\" is not in\n%s", must[i], s);
	mm_buf_fini(&b);
	mm_buf_fini(&again);
	mm_view_free(&v);
}

static void test_many_families(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	struct mm_view v;
	struct mm_buf b = { 0 };
	json_t *pts = json_array();
	for (int i = 0; i < 60; i++) {
		char name[32], family[32];
		snprintf(name, sizeof name, "m%d", i);
		snprintf(family, sizeof family, "f%d", i);
		json_array_append_new(pts, point(name, i % 8, i / 8, family, NULL, 0));
	}
	assert_int_equal(mm_view_make(&v, json_pack("{s:o}", "points", pts), NULL, NULL, &err), 0);
	assert_int_equal(mm_svg_map(&v, "t", &b, &err), 0);
	check_xml((const char *)b.data);
	mm_buf_fini(&b);
	free(draw(&v, true, true, 120));
	mm_view_free(&v);
}

static int utf8_locale(void **state)
{
	(void)state;
	return !setlocale(LC_CTYPE, "C.UTF-8");
}

/* A picture of the hierarchy: one line a join, one mark a model, hostile names; a reply that is no tree is refused. */
static void test_dendrogram(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	struct mm_buf b = { 0 };
	json_t *o =
		json_pack("{s:i, s:f, s:[s, s, s, s], s:[[i, i, f], [i, i, f], [i, i, f]], s:[{s:s, s:[s, s]}, {s:s, "
			  "s:[s, s]}]}",
			"n", 2, "silhouette", 0.5, "models", "a", "<b&>", "c", "d", "merges", 0, 1, 1.0, 2, 3, 2.5, 4,
			5, 7.0, "clusters", "name", "a", "members", "a", "<b&>", "name", "c", "members", "c", "d");
	assert_int_equal(mm_svg_dendrogram(o, "T<", &b, &err), 0);
	size_t paths = 0, marks = 0;
	for (const char *p = (char *)b.data; (p = strstr(p, "<path")); p++)
		paths++;
	for (const char *p = (char *)b.data; (p = strstr(p, "<circle")); p++)
		marks++;
	assert_true(paths == 3 && marks == 4);
	assert_non_null(strstr((char *)b.data, "&#60;b&#38;&#62;"));
	assert_null(strstr((char *)b.data, "<b&>"));
	mm_buf_fini(&b);
	json_decref(o);
	o = json_pack("{s:[s], s:[], s:[]}", "models", "alone", "merges", "clusters");
	assert_int_equal(mm_svg_dendrogram(o, "T", &b, &err), 0);
	assert_null(strstr((char *)b.data, "nan"));
	mm_buf_fini(&b);
	json_decref(o);
	static const char *const bad[] = { "{}", "{\"models\":[\"a\",\"b\"],\"merges\":[]}",
		"{\"models\":[\"a\",\"b\"],\"merges\":[[0,0,1]]}", "{\"models\":[\"a\",\"b\"],\"merges\":[[0,2,1]]}",
		"{\"models\":[\"a\",\"b\"],\"merges\":[[-1,1,1]]}", "{\"models\":[\"a\",\"b\"],\"merges\":[[0,1,-1]]}",
		"{\"models\":[\"a\",\"b\",\"c\"],\"merges\":[[0,1,1],[0,1,2]]}",
		"{\"models\":[\"a\",\"b\",\"c\"],\"merges\":[[0,1,1],[3,1,2]]}" };
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		o = json_loads(bad[i], 0, NULL);
		assert_non_null(o);
		if (!mm_svg_dendrogram(o, "T", &b, &err))
			fail_msg("drawn: %s", bad[i]);
		assert_int_equal(err.code, MM_EFORMAT);
		mm_buf_fini(&b);
		json_decref(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dendrogram),
		cmocka_unit_test(test_view),
		cmocka_unit_test(test_few),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_characters),
		cmocka_unit_test(test_svg),
		cmocka_unit_test(test_many_families),
	};
	return cmocka_run_group_tests(tests, utf8_locale, NULL);
}
