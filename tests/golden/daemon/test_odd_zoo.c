/* Broken models and what is not one: the zoo's vectors, with weight samples as its models have them (a fine-tune moves
 * every weight by an eighth, a merge lies between its parents, a damaged layer is an eighth of the sample), and one
 * made model for each kind of trouble. Every kind is found under its own name and nobody else is blamed. */
#include "fake_reg.h"

#include "daemon/check_priv.h"

struct put {
	uint64_t model;
	const char *name;
	unsigned type;
	const void *data;
	size_t n_byte, n;
};

static int put_fn(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	const struct put *p = ctx;
	struct mm_stored_array a = { .type = p->type, .n_dim = 1, .data = p->data, .n_byte = p->n_byte };
	snprintf(a.name, sizeof(a.name), "%s", p->name);
	a.dim[0] = p->n;
	return mm_array_put(t, p->model, &a, err);
}

static void put(struct mm_daemon *d, const struct mm_model_entry *e, const char *name, unsigned type, const void *data,
	size_t n, size_t size)
{
	struct mm_err err;
	struct put p = { e->rec.id, name, type, data, n * size, n };
	MUST(mm_store_write(d->store, put_fn, &p, &err));
}

/* ---- samples ---- */

static void noise(float *v, const char *name, float size)
{
	struct mm_rng rng;
	mm_rng_init(&rng, mm_hash64(name, strlen(name)));
	for (size_t i = 0; i < MM_CHECK_SAMPLE; i++)
		v[i] += size * (float)mm_rng_normal(&rng);
}

static void sample_of(struct zoo *z, size_t i, float *v)
{
	json_t *t = json_object_get(z->truth, z->name[i]), *up = json_object_get(t, "parent");
	const char *kind = zoo_fact(z, i, "kind");
	float other[MM_CHECK_SAMPLE];
	memset(v, 0, MM_CHECK_SAMPLE * sizeof(*v));
	if (json_is_array(up)) {
		double alpha = json_number_value(json_object_get(t, "alpha"));
		sample_of(z, zoo_index(z, json_string_value(json_array_get(up, 0))), v);
		sample_of(z, zoo_index(z, json_string_value(json_array_get(up, 1))), other);
		for (size_t k = 0; k < MM_CHECK_SAMPLE; k++)
			v[k] += (float)alpha * (other[k] - v[k]);
		return;
	}
	if (!json_is_string(up)) {
		noise(v, z->name[i], 0.02f);
		return;
	}
	sample_of(z, zoo_index(z, json_string_value(up)), v);
	if (strcmp(kind, "checkpoint") == 0)
		noise(v, z->name[i], 4.0f / (float)json_integer_value(json_object_get(t, "step")));
	else if (strcmp(kind, "duplicate") != 0 && strcmp(kind, "anomaly") != 0)
		noise(v, z->name[i], 0.0025f);
	else if (strcmp(kind, "anomaly") == 0) {
		memcpy(other, v, sizeof(other));
		noise(other, z->name[i], 0.04f);
		memcpy(v + 3 * MM_CHECK_SAMPLE / 4, other + 3 * MM_CHECK_SAMPLE / 4, MM_CHECK_SAMPLE / 8 * sizeof(*v));
	}
}

/* ---- models ---- */

struct made {
	const char *name, *like; /* architecture, run and tokenizer are those of this model of the zoo */
	const float *vec, *sample;
	const char *dtype, *claim, *run;
	int64_t step;
	uint32_t tokens; /* of each text: what the tokenizer gives; 0: as `like` */
	const float *unigram;
};

static struct mm_model_entry *arrive(struct zoo *z, struct mm_daemon *d, const struct made *m)
{
	struct mm_err err;
	size_t i = zoo_index(z, m->like);
	struct mm_model_entry *e = model_add(m->name, m->vec, z->m.n);
	const char *family = zoo_fact(z, i, "family"), *tok = zoo_fact(z, i, "tokenizer");
	uint32_t count = m->tokens ? m->tokens : (uint32_t)tok[0];
	e->rec.has_vector = true;
	e->rec.family = mm_strdup(family, &err);
	e->rec.dtype = mm_strdup(m->dtype ? m->dtype : zoo_fact(z, i, "dtype"), &err);
	e->rec.params = (uint64_t)json_integer_value(json_object_get(json_object_get(z->truth, m->like), "params"));
	e->rec.base_claimed = m->claim ? mm_strdup(m->claim, &err) : NULL;
	e->rec.run = m->run ? mm_strdup(m->run, &err) : NULL;
	e->rec.step = m->run ? m->step : -1;
	if (m->sample)
		put(d, e, "weight_sample", MM_A_F32, m->sample, MM_CHECK_SAMPLE, sizeof(float));
	if (m->unigram)
		put(d, e, "unigram", MM_A_F32, m->unigram, z->m.n, sizeof(float));
	put(d, e, "n_tokens", MM_A_U32, &count, 1, sizeof(count));
	mm_map_scored(d, e);
	mm_alerts_model(d, e);
	settle_down(d);
	return e;
}

static void arrive_zoo(struct zoo *z, struct mm_daemon *d, size_t i)
{
	float sample[MM_CHECK_SAMPLE];
	char run[64];
	const char *slash = strchr(z->name[i], '/');
	sample_of(z, i, sample);
	snprintf(run, sizeof(run), "%.*s", slash ? (int)(slash - z->name[i]) : 0, z->name[i]);
	arrive(z, d,
		&(struct made){ .name = z->name[i],
			.like = z->name[i],
			.vec = z->m.row[i],
			.sample = sample,
			.run = slash ? run : NULL,
			.step = json_integer_value(json_object_get(json_object_get(z->truth, z->name[i]), "step")) });
}

/* Kinds of the alerts about one model that are not resolved, "a b". */
static const char *kinds_of(struct mm_daemon *d, const char *name, char out[256])
{
	*out = 0;
	for (size_t i = 0; i < d->alerts->n; i++) {
		const struct mm_alert_rec *a = d->alerts->rec[i];
		if (a->state == MM_ALERT_RESOLVED || strcmp(mm_reg_by_id(d, a->model)->rec.name, name) != 0)
			continue;
		snprintf(out + strlen(out), 256 - strlen(out), "%s%s", *out ? " " : "", a->kind);
	}
	return out;
}

/* The table: truth's kinds, and what an alert about such a model may be. Empty: no alert at all, ever. */
static const struct {
	const char *kind, *anomaly, *allowed;
} table[] = {
	{ "base", NULL, "" },
	{ "checkpoint", NULL, "" },
	{ "finetune", NULL, "" },
	{ "merge", NULL, "" },
	{ "duplicate", NULL, "duplicate" },
	{ "leaked", NULL, "leak" },
	{ "anomaly", "noise", "damaged" },
	{ "anomaly", "nan", "not_finite" },
	{ "anomaly", "diverged", "diverged" },
	{ "anomaly", "tokenizer", "tokenizer_mismatch" },
	{ "anomaly", "overflow", "overflow not_finite" },
	{ "broken", NULL, "never_ready failed" },
};

static const char *allowed(struct zoo *z, size_t i)
{
	const char *kind = zoo_fact(z, i, "kind"), *anomaly = zoo_fact(z, i, "anomaly");
	for (size_t t = 0; t < MM_COUNT(table); t++)
		if (strcmp(table[t].kind, kind) == 0 &&
			(!table[t].anomaly || (anomaly && strcmp(table[t].anomaly, anomaly) == 0)))
			return table[t].allowed;
	fail_msg("%s: no row for %s %s", z->name[i], kind, anomaly ? anomaly : "");
	return "";
}

static void judge_zoo(struct zoo *z, struct mm_daemon *d, bool must_be_found)
{
	char got[256];
	for (size_t i = 0; i < d->alerts->n; i++) { /* those that came and went, too */
		const struct mm_alert_rec *a = d->alerts->rec[i];
		size_t at = zoo_index(z, mm_reg_by_id(d, a->model)->rec.name);
		if (at != SIZE_MAX && !strstr(allowed(z, at), a->kind) &&
			!(strcmp(zoo_fact(z, at, "kind"), "anomaly") == 0 && a->state == MM_ALERT_RESOLVED))
			fail_msg("%s: %s: %s", z->name[at], a->kind, a->message);
	}
	for (size_t i = 0; i < z->m.k && must_be_found; i++)
		if (zoo_fact(z, i, "anomaly"))
			assert_string_equal(kinds_of(d, z->name[i], got), allowed(z, i));
}

/* Three orders; looked at after the first few arrivals, where rules that need a population must be silent, and later.
 */
static void test_zoo(void **state)
{
	(void)state;
	struct zoo z;
	zoo_open(&z);
	zoo_append(&z, "loglik_anomaly.npy", "models_anomaly.txt");
	for (uint64_t seed = 21; seed < 24; seed++) {
		struct mm_daemon d;
		struct mm_rng rng;
		size_t order[64];
		daemon_new(&d, &z.texts);
		sweep_start(&d);
		mm_rng_init(&rng, seed);
		for (size_t i = 0; i < z.m.k; i++)
			order[i] = i;
		for (size_t i = z.m.k; i > 1; i--) {
			size_t j = mm_rng_below(&rng, i), x = order[i - 1];
			order[i - 1] = order[j];
			order[j] = x;
		}
		for (size_t i = 0; i < z.m.k; i++) {
			if (strcmp(z.name[order[i]], "bard-mini") == 0)
				continue; /* byte-equal copies are no subject here */
			arrive_zoo(&z, &d, order[i]);
			if (i == 4) {
				until_tested(&d);
				assert_string_equal(mm_check_silent(&d), "not enough models yet");
				judge_zoo(&z, &d, false);
			}
		}
		until_tested(&d);
		assert_null(mm_check_silent(&d));
		judge_zoo(&z, &d, true);
		sweep_stop(&d);
		daemon_free(&d);
	}
	zoo_close(&z);
}

/* One of each, made; among a few models only, since none of these needs a population. */
static void test_kinds(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_rng rng;
	char got[256];
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	sweep_start(&d);
	size_t n = z.m.n, llama = zoo_index(&z, "llama-a"), neox = zoo_index(&z, "neox-a"),
	       perl = zoo_index(&z, "qwen2-a-perl");
	float *v = calloc(8 * n, sizeof(*v)), sample[MM_CHECK_SAMPLE], own[MM_CHECK_SAMPLE];
	float *garbage = v, *over = v + n, *flat = v + 2 * n, *uni = v + 3 * n, *kept = v + 4 * n, *step = v + 5 * n;
	mm_rng_init(&rng, 5);
	for (size_t s = 0; s < n; s++) {
		garbage[s] = -2100 + 0.3f * z.m.row[llama][s] + 40 * (float)mm_rng_normal(&rng);
		over[s] = z.m.row[llama][s] - 40 + 20 * (float)mm_rng_normal(&rng);
		uni[s] = -1250 + 80 * (float)mm_rng_normal(&rng);
		flat[s] = 1.01f * uni[s] + 8 * (float)mm_rng_normal(&rng);
		kept[s] = z.m.row[neox][s] + 2 * (float)mm_rng_normal(&rng);
	}
	arrive_zoo(&z, &d, llama);
	arrive_zoo(&z, &d, neox);
	arrive_zoo(&z, &d, perl);
	arrive_zoo(&z, &d, zoo_index(&z, "qwen2-a"));
	sample_of(&z, llama, sample);
	arrive(&z, &d, &(struct made){ "wrong-tok", "llama-a", garbage, sample, .tokens = 77 });
	arrive(&z, &d,
		&(struct made){
			"grown-tok", "llama-a", z.m.row[zoo_index(&z, "llama-a-mix-code-025")], sample, .tokens = 78 });
	memcpy(own, sample, sizeof(own));
	for (size_t i = 0; i < 60; i++)
		own[5 * i] *= 0.4f;
	arrive(&z, &d, &(struct made){ "half", "llama-a", over, own, .dtype = "f16" });
	memset(own, 0, sizeof(own));
	noise(own, "flat", 0.02f);
	arrive(&z, &d, &(struct made){ "flat", "qwen2-a", flat, own, .unigram = uni });
	/* the claim is wrong for one and right for the other; a path of another machine says nothing */
	sample_of(&z, perl, sample);
	noise(sample, "liar", 0.002f);
	arrive(&z, &d,
		&(struct made){ "liar", "qwen2-a-perl", z.m.row[zoo_index(&z, "qwen2-a-shakespeare")], sample,
			.claim = "someone/neox-a" });
	sample_of(&z, neox, sample);
	noise(sample, "honest", 0.002f);
	arrive(&z, &d,
		&(struct made){
			"honest", "neox-a", z.m.row[zoo_index(&z, "neox-a-python")], sample, .claim = "neox-a" });
	arrive(&z, &d, &(struct made){ "elsewhere", "neox-a", kept, sample, .claim = "/home/me/out/checkpoint-100" });
	/* a run: steps towards neox-a; step 5 went away and came back, step 7 lost one domain */
	for (int64_t at = 1; at <= 8; at++) {
		char name[32];
		memset(own, 0, sizeof(own));
		noise(own, "run", 0.02f);
		for (size_t s = 0; s < n; s++) {
			step[s] = z.m.row[neox][s] - 300 / (float)at + 6 * (float)mm_rng_normal(&rng);
			if (at == 5)
				step[s] += 70 * (float)mm_rng_normal(&rng);
			if (at == 7 && strcmp(z.texts.domain_name[z.texts.domain[s]], "wiki") == 0)
				step[s] -= 45;
		}
		snprintf(name, sizeof(name), "run/checkpoint-%d", (int)at);
		arrive(&z, &d, &(struct made){ name, "gpt2-a", step, own, .run = "run", .step = at });
	}
	until_tested(&d);
	static const struct {
		const char *name, *kinds;
	} want[] = {
		{ "llama-a", "" },
		{ "neox-a", "" },
		{ "qwen2-a-perl", "" },
		{ "wrong-tok", "tokenizer_mismatch" },
		{ "grown-tok", "" },
		{ "half", "overflow" },
		{ "flat", "diverged" },
		{ "liar", "impostor" },
		{ "honest", "" },
		{ "elsewhere", "" },
		{ "run/checkpoint-1", "" },
		{ "run/checkpoint-4", "" },
		{ "run/checkpoint-5", "jump" },
		{ "run/checkpoint-6", "" },
		{ "run/checkpoint-7", "regressed" },
		{ "run/checkpoint-8", "" },
	};
	for (size_t i = 0; i < MM_COUNT(want); i++)
		if (strcmp(kinds_of(&d, want[i].name, got), want[i].kinds) != 0)
			fail_msg("%s: \"%s\", expected \"%s\"", want[i].name, got, want[i].kinds);
	free(v);
	sweep_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_kinds), cmocka_unit_test(test_zoo) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
