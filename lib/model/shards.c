/* shards.c - the weights of a directory: one file, or the shards that an index lists.
 *
 *	model.safetensors.index.json: {"metadata": {...}, "weight_map": {"tensor name": "file", ...}}
 *
 * The index was written by others: a shard's name must be a plain file name, so that nothing outside the directory is
 * opened. Every tensor that the index lists must be in the file it says, and no name may be in two shards. Tensors that
 * it leaves out are taken all the same, total_size is not looked at: neither changes what the weights are.
 */
#include "model/ckpt_priv.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_MAX (64u << 20) /* the largest models have 20 MB; a tree of JSON takes ten times that */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void mm_shards_free(char **name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mm_free(name[i]);
	mm_free(name);
}

static int check_name(const json_t *value, const char *tensor, const char *what, struct mm_err *err)
{
	char shown[200], key[200];
	const char *s = json_string_value(value);
	size_t n = json_string_length(value);
	mm_utf8_sanitize(key, sizeof key, tensor, strlen(tensor));
	if (!s)
		return mm_fail(err, MM_EFORMAT, "%s: the shard of %s is no string", what, key);
	mm_utf8_sanitize(shown, sizeof shown, s, n);
	if (!n || n > 255 || memchr(s, 0, n) || memchr(s, '/', n) || !strcmp(s, ".") || !strcmp(s, ".."))
		return mm_fail(err, MM_EFORMAT, "%s: shard \"%s\" of %s is no plain file name", what, shown, key);
	return 0;
}

int mm_shards_list(const json_t *index, const char *what, char ***name, size_t *n, struct mm_err *err)
{
	const json_t *map = json_object_get(index, "weight_map");
	size_t cap = 0, k = 0;
	const char *key;
	json_t *value;
	*name = NULL;
	*n = 0;
	if (!json_is_object(map))
		return mm_fail(err, MM_EFORMAT, "%s: no weight_map", what);
	json_object_foreach ((json_t *)(uintptr_t)map, key, value) {
		if (check_name(value, key, what, err))
			goto fail;
		/* Neighbours mostly name the same shard, which keeps the list short before it is sorted. */
		if (k && !strcmp((*name)[k - 1], json_string_value(value)))
			continue;
		if (mm_grow(name, &cap, k + 1, sizeof **name, err) ||
			!((*name)[k] = mm_strdup(json_string_value(value), err)))
			goto fail;
		k++;
	}
	if (!k) {
		mm_fail(err, MM_EFORMAT, "%s: weight_map is empty", what);
		goto fail;
	}
	qsort(*name, k, sizeof **name, by_name);
	for (size_t i = 0; i < k; i++) {
		if (*n && !strcmp((*name)[*n - 1], (*name)[i]))
			mm_free((*name)[i]);
		else
			(*name)[(*n)++] = (*name)[i];
	}
	return 0;
fail:
	mm_shards_free(*name, k);
	*name = NULL;
	return -1;
}

/* Is every tensor of the index where the index says? */
static int check_map(const struct mm_ckpt *ck, const json_t *index, const char *what, struct mm_err *err)
{
	const char *key;
	json_t *value;
	json_object_foreach (json_object_get(index, "weight_map"), key, value) {
		const struct mm_tensor *t = mm_ckpt_find(ck, key);
		const char *shard = json_string_value(value);
		if (!t)
			return mm_fail(err, MM_ESHAPE, "%s: tensor %.200s is not in %s", what, key, shard);
		if (strcmp(ck->file[t->file].name, shard))
			return mm_fail(err, MM_EFORMAT, "%s: tensor %s is in %s, not in %s", what, t->name,
				ck->file[t->file].name, shard);
	}
	return 0;
}

static int read_index(struct mm_ckpt *ck, const char *name, struct mm_ckpt_why *why, struct mm_err *err)
{
	char **shard = NULL;
	size_t n = 0;
	int rc = -1;
	json_t *index = mm_ckpt_json(ck->dir, name, INDEX_MAX, why, "bad_index", err);
	if (!index)
		return -1;
	if (mm_shards_list(index, name, &shard, &n, err))
		goto out;
	for (size_t i = 0; i < n; i++)
		if (mm_safetensors_read(ck, shard[i], why, err))
			goto out;
	rc = check_map(ck, index, name, err);
out:
	if (rc)
		mm_ckpt_blame(why, "bad_index", name, 0, false);
	mm_shards_free(shard, n);
	json_decref(index);
	return rc;
}

int mm_shards_read(struct mm_ckpt *ck, const char *stem, struct mm_ckpt_why *why, struct mm_err *err)
{
	int rc = -1;
	char *single = mm_asprintf(err, "%s.safetensors", stem),
	     *index = mm_asprintf(err, "%s.safetensors.index.json", stem);
	if (!single || !index)
		goto out;
	if (mm_ckpt_has_file(ck->dir, single))
		rc = mm_safetensors_read(ck, single, why, err);
	else if (mm_ckpt_has_file(ck->dir, index))
		rc = read_index(ck, index, why, err);
	else
		rc = mm_fail(err, MM_ENOENT, "no weights: neither %s nor %s is here", single, index);
out:
	mm_free(single);
	mm_free(index);
	return rc;
}
