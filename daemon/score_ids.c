/* score_ids.c - modelmap-score --ids (log-probabilities of given token ids) and --tokens (token ids of given strings).
 */
#include "daemon/score_priv.h"

#include <string.h>

#define INPUT_MAX ((size_t)1 << 30)

struct ids {
	size_t n;
	uint32_t **id;
	size_t *len;
	double **logprob;
};

static void ids_fini(struct ids *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->id)
			mm_free(s->id[i]);
		if (s->logprob)
			mm_free(s->logprob[i]);
	}
	mm_free(s->id);
	mm_free(s->len);
	mm_free(s->logprob);
}

static int ids_one(struct ids *s, size_t i, const json_t *o, struct mm_err *err)
{
	const json_t *a = json_object_get(o, "ids");
	if (!json_is_array(a))
		return mm_fail(err, MM_EFORMAT, "sequence %zu has no array \"ids\"", i);
	s->len[i] = json_array_size(a);
	s->id[i] = mm_calloc(s->len[i] + 1, sizeof(uint32_t), err);
	s->logprob[i] = s->id[i] ? mm_calloc(s->len[i] + 1, sizeof(double), err) : NULL;
	if (!s->logprob[i])
		return -1;
	for (size_t t = 0; t < s->len[i]; t++) {
		const json_t *v = json_array_get(a, t);
		if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= UINT32_MAX)
			return mm_fail(err, MM_EFORMAT, "sequence %zu: entry %zu is not a token id", i, t);
		s->id[i][t] = (uint32_t)json_integer_value(v);
	}
	return 0;
}

static int ids_parse(struct ids *s, const json_t *root, struct mm_err *err)
{
	const json_t *list = json_object_get(root, "sequences");
	if (!json_is_array(list))
		return mm_fail(err, MM_EFORMAT, "no array \"sequences\"");
	s->n = json_array_size(list);
	s->id = mm_calloc(s->n, sizeof(*s->id), err);
	s->len = s->id ? mm_calloc(s->n, sizeof(*s->len), err) : NULL;
	s->logprob = s->len ? mm_calloc(s->n, sizeof(*s->logprob), err) : NULL;
	if (!s->logprob)
		return -1;
	for (size_t i = 0; i < s->n; i++)
		if (ids_one(s, i, json_array_get(list, i), err))
			return -1;
	return 0;
}

static json_t *ids_format(const struct ids *s)
{
	json_t *list = json_array();
	for (size_t i = 0; i < s->n; i++) {
		json_t *lp = json_array();
		double sum = 0;
		for (size_t t = 0; t + 1 < s->len[i]; t++) {
			json_array_append_new(lp, json_real(s->logprob[i][t]));
			sum += s->logprob[i][t];
		}
		json_array_append_new(list, json_pack("{s:o, s:f}", "logprobs", lp, "sum", sum));
	}
	return json_pack("{s:o}", "sequences", list);
}

int mm_score_ids_main(const struct mm_score_cli *o, struct mm_err *err)
{
	struct ids s = { 0 };
	struct mm_model *m = NULL;
	struct mm_score_opts so = { .progress = o->progress ? mm_out_progress : NULL };
	json_t *in = mm_json_load(o->ids, INPUT_MAX, err), *out = NULL;
	int rc = -1;
	if (!in || ids_parse(&s, in, err)) {
		if (in)
			mm_wrap(err, "%s", o->ids);
		goto end;
	}
	if (!(m = mm_model_open(o->model, &o->mo, err)) ||
		mm_score_sequences(m, s.n, (const uint32_t *const *)s.id, s.len, s.logprob, &so, err))
		goto end;
	out = ids_format(&s);
	rc = out ? mm_out_json(o, out, err) : mm_fail(err, MM_ENOMEM, "out of memory for the result");
end:
	json_decref(in);
	json_decref(out);
	ids_fini(&s);
	mm_model_close(m);
	return rc;
}

static json_t *encode(const struct mm_tok *tok, const json_t *text, unsigned flags, struct mm_err *err)
{
	struct mm_ids ids = { 0 };
	json_t *a = NULL;
	if (!json_is_string(text)) {
		mm_fail(err, MM_EFORMAT, "an entry is not a string");
		return NULL;
	}
	if (!mm_tok_encode(tok, json_string_value(text), json_string_length(text), flags, &ids, err)) {
		a = json_array();
		for (size_t i = 0; i < ids.n; i++)
			json_array_append_new(a, json_integer(ids.id[i]));
	}
	mm_free(ids.id);
	return a;
}

int mm_score_tokens_main(const struct mm_score_cli *o, struct mm_err *err)
{
	json_t *in = NULL, *out = json_array();
	struct mm_tok *tok = mm_tok_open(o->model, err);
	int rc = -1;
	if (!tok || !(in = mm_json_load(o->tokens, INPUT_MAX, err)))
		goto end;
	if (!json_is_array(in)) {
		mm_fail(err, MM_EFORMAT, "%s: not an array of strings", o->tokens);
		goto end;
	}
	for (size_t i = 0; i < json_array_size(in); i++) {
		json_t *a = encode(tok, json_array_get(in, i), o->no_special ? 0 : MM_TOK_SPECIAL, err);
		if (!a) {
			mm_wrap(err, "%s: string %zu", o->tokens, i);
			goto end;
		}
		json_array_append_new(out, a);
	}
	rc = mm_out_json(o, out, err);
end:
	json_decref(in);
	json_decref(out);
	mm_tok_close(tok);
	return rc;
}
