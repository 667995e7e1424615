/* replay.c - runs a fuzz target over every file of the folders given: seeds and past findings, without libFuzzer. */
#include "base/base.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	struct mm_err err = { 0 };
	size_t len;
	char *text = mm_file_read(path, 64u << 20, &len, &err);
	if (!text) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	/* An exact-size heap copy, so that the address sanitizer sees a read past the end. */
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy)
		abort();
	memcpy(copy, text, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
	mm_free(text);
	return 0;
}

int main(int argc, char **argv)
{
	size_t n = 0;
	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		if (!d) {
			fprintf(stderr, "no seeds in %s\n", argv[i]);
			return 1;
		}
		for (struct dirent *e; (e = readdir(d));) {
			char path[4096];
			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
			if (replay_file(path))
				return 1;
			n++;
		}
		closedir(d);
	}
	printf("%zu inputs replayed\n", n);
	return n ? 0 : 1; /* no seed: the test would mean nothing */
}
