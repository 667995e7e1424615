/* fuzz_tok_files.c - the other files: SentencePiece models, tiktoken ranks, RWKV vocabularies; told apart by their
 * content. */
#include "model/tok_priv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const texts[] = { "a", "  ab abc  cab b ", "caf\xc3\xa9 \xe2\x96\x81x <sep> \n\xe6\x97\xa5",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static json_t *conf;
	struct tok_source src = { .name = "fuzz", .dir = "/nonexistent", .n = 1, .part = { { data, size } } };
	struct mm_err err = { 0 };
	struct mm_tok *tok;
	if (!conf)
		conf = json_pack("{s:s}", "pat_str", "\\s?\\w+|\\s+|.");
	if (size && *data == '{')
		return 0;
	tok = tok_from_source(&src, conf, &err);
	for (size_t i = 0; tok && i < MM_COUNT(texts); i++) {
		struct mm_ids ids = { 0 };
		struct mm_buf out = { 0 };
		if (!mm_tok_encode(tok, texts[i], strlen(texts[i]), (unsigned)i & 1, &ids, &err)) {
			for (size_t k = 0; k < ids.n; k++)
				if (ids.id[k] >= mm_tok_n_vocab(tok))
					abort();
			if (mm_tok_decode(tok, ids.id, ids.n, &out, &err))
				abort();
			/* longest match and byte ranks lose nothing */
			if ((!strcmp(mm_tok_class(tok), "rwkv") ||
				    (!strcmp(mm_tok_class(tok), "bpe-tiktoken") && !(i & 1))) &&
				(out.len != strlen(texts[i]) || memcmp(out.data, texts[i], out.len)))
				abort();
		}
		mm_buf_fini(&out);
		mm_free(ids.id);
	}
	mm_tok_close(tok);
	return 0;
}
