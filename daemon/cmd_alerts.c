/* cmd_alerts.c: `alerts` lists, `alert` changes one, `recheck` tests again. */
#include "daemon/alerts_priv.h"
#include "daemon/map_priv.h"

#include <string.h>

int mm_cmd_alerts(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	bool all = false;
	const char *kind = NULL;
	int64_t since = 0;
	if (mm_json_get_bool(args, "all", &all, err) || mm_json_get_str(args, "kind", &kind, err) ||
		mm_json_get_i64(args, "since", 0, INT64_MAX, &since, err))
		return -1;
	if (kind && !mm_alert_rule_find(kind))
		return mm_fail(err, MM_EINVAL, "there is no kind of alert called %s", kind);
	json_t *list = json_array();
	for (size_t i = 0; list && i < d->alerts->n; i++) {
		const struct mm_alert_rec *a = d->alerts->rec[i];
		if ((all || a->state != MM_ALERT_RESOLVED) && (!kind || strcmp(kind, a->kind) == 0) &&
			a->changed_at >= since)
			json_array_append_new(list, mm_alert_json(d, a));
	}
	reply->body = list ? json_pack("{s:o}", "alerts", list) : NULL;
	return reply->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}

int mm_cmd_alert(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	static const struct {
		const char *action;
		enum mm_alert_state state;
		const char *past;
	} actions[] = {
		{ "ack", MM_ALERT_ACKED, "acknowledged" },
		{ "resolve", MM_ALERT_RESOLVED, "resolved" },
		{ "reopen", MM_ALERT_OPEN, "open" },
	};
	const char *action = NULL, *note = NULL;
	int64_t id = 0;
	if (mm_json_get_str(args, "action", &action, err) || mm_json_get_str(args, "note", &note, err) ||
		mm_json_get_i64(args, "alert", 1, INT64_MAX, &id, err))
		return -1;
	struct mm_alert_rec *a = mm_alert_by_id(d, (uint64_t)id);
	if (!a)
		return mm_fail(err, MM_ENOENT, "there is no alert %lld", (long long)id);
	bool known = action && strcmp(action, "show") == 0;
	for (size_t i = 0; action && i < MM_COUNT(actions); i++) {
		if (strcmp(action, actions[i].action) != 0)
			continue;
		known = true;
		if (a->state == actions[i].state && !note)
			return mm_fail(err, MM_ECONFLICT, "alert %lld is %s already", (long long)id, actions[i].past);
		/* A note of the daemon's must not look like a user's decision, nor the reverse. */
		if (mm_alert_set(d, a, actions[i].state, note ? note : a->note ? "" : NULL, "user", err))
			return -1;
	}
	if (!known)
		return mm_fail(err, MM_EINVAL, "alert: the action is ack, resolve, reopen or show");
	json_t *o = mm_alert_json(d, a);
	reply->body = o ? json_pack("{s:o}", "alert", o) : NULL;
	return reply->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}

int mm_cmd_recheck(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	bool all = false;
	const char *name = NULL, *why;
	const struct mm_model_entry *e = NULL;
	if (mm_json_get_bool(args, "all", &all, err) || mm_json_get_str(args, "name", &name, err))
		return -1;
	if (all == (name != NULL))
		return mm_fail(err, MM_EINVAL, "recheck: a model's name, or all");
	if (name && !(e = mm_reg_resolve(d, name, err)))
		return -1;
	if (e && !mm_map_member(d, e))
		return mm_fail(err, MM_ECONFLICT, "%s has no vector to be tested", e->rec.name);
	if (!mm_check_now(d, e ? e->rec.id : 0, &why))
		return mm_fail(err, MM_ECONFLICT, "%s", why);
	reply->body = e ? json_pack("{s:s}", "name", e->rec.name) : json_pack("{s:b}", "all", 1);
	return reply->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}
