/* The daemon's alerts over the zoo's vectors: they come once and go when their cause goes. */
#include "map_kit.h"

static struct mm_model_entry *broken(struct mm_daemon *d, const char *name, enum mm_model_state state, const char *code,
	const char *reason, const char *file, uint64_t missing)
{
	struct mm_err err;
	float none[1] = { 0 };
	struct mm_model_entry *e = model_add(name, none, 1);
	mm_free(e->loglik);
	e->loglik = NULL;
	e->rec.state = state;
	e->rec.reason = mm_strdup(reason, &err);
	e->rec.reason_code = mm_strdup(code, &err);
	e->rec.reason_file = file ? mm_strdup(file, &err) : NULL;
	e->rec.missing_bytes = missing;
	e->rec.quick = mm_hash_of(name, strlen(name));
	mm_alerts_model(d, e);
	return e;
}

static json_t *only_alert(struct mm_daemon *d, const char *kind)
{
	json_t *r = ask(d, mm_cmd_alerts, json_pack("{s:s}", "kind", kind), NULL), *list = json_object_get(r, "alerts");
	assert_int_equal(json_array_size(list), 1);
	json_t *a = json_incref(json_array_get(list, 0));
	json_decref(r);
	return a;
}

static void test_life(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_err err;
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	rooms_start(&d);
	struct mm_model_entry *base = model_add("a", z.m.row[1], z.m.n), *copy = model_add("b", z.m.row[1], z.m.n);
	arrive(&d, base);
	mm_free(copy->loglik);
	copy->loglik = NULL;
	copy->rec.same_as = base->rec.id;
	for (int i = 0; i < 3; i++)
		arrive(&d, copy); /* any number of times: one alert */
	json_t *a = only_alert(&d, "duplicate");
	assert_string_equal(str(a, "message"), "b is byte for byte the same model as a");
	assert_string_equal(str(a, "state"), "open");
	json_decref(a);
	struct mm_model_entry *cut = broken(&d, "cut", MM_ST_NEVER_READY, "truncated", "model.safetensors is too short",
		"model.safetensors", 903120);
	a = only_alert(&d, "never_ready");
	assert_string_equal(
		str(a, "message"), "cut is still not complete: model.safetensors is too short (882K missing)");
	assert_int_equal(num(json_object_get(a, "evidence"), "missing_bytes"), 903120);
	json_decref(a);
	broken(&d, "hole", MM_ST_FAILED, "shape", "tensor x is missing", NULL, 0);
	a = only_alert(&d, "failed");
	assert_string_equal(str(a, "message"), "hole cannot be scored: tensor x is missing");
	json_int_t id = json_integer_value(json_object_get(a, "id"));
	json_decref(a);
	broken(&d, "nan", MM_ST_FAILED, "not_finite", "2 NaN in layer 2", NULL, 0);
	json_decref(only_alert(&d, "not_finite"));
	assert_int_equal(n_alerts(&d, NULL, MM_ALERT_OPEN), 4);
	/* acknowledge, with a note; twice is a conflict; unknown is not found */
	a = ask(&d, mm_cmd_alert, json_pack("{s:s, s:I, s:s}", "action", "ack", "alert", id, "note", "known"), NULL);
	assert_string_equal(str(json_object_get(a, "alert"), "state"), "acked");
	json_decref(a);
	a = ask(&d, mm_cmd_alert, json_pack("{s:s, s:I}", "action", "ack", "alert", id), NULL);
	assert_string_equal(str(a, "code"), "conflict");
	json_decref(a);
	a = ask(&d, mm_cmd_alert, json_pack("{s:s, s:i}", "action", "ack", "alert", 99), NULL);
	assert_string_equal(str(a, "code"), "not_found");
	json_decref(a);
	/* the same after a restart, and nothing new for the same findings */
	rooms_stop(&d);
	rooms_start(&d);
	for (size_t i = 0; i < n_reg; i++)
		mm_alerts_model(&d, reg[i]);
	assert_int_equal(d.alerts->n, 4);
	assert_int_equal(n_alerts(&d, "failed", MM_ALERT_ACKED), 1);
	/* the file arrives: never_ready settles itself; truncated again: the same alert opens again */
	cut->rec.state = MM_ST_WAITING;
	mm_alerts_model(&d, cut);
	assert_int_equal(n_alerts(&d, "never_ready", MM_ALERT_OPEN), 1); /* on its way: nothing known yet */
	cut->rec.state = MM_ST_QUEUED;
	mm_alerts_model(&d, cut);
	assert_int_equal(n_alerts(&d, "never_ready", MM_ALERT_RESOLVED), 1);
	cut->rec.state = MM_ST_NEVER_READY;
	mm_alerts_model(&d, cut);
	assert_int_equal(n_alerts(&d, "never_ready", MM_ALERT_OPEN), 1);
	assert_int_equal(d.alerts->n, 4);
	/* what a user resolved stays resolved until the files change */
	a = ask(&d, mm_cmd_alert,
		json_pack("{s:s, s:I, s:s}", "action", "resolve", "alert", id, "note", "will be deleted"), NULL);
	json_decref(a);
	mm_alerts_model(&d, reg[3]);
	assert_int_equal(n_alerts(&d, "failed", MM_ALERT_OPEN), 0);
	reg[3]->rec.quick = mm_hash_of("other", 5);
	mm_alerts_model(&d, reg[3]);
	assert_int_equal(n_alerts(&d, "failed", MM_ALERT_OPEN), 1);
	/* another cause: the old one settles, a new one opens */
	mm_free(reg[3]->rec.reason_code);
	reg[3]->rec.reason_code = mm_strdup("unsupported", &err);
	mm_alerts_model(&d, reg[3]);
	assert_int_equal(n_alerts(&d, "failed", MM_ALERT_OPEN), 1);
	assert_int_equal(n_alerts(&d, "failed", MM_ALERT_RESOLVED), 1);
	copy->rec.gone = true;
	mm_alerts_model(&d, copy);
	assert_int_equal(n_alerts(&d, "duplicate", MM_ALERT_RESOLVED), 1);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

/* Garbage raises `isolated` from eight models on; a relative that arrives later settles it; it never bends the map. */
static void test_isolated(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_rng rng;
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	d.cfg.map.refit_growth = 1;
	rooms_start(&d);
	float *bad = malloc(z.m.n * sizeof(float));
	size_t order[1000];
	assert_int_equal(z.m.n, MM_COUNT(order));
	shuffle(order, z.m.n, 4);
	for (size_t s = 0; s < z.m.n; s++)
		bad[s] = z.m.row[4][order[s]];
	for (size_t i = 0; i < 6; i++)
		arrive(&d, model_add(z.name[i], z.m.row[i], z.m.n));
	struct mm_model_entry *odd = model_add("odd", bad, z.m.n);
	arrive(&d, odd);
	assert_int_equal(d.alerts->n, 0); /* seven models: too few to say */
	for (size_t i = 6; i < 30; i++)
		arrive(&d, model_add(z.name[i], z.m.row[i], z.m.n));
	assert_int_equal(d.alerts->n, 1);
	json_t *a = only_alert(&d, "isolated");
	assert_string_equal(str(a, "model"), "odd");
	assert_true(num(json_object_get(a, "evidence"), "unexplained") > 0.5);
	json_decref(a);
	assert_true(mm_alerts_anomaly_open(&d, odd->rec.id));
	refit(&d);
	struct mm_place *p = mm_map_member(&d, odd);
	assert_false(p->in_fit);
	mm_rng_init(&rng, 5);
	for (size_t s = 0; s < z.m.n; s++)
		bad[s] += 20 * (float)mm_rng_normal(&rng);
	arrive(&d, model_add("odd-sibling", bad, z.m.n));
	assert_int_equal(n_alerts(&d, "isolated", MM_ALERT_OPEN), 0);
	assert_int_equal(n_alerts(&d, "isolated", MM_ALERT_RESOLVED), 1);
	free(bad);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

/* Same weights in another dtype: a note, no alert; interpolations get none. */
static void test_lineage_note(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_err err;
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	rooms_start(&d);
	for (size_t i = 0; i < z.m.k; i++) {
		struct mm_model_entry *e = model_add(z.name[i], z.m.row[i], z.m.n);
		json_t *t = json_object_get(z.truth, z.name[i]);
		e->rec.params = (uint64_t)json_integer_value(json_object_get(t, "params"));
		e->rec.dtype = mm_strdup(str(t, "dtype"), &err);
		e->rec.family = mm_strdup(str(t, "family"), &err);
		arrive(&d, e);
		if (strcmp(z.name[i], "mistral-a-fp32") == 0)
			assert_string_equal(e->rec.note, "same weights as mistral-a in float32");
		else if (strcmp(z.name[i], "neox-a-shakespeare") == 0) /* the copy's record does not say so here */
			assert_string_equal(e->rec.note, "same weights as bard-mini in other files");
		else
			assert_null(e->rec.note);
	}
	assert_int_equal(d.alerts->n, 0);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

/* The command gets the alert on stdin; one that hangs is killed with its children and holds up nothing. */
static void test_hook(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_err err;
	char cmd[512], path[128];
	sigset_t chld;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	snprintf(path, sizeof(path), "%s/seen", dir);
	snprintf(cmd, sizeof(cmd), "cat > %s.tmp && mv %s.tmp %s", path, path, path);
	d.cfg.alerts.on_alert = cmd;
	rooms_start(&d);
	broken(&d, "hole", MM_ST_FAILED, "shape", "tensor x is missing", NULL, 0);
	while (access(path, R_OK) != 0)
		assert_true(sd_event_run(d.loop, 5000000) > 0);
	json_t *j = mm_json_load(path, 10000, &err);
	if (!j)
		fail_msg("%s", err.text);
	assert_string_equal(str(j, "kind"), "failed");
	assert_string_equal(str(j, "what"), "opened");
	json_decref(j);
	snprintf(cmd, sizeof(cmd), "sleep 1000 & wait");
	d.cfg.alerts.on_alert_timeout = 0.05;
	broken(&d, "hole2", MM_ST_FAILED, "shape", "tensor x is missing", NULL, 0);
	for (int i = 0; i < 2; i++) /* its time limit, its end */
		assert_true(sd_event_run(d.loop, 5000000) > 0);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_isolated),
		cmocka_unit_test(test_lineage_note),
		cmocka_unit_test(test_hook),
	};
	mm_log_init(MM_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
