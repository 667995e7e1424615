/* probe_kit.h: a checkpoint of its own for every test: probed, fingerprinted, written again in other shards. */
#ifndef PROBE_KIT_H
#define PROBE_KIT_H

#include "ckpt_util.h"

#define FIXTURE "tests/fixtures/zoo/qwen2-a"

struct world {
	char *dir;		 /* scratch */
	char run[4096], m[4096]; /* DIR/run, DIR/run/m: the checkpoint */
};

static inline int world_new(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	w->dir = scratch_new();
	format(w->run, "%s/run", w->dir);
	format(w->m, "%s/run/m", w->dir);
	mkdir(w->run, 0755);
	mkdir(w->m, 0755);
	copy_dir(FIXTURE, w->m);
	*state = w;
	return 0;
}

static inline int world_free(void **state)
{
	struct world *w = *state;
	scratch_free(w->dir);
	free(w);
	return 0;
}

static inline json_t *probe(const struct world *w)
{
	struct mm_err err = { 0 };
	json_t *j = mm_probe(w->m, w->dir, &err);
	if (!j)
		fail_msg("%s", err.text);
	return j;
}

static inline const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

/* State and code; `file` and `missing` where they are given. */
static inline void expect(
	const struct world *w, const char *state, const char *code, const char *file, json_int_t missing)
{
	json_t *j = probe(w), *r = json_object_get(j, "reason");
	if (strcmp(str(j, "state"), state) || strcmp(str(r, "code"), code) || (file && strcmp(str(r, "file"), file)) ||
		(missing && missing != json_integer_value(json_object_get(r, "missing_bytes"))))
		fail_msg("expected %s %s %s %lld, found %s", state, code, file ? file : "", (long long)missing,
			json_dumps(j, 0));
	assert_int_equal(!strcmp(state, "ready"), json_object_get(j, "quick") != NULL);
	json_decref(j);
}

static inline void expect_ready(const struct world *w)
{
	expect(w, "ready", "", NULL, 0);
}

static inline char *quick(const struct world *w)
{
	json_t *j = probe(w);
	char *s = strdup(str(j, "quick"));
	if (!s[0])
		fail_msg("not ready: %s", str(json_object_get(j, "reason"), "text"));
	json_decref(j);
	return s;
}

static inline struct mm_hash full(const struct world *w)
{
	struct mm_err err = { 0 };
	struct mm_hash h;
	if (mm_fingerprint_full(w->m, w->dir, &h, &err))
		fail_msg("%s", err.text);
	return h;
}

static inline const char *weights(const struct world *w)
{
	return at(w->m, "model.safetensors");
}

/* The fixture's weights in other shards, the tensors backwards, optionally as F32. The index is written too. */
static inline void reshard(const struct world *w, size_t n_shard, bool f32)
{
	struct mm_err err = { 0 };
	struct mm_ckpt *ck = mm_ckpt_open(FIXTURE, NULL, &err);
	struct mm_buf index = { 0 };
	size_t n = mm_ckpt_n_tensor(ck), done = 0;
	mm_buf_str(&index, "{\"weight_map\":{");
	for (size_t s = 0; s < n_shard; s++) {
		struct mm_buf head = { 0 }, data = { 0 };
		char name[64];
		format(name, "model-%05zu-of-%05zu.safetensors", s + 1, n_shard);
		mm_buf_str(&head, "{");
		for (size_t k = 0; done < n * (s + 1) / n_shard; k++, done++) {
			const struct mm_tensor *t = mm_ckpt_tensor(ck, n - 1 - done);
			size_t from = data.len;
			if (f32) {
				float *v = malloc(t->n_elem * sizeof *v);
				assert_int_equal(mm_ckpt_read(ck, t, 0, t->n_elem, v, &err), 0);
				mm_buf_put(&data, v, t->n_elem * sizeof *v);
				free(v);
			} else {
				mm_buf_put(&data, t->data, t->n_byte);
			}
			mm_buf_printf(&head, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%llu", k ? "," : "", t->name,
				f32 ? "F32" : mm_dtypes[t->dtype].safetensors, (unsigned long long)t->dim[0]);
			if (t->n_dim > 1)
				mm_buf_printf(&head, ",%llu", (unsigned long long)t->dim[1]);
			mm_buf_printf(&head, "],\"data_offsets\":[%zu,%zu]}", from, data.len);
			mm_buf_printf(&index, "%s\"%s\":\"%s\"", done ? "," : "", t->name, name);
		}
		mm_buf_str(&head, "}");
		put_safetensors(at(w->m, name), (const char *)head.data, head.len, data.data, data.len);
		mm_buf_fini(&head);
		mm_buf_fini(&data);
	}
	mm_buf_str(&index, "}}");
	put_file(at(w->m, "model.safetensors.index.json"), index.data, index.len);
	mm_buf_fini(&index);
	unlink(weights(w));
	mm_ckpt_close(ck);
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

#endif
