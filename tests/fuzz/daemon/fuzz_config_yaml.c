/* fuzz_config_yaml.c - any bytes as configuration: refused with a line, or accepted, and then the dump of it parses
 * back to the same. */
#include "daemon/config_priv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_config c, again;
	char *text = NULL;
	size_t len;
	if (mm_config_defaults(&c, &err))
		abort();
	if (mm_config_parse(&c, (const char *)data, size, "f", &err)) {
		if (!err.code || strncmp(err.text, "f:", 2))
			abort();
		mm_config_free(&c);
		return 0;
	}
	FILE *f = open_memstream(&text, &len);
	if (!f || mm_config_dump(&c, f) || fclose(f) || mm_config_defaults(&again, &err))
		abort();
	if (mm_config_parse(&again, text, len, "again", &err))
		abort();
	for (size_t i = 0; i < mm_n_keys; i++)
		if (!mm_key_same(&c, &again, &mm_keys[i]))
			abort();
	free(text);
	mm_config_free(&again);
	mm_config_free(&c);
	return 0;
}
