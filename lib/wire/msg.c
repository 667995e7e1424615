/* msg.c - the command table: every command with its access, its arguments and one line of help.
 *
 * The daemon checks requests against it, the client's `help`, its completion and the manual are made from it, and other
 * programs get it from the daemon itself (command `commands`). Adding a command is one row here, one handler in the
 * daemon's table.
 */
#include "wire/wire.h"

#include <string.h>

#define NAME(n, h)                                                                                                     \
	{                                                                                                              \
		.name = n, .type = MM_ARG_STR, .required = true, .min = 1, .max = 4096, .help = h                      \
	}
#define FLAG(n, h)                                                                                                     \
	{                                                                                                              \
		.name = n, .type = MM_ARG_BOOL, .help = h                                                              \
	}
#define EPOCH                                                                                                          \
	{                                                                                                              \
		.name = "epoch", .type = MM_ARG_INT, .min = 1, .max = 9e15, .help = "map epoch; default: the current"  \
	}

#define METHOD                                                                                                         \
	{                                                                                                              \
		.name = "method", .type = MM_ARG_STR, .choices = "pca|mds|tsne", .help = "layout; default: map.layout" \
	}
#define DIM                                                                                                            \
	{                                                                                                              \
		.name = "dim", .type = MM_ARG_INT, .min = 2, .max = 3,                                                 \
		.help = "dimensions of mds and tsne; default 2 (pca has 3)"                                            \
	}
#define DOMAIN                                                                                                         \
	{                                                                                                              \
		.name = "domain", .type = MM_ARG_STR, .min = 0, .max = 1024,                                           \
		.help = "on the texts of this domain only"                                                             \
	}
#define METRIC                                                                                                         \
	{                                                                                                              \
		.name = "metric", .type = MM_ARG_STR, .choices = "kl|fisher|hellinger|jeffreys|js|wasserstein",        \
		.help = "distance; default: kl, of the log-likelihoods; the others compare next-byte distributions"    \
	}
#define BENCH(r)                                                                                                       \
	{                                                                                                              \
		.name = "bench", .type = MM_ARG_STR, .required = r, .min = 1, .max = 63, .help = "benchmark"           \
	}

const struct mm_cmd mm_cmds[] = {
	{ "status", MM_READ, false, "version, uptime, text set, queue counts, map epoch", { { 0 } } },
	{ "models", MM_READ, false, "every model with its state, score and metadata", { { 0 } } },
	{ "show", MM_READ, false, "everything known about one model", { NAME("name", "model") } },
	{ "near", MM_READ, false, "nearest relatives of a model, nearest first",
		{ NAME("name", "model"),
			{ .name = "k",
				.type = MM_ARG_INT,
				.min = 1,
				.max = 1e6,
				.help = "how many neighbours; default 10" },
			{ .name = "family", .type = MM_ARG_STR, .min = 1, .max = 256, .help = "of this family only" },
			{ .name = "max_params",
				.type = MM_ARG_NUM,
				.min = 1,
				.max = 1e18,
				.help = "at most so many parameters" },
			FLAG("smaller", "with fewer parameters than the model itself"),
			{ .name = "dtype",
				.type = MM_ARG_STR,
				.min = 1,
				.max = 64,
				.help = "of this element type only" },
			{ .name = "max_bytes",
				.type = MM_ARG_NUM,
				.min = 1,
				.max = 1e18,
				.help = "weights of at most so many bytes" },
			DOMAIN, METRIC } },
	{ "dist", MM_READ, false, "distance of two models",
		{ NAME("a", "one model"), NAME("b", "the other model"), DOMAIN, METRIC } },
	{ "map", MM_READ, false, "places of all models in an epoch", { EPOCH, METHOD, DIM, DOMAIN, METRIC } },
	{ "epochs", MM_READ, false, "the map epochs there are", { { 0 } } },
	{ "tree", MM_READ, false, "likely parents of all models: children, checkpoints, merges, copies",
		{ DOMAIN, METRIC } },
	{ "cluster", MM_READ, false, "hierarchical clusters of all models",
		{ { .name = "linkage",
			  .type = MM_ARG_STR,
			  .choices = "average|ward|complete",
			  .help = "distance of clusters; default: average" },
			{ .name = "n",
				.type = MM_ARG_INT,
				.min = 1,
				.max = 5000,
				.help = "how many; default: those with the best silhouette" },
			DOMAIN, METRIC } },
	{ "trajectory", MM_READ, false, "the way of a training run, checkpoint by checkpoint",
		{ NAME("run", "run"), METRIC } },
	{ "metrics_compare", MM_READ, false, "how far the metrics agree, and the pairs that two see most differently",
		{ METRIC, { .name = "k",
				  .type = MM_ARG_INT,
				  .min = 1,
				  .max = 10000,
				  .help = "how many pairs; default 10" } } },
	{ "fisher", MM_READ, false, "spectrum of the Fisher metric in the directions of the other models",
		{ NAME("name", "model"), DOMAIN } },
	{ "merge_check", MM_READ, false, "does a merge lie on the line between two models?",
		{ NAME("a", "one parent"), NAME("b", "the other parent"), NAME("merged", "the merge"), METRIC } },
	{ "scores", MM_READ, false, "benchmarks with known scores, or the scores of one model",
		{ { .name = "name", .type = MM_ARG_STR, .min = 1, .max = 4096, .help = "model" } } },
	{ "predict", MM_READ, false, "benchmark scores predicted from the map, and how well that goes",
		{ { .name = "name", .type = MM_ARG_STR, .min = 1, .max = 4096, .help = "of this model" }, BENCH(false),
			{ .name = "folds",
				.type = MM_ARG_INT,
				.min = 2,
				.max = 100,
				.help = "of the cross-validation; default 5" },
			{ .name = "seed", .type = MM_ARG_INT, .min = 0, .max = 9e15, .help = "of the folds" }, DOMAIN,
			METRIC } },
	{ "texts_select", MM_READ, true, "a part of the text set that keeps the distances, as JSONL",
		{ { .name = "n", .type = MM_ARG_INT, .required = true, .min = 1, .max = 1e9, .help = "how many texts" },
			{ .name = "by",
				.type = MM_ARG_STR,
				.choices = "kl|length|uniform",
				.help = "how they are drawn; default: kl" },
			{ .name = "seed", .type = MM_ARG_INT, .min = 0, .max = 9e15, .help = "of the draw" } } },
	{ "place", MM_READ, false, "where a model belongs that was scored on a part of the texts",
		{ { .name = "values",
			  .type = MM_ARG_STR,
			  .required = true,
			  .min = 1,
			  .max = 60000,
			  .help = "TEXT:LOGLIK:WEIGHT with spaces between, texts ascending" },
			{ .name = "texts",
				.type = MM_ARG_STR,
				.min = 0,
				.max = 64,
				.help = "hash of the whole set" } } },
	{ "queue", MM_READ, false, "what waits, runs or failed, and why",
		{ FLAG("all", "finished and cancelled jobs too") } },
	{ "alerts", MM_READ, false, "alerts that are open or acknowledged",
		{ FLAG("all", "resolved ones too"),
			FLAG("rules", "not alerts but what alerts there are, and the thresholds behind them"),
			{ .name = "kind", .type = MM_ARG_STR, .min = 1, .max = 64, .help = "of this kind only" },
			{ .name = "since",
				.type = MM_ARG_INT,
				.min = 0,
				.max = 9e15,
				.help = "changed since (unix seconds)" } } },
	{ "export", MM_READ, true, "vectors (npy), names (one a line) or coordinates (csv)",
		{ { .name = "what",
			  .type = MM_ARG_STR,
			  .required = true,
			  .choices = "vectors|names|coords",
			  .help = "what to export" },
			EPOCH, METHOD, DIM } },
	{ "events_since", MM_READ, false, "events after `seq` of the run `boot`; without them only where we are",
		{ { .name = "boot", .type = MM_ARG_STR, .min = 0, .max = 64, .help = "the daemon's run" },
			{ .name = "seq", .type = MM_ARG_INT, .min = 0, .max = 9e15, .help = "last event seen" } } },
	{ "commands", MM_READ, false, "this table", { { 0 } } },
	{ "chunk", MM_READ, false, "the next bytes of a bulk reply, in a binary frame",
		{ { .name = "handle",
			  .type = MM_ARG_INT,
			  .required = true,
			  .min = 1,
			  .max = 9007199254740991.0,
			  .help = "as the bulk reply says" },
			{ .name = "offset",
				.type = MM_ARG_INT,
				.required = true,
				.min = 0,
				.max = 9007199254740991.0,
				.help = "bytes from the start" } } },
	{ "alert", MM_WRITE, false, "acknowledge, resolve, reopen or show an alert",
		{ { .name = "action",
			  .type = MM_ARG_STR,
			  .required = true,
			  .choices = "ack|resolve|reopen|show",
			  .help = "what to do" },
			{ .name = "alert",
				.type = MM_ARG_INT,
				.required = true,
				.min = 1,
				.max = 9e15,
				.help = "number of the alert" },
			{ .name = "note", .type = MM_ARG_STR, .min = 0, .max = 2000, .help = "a remark to keep" } } },
	{ "recheck", MM_WRITE, false, "test a model, or all, for leaks again",
		{ { .name = "name", .type = MM_ARG_STR, .min = 1, .max = 4096, .help = "model" },
			FLAG("all", "every model") } },
	{ "retry", MM_WRITE, false, "queue a failed, cancelled or never ready model again", { NAME("name", "model") } },
	{ "cancel", MM_WRITE, false, "take a job out of the queue, or stop it", { NAME("name", "model") } },
	{ "rescore", MM_WRITE, false, "score a model again, or all that lack next-byte distributions",
		{ { .name = "name", .type = MM_ARG_STR, .min = 1, .max = 4096, .help = "model" },
			FLAG("missing_features", "all models without next-byte distributions of these probes") } },
	{ "refit", MM_WRITE, false, "make a new map epoch from all models", { { 0 } } },
	{ "scores_import", MM_WRITE, false,
		"benchmark scores as CSV: the first line names the benchmarks, the first column the models; piece by "
		"piece",
		{ { .name = "import",
			  .type = MM_ARG_INT,
			  .required = true,
			  .min = 1,
			  .max = 9e15,
			  .help = "a number that the pieces of one table share" },
			{ .name = "offset",
				.type = MM_ARG_INT,
				.required = true,
				.min = 0,
				.max = 1e9,
				.help = "bytes before this piece" },
			{ .name = "csv",
				.type = MM_ARG_STR,
				.required = true,
				.min = 0,
				.max = 60000,
				.help = "the piece" },
			FLAG("more", "another piece follows; without it the table is complete") } },
	{ "scores_drop", MM_WRITE, false, "forget a benchmark", { BENCH(true) } },
	{ "import", MM_WRITE, false, "models with vectors of one's own, piece by piece; `commit` stores the batch",
		{ { .name = "import",
			  .type = MM_ARG_INT,
			  .required = true,
			  .min = 1,
			  .max = 9e15,
			  .help = "a number that the pieces of one import share" },
			{ .name = "texts",
				.type = MM_ARG_STR,
				.required = true,
				.min = 1,
				.max = 64,
				.help = "hash of the text set" },
			{ .name = "name",
				.type = MM_ARG_STR,
				.required = true,
				.min = 1,
				.max = 1024,
				.help = "model" },
			{ .name = "offset",
				.type = MM_ARG_INT,
				.required = true,
				.min = 0,
				.max = 9e15,
				.help = "bytes of this model before the piece" },
			{ .name = "data",
				.type = MM_ARG_STR,
				.required = true,
				.min = 0,
				.max = 60000,
				.help = "log-likelihoods in nats, float32, little-endian, in base64" },
			FLAG("more", "another piece of this model follows"),
			FLAG("commit", "store all models of the batch in one transaction"),
			FLAG("force", "replace what was imported with other values"),
			{ .name = "family", .type = MM_ARG_STR, .min = 1, .max = 256, .help = "what it is a model of" },
			{ .name = "dtype",
				.type = MM_ARG_STR,
				.min = 1,
				.max = 256,
				.help = "element type of its weights" },
			{ .name = "run", .type = MM_ARG_STR, .min = 1, .max = 1024, .help = "its training run" },
			{ .name = "params", .type = MM_ARG_INT, .min = 1, .max = 9e15, .help = "parameters" },
			{ .name = "bytes", .type = MM_ARG_INT, .min = 1, .max = 9e15, .help = "bytes of its weights" },
			{ .name = "date",
				.type = MM_ARG_INT,
				.min = 1,
				.max = 253402300799.0,
				.help = "when it was made, unix seconds" },
			{ .name = "step",
				.type = MM_ARG_INT,
				.min = 0,
				.max = 9e15,
				.help = "step of its training run" } } },
	{ "forget", MM_WRITE, false, "take an imported model, or one whose files are gone, off the map for good",
		{ NAME("name", "model") } },
	{ "backup", MM_WRITE, true, "a consistent copy of the store", { { 0 } } },
};
const size_t mm_n_cmds = MM_COUNT(mm_cmds);

const struct mm_cmd *mm_cmd_find(const char *name)
{
	for (size_t i = 0; i < mm_n_cmds; i++)
		if (!strcmp(mm_cmds[i].name, name))
			return &mm_cmds[i];
	return NULL;
}

const char *mm_access_name(enum mm_access a)
{
	return a == MM_READ ? "read" : "write";
}

const char *mm_arg_type_name(enum mm_arg_type t)
{
	static const char *const names[] = { [MM_ARG_STR] = "a string",
		[MM_ARG_INT] = "an integer",
		[MM_ARG_NUM] = "a number",
		[MM_ARG_BOOL] = "true or false" };
	return names[t];
}

static json_t *arg_json(const struct mm_arg *a)
{
	json_t *o = json_pack("{s:s, s:s, s:b, s:s}", "name", a->name, "type", mm_arg_type_name(a->type), "required",
		a->required, "help", a->help);
	if (o && a->choices)
		json_object_set_new(o, "choices", json_string(a->choices));
	if (o && (a->type == MM_ARG_INT || a->type == MM_ARG_NUM) && a->max > a->min) {
		json_object_set_new(o, "min", json_real(a->min));
		json_object_set_new(o, "max", json_real(a->max));
	}
	return o;
}

json_t *mm_cmds_json(struct mm_err *err)
{
	json_t *list = json_array(), *out = NULL;
	for (size_t i = 0; list && i < mm_n_cmds; i++) {
		const struct mm_cmd *c = &mm_cmds[i];
		json_t *args = json_array();
		for (const struct mm_arg *a = c->arg; args && a->name; a++)
			json_array_append_new(args, arg_json(a));
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", c->name, "access",
				      mm_access_name(c->access), "bulk", c->bulk, "help", c->help, "args", args));
	}
	if (list && json_array_size(list) == mm_n_cmds)
		out = json_pack("{s:O}", "commands", list);
	json_decref(list);
	if (!out)
		mm_fail(err, MM_ENOMEM, "out of memory for the command table");
	return out;
}
