/* alert_rules.c: what raises an alert, one rule a kind.
 *
 * A rule looks at one model and says yes (with cause, message and evidence), no, or nothing. It must be cheap, it may
 * be asked at any time and any number of times, and it must not change its mind while a model is between two states:
 * only lasting states count. Same weights in another dtype or container are a lineage note of the record (map_place.c),
 * never an alert. */
#include "daemon/alerts_priv.h"
#include "daemon/map_priv.h"

#include <math.h>
#include <string.h>

void mm_finding_fini(struct mm_finding *f)
{
	mm_free(f->cause);
	mm_free(f->message);
	json_decref(f->evidence);
	memset(f, 0, sizeof(*f));
}

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

/* YES when everything was put together, else UNKNOWN with err set. */
static enum mm_verdict found(struct mm_finding *f, struct mm_err *err)
{
	if (f->cause && f->message && f->evidence)
		return MM_RULE_YES;
	mm_fail(err, MM_ENOMEM, "out of memory");
	return MM_RULE_UNKNOWN;
}

static enum mm_verdict gone(const struct mm_model_entry *e, struct mm_finding *f)
{
	f->gone_why = "the files are gone";
	return e->rec.gone ? MM_RULE_NO : MM_RULE_UNKNOWN;
}

static void set_str(json_t *o, const char *key, const char *s)
{
	if (o && s)
		json_object_set_new(o, key, json_string(s));
}

/* Byte-equal content under another name. The one that came later is the duplicate. */
static enum mm_verdict look_duplicate(struct mm_daemon *d, struct mm_model_entry *e, enum mm_alert_kind kind,
	struct mm_finding *f, struct mm_err *err)
{
	(void)kind;
	const struct mm_model_rec *r = &e->rec;
	const struct mm_model_entry *rep = r->same_as ? mm_reg_by_id(d, r->same_as) : NULL;
	char hex[MM_HASH_HEX];
	if (r->gone)
		return gone(e, f);
	if (!rep)
		return r->state == MM_ST_PLACED ? MM_RULE_NO : MM_RULE_UNKNOWN;
	if (r->state != MM_ST_PLACED)
		return MM_RULE_UNKNOWN;
	mm_hash_hex(r->full, hex);
	f->cause = mm_asprintf(err, "duplicate:%llu:%s", (unsigned long long)rep->rec.id, hex);
	f->message = mm_asprintf(err, "%s is byte for byte the same model as %s", r->name, rep->rec.name);
	f->evidence = json_pack("{s:s, s:s, s:I, s:s}", "same_as", rep->rec.name, "fingerprint", hex, "bytes",
		(json_int_t)r->bytes, "path", r->path ? r->path : "");
	return found(f, err);
}

/* The cause lies in the files and stays until they change: reason, file. */
static enum mm_verdict file_trouble(
	struct mm_model_entry *e, const char *kind, const char *what, struct mm_finding *f, struct mm_err *err)
{
	const struct mm_model_rec *r = &e->rec;
	char hex[MM_HASH_HEX], size[32] = "";
	mm_hash_hex(r->quick, hex);
	f->cause = mm_asprintf(
		err, "%s:%s:%s", kind, r->reason_code ? r->reason_code : "", r->reason_file ? r->reason_file : "");
	if (r->missing_bytes && !(r->reason && strstr(r->reason, "missing"))) /* said already? */
		mm_format_size(r->missing_bytes, size, sizeof(size));
	const char *reason = r->reason ? r->reason : "no reason known";
	bool names_file = !r->reason_file || strstr(reason, r->reason_file);
	f->message = mm_asprintf(err, "%s %s: %s%s%s%s%s%s", r->name, what, names_file ? "" : r->reason_file,
		names_file ? "" : ": ", reason, size[0] ? " (" : "", size, size[0] ? " missing)" : "");
	f->evidence = json_pack("{s:s, s:s}", "reason", reason, "path", r->path ? r->path : "");
	if (f->evidence) {
		set_str(f->evidence, "code", r->reason_code);
		set_str(f->evidence, "file", r->reason_file);
		set_str(f->evidence, "architecture", r->architecture);
		if (r->missing_bytes)
			json_object_set_new(f->evidence, "missing_bytes", json_integer((json_int_t)r->missing_bytes));
		json_object_set_new(f->evidence, "attempts", json_integer(r->attempts));
		json_object_set_new(f->evidence, "fingerprint", json_string(hex));
	}
	return found(f, err);
}

static bool failed_not_finite(const struct mm_model_entry *e)
{
	return e->rec.state == MM_ST_FAILED && same(e->rec.reason_code, "not_finite");
}

/* Ids that the model has no rows for: the scorer met a tokenizer that is not the model's. */
static bool failed_vocabulary(const struct mm_model_entry *e)
{
	return e->rec.state == MM_ST_FAILED && e->rec.reason && strstr(e->rec.reason, "outside of the vocabulary");
}

static enum mm_verdict look_failed(struct mm_daemon *d, struct mm_model_entry *e, enum mm_alert_kind kind,
	struct mm_finding *f, struct mm_err *err)
{
	(void)d, (void)kind;
	if (e->rec.gone)
		return gone(e, f);
	f->gone_why = "another alert says why";
	if (failed_vocabulary(e))
		return MM_RULE_NO;
	if (e->rec.state == MM_ST_FAILED && !failed_not_finite(e))
		return file_trouble(e, "failed", "cannot be scored", f, err);
	f->gone_why = "the model was scored";
	return e->rec.state == MM_ST_PLACED ? MM_RULE_NO : MM_RULE_UNKNOWN;
}

static enum mm_verdict look_never_ready(struct mm_daemon *d, struct mm_model_entry *e, enum mm_alert_kind kind,
	struct mm_finding *f, struct mm_err *err)
{
	(void)d, (void)kind;
	if (e->rec.gone)
		return gone(e, f);
	switch (e->rec.state) {
	case MM_ST_NEVER_READY:
		return file_trouble(e, "never_ready", "is still not complete", f, err);
	case MM_ST_QUEUED:
	case MM_ST_RUNNING:
	case MM_ST_PLACED:
	case MM_ST_FAILED:
		f->gone_why = "the files are complete now";
		return MM_RULE_NO;
	default:
		return MM_RULE_UNKNOWN;
	}
}

static enum mm_verdict look_not_finite(struct mm_daemon *d, struct mm_model_entry *e, enum mm_alert_kind kind,
	struct mm_finding *f, struct mm_err *err)
{
	const struct mm_model_rec *r = &e->rec;
	(void)d, (void)kind;
	if (r->gone)
		return gone(e, f);
	if (r->state == MM_ST_PLACED && !e->not_finite) {
		f->gone_why = "weights and log-likelihoods are finite now";
		return MM_RULE_NO;
	}
	if (!failed_not_finite(e) && !(r->state == MM_ST_PLACED && e->not_finite))
		return MM_RULE_UNKNOWN;
	char hex[MM_HASH_HEX];
	const char *reason = r->reason ? r->reason : "NaN or infinity among its log-likelihoods";
	mm_hash_hex(r->full, hex);
	f->cause = mm_strdup("not_finite", err);
	f->message = mm_asprintf(err, "%s is not finite: %s", r->name, reason);
	f->evidence =
		json_pack("{s:s, s:s, s:s}", "reason", reason, "fingerprint", hex, "path", r->path ? r->path : "");
	set_str(f->evidence, "file", r->reason_file);
	return found(f, err);
}

/* Far from every neighbour; silent below MM_ISOLATE_MIN_MODELS. Looked at again with every arrival. */
static enum mm_verdict look_isolated(struct mm_daemon *d, struct mm_model_entry *e, enum mm_alert_kind kind,
	struct mm_finding *f, struct mm_err *err)
{
	(void)kind;
	const struct mm_place *p = d->map ? mm_map_member(d, e) : NULL;
	if (!p || !p->placed || !p->iso_known)
		return MM_RULE_UNKNOWN;
	/* what is known to be wrong with it explains why it lies there: one cause, one alert */
	enum mm_alert_kind broken = mm_check_broken(d, e);
	f->gone_why = "another alert says what is wrong with it";
	if (broken != MM_AK_COUNT)
		return MM_RULE_NO;
	f->gone_why = "it has near relatives now";
	if (!p->iso.isolated)
		return MM_RULE_NO;
	const char *nearest = d->map->member[p->iso.nearest_i]->e->rec.name;
	double bits = mm_kl_bits_per_byte(p->iso.nearest, d->texts.mean_bytes);
	f->cause = mm_strdup("isolated", err);
	f->message = mm_asprintf(err,
		"%s is far from every other model: the nearest is %s at %.3g bits per byte, and %.0f %% of its "
		"variation over "
		"the texts is its own",
		e->rec.name, nearest, bits, 100 * p->iso.unexplained);
	f->evidence = json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:I, s:I}", "nearest", nearest, "kl_bits_per_byte",
		bits, "kl_nats_per_text", p->iso.nearest / 2, "robust_z", p->iso.z, "unexplained", p->iso.unexplained,
		"lof", p->iso.lof, "models", (json_int_t)d->map->n, "epoch", (json_int_t)mm_map_epoch(d));
	return found(f, err);
}

/* The tests ran on the worker (check.c); here only their verdict. The words say what was seen, never what it means. */
static enum mm_verdict look_leak(struct mm_daemon *d, struct mm_model_entry *e, enum mm_alert_kind kind,
	struct mm_finding *f, struct mm_err *err)
{
	(void)kind;
	if (e->rec.gone)
		return gone(e, f);
	const struct mm_check_row *r = mm_check_of(d, e);
	if (!r || e->rec.state != MM_ST_PLACED)
		return MM_RULE_UNKNOWN;
	f->gone_why = "with the models there are now the evidence does not hold";
	if (!r->leaked)
		return MM_RULE_NO;
	const struct mm_leak_mix *m = &r->test.mix[r->test.best];
	size_t n = json_array_size(json_object_get(r->more, "suspect_texts"));
	char hex[MM_HASH_HEX];
	mm_hash_hex(r->full, hex);
	f->cause = mm_strdup("leak", err);
	f->message = mm_asprintf(err,
		"%s likely saw %zu of the %zu reference texts: they are %.3g nats a byte likelier than %zu other "
		"models predict (p = %.1g)",
		e->rec.name, n, d->texts.n, r->test.gain / d->texts.mean_bytes, r->test.n_predictors[r->test.best],
		r->p);
	f->evidence = json_pack("{s:o, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:s, s:s}", "tests", mm_check_tests_json(r),
		"p", r->p, "level", r->level, "wealth", r->wealth, "share", m->share, "gain_nats_per_byte",
		r->test.gain / d->texts.mean_bytes, "models", (json_int_t)r->n_models, "test_number",
		(json_int_t)r->seq, "fingerprint", hex, "would_settle",
		"texts known to be unseen (a control set), benchmark scores, or the training data");
	if (f->evidence)
		json_object_update(f->evidence, r->more);
	return found(f, err);
}

/* What the worker found (check_odd.c, check_run_odd.c). */
static enum mm_verdict look_odd(struct mm_daemon *d, struct mm_model_entry *e, enum mm_alert_kind kind,
	struct mm_finding *f, struct mm_err *err)
{
	if (e->rec.gone)
		return gone(e, f);
	const struct mm_check_odd *o = mm_check_odd_of(d, e);
	size_t at = kind - MM_ODD_FIRST;
	if (!o || e->rec.state != MM_ST_PLACED || (!o->asked[at] && !o->odd[at].cause))
		return MM_RULE_UNKNOWN;
	f->gone_why = "with the models there are now the evidence does not hold";
	if (!o->odd[at].cause)
		return MM_RULE_NO;
	char hex[MM_HASH_HEX];
	mm_hash_hex(e->rec.full, hex);
	f->cause = mm_strdup(o->odd[at].cause, err);
	f->message = mm_strdup(o->odd[at].message, err);
	f->evidence = json_copy(o->odd[at].evidence);
	set_str(f->evidence, "fingerprint", hex);
	return found(f, err);
}

static enum mm_verdict look_mismatch(struct mm_daemon *d, struct mm_model_entry *e, enum mm_alert_kind kind,
	struct mm_finding *f, struct mm_err *err)
{
	if (!e->rec.gone && failed_vocabulary(e))
		return file_trouble(
			e, "tokenizer_mismatch", "has a tokenizer that does not go with its weights", f, err);
	return look_odd(d, e, kind, f, err);
}

/* kind, severity, anomaly, population, rule, what it means */
const struct mm_alert_rule mm_alert_rules[MM_AK_COUNT] = {
	[MM_AK_LEAK] = { "leak", "warning", false, true, look_leak,
		"the model has likely seen some of the reference texts" },
	[MM_AK_DUPLICATE] = { "duplicate", "info", false, false, look_duplicate,
		"byte for byte the same model under another name" },
	[MM_AK_NEVER_READY] = { "never_ready", "warning", false, false, look_never_ready,
		"its files are still not complete" },
	[MM_AK_FAILED] = { "failed", "warning", false, false, look_failed,
		"it cannot be scored, and the cause is in its files" },
	[MM_AK_NOT_FINITE] = { "not_finite", "critical", true, false, look_not_finite,
		"NaN or infinity in its weights or log-likelihoods" },
	[MM_AK_ISOLATED] = { "isolated", "warning", true, true, look_isolated, "far from every other model" },
	[MM_AK_DIVERGED] = { "diverged", "warning", true, false, look_odd,
		"it knows no more than how often tokens come" },
	[MM_AK_DAMAGED] = { "damaged", "critical", true, false, look_odd,
		"part of its original's weights were replaced, and it is worse everywhere" },
	[MM_AK_JUMP] = { "jump", "info", false, false, look_odd,
		"a step of a run that is out of line with the others" },
	[MM_AK_REGRESSED] = { "regressed", "info", false, false, look_odd,
		"one domain fell against the step before or the claimed base, most others did not" },
	[MM_AK_IMPOSTOR] = { "impostor", "warning", false, false, look_odd,
		"it claims a base that it does not come from" },
	[MM_AK_TOKENIZER_MISMATCH] = { "tokenizer_mismatch", "critical", true, false, look_mismatch,
		"the weights of another model with a tokenizer or config that does not go with them" },
	[MM_AK_OVERFLOW] = { "overflow", "warning", true, false, look_odd,
		"a 16-bit conversion that lost more than rounding does" },
};

/* As they were given out one after the other: never renumber. */
static const uint8_t message_number[MM_AK_COUNT + 1] = {
	[MM_AK_DUPLICATE] = 0x01,
	[MM_AK_FAILED] = 0x02,
	[MM_AK_NEVER_READY] = 0x03,
	[MM_AK_NOT_FINITE] = 0x04,
	[MM_AK_ISOLATED] = 0x05,
	[MM_AK_LEAK] = 0x06,
	[MM_AK_DIVERGED] = 0x07,
	[MM_AK_DAMAGED] = 0x08,
	[MM_AK_JUMP] = 0x09,
	[MM_AK_REGRESSED] = 0x0a,
	[MM_AK_IMPOSTOR] = 0x0b,
	[MM_AK_TOKENIZER_MISMATCH] = 0x0c,
	[MM_AK_OVERFLOW] = 0x0d,
	[MM_AK_COUNT] = 0x0e,
};

sd_id128_t mm_alert_message_id(enum mm_alert_kind kind)
{
	sd_id128_t id = SD_ID128_MAKE(5d, 1c, 7e, 40, 2b, 1f, 4d, 0a, 9e, 6b, 3c, 50, f7, 81, a2, 00);
	id.bytes[15] = message_number[kind];
	return id;
}

const struct mm_alert_rule *mm_alert_rule_find(const char *kind)
{
	for (size_t i = 0; i < MM_AK_COUNT; i++)
		if (same(mm_alert_rules[i].kind, kind))
			return &mm_alert_rules[i];
	return NULL;
}
