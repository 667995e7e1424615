/* fake_reg.h - the rooms around map and alerts, reduced to what those two ask of them; the store and the worker are
 * real. */
#ifndef TEST_FAKE_REG_H
#define TEST_FAKE_REG_H

#include "../stat/zoo.h"
#include "daemon/alerts_priv.h"
#include "daemon/core_priv.h"
#include "daemon/map_priv.h"
#include "daemon/scores.h"

#include <ftw.h>

static struct mm_model_entry *reg[1024];
static size_t n_reg;
static json_t *events;	 /* [{type, ...}] */
static json_t *finished; /* bodies or errors of deferred requests */
static struct mm_buf finished_data;

size_t mm_reg_n(const struct mm_daemon *d)
{
	(void)d;
	return n_reg;
}
struct mm_model_entry *mm_reg_at(const struct mm_daemon *d, size_t i)
{
	(void)d;
	return reg[i];
}
struct mm_model_entry *mm_reg_by_id(const struct mm_daemon *d, uint64_t id)
{
	(void)d;
	for (size_t i = 0; i < n_reg; i++)
		if (reg[i]->rec.id == id)
			return reg[i];
	return NULL;
}
struct mm_model_entry *mm_reg_resolve(const struct mm_daemon *d, const char *name, struct mm_err *err)
{
	(void)d;
	for (size_t i = 0; i < n_reg; i++)
		if (strcmp(reg[i]->rec.name, name) == 0)
			return reg[i];
	mm_fail(err, MM_ENOENT, "no model %s", name);
	return NULL;
}
struct mm_model_entry *mm_reg_by_name(const struct mm_daemon *d, const char *name)
{
	struct mm_err err;
	return mm_reg_resolve(d, name, &err);
}
int mm_reg_save(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	(void)d, (void)e, (void)err;
	return 0;
}
bool mm_reg_on_map(const struct mm_model_entry *e)
{
	return e->rec.state == MM_ST_PLACED && !e->not_finite && (e->loglik || e->rec.same_as);
}
void mm_event(struct mm_daemon *d, const char *type, json_t *body)
{
	(void)d;
	if (!body)
		return;
	json_object_set_new(body, "type", json_string(type));
	json_array_append_new(events, body);
}
void mm_service_status(struct mm_daemon *d)
{
	(void)d;
}
void mm_ctl_finish(struct mm_daemon *d, uint64_t token, struct mm_reply *reply, const struct mm_err *err)
{
	(void)d;
	json_t *o = err ? json_pack("{s:s}", "error", err->text) : reply->body ? reply->body : json_object();
	json_object_set_new(o, "token", json_integer((json_int_t)token));
	if (!err && reply->list_key) {
		struct mm_buf b = { 0 };
		mm_buf_printf(&b, "[%s]", reply->list.data ? (const char *)reply->list.data : "");
		json_object_set_new(o, reply->list_key, json_loads((const char *)b.data, 0, NULL));
		mm_buf_fini(&b);
	}
	json_array_append_new(finished, o);
	mm_buf_fini(&finished_data);
	finished_data = reply->data; /* the last one is kept */
	mm_buf_fini(&reply->list);
}

/* ---- a daemon with a real store in a fresh directory ---- */

static char dir[64];

static inline int rm_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
	(void)st, (void)flag, (void)f;
	return remove(path);
}

static inline void store_start(struct mm_daemon *d)
{
	struct mm_err err;
	struct mm_store_pin pin = { .texts = d->texts.hash, .n_texts = d->texts.n, .mean_bytes = d->texts.mean_bytes };
	strcpy(pin.bos, "auto");
	strcpy(pin.compute, "f32");
	strcpy(pin.scorer, "1");
	d->store = mm_store_open(dir, &pin, &err);
	if (!d->store)
		fail_msg("%s", err.text);
	d->cfg.score.priority = MM_PRIORITY_NORMAL; /* other tests run beside this one */
	MUST(mm_worker_start(d, &err));
}

static inline void rooms_start(struct mm_daemon *d)
{
	struct mm_err err;
	store_start(d);
	MUST(mm_scores_start(d, &err));
	MUST(mm_alerts_start(d, &err));
	MUST(mm_map_start(d, &err));
}

static inline void rooms_stop(struct mm_daemon *d)
{
	mm_worker_stop(d);
	mm_slices_stop(d);
	mm_map_stop(d);
	mm_alerts_stop(d);
	mm_scores_stop(d);
	mm_store_close(d->store);
}

/* For the tests of many models: models and map before the alerts, as in the daemon. */
static inline void sweep_start(struct mm_daemon *d)
{
	struct mm_err err;
	store_start(d);
	MUST(mm_map_start(d, &err));
	MUST(mm_alerts_start(d, &err));
}

static inline void sweep_stop(struct mm_daemon *d)
{
	mm_worker_stop(d);
	mm_alerts_stop(d);
	mm_map_stop(d);
	mm_store_close(d->store);
	d->store = NULL;
}

/* Runs the loop until the tests have looked at everything. */
static inline void until_tested(struct mm_daemon *d)
{
	do
		assert_true(sd_event_run(d->loop, (uint64_t)-1) >= 0);
	while (mm_check_due(d) || d->map->refit_running || d->map->place_running);
}

/* Runs the loop until nothing is on the worker. */
static inline void settle_down(struct mm_daemon *d)
{
	while (d->map->refit_running || d->map->place_running)
		assert_true(sd_event_run(d->loop, (uint64_t)-1) >= 0);
}

static inline void daemon_new(struct mm_daemon *d, const struct mm_texts *texts)
{
	memset(d, 0, sizeof(*d));
	strcpy(dir, "/tmp/mm-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_true(sd_event_new(&d->loop) >= 0);
	d->texts = *texts;
	d->cfg.state_dir = dir;
	d->cfg.map.clip = 0.02;
	d->cfg.map.refit_growth = 0.25;
	d->cfg.map.layouts = MM_LAYOUTS_ALL;
	d->cfg.alerts.isolated_z = mm_isolate_default.z_min;
	d->cfg.alerts.on_alert_timeout = 5;
	events = json_array();
	finished = json_array();
	n_reg = 0;
}

static inline void daemon_free(struct mm_daemon *d)
{
	for (size_t i = 0; i < n_reg; i++) {
		mm_model_rec_fini(&reg[i]->rec);
		mm_free(reg[i]->loglik);
		mm_free(reg[i]);
	}
	sd_event_unref(d->loop);
	json_decref(events);
	json_decref(finished);
	mm_buf_fini(&finished_data);
	nftw(dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct mm_model_entry *model_add(const char *name, const float *vec, size_t n)
{
	struct mm_err err;
	struct mm_model_entry *e = mm_calloc(1, sizeof(*e), &err);
	e->rec.id = n_reg + 1;
	e->rec.name = mm_strdup(name, &err);
	e->rec.step = -1;
	e->rec.state = MM_ST_PLACED;
	e->rec.full = mm_hash_of(vec, n * sizeof(float));
	e->loglik = mm_calloc(n, sizeof(float), &err);
	memcpy(e->loglik, vec, n * sizeof(float));
	reg[n_reg++] = e;
	return e;
}

/* Runs a handler; the body is the caller's. */
static inline json_t *ask(struct mm_daemon *d, mm_cmd_fn fn, json_t *args, struct mm_buf *data)
{
	struct mm_err err;
	struct mm_reply r = { .fd = -1, .token = 77 };
	int rc = fn(d, args, &r, &err);
	json_decref(args);
	if (rc)
		return json_pack("{s:s, s:s}", "error", err.text, "code", mm_err_name(err.code));
	if (data)
		*data = r.data;
	else
		mm_buf_fini(&r.data);
	return r.body ? r.body : json_object();
}

/* The same, waiting when the answer comes from a worker. */
static inline json_t *ask_wait(struct mm_daemon *d, mm_cmd_fn fn, json_t *args)
{
	struct mm_err err;
	struct mm_reply r = { .fd = -1, .token = 78 };
	size_t had = json_array_size(finished);
	int rc = fn(d, args, &r, &err);
	json_decref(args);
	if (rc)
		return json_pack("{s:s, s:s}", "error", err.text, "code", mm_err_name(err.code));
	if (!r.deferred) {
		mm_buf_fini(&r.data);
		return r.body ? r.body : json_object();
	}
	while (json_array_size(finished) == had)
		assert_true(sd_event_run(d->loop, (uint64_t)-1) >= 0);
	return json_incref(json_array_get(finished, had));
}

#endif
