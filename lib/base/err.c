/* err.c - error codes and texts: one convention for the whole project (see base.h). */
#include "base/base.h"

#include <errno.h>
#include <string.h>

static const char *const names[MM_ERR_COUNT] = {
#define X(code, name) [code] = name,
	MM_ERR_TABLE(X)
#undef X
};

const char *mm_err_name(enum mm_err_code code)
{
	return (unsigned)code < MM_ERR_COUNT ? names[code] : "internal";
}

enum mm_err_code mm_err_code_of(const char *name)
{
	for (int i = 0; i < MM_ERR_COUNT; i++)
		if (!strcmp(names[i], name))
			return (enum mm_err_code)i;
	return MM_EINTERNAL;
}

/* File names and tensor names go into texts: whatever they hold, a text stays one printable line of valid UTF-8. */
static void set_text(struct mm_err *err, const char *text)
{
	size_t n = strlen(text), cap = sizeof err->text;
	mm_utf8_sanitize(err->text, cap, text, n);
	if (n >= cap) {
		size_t end = cap - 4;
		while (end > 0 && ((unsigned char)err->text[end] & 0xC0) == 0x80)
			end--;
		memcpy(err->text + end, "...", 4);
	}
}

int mm_fail(struct mm_err *err, enum mm_err_code code, const char *fmt, ...)
{
	char text[4 * sizeof err->text];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	err->code = code;
	set_text(err, text);
	return -1;
}

int mm_fail_errno(struct mm_err *err, const char *fmt, ...)
{
	int saved = errno;
	char what[3 * sizeof err->text], why[128];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	enum mm_err_code code = saved == ENOENT ? MM_ENOENT : saved == ENOMEM ? MM_ENOMEM : MM_EIO;
	return mm_fail(err, code, "%s: %s", what, strerror_r(saved, why, sizeof why));
}

int mm_wrap(struct mm_err *err, const char *fmt, ...)
{
	char text[4 * sizeof err->text], context[2 * sizeof err->text];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(context, sizeof context, fmt, ap);
	va_end(ap);
	snprintf(text, sizeof text, "%s: %s", context, err->text);
	set_text(err, text);
	return -1;
}
