/* Every command of the wire's table has a handler, except the one that ctl answers itself. */
#include "daemon/daemon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_tables_agree(void **state)
{
	(void)state;
	for (size_t i = 0; i < mm_n_cmds; i++) {
		bool own = !strcmp(mm_cmds[i].name, "chunk");
		if (!mm_command_handler(mm_cmds[i].name) != own)
			fail_msg("%s: %s handler", mm_cmds[i].name, own ? "has a" : "has no");
	}
	/* And the other way: the number of rows is the same, and unknown names find nothing. */
	assert_int_equal(mm_command_count(), mm_n_cmds - 1);
	assert_null(mm_command_handler("nix"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_tables_agree) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
