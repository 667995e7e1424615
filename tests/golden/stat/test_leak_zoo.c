/* Leaks of the zoo: which models are found, which are not, and which texts; against truth.json, in random orders of
 * arrival. Names are used to look up what is true, never to find anything. */
#include "stat/stat_leak.h"
#include "zoo.h"

#include <stdio.h>

#define K_MAX 64

struct world {
	struct zoo z;
	uint64_t group[K_MAX];
	bool is_leaked[K_MAX], usable[K_MAX];
};

static void open_world(struct world *w)
{
	zoo_open(&w->z);
	zoo_append(&w->z, "loglik_anomaly.npy", "models_anomaly.txt");
	assert_true(w->z.m.k <= K_MAX);
	for (size_t i = 0; i < w->z.m.k; i++) {
		char key[256];
		json_t *f = json_object_get(w->z.truth, w->z.name[i]);
		snprintf(key, sizeof(key), "%s %s %lld", zoo_fact(&w->z, i, "family"), zoo_fact(&w->z, i, "tokenizer"),
			(long long)json_integer_value(json_object_get(f, "params")));
		w->group[i] = mm_hash64(key, strlen(key));
		w->is_leaked[i] = strcmp(zoo_fact(&w->z, i, "kind"), "leaked") == 0;
		w->usable[i] = true;
	}
}

static void texts_found(struct world *w, size_t i, const double *post, double *precision, double *recall)
{
	json_t *list = json_object_get(json_object_get(w->z.truth, w->z.name[i]), "leaked_texts"), *v;
	size_t at, hit = 0, said = 0;
	json_array_foreach (list, at, v)
		hit += post[json_integer_value(v)] > MM_LEAK_SUSPECT;
	for (size_t s = 0; s < w->z.m.n; s++)
		said += post[s] > MM_LEAK_SUSPECT;
	*precision = said ? (double)hit / (double)said : 0;
	*recall = (double)hit / (double)json_array_size(list);
}

/* All models there: p-values far apart, and the texts. */
static void test_all(void **state)
{
	(void)state;
	struct world w;
	struct mm_err err;
	open_world(&w);
	size_t k = w.z.m.k, n = w.z.m.n;
	struct mm_leak_input in = { &w.z.m, w.usable, w.group, w.z.texts.domain, w.z.texts.n_domain, NULL, NULL, NULL };
	static struct mm_leak_test t[K_MAX];
	double *post = calloc(2 * k * n, sizeof(*post));
	for (size_t i = 0; i < k; i++)
		MUST(mm_leak_test(&in, i, &t[i], post + (2 * i + 1) * n, post + 2 * i * n, &err));
	MUST(mm_leak_decide(t, NULL, k, &err));
	for (size_t i = 0; i < k; i++) {
		const struct mm_leak_mix *m = &t[i].mix[t[i].best];
		if (t[i].p_all < 0.1)
			print_message("%-30s llr %5.1f %5.1f p %.2g share %.2f gain %.0f sep %.1f\n", w.z.name[i],
				t[i].mix[0].llr, t[i].mix[1].llr, t[i].p_all, m->share, m->gain, m->separation);
		if (!w.is_leaked[i]) {
			assert_true(t[i].p_all > 1e-4);
			continue;
		}
		double precision, recall;
		texts_found(&w, i, post + 2 * i * n, &precision, &recall);
		print_message("%s: precision %.2f recall %.2f\n", w.z.name[i], precision, recall);
		assert_true(t[i].p_all < 1e-7);
		assert_true(precision >= 0.8 && recall >= 0.8);
	}
	free(post);
	zoo_close(&w.z);
}

/* Five orders of arrival; after every arrival from the eighth on all models that are there are tested. */
static void test_orders(void **state)
{
	(void)state;
	struct world w;
	struct mm_err err;
	open_world(&w);
	size_t k = w.z.m.k, n = w.z.m.n;
	double *r = calloc(2 * n, sizeof(*r));
	size_t false_alerts = 0;
	for (uint64_t order = 0; order < 5; order++) {
		struct mm_rng rng;
		size_t at[K_MAX];
		static struct mm_leak_test t[K_MAX];
		static struct mm_fdr_row f[K_MAX];
		bool flagged[K_MAX] = { 0 };
		mm_rng_init(&rng, 100 + order);
		for (size_t i = 0; i < k; i++)
			at[i] = i;
		for (size_t i = k; i > 1; i--) {
			size_t o = mm_rng_below(&rng, i), x = at[i - 1];
			at[i - 1] = at[o];
			at[o] = x;
		}
		for (size_t m = MM_LEAK_MIN_MODELS; m <= k; m = m < k ? MM_MIN(m + 16, k) : m + 1) {
			const float *row[K_MAX];
			uint64_t group[K_MAX];
			bool usable[K_MAX];
			uint32_t suspects[K_MAX] = { 0 };
			for (size_t i = 0; i < m; i++) {
				row[i] = w.z.m.row[at[i]];
				group[i] = w.group[at[i]];
				usable[i] = !flagged[i];
			}
			struct mm_mat mat = { row, m, n };
			struct mm_leak_input in = { &mat, usable, group, w.z.texts.domain, w.z.texts.n_domain, NULL,
				NULL, NULL };
			for (size_t i = 0; i < m; i++) {
				MUST(mm_leak_test(&in, i, &t[i], r, r + n, &err));
				for (size_t s = 0; s < n; s++)
					suspects[i] += r[n + s] > MM_LEAK_SUSPECT;
			}
			MUST(mm_leak_decide(t, flagged, m, &err));
			for (size_t i = 0; i < m; i++)
				f[i].p = t[i].p_all;
			mm_fdr_replay(f, m, 0.05);
			for (size_t i = 0; i < m; i++) {
				bool found = f[i].found && mm_leak_matters(&t[i], suspects[i], w.z.texts.mean_bytes);
				if (found && !flagged[i])
					print_message("order %d, %zu models: %s, p %.2g\n", (int)order, m,
						w.z.name[at[i]], f[i].p);
				if (found && !w.is_leaked[at[i]])
					false_alerts++;
				flagged[i] = found;
			}
		}
		for (size_t i = 0; i < k; i++)
			if (w.is_leaked[at[i]])
				assert_true(flagged[i]);
	}
	assert_int_equal(false_alerts, 0);
	free(r);
	zoo_close(&w.z);
}

/* Mean log-likelihood against the mean score: the leaked models lie farthest above the line, far first checkpoints are
 * no statement. (A smaller leak would not show: that is what the contrast is for.) */
static void test_level(void **state)
{
	(void)state;
	struct world w;
	size_t len;
	open_world(&w);
	double mean[K_MAX], score[K_MAX], var, healthy = 0, leaked = INFINITY;
	char *csv = zoo_read("scores.csv", &len), *save = NULL;
	for (size_t i = 0; i < w.z.m.k; i++) {
		mm_row_moments(w.z.m.row[i], w.z.m.n, MM_NO_CLIP, &mean[i], &var);
		score[i] = NAN;
	}
	for (char *line = strtok_r(csv, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
		char *comma = strchr(line, ','), *last = strrchr(line, ',');
		*comma = 0;
		size_t i = zoo_index(&w.z, line);
		if (i != SIZE_MAX)
			score[i] = atof(last + 1);
	}
	size_t n = 0;
	for (size_t i = 0; i < w.z.m.k; i++) {
		struct mm_leak_level l;
		if (!mm_leak_level(mean, score, w.z.m.k, i, &l))
			continue;
		n++;
		assert_true(l.p >= 1 / ((double)l.n + 1));
		if (w.is_leaked[i])
			leaked = fmin(leaked, l.statistic);
		else if (!strchr(w.z.name[i], '/'))
			healthy = fmax(healthy, l.statistic);
	}
	print_message("level: leaked from %.1f, healthy up to %.1f, of %zu models\n", leaked, healthy, n);
	assert_true(n > 25 && leaked > healthy);
	mm_free(csv);
	zoo_close(&w.z);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_all), cmocka_unit_test(test_orders),
		cmocka_unit_test(test_level) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
