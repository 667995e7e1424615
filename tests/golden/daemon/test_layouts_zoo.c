/* The layouts of an epoch over the zoo: which there are, in the plane and in space, kept over a restart, with
 * landmarks, for one domain; and how well they keep neighbours, against the projection and scikit-learn's figure. */
#include "fake_reg.h"

static void start(struct zoo *z, struct mm_daemon *d, enum mm_layouts_kept kept, size_t landmarks_from)
{
	zoo_open(z);
	daemon_new(d, &z->texts);
	d->cfg.map.refit_growth = 0;
	d->cfg.map.layouts = kept;
	rooms_start(d);
	d->map->landmarks_from = landmarks_from;
	for (size_t i = 0; i < z->m.k; i++)
		mm_map_scored(d, model_add(z->name[i], z->m.row[i], z->m.n));
	settle_down(d);
	json_decref(ask(d, mm_cmd_refit, NULL, NULL));
	settle_down(d);
}

static void stop(struct zoo *z, struct mm_daemon *d)
{
	rooms_stop(d);
	daemon_free(d);
	zoo_close(z);
}

static double num(const json_t *o, const char *key)
{
	if (!json_is_number(json_object_get(o, key)))
		fail_msg("no number %s: %s", key, json_string_value(json_object_get(o, "error")));
	return json_number_value(json_object_get(o, key));
}

static json_t *map(struct mm_daemon *d, const char *method, int dim, const char *domain)
{
	json_t *args = json_pack("{s:s, s:i}", "method", method, "dim", dim);
	if (domain)
		json_object_set_new(args, "domain", json_string(domain));
	return ask_wait(d, mm_cmd_map, args);
}

static double spread(const json_t *o, const char *axis)
{
	size_t i;
	json_t *p;
	double sum = 0;
	json_array_foreach (json_object_get(o, "points"), i, p) {
		assert_true(isfinite(num(p, axis)));
		sum += fabs(num(p, axis));
	}
	return sum;
}

/* Share of the models whose nearest on the map has the same base: the first of the zoo's own figures. */
static double nearest_same_base(const struct zoo *z, const json_t *o)
{
	const json_t *pts = json_object_get(o, "points");
	size_t same = 0, n = json_array_size(pts);
	for (size_t i = 0; i < n; i++) {
		const json_t *p = json_array_get(pts, i), *best = NULL;
		double least = INFINITY;
		for (size_t j = 0; j < n; j++) {
			const json_t *q = json_array_get(pts, j);
			double dx = num(p, "x") - num(q, "x"), dy = num(p, "y") - num(q, "y"),
			       dz = num(p, "z") - num(q, "z");
			if (i != j && dx * dx + dy * dy + dz * dz < least) {
				least = dx * dx + dy * dy + dz * dz;
				best = q;
			}
		}
		const char *a = json_string_value(json_object_get(p, "name")),
			   *b = json_string_value(json_object_get(best, "name"));
		same += strcmp(zoo_fact(z, zoo_index(z, a), "base"), zoo_fact(z, zoo_index(z, b), "base")) == 0;
	}
	return (double)same / (double)n;
}

static const char *const methods[] = { "pca", "mds", "tsne" };

static void test_all(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	start(&z, &d, MM_LAYOUTS_ALL, MM_LANDMARKS_FROM);
	for (size_t m = 0; m < 3; m++)
		for (int dim = 2; dim <= 3; dim++) {
			json_t *o = map(&d, methods[m], dim, NULL);
			assert_int_equal(json_array_size(json_object_get(o, "points")), z.m.k);
			assert_string_equal(json_string_value(json_object_get(o, "method")), methods[m]);
			assert_true(num(o, "dims") == (m ? dim : 3));
			assert_true(spread(o, "x") > 0 && spread(o, "y") > 0);
			assert_true((spread(o, "z") > 0) == (num(o, "dims") == 3));
			json_t *q = json_object_get(o, "quality");
			/* the projection's first axes are the least that a layout must keep */
			assert_true(num(q, "trustworthiness") > (m ? 0.9 : 0.8) && num(q, "continuity") > 0.8);
			if (m == 2)
				assert_true(nearest_same_base(&z, o) >=
					    json_number_value(zoo_at(&z, "clipped", "tsne_nn_same_base", NULL)) - 0.06);
			/* the same after a restart */
			rooms_stop(&d);
			rooms_start(&d);
			settle_down(&d);
			json_t *again = map(&d, methods[m], dim, NULL);
			for (size_t i = 0; i < z.m.k; i++) {
				json_t *p = json_array_get(json_object_get(o, "points"), i), *r = NULL, *s;
				size_t j;
				json_array_foreach (json_object_get(again, "points"), j, s)
					if (json_equal(json_object_get(s, "name"), json_object_get(p, "name")))
						r = s;
				assert_true(r && fabs(num(r, "x") - num(p, "x")) < 1e-9 &&
					    fabs(num(r, "z") - num(p, "z")) < 1e-9);
			}
			json_decref(again);
			json_decref(o);
		}
	/* what a further model changes: nobody else's place in any layout */
	json_t *before[MM_LAYOUT_COUNT];
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
		before[w] = map(&d, mm_layout_kinds[w].method, (int)mm_layout_kinds[w].dims, NULL);
	float *half = malloc(z.m.n * sizeof(float));
	for (size_t s = 0; s < z.m.n; s++)
		half[s] = 0.5F * (z.m.row[0][s] + z.m.row[7][s]);
	mm_map_scored(&d, model_add("between", half, z.m.n));
	settle_down(&d);
	free(half);
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++) {
		json_t *o = map(&d, mm_layout_kinds[w].method, (int)mm_layout_kinds[w].dims, NULL);
		json_t *was = json_object_get(before[w], "points"), *is = json_object_get(o, "points");
		assert_int_equal(json_array_size(is), z.m.k + 1);
		for (size_t i = 0; i < z.m.k; i++)
			assert_true(json_equal(json_array_get(was, i), json_array_get(is, i)));
		json_decref(before[w]);
		json_decref(o);
	}
	stop(&z, &d);
}

static void test_kept(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	for (int kept = MM_LAYOUTS_NONE; kept <= MM_LAYOUTS_2D; kept++) {
		start(&z, &d, (enum mm_layouts_kept)kept, MM_LANDMARKS_FROM);
		json_t *o = map(&d, "tsne", 2, NULL), *space = map(&d, "tsne", 3, NULL);
		if (kept == MM_LAYOUTS_NONE)
			assert_non_null(strstr(json_string_value(json_object_get(o, "error")), "set map.layouts"));
		else
			assert_int_equal(json_array_size(json_object_get(o, "points")), z.m.k);
		assert_non_null(strstr(json_string_value(json_object_get(space, "error")), "of 3 dimensions"));
		json_decref(o);
		json_decref(space);
		/* what is shown without a wish, and when the wish cannot be had */
		d.cfg.map.layout = MM_METHOD_MDS;
		o = ask(&d, mm_cmd_map, NULL, NULL);
		assert_string_equal(json_string_value(json_object_get(o, "method")), kept ? "mds" : "pca");
		json_decref(o);
		stop(&z, &d);
	}
}

/* Half of the models laid out, the others placed among them: nearly as good, every place found, nothing at random. */
static void test_landmarks(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	json_t *first[MM_LAYOUT_COUNT] = { NULL };
	for (int run = 0; run < 2; run++) {
		start(&z, &d, MM_LAYOUTS_ALL, 33);
		for (size_t w = 0; w < MM_LAYOUT_COUNT; w++) {
			json_t *o = map(&d, mm_layout_kinds[w].method, (int)mm_layout_kinds[w].dims, NULL);
			json_t *q = json_object_get(o, "quality");
			assert_true(num(q, "landmarks") == 16);
			assert_int_equal(json_array_size(json_object_get(o, "points")), z.m.k);
			print_message("%s: trustworthiness %.3f\n", mm_layout_kinds[w].name, num(q, "trustworthiness"));
			assert_true(num(q, "trustworthiness") > 0.8);
			if (run)
				assert_true(json_equal(json_object_get(o, "points"), first[w]));
			else
				first[w] = json_incref(json_object_get(o, "points"));
			json_decref(o);
		}
		stop(&z, &d);
	}
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
		json_decref(first[w]);
}

/* A map of one domain's texts: distances on it are those of the columns; comparable with the whole map by eye. */
static void test_domain(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	start(&z, &d, MM_LAYOUTS_2D, MM_LANDMARKS_FROM);
	for (size_t m = 0; m < 3; m++)
		for (int dim = 2; dim <= 3; dim++) {
			json_t *o = map(&d, methods[m], dim, "docs");
			assert_string_equal(json_string_value(json_object_get(o, "domain")), "docs");
			assert_true(num(o, "texts") == 200);
			assert_int_equal(json_array_size(json_object_get(o, "points")), z.m.k);
			assert_true(num(json_object_get(o, "quality"), "trustworthiness") > 0.8);
			assert_true(spread(o, "x") > 0);
			json_decref(o);
		}
	json_t *o = ask_wait(&d, mm_cmd_map, json_pack("{s:s}", "domain", "dogs"));
	assert_non_null(strstr(json_string_value(json_object_get(o, "error")), "did you mean docs?"));
	json_decref(o);
	stop(&z, &d);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_all), cmocka_unit_test(test_kept),
		cmocka_unit_test(test_landmarks), cmocka_unit_test(test_domain) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
