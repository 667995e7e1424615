/* kit.h - what the tests of the store share: a fresh directory, a filled record of each kind, comparisons. */
#ifndef TESTS_STORE_KIT_H
#define TESTS_STORE_KIT_H

#include "store/store_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TYPE_F32 1u
#define TYPE_U32 3u

static inline char *kit_dir(void)
{
	static char path[64];
	snprintf(path, sizeof path, "/tmp/mm-store-XXXXXX");
	assert_non_null(mkdtemp(path));
	return path;
}

static inline void kit_rm(const char *dir)
{
	static const char *const files[] = { "store.mdb", "store.mdb-lock", "lock", "copy.mdb" };
	char path[4200];
	for (size_t i = 0; i < MM_COUNT(files); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, files[i]);
		unlink(path);
	}
	rmdir(dir);
}

static inline struct mm_store_pin kit_pin(void)
{
	return (struct mm_store_pin){ .texts = { 0x1234, 0x5678 },
		.n_texts = 8,
		.mean_bytes = 512.25,
		.bos = "auto",
		.compute = "f32",
		.scorer = "1" };
}

static inline struct mm_store *kit_open(const char *dir)
{
	struct mm_err err = { 0 };
	struct mm_store_pin pin = kit_pin();
	struct mm_store *s = mm_store_open(dir, &pin, &err);
	if (!s)
		fail_msg("%s", err.text);
	return s;
}

/* A record with something different from zero in every field; what the strings hold depends on `n`. */
static inline void kit_fill(const struct mm_layout *l, void *rec, unsigned n)
{
	memset(rec, 0, l->size);
	for (size_t i = 0; i < l->n; i++) {
		const struct mm_field *f = &l->field[i];
		char *at = (char *)rec + f->at;
		struct mm_err err;
		uint64_t u = 1000003u * (n + 1) + i;
		double d = (double)u / 7;
		struct mm_hash h = { u, ~u };
		char *s;
		bool yes = true;
		uint32_t w = (uint32_t)u;
		switch ((enum mm_field_type)f->type) {
		case MM_F_U64:
		case MM_F_I64:
			memcpy(at, &u, 8);
			break;
		case MM_F_F64:
			memcpy(at, &d, 8);
			break;
		case MM_F_U32:
			memcpy(at, &w, 4);
			break;
		case MM_F_ENUM:
			w = (uint32_t)(1 + n % f->max);
			memcpy(at, &w, 4);
			break;
		case MM_F_BOOL:
			memcpy(at, &yes, sizeof yes);
			break;
		case MM_F_HASH:
			memcpy(at, &h, sizeof h);
			break;
		case MM_F_STR:
			s = mm_asprintf(&err,
				"%s %u of a r\xc3\xa9"
				"cord",
				f->name, n);
			assert_non_null(s);
			memcpy(at, &s, sizeof s);
			break;
		case MM_F_CHARS:
			snprintf(at, f->max, "%s", f->name);
			break;
		}
	}
}

static inline bool kit_same(const struct mm_layout *l, const void *a, const void *b)
{
	static const uint8_t size[] = { [MM_F_U64] = 8,
		[MM_F_I64] = 8,
		[MM_F_U32] = 4,
		[MM_F_BOOL] = sizeof(bool),
		[MM_F_ENUM] = 4,
		[MM_F_F64] = 8,
		[MM_F_HASH] = sizeof(struct mm_hash) };
	for (size_t i = 0; i < l->n; i++) {
		const struct mm_field *f = &l->field[i];
		const void *x = (const char *)a + f->at, *y = (const char *)b + f->at;
		if (f->type == MM_F_STR) {
			const char *s = *(char *const *)x, *t = *(char *const *)y;
			if (!s != !t || (s && strcmp(s, t)))
				return false;
		} else if (f->type == MM_F_CHARS ? strcmp(x, y) : memcmp(x, y, size[f->type])) {
			return false;
		}
	}
	return true;
}

static inline struct mm_stored_array kit_array(const char *name, const float *data, size_t n)
{
	struct mm_stored_array a = { .type = TYPE_F32, .n_dim = 1, .dim = { n }, .data = data, .n_byte = 4 * n };
	snprintf(a.name, sizeof a.name, "%s", name);
	return a;
}

#endif
