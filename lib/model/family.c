/* family.c: the list of families and who a config belongs to.
 *
 * The reference picks the class by model_type; a config without one, or with one that only its own code knows, is taken
 * by `architectures`. GGUF files name themselves in general.architecture. The list comes from MM_FAMILIES in
 * model_priv.h. */
#include "model/model_priv.h"

#include <string.h>

const struct mm_family *const mm_family_table[] = {
#define X(n) &mm_fam_##n,
	MM_FAMILIES(X)
#undef X
};
const size_t mm_family_count = MM_COUNT(mm_family_table);

static bool listed(const char *const *list, const char *name)
{
	for (; list && *list; list++)
		if (!strcmp(*list, name))
			return true;
	return false;
}

static void known_list(struct mm_buf *b, bool gguf)
{
	for (size_t i = 0; i < mm_family_count; i++) {
		const char *const *n = gguf ? mm_family_table[i]->gguf_archs : mm_family_table[i]->model_types;
		for (; n && *n; n++)
			mm_buf_printf(b, "%s%s", b->len ? ", " : "", *n);
	}
}

static const struct mm_family *unknown(const char *what, const char *name, bool gguf, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	char safe[128];
	mm_utf8_sanitize(safe, sizeof(safe), name, strlen(name));
	known_list(&b, gguf);
	mm_fail(err, MM_EUNSUPPORTED, "%s %s is not supported; supported: %s", what, safe,
		b.data ? (const char *)b.data : "");
	mm_buf_fini(&b);
	return NULL;
}

const struct mm_family *mm_family_of(const json_t *config, const char **arch, struct mm_err *err)
{
	const char *gguf = json_string_value(json_object_get(config, "general.architecture"));
	const char *type = json_string_value(json_object_get(config, "model_type"));
	const char *cls = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
	const char *name = gguf ? gguf : cls ? cls : type;
	for (size_t i = 0; i < mm_family_count; i++) {
		const struct mm_family *f = mm_family_table[i];
		if (gguf       ? listed(f->gguf_archs, gguf)
			: type ? listed(f->model_types, type)
			       : cls && listed(f->archs, cls)) {
			*arch = name;
			return f;
		}
	}
	for (size_t i = 0; !gguf && type && cls && i < mm_family_count; i++)
		if (listed(mm_family_table[i]->archs, cls)) {
			*arch = name;
			return mm_family_table[i];
		}
	if (!name) {
		mm_fail(err, MM_EFORMAT, "config.json names no architecture (model_type, architectures)");
		return NULL;
	}
	return unknown(gguf ? "GGUF architecture" : "architecture", name, gguf != NULL, err);
}

int mm_family_known(const json_t *config, struct mm_err *err)
{
	const char *arch;
	return mm_family_of(config, &arch, err) ? 0 : -1;
}

static int put_list(json_t *o, const char *key, const char *const *list)
{
	json_t *a = json_array();
	for (; list && *list; list++)
		json_array_append_new(a, json_string(*list));
	return json_object_set_new(o, key, a);
}

json_t *mm_families_json(struct mm_err *err)
{
	json_t *all = json_array(), *root = json_object();
	bool ok = all && root;
	for (size_t i = 0; ok && i < mm_family_count; i++) {
		const struct mm_family *f = mm_family_table[i];
		json_t *o = json_object(), *c = json_array();
		ok = o && c && !json_object_set_new(o, "family", json_string(f->name)) &&
		     !put_list(o, "architectures", f->archs) && !put_list(o, "model_types", f->model_types) &&
		     !put_list(o, "gguf", f->gguf_archs) && !json_array_append_new(c, json_string("safetensors")) &&
		     (!f->gguf_archs || !json_array_append_new(c, json_string("gguf"))) &&
		     !json_object_set_new(o, "containers", c) &&
		     !json_object_set_new(o, "proof", json_string(f->proof)) && !json_array_append_new(all, o);
	}
	if (!ok || json_object_set_new(root, "families", all)) {
		json_decref(root);
		mm_fail(err, MM_ENOMEM, "out of memory for the list of families");
		return NULL;
	}
	return root;
}
