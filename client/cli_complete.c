/* cli_complete.c - candidates for the shell (client/completion.bash): `modelmap __complete INDEX WORD...`, where INDEX
 * says which word (0: the program) is being completed. One candidate a line; "\tfile" and "\tdir" hand over to the
 * shell. Names come from the daemon, briefly: without one there are none. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_S 1.0

static void offer(const struct mm_cli *c, const char *candidate, const char *part)
{
	char clean[4096];
	/* A name that cannot be shown as it is cannot be completed as it is. */
	if (strncmp(candidate, part, strlen(part)) != 0)
		return;
	mm_term_clean(&c->term, candidate, clean, sizeof clean);
	if (!strcmp(clean, candidate))
		fprintf(c->out, "%s\n", candidate);
}

static void offer_choices(const struct mm_cli *c, const char *choices, const char *part)
{
	char one[64];
	for (const char *p = choices; *p;) {
		size_t n = strcspn(p, "|");
		snprintf(one, sizeof one, "%.*s", (int)n, p);
		offer(c, one, part);
		p += n + (p[n] == '|');
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted: the daemon lists models in the order of their arrival, which is no order to look something up in. */
static void offer_names(const struct mm_cli *c, const json_t *list, const char *key, const char *part)
{
	size_t n = 0, i;
	const json_t *o;
	const char **name = calloc(json_array_size(list) + 1, sizeof *name);
	json_array_foreach (list, i, o) {
		const char *s = json_string_value(json_object_get(o, key));
		if (name && s)
			name[n++] = s;
	}
	if (n)
		qsort(name, n, sizeof *name, by_name);
	for (i = 0; i < n; i++)
		offer(c, name[i], part);
	free(name);
}

static void offer_numbers(const struct mm_cli *c, const json_t *list, const char *key, const char *part)
{
	size_t i;
	const json_t *o;
	char number[32];
	json_array_foreach (list, i, o) {
		snprintf(number, sizeof number, "%lld", (long long)json_integer_value(json_object_get(o, key)));
		offer(c, number, part);
	}
}

static void offer_kind(struct mm_cli *c, const char *kind, const char *part)
{
	struct mm_err err = { 0 };
	json_t *body;
	bool models = !strcmp(kind, "model"), alerts = !strcmp(kind, "alert");
	if (!strcmp(kind, "file") || !strcmp(kind, "dir")) {
		fprintf(c->out, "\t%s\n", kind);
	} else if (models || alerts) {
		c->o.timeout = PATIENCE_S;
		if (mm_cli_call(c, models ? "models" : "alerts", NULL, &body, &err))
			return;
		if (models)
			offer_names(c, json_object_get(body, "models"), "name", part);
		else
			offer_numbers(c, json_object_get(body, "alerts"), "id", part);
		json_decref(body);
	} else {
		offer_choices(c, kind, part);
	}
}

/* The n-th kind of "build|check file"; the last one repeats. */
static void offer_word(struct mm_cli *c, const struct mm_cli_cmd *cmd, size_t n, const char *part)
{
	char kind[64] = "";
	const char *p = cmd->complete;
	for (size_t i = 0; *p && i <= n; i++) {
		size_t len = strcspn(p, " ");
		snprintf(kind, sizeof kind, "%.*s", (int)len, p);
		p += len + (p[len] == ' ');
	}
	if (n < cmd->max_word && *kind)
		offer_kind(c, kind, part);
}

static void offer_options(struct mm_cli *c, const struct mm_cli_cmd *cmd, const char *part)
{
	char word[64];
	for (size_t i = 0; i < mm_n_cli_opts; i++) {
		if (!mm_cli_opt_applies(cmd, &mm_cli_opts[i]))
			continue;
		snprintf(word, sizeof word, "--%s", mm_cli_opts[i].name);
		offer(c, word, part);
	}
}

/* The option that a word names and that wants a value, if any. */
static const struct mm_opt *wants_value(const char *word)
{
	const struct mm_opt *o = NULL;
	if (!strncmp(word, "--", 2))
		o = mm_cli_opt_find(word + 2);
	for (size_t i = 0; word[0] == '-' && word[1] && !word[2] && i < mm_n_cli_opts; i++)
		if (mm_cli_opts[i].letter == word[1])
			o = &mm_cli_opts[i];
	return o && o->type != MM_OPT_FLAG ? o : NULL;
}

void mm_cli_complete(struct mm_cli *c)
{
	size_t at = c->n_word ? (size_t)strtoul(c->word[0], NULL, 10) : 0, n_plain = 0;
	const char **w = c->word + 1, *part = "";
	const struct mm_cli_cmd *cmd = NULL;
	const struct mm_opt *value_of = NULL;
	if (at < 1 || at >= c->n_word)
		return;
	if (at + 1 < c->n_word)
		part = w[at];
	for (size_t i = 1; i < at; i++) {
		if (value_of) {
			if (!strcmp(value_of->name, "socket"))
				c->o.socket = w[i];
			value_of = NULL;
		} else if (w[i][0] == '-') {
			value_of = wants_value(w[i]);
		} else if (!cmd) {
			if (!(cmd = mm_cli_cmd_find(w[i])) && strcmp(w[i], "help") != 0)
				return;
		} else {
			n_plain++;
		}
	}
	c->cmd = cmd ? cmd : &mm_cli_cmds[0];
	if (value_of) {
		if (value_of->complete)
			offer_kind(c, value_of->complete, part);
	} else if (part[0] == '-') {
		offer_options(c, cmd, part);
	} else if (!cmd) {
		for (size_t i = 0; i < mm_n_cli_cmds; i++)
			offer(c, mm_cli_cmds[i].name, part);
	} else {
		offer_word(c, cmd, n_plain, part);
	}
	mm_conn_close(c->conn);
	c->conn = NULL;
}
