/* bench_map.c: a full map epoch and one more model, beside scikit-learn in the same run.
 *
 * bench_map            K = 1,018, N = 10,000, synthetic; then the growth of the embedding to K = 10,000
 * bench_map FILE.npy   the vectors of a file, with scaling and the quality of every layout in the same measure
 * bench_map place       one more model alone, at K = 1,018 and 10,000
 * MM_BENCH_LARGE=1     K = 10,000 x N = 10,000 and the embedding of 100,000 too (minutes; without the peer) */
#include "stat/stat.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct mm_err err;
#define MUST(x)                                                                                                        \
	do {                                                                                                           \
		if (x) {                                                                                               \
			fprintf(stderr, "%s: %s\n", #x, err.text);                                                     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

struct data {
	struct mm_mat m;
	float *v, **row;
};

/* Families of models around a common difficulty of the texts: a tree with noise, like what scoring gives. */
static void make(struct data *d, size_t k, size_t n)
{
	struct mm_rng r;
	size_t n_family = 1 + k / 25;
	mm_rng_init(&r, 1);
	float *hard = malloc(n * sizeof(float)), *fam = malloc(n_family * n * sizeof(float));
	for (size_t s = 0; s < n; s++)
		hard[s] = (float)(-900 + 140 * mm_rng_normal(&r));
	for (size_t a = 0; a < n_family * n; a++)
		fam[a] = (float)(30 * mm_rng_normal(&r));
	d->v = malloc(k * n * sizeof(float));
	d->row = malloc(k * sizeof(float *));
	for (size_t i = 0; i < k; i++) {
		float *x = d->row[i] = d->v + i * n, level = (float)(60 * mm_rng_normal(&r));
		float own = (float)(6 + 20 * mm_rng_double(&r));
		for (size_t s = 0; s < n; s++) /* a cheap bell shape: the sum of three uniforms */
			x[s] = hard[s] + level + fam[i % n_family * n + s] +
			       own * (float)(2 * (mm_rng_double(&r) + mm_rng_double(&r) + mm_rng_double(&r)) - 3);
	}
	d->m = (struct mm_mat){ (const float *const *)d->row, k, n };
	free(hard);
	free(fam);
}

static void load(struct data *d, const char *path)
{
	size_t len;
	struct mm_npy a;
	char *raw = mm_file_read(path, (size_t)1 << 34, &len, &err);
	MUST(!raw);
	MUST(mm_npy_parse(&a, raw, len, &err));
	bool wide = strcmp(a.descr, "<f8") == 0;
	size_t k = a.shape[0], n = a.shape[1];
	d->v = malloc(k * n * sizeof(float));
	d->row = malloc(k * sizeof(float *));
	for (size_t i = 0; i < k * n; i++) {
		double v8;
		float v4;
		memcpy(&v8, a.data + 8 * (wide ? i : 0), 8);
		memcpy(&v4, a.data + 4 * i, 4);
		d->v[i] = wide ? (float)v8 : v4;
	}
	for (size_t i = 0; i < k; i++)
		d->row[i] = d->v + i * n;
	d->m = (struct mm_mat){ (const float *const *)d->row, k, n };
	mm_free(raw);
}

static void drop(struct data *d)
{
	free(d->v);
	free(d->row);
}

static double peak_mb(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_maxrss / 1024;
}

/* ---- the peer ---- */

struct peer {
	char dir[64];
	double clip, centre, distances, pca, tsne, tsne_kl, mds, mds_stress;
	bool there;
};

static void peer_run(struct peer *p, const struct data *d, bool mds)
{
	char path[128], cmd[512], line[256], name[64];
	struct mm_buf b = { 0 };
	double v;
	memset(p, 0, sizeof(*p));
	strcpy(p->dir, "/tmp/mm-bench-XXXXXX");
	if (!mkdtemp(p->dir))
		return;
	mm_npy_header(&b, "<f4", 2, (size_t[2]){ d->m.k, d->m.n });
	snprintf(path, sizeof(path), "%s/x.npy", p->dir);
	FILE *f = fopen(path, "wb");
	fwrite(b.data, 1, b.len, f);
	fwrite(d->v, sizeof(float), d->m.k * d->m.n, f);
	fclose(f);
	mm_buf_fini(&b);
	/* /usr/bin/python3: the one for which the distribution's scikit-learn is installed */
	snprintf(cmd, sizeof(cmd),
		"OMP_NUM_THREADS=%u /usr/bin/python3 tests/bench/stat/peer.py %s %s 0.02 %s 2>/dev/null", mm_threads(),
		path, p->dir, mds ? "mds" : "");
	f = popen(cmd, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lf", name, &v) == 2) {
			struct {
				const char *n;
				double *to;
			} t[] = { { "clip", &p->clip }, { "centre", &p->centre }, { "distances", &p->distances },
				{ "pca", &p->pca }, { "tsne", &p->tsne }, { "tsne_kl", &p->tsne_kl },
				{ "mds", &p->mds }, { "mds_stress", &p->mds_stress } };
			for (size_t i = 0; i < MM_COUNT(t); i++)
				if (strcmp(t[i].n, name) == 0)
					*t[i].to = v;
		}
	p->there = f && pclose(f) == 0;
}

static double *peer_layout(const struct peer *p, const char *name, size_t k)
{
	char path[128];
	size_t len;
	struct mm_npy a;
	snprintf(path, sizeof(path), "%s/%s.npy", p->dir, name);
	char *raw = mm_file_read(path, (size_t)1 << 30, &len, &err);
	if (!raw)
		return NULL;
	double *c = NULL;
	if (mm_npy_parse(&a, raw, len, &err) == 0 && a.shape[0] == k && strcmp(a.descr, "<f8") == 0) {
		c = malloc(2 * k * sizeof(double));
		memcpy(c, a.data, 2 * k * sizeof(double));
	}
	mm_free(raw);
	return c;
}

static void peer_drop(struct peer *p)
{
	char cmd[128];
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", p->dir);
	if (strncmp(p->dir, "/tmp/mm-bench-", 14) == 0 && system(cmd) != 0)
		fprintf(stderr, "%s stays\n", p->dir);
}

/* ---- tables ---- */

static void quality_line(const char *what, const struct mm_tri *t, double *c, double kl)
{
	struct mm_quality q;
	if (!c)
		return;
	MUST(mm_quality_of(&q, t, c, 2, 0, &err));
	printf("  %-22s trustworthiness %.4f  continuity %.4f  recall@10 %.4f  stress %.4f", what, q.trustworthiness,
		q.continuity, q.knn_recall, q.stress);
	if (kl > 0)
		printf("  KL %.4f", kl);
	printf("\n");
}

static void row(const char *what, double ours, double theirs)
{
	if (theirs > 0)
		printf("  %-22s %8.3f s   scikit-learn %8.3f s   %6.1f times\n", what, ours, theirs, theirs / ours);
	else
		printf("  %-22s %8.3f s\n", what, ours);
}

static double *two_of(const struct mm_pca *p)
{
	double *c = malloc(2 * p->k * sizeof(double));
	for (size_t i = 0; i < p->k; i++)
		memcpy(c + 2 * i, p->coord + p->dims * i, 2 * sizeof(double));
	return c;
}

/* Distances, projection, and a place in each layout; two[k, 2] and three[k, 3] stand for the layouts. */
static void one_more(
	const struct data *d, const struct mm_pca *p, const double *tsne, const double *mds, const double *three)
{
	double *dist = malloc(d->m.k * sizeof(double)), c[3], t[6];
	float *x = malloc(d->m.n * sizeof(float));
	struct mm_tsne_opts space = mm_tsne_default;
	space.dims = 3;
	for (size_t s = 0; s < d->m.n; s++)
		x[s] = 0.5F * (d->row[0][s] + d->row[1][s]);
	t[0] = mm_monotonic();
	mm_dist_row(&d->m, x, p->clip, dist);
	mm_pca_place(p, x, c);
	t[1] = mm_monotonic();
	MUST(mm_tsne_place(dist, tsne, d->m.k, &mm_tsne_default, c, &err));
	t[2] = mm_monotonic();
	mm_mds_place(dist, mds, d->m.k, 2, c);
	t[3] = mm_monotonic();
	MUST(mm_tsne_place(dist, three, d->m.k, &space, c, &err));
	t[4] = mm_monotonic();
	mm_mds_place(dist, three, d->m.k, 3, c);
	t[5] = mm_monotonic();
	printf("  one more model: %.1f ms: distances and projection %.2f, t-SNE %.2f, MDS %.2f; in space %.2f, %.2f\n",
		1e3 * (t[5] - t[0]), 1e3 * (t[1] - t[0]), 1e3 * (t[2] - t[1]), 1e3 * (t[3] - t[2]), 1e3 * (t[4] - t[3]),
		1e3 * (t[5] - t[4]));
	free(x);
	free(dist);
}

/* The same without the epoch: any axes and places do. */
static void place_only(size_t k, size_t n)
{
	struct data d;
	struct mm_rng r;
	double *c = malloc(3 * k * sizeof(double)), clip;
	mm_rng_init(&r, 9);
	make(&d, k, n);
	MUST(mm_quantile(&d.m, 0.02, &clip, &err));
	struct mm_pca p = { .k = k, .n = n, .dims = 3, .clip = clip };
	p.col_mean = calloc(n, sizeof(double));
	p.axis = calloc(3 * n, sizeof(float));
	mm_col_means(&d.m, clip, p.col_mean);
	for (size_t i = 0; i < 3 * n; i++)
		p.axis[i] = (float)(mm_rng_normal(&r) / sqrt((double)n));
	for (size_t i = 0; i < 3 * k; i++)
		c[i] = 20 * mm_rng_normal(&r);
	printf("K = %zu, N = %zu, %u threads\n", k, n, mm_threads());
	for (int i = 0; i < 3; i++)
		one_more(&d, &p, c, c, c);
	free(p.axis);
	free(p.col_mean);
	free(c);
	drop(&d);
}

static void epoch(const struct data *d, bool with_mds)
{
	struct peer peer;
	struct mm_tri t;
	struct mm_pca p;
	struct mm_mds md = { 0 };
	double clip, kl, t0, t_clip, t_dist, t_pca, t_tsne, t_mds;
	printf("K = %zu, N = %zu, %u threads\n", d->m.k, d->m.n, mm_threads());
	memset(&peer, 0, sizeof(peer));
	if (d->m.k <= 2000) /* minutes, above */
		peer_run(&peer, d, with_mds);
	double before = peak_mb();
	t0 = mm_monotonic();
	MUST(mm_quantile(&d->m, 0.02, &clip, &err));
	t_clip = mm_monotonic();
	MUST(mm_dist_matrix(&d->m, clip, &t, &err));
	t_dist = mm_monotonic();
	MUST(mm_pca_fit(&p, &d->m, &t, clip, 3, &err));
	t_pca = mm_monotonic();
	double *c = two_of(&p), *m = two_of(&p);
	MUST(mm_tsne_run(&t, &mm_tsne_default, c, &kl, &err));
	t_tsne = mm_monotonic();
	MUST(mm_mds_smacof(&t, 2, 300, 1e-6, NULL, m, &md, &err));
	t_mds = mm_monotonic();
	row("threshold", t_clip - t0, peer.clip);
	row("centring, distances", t_dist - t_clip, peer.centre + peer.distances);
	row("PCA", t_pca - t_dist, peer.pca);
	row("t-SNE, 1,000 rounds", t_tsne - t_pca, peer.tsne);
	row("epoch so far", t_tsne - t0,
		peer.there ? peer.clip + peer.centre + peer.distances + peer.pca + peer.tsne : 0);
	row("SMACOF", t_mds - t_tsne, peer.mds);
	printf("  SMACOF: %zu rounds, raw stress %.6g (scikit-learn %.6g)\n", md.n_iter, md.raw_stress,
		peer.mds_stress);
	printf("  peak memory %.0f MB before, %.0f MB after; vectors %.0f MB\n", before, peak_mb(),
		(double)(d->m.k * d->m.n) * 4 / 1048576);
	one_more(d, &p, c, m, p.coord);
	if (d->m.k <= 2000) {
		double *pc = two_of(&p);
		quality_line("PCA", &t, pc, 0);
		quality_line("t-SNE", &t, c, kl);
		quality_line("SMACOF", &t, m, 0);
		free(pc);
		const char *const names[] = { "pca", "tsne", "mds" };
		for (size_t i = 0; i < 3 && peer.there; i++) {
			char what[64];
			double *pl = peer_layout(&peer, names[i], d->m.k);
			snprintf(what, sizeof(what), "scikit-learn %s", names[i]);
			quality_line(what, &t, pl, i == 1 ? peer.tsne_kl : 0);
			free(pl);
		}
	}
	if (!peer.there && d->m.k <= 2000)
		printf("  (no scikit-learn here: python3-sklearn)\n");
	if (peer.dir[0])
		peer_drop(&peer);
	free(c);
	free(m);
	mm_pca_fini(&p);
	mm_tri_fini(&t);
}

/* ---- growth of the embedding alone: neighbours of points in the plane, found by cells ---- */

static void grow(size_t k, size_t rounds)
{
	struct mm_rng r;
	size_t w = 91;
	mm_rng_init(&r, 3);
	double *y = malloc(2 * k * sizeof(double)), kl;
	struct mm_near *near = malloc(k * w * sizeof(*near));
	/* on a closed curve, neighbours are known without a search */
	for (size_t i = 0; i < k; i++) {
		y[2 * i] = mm_rng_normal(&r);
		y[2 * i + 1] = mm_rng_normal(&r);
		for (size_t a = 0; a < w; a++) {
			size_t off = a / 2 + 1, j = a % 2 ? (i + off) % k : (i + k - off) % k;
			near[i * w + a] = (struct mm_near){ (uint32_t)j, (float)(off * off) };
		}
	}
	struct mm_affinity aff;
	struct mm_tsne_opts o = mm_tsne_default;
	double t0 = mm_monotonic(), t1;
	o.n_iter = rounds;
	o.exact_max = 0;
	MUST(mm_tsne_affinity(&aff, near, k, w, 30, &err));
	t1 = mm_monotonic();
	MUST(mm_tsne_fit(&aff, &o, y, &kl, &err));
	double t = mm_monotonic() - t1;
	printf("  t-SNE K = %6zu: affinities %.2f s, a round %7.2f ms, %.1f ns / (K log2 K)\n", k, t1 - t0,
		1e3 * t / (double)rounds, 1e9 * t / (double)rounds / ((double)k * log2((double)k)));
	mm_affinity_fini(&aff);
	free(near);
	free(y);
}

int main(int argc, char **argv)
{
	struct data d;
	mm_threads_set(0);
	if (argc > 1 && strcmp(argv[1], "place") == 0) {
		place_only(1018, 10000);
		place_only(10000, 10000);
		return 0;
	}
	if (argc > 1) {
		load(&d, argv[1]);
		epoch(&d, true);
		drop(&d);
		return 0;
	}
	make(&d, 1018, 10000);
	epoch(&d, false);
	drop(&d);
	bool large = getenv("MM_BENCH_LARGE") != NULL;
	for (size_t k = 1000; k <= (large ? 100000u : 10000u); k *= 10)
		grow(k, 200);
	if (large) {
		make(&d, 10000, 10000);
		epoch(&d, false);
		drop(&d);
	}
	return 0;
}
