/* fuzz_tok_json.c - tokenizer.json: any bytes as the file; what is taken must encode and decode a few texts without
 * harm. */
#include "model/tok_priv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const texts[] = { "", "a", "The cat's  hat\n isn't 1234",
	"<s> caf\xc3\xa9 e\xcc\x81\xcc\xa3 \xe2\x96\x81 \xf0\x9f\x99\x82 x",
	"   \t\r\n  ab aab abab ABC 12 \xe6\x97\xa5\xe6\x9c\xac \xea\xb0\x80\xe1\x86\xa8 \xef\xac\x81" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tok_source src = { .name = "fuzz", .dir = "/nonexistent", .n = 1, .part = { { data, size } } };
	struct mm_err err = { 0 };
	struct mm_tok *tok;
	/* The fuzzer's own keyword for "every kind but JSON" is the first byte: those have a fuzzer of their own. */
	if (!size || (*data != '{' && *data != ' '))
		return 0;
	tok = tok_from_source(&src, NULL, &err);
	for (size_t i = 0; tok && i < MM_COUNT(texts); i++) {
		struct mm_ids ids = { 0 };
		struct mm_buf out = { 0 };
		if (!mm_tok_encode(tok, texts[i], strlen(texts[i]), (unsigned)i & 3, &ids, &err)) {
			for (size_t k = tok->n_front; k + tok->n_back < ids.n;
				k++) /* template ids may be beyond the vocabulary */
				if (ids.id[k] >= mm_tok_n_vocab(tok))
					abort();
			(void)!mm_tok_decode(tok, ids.id, ids.n, &out, &err);
		}
		mm_buf_fini(&out);
		mm_free(ids.id);
	}
	mm_tok_close(tok);
	return 0;
}
