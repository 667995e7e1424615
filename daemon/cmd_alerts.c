/* cmd_alerts.c: `alerts` lists, `alert` changes one, `recheck` tests again. */
#include "daemon/alerts_priv.h"
#include "daemon/map_priv.h"
#include "stat/stat_anomaly.h"

#include <string.h>

/* {"kinds":[{kind, severity, means, population, silent}], "rules":[{kind, name, value, unit, why, ...}]} */
static json_t *rules_json(const struct mm_daemon *d)
{
	json_t *kinds = json_array(), *rules = json_array(), *o;
	const char *silent = mm_check_silent(d);
	for (size_t i = 0; kinds && i < MM_AK_COUNT; i++) {
		const struct mm_alert_rule *r = &mm_alert_rules[i];
		char id[SD_ID128_STRING_MAX];
		sd_id128_to_string(mm_alert_message_id((enum mm_alert_kind)i), id);
		o = json_pack("{s:s, s:s, s:s, s:b, s:b, s:s}", "kind", r->kind, "severity", r->severity, "means",
			r->what, "anomaly", r->anomaly, "population", r->population, "message_id", id);
		if (o && r->population && silent)
			json_object_set_new(o, "silent", json_string(silent));
		json_array_append_new(kinds, o);
	}
	for (size_t i = 0; rules && i < MM_RULE_COUNT; i++) {
		const struct mm_rule *r = &mm_rules[i];
		o = json_pack("{s:s, s:s, s:f, s:s, s:I, s:s}", "kind", r->kind, "name", r->name, "value", r->value,
			"unit", r->unit, "min_sample", (json_int_t)r->min_sample, "why", r->why);
		if (o && r->at > 0) {
			json_object_set_new(o, "quantile", json_real(r->at));
			json_object_set_new(o, "factor", json_real(r->factor));
		}
		json_array_append_new(rules, o);
	}
	return json_pack("{s:o, s:o}", "kinds", kinds, "rules", rules);
}

int mm_cmd_alerts(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	bool all = false, rules = false;
	const char *kind = NULL;
	int64_t since = 0;
	if (mm_json_get_bool(args, "all", &all, err) || mm_json_get_bool(args, "rules", &rules, err) ||
		mm_json_get_str(args, "kind", &kind, err) || mm_json_get_i64(args, "since", 0, INT64_MAX, &since, err))
		return -1;
	if (kind && !mm_alert_rule_find(kind))
		return mm_fail(err, MM_EINVAL, "there is no kind of alert called %s", kind);
	if (rules) {
		reply->body = rules_json(d);
		return reply->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
	}
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
	const char *action = NULL, *note = NULL, *daemon = MM_ALERT_BY_DAEMON;
	int64_t id = 0;
	if (mm_json_get_str(args, "action", &action, err) || mm_json_get_str(args, "note", &note, err) ||
		mm_json_get_i64(args, "alert", 1, INT64_MAX, &id, err))
		return -1;
	struct mm_alert_rec *a = mm_alert_by_id(d, (uint64_t)id);
	if (!a)
		return mm_fail(err, MM_ENOENT, "there is no alert %lld", (long long)id);
	/* A note of the daemon's must not look like a user's decision, nor the reverse. */
	if (note && strncmp(note, daemon, strlen(daemon)) == 0)
		return mm_fail(err, MM_EINVAL, "a note cannot begin with %s", daemon);
	bool known = action && strcmp(action, "show") == 0, its = a->note && !strncmp(a->note, daemon, strlen(daemon));
	for (size_t i = 0; action && i < MM_COUNT(actions); i++) {
		if (strcmp(action, actions[i].action) != 0)
			continue;
		known = true;
		if (a->state == actions[i].state && !note)
			return mm_fail(err, MM_ECONFLICT, "alert %lld is %s already", (long long)id, actions[i].past);
		if (mm_alert_set(d, a, actions[i].state, note ? note : its ? "" : NULL, "user", err))
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
	if (reply->body && mm_check_silent(d))
		json_object_set_new(reply->body, "silent", json_string(mm_check_silent(d)));
	return reply->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}
