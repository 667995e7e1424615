/* fuzz_gguf.c - a whole GGUF file, opened from memory; what opens is read through, and goes through the families'
 * tables. */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct mm_ckpt *ck)
{
	struct mm_err err = { 0 };
	for (size_t i = 0; i < ck->n_tensor; i++) {
		const struct mm_tensor *t = &ck->tensor[i];
		float *v = mm_calloc(t->n_elem, sizeof *v, &err);
		if (!v || mm_ckpt_read(ck, t, 0, t->n_elem, v,
				  &err)) /* bounded by the file: at most 256 values for 84 bytes */
			abort();
		mm_free(v);
	}
}

static void read_strings(const struct mm_gguf *g)
{
	struct mm_err err = { 0 };
	struct mm_gguf_array a = { 0 };
	const char *s;
	size_t off = 0, n, k = 0;
	if (mm_gguf_get_array(g, "tokenizer.ggml.tokens", MM_GGUF_STRING, &a, &err))
		return;
	while (mm_gguf_str_next(&a, &off, &s, &n))
		k++;
	if (k != a.n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why = { 0 };
	char path[64];
	int fd = memfd_create("gguf", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	struct mm_ckpt *ck = mm_ckpt_open_ex(path, NULL, size % 2 ? MM_CKPT_NOMAP : 0, &why, &err);
	if (ck) {
		read_all(ck);
		read_strings(ck->gguf);
		if (mm_model_check(ck, &err) && (err.code == MM_OK || !err.text[0]))
			abort();
	} else if (err.code == MM_OK || !err.text[0]) {
		abort();
	}
	mm_ckpt_close(ck);
	close(fd);
	return 0;
}
