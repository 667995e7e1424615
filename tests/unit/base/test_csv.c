/* Cutting tables: separators, quotes, line ends, blanks, and where each field stood. */
#include "base/csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "[1:1 a][1:2 b]/[2:1 c]/": line, column and text of each field, a slash behind each row; or the error. */
static void cuts(const char *text, const char *expect)
{
	struct mm_csv_cut r;
	struct mm_err err;
	char *copy = strdup(text), out[2048] = "";
	mm_csv_begin(&r, copy, strlen(copy));
	while (r.p < r.end) {
		if (r.row_over && mm_csv_blank(&r))
			continue;
		char *s = mm_csv_field(&r, &err);
		if (s)
			snprintf(out + strlen(out), sizeof out - strlen(out), "[%zu:%zu %s]%s", r.line, r.column, s,
				r.row_over ? "/" : "");
		else
			snprintf(out, sizeof out, "%s", err.text);
		if (!s)
			break;
	}
	free(copy);
	assert_string_equal(out, expect);
}

static void test_cuts(void **state)
{
	(void)state;
	cuts("", "");
	cuts("\n \n  \r\n", "");
	cuts("a,b\nc,d\n", "[1:1 a][1:2 b]/[2:1 c][2:2 d]/");
	cuts("\xEF\xBB\xBF\n a\tb , c\r\nd\t\"e\"", "[2:1 a\tb][2:2 c]/[3:1 d\t\"e\"]/");
	cuts("a;b\rc;\r", "[1:1 a][1:2 b]/[2:1 c][2:2 ]/");
	cuts("\"x\"\"y\",\"1\n2\"\nz,\" \"\n", "[1:1 x\"y][1:2 1\n2]/[3:1 z][3:2  ]/");
	cuts("a,b\n\n  \nc,d", "[1:1 a][1:2 b]/[4:1 c][4:2 d]/");
	cuts("a,\"b\nc", "line 1: a quote is not closed");
	cuts("a,b\nc,\"d\"e\n", "line 2, column 2: text after a closing quote");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cuts) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
