/* score_main.c - modelmap-score: scores one model in its own process.
 * Libraries read some variables before main: when those are not what we want, the program sets them and executes itself
 * once more (lib/tensor/cpu.c says why). */
#include "daemon/score_priv.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <unistd.h>

#define AGAIN "MODELMAP_SCORE_AGAIN"

/* Both libraries look at their variables in constructors, before main. Idle threads of OpenMP spin for milliseconds by
 * default, which costs whoever else wants the processor more than it brings us; after SPINS rounds they sleep. */
#define SPINS "20000"

static void environment_fix(char **argv)
{
	const char *want = mm_blas_coretype(), *have = getenv("OPENBLAS_CORETYPE");
	bool blas = want && !(have && !strcasecmp(have, want));
	bool spin = !getenv("GOMP_SPINCOUNT") && !getenv("OMP_WAIT_POLICY");
	if (getenv(AGAIN) || (!blas && !spin)) {
		unsetenv(AGAIN);
		return;
	}
	if ((blas && setenv("OPENBLAS_CORETYPE", want, 1)) || (spin && setenv("GOMP_SPINCOUNT", SPINS, 1)) ||
		setenv(AGAIN, "1", 1))
		return;
	execv("/proc/self/exe", argv);
	unsetenv(AGAIN); /* no /proc: slower, but right */
}

static int run(const struct mm_score_cli *o, struct mm_err *err)
{
	if (o->stream_fd >= 0)
		return mm_score_stream_main(o, err);
	if (o->tokens)
		return mm_score_tokens_main(o, err);
	if (o->ids)
		return mm_score_ids_main(o, err);
	return mm_score_texts_main(o, err);
}

static int families(const struct mm_score_cli *o, struct mm_err *err)
{
	json_t *j = mm_families_json(err);
	int rc = j ? mm_out_json(o, j, err) : -1;
	json_decref(j);
	return rc;
}

int main(int argc, char **argv)
{
	struct mm_err err = { 0 };
	struct mm_score_cli o;
	int rc = 0;
	environment_fix(argv);
	prctl(PR_SET_NAME, "modelmap-score"); /* else ps shows "exe", from /proc/self/exe */
	signal(SIGPIPE, SIG_IGN);
	if (mm_score_opts_parse(&o, argc, argv, &err)) {
		fprintf(stderr, "modelmap-score: %s (--help shows the options)\n", err.text);
		return 2;
	}
	if (o.help)
		mm_score_usage(stdout);
	else if (o.version)
		puts("modelmap-score " MM_VERSION);
	else if (o.families)
		rc = families(&o, &err);
	else if (o.probe)
		return mm_score_probe_main(&o);
	else
		rc = run(&o, &err);
	if (rc)
		fprintf(stderr, "modelmap-score: %s\n", err.text);
	return rc ? 1 : 0;
}
