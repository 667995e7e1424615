/* csv.c - cuts fields out of a table in place: a field never gets longer when its quotes go. */
#include "base/csv.h"

#include <string.h>

static bool line_ends(const struct mm_csv_cut *r)
{
	return r->p == r->end || *r->p == '\n' || *r->p == '\r';
}

static void newline(struct mm_csv_cut *r)
{
	r->p += r->p + 1 < r->end && r->p[0] == '\r' && r->p[1] == '\n' ? 2 : 1;
	r->at++;
}

/* "..." with doubled quotes inside; p stands behind the first one. *stop: where the closing quote is. */
static char *quoted(struct mm_csv_cut *r, char **stop, struct mm_err *err)
{
	char *out = r->p, *w = out;
	for (;; r->p++) {
		if (r->p == r->end) {
			mm_fail(err, MM_EFORMAT, "line %zu: a quote is not closed", r->line);
			return NULL;
		}
		if (*r->p == '"' && (r->p + 1 == r->end || r->p[1] != '"'))
			break;
		r->p += *r->p == '"';
		r->at += *r->p == '\n';
		*w++ = *r->p;
	}
	r->p++;
	if (!line_ends(r) && *r->p != r->sep) {
		mm_fail(err, MM_EFORMAT, "line %zu, column %zu: text after a closing quote", r->line, r->column);
		return NULL;
	}
	*stop = w;
	return out;
}

static char *plain(struct mm_csv_cut *r, char **stop)
{
	char *s = r->p, *end;
	while (!line_ends(r) && *r->p != r->sep)
		r->p++;
	end = r->p;
	while (s < end && (*s == ' ' || *s == '\t'))
		s++;
	while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*stop = end;
	return s;
}

char *mm_csv_field(struct mm_csv_cut *r, struct mm_err *err)
{
	char *s, *stop = NULL;
	r->line = r->at;
	r->column = r->row_over ? 1 : r->column + 1;
	if (r->p < r->end && *r->p == '"') {
		r->p++;
		s = quoted(r, &stop, err);
	} else {
		s = plain(r, &stop);
	}
	if (!s)
		return NULL;
	r->row_over = line_ends(r);
	if (r->p < r->end) {
		if (r->row_over)
			newline(r);
		else
			r->p++;
	}
	*stop = 0; /* on or before what was passed just now, or the text's own NUL */
	return s;
}

bool mm_csv_blank(struct mm_csv_cut *r)
{
	char *p = r->p;
	while (p < r->end && (*p == ' ' || *p == '\t') && *p != r->sep)
		p++;
	if (p < r->end && *p != '\n' && *p != '\r')
		return false;
	r->p = p;
	if (r->p < r->end)
		newline(r);
	return true;
}

static char separator(const char *p, const char *end)
{
	static const char seps[] = { ',', '\t', ';' };
	const char *eol = p;
	while (eol < end && *eol != '\n' && *eol != '\r')
		eol++;
	for (size_t i = 0; i < sizeof seps; i++)
		if (memchr(p, seps[i], (size_t)(eol - p)))
			return seps[i];
	return ',';
}

void mm_csv_begin(struct mm_csv_cut *r, char *text, size_t len)
{
	size_t skip = len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
	*r = (struct mm_csv_cut){ .p = text + skip, .end = text + len, .at = 1, .row_over = true };
	r->sep = separator(r->p, r->end);
	while (r->p < r->end && mm_csv_blank(r))
		r->sep = separator(r->p, r->end);
}
