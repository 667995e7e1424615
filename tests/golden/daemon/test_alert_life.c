/* Alerts that come by the hundred, and alerts whose evidence changes: what is told, what stays resolved. */
#include "fake_reg.h"

#include <signal.h>

static struct mm_model_entry *failed(struct mm_daemon *d, const struct zoo *z, size_t i, const char *reason)
{
	struct mm_err err;
	char name[32];
	snprintf(name, sizeof(name), "m%03zu", i);
	struct mm_model_entry *e = model_add(name, z->m.row[0], z->m.n);
	mm_free(e->loglik);
	e->loglik = NULL;
	e->rec.state = MM_ST_FAILED;
	e->rec.reason_code = mm_strdup("shape", &err);
	e->rec.reason = mm_strdup(reason, &err);
	mm_alerts_model(d, e);
	return e;
}

static size_t n_events(const char *type, const char *what)
{
	size_t i, n = 0;
	json_t *o;
	json_array_foreach (events, i, o)
		n += strcmp(json_string_value(json_object_get(o, "type")), type) == 0 &&
		     strcmp(json_string_value(json_object_get(o, "what")), what) == 0;
	return n;
}

static size_t lines(const char *path)
{
	size_t n = 0;
	FILE *f = fopen(path, "r");
	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

/* A hundred at once: subscribers see each, the command a few and one digest that names and counts the others. */
static void test_digest(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	char cmd[256], path[128];
	sigset_t chld;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	snprintf(path, sizeof(path), "%s/seen", dir);
	snprintf(cmd, sizeof(cmd), "{ cat; echo; } >> %s", path);
	d.cfg.alerts.on_alert = cmd;
	rooms_start(&d);
	for (size_t i = 0; i < 100; i++)
		failed(&d, &z, i, "tensor x is missing");
	assert_int_equal(d.alerts->n, 100);
	assert_int_equal(n_events("alert", "opened"), 100);
	assert_int_equal(n_events("status", "digest"), 0);
	mm_digest_flush(&d);
	assert_int_equal(n_events("status", "digest"), 1);
	json_t *o = json_array_get(events, json_array_size(events) - 1);
	size_t held = (size_t)json_integer_value(json_object_get(o, "n"));
	assert_true(held >= 80 && held < 100);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "kinds"), "failed")), held);
	assert_int_equal(json_array_size(json_object_get(o, "alerts")), held);
	assert_true(json_array_size(json_object_get(o, "models")) <= 20);
	assert_non_null(strstr(json_string_value(json_object_get(o, "message")), "more alerts:"));
	mm_digest_flush(&d); /* nothing waits any more */
	assert_int_equal(n_events("status", "digest"), 1);
	while (lines(path) < 100 - held + 1)
		assert_true(sd_event_run(d.loop, 20000000) > 0);
	assert_int_equal(lines(path), 100 - held + 1);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

static const char *state_of(struct mm_daemon *d)
{
	return mm_alert_state_name(d->alerts->rec[0]->state);
}

static void put_odd(struct mm_daemon *d, const struct mm_model_entry *e, double lost, const char *original)
{
	struct mm_err err;
	struct mm_check_odd *o = d->alerts->check->n_odd ? d->alerts->check->odd[0] : mm_calloc(1, sizeof(*o), &err);
	struct mm_finding *f = &o->odd[MM_AK_DAMAGED - MM_ODD_FIRST];
	if (!d->alerts->check->n_odd) {
		MUST(mm_grow(
			&d->alerts->check->odd, &d->alerts->check->cap_odd, 1, sizeof(struct mm_check_odd *), &err));
		d->alerts->check->odd[d->alerts->check->n_odd++] = o;
	}
	mm_finding_fini(f);
	o->model = e->rec.id;
	o->full = e->rec.full;
	o->asked[MM_AK_DAMAGED - MM_ODD_FIRST] = true;
	if (lost <= 0)
		return;
	f->cause = mm_strdup("damaged", &err);
	f->message = mm_asprintf(&err, "%s is %s but worse", e->rec.name, original);
	f->evidence = json_pack("{s:s, s:f}", "original", original, "lost_bits_per_byte", lost);
}

/* What users write stays until they write something else; nobody can pretend to be the daemon, whose word a user's
 * decision replaces. */
static void test_notes(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	static const struct {
		const char *action, *note, *code, *state, *kept;
	} steps[] = {
		{ "ack", "looking at it", NULL, "acked", "looking at it" },
		{ "ack", NULL, "conflict", "acked", "looking at it" },
		{ "resolve", NULL, NULL, "resolved", "looking at it" },
		{ "reopen", NULL, NULL, "open", "looking at it" },
		{ "resolve", "[daemon] gone", "invalid", "open", "looking at it" },
		{ "resolve", "meant so", NULL, "resolved", "meant so" },
		{ "reopen", "not quite", NULL, "open", "not quite" },
	};
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	rooms_start(&d);
	struct mm_model_entry *e = failed(&d, &z, 0, "tensor x is missing");
	for (size_t i = 0; i < MM_COUNT(steps); i++) {
		json_t *args =
			json_pack("{s:s, s:I}", "action", steps[i].action, "alert", (json_int_t)d.alerts->rec[0]->id);
		if (steps[i].note)
			json_object_set_new(args, "note", json_string(steps[i].note));
		json_t *r = ask(&d, mm_cmd_alert, args, NULL);
		const char *code = json_string_value(json_object_get(r, "code"));
		if (steps[i].code ? !code || strcmp(code, steps[i].code) != 0 : code != NULL)
			fail_msg("step %zu: %s", i, code ? code : "no error");
		json_decref(r);
		assert_string_equal(state_of(&d), steps[i].state);
		assert_string_equal(d.alerts->rec[0]->note, steps[i].kept);
	}
	e->rec.state = MM_ST_PLACED; /* the daemon resolves, a user opens: its note goes */
	mm_alerts_model(&d, e);
	assert_string_equal(state_of(&d), "resolved");
	assert_int_equal(strncmp(d.alerts->rec[0]->note, MM_ALERT_BY_DAEMON, strlen(MM_ALERT_BY_DAEMON)), 0);
	json_decref(ask(&d, mm_cmd_alert,
		json_pack("{s:s, s:I}", "action", "reopen", "alert", (json_int_t)d.alerts->rec[0]->id), NULL));
	assert_string_equal(state_of(&d), "open");
	assert_string_equal(d.alerts->rec[0]->note, "");
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

/* Open, resolved by a user: the same evidence keeps it so, other evidence opens it again; gone and back opens it, too.
 */
static void test_evidence(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_err err;
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	rooms_start(&d);
	struct mm_model_entry *e = model_add("x", z.m.row[0], z.m.n);
	put_odd(&d, e, 0.2, "a");
	mm_alerts_model(&d, e);
	mm_alerts_model(&d, e);
	assert_int_equal(d.alerts->n, 1);
	assert_string_equal(d.alerts->rec[0]->severity, "critical");
	MUST(mm_alert_set(&d, d.alerts->rec[0], MM_ALERT_RESOLVED, "on purpose", "user", &err));
	put_odd(&d, e, 0.22, "a"); /* the map grew, the numbers moved */
	mm_alerts_model(&d, e);
	assert_string_equal(state_of(&d), "resolved");
	assert_string_equal(d.alerts->rec[0]->note, "on purpose");
	put_odd(&d, e, 0.5, "a"); /* much worse than what was looked at */
	mm_alerts_model(&d, e);
	assert_string_equal(state_of(&d), "open");
	MUST(mm_alert_set(&d, d.alerts->rec[0], MM_ALERT_RESOLVED, "still on purpose", "user", &err));
	mm_alerts_model(&d, e);
	assert_string_equal(state_of(&d), "resolved");
	put_odd(&d, e, 0.5, "b"); /* another original was found */
	mm_alerts_model(&d, e);
	assert_string_equal(state_of(&d), "open");
	put_odd(&d, e, 0, NULL);
	mm_alerts_model(&d, e);
	assert_string_equal(state_of(&d), "resolved");
	put_odd(&d, e, 0.5, "b");
	mm_alerts_model(&d, e);
	assert_string_equal(state_of(&d), "open");
	assert_int_equal(d.alerts->n, 1);
	/* since when, of which kind, and what alerts there are at all */
	json_t *r = ask(&d, mm_cmd_alerts, json_pack("{s:I}", "since", (json_int_t)(mm_now() + 100)), NULL);
	assert_int_equal(json_array_size(json_object_get(r, "alerts")), 0);
	json_decref(r);
	r = ask(&d, mm_cmd_alerts, json_pack("{s:s}", "kind", "leak"), NULL);
	assert_int_equal(json_array_size(json_object_get(r, "alerts")), 0);
	json_decref(r);
	r = ask(&d, mm_cmd_alerts, json_pack("{s:b}", "rules", 1), NULL);
	assert_int_equal(json_array_size(json_object_get(r, "kinds")), MM_AK_COUNT);
	for (size_t i = 0; i < MM_AK_COUNT; i++) /* what `journalctl MESSAGE_ID=` is asked for: one each */
		for (size_t j = 0; j <= i; j++) {
			const char *a = json_string_value(json_object_get(
					   json_array_get(json_object_get(r, "kinds"), i), "message_id")),
				   *b = json_string_value(json_object_get(
					   json_array_get(json_object_get(r, "kinds"), j), "message_id"));
			assert_true(strlen(a) == 32 && (strcmp(a, b) == 0) == (i == j));
		}
	json_t *leak = json_array_get(json_object_get(r, "kinds"), MM_AK_LEAK);
	assert_string_equal(json_string_value(json_object_get(leak, "silent")), "not enough models yet");
	assert_true(json_array_size(json_object_get(r, "rules")) > 10);
	json_decref(r);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_digest), cmocka_unit_test(test_notes),
		cmocka_unit_test(test_evidence) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
