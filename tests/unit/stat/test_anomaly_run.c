/* The rules about steps of a run on simulated runs: how often they are wrong about healthy ones, and what they see.
 *
 * A run walks through the space of log-likelihoods with directions that persist; its legs shrink, stay or double like
 * its step numbers; each checkpoint has noise of its own, three times as strong in one as in another. Legs are those of
 * published runs, 0.01 to 0.07 bits per byte. */
#include "stat/stat_anomaly.h"
#include "util.h"

#include <math.h>

#define T	300
#define STEPS	30
#define RUNS	5
#define BYTES	512.0
#define DOMAINS 5

static double spread(double kl) /* of a difference whose divergence is that, in nats per text */
{
	return sqrt(2 * kl * BYTES * log(2));
}

struct run {
	float v[STEPS][T];
	size_t n;
	double d[STEPS], across[STEPS], mean[STEPS];
};

static void walk(struct run *run, struct mm_rng *r)
{
	double at[T], dir[T], leg = spread(0.01 + 0.06 * mm_rng_double(r)), own = 0.5 * leg * mm_rng_double(r);
	double grow = (double[]){ 0.85, 1, 1.4142 }[mm_rng_below(r, 3)];
	run->n = 4 + mm_rng_below(r, STEPS - 3);
	if (grow > 1) {
		run->n = MM_MIN(run->n, (size_t)8); /* doubling ends soon */
		leg /= 4;
	}
	for (size_t s = 0; s < T; s++) {
		at[s] = -900 + 140 * mm_rng_normal(r);
		dir[s] = mm_rng_normal(r);
	}
	for (size_t i = 0; i < run->n; i++, leg *= grow) {
		double noise = own * exp(0.4 * mm_rng_normal(r)), gain = 3 * leg / (1 + (double)i),
		       move = mm_rng_normal(r);
		for (size_t s = 0; s < T; s++) {
			run->v[i][s] = (float)(at[s] + noise * mm_rng_normal(r));
			dir[s] = 0.7 * dir[s] + sqrt(1 - 0.49) * mm_rng_normal(r);
			at[s] += leg * dir[s] + gain + 0.3 * leg * move;
		}
	}
}

static void measure(struct run *run)
{
	double var;
	for (size_t i = 0; i < run->n; i++) {
		mm_row_moments(run->v[i], T, MM_NO_CLIP, &run->mean[i], &var);
		if (i + 1 < run->n)
			run->d[i] = mm_dist_pair(run->v[i], run->v[i + 1], T, MM_NO_CLIP);
		if (i + 2 < run->n)
			run->across[i] = mm_dist_pair(run->v[i], run->v[i + 2], T, MM_NO_CLIP);
	}
}

/* As the daemon does it: thresholds by what the other steps of the map do. found[RUNS][STEPS] */
static size_t judge(const struct run *run, bool floor, bool found[RUNS][STEPS])
{
	static struct mm_run_step step[RUNS * STEPS];
	double tmp[RUNS * STEPS];
	size_t n = 0, hits = 0, at[RUNS * STEPS][2];
	for (size_t i = 0; i < RUNS; i++)
		for (size_t s = 0; s < run[i].n; s++, n++) {
			mm_run_jump(run[i].d, run[i].across, run[i].mean, run[i].n, s, &step[n]);
			at[n][0] = i;
			at[n][1] = s;
		}
	for (size_t a = 0; a < n; a++) {
		size_t m = 0;
		for (size_t b = 0; b < n; b++)
			if (b != a)
				tmp[m++] = step[b].away;
		double away = mm_rule_value(MM_RULE_JUMP_AWAY, tmp, m);
		m = 0;
		for (size_t b = 0; b < n; b++)
			if (b != a)
				tmp[m++] = step[b].factor;
		double factor = mm_rule_value(MM_RULE_JUMP_FACTOR, tmp, m);
		double kl = mm_kl_bits_per_byte(step[a].before, BYTES);
		bool hit = isfinite(kl) && (step[a].away >= away || step[a].factor >= factor) &&
			   (!floor || kl >= mm_rules[MM_RULE_JUMP_KL].value);
		found[at[a][0]][at[a][1]] = hit;
		hits += hit;
	}
	return hits;
}

/* Healthy runs: nobody beyond the floor, and even without it fewer than one step in five hundred. */
static void test_jump_healthy(void **state)
{
	(void)state;
	static struct run run[RUNS];
	bool found[RUNS][STEPS];
	struct mm_rng r;
	size_t wrong = 0, out_of_line = 0, all = 0;
	mm_rng_init(&r, 31);
	for (size_t world = 0; world < 60; world++) {
		for (size_t i = 0; i < RUNS; i++) {
			walk(&run[i], &r);
			measure(&run[i]);
			all += run[i].n;
		}
		wrong += judge(run, true, found);
		out_of_line += judge(run, false, found);
	}
	print_message("%zu healthy steps: %zu jumps, %zu out of line but small\n", all, wrong, out_of_line - wrong);
	assert_true(all > 3000 && wrong <= all / 1000 && out_of_line <= all / 500);
}

/* One step went elsewhere, by a multiple of what is usual; or the last one did and lost. It and nobody else. */
static void test_jump_planted(void **state)
{
	(void)state;
	static struct run run[RUNS];
	bool found[RUNS][STEPS];
	struct mm_rng r;
	static const double size[] = { 0.05, 0.3, 0.6 }, power[] = { 0, 0.5, 0.8 };
	mm_rng_init(&r, 32);
	for (size_t j = 0; j < MM_COUNT(size); j++)
		for (int last = 0; last < 2; last++) {
			size_t hit = 0, others = 0, worlds = 40;
			for (size_t world = 0; world < worlds; world++) {
				for (size_t i = 0; i < RUNS; i++)
					walk(&run[i], &r);
				size_t at = last ? run[0].n - 1 : 1 + mm_rng_below(&r, run[0].n - 2);
				for (size_t s = 0; s < T; s++)
					run[0].v[at][s] += (float)(spread(size[j]) * mm_rng_normal(&r) -
								   (last ? 0.1 * BYTES * log(2) : 0));
				for (size_t i = 0; i < RUNS; i++)
					measure(&run[i]);
				others += judge(run, true, found) - found[0][at];
				hit += found[0][at];
			}
			print_message("%s step moved by %.2f bits per byte: %zu of %zu, %zu others\n",
				last ? "last" : "a", size[j], hit, worlds, others);
			assert_true((double)hit >= power[j] * (double)worlds &&
				    others <= worlds / 20); /* of some 65 steps a world */
		}
}

/* Domains of checkpoints that follow each other waver by a hundredth of a bit: none fell; one that lost a tenth did. */
static void test_fell(void **state)
{
	(void)state;
	static float a[T], b[T];
	uint32_t domain[T];
	double bytes[DOMAINS], by, won;
	size_t wrong = 0, hit = 0;
	struct mm_rng r;
	mm_rng_init(&r, 33);
	for (size_t c = 0; c < DOMAINS; c++)
		bytes[c] = BYTES;
	for (size_t trial = 0; trial < 2000; trial++) {
		struct mm_domain_gap g[DOMAINS];
		double move[DOMAINS], leg = spread(0.01 + 0.06 * mm_rng_double(&r));
		for (size_t c = 0; c < DOMAINS; c++)
			move[c] = 0.012 * mm_rng_normal(&r) - (trial % 2 && c == 2 ? 0.1 : 0);
		for (size_t s = 0; s < T; s++) {
			domain[s] = (uint32_t)(s % DOMAINS);
			a[s] = (float)(-900 + 140 * mm_rng_normal(&r));
			b[s] = a[s] + (float)(move[domain[s]] * BYTES * log(2) + leg * mm_rng_normal(&r));
		}
		mm_domain_gaps(b, a, T, domain, DOMAINS, g);
		int fell = mm_domain_fell(g, bytes, DOMAINS, mm_rules[MM_RULE_REGRESSED_FALL].value,
			mm_rules[MM_RULE_REGRESSED_OTHERS].value, mm_rules[MM_RULE_SIGMAS].value, &by, &won);
		if (trial % 2)
			hit += fell == 2 && fabs(by + move[2]) < 0.03;
		wrong += trial % 2 ? fell >= 0 && fell != 2 : fell >= 0;
	}
	print_message("fell: %zu of 1000, %zu wrong\n", hit, wrong);
	assert_true(hit >= 800 && wrong <= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_jump_healthy), cmocka_unit_test(test_jump_planted),
		cmocka_unit_test(test_fell) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
