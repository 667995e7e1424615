/* score_stream.c - modelmap-score --stream FD: one scoring job for the daemon, told in frames of lib/wire.
 *
 * Order: progress frames as it goes, then the arrays, the metadata, the end with the checksum. A failure is an error
 * frame before the end. The files' identity (names, sizes, times, the quick fingerprint) is taken before the weights
 * are read and again after the last text: when they differ, the result is of no checkpoint that ever was, and the job
 * fails with `changed`. */
#include "daemon/score_priv.h"
#include "wire/wire.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct stream {
	const struct mm_score_cli *o;
	struct mm_frame_out *out;
	double last;	    /* when progress was told */
	double flops, gemm; /* a token; GFLOP/s of plain products here, 0: not measured */
	enum mm_dtype compute;
	struct mm_err broken;
	bool is_broken;
};

#define RATE_FROM 1e12 /* operations of a job from which on measuring the machine does not count */

/* What part of the machine's rate of products the scoring is worth; -1: not known. */
static double share(const struct stream *s, double tokens_per_s)
{
	return s->gemm > 0 ? tokens_per_s * s->flops / 1e9 / s->gemm : -1;
}

static int tell(void *ctx, const struct mm_score_progress *p)
{
	struct stream *s = ctx;
	double now = mm_monotonic(), rate = p->seconds > 0 ? (double)p->tokens / p->seconds : 0;
	if (p->done > 0 && p->done < p->total && now - s->last < 0.25)
		return 0;
	s->last = now;
	if (s->gemm == 0 && p->tokens > 0 && s->flops * (double)p->tokens_total > RATE_FROM)
		s->gemm = mm_lin_rate(s->compute);
	json_t *j = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "stage", p->stage, "done",
		(json_int_t)p->done, "total", (json_int_t)p->total, "tokens", (json_int_t)p->tokens, "tokens_total",
		(json_int_t)p->tokens_total, "tokens_per_s", rate, "eta_s",
		rate > 0 ? (double)(p->tokens_total - p->tokens) / rate : -1.0, "gemm_share", share(s, rate));
	int rc = j ? mm_frame_put_json(s->out, 'P', j, &s->broken) : mm_fail(&s->broken, MM_ENOMEM, "progress");
	json_decref(j);
	s->is_broken = rc != 0;
	return rc; /* nobody reads any more: stop */
}

static int put_array(
	struct stream *s, const char *name, enum mm_array_type type, size_t n, const void *data, struct mm_err *err)
{
	struct mm_array a = { .name = name, .type = type, .n_dim = 1, .data = data };
	a.dim[0] = n;
	a.n_byte = n * mm_array_type_size(type);
	return mm_frame_put_array(s->out, &a, err);
}

static int put_hash(struct stream *s, const char *name, struct mm_hash h, struct mm_err *err)
{
	return put_array(s, name, MM_A_U8, sizeof(h), &h, err);
}

static int put_arrays(struct stream *s, const struct mm_model *m, const struct mm_tok *tok,
	const struct mm_score_result *r, struct mm_err *err)
{
	static float sample[MM_WEIGHT_SAMPLE];
	struct mm_hash config;
	if (mm_fingerprint_config(mm_model_ckpt(m), &config, err))
		return -1;
	float *ll = mm_calloc(r->n, sizeof(float), err);
	if (!ll)
		return -1;
	for (size_t i = 0; i < r->n; i++)
		ll[i] = (float)r->loglik[i];
	int rc = mm_weight_sample(mm_model_ckpt(m), sample, err) || put_array(s, "loglik", MM_A_F32, r->n, ll, err) ||
		 put_array(s, "n_tokens", MM_A_U32, r->n, r->n_token, err) ||
		 put_array(s, "cut", MM_A_U8, r->n, r->cut, err) ||
		 put_array(s, "mink20", MM_A_F32, r->n, r->mink20, err) ||
		 put_array(s, "mink20pp", MM_A_F32, r->n, r->mink20pp, err) ||
		 put_array(s, "unigram", MM_A_F32, r->n, r->unigram, err) ||
		 put_hash(s, "tokenizer_hash", mm_tok_hash(tok), err) || put_hash(s, "config_hash", config, err) ||
		 put_array(s, "weight_sample", MM_A_F32, MM_WEIGHT_SAMPLE, sample, err) ||
		 mm_score_features_put(s->out, &r->features, err);
	mm_free(ll);
	return rc ? -1 : 0;
}

static void set_hash(json_t *j, const char *key, struct mm_hash h)
{
	char hex[MM_HASH_HEX];
	mm_hash_hex(h, hex);
	json_object_set_new(j, key, json_string(hex));
}

static void set_int(json_t *j, const char *key, uint64_t v)
{
	json_object_set_new(j, key, json_integer((json_int_t)v));
}

static json_t *metadata(const struct mm_score_cli *o, const struct mm_model *m, const struct mm_tok *tok,
	const struct mm_texts *t, const struct mm_score_result *r, const json_t *probe)
{
	struct mm_model_info i;
	struct rusage ru = { 0 };
	mm_model_info(m, &i);
	getrusage(RUSAGE_SELF, &ru);
	bool gguf = mm_ckpt_container(mm_model_ckpt(m)) == MM_CONTAINER_GGUF;
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "version", MM_SCORER_VERSION,
		"model", o->model, "family", i.family, "architecture", i.architecture, "container",
		gguf ? "gguf" : "safetensors", "dtype", i.dtype, "compute", i.compute, "compute_policy",
		mm_compute_name(o->mo.compute), "kernel", i.kernel, "bos", mm_bos_name(o->bos), "tokenizer",
		mm_tok_class(tok));
	if (!j)
		return NULL;
	set_int(j, "params", i.n_param);
	set_int(j, "bytes", i.n_byte);
	set_int(j, "layers", i.n_layer);
	set_int(j, "width", i.n_embd);
	set_int(j, "vocab", i.n_vocab);
	set_int(j, "context", i.n_ctx);
	set_int(j, "threads", mm_threads());
	set_int(j, "n_texts", r->n);
	set_int(j, "n_tokens", r->n_token_total);
	set_int(j, "n_cut", r->n_cut);
	set_int(j, "peak_rss", (uint64_t)ru.ru_maxrss * 1024);
	json_object_set_new(j, "seconds_load", json_real(r->seconds_load));
	json_object_set_new(j, "seconds_tokenize", json_real(r->seconds_tokenize));
	json_object_set_new(j, "seconds_score", json_real(r->seconds_score));
	json_object_set_new(j, "tokens_per_s",
		json_real(
			r->seconds_score > 0 ? (double)(r->n_token_total - r->n_token_resumed) / r->seconds_score : 0));
	json_object_set(j, "quick", json_object_get(probe, "quick"));
	set_hash(j, "texts", t->hash);
	json_t *features = mm_score_features_meta(&r->features);
	if (features)
		json_object_set_new(j, "features", features);
	set_hash(j, "tokenizer_hash", mm_tok_hash(tok));
	return j;
}

static int changed(const struct mm_score_cli *o, const json_t *before, struct mm_err *err)
{
	json_t *after = mm_probe(o->model, o->search, err);
	if (!after)
		return -1;
	bool same = json_equal(json_object_get(before, "quick"), json_object_get(after, "quick")) &&
		    json_equal(json_object_get(before, "files"), json_object_get(after, "files"));
	json_decref(after);
	return same ? 0 : mm_fail(err, MM_ECHANGED, "the files changed while they were scored");
}

static int job(struct stream *s, struct mm_err *err)
{
	const struct mm_score_cli *o = s->o;
	struct mm_texts texts = { 0 };
	struct mm_score_result r = { 0 };
	struct mm_score_opts so = { .bos = o->bos,
		.probes = o->probes,
		.exact = o->exact,
		.token_cache = o->token_cache,
		.resume = o->resume,
		.resume_tag = MM_SCORER_VERSION,
		.resume_wait = MM_RESUME_WAIT,
		.progress = tell,
		.ctx = s };
	struct mm_score_progress p = { .stage = "load" };
	struct mm_model_opts mo = o->mo;
	struct mm_tok *tok = NULL;
	struct mm_model *m = NULL;
	struct mm_hash full;
	json_t *probe = NULL, *meta = NULL;
	int rc = -1;
	double start = mm_monotonic();
	if (mm_texts_load(&texts, o->texts, err) || !(probe = mm_probe(o->model, o->search, err)))
		goto out;
	p.total = texts.n;
	mo.fingerprint = true;
	if (tell(s, &p) || !(m = mm_model_open(o->model, &mo, err)) || !(tok = mm_tok_of(mm_model_ckpt(m), err)))
		goto out;
	struct mm_model_info info;
	mm_model_info(m, &info);
	s->flops = info.flops;
	s->compute = !strcmp(info.compute, "bf16") ? MM_BF16 : MM_F32;
	double load = mm_monotonic() - start;
	if (mm_score_texts(m, tok, &texts, &so, &r, err) || mm_fingerprint_ckpt(mm_model_ckpt(m), &full, err) ||
		changed(o, probe, err))
		goto out;
	r.seconds_load = load;
	if (put_arrays(s, m, tok, &r, err))
		goto out;
	meta = metadata(o, m, tok, &texts, &r, probe);
	if (!meta) {
		mm_fail(err, MM_ENOMEM, "out of memory for the metadata");
		goto out;
	}
	set_hash(meta, "full", full);
	if (s->gemm > 0) {
		double rate = json_number_value(json_object_get(meta, "tokens_per_s"));
		json_object_set_new(meta, "gemm_gflops", json_real(s->gemm));
		json_object_set_new(meta, "gemm_share", json_real(share(s, rate)));
	}
	rc = mm_frame_put_json(s->out, 'M', meta, err);
out:
	json_decref(meta);
	json_decref(probe);
	mm_score_result_fini(&r);
	mm_tok_close(tok);
	mm_model_close(m);
	mm_texts_free(&texts);
	return rc;
}

int mm_score_stream_main(const struct mm_score_cli *o, struct mm_err *err)
{
	struct stream s = { .o = o };
	if (mm_score_limit(!o->normal, err) || !(s.out = mm_frame_out_new(o->stream_fd, err)))
		return -1;
	int rc = job(&s, err);
	if (rc && s.is_broken)
		*err = s.broken;
	if (rc && !s.is_broken) {
		struct mm_err ignored;
		json_t *e = json_pack("{s:s, s:s}", "code", mm_err_name(err->code), "text", err->text);
		if (e && !mm_frame_put_json(s.out, 'E', e, &ignored))
			(void)!mm_frame_end(s.out, &ignored);
		json_decref(e);
	}
	if (!rc)
		rc = mm_frame_end(s.out, err);
	mm_frame_out_free(s.out);
	return rc;
}
