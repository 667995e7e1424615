/* bench_score.c - how fast and in how much memory modelmap-score scores checkpoints of given shapes (bench_shapes.h),
 * beside the rate of a plain matrix product measured in the same round.
 *
 *	bench_score [-s SHAPES] [-c COMPUTES] [-t THREADS] [-n ROUNDS] [-x TEXTS] [-m MEMORY] [-w DTYPE] [-j FILE] [-p]
 *	bench_score --write SHAPE DIR [f32|bf16] [sparse]      a checkpoint to try things with
 *
 * TEXTS of 100 to 400 tokens; without -x as many as make 4e12 operations. Checkpoints are written to $BENCH_DIR
 * (default /tmp/modelmap-bench) once and kept.
 *
 * In each round every combination runs once, product before scoring, so that what drifts on the machine drifts for
 * both. Times are of the scoring alone, all logits computed. Shares are quotients of arithmetic a second of processor
 * time (attention's not counted): other load on the machine falls out, while it does not out of tokens/s, which are by
 * the clock. Peak memory is the kernel's ru_maxrss of the process.
 *
 * -p: other programs that are on the machine take turns with ours (bench_peers.h), with weights of the arithmetic's own
 * type on both sides, which is what makes ratios. */
#include "bench_peers.h"

#include <fcntl.h>
#include <getopt.h>
#include <omp.h>
#include <spawn.h>
#include <sys/resource.h>

#define ROUNDS_MAX 32
#define GEMM_N	   2048

extern char **environ;

static struct {
	const char *shapes, *computes, *threads, *memory, *json, *dir;
	int rounds, texts;
	enum mm_dtype dtype;
	bool peers;
} opt = { "s,n,m,t", "f32,bf16", "1,2", NULL, NULL, "/tmp/modelmap-bench", 3, 0, MM_BF16, false };

static bool has_peer[PEER_COUNT];
static const char *python;

static double cpu_now(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_utime.tv_sec + 1e-6 * (double)u.ru_utime.tv_usec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(const double *x, size_t n)
{
	double s[ROUNDS_MAX];
	memcpy(s, x, n * sizeof(*s));
	qsort(s, n, sizeof(*s), by_value);
	return n ? (s[(n - 1) / 2] + s[n / 2]) / 2 : 0;
}

/* ---- the matrix product: GFLOP a second of processor time of one thread, times the threads ---- */

static double gemm_rate(enum mm_dtype compute, int threads)
{
	static float *w, *x, *y;
	struct mm_err err;
	size_t rows = 8 * MM_TILE, n = GEMM_N;
	if (compute == MM_BF16 && !mm_lin_can(MM_BF16))
		return 0;
	if (!w) {
		w = mm_calloc(n * n, sizeof(float), &err);
		x = mm_calloc(rows * n, sizeof(float), &err);
		y = mm_calloc(rows * n, sizeof(float), &err);
		for (size_t i = 0; i < n * n; i++)
			w[i] = x[i % (rows * n)] = (float)(i % 251) / 251 - 0.5f;
	}
	mm_threads_set((unsigned)threads);
	struct mm_lin *lin = mm_lin_new(n, n, w, NULL, compute, &err);
	if (!lin)
		return 0;
	mm_lin_rows(lin, rows, x, y);
	double cpu = cpu_now(), wall = mm_monotonic(), flops = 0;
	while (mm_monotonic() - wall < 0.4) {
		mm_lin_rows(lin, rows, x, y);
		flops += 2.0 * (double)(rows * n * n);
	}
	mm_lin_free(lin);
	return flops / (cpu_now() - cpu) * threads / 1e9;
}

/* ---- one run of the program ---- */

struct run {
	double wall, cpu, load, tokens, peak; /* seconds, seconds, seconds, tokens, bytes */
	bool ok;
};

static const char *program(void)
{
	static char path[600];
	const char *bin = getenv("BIN"), *out = getenv("OUT");
	snprintf(path, sizeof(path), "%s/modelmap-score", bin ? bin : out ? out : "build/bin");
	return path;
}

static struct run score(const char *model, const char *texts, const char *compute, const char *threads)
{
	char out[600];
	struct run r = { 0 };
	struct mm_err err = { 0 };
	struct rusage u = { 0 };
	int status = 0;
	pid_t pid;
	snprintf(out, sizeof(out), "%s/result.json", opt.dir);
	const char *argv[] = { program(), "--texts", texts, "--compute", compute, "--threads", threads, "-o", out,
		model, opt.memory ? "--memory" : NULL, opt.memory, NULL };
	if (posix_spawn(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ) ||
		wait4(pid, &status, 0, &u) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		return r;
	json_t *j = mm_json_load(out, 1u << 30, &err);
	r.ok = j != NULL;
	r.wall = json_number_value(json_object_get(j, "seconds"));
	r.cpu = json_number_value(json_object_get(j, "seconds_cpu"));
	r.load = json_number_value(json_object_get(j, "seconds_load"));
	r.tokens = (double)json_integer_value(json_object_get(j, "n_tokens_total"));
	r.peak = (double)u.ru_maxrss * 1024;
	json_decref(j);
	return r;
}

/* ---- the table ---- */

struct row {
	const struct shape *s;
	char compute[8], threads[8];
	double rate[ROUNDS_MAX], share[ROUNDS_MAX], gemm[ROUNDS_MAX], peak[ROUNDS_MAX], load[ROUNDS_MAX];
	double peer[PEER_COUNT][ROUNDS_MAX], ratio[PEER_COUNT][ROUNDS_MAX];
	size_t n, n_peer[PEER_COUNT];
};

static bool listed(const char *list, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = list; (p = strstr(p, name)); p += n)
		if ((p == list || p[-1] == ',') && (!p[n] || p[n] == ','))
			return true;
	return false;
}

static size_t rows_make(struct row *row, size_t cap)
{
	static const char *const computes[] = { "f32", "bf16" }, *const threads[] = { "1", "2", "4", "8", "16" };
	size_t n = 0;
	for (size_t i = 0; i < MM_COUNT(shapes); i++)
		for (size_t c = 0; c < 2; c++)
			for (size_t t = 0; t < MM_COUNT(threads); t++) {
				if (!listed(opt.shapes, shapes[i].name) || !listed(opt.computes, computes[c]) ||
					!listed(opt.threads, threads[t]) || (c && !mm_lin_can(MM_BF16)) || n == cap)
					continue;
				row[n] = (struct row){ .s = &shapes[i] };
				snprintf(row[n].compute, sizeof(row[n].compute), "%s", computes[c]);
				snprintf(row[n].threads, sizeof(row[n].threads), "%s", threads[t]);
				n++;
			}
	return n;
}

static void model_path(const struct shape *s, char out[600])
{
	snprintf(out, 600, "%s/%s-%s", opt.dir, s->name, mm_dtypes[opt.dtype].name);
}

static int texts_of(const struct shape *s)
{
	double n = 4e12 / shape_flops(s) / 250;
	return opt.texts > 0 ? opt.texts : n < 8 ? 8 : n > 1000 ? 1000 : (int)n;
}

static void texts_path(const struct shape *s, char out[640])
{
	snprintf(out, 640, "%s/texts-%d.jsonl", opt.dir, texts_of(s));
}

static void gguf_path(const struct shape *s, const char *compute, char out[640])
{
	snprintf(out, 640, "%s/%s-%s.gguf", opt.dir, s->name, compute);
}

static void round_peers(struct row *r)
{
	char gguf[640], text[640];
	gguf_path(r->s, r->compute, gguf);
	snprintf(text, sizeof(text), "%s/peers.txt", opt.dir);
	peer_files(r->s, gguf, text, strcmp(r->compute, "bf16") ? MM_F32 : MM_BF16);
	for (int p = 0; p < PEER_COUNT; p++) {
		double v = has_peer[p] ? peer_run((enum peer)p, r->s, gguf, text, python, r->compute, r->threads) : 0;
		if (v <= 0)
			continue;
		r->peer[p][r->n_peer[p]] = v;
		r->ratio[p][r->n_peer[p]++] = r->rate[r->n - 1] / v;
	}
}

static void round_run(struct row *r)
{
	char model[600], texts[640];
	int threads = atoi(r->threads);
	enum mm_dtype compute = strcmp(r->compute, "bf16") ? MM_F32 : MM_BF16;
	model_path(r->s, model);
	texts_path(r->s, texts);
	double before = gemm_rate(compute, threads);
	struct run x = score(model, texts, r->compute, r->threads);
	double gemm = (before + gemm_rate(compute, threads)) / 2;
	if (!x.ok || x.wall <= 0) {
		fprintf(stderr, "bench_score: %s %s failed\n", model, r->compute);
		return;
	}
	r->rate[r->n] = x.tokens / x.wall;
	r->gemm[r->n] = gemm;
	r->share[r->n] = x.cpu > 0 ? shape_flops(r->s) * x.tokens / x.cpu * threads / 1e9 / gemm : 0;
	r->load[r->n] = x.load;
	r->peak[r->n++] = x.peak;
	if (opt.peers && gguf_can(r->s))
		round_peers(r);
}

static double file_bytes(const struct shape *s)
{
	char model[600], path[640];
	struct stat st;
	model_path(s, model);
	snprintf(path, sizeof(path), "%s/model.safetensors", model);
	return stat(path, &st) ? 0 : (double)st.st_size;
}

static void tell_peers(const struct row *r, json_t *list)
{
	for (int p = 0; p < PEER_COUNT; p++) {
		double rate = median(r->peer[p], r->n_peer[p]), ratio = median(r->ratio[p], r->n_peer[p]);
		if (!r->n_peer[p])
			continue;
		printf("      %-16s %10.0f tokens/s, ours %.2f times as fast (median of %zu)\n", peer_names[p], rate,
			ratio, r->n_peer[p]);
		json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:i}", "name", peer_names[p], "tokens_per_s",
						    rate, "ratio", ratio, "rounds", (int)r->n_peer[p]));
	}
}

static void tell(const struct row *row, size_t n)
{
	json_t *list = json_array();
	printf("%-5s %-5s %7s %10s %12s %8s %8s %8s %9s\n", "shape", "type", "threads", "tokens/s", "GEMM GF/s",
		"share", "load s", "peak MB", "of file");
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &row[i];
		double peak = median(r->peak, r->n);
		printf("%-5s %-5s %7s %10.0f %12.0f %7.1f%% %8.2f %8.0f %9.2f\n", r->s->name, r->compute, r->threads,
			median(r->rate, r->n), median(r->gemm, r->n), 100 * median(r->share, r->n),
			median(r->load, r->n), peak / 1e6, peak / file_bytes(r->s));
		json_t *peers = json_array();
		tell_peers(r, peers);
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "shape",
				      r->s->name, "what", r->s->what, "compute", r->compute, "threads",
				      atoi(r->threads), "texts", texts_of(r->s), "rounds", (int)r->n, "tokens_per_s",
				      median(r->rate, r->n), "gemm_gflops", median(r->gemm, r->n), "share",
				      median(r->share, r->n), "load_s", median(r->load, r->n), "peak_bytes", peak,
				      "file_bytes", file_bytes(r->s), "peers", peers));
	}
	json_t *j = json_pack("{s:o, s:s}", "rows", list, "dtype", mm_dtypes[opt.dtype].name);
	if (opt.json && j && json_dump_file(j, opt.json, JSON_INDENT(2)))
		fprintf(stderr, "bench_score: cannot write %s\n", opt.json);
	json_decref(j);
}

static const struct shape *shape_of(const char *name)
{
	for (size_t i = 0; i < MM_COUNT(shapes); i++)
		if (!strcmp(shapes[i].name, name))
			return &shapes[i];
	fprintf(stderr, "bench_score: no shape %s\n", name);
	exit(2);
}

static int write_main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	bool sparse = !strcmp(argv[argc - 1], "sparse");
	shape_write(shape_of(argv[2]), argv[3], argc > 4 && !strcmp(argv[4], "f32") ? MM_F32 : MM_BF16, sparse);
	return 0;
}

static void options(int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "s:c:t:n:x:m:w:j:p")) != -1;)
		switch (c) {
		case 's':
			opt.shapes = optarg;
			break;
		case 'c':
			opt.computes = optarg;
			break;
		case 't':
			opt.threads = optarg;
			break;
		case 'n':
			opt.rounds = MM_MIN(MM_MAX(atoi(optarg), 1), ROUNDS_MAX);
			break;
		case 'x':
			opt.texts = atoi(optarg);
			break;
		case 'm':
			opt.memory = optarg;
			break;
		case 'w':
			opt.dtype = strcmp(optarg, "f32") ? MM_BF16 : MM_F32;
			break;
		case 'j':
			opt.json = optarg;
			break;
		case 'p':
			opt.peers = true;
			break;
		default:
			exit(2);
		}
}

int main(int argc, char **argv)
{
	static struct row row[64];
	char texts[640], model[600], path[640];
	struct mm_err err;
	if (argc > 1 && !strcmp(argv[1], "--write"))
		return write_main(argc, argv);
	options(argc, argv);
	if (getenv("BENCH_DIR"))
		opt.dir = getenv("BENCH_DIR");
	if (mm_mkdirs(opt.dir, 0755, &err))
		return 1;
	for (int p = 0; opt.peers && p < PEER_COUNT; p++)
		if (!(has_peer[p] = peer_has((enum peer)p, &python)))
			fprintf(stderr, "bench_score: no %s here\n", peer_names[p]);
	size_t n = rows_make(row, MM_COUNT(row));
	for (size_t i = 0; i < n; i++) {
		model_path(row[i].s, model);
		snprintf(path, sizeof(path), "%s/model.safetensors", model);
		if (access(path, R_OK))
			shape_write(row[i].s, model, opt.dtype, false);
		texts_path(row[i].s, texts);
		texts_write(texts, (size_t)texts_of(row[i].s));
	}
	for (int k = 0; k < opt.rounds; k++)
		for (size_t i = 0; i < n; i++)
			round_run(&row[i]);
	tell(row, n);
	return 0;
}
