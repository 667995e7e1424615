/* What is known of imported models: tables and JSON lines, and what is refused, with its place. */
#include "client/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const names[] = { "org/a", "b \"c\", d", "e" };

static json_t *parse(const char *text, struct mm_err *err)
{
	char path[] = "/tmp/mm-meta-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	json_t *o = mm_import_meta(path, names, MM_COUNT(names), err);
	unlink(path);
	return o;
}

static void good(const char *text, const char *want)
{
	struct mm_err err;
	json_t *o = parse(text, &err), *w = json_loads(want, 0, NULL);
	if (!o)
		fail_msg("%s: %s", text, err.text);
	assert_non_null(w);
	if (!json_equal(o, w))
		fail_msg("%s: %s", text, json_dumps(o, 0));
	json_decref(o);
	json_decref(w);
}

static void bad(const char *text, const char *part)
{
	struct mm_err err;
	json_t *o = parse(text, &err);
	if (o || !strstr(err.text, part))
		fail_msg("%s: %s", text, o ? "taken" : err.text);
}

static void test_tables(void **state)
{
	(void)state;
	good("name,params,family,step\norg/a,7B,llama,0\n\"b \"\"c\"\", d\", 350M ,,12\n\ne,,,\n",
		"{\"org/a\": {\"params\": 7000000000, \"family\": \"llama\", \"step\": 0}, \"b \\\"c\\\", d\": "
		"{\"params\": "
		"350000000, \"step\": 12}, \"e\": {}}");
	good("\xEF\xBB\xBF"
	     "date;bytes;model;dtype;run\r\n2024-05-31;8K;e;bf16;\"r;1\"\r\n2024-05-31T12:00:30Z;;org/a;;\r\n",
		"{\"e\": {\"date\": 1717113600, \"bytes\": 8192, \"dtype\": \"bf16\", \"run\": \"r;1\"}, \"org/a\": "
		"{\"date\": 1717156830}}");
	good("name\tparams\ne\t1.5e9", "{\"e\": {\"params\": 1500000000}}");
	good("name\n", "{}");
	bad("", "line 1, column 1");
	bad("params\n1\n", "no column name");
	bad("name,size\ne,1\n", "line 1, column 2: there is no field \"size\"");
	bad("name,step,step\n", "line 1, column 3: step is there twice");
	bad("name,model\n", "line 1, column 2");
	bad("name,params\norg/a,1\ne,12 apples\n", "line 3, column 2 (params): \"12 apples\"");
	bad("name,params\ne,-5\n", "line 2, column 2 (params)");
	bad("name,params\ne,nan\n", "column 2");
	bad("name,params\ne,0\n", "column 2");
	bad("name,params\ne,1e300\n", "column 2");
	bad("name,family,step\n\"org/a\",\"x\ny\",1\ne,y,1.5\n", "line 4, column 3 (step)");
	bad("name,date\ne,2024-13-01\n", "line 2, column 2 (date)");
	bad("name,date\ne,yesterday\n", "line 2, column 2 (date)");
	bad("name,bytes\ne,much\n", "line 2, column 2 (bytes)");
	bad("name,step\ne,1,2\n", "line 2 has 3 columns");
	bad("name,step\nnobody,1\n", "line 2: --names has no model \"nobody\"");
	bad("name,step\n,1\n", "line 2: it has no name");
	bad("name,step\ne,1\ne,2\n", "line 3: e has a line already");
	bad("name,family\ne,\"x\n", "a quote is not closed");
	bad("name,family\ne,\"x\"y\n", "line 2, column 2: text after");
	bad("name\n\xff\n", "UTF-8");
}

static void test_lines(void **state)
{
	(void)state;
	good("{\"name\": \"e\", \"params\": 7e9, \"family\": null}\n\n  {\"model\": \"org/a\", \"params\": \"3B\", "
	     "\"step\": "
	     "5, \"date\": 1717113600}",
		"{\"e\": {\"params\": 7000000000}, \"org/a\": {\"params\": 3000000000, \"step\": 5, \"date\": "
		"1717113600}}");
	bad("{\"name\": \"e\"}\n{\"name\": \"org/a\", \"params\": true}", "line 2 (params): \"true\"");
	bad("{\"name\": \"e\", \"family\": 3}", "line 1 (family)");
	bad("{\"name\": \"e\", \"step\": 1.5}", "line 1 (step)");
	bad("{\"name\": \"e\", \"step\": -1}", "line 1 (step)");
	bad("{\"name\": \"e\", \"colour\": 1}", "there is no field \"colour\"");
	bad("{\"name\": 3}", "it has no name");
	bad("{\"name\": \"e\"}\n[1]", "line 2 is no object");
	bad("{\"name\": \"e\"}\n{\"name", "line 2");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_tables), cmocka_unit_test(test_lines) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
