/* import_meta.c: what a client says of an imported model besides its vector: family, parameters, bytes, element type,
 * date, run, step; any of them, or nothing. No file is there to be asked. */
#include "daemon/core_priv.h"

#include <stddef.h>
#include <string.h>

static const struct field {
	const char *arg;
	size_t at; /* in struct mm_model_rec: char * where text, else 64 bits */
	bool text;
} fields[MM_IMPORT_META] = {
	{ "family", offsetof(struct mm_model_rec, family), true },
	{ "dtype", offsetof(struct mm_model_rec, dtype), true },
	{ "run", offsetof(struct mm_model_rec, run), true },
	{ "params", offsetof(struct mm_model_rec, params), false },
	{ "bytes", offsetof(struct mm_model_rec, bytes), false },
	{ "date", offsetof(struct mm_model_rec, modified), false },
	{ "step", offsetof(struct mm_model_rec, step), false },
};

static void *member(const struct mm_model_rec *r, const struct field *f)
{
	return (char *)(uintptr_t)r + f->at;
}

int mm_import_meta_take(struct mm_import_meta *m, const json_t *args, struct mm_err *err)
{
	for (size_t i = 0; i < MM_COUNT(fields); i++) {
		const json_t *v = json_object_get(args, fields[i].arg);
		char text[1100];
		if (!v)
			continue;
		m->given[i] = true;
		m->number[i] = json_integer_value(v);
		if (!fields[i].text)
			continue;
		mm_utf8_sanitize(text, sizeof text, json_string_value(v), json_string_length(v));
		mm_free(m->text[i]);
		if (!(m->text[i] = mm_strdup(text, err)))
			return -1;
	}
	return 0;
}

void mm_import_meta_fini(struct mm_import_meta *m)
{
	for (size_t i = 0; i < MM_COUNT(fields); i++)
		mm_free(m->text[i]);
	*m = (struct mm_import_meta){ 0 };
}

bool mm_import_meta_new(const struct mm_import_meta *m, const struct mm_model_rec *r)
{
	for (size_t i = 0; i < MM_COUNT(fields); i++) {
		if (!m->given[i])
			continue;
		if (fields[i].text) {
			const char *have = *(char *const *)member(r, &fields[i]);
			if (!have || strcmp(have, m->text[i]) != 0)
				return true;
		} else if (memcmp(member(r, &fields[i]), &m->number[i], sizeof m->number[i]) != 0) {
			return true;
		}
	}
	return false;
}

int mm_import_meta_put(const struct mm_import_meta *m, struct mm_model_rec *r, struct mm_err *err)
{
	for (size_t i = 0; i < MM_COUNT(fields); i++) {
		if (m->given[i] && fields[i].text && mm_reg_str(member(r, &fields[i]), m->text[i], err))
			return -1;
		if (m->given[i] && !fields[i].text)
			memcpy(member(r, &fields[i]), &m->number[i], sizeof m->number[i]);
	}
	return 0;
}
