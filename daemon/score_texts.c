/* score_texts.c - modelmap-score --texts: the log-likelihood of every text of a set. */
#include "daemon/score_priv.h"
#include "wire/wire.h"

#include <string.h>
#include <unistd.h>

static void tell_model(const struct mm_model *m)
{
	struct mm_model_info i;
	char size[32];
	mm_model_info(m, &i);
	mm_format_size(i.n_byte, size, sizeof(size));
	fprintf(stderr,
		"modelmap-score: %s (%s), %s, %llu parameters, %s, %zu layers of width %zu, vocabulary %zu, context "
		"%zu\n"
		"modelmap-score: compute %s, kernel %s, %u threads\n",
		i.family, i.architecture, i.dtype, (unsigned long long)i.n_param, size, i.n_layer, i.n_embd, i.n_vocab,
		i.n_ctx, i.compute, i.kernel, mm_threads());
}

/* One layer, a batch of one text and what every process needs: less is not possible, and nobody is left to wonder. */
static void tell_memory(const struct mm_model *m, uint64_t asked)
{
	struct mm_model_info i;
	char want[32], have[32];
	mm_model_info(m, &i);
	if (!i.n_memory_min)
		return;
	mm_format_size(i.n_memory_min, want, sizeof(want));
	mm_format_size(asked, have, sizeof(have));
	fprintf(stderr, "modelmap-score: --memory %s is less than a layer of this model needs: expect about %s\n", have,
		want);
}

int mm_score_texts_main(const struct mm_score_cli *o, struct mm_err *err)
{
	struct mm_texts texts = { 0 };
	struct mm_score_result r = { 0 };
	struct mm_score_opts so = { .bos = o->bos,
		.probes = o->probes,
		.exact = o->exact,
		.token_cache = o->token_cache,
		.resume = o->resume,
		.resume_tag = MM_SCORER_VERSION,
		.resume_wait = MM_RESUME_WAIT,
		.progress = o->progress ? mm_out_progress : NULL };
	struct mm_tok *tok = NULL;
	struct mm_model *m = NULL;
	int rc = -1;
	double start = mm_monotonic();
	if (mm_texts_load(&texts, o->texts, err) || !(m = mm_model_open(o->model, &o->mo, err)) ||
		!(tok = mm_tok_of(mm_model_ckpt(m), err)))
		goto out;
	double load = mm_monotonic() - start;
	tell_memory(m, o->mo.memory);
	if (o->verbose)
		tell_model(m);
	if (mm_score_texts(m, tok, &texts, &so, &r, err))
		goto out;
	r.seconds_load = load;
	if (o->verbose)
		fprintf(stderr,
			"modelmap-score: %zu texts, %llu tokens: load %.2f s, tokenize %.2f s, score %.2f s, %.0f "
			"tokens/s\n",
			r.n, (unsigned long long)r.n_token_total, load, r.seconds_tokenize, r.seconds_score,
			r.seconds_score > 0 ? (double)(r.n_token_total - r.n_token_resumed) / r.seconds_score : 0);
	if (*r.features.none)
		fprintf(stderr, "modelmap-score: no next-byte distributions: %s\n", r.features.none);
	if (r.n_cut * 100 > r.n)
		fprintf(stderr,
			"modelmap-score: warning: %zu of %zu texts are longer than the model's context and were cut\n",
			r.n_cut, r.n);
	rc = mm_out_result(o, m, &texts, &r, err);
	if (!rc && o->resume)
		(void)!unlink(o->resume);
out:
	mm_score_result_fini(&r);
	mm_tok_close(tok);
	mm_model_close(m);
	mm_texts_free(&texts);
	return rc;
}
