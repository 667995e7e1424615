/* texts.c - the reference text set: JSONL in, texts with domains out.
 *
 * Identity is the hash over (length, bytes) of every text in order and nothing else: renaming a domain keeps the
 * vectors valid. The paper's file has "pile_set_name" (at top level or under "meta") where ours has "domain".
 */
#include "base/base.h"

#include <string.h>

#define MAX_FILE  (UINT64_C(4) << 30)
#define MAX_TEXTS 10000000

struct priv {
	json_t **line; /* [n] keeps the strings alive */
	size_t n, cap, cap_text, cap_len, cap_domain, cap_name, cap_control;
};

static const char *domain_of(const json_t *o)
{
	const json_t *d = json_object_get(o, "domain");
	if (!json_is_string(d))
		d = json_object_get(o, "pile_set_name");
	if (!json_is_string(d))
		d = json_object_get(json_object_get(o, "meta"), "pile_set_name");
	return json_is_string(d) ? json_string_value(d) : "";
}

static int domain_index(struct mm_texts *t, const char *name, uint32_t *out, struct mm_err *err)
{
	struct priv *p = t->priv;
	for (size_t i = 0; i < t->n_domain; i++)
		if (!strcmp(t->domain_name[i], name)) {
			*out = (uint32_t)i;
			return 0;
		}
	if (t->n_domain >= 4096)
		return mm_fail(err, MM_EFORMAT, "more than 4096 domains");
	if (mm_grow(&t->domain_name, &p->cap_name, t->n_domain + 1, sizeof *t->domain_name, err))
		return -1;
	if (!(t->domain_name[t->n_domain] = mm_strdup(name, err)))
		return -1;
	*out = (uint32_t)t->n_domain++;
	return 0;
}

static int add_line(struct mm_texts *t, const char *s, size_t len, struct mm_err *err)
{
	struct priv *p = t->priv;
	json_t *o = mm_json_parse(s, len, "not JSON", err);
	if (!o)
		return -1;
	const json_t *text = json_object_get(o, "text");
	if (!json_is_string(text) || !json_string_length(text)) {
		mm_fail(err, MM_EFORMAT, "expected an object with a non-empty string \"text\"");
		goto bad;
	}
	if (t->n >= MAX_TEXTS) {
		mm_fail(err, MM_EFORMAT, "more than %d texts", MAX_TEXTS);
		goto bad;
	}
	if (mm_grow(&p->line, &p->cap, t->n + 1, sizeof *p->line, err) ||
		mm_grow(&t->text, &p->cap_text, t->n + 1, sizeof *t->text, err) ||
		mm_grow(&t->len, &p->cap_len, t->n + 1, sizeof *t->len, err) ||
		mm_grow(&t->domain, &p->cap_domain, t->n + 1, sizeof *t->domain, err) ||
		mm_grow(&t->control, &p->cap_control, t->n + 1, sizeof *t->control, err) ||
		domain_index(t, domain_of(o), &t->domain[t->n], err))
		goto bad;
	const char *role = json_string_value(json_object_get(o, "role"));
	t->control[t->n] = role && !strcmp(role, "control");
	t->n_control += t->control[t->n];
	p->line[p->n++] = o;
	t->text[t->n] = json_string_value(text);
	t->len[t->n++] = json_string_length(text);
	return 0;
bad:
	json_decref(o);
	return -1;
}

static int finish(struct mm_texts *t, struct mm_err *err)
{
	struct mm_hasher *h = mm_hasher_new(err);
	double sum = 0;
	if (!h)
		return -1;
	for (size_t i = 0; i < t->n; i++) {
		uint8_t le[8];
		for (int k = 0; k < 8; k++)
			le[k] = (uint8_t)((uint64_t)t->len[i] >> (8 * k));
		mm_hasher_put(h, le, sizeof le);
		mm_hasher_put(h, t->text[i], t->len[i]);
		sum += (double)t->len[i];
	}
	t->hash = mm_hasher_get(h);
	t->mean_bytes = sum / (double)t->n;
	mm_hasher_free(h);
	return 0;
}

int mm_texts_load(struct mm_texts *t, const char *path, struct mm_err *err)
{
	*t = (struct mm_texts){ 0 };
	size_t len, line = 0;
	char *data = mm_file_read(path, MAX_FILE, &len, err);
	if (!data)
		return -1;
	if (!(t->priv = mm_calloc(1, sizeof(struct priv), err)))
		goto bad;
	for (size_t off = 0; off < len;) {
		const char *end = memchr(data + off, '\n', len - off);
		size_t n = end ? (size_t)(end - (data + off)) : len - off;
		line++;
		if (strspn(data + off, " \t\r") < n && add_line(t, data + off, n, err)) {
			mm_wrap(err, "%s: line %zu", path, line);
			goto bad;
		}
		off += n + 1;
	}
	if (!t->n) {
		mm_fail(err, MM_EFORMAT, "%s: no texts; expected one JSON object a line with a string \"text\"", path);
		goto bad;
	}
	if (finish(t, err))
		goto bad;
	mm_free(data);
	return 0;
bad:
	mm_free(data);
	mm_texts_free(t);
	return -1;
}

void mm_texts_free(struct mm_texts *t)
{
	struct priv *p = t->priv;
	for (size_t i = 0; p && i < p->n; i++)
		json_decref(p->line[i]);
	for (size_t i = 0; i < t->n_domain; i++)
		mm_free(t->domain_name[i]);
	if (p)
		mm_free(p->line);
	mm_free(p);
	mm_free(t->text);
	mm_free(t->len);
	mm_free(t->domain);
	mm_free(t->control);
	mm_free(t->domain_name);
	*t = (struct mm_texts){ 0 };
}
