/* score_text.c: texts in, log-likelihoods out.
 *
 * BOS policy: `auto` puts the template's own front tokens, else one context token (config's bos, the tokenizer's, its
 * eos), before the text and scores every token of the text; the template's tail is neither kept nor scored. `paper`
 * scores what the tokenizer gives from its second token on; `none` drops the template and scores from the second token
 * on. A text longer than the model's context is cut there and counted.
 *
 * Token ids come from the cache (tok_cache.c) where there are some; texts that a killed job has done (score_resume.c)
 * are not done again. */
#include "model/score_priv.h"

#include <math.h>
#include <string.h>
#include <sys/resource.h>

struct text_run {
	struct mm_score_result *out;
	double *sorted; /* [cap] */
	size_t cap;
	struct mm_resume *resume; /* or NULL */
	const char *resume_path;
};

static int take_text(
	void *ctx, const struct mm_score_seq *s, const double *logprob, const float *standard, struct mm_err *err)
{
	struct text_run *r = ctx;
	size_t n = s->n - s->from;
	double sum = 0;
	for (size_t t = 0; t < n; t++)
		sum += logprob[t];
	if (!isfinite(sum))
		return mm_fail(err, MM_ENONFINITE, "log-likelihood of text %zu is not finite", s->index);
	r->out->loglik[s->index] = sum;
	if (mm_grow(&r->sorted, &r->cap, n, sizeof(*r->sorted), err))
		return -1;
	memcpy(r->sorted, logprob, n * sizeof(*r->sorted));
	r->out->mink20[s->index] = (float)mm_sign_mink(r->sorted, n);
	for (size_t t = 0; t < n; t++)
		r->sorted[t] = (double)standard[t];
	r->out->mink20pp[s->index] = (float)mm_sign_mink(r->sorted, n);
	if (r->resume)
		mm_resume_add(r->resume, s->index, sum, r->out->mink20[s->index], r->out->mink20pp[s->index]);
	return 0;
}

static void batch_done(void *ctx)
{
	struct text_run *r = ctx;
	if (r->resume)
		mm_resume_flush(r->resume, r->resume_path);
}

/* What stands in front of every text under `auto`: the template's front, else one token; n 0: there is none. */
static size_t context_of(const struct mm_model *m, const struct mm_tok *tok, const uint32_t **front, uint32_t *one)
{
	const uint32_t *back;
	size_t n = 0, n_back;
	mm_tok_template(tok, front, &n, &back, &n_back);
	if (n > 0)
		return n;
	const int64_t candidates[] = { m->bos, mm_tok_bos(tok), mm_tok_eos(tok), m->eos };
	for (size_t i = 0; i < MM_COUNT(candidates); i++)
		if (candidates[i] >= 0 && (uint64_t)candidates[i] < m->hp.n_vocab) {
			*one = (uint32_t)candidates[i];
			*front = one;
			return 1;
		}
	return 0;
}

struct text_set {
	const struct mm_tok *tok;
	const struct mm_texts *texts;
};

struct tokens {
	struct mm_ids *ids; /* [n] */
	size_t n, n_front;
};

static int encode_all(const struct mm_tok *tok, const struct mm_texts *texts, unsigned flags, size_t n_front,
	struct mm_ids *ids, struct mm_err *err)
{
	int failed = 0;
#pragma omp parallel for schedule(dynamic, 8) num_threads((int)mm_threads())
	for (size_t i = 0; i < texts->n; i++) {
		struct mm_err e = { .code = MM_OK };
		struct mm_ids *d = &ids[i];
		int rc = mm_grow(&d->id, &d->cap, n_front + 1, sizeof(*d->id), &e);
		d->n = rc == 0 ? n_front : 0;
		if (rc == 0)
			rc = mm_tok_encode(tok, texts->text[i], texts->len[i], flags, d, &e);
		if (rc) {
#pragma omp critical(mm_tokenize_failed)
			{
				if (!failed)
					*err = e;
				failed = 1;
			}
		}
	}
	return failed ? mm_wrap(err, "tokenizing") : 0;
}

static int tokenize(const struct mm_model *m, const struct mm_tok *tok, const struct mm_texts *texts,
	const struct mm_score_opts *o, struct tokens *t, struct mm_err *err)
{
	enum mm_bos bos = o ? o->bos : MM_BOS_AUTO;
	const char *cache = o ? o->token_cache : NULL;
	const uint32_t *front = NULL;
	uint32_t one = 0;
	unsigned flags = bos == MM_BOS_PAPER ? MM_TOK_SPECIAL : 0;
	t->n_front = bos == MM_BOS_AUTO ? context_of(m, tok, &front, &one) : 0;
	if (!cache || !mm_tok_cache_get(cache, tok, texts, flags, t->n_front, t->ids)) {
		if (encode_all(tok, texts, flags, t->n_front, t->ids, err))
			return -1;
		if (cache)
			mm_tok_cache_put(cache, tok, texts, flags, t->n_front, t->ids);
	}
	for (size_t i = 0; t->n_front && i < t->n; i++)
		memcpy(t->ids[i].id, front, t->n_front * sizeof(*front));
	return 0;
}

static size_t context_length(const struct mm_model *m)
{
	if (m->fam->recurrent || m->hp.n_ctx == 0)
		return SIZE_MAX;
	return m->hp.n_ctx;
}

static int result_init(struct mm_score_result *out, size_t n, struct mm_err *err)
{
	memset(out, 0, sizeof(*out));
	out->n = n;
	out->loglik = mm_calloc(n, sizeof(*out->loglik), err);
	out->n_token = out->loglik ? mm_calloc(n, sizeof(*out->n_token), err) : NULL;
	out->cut = out->n_token ? mm_calloc(n, sizeof(*out->cut), err) : NULL;
	out->mink20 = out->cut ? mm_calloc(n, sizeof(*out->mink20), err) : NULL;
	out->mink20pp = out->mink20 ? mm_calloc(n, sizeof(*out->mink20pp), err) : NULL;
	out->unigram = out->mink20pp ? mm_calloc(n, sizeof(*out->unigram), err) : NULL;
	return out->unigram ? 0 : -1;
}

/* What the killed job had done goes into the result, the rest stays in the job. */
static void skip_done(struct mm_score_job *j, const struct mm_resume *resume, struct mm_score_result *out)
{
	size_t left = 0;
	mm_resume_give(resume, out->loglik, out->mink20, out->mink20pp);
	for (size_t i = 0; i < j->n_seq; i++) {
		if (mm_resume_has(resume, j->seq[i].index))
			out->n_token_resumed += j->seq[i].n - j->seq[i].from;
		else
			j->seq[left++] = j->seq[i];
	}
	j->n_seq = left;
}

/* Features are an extra: a tokenizer that cannot have them, and the run goes on without. */
static int without(struct mm_features *out, struct mm_err *err)
{
	if (err->code == MM_ENOMEM)
		return -1;
	snprintf(out->none, sizeof(out->none), "%.*s", (int)sizeof(out->none) - 1, err->text);
	err->code = MM_OK;
	return 0;
}

/* Probes are planned and their own sequences added to the job's. */
static int features_plan(struct mm_score_job *j, const struct text_set *set, const struct tokens *t,
	struct mm_resume *resume, struct mm_features *out, struct mm_err *err)
{
	const struct mm_score_opts *o = j->opts;
	const uint32_t *front = t->ids[0].id, *back;
	size_t n_front = t->n_front, n_back, limit = context_length(j->m);
	if (!o || !o->probes)
		return 0;
	if (!(j->feat = mm_feat_new(j->m, set->tok, set->texts, o->probes, o->exact, out, err)))
		return without(out, err);
	struct mm_score_seq *of_text = mm_calloc(t->n, sizeof(*of_text), err);
	if (!of_text)
		return -1;
	for (size_t i = 0; i < t->n; i++)
		of_text[i] = (struct mm_score_seq){ .id = t->ids[i].id, .n = MM_MIN(t->ids[i].n, limit), .index = i };
	if (o->bos == MM_BOS_PAPER)
		mm_tok_template(set->tok, &front, &n_front, &back, &n_back);
	int rc = mm_feat_plan_all(j->feat, of_text, front, n_front, limit, resume, err);
	mm_free(of_text);
	if (rc) {
		mm_feat_free(j->feat);
		j->feat = NULL;
		return without(out, err);
	}
	size_t n = mm_feat_n_own(j->feat);
	if (!n)
		return 0;
	struct mm_score_seq *seq = mm_realloc(j->seq, j->n_seq + n, sizeof(*seq), err);
	if (!seq)
		return -1;
	j->seq = seq;
	for (size_t i = 0; i < n; i++)
		j->seq[j->n_seq++] = mm_feat_own(j->feat, i);
	return 0;
}

static int score_tokens(struct mm_score_job *j, const struct text_set *set, const struct tokens *t,
	struct mm_resume *resume, struct mm_score_result *out, struct mm_err *err)
{
	size_t limit = context_length(j->m);
	j->seq = mm_calloc(t->n, sizeof(*j->seq), err);
	if (!j->seq)
		return -1;
	for (size_t i = 0; i < t->n; i++) {
		size_t n = t->ids[i].n, from = MM_MAX(t->n_front, (size_t)1);
		if (n > limit) {
			n = limit;
			out->cut[i] = 1;
			out->n_cut++;
		}
		if (n <= from)
			continue;
		out->n_token[i] = (uint32_t)(n - from);
		out->n_token_total += n - from;
		j->seq[j->n_seq++] = (struct mm_score_seq){ t->ids[i].id, n, from, i };
	}
	if (mm_sign_unigram(j->seq, j->n_seq, j->m->hp.n_vocab, out->unigram, err))
		return -1;
	if (resume)
		skip_done(j, resume, out);
	if (features_plan(j, set, t, resume, &out->features, err) || mm_score_run(j, err))
		return -1;
	if (j->feat)
		mm_feat_end(j->feat);
	return 0;
}

static int resume_open(const struct mm_model *m, const struct mm_texts *texts, const struct mm_score_opts *o,
	struct text_run *run, struct mm_err *err)
{
	struct mm_hash key;
	char tag[200];
	if (!o || !o->resume)
		return 0;
	run->resume_path = o->resume;
	snprintf(tag, sizeof(tag), "%s probes %zu exact %d method %d", o->resume_tag ? o->resume_tag : "", o->probes,
		o->exact, MM_PROBES_METHOD);
	if (mm_resume_key(m, texts, o->bos, tag, &key, err))
		return -1;
	run->resume = mm_resume_open(o->resume, key, texts->n, o->resume_wait, err);
	return run->resume ? 0 : -1;
}

static double cpu_seconds(void)
{
	struct rusage u = { 0 };
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int mm_score_texts(struct mm_model *m, const struct mm_tok *tok, const struct mm_texts *texts,
	const struct mm_score_opts *opts, struct mm_score_result *out, struct mm_err *err)
{
	struct text_run run = { .out = out };
	struct tokens t = { .n = texts->n };
	struct text_set set = { tok, texts };
	struct mm_score_job j = { .m = m,
		.opts = opts,
		.n_total = texts->n,
		.start = mm_monotonic(),
		.take = take_text,
		.batch_done = batch_done,
		.want_standard = true,
		.ctx = &run };
	int rc = -1;
	if (result_init(out, texts->n, err) || !(t.ids = mm_calloc(texts->n, sizeof(*t.ids), err)) ||
		mm_score_tell(&j, "tokenize", 0, err) || tokenize(m, tok, texts, opts, &t, err) ||
		resume_open(m, texts, opts, &run, err))
		goto out;
	out->seconds_tokenize = mm_monotonic() - j.start;
	j.start = mm_monotonic();
	out->seconds_cpu = -cpu_seconds();
	rc = score_tokens(&j, &set, &t, run.resume, out, err);
	out->seconds_score = mm_monotonic() - j.start;
	out->seconds_cpu += cpu_seconds();
out:
	for (size_t i = 0; t.ids && i < t.n; i++)
		mm_free(t.ids[i].id);
	mm_free(t.ids);
	mm_free(j.seq);
	mm_feat_free(j.feat);
	mm_free(run.sorted);
	mm_resume_close(run.resume);
	if (rc)
		mm_score_result_fini(out);
	return rc;
}

void mm_score_result_fini(struct mm_score_result *r)
{
	mm_free(r->loglik);
	mm_free(r->n_token);
	mm_free(r->cut);
	mm_free(r->mink20);
	mm_free(r->mink20pp);
	mm_free(r->unigram);
	mm_features_fini(&r->features);
	memset(r, 0, sizeof(*r));
}
