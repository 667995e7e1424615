/* alerts_priv.h - inner doors of the alerts: alerts.c (their life), alert_rules.c (their causes), alert_hook.c (the
 * command). */
#ifndef MM_ALERTS_PRIV_H
#define MM_ALERTS_PRIV_H

#include "daemon/daemon.h"

#include <systemd/sd-id128.h>

enum mm_verdict {
	MM_RULE_UNKNOWN, /* this moment says nothing (the model is on its way): what stands, stands */
	MM_RULE_NO,	 /* the cause is not there: an open alert resolves itself */
	MM_RULE_YES
};

struct mm_finding {    /* strings are owned; mm_finding_fini */
	char *cause;   /* the same cause of the same model is one alert */
	char *message; /* one line for people */
	json_t *evidence;
	const char *severity; /* NULL: the rule's */
	const char *gone_why; /* with MM_RULE_NO: why an open alert is resolved; NULL: "the cause is gone" */
};
void mm_finding_fini(struct mm_finding *f);

struct mm_alert_rule {
	const char *kind;
	const char *severity; /* "critical", "warning", "info" */
	bool anomaly;	      /* while open, the model stays out of threshold, means and axes of the map */
	enum mm_verdict (*look)(
		struct mm_daemon *d, struct mm_model_entry *e, struct mm_finding *f, struct mm_err *err);
	sd_id128_t message_id; /* of the journal entry */
};
extern const struct mm_alert_rule mm_alert_rules[];
extern const size_t mm_n_alert_rules;
const struct mm_alert_rule *mm_alert_rule_find(const char *kind); /* NULL: unknown */

struct mm_hook; /* runs alerts.on_alert, never more than a few at once */
struct mm_hook *mm_hook_new(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_hook_free(struct mm_hook *h);		       /* kills what runs */
void mm_hook_run(struct mm_hook *h, const char *json); /* copied */

struct mm_alerts {
	struct mm_alert_rec **rec; /* [n] by id */
	size_t n, cap;
	struct mm_hook *hook;
};

json_t *mm_alert_json(const struct mm_daemon *d, const struct mm_alert_rec *a);
struct mm_alert_rec *mm_alert_by_id(const struct mm_daemon *d, uint64_t id); /* NULL: none */
/* Changes the state, stores, tells everybody. note may be NULL: kept. by: "daemon" or "user". */
int mm_alert_set(struct mm_daemon *d, struct mm_alert_rec *a, enum mm_alert_state state, const char *note,
	const char *by, struct mm_err *err) MM_MUST_CHECK;
size_t mm_alerts_n_open(const struct mm_daemon *d);

#endif
