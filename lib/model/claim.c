/* claim.c: the base that a model card claims: `base_model` in the front matter of README.md, a name or a list whose
 * first one counts. Only what is needed of YAML is read, and only from the first lines of the file; anything odd is no
 * claim. */
#include "model/ckpt_priv.h"

#include <stdlib.h>
#include <string.h>

#define README_MAX (4u << 20)
#define FRONT_MAX  (32u << 10)
#define NAME_MAX_  200

/* The value behind `key:` or `- `, without quotes, remarks and blanks; false: none, or nothing that could be a name. */
static bool value_of(const char *s, const char *end, char out[NAME_MAX_ + 1])
{
	while (s < end && (*s == ' ' || *s == '\t'))
		s++;
	while (end > s && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	if (end - s >= 2 && (*s == '"' || *s == '\'') && end[-1] == *s) {
		s++;
		end--;
	}
	size_t n = (size_t)(end - s);
	if (!n || n > NAME_MAX_)
		return false;
	for (size_t i = 0; i < n;
		i++) /* names of repositories and directories; no flow style, no blocks, no controls */
		if ((unsigned char)s[i] <= ' ' || strchr("[]{}|>#:\x7f", s[i]))
			return false;
	memcpy(out, s, n);
	out[n] = 0;
	return true;
}

char *mm_claim_parse(const char *data, size_t len, struct mm_err *err)
{
	static const char key[] = "base_model:";
	char name[NAME_MAX_ + 1];
	const char *end = data + MM_MIN(len, (size_t)FRONT_MAX);
	bool in_list = false;
	for (size_t line = 0; data < end; line++) {
		const char *nl = memchr(data, '\n', (size_t)(end - data)), *stop = nl ? nl : end;
		size_t n = (size_t)(stop - data);
		bool rule = n >= 3 && !memcmp(data, "---", 3) && (n == 3 || (n == 4 && data[3] == '\r'));
		if (line == 0 ? !rule : rule)
			break; /* no front matter, or its end */
		const char *item = data;
		while (item < stop && *item == ' ')
			item++;
		if (in_list && item < stop && *item == '-')
			return value_of(item + 1, stop, name) ? mm_strdup(name, err) : NULL;
		in_list = false;
		if (n >= sizeof key - 1 && !memcmp(data, key, sizeof key - 1)) {
			if (value_of(data + sizeof key - 1, stop, name))
				return mm_strdup(name, err);
			in_list = true;
		}
		data = nl ? nl + 1 : end;
	}
	return NULL;
}

char *mm_claim_readme(const char *dir, struct mm_err *err)
{
	struct mm_err ignored;
	size_t len;
	char *path = mm_asprintf(err, "%s/README.md", dir);
	char *data = path ? mm_file_read(path, README_MAX, &len, &ignored) : NULL;
	char *claim = data ? mm_claim_parse(data, len, err) : NULL;
	mm_free(data);
	mm_free(path);
	return claim;
}
