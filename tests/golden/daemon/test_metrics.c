/* Metrics of next-byte distributions through the daemon's commands: models of the zoo with made-up features, against
 * the same figures computed the plain way. */
#include "daemon/metric.h"
#include "map_kit.h"
#include "tensor/tensor.h"

#define M 60

static double rows[64][M][MM_BYTES]; /* sqrt(p), as stored */

static uint16_t half(double x)
{
	uint16_t h = 0;
	for (uint16_t bit = 0x4000; bit; bit = (uint16_t)(bit >> 1))
		if ((h | bit) < 0x7c00 && (double)mm_f16_to_f32(h | bit) <= x)
			h |= bit;
	return h;
}

struct put {
	uint64_t id;
	uint16_t *f16;
	uint8_t set[MM_PROBES_ID];
};

static int put_arrays(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	struct put *p = ctx;
	struct mm_stored_array a = { .name = "next_byte",
		.type = MM_A_F16,
		.n_dim = 2,
		.dim = { M, MM_BYTES },
		.data = p->f16,
		.n_byte = M * MM_BYTES * 2 };
	struct mm_stored_array s = { .name = "probe_set",
		.type = MM_A_U8,
		.n_dim = 1,
		.dim = { MM_PROBES_ID },
		.data = p->set,
		.n_byte = MM_PROBES_ID };
	return mm_array_put(t, p->id, &a, err) || mm_array_put(t, p->id, &s, err) ? -1 : 0;
}

/* Distributions that follow the family and the model: relatives are near. */
static void features(struct mm_daemon *d, size_t i, uint64_t family, double own, const struct mm_probes *probes)
{
	struct mm_err err;
	struct mm_rng base, kin, self;
	struct put p = { reg[i]->rec.id, malloc(M * MM_BYTES * 2), { 0 } };
	mm_rng_init(&base, 1);
	mm_rng_init(&kin, 100 + family);
	mm_rng_init(&self, 1000 + i);
	mm_probes_id(probes, false, p.set);
	for (size_t m = 0; m < M; m++) {
		double q[MM_BYTES], sum = 0, sum2 = 0;
		for (size_t b = 0; b < MM_BYTES; b++)
			sum += q[b] = exp(2 * mm_rng_normal(&base) + mm_rng_normal(&kin) + own * mm_rng_normal(&self));
		for (size_t b = 0; b < MM_BYTES; b++) {
			p.f16[m * MM_BYTES + b] = half(sqrt(q[b] / sum));
			double v = (double)mm_f16_to_f32(p.f16[m * MM_BYTES + b]);
			if (i < MM_COUNT(rows))
				rows[i][m][b] = v;
			sum2 += v * v;
		}
		for (size_t b = 0; b < MM_BYTES && i < MM_COUNT(rows); b++)
			rows[i][m][b] /= sqrt(sum2);
	}
	MUST(mm_store_write(d->store, put_arrays, &p, &err));
	free(p.f16);
}

static size_t family_of(const struct zoo *z, size_t i)
{
	const char *base = zoo_fact(z, i, "base");
	for (size_t j = 0; j < z->m.k; j++)
		if (strcmp(zoo_fact(z, j, "base"), base) == 0)
			return j;
	return i;
}

static void start(struct zoo *z, struct mm_daemon *d, struct mm_probes *probes, size_t without)
{
	struct mm_err err;
	zoo_open(z);
	daemon_new(d, &z->texts);
	d->cfg.map.refit_growth = 0;
	rooms_start(d);
	MUST(mm_probes_make(probes, &z->texts, M, &err));
	assert_int_equal(probes->n, M);
	for (size_t i = 0; i < z->m.k; i++) {
		struct mm_model_entry *e = model_add(z->name[i], z->m.row[i], z->m.n);
		e->rec.family = mm_strdup(zoo_fact(z, i, "family"), &err);
		if (i >= without)
			features(d, i, family_of(z, i), 0.3, probes);
		mm_map_scored(d, e);
	}
	settle_down(d);
	refit(d);
}

static void stop(struct zoo *z, struct mm_daemon *d, struct mm_probes *probes)
{
	rooms_stop(d);
	mm_metrics_stop(d);
	mm_probes_free(probes);
	daemon_free(d);
	zoo_close(z);
}

static double fisher(size_t a, size_t b, const struct mm_probes *probes, size_t domain)
{
	double sum = 0;
	for (size_t m = 0; m < M; m++) {
		double bc = 0;
		for (size_t c = 0; c < MM_BYTES; c++)
			bc += rows[a][m][c] * rows[b][m][c];
		if (domain == SIZE_MAX || probes->at[m].domain == domain)
			sum += pow(2 * acos(fmin(bc, 1)), 2);
	}
	return sqrt(sum);
}

static void says(json_t *o, const char *words)
{
	if (!str(o, "error") || !strstr(str(o, "error"), words))
		fail_msg("said \"%s\", not \"%s\"", str(o, "error") ? str(o, "error") : "(accepted)", words);
	json_decref(o);
}

static void test_near_and_dist(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_probes probes;
	size_t i;
	json_t *n, *o;
	start(&z, &d, &probes, 2);
	size_t self = zoo_index(&z, "llama-a");
	for (size_t domain = SIZE_MAX;; domain = 1) {
		json_t *args = json_pack("{s:s, s:s, s:i}", "name", "llama-a", "metric", "fisher", "k", 40);
		if (domain != SIZE_MAX)
			json_object_set_new(args, "domain", json_string(z.texts.domain_name[domain]));
		o = ask_wait(&d, mm_cmd_near, args);
		assert_null(str(o, "error"));
		assert_string_equal(str(o, "metric"), "fisher");
		assert_string_equal(str(o, "unit"), "rad");
		assert_int_equal(json_array_size(json_object_get(o, "neighbours")), z.m.k - 3);
		assert_int_equal(json_array_size(json_object_get(o, "without_features")), 2);
		assert_true(json_is_true(json_object_get(o, "complete")));
		double last = 0;
		json_array_foreach (json_object_get(o, "neighbours"), i, n) {
			size_t b = zoo_index(&z, str(n, "name"));
			double want = fisher(self, b, &probes, domain);
			/* acos of nearly 1, here of 1 - 1e-3, loses digits; rows are floats */
			near_rel(num(n, "distance"), want, 1e-5, 1e-5, str(n, "name"));
			assert_true(num(n, "distance") >= last);
			assert_true(num(n, "low") <= num(n, "distance") && num(n, "distance") <= num(n, "high"));
			last = num(n, "distance");
			json_t *pair =
				json_pack("{s:s, s:s, s:s}", "a", str(n, "name"), "b", "llama-a", "metric", "fisher");
			if (domain != SIZE_MAX)
				json_object_set_new(pair, "domain", json_string(z.texts.domain_name[domain]));
			json_t *one = ask(&d, mm_cmd_dist, pair, NULL);
			assert_true(num(one, "distance") == num(n, "distance")); /* symmetry, to the bit */
			assert_true(num(one, "low") == num(n, "low"));
			json_decref(one);
		}
		json_decref(o);
		if (domain != SIZE_MAX)
			break;
	}
	for (int m = MM_METRIC_FISHER; m < MM_METRIC_COUNT; m++) {
		o = ask(&d, mm_cmd_dist,
			json_pack("{s:s, s:s, s:s}", "a", "llama-a", "b", "llama-a-v2", "metric", mm_metrics[m].name),
			NULL);
		assert_true(num(o, "distance") > 0 && num(o, "probes") == M);
		assert_int_equal(json_array_size(json_object_get(o, "domains")), z.texts.n_domain);
		json_decref(o);
		o = ask(&d, mm_cmd_dist,
			json_pack("{s:s, s:s, s:s}", "a", "llama-a", "b", "llama-a", "metric", mm_metrics[m].name),
			NULL);
		assert_true(num(o, "distance") == 0 && num(o, "high") == 0);
		json_decref(o);
	}
	says(ask_wait(&d, mm_cmd_near, json_pack("{s:s, s:s}", "name", z.name[0], "metric", "js")),
		"modelmap rescore --missing-features");
	says(ask(&d, mm_cmd_dist, json_pack("{s:s, s:s, s:s}", "a", "llama-a", "b", z.name[1], "metric", "js"), NULL),
		"modelmap rescore --missing-features");
	stop(&z, &d, &probes);
}

static void test_pairs(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_probes probes;
	size_t i, same = 0;
	json_t *n, *o;
	start(&z, &d, &probes, 1);
	for (int m = MM_METRIC_FISHER; m < MM_METRIC_COUNT; m++) {
		const char *name = mm_metrics[m].name;
		o = ask_wait(&d, mm_cmd_map, json_pack("{s:s, s:s}", "metric", name, "method", "mds"));
		assert_null(str(o, "error"));
		assert_string_equal(str(o, "metric"), name);
		assert_string_equal(str(o, "unit"), mm_metrics[m].root_unit);
		assert_int_equal(json_array_size(json_object_get(o, "points")), z.m.k - 1);
		assert_true(num(json_object_get(o, "quality"), "stress") < 0.5);
		json_decref(o);
		o = ask_wait(&d, mm_cmd_map, json_pack("{s:s, s:s}", "metric", name, "method", "pca"));
		assert_int_equal(json_array_size(json_object_get(o, "points")), z.m.k - 1);
		json_decref(o);
		o = ask_wait(&d, mm_cmd_tree, json_pack("{s:s}", "metric", name));
		json_array_foreach (json_object_get(o, "models"), i, n)
			if (strcmp(str(n, "kind"), "child") == 0) {
				assert_true(num(n, "distance") > 0 && !json_object_get(n, "kl_bits_per_byte"));
				same += json_object_get(n, "support") != NULL;
			}
		assert_int_equal(json_array_size(json_object_get(o, "models")), z.m.k - 1);
		json_decref(o);
		o = ask_wait(&d, mm_cmd_cluster, json_pack("{s:s}", "metric", name));
		json_array_foreach (json_object_get(o, "clusters"), i, n) {
			/* made-up features are clear about families */
			size_t j;
			json_t *who, *members = json_object_get(n, "members");
			size_t first = family_of(&z, zoo_index(&z, json_string_value(json_array_get(members, 0))));
			json_array_foreach (members, j, who)
				assert_int_equal(family_of(&z, zoo_index(&z, json_string_value(who))), first);
		}
		assert_int_equal(json_array_size(json_object_get(o, "without_features")), 1);
		json_decref(o);
	}
	assert_true(same > 0);
	o = ask_wait(&d, mm_cmd_tree, NULL);
	assert_string_equal(str(o, "metric"), "kl");
	json_decref(o);
	stop(&z, &d, &probes);
}

/* ---- more models than are all read: the answer is that of a search through everybody ---- */

enum { MANY = 420 };

/* Models that agree but for one place each: a mass moves from one byte to another at one probe. Estimates from a few
 * probes, bytes or signs would go astray. Every tenth is a copy of the one before, so that names decide. */
static void traps(struct mm_daemon *d, size_t i, const struct mm_probes *probes)
{
	struct mm_err err;
	struct mm_rng r;
	struct put p = { reg[i]->rec.id, malloc(M * MM_BYTES * 2), { 0 } };
	mm_rng_init(&r, 77 + (i % 10 == 9 ? i - 1 : i));
	size_t at = mm_rng_below(&r, M), to = 40 + mm_rng_below(&r, 217);
	double x = i ? 0.02 + 0.02 * mm_rng_double(&r) : 0;
	mm_probes_id(probes, false, p.set);
	for (size_t m = 0; m < M; m++)
		for (size_t b = 0; b < MM_BYTES; b++) {
			double v = b < 32 ? (1 - (m == at ? x : 0)) / 32 : m == at && b == to ? x : 0;
			p.f16[m * MM_BYTES + b] = half(sqrt(v));
		}
	MUST(mm_store_write(d->store, put_arrays, &p, &err));
	free(p.f16);
}

static float *unpacked(struct mm_daemon *d, size_t i)
{
	struct mm_err err;
	struct mm_stored_array a;
	float *row = malloc(M * MM_BYTE_STRIDE * sizeof(*row));
	struct mm_txn *t = mm_txn_begin(d->store, false, &err);
	MUST(mm_array_get(t, reg[i]->rec.id, "next_byte", &a, &err) || mm_bytes_unpack(a.data, M, row, &err));
	mm_txn_abort(t);
	return row;
}

struct far {
	double value;
	const char *name;
};

static int by_value(const void *a, const void *b)
{
	const struct far *x = a, *y = b;
	return x->value != y->value ? (x->value > y->value) - (x->value < y->value) : strcmp(x->name, y->name);
}

/* near of one model against all distances one by one. */
static void search_is_whole(struct mm_daemon *d, float *const *row, enum mm_metric metric, size_t self)
{
	struct far want[MANY];
	double v[M];
	size_t i;
	json_t *n;
	for (i = 0; i < MANY; i++) {
		mm_byte_terms(metric, row[self], row[i], M, v);
		want[i] = (struct far){ i == self ? INFINITY : mm_byte_distance_of(metric, v, NULL, M),
			reg[i]->rec.name };
	}
	qsort(want, MANY, sizeof(*want), by_value);
	json_t *o = ask_wait(d, mm_cmd_near,
		json_pack("{s:s, s:s, s:i}", "name", reg[self]->rec.name, "metric", mm_metrics[metric].name, "k", 10));
	assert_int_equal(json_array_size(json_object_get(o, "neighbours")), 10);
	json_array_foreach (json_object_get(o, "neighbours"), i, n) {
		assert_true(num(n, "distance") == want[i].value);
		assert_string_equal(json_string_value(json_object_get(n, "name")), want[i].name);
	}
	assert_true(json_is_true(json_object_get(o, "complete")));
	json_decref(o);
}

static void test_many(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_probes probes;
	struct mm_err err;
	struct mm_rng r;
	float *row[MANY], *vec;
	char name[32];
	size_t i;
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	d.cfg.map.refit_growth = 0;
	d.cfg.map.layouts = 0;
	rooms_start(&d);
	MUST(mm_probes_make(&probes, &z.texts, M, &err));
	mm_rng_init(&r, 4);
	vec = malloc(z.m.n * sizeof(*vec));
	for (i = 0; i < MANY; i++) {
		for (size_t s = 0; s < z.m.n; s++)
			vec[s] = (float)(-500 + 30 * mm_rng_normal(&r));
		snprintf(name, sizeof(name), "model-%zu", (i * 37) % MANY);
		struct mm_model_entry *e = model_add(name, vec, z.m.n);
		features(&d, i, i % 20, 0.05 + 0.4 * mm_rng_double(&r), &probes);
		row[i] = unpacked(&d, i);
		mm_map_scored(&d, e);
	}
	settle_down(&d);
	for (int m = MM_METRIC_FISHER; m < MM_METRIC_COUNT; m++)
		for (size_t self = 0; self < MANY; self += 97) {
			search_is_whole(&d, row, (enum mm_metric)m, self);
			json_t *o = ask_wait(&d, mm_cmd_near,
				json_pack("{s:s, s:s}", "name", reg[self]->rec.name, "metric", mm_metrics[m].name));
			assert_true(num(o, "read") < 0.5 * MANY);
			json_decref(o);
		}
	for (i = 0; i < MANY; i++) {
		traps(&d, i, &probes);
		free(row[i]);
		row[i] = unpacked(&d, i);
		mm_map_scored(&d, reg[i]);
	}
	settle_down(&d);
	for (int m = MM_METRIC_FISHER; m < MM_METRIC_COUNT; m++)
		for (size_t self = 0; self < MANY; self += 103)
			search_is_whole(&d, row, (enum mm_metric)m, self);
	for (i = 0; i < MANY; i++)
		free(row[i]);
	free(vec);
	stop(&z, &d, &probes);
}

static void test_none(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_probes probes;
	start(&z, &d, &probes, 1000);
	says(ask_wait(&d, mm_cmd_tree, json_pack("{s:s}", "metric", "fisher")), "modelmap rescore --missing-features");
	says(ask_wait(&d, mm_cmd_near, json_pack("{s:s, s:s}", "name", "llama-a", "metric", "fisher")),
		"llama-a has no");
	stop(&z, &d, &probes);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_near_and_dist), cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_many), cmocka_unit_test(test_none) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
