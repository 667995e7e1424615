/* test_probe.c - is a checkpoint whole? Every way of writing one that is seen in practice, stopped half-way: never
 * ready before it is. */
#include "probe_kit.h"

/* ---- ready ---- */

static void a_whole_one_is_ready(void **state)
{
	struct world *w = *state;
	put_text(at(w->m, "model.safetensors.tmp"), "x");
	put_text(at(w->m, ".model.safetensors.Xa12bC"), "x");
	put_text(at(w->m, "training_args.bin"), "x");
	json_t *j = probe(w), *meta = json_object_get(j, "meta"), *files = json_object_get(j, "files"), *f;
	assert_string_equal(str(j, "state"), "ready");
	assert_null(json_object_get(j, "reason"));
	assert_string_equal(str(meta, "family"), "qwen2");
	assert_string_equal(str(meta, "architecture"), "Qwen2ForCausalLM");
	assert_string_equal(str(meta, "dtype"), "bf16");
	assert_string_equal(str(meta, "container"), "safetensors");
	assert_int_equal(json_integer_value(json_object_get(meta, "params")), 791008);
	assert_int_equal(json_integer_value(json_object_get(meta, "context")), 512);
	assert_int_equal(json_integer_value(json_object_get(meta, "vocab")), 4128);
	const char *want[] = { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json" };
	size_t i, n = 0;
	json_array_foreach (files, i, f) {
		struct stat st;
		assert_string_equal(str(f, "name"), want[n++]);
		assert_int_equal(stat(at(w->m, str(f, "name")), &st), 0);
		assert_int_equal(json_integer_value(json_object_get(f, "bytes")), st.st_size);
		assert_int_equal(json_integer_value(json_object_get(f, "ino")), st.st_ino);
		assert_int_equal(json_integer_value(json_object_get(f, "mtime_ns")),
			st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
	}
	assert_int_equal(n, MM_COUNT(want));
	json_decref(j);
}

static void links_to_blobs_are_files(void **state)
{
	struct world *w = *state;
	mkdir(at(w->dir, "blobs"), 0755);
	assert_int_equal(rename(weights(w), at(w->dir, "blobs/0abc")), 0);
	assert_int_equal(symlink("../../blobs/0abc", weights(w)), 0);
	expect_ready(w);
	assert_int_equal(rename(at(w->dir, "blobs/0abc"), at(w->dir, "blobs/else")), 0); /* dangling: may still come */
	expect(w, "waiting", "missing_shard", "model.safetensors", 0);
}

/* ---- writers, stopped half-way ---- */

static void growing_file(void **state)
{
	struct world *w = *state;
	struct stat st;
	stat(weights(w), &st);
	/* below 8192 bytes the header itself is cut, and only what it lacks is known */
	for (off_t k = 0; k < st.st_size; k += k < 8192 ? 511 : st.st_size / 17) {
		copy_file(FIXTURE "/model.safetensors", weights(w));
		assert_int_equal(truncate(weights(w), k), 0);
		expect(w, "waiting", "truncated", "model.safetensors", k < 8192 ? 0 : st.st_size - k);
	}
	copy_file(FIXTURE "/model.safetensors", weights(w));
	expect_ready(w);
}

static void shards_one_by_one(void **state)
{
	struct world *w = *state;
	char hidden[4096];
	reshard(w, 3, false);
	expect_ready(w);
	for (int s = 1; s <= 3; s++) {
		char name[64];
		format(name, "model-%05d-of-00003.safetensors", s);
		format(hidden, "%s/.%s.XyZ", w->m, name);
		assert_int_equal(rename(at(w->m, name), hidden), 0);
		expect(w, "waiting", "missing_shard", name, 0);
		assert_int_equal(rename(hidden, at(w->m, name)), 0);
	}
	unlink(at(w->m, "model.safetensors.index.json")); /* the index comes last */
	expect(w, "waiting", "no_weights", "model.safetensors.index.json", 0);
}

/* The full length first, then the bytes from the front; `fill`: zeros on the disk, else a hole. */
static void length_first(const struct world *w, bool fill, size_t upto)
{
	struct mm_err err = { 0 };
	size_t n;
	char *data = mm_file_read(FIXTURE "/model.safetensors", 64u << 20, &n, &err);
	unlink(weights(w));
	if (fill) {
		memset(data + upto, 0, n - upto);
		put_file(weights(w), data, n);
	} else {
		put_file(weights(w), data, upto);
		assert_int_equal(truncate(weights(w), (off_t)n), 0);
	}
	mm_free(data);
}

static void full_length_first(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	struct mm_ckpt *ck = mm_ckpt_open(FIXTURE, NULL, &err);
	size_t n = mm_ckpt_n_tensor(ck), size = (size_t)mm_ckpt_bytes(ck);
	for (int fill = 0; fill < 2; fill++) {
		length_first(w, fill, 0);
		expect(w, "waiting", "empty_blocks", "model.safetensors", 0);
		length_first(w, fill, 700); /* inside the header */
		expect(w, "waiting", "empty_blocks", "model.safetensors", 0);
		for (size_t i = 0; i < n; i++) { /* the pause lies at a tensor's end, and inside it */
			const struct mm_tensor *t = mm_ckpt_tensor(ck, i);
			size_t last = (size_t)(t->offset + t->n_byte);
			bool last_matrix = true;
			for (size_t k = 0; k < n; k++)
				last_matrix &= mm_ckpt_tensor(ck, k)->n_dim < 2 || mm_ckpt_tensor(ck, k)->offset < last;
			if (!last_matrix) { /* what lies behind the last matrix is vectors, which may be zero */
				length_first(w, fill, last);
				expect(w, "waiting", "empty_blocks", "model.safetensors", 0);
			}
			if (t->n_dim < 2)
				continue;
			length_first(w, fill, (size_t)t->offset + (size_t)t->n_byte / 3 + 5);
			expect(w, "waiting", "empty_blocks", "model.safetensors", 0);
		}
		length_first(w, fill, size);
		expect_ready(w);
	}
	mm_ckpt_close(ck);
}

/* Pieces in any order: every one of eight left out once. */
static void pieces_in_any_order(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	size_t n;
	char *data = mm_file_read(FIXTURE "/model.safetensors", 64u << 20, &n, &err), *copy = malloc(n);
	for (size_t k = 1; k < 8; k++) {
		memcpy(copy, data, n);
		memset(copy + n / 8 * k, 0, n / 8);
		put_file(weights(w), copy, n);
		expect(w, "waiting", "empty_blocks", "model.safetensors", 0);
	}
	put_file(weights(w), data, n);
	put_text(at(w->m, "model.safetensors.aria2"), "x");
	expect(w, "waiting", "truncated", "model.safetensors", 0);
	unlink(at(w->m, "model.safetensors.aria2"));
	expect_ready(w);
	free(copy);
	mm_free(data);
}

static void tokenizer_last_or_in_the_run(void **state)
{
	struct world *w = *state;
	char *own = quick(w);
	unlink(at(w->m, "tokenizer.json"));
	unlink(at(w->m, "tokenizer_config.json"));
	expect(w, "waiting", "no_tokenizer", "tokenizer.json", 0);
	put_text(at(w->run, "tokenizer.json"), "{\"version\":\"1.0\",");
	expect(w, "waiting", "bad_tokenizer", "tokenizer.json", 0);
	copy_file(FIXTURE "/tokenizer.json", at(w->run, "tokenizer.json"));
	copy_file(FIXTURE "/tokenizer_config.json", at(w->run, "tokenizer_config.json"));
	json_t *j = probe(w);
	assert_string_equal(str(j, "state"), "ready");
	assert_string_equal(str(j, "quick"), own); /* where it lies does not matter */
	assert_string_equal(str(json_array_get(json_object_get(j, "files"), 0), "name"), "../tokenizer.json");
	json_decref(j);
	/* Not above the directory that is watched. */
	rename(at(w->run, "tokenizer.json"), at(w->dir, "tokenizer.json"));
	struct mm_err err = { 0 };
	j = mm_probe(w->m, w->run, &err);
	assert_string_equal(str(json_object_get(j, "reason"), "code"), "no_tokenizer");
	json_decref(j);
	expect_ready(w);
	free(own);
}

/* A vocabulary in two files counts when both are there; another checkpoint's .gguf above is no tokenizer. */
static void other_tokenizers(void **state)
{
	struct world *w = *state;
	unlink(at(w->m, "tokenizer.json"));
	put_text(at(w->dir, "other.gguf"), "GGUF");
	put_text(at(w->m, "vocab.json"), "{\"a\":0}");
	expect(w, "waiting", "no_tokenizer", "tokenizer.json", 0);
	put_text(at(w->m, "merges.txt"), "#version: 0.2\n");
	json_t *j = probe(w);
	assert_string_not_equal(str(json_object_get(j, "reason"), "code"), "no_tokenizer");
	json_decref(j);
}

static void configs(void **state)
{
	struct world *w = *state;
	unlink(at(w->m, "config.json"));
	expect(w, "waiting", "no_config", "config.json", 0);
	put_text(at(w->m, "config.json"), "");
	expect(w, "waiting", "bad_config", "config.json", 0);
	put_text(at(w->m, "config.json"), "{\"model_type\":\"qwen2\",\"hidden_si");
	expect(w, "waiting", "bad_config", "config.json", 0);
	put_text(at(w->m, "config.json"), "{\"model_type\":\"nonesuch\"}");
	expect(w, "failed", "unsupported", "config.json", 0);
	unlink(weights(w)); /* no need to wait for the weights */
	expect(w, "failed", "unsupported", "config.json", 0);
	json_t *j = probe(w);
	assert_non_null(strstr(str(json_object_get(j, "reason"), "text"), "nonesuch"));
	json_decref(j);
}

/* ---- failed for good ---- */

static void edit_header(const struct world *w, const char *from, const char *to)
{
	struct mm_err err = { 0 };
	size_t n;
	char *data = mm_file_read(FIXTURE "/model.safetensors", 64u << 20, &n, &err);
	char *p = memmem(data, n, from, strlen(from));
	assert_non_null(p);
	assert_int_equal(strlen(from), strlen(to));
	memcpy(p, to, strlen(to));
	put_file(weights(w), data, n);
	mm_free(data);
}

static void tensors_are_checked(void **state)
{
	struct world *w = *state;
	edit_header(w, "model.layers.1.mlp.down_proj.weight", "model.layers.1.mlp.down_prxx.weight");
	expect(w, "failed", "shape", "model.safetensors", 0);
	json_t *j = probe(w);
	assert_non_null(strstr(str(json_object_get(j, "reason"), "text"), "model.layers.1.mlp.down_proj.weight"));
	json_decref(j);
	edit_header(w, "\"dtype\":\"BF16\"", "\"dtype\":\"BF17\"");
	expect(w, "failed", "bad_weights", "model.safetensors", 0);
}

static void other_kinds_of_files(void **state)
{
	struct world *w = *state;
	unlink(weights(w));
	mkfifo(weights(w), 0600);
	expect(w, "failed", "not_regular", "model.safetensors", 0);
	unlink(weights(w));
	assert_int_equal(symlink("/dev/zero", weights(w)), 0);
	expect(w, "failed", "not_regular", "model.safetensors", 0);
	unlink(weights(w));
	assert_int_equal(symlink("model.safetensors", weights(w)), 0);
	expect(w, "failed", "not_regular", "model.safetensors", 0);
	unlink(weights(w));
	put_text(at(w->m, "pytorch_model.bin"), "PK");
	expect(w, "failed", "unsupported", "pytorch_model.bin", 0);
	if (geteuid()) {
		put_text(weights(w), "x");
		chmod(weights(w), 0);
		expect(w, "waiting", "unreadable", "model.safetensors", 0);
	}
	struct mm_err err = { 0 };
	assert_null(mm_probe(at(w->dir, "nowhere"), NULL, &err));
	assert_int_equal(err.code, MM_ENOENT);
}

/* ---- zeros that are right ---- */

static void zero_tensor(const struct world *w, const char *name, double from_row, bool sparse)
{
	struct mm_err err = { 0 };
	size_t n;
	struct mm_ckpt *ck = mm_ckpt_open(FIXTURE, NULL, &err);
	const struct mm_tensor *t = mm_ckpt_find(ck, name);
	char *data = mm_file_read(FIXTURE "/model.safetensors", 64u << 20, &n, &err);
	assert_non_null(t);
	size_t row = t->n_dim > 1 ? (size_t)(t->n_byte / t->dim[0]) : (size_t)t->n_byte,
	       first = (size_t)(from_row * (double)(t->n_byte / row)) * row;
	memset(data + t->offset + first, 0, (size_t)t->n_byte - first);
	put_file(weights(w), data, n);
	if (sparse) { /* as cp --sparse=always leaves it: whole blocks of zeros are holes */
		int fd = open(weights(w), O_WRONLY | O_TRUNC);
		for (size_t i = 0; i < n; i += 4096) {
			size_t k = MM_MIN(n - i, (size_t)4096);
			static const char zeros[4096];
			if (memcmp(data + i, zeros, k))
				assert_int_equal(pwrite(fd, data + i, k, (off_t)i), (ssize_t)k);
		}
		assert_int_equal(ftruncate(fd, (off_t)n), 0);
		close(fd);
	}
	mm_free(data);
	mm_ckpt_close(ck);
}

static void zeros_that_are_right(void **state)
{
	struct world *w = *state;
	zero_tensor(w, "model.layers.0.self_attn.q_proj.bias", 0, false);
	expect_ready(w);
	zero_tensor(w, "model.norm.weight", 0, false);
	expect_ready(w);
	zero_tensor(
		w, "model.layers.1.self_attn.o_proj.weight", 0, false); /* a block that was added and starts at zero */
	expect_ready(w);
	zero_tensor(w, "model.embed_tokens.weight", 0.9, false); /* rows that pad the vocabulary */
	expect_ready(w);
	zero_tensor(w, "model.embed_tokens.weight", 0.9, true);
	expect_ready(w);
}

/* Wherever memory runs out, the answer is that it did, or the right one: never a state that is not true. */
static void out_of_memory(void **state)
{
	struct world *w = *state;
	for (long n = 1; n < 10000000; n += n < 300 ? 1 : n / 8) {
		struct mm_err err = { 0 };
		mm_mem_fail_after(n);
		json_t *j = mm_probe(w->m, w->dir, &err);
		bool enough = mm_mem_count() < n;
		mm_mem_fail_after(0);
		if (!j)
			assert_int_equal(err.code, MM_ENOMEM);
		else if (strcmp(str(j, "state"), "ready") != 0)
			fail_msg("after %ld: %s", n, json_dumps(j, 0));
		json_decref(j);
		if (enough) {
			assert_non_null(j);
			return;
		}
	}
	fail();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(a_whole_one_is_ready),
		WORLD(links_to_blobs_are_files),
		WORLD(growing_file),
		WORLD(shards_one_by_one),
		WORLD(full_length_first),
		WORLD(pieces_in_any_order),
		WORLD(tokenizer_last_or_in_the_run),
		WORLD(other_tokenizers),
		WORLD(configs),
		WORLD(tensors_are_checked),
		WORLD(other_kinds_of_files),
		WORLD(zeros_that_are_right),
		WORLD(out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
