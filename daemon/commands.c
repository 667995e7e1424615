/* commands.c - which function answers which command. Every row of the wire's table has one here, except `chunk`, which
 * ctl.c answers itself because it needs to know who asks; a test compares the two tables. */
#include "daemon/daemon.h"

#include <string.h>

static int cmd_commands(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	(void)d, (void)args;
	reply->body = mm_cmds_json(err);
	return reply->body ? 0 : -1;
}

static const struct {
	const char *name;
	mm_cmd_fn fn;
} handlers[] = {
	{ "status", mm_cmd_status },
	{ "models", mm_cmd_models },
	{ "show", mm_cmd_show },
	{ "near", mm_cmd_near },
	{ "dist", mm_cmd_dist },
	{ "map", mm_cmd_map },
	{ "epochs", mm_cmd_epochs },
	{ "tree", mm_cmd_tree },
	{ "cluster", mm_cmd_cluster },
	{ "trajectory", mm_cmd_trajectory },
	{ "scores", mm_cmd_scores },
	{ "predict", mm_cmd_predict },
	{ "metrics_compare", mm_cmd_metrics_compare },
	{ "fisher", mm_cmd_fisher },
	{ "merge_check", mm_cmd_merge_check },
	{ "texts_select", mm_cmd_texts_select },
	{ "place", mm_cmd_place },
	{ "queue", mm_cmd_queue },
	{ "alerts", mm_cmd_alerts },
	{ "export", mm_cmd_export },
	{ "events_since", mm_cmd_events_since },
	{ "commands", cmd_commands },
	{ "alert", mm_cmd_alert },
	{ "recheck", mm_cmd_recheck },
	{ "retry", mm_cmd_retry },
	{ "cancel", mm_cmd_cancel },
	{ "rescore", mm_cmd_rescore },
	{ "refit", mm_cmd_refit },
	{ "scores_import", mm_cmd_scores_import },
	{ "scores_drop", mm_cmd_scores_drop },
	{ "import", mm_cmd_import },
	{ "forget", mm_cmd_forget },
	{ "backup", mm_cmd_backup },
};

mm_cmd_fn mm_command_handler(const char *name)
{
	for (size_t i = 0; i < MM_COUNT(handlers); i++)
		if (!strcmp(handlers[i].name, name))
			return handlers[i].fn;
	return NULL;
}

size_t mm_command_count(void)
{
	return MM_COUNT(handlers);
}
