/* cmd_alerts.c - the list of alerts, changing one, testing again. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct row {
	const json_t *o;
};

static int weight(const json_t *a)
{
	static const char *const severity[] = { "critical", "warning", "notice", "info" };
	for (int i = 0; i < (int)MM_COUNT(severity); i++)
		if (!strcmp(severity[i], mm_str(a, "severity")))
			return i;
	return (int)MM_COUNT(severity);
}

/* Open ones first, then the worst, then the newest. */
static int cmp_alert(const void *p, const void *q)
{
	const json_t *a = ((const struct row *)p)->o, *b = ((const struct row *)q)->o;
	int c = strcmp(mm_str(b, "state"), "open") == 0 ? 1 : 0;
	c -= strcmp(mm_str(a, "state"), "open") == 0 ? 1 : 0;
	if (!c)
		c = weight(a) - weight(b);
	if (!c)
		c = mm_int(a, "id", 0) < mm_int(b, "id", 0) ? 1 : -1;
	return c;
}

static void alert_row(struct mm_table *t, const json_t *a, int64_t now)
{
	char cell[MM_CELL];
	mm_table_put(t, MM_BOLD, "%lld", (long long)mm_int(a, "id", 0));
	mm_table_put(t, mm_style_of_state(mm_str(a, "state")), "%s", mm_str(a, "state"));
	mm_table_put(t, mm_style_of_state(mm_str(a, "severity")), "%s", mm_str(a, "severity"));
	mm_table_put(t, MM_PLAIN, "%s", mm_str(a, "kind"));
	mm_table_put(t, MM_PLAIN, "%s", mm_str(a, "model"));
	mm_table_put(t, MM_DIM, "%s", mm_fmt_age(json_object_get(a, "raised_at"), now, cell));
	mm_table_put(t, MM_PLAIN, "%s", mm_str(a, "message"));
}

/* "2h" ago, a day, or unix seconds */
static int since_of(const char *s, int64_t *out, struct mm_err *err)
{
	struct tm tm = { 0 };
	struct mm_err ignored;
	double ago;
	char *end = strptime(s, "%Y-%m-%d", &tm);
	if (end && (!*end || (end = strptime(end, "%n%H:%M", &tm)) != NULL) && !*end) {
		tm.tm_isdst = -1;
		*out = (int64_t)mktime(&tm);
		return 0;
	}
	if (strlen(s) >= 9 && strspn(s, "0123456789") == strlen(s)) {
		*out = strtoll(s, NULL, 10);
		return 0;
	}
	if (mm_parse_duration(s, &ago, &ignored))
		return mm_fail(
			err, MM_EINVAL, "--since: \"%s\" is neither a time like 2h or 3d nor a day like 2026-05-31", s);
	*out = mm_now() - (int64_t)ago;
	return 0;
}

/* The kinds of alerts and the thresholds behind them. Takes args. */
static int show_rules(struct mm_cli *c, json_t *args, struct mm_err *err)
{
	static const struct mm_col kind_cols[] = { { "KIND", false, 0, 0 }, { "SEVERITY", false, 1, 0 },
		{ "MEANS", false, 0, 30 } };
	static const struct mm_col rule_cols[] = { { "KIND", false, 0, 0 }, { "THRESHOLD", false, 0, 0 },
		{ "DEFAULT", true, 0, 0 }, { "UNIT", false, 1, 16 }, { "WHY", false, 2, 30 } };
	json_t *b, *o;
	size_t i;
	if (mm_cli_ask(c, "alerts", args, &b, err))
		return -1;
	if (!b)
		return 0;
	struct mm_table *k = mm_table_new(kind_cols, MM_COUNT(kind_cols), err);
	struct mm_table *r = k ? mm_table_new(rule_cols, MM_COUNT(rule_cols), err) : NULL;
	int rc = r ? 0 : -1;
	json_array_foreach (r ? json_object_get(b, "kinds") : NULL, i, o) {
		mm_table_put(k, MM_BOLD, "%s", mm_str(o, "kind"));
		mm_table_put(k, mm_style_of_state(mm_str(o, "severity")), "%s", mm_str(o, "severity"));
		mm_table_put(k, MM_PLAIN, "%s%s%s%s", mm_str(o, "means"), *mm_str(o, "silent") ? " (silent: " : "",
			mm_str(o, "silent"), *mm_str(o, "silent") ? ")" : "");
	}
	json_array_foreach (r ? json_object_get(b, "rules") : NULL, i, o) {
		mm_table_put(r, MM_PLAIN, "%s", mm_str(o, "kind"));
		mm_table_put(r, MM_PLAIN, "%s", mm_str(o, "name"));
		mm_table_put(r, MM_BOLD, "%g", mm_num(o, "value", 0));
		mm_table_put(r, MM_PLAIN, "%s", mm_str(o, "unit"));
		mm_table_put(r, MM_DIM, "%s", mm_str(o, "why"));
	}
	if (!rc)
		rc = mm_table_print(k, &c->term, c->out, err);
	if (!rc)
		fputc('\n', c->out);
	if (!rc)
		rc = mm_table_print(r, &c->term, c->out, err);
	mm_table_free(r);
	mm_table_free(k);
	json_decref(b);
	return rc;
}

int mm_run_alerts(struct mm_cli *c, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "ID", true, 0, 0 }, { "STATE", false, 2, 0 },
		{ "SEVERITY", false, 3, 0 }, { "KIND", false, 0, 0 }, { "MODEL", false, 1, 14 }, { "AGE", true, 4, 0 },
		{ "MESSAGE", false, 0, 36 } };
	json_t *b, *args = json_object();
	if (c->o.all)
		json_object_set_new(args, "all", json_true());
	if (c->o.kind)
		json_object_set_new(args, "kind", json_string(c->o.kind));
	if (c->o.since) {
		int64_t since;
		if (since_of(c->o.since, &since, err)) {
			c->usage = true;
			json_decref(args);
			return -1;
		}
		json_object_set_new(args, "since", json_integer(since));
	}
	if (c->o.rules) {
		json_object_set_new(args, "rules", json_true());
		return show_rules(c, args, err);
	}
	if (mm_cli_ask(c, "alerts", args, &b, err))
		return -1;
	if (!b)
		return 0;
	const json_t *list = json_object_get(b, "alerts");
	size_t n = json_array_size(list);
	struct row *row = mm_calloc(n + 1, sizeof *row, err);
	struct mm_table *t = row ? mm_table_new(cols, MM_COUNT(cols), err) : NULL;
	int rc = t ? 0 : -1;
	int64_t now = mm_now();
	for (size_t i = 0; row && i < n; i++)
		row[i].o = json_array_get(list, i);
	if (t)
		qsort(row, n, sizeof *row, cmp_alert);
	for (size_t i = 0; t && i < n; i++)
		alert_row(t, row[i].o, now);
	if (!rc && !n)
		fputs(c->o.all ? "There are no alerts.\n" : "No alerts.\n", c->out);
	else if (!rc)
		rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	mm_free(row);
	json_decref(b);
	return rc;
}

/* ---- alert ack|resolve|reopen|show ID... ---- */

static void field(const struct mm_cli *c, const char *label, const char *value)
{
	char clean[4096];
	mm_term_clean(&c->term, value, clean, sizeof clean);
	if (*clean)
		fprintf(c->out, "  %-10s %s\n", label, clean);
}

static int show_alert(const struct mm_cli *c, const json_t *a, struct mm_err *err)
{
	static const char *const keys[] = { "state", "severity", "kind", "model", "message", "note" };
	char when[32];
	fprintf(c->out, "%sAlert %lld%s\n", mm_term_on(&c->term, MM_BOLD), (long long)mm_int(a, "id", 0),
		mm_term_off(&c->term, MM_BOLD));
	for (size_t i = 0; i < MM_COUNT(keys); i++)
		field(c, keys[i], mm_str(a, keys[i]));
	mm_format_time(mm_int(a, "raised_at", 0), when, sizeof when);
	field(c, "raised", mm_int(a, "raised_at", 0) ? when : "");
	fputs("  evidence\n", c->out);
	return mm_alert_evidence(c, json_object_get(a, "evidence"), err);
}

static int draw(const struct mm_cli *c, const json_t *a, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	int rc = mm_svg_alert(a, &b, err) || mm_picture_write(c, &b, err) ? -1 : 0;
	mm_buf_fini(&b);
	return rc;
}

static int change(struct mm_cli *c, const char *action, int64_t id, struct mm_err *err)
{
	json_t *b, *args = json_pack("{s:s, s:I}", "action", action, "alert", (json_int_t)id);
	if (c->o.note)
		json_object_set_new(args, "note", json_string(c->o.note));
	if (mm_cli_ask(c, "alert", args, &b, err))
		return -1;
	if (!b)
		return 0;
	const json_t *a = json_object_get(b, "alert");
	int rc = 0;
	if (strcmp(action, "show") != 0)
		fprintf(c->out, "alert %lld: %s\n", (long long)id, mm_str(a, "state"));
	else
		rc = mm_picture_wanted(c) ? draw(c, a, err) : show_alert(c, a, err);
	json_decref(b);
	return rc;
}

int mm_run_alert(struct mm_cli *c, struct mm_err *err)
{
	static const char *const actions[] = { "ack", "resolve", "reopen", "show" };
	bool known = false;
	for (size_t i = 0; i < MM_COUNT(actions); i++)
		known = known || !strcmp(actions[i], c->word[0]);
	if (!known) {
		c->usage = true;
		return mm_fail(err, MM_EINVAL, "\"%s\" is not one of ack, resolve, reopen, show", c->word[0]);
	}
	for (size_t i = 1; i < c->n_word; i++) {
		char *end;
		long long id = strtoll(c->word[i], &end, 10);
		if (*end || end == c->word[i] || id < 1) {
			c->usage = true;
			return mm_fail(err, MM_EINVAL, "\"%s\" is not the number of an alert", c->word[i]);
		}
		if (change(c, c->word[0], id, err))
			return -1;
	}
	return 0;
}

/* ---- recheck NAME... | --all ---- */

int mm_run_recheck(struct mm_cli *c, struct mm_err *err)
{
	if (c->o.all == (c->n_word > 0)) {
		c->usage = true;
		return mm_fail(err, MM_EINVAL, "names of models, or --all");
	}
	for (size_t i = 0; i < (c->o.all ? 1 : c->n_word); i++) {
		char clean[4096];
		json_t *b, *args = c->o.all ? json_pack("{s:b}", "all", 1) : json_pack("{s:s}", "name", c->word[i]);
		if (mm_cli_ask(c, "recheck", args, &b, err))
			return -1;
		if (!b)
			continue;
		mm_term_clean(&c->term, c->o.all ? "all models" : mm_str(b, "name"), clean, sizeof clean);
		fprintf(c->out, "%s: tested soon%s%s%s\n", clean,
			*mm_str(b, "silent") ? "; rules that need a population say: " : "", mm_str(b, "silent"), "");
		json_decref(b);
	}
	return 0;
}
