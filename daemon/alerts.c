/* alerts.c: the life of an alert.
 *
 *	        raise                 ack               resolve (user, or the cause is gone)
 *	(none) ------> open --------------> acked ------------------> resolved
 *	                 '------------------------------------------>    |
 *	                 ^------------------- reopen --------------------'
 *
 * One alert for a (model, kind, cause). The same finding again changes nothing; other evidence is stored with it. When
 * the daemon itself had resolved it, because the cause was gone, and the cause is back, it opens again; what a user
 * resolved stays resolved unless the evidence is another one since. Every change is one transaction, one event, one
 *journal entry; the command of the configuration runs when an alert opens. */
#include "daemon/alerts_priv.h"
#include "daemon/map_priv.h"

#include <stdlib.h>
#include <string.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

struct mm_alert_rec *mm_alert_by_id(const struct mm_daemon *d, uint64_t id)
{
	for (size_t i = 0; d->alerts && i < d->alerts->n; i++)
		if (d->alerts->rec[i]->id == id)
			return d->alerts->rec[i];
	return NULL;
}

size_t mm_alerts_n_open(const struct mm_daemon *d)
{
	size_t n = 0;
	for (size_t i = 0; d->alerts && i < d->alerts->n; i++)
		n += d->alerts->rec[i]->state == MM_ALERT_OPEN;
	return n;
}

bool mm_alerts_anomaly_open(const struct mm_daemon *d, uint64_t model)
{
	for (size_t i = 0; d->alerts && i < d->alerts->n; i++) {
		const struct mm_alert_rec *a = d->alerts->rec[i];
		if (a->model != model ||
			a->state == MM_ALERT_RESOLVED) /* nearly all: asked for every model at a refit */
			continue;
		const struct mm_alert_rule *r = mm_alert_rule_find(a->kind);
		if (r && r->anomaly)
			return true;
	}
	return false;
}

json_t *mm_alert_json(const struct mm_daemon *d, const struct mm_alert_rec *a)
{
	struct mm_err ignored;
	const struct mm_model_entry *e = mm_reg_by_id(d, a->model);
	json_t *ev = a->evidence ? mm_json_parse(a->evidence, strlen(a->evidence), "evidence", &ignored) : NULL;
	json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I}", "id", (json_int_t)a->id, "kind", a->kind,
		"model", e ? e->rec.name : "", "state", mm_alert_state_name(a->state), "severity", a->severity,
		"message", a->message, "evidence", ev ? ev : json_object(), "raised_at", (json_int_t)a->raised_at,
		"changed_at", (json_int_t)a->changed_at);
	if (o && a->note)
		json_object_set_new(o, "note", json_string(a->note));
	return o;
}

/* ---- telling ---- */

static void to_journal(const struct mm_daemon *d, const struct mm_alert_rec *a, const char *what)
{
	const struct mm_alert_rule *r = mm_alert_rule_find(a->kind);
	const struct mm_model_entry *e = mm_reg_by_id(d, a->model);
	char id[SD_ID128_STRING_MAX] = "";
	int prio = a->state != MM_ALERT_OPEN		  ? MM_LOG_INFO
		   : strcmp(a->severity, "critical") == 0 ? MM_LOG_ERROR
		   : strcmp(a->severity, "warning") == 0  ? MM_LOG_WARN
							  : MM_LOG_NOTICE;
	if (r)
		sd_id128_to_string(mm_alert_message_id((enum mm_alert_kind)(r - mm_alert_rules)), id);
	int sent = sd_journal_send("MESSAGE=alert %llu %s: %s: %s", (unsigned long long)a->id, what, a->kind,
		a->message, "PRIORITY=%d", prio, "MESSAGE_ID=%s", id, "SYSLOG_IDENTIFIER=modelmapd",
		"MODELMAP_ALERT_ID=%llu", (unsigned long long)a->id, "MODELMAP_ALERT_KIND=%s", a->kind,
		"MODELMAP_ALERT_STATE=%s", mm_alert_state_name(a->state), "MODELMAP_ALERT_SEVERITY=%s", a->severity,
		"MODELMAP_MODEL=%s", e ? e->rec.name : "", "MODELMAP_EVIDENCE=%s", a->evidence ? a->evidence : "{}",
		NULL);
	/* Under systemd the journal has it; in a terminal, or without a journal, our own log must say it. */
	if (sent < 0 || !getenv("JOURNAL_STREAM"))
		mm_log(prio, "alert %llu %s: %s: %s", (unsigned long long)a->id, what, a->kind, a->message);
}

static void tell(struct mm_daemon *d, const struct mm_alert_rec *a, const char *what)
{
	struct mm_err err;
	json_t *o = mm_alert_json(d, a);
	char *text = NULL;
	const struct mm_model_entry *e = mm_reg_by_id(d, a->model);
	bool open = a->state == MM_ALERT_OPEN;
	bool later = open && mm_digest_take(d, a, e ? e->rec.name : "");
	if (!later)
		to_journal(d, a, what);
	if (o) {
		json_object_set_new(o, "what", json_string(what));
		if (open && !later)
			text = mm_json_dump(o, &err);
	}
	if (text)
		mm_hook_run(d->alerts->hook, text);
	mm_free(text);
	mm_event(d, "alert", o);
	mm_service_status(d);
}

/* ---- storing ---- */

static int put(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	return mm_alert_put(t, ctx, err);
}

static int replace(char **field, const char *with, struct mm_err *err)
{
	char *s = with ? mm_strdup(with, err) : NULL;
	if (with && !s)
		return -1;
	mm_free(*field);
	*field = s;
	return 0;
}

int mm_alert_set(struct mm_daemon *d, struct mm_alert_rec *a, enum mm_alert_state state, const char *note,
	const char *by, struct mm_err *err)
{
	static const char *const what[] = {
		[MM_ALERT_OPEN] = "reopened", [MM_ALERT_ACKED] = "acked", [MM_ALERT_RESOLVED] = "resolved"
	};
	char *full = NULL;
	struct mm_alert_rec was = *a;
	if (note && strcmp(by, "daemon") == 0 && !(full = mm_asprintf(err, MM_ALERT_BY_DAEMON "%s", note)))
		return -1;
	if (note && replace(&a->note, full ? full : note, err)) {
		mm_free(full);
		return -1;
	}
	mm_free(full);
	a->state = state;
	a->changed_at = mm_now();
	if (mm_store_write(d->store, put, a, err)) {
		a->state = was.state;
		a->changed_at = was.changed_at;
		return -1;
	}
	tell(d, a, what[state]);
	return 0;
}

static struct mm_alert_rec *alert_new(struct mm_daemon *d, const struct mm_alert_rule *rule,
	const struct mm_model_entry *e, const struct mm_finding *f, struct mm_err *err)
{
	struct mm_alerts *al = d->alerts;
	struct mm_alert_rec *a = mm_calloc(1, sizeof(*a), err);
	if (!a || mm_grow(&al->rec, &al->cap, al->n + 1, sizeof(struct mm_alert_rec *), err)) {
		mm_free(a);
		return NULL;
	}
	a->model = e->rec.id;
	a->state = MM_ALERT_OPEN;
	a->raised_at = a->changed_at = mm_now();
	a->kind = mm_strdup(rule->kind, err);
	a->severity = mm_strdup(f->severity ? f->severity : rule->severity, err);
	a->message = mm_strdup(f->message, err);
	a->cause = mm_strdup(f->cause, err);
	a->evidence = mm_json_dump(f->evidence, err);
	if (!a->kind || !a->severity || !a->message || !a->cause || !a->evidence ||
		mm_store_write(d->store, put, a, err)) {
		mm_alert_rec_fini(a);
		mm_free(a);
		return NULL;
	}
	al->rec[al->n++] = a;
	return a;
}

/* ---- findings ---- */

static struct mm_alert_rec *find(const struct mm_daemon *d, uint64_t model, const char *kind, const char *cause)
{
	for (size_t i = 0; i < d->alerts->n; i++) {
		struct mm_alert_rec *a = d->alerts->rec[i];
		if (a->model == model && strcmp(a->kind, kind) == 0 && strcmp(a->cause, cause) == 0)
			return a;
	}
	return NULL;
}

/* A test that was not there before and speaks for itself: new scores, texts known to be unseen, another scorer. */
static bool new_test(const json_t *old, const json_t *new)
{
	const json_t *x, *y;
	size_t i, j;
	json_array_foreach (new, i, x) {
		bool there = json_number_value(json_object_get(x, "p")) > 0.01;
		json_array_foreach (old, j, y)
			there = there || json_equal(json_object_get(x, "name"), json_object_get(y, "name"));
		if (!there)
			return true;
	}
	return false;
}

/* What a user resolved opens again only for evidence that is not the one they saw: other files, somebody else as the
 * original or reference, half as much again of what was measured, or another test. Numbers that merely move with the
 * map's growth are no news. */
static bool other_evidence(const struct mm_alert_rec *a, const struct mm_finding *f)
{
	static const char *const who[] = { "fingerprint", "original", "against", "claimed_model" };
	static const char *const grown[] = { "gain_nats_per_byte", "lost_bits_per_byte", "kl_bits_per_byte" };
	struct mm_err ignored;
	json_t *old = a->evidence ? mm_json_parse(a->evidence, strlen(a->evidence), "evidence", &ignored) : NULL;
	bool other = false;
	for (size_t i = 0; old && i < MM_COUNT(who); i++) {
		const json_t *x = json_object_get(old, who[i]), *y = json_object_get(f->evidence, who[i]);
		other = other || (x && y && !json_equal(x, y));
	}
	for (size_t i = 0; old && i < MM_COUNT(grown); i++) {
		const json_t *x = json_object_get(old, grown[i]), *y = json_object_get(f->evidence, grown[i]);
		other = other || (x && y && json_number_value(y) > 1.5 * json_number_value(x));
	}
	size_t n = json_array_size(json_object_get(old, "suspect_texts"));
	other = other || (n && 2 * json_array_size(json_object_get(f->evidence, "suspect_texts")) > 3 * n);
	other = other || (old && json_object_get(old, "tests") &&
				 new_test(json_object_get(old, "tests"), json_object_get(f->evidence, "tests")));
	json_decref(old);
	return other;
}

static int renew(struct mm_daemon *d, struct mm_alert_rec *a, const struct mm_finding *f, struct mm_err *err)
{
	bool by_daemon = a->note && strncmp(a->note, MM_ALERT_BY_DAEMON, strlen(MM_ALERT_BY_DAEMON)) == 0;
	bool news = other_evidence(a, f), reopen = a->state == MM_ALERT_RESOLVED && (by_daemon || news);
	char *ev = mm_json_dump(f->evidence, err);
	if (!ev)
		return -1;
	bool changed = !a->evidence || strcmp(ev, a->evidence) != 0 || strcmp(a->message, f->message) != 0;
	if ((a->state == MM_ALERT_RESOLVED && !reopen) || (!changed && !reopen)) {
		mm_free(ev);
		return 0;
	}
	mm_free(a->evidence);
	a->evidence = ev;
	if (replace(&a->message, f->message, err))
		return -1;
	if (reopen)
		return mm_alert_set(d, a, MM_ALERT_OPEN, by_daemon ? "the cause is back" : "there is other evidence",
			"daemon", err);
	/* Same cause, newer numbers: kept for whoever looks, told to nobody. */
	return mm_store_write(d->store, put, a, err);
}

/* Open alerts of this model and kind whose cause is not `cause` (NULL: any) resolve themselves. */
static int settle(
	struct mm_daemon *d, uint64_t model, const char *kind, const char *cause, const char *why, struct mm_err *err)
{
	for (size_t i = 0; i < d->alerts->n; i++) {
		struct mm_alert_rec *a = d->alerts->rec[i];
		if (a->model != model || a->state == MM_ALERT_RESOLVED || strcmp(a->kind, kind) != 0 ||
			(cause && strcmp(a->cause, cause) == 0))
			continue;
		if (mm_alert_set(d, a, MM_ALERT_RESOLVED, why, "daemon", err))
			return -1;
	}
	return 0;
}

static int apply(struct mm_daemon *d, const struct mm_alert_rule *rule, struct mm_model_entry *e, struct mm_err *err)
{
	struct mm_finding f = { 0 };
	struct mm_err why = { 0 };
	int rc = 0;
	switch (rule->look(d, e, (enum mm_alert_kind)(rule - mm_alert_rules), &f, &why)) {
	case MM_RULE_UNKNOWN:
		if (why.text[0]) {
			*err = why;
			rc = -1;
		}
		break;
	case MM_RULE_NO:
		rc = settle(d, e->rec.id, rule->kind, NULL, f.gone_why ? f.gone_why : "the cause is gone", err);
		break;
	case MM_RULE_YES: {
		struct mm_alert_rec *a = find(d, e->rec.id, rule->kind, f.cause);
		rc = settle(d, e->rec.id, rule->kind, f.cause, "the cause is another one now", err);
		if (rc == 0 && a)
			rc = renew(d, a, &f, err);
		else if (rc == 0 && (a = alert_new(d, rule, e, &f, err)))
			tell(d, a, "opened");
		else
			rc = -1;
		break;
	}
	}
	mm_finding_fini(&f);
	return rc;
}

void mm_alerts_model(struct mm_daemon *d, struct mm_model_entry *e)
{
	struct mm_err err;
	if (!d->alerts || d->stopping)
		return;
	for (size_t i = 0; i < MM_AK_COUNT; i++)
		if (apply(d, &mm_alert_rules[i], e, &err))
			mm_log(MM_LOG_ERROR, "alert %s of %s: %s", mm_alert_rules[i].kind, e->rec.name, err.text);
	mm_check_kick(d);
}

/* ---- start, stop ---- */

static int load_one(const struct mm_alert_rec *r, void *ctx, struct mm_err *err)
{
	struct mm_alerts *al = ctx;
	struct mm_alert_rec *a = mm_calloc(1, sizeof(*a), err);
	if (!a || mm_grow(&al->rec, &al->cap, al->n + 1, sizeof(struct mm_alert_rec *), err)) {
		mm_free(a);
		return -1;
	}
	*a = (struct mm_alert_rec){ .id = r->id,
		.model = r->model,
		.state = r->state,
		.raised_at = r->raised_at,
		.changed_at = r->changed_at };
	al->rec[al->n++] = a;
	if (replace(&a->kind, r->kind ? r->kind : "", err) ||
		replace(&a->severity, r->severity ? r->severity : "", err) ||
		replace(&a->message, r->message ? r->message : "", err) || replace(&a->evidence, r->evidence, err) ||
		replace(&a->note, r->note, err) || replace(&a->cause, r->cause ? r->cause : "", err))
		return -1;
	return 0;
}

int mm_alerts_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_alerts *al = d->alerts = mm_calloc(1, sizeof(*al), err);
	if (!al)
		return -1;
	struct mm_txn *t = mm_txn_begin(d->store, false, err);
	int rc = t ? mm_alert_each(t, load_one, al, err) : -1;
	mm_txn_abort(t);
	if (rc == 0)
		al->hook = mm_hook_new(d, err);
	if (rc || !al->hook || mm_check_start(d, err))
		return -1;
	if (d->map && mm_map_refit_due(d)) /* it waited for us to know who stays out */
		mm_map_refit(d, 0);
	return 0;
}

void mm_alerts_stop(struct mm_daemon *d)
{
	struct mm_alerts *al = d->alerts;
	if (!al)
		return;
	mm_check_stop(d);
	mm_digest_stop(d);
	mm_hook_free(al->hook);
	for (size_t i = 0; i < al->n; i++) {
		mm_alert_rec_fini(al->rec[i]);
		mm_free(al->rec[i]);
	}
	mm_free(al->rec);
	mm_free(al);
	d->alerts = NULL;
}
