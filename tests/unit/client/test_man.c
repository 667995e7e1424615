/* The manual pages name every command, option, argument and error code that the tables have. */
#include "client/client.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_client), cmocka_unit_test(test_protocol) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
