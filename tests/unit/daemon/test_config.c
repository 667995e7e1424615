/* test_config.c - the key table: defaults, dump and parse agree; everything wrong is named with its line; files that
 * are made from the table are up to date. */
#include "daemon/config_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct mm_config defaults(void)
{
	struct mm_err err = { 0 };
	struct mm_config c;
	if (mm_config_defaults(&c, &err))
		fail_msg("%s", err.text);
	return c;
}

static int parse(struct mm_config *c, const char *text, struct mm_err *err)
{
	*c = defaults();
	return mm_config_parse(c, text, strlen(text), "t.yaml", err);
}

static void same(const struct mm_config *a, const struct mm_config *b)
{
	for (size_t i = 0; i < mm_n_keys; i++)
		if (!mm_key_same(a, b, &mm_keys[i]))
			fail_msg("%s.%s differs", mm_keys[i].section, mm_keys[i].name);
}

static char *dump(const struct mm_config *c)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	assert_int_equal(mm_config_dump(c, f), 0);
	fclose(f);
	return text;
}

/* ---- the table ---- */

static void table_is_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < mm_n_keys; i++) {
		bool known = false;
		assert_true(mm_keys[i].at < sizeof(struct mm_config));
		assert_true(strlen(mm_keys[i].help) > 10);
		for (size_t s = 0; s < mm_n_sections; s++)
			known |= !strcmp(mm_sections[s].name, mm_keys[i].section);
		assert_true(known);
		for (size_t k = 0; k < i; k++) {
			assert_true(strcmp(mm_keys[i].name, mm_keys[k].name) ||
				    strcmp(mm_keys[i].section, mm_keys[k].section));
			assert_true(mm_keys[i].at != mm_keys[k].at);
		}
	}
}

static void dump_parses_back(void **state)
{
	struct mm_err err = { 0 };
	struct mm_config c = defaults(), again;
	(void)state;
	char *text = dump(&c);
	assert_int_equal(parse(&again, text, &err), 0);
	same(&c, &again);
	mm_config_free(&again);
	/* Every key stands in it, with a comment before it. */
	for (size_t i = 0; i < mm_n_keys; i++) {
		char line[80];
		snprintf(line, sizeof line, "\n%s%s:", mm_keys[i].section[0] ? "  " : "", mm_keys[i].name);
		assert_non_null(strstr(text, line));
	}
	free(text);
	mm_config_free(&c);
}

/* Values that need care: quotes, spaces, other letters, odd numbers. */
static void odd_values_parse_back(void **state)
{
	struct mm_err err = { 0 };
	struct mm_config c, again;
	(void)state;
	assert_int_equal(
		parse(&c,
			"texts: \"/a b/#1: \\\"x\\\" \\\\ \\u2028 \\u00e9 \\U0001F600\"\n"
			"state_dir: '- it''s'\n"
			"watch: {dirs: [\"- a\", null_dir, 'x: y', \"\\xe9t\\xe9\"], settle: 1.5s, give_up: 90m, "
			"mode: poll, poll_interval: 0.1s, follow_symlinks: yes}\n"
			"score: {threads: 3, memory: 1536M, backoff: 1m30s, timeout: 0}\n"
			"map: {clip: 0.1, refit_growth: 0.3333333333333333}\n"
			"alerts: {on_alert: \"mail -s 'x' me; true\"}\n"
			"query: tcp://*:5555\n",
			&err),
		0);
	assert_string_equal(c.texts, "/a b/#1: \"x\" \\ \xe2\x80\xa8 \xc3\xa9 \xf0\x9f\x98\x80");
	assert_string_equal(c.state_dir, "- it's");
	assert_int_equal(c.watch.n_dirs, 4);
	assert_string_equal(c.watch.dirs[1], "null_dir");
	assert_int_equal(c.watch.mode, MM_WATCH_POLL);
	assert_true(c.watch.settle == 1.5 && c.watch.give_up == 5400 && c.watch.follow_symlinks);
	assert_int_equal(c.score.threads, 3);
	assert_true(c.score.memory == UINT64_C(1536) << 20);
	assert_true(c.score.backoff == 90 && c.score.timeout == 0);
	char *text = dump(&c);
	if (parse(&again, text, &err))
		fail_msg("%s in:\n%s", err.text, text);
	same(&c, &again);
	free(text);
	mm_config_free(&c);
	mm_config_free(&again);
}

static void little_files(void **state)
{
	static const char *const fine[] = { "", "# nothing\n", "---\n", "{}\n", "watch:\n",
		"watch:\n  # settle: 5s\nscore:\n", "%YAML 1.1\n---\ntexts: a\n...\n", "query:\n", "query: ~\n",
		"query: ''\n", "watch: {dirs: /one}\n", "score: {memory: auto, threads: auto}\n",
		"watch: {settle: '5s'}\n",
		"\xef\xbb\xbf"
		"texts: a\n" };
	(void)state;
	for (size_t i = 0; i < MM_COUNT(fine); i++) {
		struct mm_err err = { 0 };
		struct mm_config c;
		if (parse(&c, fine[i], &err))
			fail_msg("\"%s\": %s", fine[i], err.text);
		mm_config_free(&c);
	}
}

/* ---- what is wrong ---- */

static const struct {
	const char *text, *say;
} wrong[] = {
	{ "watch: {setle: 5s}", "t.yaml:1: unknown key watch.setle; did you mean watch.settle?" },
	{ "\n\nsettle: 5s", "t.yaml:3: unknown key settle; did you mean watch.settle?" },
	{ "state_dri: /x", "t.yaml:1: unknown key state_dri; did you mean state_dir?" },
	{ "wach:\n  dirs: [a]", "t.yaml:1: unknown key wach; did you mean watch?" },
	{ "watch:\n  concurrency: 1", "t.yaml:2: unknown key watch.concurrency; did you mean score.concurrency?" },
	{ "zzzzzzzzzzzzzzzzzzzzzzzz: 1", "t.yaml:1: unknown key zzzzzzzzzzzzzzzzzzzzzzzz" },
	{ "score:\n  compute: f64", "t.yaml:2: score.compute: expected f32, bf16 or auto, found \"f64\"" },
	{ "score: {compute: }", "score.compute: expected f32, bf16 or auto" },
	{ "watch: {mode: Poll}", "watch.mode: expected auto, inotify or poll, found \"Poll\"" },
	{ "score: {concurrency: 0}", "score.concurrency: 0 is outside 1 .. 64" },
	{ "score: {concurrency: 1.5}", "score.concurrency: expected a whole number" },
	{ "score: {concurrency: auto}", "expected a whole number" },
	{ "score: {concurrency: 0x10}", "expected a whole number" },
	{ "score: {concurrency: 1e400}", "expected a whole number" },
	{ "score: {threads: -1}", "score.threads: -1 is outside 0 .. 1024" },
	{ "score: {memory: 12X}", "score.memory: expected a size" },
	{ "score: {memory: 9999999T}", "score.memory: expected a size" },
	{ "map: {clip: nan}", "map.clip: expected a number" },
	{ "map: {clip: 0.6}", "map.clip: 0.6 is outside 0 .. 0.5" },
	{ "watch: {settle: fast}", "watch.settle: expected a duration" },
	{ "watch: {settle: 2d}", "watch.settle: 2d is outside 0s .. 1d" },
	{ "watch: {settle: [5s]}", "watch.settle: expected a duration such as 5s, 250ms, 2m30s or 1h, found a list" },
	{ "watch: {settle: {a: b}}", "found a mapping" },
	{ "watch: {settle: }", "watch.settle: expected a duration such as 5s, 250ms, 2m30s or 1h, found nothing" },
	{ "watch: {follow_symlinks: maybe}", "expected true or false" },
	{ "watch: {dirs: []}", "the list is empty" },
	{ "watch: {dirs: [a, [b]]}", "expected a path, found a list" },
	{ "watch: {dirs: [a, '']}", "an item of the list is empty" },
	{ "watch: [a]", "watch: expected keys below it" },
	{ "watch: a", "watch: expected keys below it" },
	{ "state_dir: ", "state_dir: expected a path, found nothing" },
	{ "state_dir: \"a\\nb\"", "control character" },
	{ "control: http://x", "control: expected ipc:///PATH or tcp://HOST:PORT" },
	{ "texts: a\n\ntexts: b", "t.yaml:3: texts stands twice, in line 1 too" },
	{ "watch: {settle: 1s}\nwatch: {give_up: 1h}", "t.yaml:2: watch stands twice" },
	{ "watch:\n\tsettle: 5s", "not tabs" },
	{ "texts: &a x", "an anchor (&a)" },
	{ "watch: &a {settle: 1s}", "an anchor (&a)" },
	{ "texts: *a", "an alias (*a)" },
	{ "<<: {a: b}", "unknown key <<" },
	{ "texts: !!str a", "a tag" },
	{ "texts: !x a", "a tag" },
	{ "texts: a\n---\ntexts: b", "t.yaml:2: a second document" },
	{ "- a\n- b", "expected keys" },
	{ "just text", "expected keys" },
	{ "? [a, b]\n: c", "expected the name of a key" },
	{ "texts: 'a", "t.yaml:" },
	{ "texts: a: b", "t.yaml:1" },
	{ "{", "t.yaml:" },
	{ "texts: \xff\xfe", "t.yaml:1" },
	{ "texts: a\x01", "t.yaml:1" },
	{ "texts: \"a\\0b\"", "a NUL character" },
};

static void wrong_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < MM_COUNT(wrong); i++) {
		struct mm_err err = { 0 };
		struct mm_config c;
		if (!parse(&c, wrong[i].text, &err))
			fail_msg("accepted: %s", wrong[i].text);
		mm_config_free(&c);
		if (err.code != MM_EINVAL || !strstr(err.text, wrong[i].say) || strncmp(err.text, "t.yaml:", 7))
			fail_msg("%s\n  gave  %s\n  want  %s", wrong[i].text, err.text, wrong[i].say);
	}
}

/* Ten levels of ten aliases each; two million brackets: an answer at once, no memory eaten. */
static void bombs(void **state)
{
	struct mm_err err = { 0 };
	struct mm_buf b = { 0 };
	struct mm_config c;
	(void)state;
	mm_buf_str(&b, "a: &a [x,x,x,x,x,x,x,x,x,x]\n");
	for (char l = 'b'; l < 'l'; l++)
		mm_buf_printf(&b, "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", l, l, l - 1, l - 1, l - 1,
			l - 1, l - 1, l - 1, l - 1, l - 1, l - 1, l - 1);
	assert_int_equal(parse(&c, (const char *)b.data, &err), -1);
	mm_config_free(&c);
	b.len = 0;
	mm_buf_str(&b, "texts: ");
	for (int i = 0; i < 900000; i++)
		mm_buf_str(&b, i % 2 ? "{" : "[");
	assert_int_equal(parse(&c, (const char *)b.data, &err), -1);
	mm_config_free(&c);
	b.len = 0;
	mm_buf_str(&b, "watch: {dirs: [");
	for (int i = 0; i < 5000; i++)
		mm_buf_printf(&b, "d%d,", i);
	mm_buf_str(&b, "]}");
	assert_int_equal(parse(&c, (const char *)b.data, &err), -1);
	assert_non_null(strstr(err.text, "more than 1024 items"));
	mm_config_free(&c);
	mm_buf_fini(&b);
}

/* ---- loading ---- */

static int load(struct mm_config *c, const char *text, char *dir, struct mm_err *err)
{
	char path[100];
	snprintf(path, sizeof path, "%s/c.yaml", dir);
	assert_int_equal(mm_file_write(path, text, strlen(text), err), 0);
	int rc = mm_config_load(c, path, err);
	unlink(path);
	return rc;
}

static void paths_become_absolute(void **state)
{
	struct mm_err err = { 0 };
	char dir[] = "/tmp/mm-config-XXXXXX", want[100];
	struct mm_config c;
	(void)state;
	assert_non_null(mkdtemp(dir));
	if (load(&c,
		    "texts: t.jsonl\nstate_dir: s\ncontrol: ipc://run/c\nevents: ipc:///e\nwatch: {dirs: [m, /abs]}\n"
		    "score: {program: bin/x}",
		    dir, &err))
		fail_msg("%s", err.text);
	snprintf(want, sizeof want, "%s/t.jsonl", dir);
	assert_string_equal(c.texts, want);
	snprintf(want, sizeof want, "ipc://%s/run/c", dir);
	assert_string_equal(c.control, want);
	assert_string_equal(c.events, "ipc:///e");
	snprintf(want, sizeof want, "%s/m", dir);
	assert_string_equal(c.watch.dirs[0], want);
	assert_string_equal(c.watch.dirs[1], "/abs");
	snprintf(want, sizeof want, "%s/bin/x", dir);
	assert_string_equal(c.score.program, want);
	mm_config_free(&c);
	/* A file named without a directory: the working directory counts. */
	char cwd[4096];
	assert_non_null(getcwd(cwd, sizeof cwd));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(load(&c, "state_dir: s\n", (char *)(uintptr_t) ".", &err), 0);
	assert_int_equal(c.state_dir[0], '/');
	assert_non_null(c.texts); /* the installed set */
	assert_int_equal(chdir(cwd), 0);
	mm_config_free(&c);
	rmdir(dir);
}

static const struct {
	const char *text, *say;
} contradictory[] = {
	{ "query: tcp://*:99", "needs curve.server_secret and curve.client_keys" },
	{ "query: tcp://*\ncurve: {server_secret: a, client_keys: b}", "is not tcp://HOST:PORT" },
	{ "query: tcp://h:99999\ncurve: {server_secret: a, client_keys: b}", "is not tcp://HOST:PORT" },
	{ "control: ipc:///run/", "names no socket" },
	{ "control: ipc://", "names no socket" },
	{ "events: "
	  "ipc:///aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaa",
		"at most 107 bytes" },
	{ "control: ipc:///x\nevents: ipc:///x", "must be different" },
	{ "query: ipc:///x\nevents: ipc:///x", "must be different" },
	{ "watch: {dirs: [/a]}\nstate_dir: /a/b", "lies in the watched directory" },
	{ "watch: {dirs: [/a/b/, /c, /a]}", "lies in /a" },
	{ "watch: {dirs: [/a, /a]}", "lies in /a" },
	{ "watch: {dirs: [/]}", "lies in the watched directory" },
};

static void contradictions(void **state)
{
	char dir[] = "/tmp/mm-config-XXXXXX";
	(void)state;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < MM_COUNT(contradictory); i++) {
		struct mm_err err = { 0 };
		struct mm_config c;
		if (!load(&c, contradictory[i].text, dir, &err))
			fail_msg("accepted: %s", contradictory[i].text);
		if (!strstr(err.text, contradictory[i].say))
			fail_msg("%s\n  gave  %s", contradictory[i].text, err.text);
	}
	struct mm_err err = { 0 };
	struct mm_config c;
	assert_int_equal(load(&c, "watch: {dirs: [/a/b, /a/bc]}\nstate_dir: /a/bcd", dir, &err), 0);
	mm_config_free(&c);
	assert_int_equal(mm_config_load(&c, "/nowhere/c.yaml", &err), -1);
	assert_int_equal(mm_config_load(&c, "/dev/zero", &err), -1);
	assert_int_equal(mm_config_load(&c, dir, &err), -1);
	rmdir(dir);
}

/* ---- reload ---- */

static void what_a_reload_changes(void **state)
{
	struct mm_err err = { 0 };
	struct mm_config old, fresh;
	struct mm_buf fixed = { 0 }, live = { 0 };
	(void)state;
	assert_int_equal(parse(&old, "state_dir: /a\nwatch: {dirs: [/m], settle: 1s}\nscore: {bos: paper}", &err), 0);
	assert_int_equal(
		parse(&fresh, "state_dir: /b\nwatch: {dirs: [/m, /n], settle: 2s}\nscore: {bos: paper, retries: 1}",
			&err),
		0);
	assert_int_equal(mm_config_changed(&old, &fresh, true, &fixed), 2);
	assert_int_equal(mm_config_changed(&old, &fresh, false, &live), 2);
	assert_string_equal((const char *)fixed.data, "state_dir, watch.dirs");
	assert_string_equal((const char *)live.data, "watch.settle, score.retries");
	const char *dir = old.state_dir, *first = old.watch.dirs[0];
	mm_config_swap_fixed(&old, &fresh);
	assert_ptr_equal(fresh.state_dir, dir); /* the very string */
	assert_ptr_equal(fresh.watch.dirs[0], first);
	assert_int_equal(fresh.watch.n_dirs, 1);
	assert_true(fresh.watch.settle == 2);
	assert_int_equal(fresh.score.retries, 1);
	mm_buf_fini(&fixed);
	mm_buf_fini(&live);
	mm_config_free(&old);
	mm_config_free(&fresh);
}

/* ---- files made from the table ---- */

static void compare_file(const char *path, const char *want)
{
	struct mm_err err = { 0 };
	size_t len;
	char *have = mm_file_read(path, 1 << 20, &len, &err);
	if (!have)
		fail_msg("%s", err.text);
	if (strcmp(have, want))
		fail_msg("%s is not what the table gives; make it again with modelmapd --dump-defaults or --config-man",
			path);
	mm_free(have);
}

static void sample_and_manual_are_up_to_date(void **state)
{
	struct mm_config c = defaults();
	size_t len;
	char *text = dump(&c);
	(void)state;
	compare_file("config/modelmapd.yaml", text);
	free(text);
	FILE *f = open_memstream(&text, &len);
	assert_int_equal(mm_config_man(f), 0);
	fclose(f);
	compare_file("man/modelmapd.yaml.5", text);
	free(text);
	mm_config_free(&c);
}

/* ---- failing allocations ---- */

static void out_of_memory(void **state)
{
	(void)state;
	for (long n = 1;; n++) {
		struct mm_err err = { 0 };
		struct mm_config c;
		mm_mem_fail_after(n);
		int rc = mm_config_load(&c, "config/modelmapd.yaml", &err);
		mm_mem_fail_after(0);
		if (!rc) {
			assert_true(n > 10);
			mm_config_free(&c);
			break;
		}
		if (err.code != MM_ENOMEM)
			fail_msg("allocation %ld: %s", n, err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_sound),
		cmocka_unit_test(dump_parses_back),
		cmocka_unit_test(odd_values_parse_back),
		cmocka_unit_test(little_files),
		cmocka_unit_test(wrong_files),
		cmocka_unit_test(bombs),
		cmocka_unit_test(paths_become_absolute),
		cmocka_unit_test(contradictions),
		cmocka_unit_test(what_a_reload_changes),
		cmocka_unit_test(sample_and_manual_are_up_to_date),
		cmocka_unit_test(out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
