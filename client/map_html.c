/* map_html.c - the page for a browser as one file with its answers inside (`map --html`), to be mailed or put on a
 * wiki.
 *
 * `make web` leaves a template beside the page: everything inline, its Content-Security-Policy allows nothing to be
 * loaded, and one place for data. Here the daemon is asked what the page would ask, and the answers go there:
 *
 *   {"at": unix seconds, "title", "view": {"m", "d"}, "fixed": {argument: value}, "answers": {"near?k=8&name=a": ...}}
 *
 * `fixed` are arguments that all questions share (epoch, domain, metric) and that therefore no key has. Arguments of a
 * key are in the order of the alphabet, as client/web/src/api.ts makes them. A small map has every pair of models, a
 * large one what is near: PAIRS_ALL, NEAR_MAX. What the file has not, the page says.
 */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEMPLATE     "one-file.tmpl"
#define TEMPLATE_MAX ((size_t)8 << 20)
#define DATA	     "<script type=\"application/json\" id=\"data\">"
#define PAIRS_ALL    40	  /* models: distances of all pairs, with intervals and domains */
#define INTERVALS    300  /* models: intervals for the nearest ones */
#define NEAR_MAX     5000 /* models: the nearest ones of each */

struct keep {
	struct mm_cli *c;
	json_t *fixed, *answers;
};

/* ---- the template ---- */

/* Beside the page that was installed with this program, or the one of the build folder that it lies in. */
static char *read_template(size_t *n, struct mm_err *err)
{
	static const char *const at[] = { "/../share/modelmapd/web/", "/../web/" };
	char exe[4096];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
	char *slash = len > 0 ? (exe[len] = 0, strrchr(exe, '/')) : NULL;
	if (slash)
		*slash = 0;
	for (size_t i = 0; slash && i < MM_COUNT(at); i++) {
		char *path = mm_asprintf(err, "%s%s" TEMPLATE, exe, at[i]), *text = NULL;
		bool there = path && !access(path, R_OK);
		if (there)
			text = mm_file_read(path, TEMPLATE_MAX, n, err);
		mm_free(path);
		if (there || !path)
			return text;
	}
	mm_fail(err, MM_ENOENT, "the page for a browser is not installed here; make web builds it where node is");
	return NULL;
}

/* ---- questions and answers ---- */

static char *key_of(const char *cmd, const json_t *args, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	const char *name[8], *k;
	size_t n = 0;
	json_t *v;
	json_object_foreach ((json_t *)(uintptr_t)args, k, v)
		if (n < MM_COUNT(name))
			name[n++] = k;
	for (size_t i = 1; i < n; i++) /* a handful */
		for (size_t j = i; j && strcmp(name[j - 1], name[j]) > 0; j--) {
			const char *t = name[j];
			name[j] = name[j - 1];
			name[j - 1] = t;
		}
	mm_buf_printf(&b, "%s?", cmd);
	for (size_t i = 0; i < n; i++) {
		v = json_object_get(args, name[i]);
		mm_buf_printf(&b, "%s%s=", i ? "&" : "", name[i]);
		if (json_is_string(v))
			mm_buf_str(&b, json_string_value(v));
		else if (json_is_boolean(v))
			mm_buf_str(&b, json_is_true(v) ? "true" : "false");
		else
			mm_buf_printf(&b, "%lld", (long long)json_integer_value(v));
	}
	char *out = mm_buf_check(&b, err) ? NULL : mm_strdup((const char *)b.data, err);
	mm_buf_fini(&b);
	return out;
}

static bool takes(const struct mm_cmd *c, const char *arg)
{
	for (const struct mm_arg *a = c->arg; a->name; a++)
		if (!strcmp(a->name, arg))
			return true;
	return false;
}

/* Asks and keeps; takes args (NULL: none). The answer is borrowed, NULL with err: there is none, which is an error for
 * the caller to judge. */
static json_t *ask(struct keep *k, const char *cmd, json_t *args, struct mm_err *err)
{
	const struct mm_cmd *row = mm_cmd_find(cmd);
	const char *name;
	json_t *v, *body = NULL;
	args = args ? args : json_object();
	char *key = args && row ? key_of(cmd, args, err) : NULL;
	json_object_foreach (k->fixed, name, v)
		if (row && takes(row, name))
			json_object_set(args, name, v);
	int rc = key ? mm_cli_call(k->c, cmd, args, &body, err) : (json_decref(args), -1);
	if (!rc)
		json_object_set_new(k->answers, key, body);
	mm_free(key);
	return rc ? NULL : body;
}

/* What the daemon has no answer to is left out: the page says so where it is asked for. */
static void ask_if(struct keep *k, const char *cmd, json_t *args)
{
	struct mm_err ignored = { 0 };
	(void)!ask(k, cmd, args, &ignored);
}

static int ask_maps(struct keep *k, struct mm_err *err)
{
	static const char *const method[] = { "pca", "mds", "tsne" };
	const struct mm_cli_opts *o = &k->c->o;
	struct mm_err why = { 0 }, other = { 0 };
	bool any = false;
	for (size_t i = 0; i < MM_COUNT(method); i++) {
		bool wanted = o->method ? !strcmp(o->method, method[i]) : i == 0;
		any |= ask(k, "map", json_pack("{s:s}", "method", method[i]), wanted ? &why : &other) != NULL;
		if (i)
			ask_if(k, "map", json_pack("{s:i, s:s}", "dim", 3, "method", method[i]));
	}
	if (why.code && (o->method || !any)) {
		*err = why;
		return -1;
	}
	return 0;
}

static json_t *pair(const char *a, const char *b)
{
	return json_pack("{s:s, s:s}", "a", a, "b", b);
}

/* The nearest ones of a model, and how sure their distances are. */
static void ask_near(struct keep *k, const char *name, bool smaller, bool intervals)
{
	struct mm_err ignored = { 0 };
	json_t *args = smaller ? json_pack("{s:i, s:s, s:b}", "k", 3, "name", name, "smaller", 1)
			       : json_pack("{s:i, s:s}", "k", 8, "name", name);
	const json_t *r = ask(k, "near", args, &ignored), *o;
	size_t i;
	json_array_foreach (json_object_get(r, "neighbours"), i, o)
		if (intervals && *mm_str(o, "name"))
			ask_if(k, "dist", pair(name, mm_str(o, "name")));
}

static void ask_model(struct keep *k, const json_t *models, const json_t *m, size_t n, bool scores)
{
	const char *name = mm_str(m, "name");
	size_t i;
	const json_t *o;
	ask_near(k, name, false, n > PAIRS_ALL && n <= INTERVALS);
	ask_near(k, name, true, n > PAIRS_ALL && n <= INTERVALS);
	if (scores)
		ask_if(k, "predict", json_pack("{s:s}", "name", name));
	if (n > PAIRS_ALL)
		return;
	json_array_foreach (models, i, o)
		if (json_is_true(json_object_get(o, "on_map")) && strcmp(mm_str(o, "name"), name) < 0)
			ask_if(k, "dist", pair(mm_str(o, "name"), name));
}

static int ask_all(struct keep *k, struct mm_err *err)
{
	const json_t *models = json_object_get(ask(k, "models", NULL, err), "models"), *o, *scores;
	struct mm_err ignored = { 0 };
	size_t i, n = 0;
	if (!models || !ask(k, "alerts", NULL, err) || !ask(k, "queue", NULL, err) || ask_maps(k, err))
		return -1;
	scores = json_object_get(ask(k, "scores", NULL, &ignored), "benchmarks");
	json_array_foreach (scores, i, o)
		ask_if(k, "predict", json_pack("{s:s}", "bench", mm_str(o, "bench")));
	ask_if(k, "tree", NULL);
	ask_if(k, "cluster", NULL);
	json_array_foreach (models, i, o)
		n += json_is_true(json_object_get(o, "on_map"));
	json_array_foreach (models, i, o) {
		const char *run = json_string_value(json_object_get(o, "run"));
		if (run)
			ask_if(k, "trajectory", json_pack("{s:s}", "run", run));
		if (json_is_true(json_object_get(o, "on_map")) && n <= NEAR_MAX)
			ask_model(k, models, o, n, json_array_size(scores) > 0);
	}
	return 0;
}

/* ---- the file ---- */

/* Between tags of a script: "<" would end it. */
static void put_data(struct mm_buf *b, const char *json)
{
	for (size_t n; *json; json += n) {
		n = strcspn(json, "<");
		mm_buf_put(b, json, n);
		if (json[n] == '<') {
			mm_buf_str(b, "\\u003c");
			n++;
		}
	}
}

static int write_file(const struct keep *k, json_t *o, struct mm_err *err)
{
	size_t n;
	char *page = read_template(&n, err), *json = page ? mm_json_dump(o, err) : NULL;
	char *at = json ? strstr(page, DATA "null</script>") : NULL;
	struct mm_buf b = { 0 };
	int rc = -1;
	if (json && !at)
		mm_fail(err, MM_EFORMAT, TEMPLATE " is not of this program: there is no place for data in it");
	if (at) {
		at += strlen(DATA);
		mm_buf_put(&b, page, (size_t)(at - page));
		put_data(&b, json);
		mm_buf_str(&b, at + strlen("null"));
		rc = mm_buf_check(&b, err) || mm_file_give(k->c, k->c->o.html, b.data, b.len, err) ? -1 : 0;
	}
	mm_buf_fini(&b);
	mm_free(json);
	mm_free(page);
	return rc;
}

int mm_map_html(struct mm_cli *c, struct mm_err *err)
{
	const struct mm_cli_opts *o = &c->o;
	struct keep k = { c, json_object(), json_object() };
	size_t n;
	char *page = read_template(&n, err); /* before the work */
	if (o->epoch)
		json_object_set_new(k.fixed, "epoch", json_integer((json_int_t)o->epoch));
	if (o->domain)
		json_object_set_new(k.fixed, "domain", json_string(o->domain));
	if (o->metric)
		json_object_set_new(k.fixed, "metric", json_string(o->metric));
	int rc = page ? ask_all(&k, err) : -1;
	json_t *all =
		rc ? NULL
		   : json_pack("{s:I, s:s, s:{s:s, s:i}, s:O, s:O}", "at", (json_int_t)time(NULL), "title",
			     o->title ? o->title : "Map of language models", "view", "m", o->method ? o->method : "pca",
			     "d", o->dim == 3 ? 3 : 2, "fixed", k.fixed, "answers", k.answers);
	if (!rc)
		rc = all ? write_file(&k, all, err) : mm_fail(err, MM_ENOMEM, "out of memory for the map");
	json_decref(all);
	json_decref(k.fixed);
	json_decref(k.answers);
	mm_free(page);
	return rc;
}
