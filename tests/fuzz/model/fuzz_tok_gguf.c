/* fuzz_tok_gguf.c - the vocabulary in a GGUF file: any bytes as the file. */
#include "model/tok_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const texts[] = { "a", "The cat's <s> 12 caf\xc3\xa9", "\xe2\x96\x81 ab\n \xe6\x97\xa5" };
	struct mm_err err = { 0 };
	struct mm_tok *tok;
	char path[40];
	int fd = memfd_create("gguf", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	tok = tok_open_gguf(path, &err);
	for (size_t i = 0; tok && i < MM_COUNT(texts); i++) {
		struct mm_ids ids = { 0 };
		struct mm_buf out = { 0 };
		if (!mm_tok_encode(tok, texts[i], strlen(texts[i]), MM_TOK_SPECIAL, &ids, &err)) {
			for (size_t k = 0; k < ids.n; k++)
				if (ids.id[k] >= mm_tok_n_vocab(tok))
					abort();
			(void)!mm_tok_decode(tok, ids.id, ids.n, &out, &err);
		}
		mm_buf_fini(&out);
		mm_free(ids.id);
	}
	mm_tok_close(tok);
	close(fd);
	return 0;
}
