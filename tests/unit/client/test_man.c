/* The manual pages name every command, option, argument and error code that the tables have, and what is made from the
 * tables is what they give. */
#include "client/client.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The page with its escapes of '-' undone and font changes taken out. */
static char *page(const char *path)
{
	struct mm_err err = { 0 };
	size_t len, o = 0;
	char *s = mm_file_read(path, 1 << 20, &len, &err);
	if (!s)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\' && s[i + 1] == '-')
			continue;
		if (s[i] == '\\' && s[i + 1] == 'f') {
			i += 2;
			continue;
		}
		s[o++] = s[i] == '\t' || s[i] == '"' ? ' ' : s[i];
	}
	s[o] = 0;
	return s;
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

/* `word` as a whole word on a line of the page that is a tag (after .TP or .TQ), or anywhere. */
static bool has(const char *s, const char *word, bool tag)
{
	size_t n = strlen(word);
	for (const char *p = s; (p = strstr(p, word)); p++) {
		if ((p > s && is_name(p[-1])) || is_name(p[n]))
			continue;
		const char *line = p;
		while (line > s && line[-1] != '\n')
			line--;
		if (!tag || (line - 4 >= s && (!memcmp(line - 4, ".TP\n", 4) || !memcmp(line - 4, ".TQ\n", 4))))
			return true;
	}
	return false;
}

static void must(const char *s, const char *path, const char *word, bool tag)
{
	if (!has(s, word, tag))
		fail_msg("%s does not name %s", path, word);
}

static void test_client(void **state)
{
	(void)state;
	char *s = page("man/modelmap.1"), word[64];
	for (size_t i = 0; i < mm_n_cli_cmds; i++)
		must(s, "modelmap.1", mm_cli_cmds[i].name, true);
	for (size_t i = 0; i < mm_n_cli_opts; i++) {
		snprintf(word, sizeof word, "--%s", mm_cli_opts[i].name);
		must(s, "modelmap.1", word, false);
	}
	mm_free(s);
}

static void test_protocol(void **state)
{
	(void)state;
	char *s = page("man/modelmap-protocol.7");
	for (size_t i = 0; i < mm_n_cmds; i++) {
		must(s, "modelmap-protocol.7", mm_cmds[i].name, true);
		for (const struct mm_arg *a = mm_cmds[i].arg; a->name; a++)
			must(s, "modelmap-protocol.7", a->name, false);
	}
	for (int c = MM_EINVAL; c < MM_ERR_COUNT; c++)
		must(s, "modelmap-protocol.7", mm_err_name((enum mm_err_code)c), false);
	static const char *const types[] = { "model", "job", "alert", "map", "status", "heartbeat" };
	for (size_t i = 0; i < MM_COUNT(types); i++)
		must(s, "modelmap-protocol.7", types[i], true);
	mm_free(s);
}

/* Between the marks of a page stands what `make man` would put there. */
static void check_made(const char *path, const char *part)
{
	struct mm_err err = { 0 };
	char mark[64], *want = NULL;
	size_t len, n = 0;
	char *s = mm_file_read(path, 1 << 20, &len, &err);
	if (!s)
		fail_msg("%s", err.text);
	snprintf(mark, sizeof mark, ".\\\" made by make man: %s\n", part);
	char *from = strstr(s, mark), *to = from ? strstr(from, "\n.\\\" end\n") : NULL;
	if (!to)
		fail_msg("%s has no marks for %s", path, part);
	from += strlen(mark);
	FILE *f = open_memstream(&want, &n);
	assert_non_null(f);
	assert_int_equal(mm_cli_man(part, f), 0);
	fclose(f);
	if (n != (size_t)(to + 1 - from) || memcmp(from, want, n) != 0)
		fail_msg("%s is not what the table of %s gives: run make man", path, part);
	free(want);
	mm_free(s);
}

static void test_made(void **state)
{
	(void)state;
	check_made("man/modelmap.1", "options");
	check_made("man/modelmap-protocol.7", "arguments");
	assert_int_equal(mm_cli_man("nonsense", stdout), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_client), cmocka_unit_test(test_protocol),
		cmocka_unit_test(test_made) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
