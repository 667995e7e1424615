/* Words in, text and exit status out: usage, help, completion, and every command against a fake daemon. */
#include "fake_daemon.h"

#include <sys/stat.h>

static void test_usage(void **state)
{
	(void)state;
	EXPECT(2, PARTS("did you mean near"), "nearr", "x");
	EXPECT(2, PARTS("usage: modelmap near NAME"), "near");
	EXPECT(2, PARTS("too many words"), "status", "x");
	EXPECT(2, PARTS("did you mean --json"), "--jsn", "status");
	EXPECT(2, PARTS("needs a value"), "status", "--timeout");
	EXPECT(2, PARTS("not a duration"), "status", "--timeout", "soon");
	EXPECT(2, PARTS("takes no value"), "status", "--json=1");
	EXPECT(2, PARTS("has no option --svg"), "status", "--svg", "x");
	EXPECT(2, PARTS("whole number"), "near", "a", "-k", "0");
	EXPECT(2, PARTS("whole number"), "near", "a", "-k5x");
	EXPECT(2, PARTS("auto|always|never"), "status", "--color", "sometimes");
	EXPECT(2, PARTS("not one of ack"), "-s", "/nonexistent", "alert", "frob", "1");
	EXPECT(2, PARTS("not the number"), "-s", "/nonexistent", "alert", "ack", "one");
	EXPECT(2, PARTS("nothing to export"), "export");
	EXPECT(2, PARTS("none of build, check, select"), "texts", "frob", "x");
	EXPECT(2, PARTS("of which file?"), "texts", "check");
	EXPECT(2, PARTS("how many texts to choose"), "texts", "select");
	EXPECT(2, PARTS("none of import, show, drop"), "scores", "frob", "x");
	EXPECT(2, PARTS("scores import takes one file"), "scores", "import");
	EXPECT(1, PARTS("/nonexistent.csv"), "scores", "import", "/nonexistent.csv");
	EXPECT(2, PARTS("--texts FILE.jsonl"), "place", "x.npy");
	EXPECT(1, PARTS("no number of parameters"), "near", "a", "--max-params", "3X");
	EXPECT(2, PARTS("KEY=VALUE"), "-s", "/nonexistent", "call", "status", "x");
	EXPECT(1, PARTS("no endpoint"), "-s", "udp://x", "status");
	struct ran r = RUN("--");
	assert_int_equal(r.status, 2);
	ran_free(&r);
	r = run_words((const char *const[]){ "modelmap", NULL });
	assert_int_equal(r.status, 2);
	assert_non_null(strstr(r.err, "Commands:"));
	ran_free(&r);
}

static void test_help(void **state)
{
	(void)state;
	struct ran all = RUN("--help");
	assert_int_equal(all.status, 0);
	for (size_t i = 0; i < mm_n_cli_cmds; i++) {
		const struct mm_cli_cmd *c = &mm_cli_cmds[i];
		assert_non_null(strstr(all.out, c->help));
		struct ran one = RUN("help", c->name), same = RUN(c->name, "--help");
		assert_int_equal(one.status, 0);
		assert_string_equal(one.out, same.out);
		for (size_t k = 0; c->opt[k]; k++) {
			assert_non_null(mm_cli_opt_find(c->opt[k])); /* every name in a row is an option */
			assert_non_null(strstr(one.out, c->opt[k]));
		}
		ran_free(&one);
		ran_free(&same);
	}
	for (const char *const *g = mm_cli_global; *g; g++)
		assert_non_null(strstr(all.out, *g));
	ran_free(&all);
	EXPECT(0, PARTS("modelmap " MM_VERSION), "--version");
	for (size_t i = 0; i < mm_n_cli_opts; i++) /* letters and names are free of doubles */
		for (size_t k = 0; k < i; k++) {
			assert_true(!mm_cli_opts[i].letter || mm_cli_opts[i].letter != mm_cli_opts[k].letter);
			assert_string_not_equal(mm_cli_opts[i].name, mm_cli_opts[k].name);
		}
}

static void test_completion(void **state)
{
	(void)state;
	struct srv *s = srv_start(POLITE);
	EXPECT(0, PARTS("near\n"), "__complete", "1", "modelmap", "ne");
	EXPECT(0, PARTS("--json\n"), "__complete", "2", "modelmap", "near", "--j");
	EXPECT(0, PARTS("auto\n", "always\n"), "__complete", "2", "modelmap", "--color", "a");
	EXPECT(0, PARTS("\tfile\n"), "__complete", "3", "modelmap", "map", "--svg", "");
	EXPECT(0, PARTS("r/checkpoint-100\n", "r/checkpoint-20\n"), "__complete", "4", "modelmap", "-s", s->url, "near",
		"r/");
	EXPECT(0, PARTS("1\n2\n"), "__complete", "5", "modelmap", "--socket", s->url, "alert", "ack", "");
	EXPECT(0, PARTS("ack\n"), "__complete", "2", "modelmap", "alert", "a");
	struct ran r =
		RUN("__complete", "4", "modelmap", "-s", s->url, "near", "evil"); /* cannot be typed: not offered */
	assert_string_equal(r.out, "");
	ran_free(&r);
	static const char *const odd[] = { "", "0", "99", "x", "-1" };
	for (size_t i = 0; i < MM_COUNT(odd); i++) {
		r = RUN("__complete", odd[i], "modelmap", "near");
		assert_int_equal(r.status, 0);
		ran_free(&r);
	}
	srv_stop(s);
}

static void test_commands(void **state)
{
	(void)state;
	struct srv *s = srv_start(POLITE);
	EXPECT(0, PARTS("modelmapd 0.1.0", "1m15s", "1000, 512 bytes", "1 waiting", "epoch 3"), "-s", s->url, "status");
	EXPECT(0,
		PARTS("r/checkpoint-20 ", "queued", "1.10B", "0.91234", "never_ready", "12 bytes are missing",
			"evil?[2Jname"),
		"models", "-s", s->url);
	struct ran r = RUN("-s", s->url, "models");
	assert_true(strstr(r.out, "checkpoint-20 ") < strstr(r.out, "checkpoint-100")); /* by number */
	assert_null(strstr(r.out, "old"));
	ran_free(&r);
	EXPECT(0, PARTS("old", "gone"), "-s", s->url, "models", "--all", "--sort", "bits");
	EXPECT(0, PARTS("Nearest to neox-a", "bard-mini", "0.01235 +-0.0002", "530.10"), "-s", s->url, "--ascii",
		"near", "neox", "-k", "2");
	EXPECT(0, PARTS("neox-a <-> bard-mini: 0.01235 bits per byte, 4.3000 nats"), "-s", s->url, "--ascii", "dist",
		"neox", "bard");
	EXPECT(0, PARTS("bits per byte", "2.50000", "copies", "twin"), "-s", s->url, "show", "neox");
	EXPECT(1, PARTS("no model is called nix; the nearest names: neox-a"), "-s", s->url, "show", "nix");
	r = RUN("-s", s->url, "--ascii", "queue");
	assert_true(strstr(r.out, "now") < strstr(r.out, "late")); /* running before waiting */
	assert_non_null(strstr(r.out, "########--------  50%"));
	assert_non_null(strstr(r.out, "no tokenizer"));
	ran_free(&r);
	r = RUN("-s", s->url, "alerts");
	assert_true(strstr(r.out, "m2") < strstr(r.out, "m1")); /* open before acknowledged */
	ran_free(&r);
	EXPECT(0, PARTS("alert 2: acked"), "-s", s->url, "alert", "ack", "2", "--note", "known");
	EXPECT(0, PARTS("neox-a: queued again"), "-s", s->url, "retry", "neox");
	EXPECT(0, PARTS("epoch 4"), "-s", s->url, "refit");
	EXPECT(0, PARTS("60 + 20"), "-s", s->url, "epochs");
	EXPECT(0, PARTS("base  ", "  - kid", "97 % nearer than other", "25 % of kid"), "-s", s->url, "--ascii", "tree");
	EXPECT(0, PARTS("1 clusters", "base (2, silhouette 0.50)", "  kid"), "-s", s->url, "cluster", "-n", "1");
	EXPECT(0, PARTS("(base:1,kid:1);"), "-s", s->url, "cluster", "--newick");
	EXPECT(0, PARTS("r/c-1", "0.25000", "path 16"), "-s", s->url, "trajectory", "r");
	EXPECT(0, PARTS("2 models, epoch 3, pca", " a", " b"), "-s", s->url, "--ascii", "map");
	EXPECT(0, PARTS("<svg", "</svg>"), "-s", s->url, "map", "--svg", "-");
	EXPECT(0, PARTS("{\"a\":\"neox-a\",\"b\":\"bard-mini\",\"kl_bits_per_byte\":"), "-s", s->url, "--json", "dist",
		"x", "y");
	EXPECT(0, PARTS("{\"epoch\":3,"), "-s", s->url, "--json", "map");
	EXPECT(0, PARTS("\"model\":\"neox-a\""), "-s", s->url, "call", "near", "name=x", "k=3");
	EXPECT(1, PARTS("near: argument \"k\" must be an integer"), "-s", s->url, "call", "near", "name=x", "k=\"3\"");
	EXPECT(1, PARTS("did you mean \"status\""), "-s", s->url, "call", "statuss");
	/* The place of options does not matter; a bare path is an endpoint; the variable is read. */
	EXPECT(0, PARTS("modelmapd"), "status", "--socket", s->url + 6);
	setenv("MODELMAP_SOCKET", s->url, 1);
	EXPECT(0, PARTS("modelmapd"), "status");
	unsetenv("MODELMAP_SOCKET");
	srv_stop(s);
}

static void test_files(void **state)
{
	(void)state;
	struct srv *s = srv_start(POLITE);
	struct mm_err err = { 0 };
	char path[128], names[128];
	size_t n;
	struct stat st;
	snprintf(path, sizeof path, "%s/copy", s->dir);
	snprintf(names, sizeof names, "%s/names", s->dir);
	EXPECT(0, PARTS(""), "-s", s->url, "backup", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	char *data = mm_file_read(path, 1 << 24, &n, &err);
	assert_int_equal(n, BULK_BYTES);
	for (size_t i = 0; i < n; i++)
		assert_int_equal((uint8_t)data[i], (uint8_t)(i * 7));
	mm_free(data);
	EXPECT(0, PARTS("\"bytes\":1049576"), "-s", s->url, "--json", "backup", path);
	EXPECT(0, PARTS(""), "-s", s->url, "export", "--vectors", path, "--names", names);
	data = mm_file_read(names, 100, &n, &err);
	assert_string_equal(data, "a\nb\n"); /* those that came with the vectors */
	mm_free(data);
	s->manners = LYING_CHUNKS;
	snprintf(path, sizeof path, "%s/never", s->dir);
	EXPECT(1, PARTS("do not fit"), "-s", s->url, "backup", path);
	assert_int_equal(access(path, F_OK), -1); /* a broken file is never there */
	EXPECT(1, PARTS("cannot create"), "-s", s->url, "backup", "/nonexistent/x");
	snprintf(path, sizeof path, "%s/key", s->dir);
	struct ran r = RUN("keygen", path);
	assert_int_equal(r.status, 0);
	assert_int_equal(strlen(r.out), 41);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	ran_free(&r);
	EXPECT(1, PARTS("there already"), "keygen", path);
	srv_stop(s);
}

static void test_no_daemon(void **state)
{
	(void)state;
	char path[64] = "/tmp/mm-none-XXXXXX";
	assert_non_null(mkdtemp(path));
	char sock[96], url[128];
	snprintf(sock, sizeof sock, "%s/control", path);
	EXPECT(3, PARTS("no daemon at", "systemctl start modelmapd"), "-s", sock, "status");
	EXPECT(3, PARTS("no daemon at"), "-s", sock, "watch");
	/* A socket file that a killed daemon left. */
	snprintf(url, sizeof url, "ipc://%s", sock);
	void *ctx = zmq_ctx_new(), *z = zmq_socket(ctx, ZMQ_ROUTER);
	assert_int_equal(zmq_bind(z, url), 0);
	char keep[128];
	snprintf(keep, sizeof keep, "%s/kept", path);
	assert_int_equal(link(sock, keep), 0);
	zmq_close(z);
	zmq_ctx_term(ctx);
	EXPECT(3, PARTS("no daemon at"), "-s", keep, "status");
	unlink(keep);
	unlink(sock);
	rmdir(path);
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	struct ran r = RUN("status", "--timeout", "1s");
	if (r.status) /* a daemon of the system may be running here */
		assert_true(r.status == 3 && strstr(r.err, "no daemon is running") != NULL);
	ran_free(&r);
	EXPECT(1, PARTS("--server-key"), "-s", "tcp://127.0.0.1:1", "status");
}

static void test_bad_manners(void **state)
{
	(void)state;
	struct srv *s = srv_start(SILENT);
	EXPECT(1, PARTS("no answer within 0.2s"), "-s", s->url, "status", "--timeout", "200ms");
	s->manners = STALE; /* an answer to another question first */
	EXPECT(0, PARTS("neox-a"), "-s", s->url, "--ascii", "dist", "a", "b");
	s->manners = GARBAGE;
	EXPECT(1, PARTS("reply: "), "-s", s->url, "status");
	s->manners = DIES; /* while we wait: told at once, not after the ten seconds */
	double t = mm_monotonic();
	EXPECT(3, PARTS("the daemon went away"), "-s", s->url, "status", "--timeout", "60s");
	assert_true(mm_monotonic() - t < 50);
	srv_stop(s);
}

/* ---- watch ---- */

struct watching {
	struct srv *s;
	struct ran r;
	const char *json;
};

static void *watch_main(void *arg)
{
	struct watching *w = arg;
	w->r = w->json ? RUN("-s", w->s->url, "watch", "--until-idle", "--timeout", "60s", w->json)
		       : RUN("-s", w->s->url, "watch", "--until-idle", "--timeout", "60s");
	return NULL;
}

static void watch_with(const char *todo, const char *json, struct watching *w)
{
	pthread_t t;
	*w = (struct watching){ .s = srv_start(POLITE), .json = json };
	w->s->left = 1000000; /* busy until we say otherwise */
	assert_int_equal(pthread_create(&t, NULL, watch_main, w), 0);
	/* It has subscribed and asked where we are once `queue`, its fourth request, is there. */
	double end = mm_monotonic() + 20;
	while (w->s->n_requests < 4 && mm_monotonic() < end)
		sched_yield();
	for (; *todo; todo++)
		srv_do(w->s, *todo);
	w->s->left = 0;
	pthread_join(t, NULL);
	srv_stop(w->s);
}

static size_t count(const char *text, const char *part)
{
	size_t n = 0;
	for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
		n++;
	return n;
}

static void test_watch(void **state)
{
	(void)state;
	struct watching w;
	watch_with(
		"eee", NULL, &w); /* three events, of which some may come by events_since: none twice, none missing */
	assert_int_equal(w.r.status, 0);
	assert_int_equal(count(w.r.out, "told") + count(w.r.out, "fetched-"), 3);
	assert_null(strchr(w.r.out, 033));
	ran_free(&w.r);
	watch_with("elleel", "--json",
		&w); /* the next one tells of a gap; the last needs the heartbeat or the next call */
	assert_int_equal(w.r.status, 0);
	assert_non_null(strstr(w.r.out, "fetched-2"));
	assert_non_null(strstr(w.r.out, "fetched-3"));
	long last = 0;
	for (char *line = strtok(w.r.out, "\n"); line; line = strtok(NULL, "\n")) { /* one event a line, in order */
		json_t *j = json_loads(line, 0, NULL);
		assert_non_null(j);
		assert_int_equal(mm_int(j, "seq", 0), ++last);
		json_decref(j);
	}
	assert_true(last >= 5);
	ran_free(&w.r);
	watch_with("ere", NULL, &w);
	assert_int_equal(w.r.status, 0);
	assert_non_null(strstr(w.r.out, "the daemon has been restarted"));
	ran_free(&w.r);
}

static void test_watch_limits(void **state)
{
	(void)state;
	struct srv *s = srv_start(POLITE);
	s->left = 1000000;
	EXPECT(1, PARTS("not idle within 0.5s"), "-s", s->url, "watch", "--until-idle", "--timeout", "500ms");
	EXPECT(0, PARTS(""), "-s", s->url, "watch", "--timeout", "300ms");
	s->left = 0;
	EXPECT(1, PARTS("not idle"), "-s", s->url, "watch", "--until-idle", "--models", "5", "--timeout", "1s");
	EXPECT(0, PARTS(""), "-s", s->url, "watch", "--until-idle", "--models", "4", "--timeout", "30s");
	srv_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_completion),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_no_daemon),
		cmocka_unit_test(test_bad_manners),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_watch_limits),
	};
	unsetenv("MODELMAP_SOCKET");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
