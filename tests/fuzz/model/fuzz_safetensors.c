/* fuzz_safetensors.c - the header of a .safetensors file. Input: one byte that says how much data follows the header,
 * the header's JSON. What is accepted must be what the format promises: inside the data, end to end. */
#include "model/ckpt_priv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why = { 0 };
	if (!size)
		return 0;
	struct mm_ckpt_file file = {
		.name = (char *)"f", .size = 8 + size - 1 + data[0], .data = 8 + size - 1, .fd = -1
	};
	struct mm_ckpt ck = { .file = &file, .n_file = 1, .arena = mm_arena_new(1 << 12, &err) };
	if (!ck.arena)
		abort();
	if (!mm_safetensors_parse(&ck, 0, data + 1, size - 1, &why, &err)) {
		uint64_t bytes = 0;
		for (size_t i = 0; i < ck.n_tensor; i++) {
			const struct mm_tensor *t = &ck.tensor[i];
			if (mm_ckpt_find(&ck, t->name) != t || t->offset < file.data ||
				t->n_byte > file.size - t->offset)
				abort();
			bytes += t->n_byte;
		}
		if (bytes != data[0])
			abort();
	} else if (err.code == MM_OK || !err.text[0]) {
		abort();
	}
	mm_free(ck.tensor);
	mm_free(ck.slot);
	mm_arena_free(ck.arena);
	return 0;
}
