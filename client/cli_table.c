/* cli_table.c - the commands and options of `modelmap`: parser, help and completion are made from these two tables. */
#include "client/client.h"

#include <string.h>

#define OFF(f) offsetof(struct mm_cli_opts, f)

const struct mm_opt mm_cli_opts[] = {
	/* everywhere */
	{ "socket", 's', MM_OPT_STR, OFF(socket), "EP", 0, 0, "file",
		"the daemon's endpoint: ipc:///path, a path, or tcp://host:port" },
	{ "server-key", 0, MM_OPT_STR, OFF(server_key), "KEY|FILE", 0, 0, "file", "tcp: the daemon's public key" },
	{ "key", 0, MM_OPT_STR, OFF(key), "FILE", 0, 0, "file", "tcp: our secret key (see keygen)" },
	{ "timeout", 't', MM_OPT_TIME, OFF(timeout), "TIME", 0, 0, NULL, "give up after this long; 0: never" },
	{ "json", 'j', MM_OPT_FLAG, OFF(json), NULL, 0, 0, NULL, "print the daemon's answer as JSON" },
	{ "color", 0, MM_OPT_STR, OFF(color), "WHEN", 0, 0, "auto|always|never", "colours; auto: on a terminal" },
	{ "ascii", 0, MM_OPT_FLAG, OFF(ascii), NULL, 0, 0, NULL, "no characters beyond ASCII" },
	{ "help", 'h', MM_OPT_FLAG, OFF(help), NULL, 0, 0, NULL, "say what there is" },
	/* of single commands */
	{ "all", 'a', MM_OPT_FLAG, OFF(all), NULL, 0, 0, NULL, "also what is finished, resolved or gone" },
	{ "sort", 0, MM_OPT_STR, OFF(sort), "BY", 0, 0, "name|bits|time|size|state", "order of the rows" },
	{ "number", 'k', MM_OPT_INT, OFF(k), "N", 1, 1e6, NULL, "how many neighbours (10)" },
	{ "svg", 0, MM_OPT_STR, OFF(svg), "FILE", 0, 0, "file",
		"write a picture: the map, relatives, the family tree, clusters, an alert's histogram" },
	{ "png", 0, MM_OPT_STR, OFF(png), "FILE", 0, 0, "file", "the same picture as PNG (made by rsvg-convert)" },
	{ "html", 0, MM_OPT_STR, OFF(html), "FILE", 0, 0, "file",
		"the map for a browser as one file, which needs no daemon" },
	{ "title", 0, MM_OPT_STR, OFF(title), "TEXT", 0, 0, NULL, "title of the picture" },
	{ "epoch", 'e', MM_OPT_INT, OFF(epoch), "N", 1, 9e15, NULL, "an older epoch of the map" },
	{ "method", 'm', MM_OPT_STR, OFF(method), "METHOD", 0, 0, "pca|mds|tsne", "layout of the map" },
	{ "dim", 0, MM_OPT_INT, OFF(dim), "N", 2, 3, NULL, "dimensions of the layout (2); pca always has 3" },
	{ "family", 0, MM_OPT_STR, OFF(family), "NAME", 0, 0, NULL, "relatives of this family only" },
	{ "max-params", 0, MM_OPT_STR, OFF(max_params), "N", 0, 0, NULL,
		"relatives with at most so many parameters: 3B, 350M" },
	{ "smaller", 0, MM_OPT_FLAG, OFF(smaller), NULL, 0, 0, NULL, "relatives with fewer parameters than the model" },
	{ "dtype", 0, MM_OPT_STR, OFF(dtype), "NAME", 0, 0, NULL, "relatives of this element type only" },
	{ "max-bytes", 0, MM_OPT_STR, OFF(max_bytes), "SIZE", 0, 0, NULL,
		"relatives with weights of at most so much: 8G" },
	{ "linkage", 0, MM_OPT_STR, OFF(linkage), "HOW", 0, 0, "average|ward|complete",
		"distance of clusters (average)" },
	{ "graphml", 0, MM_OPT_STR, OFF(graphml), "FILE", 0, 0, "file", "write the family tree as GraphML" },
	{ "newick", 0, MM_OPT_FLAG, OFF(newick), NULL, 0, 0, NULL,
		"the tree, or the whole hierarchy, in Newick's format" },
	{ "missing-features", 0, MM_OPT_FLAG, OFF(missing_features), NULL, 0, 0, NULL,
		"all models without next-byte distributions" },
	{ "no-labels", 0, MM_OPT_FLAG, OFF(no_labels), NULL, 0, 0, NULL, "marks without names" },
	{ "kind", 0, MM_OPT_STR, OFF(kind), "KIND", 0, 0, NULL, "alerts of this kind only" },
	{ "since", 0, MM_OPT_STR, OFF(since), "WHEN", 0, 0, NULL,
		"alerts that changed since: 2h, 3d (ago), 2026-05-31, or unix seconds" },
	{ "rules", 0, MM_OPT_FLAG, OFF(rules), NULL, 0, 0, NULL, "what alerts there are, and their thresholds" },
	{ "note", 0, MM_OPT_STR, OFF(note), "TEXT", 0, 0, NULL, "a remark to keep with the alert" },
	{ "events", 0, MM_OPT_STR, OFF(events), "EP", 0, 0, "file",
		"where events come from; default: where the daemon says" },
	{ "once", 0, MM_OPT_FLAG, OFF(once), NULL, 0, 0, NULL, "print one frame and end" },
	{ "until-idle", 0, MM_OPT_FLAG, OFF(until_idle), NULL, 0, 0, NULL, "end when nothing is left to be scored" },
	{ "models", 0, MM_OPT_INT, OFF(min_models), "N", 0, 1e9, NULL,
		"with --until-idle: and at least N models are scored or failed" },
	{ "vectors", 0, MM_OPT_STR, OFF(vectors), "FILE", 0, 0, "file", "log-likelihoods, models x texts, .npy" },
	{ "names", 0, MM_OPT_STR, OFF(names), "FILE", 0, 0, "file", "names, one a line, in the order of the rows" },
	{ "meta", 0, MM_OPT_STR, OFF(meta), "FILE", 0, 0, "file",
		"what is known of the models, CSV or JSON lines: name, family, params, bytes, dtype, date, run, step" },
	{ "coords", 0, MM_OPT_STR, OFF(coords), "FILE", 0, 0, "file", "places on the map, CSV" },
	{ "csv", 0, MM_OPT_STR, OFF(csv), "FILE", 0, 0, "file", "a row for each model: figures, place, alerts" },
	{ "tensorboard", 0, MM_OPT_STR, OFF(tensorboard), "DIR", 0, 0, "dir",
		"vectors and figures for TensorBoard's projector" },
	{ "force", 'f', MM_OPT_FLAG, OFF(force), NULL, 0, 0, NULL, "replace what is there: a file, imported vectors" },
	{ "domain", 'd', MM_OPT_STR, OFF(domain), "NAME", 0, 0, NULL,
		"look at the texts of this domain only; texts build: the domain of all" },
	{ "metric", 0, MM_OPT_STR, OFF(metric), "METRIC", 0, 0, "kl|fisher|hellinger|jeffreys|js|wasserstein",
		"distance: of log-likelihoods (kl), or of next-byte distributions" },
	{ "bench", 'b', MM_OPT_STR, OFF(bench), "NAME", 0, 0, NULL, "this benchmark only, for every model" },
	{ "folds", 0, MM_OPT_INT, OFF(folds), "N", 2, 100, NULL, "of the cross-validation (5)" },
	{ "output", 'o', MM_OPT_STR, OFF(output), "FILE", 0, 0, "file", "where to write; default: standard output" },
	{ "by", 0, MM_OPT_STR, OFF(by), "HOW", 0, 0, "kl|length|uniform", "how texts are chosen (kl)" },
	{ "texts", 0, MM_OPT_STR, OFF(texts), "FILE", 0, 0, "file",
		"the text set of the vectors; place: the one from texts select" },
	{ "seed", 0, MM_OPT_INT, OFF(seed), "N", 0, 9e15, NULL, "of the random sample (1)" },
	{ "bytes", 0, MM_OPT_INT, OFF(bytes), "N", 257, 1048576, NULL, "longest piece (1024)" },
	{ "config", 'c', MM_OPT_STR, OFF(config), "FILE", 0, 0, "file", "the daemon's settings" },
	{ "sample", 'n', MM_OPT_INT, OFF(n), "N", 1, 1e7, NULL,
		"how many (texts to keep: all; clusters: the best number)" },
};
const size_t mm_n_cli_opts = MM_COUNT(mm_cli_opts);

const char *const mm_cli_global[] = { "socket", "server-key", "key", "timeout", "json", "color", "ascii", "help",
	NULL };

#define LONG 600.0 /* seconds for what the daemon computes first */

const struct mm_cli_cmd mm_cli_cmds[] = {
	{ "status", "", "version, text set, queue, map, alerts at a glance", 0, 0, "", 10, { 0 }, mm_run_status },
	{ "doctor", "", "why a directory is or isn't on the map; limits of the machine; what to do", 0, 0, "", 10,
		{ "config", "all" }, mm_run_doctor },
	{ "models", "", "all models: state, score, family, size", 0, 0, "", 10, { "all", "sort" }, mm_run_models },
	{ "show", "NAME", "everything known about one model", 1, 1, "model", 10, { 0 }, mm_run_show },
	{ "near", "NAME", "nearest relatives, in bits per byte", 1, 1, "model", 10,
		{ "number", "smaller", "max-params", "max-bytes", "family", "dtype", "domain", "metric", "svg", "png",
			"title" },
		mm_run_near },
	{ "dist", "A B", "distance of two models, in bits per byte", 2, 2, "model model", 10, { "domain", "metric" },
		mm_run_dist },
	{ "map", "", "draw the map, or write it as SVG, PNG or a page", 0, 0, "", LONG,
		{ "svg", "png", "html", "title", "epoch", "no-labels", "method", "dim", "domain", "metric" },
		mm_run_map },
	{ "tree", "", "the family tree: who comes from whom", 0, 0, "", LONG,
		{ "domain", "metric", "svg", "png", "title", "graphml", "newick", "output" }, mm_run_tree },
	{ "cluster", "", "groups of models", 0, 0, "", LONG,
		{ "linkage", "sample", "newick", "svg", "png", "title", "domain", "metric" }, mm_run_cluster },
	{ "trajectory", "RUN", "the way of a training run", 1, 1, "", LONG,
		{ "metric", "method", "no-labels", "svg", "png", "title" }, mm_run_trajectory },
	{ "metrics", "compare", "how far the metrics agree, and where two do not", 1, 1, "compare", LONG,
		{ "metric", "number" }, mm_run_metrics },
	{ "fisher", "NAME", "in how many directions the other models lie", 1, 1, "model", LONG, { "domain" },
		mm_run_fisher },
	{ "merge-check", "A B MERGED", "does a merge lie on the line between two models?", 3, 3, "model model model",
		10, { "metric" }, mm_run_merge_check },
	{ "epochs", "", "the maps there have been", 0, 0, "", 10, { 0 }, mm_run_epochs },
	{ "scores", "[import FILE... | show NAME | drop BENCH]", "benchmark scores: which are known, from CSV or JSON",
		0, MM_MAX_WORDS, "import|show|drop file", LONG, { 0 }, mm_run_scores },
	{ "predict", "[NAME]", "benchmark scores predicted from the map, and how well", 0, 1, "model", LONG,
		{ "bench", "folds", "seed", "domain", "metric" }, mm_run_predict },
	{ "queue", "", "what waits, runs or failed, and why", 0, 0, "", 10, { "all" }, mm_run_queue },
	{ "retry", "NAME...", "queue failed or never ready models again", 1, MM_MAX_WORDS, "model", 10, { 0 },
		mm_run_job },
	{ "cancel", "NAME...", "take models out of the queue, or stop scoring them", 1, MM_MAX_WORDS, "model", 10,
		{ 0 }, mm_run_job },
	{ "rescore", "[NAME...]", "score models again", 0, MM_MAX_WORDS, "model", 10, { "missing-features" },
		mm_run_rescore },
	{ "alerts", "", "alerts that are not resolved", 0, 0, "", 10, { "all", "kind", "since", "rules" },
		mm_run_alerts },
	{ "alert", "ack|resolve|reopen|show ID...", "change or show alerts", 2, MM_MAX_WORDS,
		"ack|resolve|reopen|show alert", 10, { "note", "svg", "png" }, mm_run_alert },
	{ "recheck", "[NAME...]", "test models for leaks and damage again (--all: every one)", 0, MM_MAX_WORDS, "model",
		10, { "all" }, mm_run_recheck },
	{ "watch", "", "follow what happens", 0, 0, "", 10, { "until-idle", "models", "events" }, mm_run_watch },
	{ "top", "", "live view of the whole: queue, rates, arrivals, alerts", 0, 0, "", 10, { "once" }, mm_run_top },
	{ "refit", "", "make a new epoch of the map", 0, 0, "", LONG, { 0 }, mm_run_refit },
	{ "backup", "FILE", "copy the store while the daemon runs", 1, 1, "file", LONG, { 0 }, mm_run_backup },
	{ "export", "", "vectors, names, coordinates and figures as files", 0, 0, "", LONG,
		{ "vectors", "names", "coords", "csv", "tensorboard", "epoch", "method", "dim" }, mm_run_export },
	{ "import", "", "models with vectors of your own: a matrix, its names, its texts", 0, 0, "", LONG,
		{ "vectors", "names", "texts", "meta", "force" }, mm_run_import },
	{ "forget", "NAME...", "take imported models, or those whose files are gone, off the map", 1, MM_MAX_WORDS,
		"model", 10, { 0 }, mm_run_forget },
	{ "texts", "build PATH... | check FILE | select", "make, check or reduce a text set", 1, MM_MAX_WORDS,
		"build|check|select file", LONG, { "domain", "output", "seed", "sample", "bytes", "by" },
		mm_run_texts },
	{ "place", "FILE.npy", "where a model belongs that was scored on a reduced text set", 1, 1, "file", LONG,
		{ "texts" }, mm_run_place },
	{ "keygen", "FILE", "make a key pair for tcp: secret to FILE, public printed", 1, 1, "file", 10, { "force" },
		mm_run_keygen },
	{ "call", "CMD [KEY=VALUE...]", "send any command of the protocol, print the JSON answer", 1, 16, "", 10, { 0 },
		mm_run_call },
};
const size_t mm_n_cli_cmds = MM_COUNT(mm_cli_cmds);

const struct mm_cli_cmd *mm_cli_cmd_find(const char *name)
{
	for (size_t i = 0; i < mm_n_cli_cmds; i++)
		if (!strcmp(mm_cli_cmds[i].name, name))
			return &mm_cli_cmds[i];
	return NULL;
}

const struct mm_opt *mm_cli_opt_find(const char *name)
{
	for (size_t i = 0; i < mm_n_cli_opts; i++)
		if (!strcmp(mm_cli_opts[i].name, name))
			return &mm_cli_opts[i];
	return NULL;
}

bool mm_cli_opt_applies(const struct mm_cli_cmd *cmd, const struct mm_opt *o)
{
	for (const char *const *g = mm_cli_global; *g; g++)
		if (!strcmp(*g, o->name))
			return true;
	for (size_t i = 0; cmd && cmd->opt[i]; i++)
		if (!strcmp(cmd->opt[i], o->name))
			return true;
	return false;
}
