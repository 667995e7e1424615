/* score_out.c - what modelmap-score writes: results as .npy, JSON or TSV, and progress lines. */
#include "daemon/score_priv.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

int mm_out_write(const struct mm_score_cli *o, const void *data, size_t len, struct mm_err *err)
{
	if (o->out && strcmp(o->out, "-"))
		return mm_file_write(o->out, data, len, err);
	if (fwrite(data, 1, len, stdout) != len || fflush(stdout))
		return mm_fail_errno(err, "writing to standard output");
	return 0;
}

int mm_out_json(const struct mm_score_cli *o, const json_t *j, struct mm_err *err)
{
	char *text = mm_json_dump(j, err);
	struct mm_buf b = { 0 };
	int rc = -1;
	if (!text)
		return -1;
	mm_buf_str(&b, text);
	mm_buf_str(&b, "\n");
	if (!mm_buf_check(&b, err))
		rc = mm_out_write(o, b.data, b.len, err);
	mm_buf_fini(&b);
	mm_free(text);
	return rc;
}

static enum mm_score_format format_of(const struct mm_score_cli *o)
{
	static const struct {
		const char *end;
		enum mm_score_format f;
	} ends[] = { { ".npy", MM_FORMAT_NPY }, { ".json", MM_FORMAT_JSON }, { ".tsv", MM_FORMAT_TSV } };
	size_t n = o->out ? strlen(o->out) : 0;
	if (o->format != MM_FORMAT_AUTO)
		return o->format;
	for (size_t i = 0; i < MM_COUNT(ends); i++)
		if (n > strlen(ends[i].end) && !strcmp(o->out + n - strlen(ends[i].end), ends[i].end))
			return ends[i].f;
	return o->probes ? MM_FORMAT_JSON : MM_FORMAT_TSV; /* the other ones have no room for features */
}

static int json_result(const struct mm_score_cli *o, const struct mm_model *m, const struct mm_texts *t,
	const struct mm_score_result *r, struct mm_err *err)
{
	struct mm_model_info i;
	mm_model_info(m, &i);
	json_t *ll = json_array(), *nt = json_array(), *cut = json_array();
	for (size_t k = 0; k < r->n; k++) {
		json_array_append_new(ll, json_real(r->loglik[k]));
		json_array_append_new(nt, json_integer(r->n_token[k]));
		json_array_append_new(cut, json_boolean(r->cut[k]));
	}
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:o}", "model",
		o->model, "family", i.family, "architecture", i.architecture, "compute", i.compute, "bos",
		mm_bos_name(o->bos), "n", (json_int_t)r->n, "n_tokens_total", (json_int_t)r->n_token_total, "n_cut",
		(json_int_t)r->n_cut, "seconds", r->seconds_score, "seconds_cpu", r->seconds_cpu, "seconds_load",
		r->seconds_load, "loglik", ll, "n_tokens", nt, "cut", cut);
	json_t *features = j && o->probes ? mm_score_features_json(&r->features, t, o->probes, err) : NULL;
	if (features)
		json_object_set_new(j, "features", features);
	int rc = j ? mm_out_json(o, j, err) : mm_fail(err, MM_ENOMEM, "out of memory for the result");
	json_decref(j);
	return rc;
}

int mm_out_result(const struct mm_score_cli *o, const struct mm_model *m, const struct mm_texts *t,
	const struct mm_score_result *r, struct mm_err *err)
{
	enum mm_score_format f = format_of(o);
	struct mm_buf b = { 0 };
	if (f == MM_FORMAT_JSON)
		return json_result(o, m, t, r, err);
	if (f == MM_FORMAT_NPY) {
		mm_npy_header(&b, "<f8", 1, &r->n);
		for (size_t i = 0; i < r->n; i++)
			mm_buf_f64(&b, r->loglik[i]);
	} else {
		mm_buf_str(&b, "index\tdomain\ttokens\tcut\tloglik\n");
		for (size_t i = 0; i < r->n; i++)
			mm_buf_printf(&b, "%zu\t%s\t%u\t%d\t%.9g\n", i, t->domain_name[t->domain[i]], r->n_token[i],
				r->cut[i], r->loglik[i]);
	}
	int rc = mm_buf_check(&b, err) ? -1 : mm_out_write(o, b.data, b.len, err);
	mm_buf_fini(&b);
	return rc;
}

int mm_out_progress(void *ctx, const struct mm_score_progress *p)
{
	(void)ctx;
	bool tty = isatty(STDERR_FILENO) == 1;
	double rate = p->seconds > 0 ? (double)p->tokens / p->seconds : 0;
	double left = rate > 0 ? (double)(p->tokens_total - p->tokens) / rate : 0;
	char eta[32];
	mm_format_duration(left, eta, sizeof(eta));
	fprintf(stderr, "%s%s %zu/%zu texts, %.0f tokens/s, %s left%s", tty ? "\r\033[K" : "", p->stage, p->done,
		p->total, rate, rate > 0 ? eta : "?", tty && p->done < p->total ? "" : "\n");
	fflush(stderr);
	return 0;
}
