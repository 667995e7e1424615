/* check_snap.c: what a sweep of the tests looks at: the live models that have a vector of their own, with copies of
 * what the registry, the scores and the store say of them. Loop thread; the vectors stay while the map is pinned. */
#include "daemon/check_priv.h"
#include "daemon/map_priv.h"
#include "daemon/scores.h"

#include <math.h>
#include <string.h>

void mm_sweep_free(struct mm_sweep *w)
{
	for (size_t i = 0; i < w->k; i++) {
		struct mm_check_model *m = &w->m[i];
		json_decref(m->more);
		mm_free(m->name);
		mm_free(m->dtype);
		mm_free(m->claim);
		for (size_t o = 0; o < MM_ODD_COUNT; o++)
			mm_finding_fini(&m->odd[o]);
	}
	mm_free(w->bytes);
	mm_free(w->size);
	mm_free(w->m);
	mm_free(w);
}

static uint64_t group_of(const struct mm_model_rec *r)
{
	char key[600];
	snprintf(key, sizeof(key), "%s|%s|%llu|%llu", r->family ? r->family : "",
		r->architecture ? r->architecture : "", (unsigned long long)r->params, (unsigned long long)r->vocab);
	return mm_hash64(key, strlen(key));
}

static double score_of(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	double sum = 0, v;
	size_t n = mm_scores_n_bench(d);
	for (size_t b = 0; b < n; b++) {
		if (!mm_scores_get(d, e, b, &v))
			return NAN; /* a mean over other benchmarks is another number */
		sum += v;
	}
	return n ? sum / (double)n : NAN;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Names by their hashes: every checkpoint of the usual writers claims something, and the loop must not compare each
 * claim with each name. */
struct named {
	uint64_t hash; /* of the whole name, or of its last part in small letters */
	size_t at;
};

static int cmp_named(const void *p, const void *q)
{
	const struct named *a = p, *b = q;
	return a->hash != b->hash ? (a->hash < b->hash ? -1 : 1) : a->at < b->at ? -1 : a->at > b->at;
}

static uint64_t hash_whole(const char *s)
{
	return mm_hash64(s, strlen(s));
}

static uint64_t hash_part(const char *s)
{
	char small[512];
	size_t n = strlen(s);
	n = MM_MIN(n, sizeof(small));
	for (size_t i = 0; i < n; i++)
		small[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
	return ~mm_hash64(small, n);
}

static size_t first_named(const struct named *v, size_t n, uint64_t hash)
{
	size_t from = 0, to = n;
	while (from < to) {
		size_t at = from + (to - from) / 2;
		if (v[at].hash < hash)
			from = at + 1;
		else
			to = at;
	}
	return from;
}

/* The model of the map that is called like that, whole or by its last part, when only one is. Paths of other machines
 * end in names like checkpoint-500 that say nothing. */
static size_t claimed_of(const struct mm_sweep *w, const struct named *v, size_t n, size_t self)
{
	const char *claim = w->m[self].claim;
	size_t found = SIZE_MAX;
	if (!claim)
		return SIZE_MAX;
	uint64_t h = hash_whole(claim);
	for (size_t i = first_named(v, n, h); i < n && v[i].hash == h; i++)
		if (strcmp(w->m[v[i].at].name, claim) == 0)
			return v[i].at == self ? SIZE_MAX : v[i].at;
	const char *part = last_part(claim);
	if (!*part || strncmp(part, "checkpoint", 10) == 0 || strspn(part, "0123456789.") == strlen(part))
		return SIZE_MAX;
	h = hash_part(part);
	for (size_t i = first_named(v, n, h); i < n && v[i].hash == h; i++) {
		if (strcasecmp(last_part(w->m[v[i].at].name), part) != 0)
			continue;
		if (found != SIZE_MAX)
			return SIZE_MAX; /* several are called like that */
		found = v[i].at;
	}
	return found != self ? found : SIZE_MAX;
}

static int claims(struct mm_sweep *w, struct mm_err *err)
{
	struct named *v = mm_calloc(2 * w->k + 1, sizeof(*v), err);
	if (!v)
		return -1;
	for (size_t i = 0; i < w->k; i++) {
		v[2 * i] = (struct named){ hash_whole(w->m[i].name), i };
		v[2 * i + 1] = (struct named){ hash_part(last_part(w->m[i].name)), i };
	}
	qsort(v, 2 * w->k, sizeof(*v), cmp_named);
	for (size_t i = 0; i < w->k; i++)
		w->m[i].claimed = claimed_of(w, v, 2 * w->k, i);
	mm_free(v);
	return 0;
}

static int copy(char **to, const char *from, struct mm_err *err)
{
	*to = from && *from ? mm_strdup(from, err) : NULL;
	return from && *from && !*to ? -1 : 0;
}

static int model_new(struct mm_daemon *d, const struct mm_place *p, struct mm_check_model *m, struct mm_err *err)
{
	const struct mm_model_rec *r = &p->e->rec;
	const struct mm_check_row *row = mm_check_of(d, p->e);
	*m = (struct mm_check_model){ .id = r->id,
		.group = group_of(r),
		.vec = mm_map_vec(d, p->e),
		.healthy = !mm_alerts_anomaly_open(d, r->id),
		.test = true,
		.leaked = row && row->leaked,
		.claimed = SIZE_MAX,
		.run = r->run ? mm_hash64(r->run, strlen(r->run)) | 1 : 0,
		.step = r->step,
		.score = score_of(d, p->e) };
	m->usable = !m->leaked && m->healthy;
	m->name = mm_strdup(r->name ? r->name : "", err);
	if (!m->name || copy(&m->dtype, r->dtype, err) || copy(&m->claim, r->base_claimed, err))
		return -1;
	m->facts = mm_check_facts(d, p->e, p->version, err);
	return m->facts ? 0 : -1;
}

size_t mm_check_n_live(const struct mm_daemon *d)
{
	size_t n = 0;
	for (size_t i = 0; i < d->map->n; i++)
		n += mm_map_live(d, d->map->member[i]) && !d->map->member[i]->e->rec.same_as;
	return n;
}

static void domain_bytes(const struct mm_texts *t, double *bytes)
{
	for (size_t c = 0; c < t->n_domain; c++) {
		double sum = 0;
		size_t n = 0;
		for (size_t s = 0; s < t->n; s++)
			if (t->domain[s] == c) {
				sum += (double)t->len[s];
				n++;
			}
		bytes[c] = n ? sum / (double)n : 0;
	}
}

static uint64_t bits_of(double x)
{
	uint64_t u;
	memcpy(&u, &x, sizeof(u));
	return u;
}

struct mm_sweep *mm_sweep_new(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_sweep *w = mm_calloc(1, sizeof(*w), err);
	if (!w)
		return NULL;
	w->n = d->texts.n;
	w->texts = &d->texts;
	w->m = mm_calloc(d->map->n + 1, sizeof(*w->m), err);
	w->bytes = w->m ? mm_calloc(d->texts.n_domain + 1, sizeof(*w->bytes), err) : NULL;
	if (!w->bytes) {
		mm_sweep_free(w);
		return NULL;
	}
	domain_bytes(&d->texts, w->bytes);
	uint64_t sign = 1469598103934665603ull;
	for (size_t i = 0; i < d->map->n; i++) {
		const struct mm_place *p = d->map->member[i];
		if (!mm_map_live(d, p) || p->e->rec.same_as)
			continue;
		struct mm_check_model *m = &w->m[w->k++];
		if (model_new(d, p, m, err)) {
			mm_sweep_free(w);
			return NULL;
		}
		uint64_t bits[4] = { m->id, p->version, m->usable, bits_of(m->score) };
		sign = sign * 1099511628211ull ^ mm_hash64(bits, sizeof(bits));
	}
	if (claims(w, err)) {
		mm_sweep_free(w);
		return NULL;
	}
	w->sign = sign;
	w->leaks = w->k >= MM_LEAK_MIN_MODELS && w->n >= MM_LEAK_MIN_TEXTS;
	return w;
}

const char *mm_check_silent(const struct mm_daemon *d)
{
	return d->texts.n < MM_LEAK_MIN_TEXTS			    ? "the text set is too small for tests of leaks"
	       : !d->map || mm_check_n_live(d) < MM_LEAK_MIN_MODELS ? "not enough models yet"
								    : NULL;
}
