/* cmd_map.c - `map`: drawn in the terminal, as a picture with --svg or --png, as a page with --html. */
#include "client/client.h"

/* Families, runs and alerts make the map readable; without them it is still a map. */
static json_t *also(struct mm_cli *c, const char *cmd)
{
	struct mm_err ignored = { 0 };
	json_t *b = NULL;
	return mm_cli_call(c, cmd, NULL, &b, &ignored) ? NULL : b;
}

int mm_run_map(struct mm_cli *c, struct mm_err *err)
{
	if (c->o.html && mm_map_html(c, err))
		return -1;
	if (c->o.html && !c->o.json && !mm_picture_wanted(c))
		return 0;
	json_t *map, *args = json_object();
	struct mm_view v;
	if (c->o.epoch)
		json_object_set_new(args, "epoch", json_integer((json_int_t)c->o.epoch));
	if (c->o.method)
		json_object_set_new(args, "method", json_string(c->o.method));
	if (c->o.dim)
		json_object_set_new(args, "dim", json_integer(c->o.dim));
	if (c->o.domain)
		json_object_set_new(args, "domain", json_string(c->o.domain));
	mm_metric_arg(c, args);
	if (mm_cli_call(c, "map", args, &map, err))
		return -1;
	int rc = c->o.json ? mm_json_print(map, &c->term, c->out, err) : 0;
	if (rc || (c->o.json && !mm_picture_wanted(c))) {
		json_decref(map);
		return rc;
	}
	if (mm_view_make(&v, map, also(c, "models"), also(c, "alerts"), err))
		return -1;
	if (mm_picture_wanted(c))
		rc = mm_picture_map(c, &v, "Map of language models", err);
	bool only_file = c->o.json || mm_picture_only(c);
	if (!rc && !only_file && !v.n)
		fputs("There is nothing on the map yet.\n", c->out);
	else if (!rc && !only_file)
		rc = mm_term_map(&v, &c->term, c->term.width ? c->term.width : 100,
			MM_MAX((c->term.tty ? c->term.height : 34) - 6, 10), !c->o.no_labels, c->out, err);
	mm_view_free(&v);
	return rc;
}
