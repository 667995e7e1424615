/* csv.h - tables as text, cut in place: commas, tabs or semicolons, quotes as in RFC 4180, CR LF or LF. */
#ifndef MM_CSV_H
#define MM_CSV_H

#include "base/base.h"

struct mm_csv_cut {
	char *p, *end; /* the text, a copy of one's own that ends with a NUL */
	size_t line;   /* where the field stands that was read last, from 1 */
	size_t at;     /* where p stands */
	size_t column; /* of that field, from 1 */
	char sep;
	bool row_over; /* the field was the last of its row */
};
/* text[len] must be 0. A byte order mark is passed over, and so are blank lines in front; the first line decides what
 * separates. At the end of the text p == end. */
void mm_csv_begin(struct mm_csv_cut *r, char *text, size_t len);
/* The next field, blanks around it taken off unless it is quoted; it stays valid. At the end of the text an empty one.
 * NULL: an error with its line. */
char *mm_csv_field(struct mm_csv_cut *r, struct mm_err *err) MM_MUST_CHECK;
/* Passes over a line of nothing but blanks, if there is one. */
bool mm_csv_blank(struct mm_csv_cut *r);

#endif
