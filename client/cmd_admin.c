/* cmd_admin.c - refit, epochs, keygen, and `call` for everything else that the protocol has. */
#include "client/client.h"

#include <math.h>
#include <string.h>

/* ---- refit, epochs ---- */

/* Rounding errors of coordinates are no movement. */
static double visible(double moved)
{
	return moved < 1e-6 ? 0 : moved;
}

int mm_run_refit(struct mm_cli *c, struct mm_err *err)
{
	json_t *b;
	if (mm_cli_ask(c, "refit", NULL, &b, err))
		return -1;
	if (!b)
		return 0;
	fprintf(c->out, "The map is in epoch %lld now", (long long)mm_int(b, "epoch", 0));
	const json_t *moved = json_object_get(b, "displacement");
	if (mm_int(moved, "models", 0) > 0)
		fprintf(c->out, "; of %lld models half moved by at most %.3g, 95 %% by at most %.3g",
			(long long)mm_int(moved, "models", 0), visible(mm_num(moved, "p50", 0)),
			visible(mm_num(moved, "p95", 0)));
	fputs(".\n", c->out);
	json_decref(b);
	return 0;
}

/* How well each layout of an epoch keeps what it is a picture of. */
static int qualities(struct mm_cli *c, const json_t *layouts, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "LAYOUT", false, 0, 0 }, { "TRUSTWORTHINESS", true, 0, 0 },
		{ "CONTINUITY", true, 0, 0 }, { "RECALL@10", true, 0, 0 }, { "STRESS", true, 1, 0 },
		{ "KL NATS", true, 1, 0 } };
	static const char *const keys[] = { "trustworthiness", "continuity", "knn_recall", "stress", "kl" };
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	const char *name;
	json_t *o;
	if (!t)
		return -1;
	json_object_foreach ((json_t *)layouts, name, o) {
		mm_table_put(t, MM_BOLD, "%s", name);
		for (size_t i = 0; i < MM_COUNT(keys); i++) {
			double v = mm_num(o, keys[i], NAN);
			if (isfinite(v))
				mm_table_put(t, MM_PLAIN, "%.3f", v);
			else
				mm_table_put(t, MM_PLAIN, "%s", "");
		}
	}
	int rc = mm_table_rows(t) ? mm_table_print(t, &c->term, c->out, err) : 0;
	mm_table_free(t);
	return rc;
}

int mm_run_epochs(struct mm_cli *c, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "EPOCH", true, 0, 0 }, { "MADE", false, 0, 0 },
		{ "METHOD", false, 0, 0 }, { "MODELS", true, 0, 0 }, { "AXES %", false, 1, 0 },
		{ "CLIP NATS", true, 2, 0 }, { "MOVED P50", true, 3, 0 }, { "P95", true, 4, 0 } };
	json_t *b, *e;
	const json_t *layouts = NULL;
	size_t i;
	char when[32], cell[MM_CELL];
	if (mm_cli_ask(c, "epochs", NULL, &b, err))
		return -1;
	if (!b)
		return 0;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t) {
		json_decref(b);
		return -1;
	}
	json_array_foreach (json_object_get(b, "epochs"), i, e) {
		const json_t *share = json_object_get(e, "explained");
		bool current = mm_int(e, "epoch", -1) == mm_int(b, "epoch", 0);
		mm_table_put(t, current ? MM_BOLD : MM_PLAIN, "%lld", (long long)mm_int(e, "epoch", 0));
		mm_format_time(mm_int(e, "made_at", 0), when, sizeof when);
		mm_table_put(t, MM_PLAIN, "%s", mm_int(e, "made_at", 0) ? when : "");
		mm_table_put(t, MM_PLAIN, "%s", mm_str(e, "method"));
		mm_table_put(t, MM_PLAIN, "%lld", (long long)mm_int(e, "models", 0));
		if (json_array_size(share) > 1)
			mm_table_put(t, MM_PLAIN, "%.0f + %.0f", 100 * json_number_value(json_array_get(share, 0)),
				100 * json_number_value(json_array_get(share, 1)));
		else
			mm_table_put(t, MM_PLAIN, "%s", "");
		mm_table_put(t, MM_PLAIN, "%s", mm_fmt_num(json_object_get(e, "clip"), cell));
		mm_table_put(t, MM_PLAIN, "%.3g", visible(mm_num(json_object_get(e, "displacement"), "p50", 0)));
		mm_table_put(t, MM_PLAIN, "%.3g", visible(mm_num(json_object_get(e, "displacement"), "p95", 0)));
		if (current)
			layouts = json_object_get(e, "layouts");
	}
	int rc = 0;
	if (mm_table_rows(t))
		rc = mm_table_print(t, &c->term, c->out, err);
	else
		fputs("There is no map yet.\n", c->out);
	mm_table_free(t);
	if (!rc && json_object_size(layouts)) {
		fprintf(c->out, "\nLayouts of epoch %lld (neighbours: 10; stress: share of the distances missed):\n",
			(long long)mm_int(b, "epoch", 0));
		rc = qualities(c, layouts, err);
	}
	json_decref(b);
	return rc;
}

/* ---- keygen ---- */

int mm_run_keygen(struct mm_cli *c, struct mm_err *err)
{
	char public_key[41], secret_key[42];
	struct mm_part p;
	if (mm_conn_keygen(public_key, secret_key, err) || mm_part_open(&p, c->word[0], c->o.force, 0600, err))
		return -1;
	secret_key[40] = '\n';
	int rc = mm_part_write(&p, secret_key, 41, err);
	explicit_bzero(secret_key, sizeof secret_key);
	if (mm_part_close(&p, !rc, err))
		return -1;
	fprintf(c->out, "%s\n", public_key);
	return 0;
}

/* ---- call ---- */

int mm_run_call(struct mm_cli *c, struct mm_err *err)
{
	json_t *args = json_object(), *b;
	for (size_t i = 1; i < c->n_word; i++) {
		const char *eq = strchr(c->word[i], '=');
		char key[64];
		if (!eq || (size_t)(eq - c->word[i]) >= sizeof key) {
			json_decref(args);
			c->usage = true;
			return mm_fail(err, MM_EINVAL, "\"%s\" is not KEY=VALUE", c->word[i]);
		}
		snprintf(key, sizeof key, "%.*s", (int)(eq - c->word[i]), c->word[i]);
		/* A value that is JSON is taken as such; anything else is a string. */
		json_t *v = json_loads(eq + 1, JSON_DECODE_ANY, NULL);
		json_object_set_new(args, key, v ? v : json_string(eq + 1));
	}
	c->o.json = true;
	return mm_cli_ask(c, c->word[0], args, &b, err);
}
