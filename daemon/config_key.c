/* config_key.c - one setting between its text and its member of struct mm_config: set, print, compare, copy, clear.
 * Everything that depends on the type of a key is here. */
#include "daemon/config_priv.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct list {
	char **item;
	size_t n;
};
_Static_assert(
	offsetof(struct mm_config, watch.n_dirs) == offsetof(struct mm_config, watch.dirs) + offsetof(struct list, n),
	"a list is its items, then their number");

#define DIRS_MAX 1024u
#define TEXT_MAX 4095u

void *mm_key_at(const struct mm_config *c, const struct mm_key_row *k)
{
	return (char *)(uintptr_t)c + k->at;
}

static bool is_text(const struct mm_key_row *k)
{
	return k->type == MM_K_STRING || k->type == MM_K_PATH || k->type == MM_K_ENDPOINT || k->type == MM_K_WORD;
}

const char *mm_key_type_help(const struct mm_key_row *k)
{
	static const char *const help[MM_N_KEY_TYPES] = {
		[MM_K_STRING] = "text",
		[MM_K_PATH] = "a path",
		[MM_K_PATHS] = "a list of paths",
		[MM_K_ENDPOINT] = "ipc:///PATH or tcp://HOST:PORT",
		[MM_K_WORD] = "a word",
		[MM_K_ENUM] = "a word",
		[MM_K_BOOL] = "true or false",
		[MM_K_UINT] = "a whole number",
		[MM_K_NUMBER] = "a number",
		[MM_K_DURATION] = "a duration such as 5s, 250ms, 2m30s or 1h",
		[MM_K_SIZE] = "a size such as 512M or 4G",
	};
	return help[k->type];
}

/* ---- numbers as text ---- */

/* The shortest text that reads back as the same number. */
static void put_number(struct mm_buf *b, double v)
{
	char text[40];
	if (fabs(v) < 1e15 && v == floor(v)) {
		mm_buf_printf(b, "%.0f", v);
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	mm_buf_str(b, text);
}

/* Exact where it can be: the largest unit that divides it, else as many digits as it takes. */
static void put_duration(struct mm_buf *b, double s)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = { { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "s", 1 } };
	for (size_t i = 0; s > 0 && i < MM_COUNT(units); i++) {
		double n = s / units[i].seconds;
		if (n == floor(n)) {
			mm_buf_printf(b, "%.0f%s", n, units[i].unit);
			return;
		}
	}
	put_number(b, s);
	mm_buf_str(b, "s");
}

static void put_size(struct mm_buf *b, uint64_t v)
{
	static const char units[] = "TGMK";
	for (unsigned i = 0; v && i < 4; i++) {
		uint64_t unit = UINT64_C(1) << (40 - 10 * i);
		if (v % unit == 0) {
			mm_buf_printf(b, "%llu%c", (unsigned long long)(v / unit), units[i]);
			return;
		}
	}
	mm_buf_printf(b, "%llu", (unsigned long long)v);
}

static void put_value(struct mm_buf *b, const struct mm_key_row *k, double v)
{
	if (k->type == MM_K_DURATION)
		put_duration(b, v);
	else if (k->type == MM_K_SIZE)
		put_size(b, (uint64_t)v);
	else
		put_number(b, v);
}

void mm_key_range(const struct mm_key_row *k, const char *between, struct mm_buf *b)
{
	put_value(b, k, k->min);
	mm_buf_str(b, between);
	put_value(b, k, k->max);
}

/* ---- text to value ---- */

/* Numbers as people write them: no hexadecimal, no "inf", no space. */
static bool number_of(const char *s, double *v)
{
	const char *digits = *s == '-' || *s == '+' ? s + 1 : s;
	char *end;
	if (!isdigit((unsigned char)*digits) && *digits != '.')
		return false;
	if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X'))
		return false;
	*v = strtod(s, &end);
	return end != s && !*end && isfinite(*v);
}

static int out_of_range(const struct mm_key_row *k, const char *text, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	mm_key_range(k, " .. ", &b);
	mm_fail(err, MM_EINVAL, "%.60s is outside %s", text, b.data ? (const char *)b.data : "the range");
	mm_buf_fini(&b);
	return -1;
}

static int set_number(struct mm_config *c, const struct mm_key_row *k, const char *text, struct mm_err *err)
{
	double v = 0;
	uint64_t bytes = 0;
	struct mm_err ignored;
	bool ok;
	if (k->flags & MM_K_AUTO && !strcmp(text, "auto"))
		ok = true;
	else if (k->type == MM_K_DURATION)
		ok = !mm_parse_duration(text, &v, &ignored);
	else if (k->type == MM_K_SIZE)
		ok = !mm_parse_size(text, &bytes, &ignored);
	else
		ok = number_of(text, &v) && (k->type != MM_K_UINT || v == floor(v));
	if (!ok)
		return mm_fail(err, MM_EINVAL, "expected %s%s, found \"%.60s\"", mm_key_type_help(k),
			k->flags & MM_K_AUTO ? ", or auto" : "", text);
	if (k->type == MM_K_SIZE)
		v = (double)bytes;
	if (v < k->min || v > k->max)
		return out_of_range(k, text, err);
	void *at = mm_key_at(c, k);
	if (k->type == MM_K_UINT)
		*(unsigned *)at = (unsigned)v;
	else if (k->type == MM_K_SIZE)
		*(uint64_t *)at = bytes;
	else
		*(double *)at = v;
	return 0;
}

/* Number of the word among the key's, or -1 with all of them named. */
static int word_of(const struct mm_key_row *k, const char *text, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	for (int i = 0; k->words[i]; i++)
		if (!strcmp(k->words[i], text))
			return i;
	for (int i = 0; k->words[i]; i++)
		mm_buf_printf(&b, "%s%s", !i ? "" : k->words[i + 1] ? ", " : " or ", k->words[i]);
	mm_fail(err, MM_EINVAL, "expected %s, found \"%.60s\"", b.data ? (const char *)b.data : "another word", text);
	mm_buf_fini(&b);
	return -1;
}

static int set_bool(struct mm_config *c, const struct mm_key_row *k, const char *text, struct mm_err *err)
{
	static const char *const yes[] = { "true", "yes", "on" }, *const no[] = { "false", "no", "off" };
	for (size_t i = 0; i < MM_COUNT(yes); i++) {
		bool is_yes = !strcmp(text, yes[i]);
		if (is_yes || !strcmp(text, no[i])) {
			*(bool *)mm_key_at(c, k) = is_yes;
			return 0;
		}
	}
	return mm_fail(err, MM_EINVAL, "expected true or false, found \"%.60s\"", text);
}

static int set_item(struct mm_config *c, const struct mm_key_row *k, const char *text, struct mm_err *err)
{
	struct list *l = mm_key_at(c, k);
	if (!text[0])
		return mm_fail(err, MM_EINVAL, "an item of the list is empty");
	if (l->n == DIRS_MAX)
		return mm_fail(err, MM_EINVAL, "more than %u items", DIRS_MAX);
	char **grown = mm_realloc(l->item, l->n + 1, sizeof *grown, err);
	if (!grown)
		return -1;
	l->item = grown;
	if (!(l->item[l->n] = mm_strdup(text, err)))
		return -1;
	l->n++;
	return 0;
}

static int set_text(struct mm_config *c, const struct mm_key_row *k, const char *text, struct mm_err *err)
{
	char **at = mm_key_at(c, k), *copy = NULL;
	if (k->type == MM_K_WORD && word_of(k, text, err) < 0)
		return -1;
	if (!text[0] && !(k->flags & MM_K_EMPTY))
		return mm_fail(err, MM_EINVAL, "expected %s, found nothing", mm_key_type_help(k));
	if (k->type == MM_K_ENDPOINT && text[0] && strncmp(text, "ipc://", 6) && strncmp(text, "tcp://", 6))
		return mm_fail(err, MM_EINVAL, "expected %s, found \"%.60s\"", mm_key_type_help(k), text);
	if (text[0] && !(copy = mm_strdup(text, err)))
		return -1;
	mm_free(*at);
	*at = copy;
	return 0;
}

int mm_key_set(struct mm_config *c, const struct mm_key_row *k, const char *text, struct mm_err *err)
{
	int w;
	if (strlen(text) > TEXT_MAX)
		return mm_fail(err, MM_EINVAL, "the value has more than %u bytes", TEXT_MAX);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return mm_fail(err, MM_EINVAL, "the value holds a control character");
	switch (k->type) {
	case MM_K_STRING:
	case MM_K_PATH:
	case MM_K_ENDPOINT:
	case MM_K_WORD:
		return set_text(c, k, text, err);
	case MM_K_PATHS:
		return set_item(c, k, text, err);
	case MM_K_ENUM:
		if ((w = word_of(k, text, err)) < 0)
			return -1;
		*(unsigned *)mm_key_at(c, k) = (unsigned)w;
		return 0;
	case MM_K_BOOL:
		return set_bool(c, k, text, err);
	case MM_K_UINT:
	case MM_K_NUMBER:
	case MM_K_DURATION:
	case MM_K_SIZE:
		return set_number(c, k, text, err);
	case MM_N_KEY_TYPES:
		break;
	}
	return mm_fail(err, MM_EINTERNAL, "key %s has no type", k->name);
}

void mm_key_clear(struct mm_config *c, const struct mm_key_row *k)
{
	struct list *l = mm_key_at(c, k);
	char **text = mm_key_at(c, k);
	if (k->type == MM_K_PATHS) {
		for (size_t i = 0; i < l->n; i++)
			mm_free(l->item[i]);
		mm_free(l->item);
		*l = (struct list){ 0 };
	} else if (is_text(k)) {
		mm_free(*text);
		*text = NULL;
	}
}

/* ---- value to text ---- */

void mm_key_text(const struct mm_config *c, const struct mm_key_row *k, struct mm_buf *b)
{
	const void *at = mm_key_at(c, k);
	const char *text;
	switch (k->type) {
	case MM_K_STRING:
	case MM_K_PATH:
	case MM_K_ENDPOINT:
	case MM_K_WORD:
		text = *(char *const *)at;
		mm_buf_str(b, text ? text : "");
		break;
	case MM_K_ENUM:
		mm_buf_str(b, k->words[*(const unsigned *)at]);
		break;
	case MM_K_BOOL:
		mm_buf_str(b, *(const bool *)at ? "true" : "false");
		break;
	case MM_K_UINT:
		if (k->flags & MM_K_AUTO && !*(const unsigned *)at)
			mm_buf_str(b, "auto");
		else
			mm_buf_printf(b, "%u", *(const unsigned *)at);
		break;
	case MM_K_NUMBER:
		put_number(b, *(const double *)at);
		break;
	case MM_K_DURATION:
		put_duration(b, *(const double *)at);
		break;
	case MM_K_SIZE:
		if (k->flags & MM_K_AUTO && !*(const uint64_t *)at)
			mm_buf_str(b, "auto");
		else
			put_size(b, *(const uint64_t *)at);
		break;
	case MM_K_PATHS:
	case MM_N_KEY_TYPES:
		break;
	}
}

/* ---- two configurations ---- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Bytes of the member. */
static size_t value_size(const struct mm_key_row *k)
{
	static const uint8_t size[MM_N_KEY_TYPES] = { [MM_K_PATHS] = sizeof(struct list),
		[MM_K_ENUM] = sizeof(unsigned),
		[MM_K_BOOL] = sizeof(bool),
		[MM_K_UINT] = sizeof(unsigned),
		[MM_K_NUMBER] = sizeof(double),
		[MM_K_DURATION] = sizeof(double),
		[MM_K_SIZE] = sizeof(uint64_t) };
	return is_text(k) ? sizeof(char *) : size[k->type];
}

bool mm_key_same(const struct mm_config *a, const struct mm_config *b, const struct mm_key_row *k)
{
	const void *x = mm_key_at(a, k), *y = mm_key_at(b, k);
	if (is_text(k))
		return same_text(*(char *const *)x, *(char *const *)y);
	if (k->type == MM_K_PATHS) {
		const struct list *p = x, *q = y;
		if (p->n != q->n)
			return false;
		for (size_t i = 0; i < p->n; i++)
			if (strcmp(p->item[i], q->item[i]))
				return false;
		return true;
	}
	return !memcmp(x, y, value_size(k));
}

void mm_key_swap(struct mm_config *a, struct mm_config *b, const struct mm_key_row *k)
{
	uint8_t keep[sizeof(struct list)];
	size_t n = value_size(k);
	memcpy(keep, mm_key_at(a, k), n);
	memcpy(mm_key_at(a, k), mm_key_at(b, k), n);
	memcpy(mm_key_at(b, k), keep, n);
}
