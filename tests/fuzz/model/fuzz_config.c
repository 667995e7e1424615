/* fuzz_config.c - config.json against the families' tables: hyperparameters and the shapes that follow from them, with
 * the tensors of a tiny llama as the only ones there. */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(struct mm_ckpt *ck, const char *name, uint64_t rows, uint64_t cols)
{
	struct mm_err err = { 0 };
	struct mm_tensor t = { .dtype = MM_F32, .n_dim = cols ? 2 : 1, .dim = { rows, cols } };
	if (mm_tensor_size(&t, name, &err) || mm_ckpt_tensor_add(ck, &t, name, strlen(name), &err))
		abort();
}

static struct mm_ckpt *tiny(void)
{
	static struct mm_ckpt_file file = {
		.name = (char *)"model.safetensors", .path = (char *)"model.safetensors", .fd = -1
	};
	static struct mm_ckpt ck = {
		.path = (char *)"tiny", .dir = (char *)"tiny", .file = &file, .n_file = 1, .flags = MM_CKPT_NOMAP
	};
	struct mm_err err = { 0 };
	if (ck.arena)
		return &ck;
	if (!(ck.arena = mm_arena_new(1 << 12, &err)))
		abort();
	add(&ck, "model.embed_tokens.weight", 16, 8);
	add(&ck, "lm_head.weight", 16, 8);
	add(&ck, "model.norm.weight", 8, 0);
	add(&ck, "model.layers.0.input_layernorm.weight", 8, 0);
	add(&ck, "model.layers.0.post_attention_layernorm.weight", 8, 0);
	add(&ck, "model.layers.0.self_attn.q_proj.weight", 8, 8);
	add(&ck, "model.layers.0.self_attn.k_proj.weight", 4, 8);
	add(&ck, "model.layers.0.self_attn.v_proj.weight", 4, 8);
	add(&ck, "model.layers.0.self_attn.o_proj.weight", 8, 8);
	add(&ck, "model.layers.0.mlp.gate_proj.weight", 12, 8);
	add(&ck, "model.layers.0.mlp.up_proj.weight", 12, 8);
	add(&ck, "model.layers.0.mlp.down_proj.weight", 8, 12);
	return &ck;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why = { 0 };
	struct mm_ckpt *ck = tiny();
	char name[32];
	int fd = memfd_create("config", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(name, sizeof name, "%d", fd);
	ck->config = mm_ckpt_json("/proc/self/fd", name, 1 << 20, &why, "bad_config", &err);
	close(fd);
	if (!ck->config)
		return 0;
	if (mm_model_check(ck, &err) && (err.code == MM_OK || !err.text[0]))
		abort();
	json_decref(ck->config);
	ck->config = NULL;
	return 0;
}
