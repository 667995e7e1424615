/* features.c - next-byte features of models: which probes this daemon asks for, what a scorer may send of them, which
 * models have them.
 *
 * The probes are a pure function of the text set and of score.probes; a scorer that sends others is refused. What is
 * stored is told by two arrays: `probe_set` says of which probes `next_byte` and its companions are, `no_features` says
 * why there are none. A result without features empties what an older one left behind, for it may be of other weights.
 * Loop thread. */
#include "daemon/core_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#define SQUARES 4e-3f /* what rounding to f16 does to the sum of squares of a row, and more */

int mm_features_start(struct mm_daemon *d, struct mm_err *err)
{
	if (!d->cfg.score.probes)
		return 0;
	if (mm_probes_make(&d->probes, &d->texts, d->cfg.score.probes, err))
		return mm_wrap(err, "score.probes");
	mm_probes_id(&d->probes, false, d->probe_set);
	return 0;
}

void mm_features_stop(struct mm_daemon *d)
{
	mm_probes_free(&d->probes);
}

/* ---- what a scorer sends ---- */

static const struct {
	const char *name;
	unsigned type, n_dim;
	size_t width;
} arrays[] = {
	{ "next_byte", MM_A_F16, 2, MM_PROBES_BYTES },
	{ "next_byte_missed", MM_A_F32, 1, 1 },
	{ "vocab_proj", MM_A_F16, 2, MM_PROBES_PROJ },
};

static const struct mm_stored_array *find(const struct mm_result *r, const char *name)
{
	for (size_t i = 0; i < r->n_array; i++)
		if (!strcmp(r->array[i].name, name))
			return &r->array[i];
	return NULL;
}

static int check_shape(const struct mm_stored_array *a, size_t i, size_t n, struct mm_err *err)
{
	if (!a || a->type != arrays[i].type || a->n_dim != arrays[i].n_dim || a->dim[0] != n ||
		(a->n_dim == 2 && a->dim[1] != arrays[i].width))
		return mm_fail(err, MM_EFORMAT, "the scorer's %s is missing or of another shape", arrays[i].name);
	return 0;
}

static float half(const struct mm_stored_array *a, size_t i)
{
	uint16_t v;
	memcpy(&v, (const uint8_t *)a->data + i * sizeof v, sizeof v);
	return mm_f16_to_f32(v);
}

static int check_rows(const struct mm_stored_array *a, size_t n, struct mm_err *err)
{
	for (size_t m = 0; m < n; m++) {
		float squares = 0;
		bool good = true;
		for (size_t b = 0; b < MM_PROBES_BYTES; b++) {
			float v = half(a, m * MM_PROBES_BYTES + b);
			good = good && v >= 0; /* false of NaN */
			squares += v * v;
		}
		if (!good || !(fabsf(squares - 1) < SQUARES))
			return mm_fail(err, MM_EFORMAT, "the scorer's next-byte distribution %zu is none", m);
	}
	return 0;
}

static int check_others(
	const struct mm_stored_array *missed, const struct mm_stored_array *proj, size_t n, struct mm_err *err)
{
	for (size_t m = 0; m < n; m++) {
		float v;
		memcpy(&v, (const uint8_t *)missed->data + m * sizeof v, sizeof v);
		if (!(v >= 0 && v <= 1))
			return mm_fail(err, MM_EFORMAT, "the scorer's neglected mass %zu is none", m);
	}
	for (size_t i = 0; i < n * MM_PROBES_PROJ; i++)
		if (!isfinite(half(proj, i)))
			return mm_fail(
				err, MM_EFORMAT, "the scorer's projection %zu is not finite", i / MM_PROBES_PROJ);
	return 0;
}

int mm_features_check(const struct mm_result *r, const uint8_t *probe_set, size_t n, struct mm_err *err)
{
	const struct mm_stored_array *set = find(r, "probe_set"), *a[MM_COUNT(arrays)];
	bool any = false;
	for (size_t i = 0; i < MM_COUNT(arrays); i++) {
		a[i] = find(r, arrays[i].name);
		any = any || a[i];
	}
	if (!set)
		return any ? mm_fail(err, MM_EFORMAT, "the scorer does not say of which probes its features are") : 0;
	if (!probe_set)
		return mm_fail(err, MM_EFORMAT, "the scorer sends features that were not asked for");
	if (set->type != MM_A_U8 || set->n_byte != MM_PROBES_ID || memcmp(set->data, probe_set, MM_PROBES_ID) != 0)
		return mm_fail(err, MM_ECONFLICT, "the scorer's probes are not those of this text set and version");
	for (size_t i = 0; i < MM_COUNT(arrays); i++)
		if (check_shape(a[i], i, n, err))
			return -1;
	return check_rows(a[0], n, err) || check_others(a[1], a[2], n, err) ? -1 : 0;
}

size_t mm_features_void(const struct mm_result *r, struct mm_stored_array *out)
{
	static const char *const names[MM_FEATURE_ARRAYS] = { "probe_set", "next_byte", "next_byte_missed",
		"vocab_proj", "no_features" };
	size_t n = 0;
	for (size_t i = 0; i < MM_FEATURE_ARRAYS; i++)
		if (!find(r, names[i])) {
			out[n] = (struct mm_stored_array){ .type = MM_A_U8, .n_dim = 1 };
			snprintf(out[n++].name, sizeof out->name, "%s", names[i]);
		}
	return n;
}

/* ---- what is stored ---- */

static enum mm_feature_state of_set(const struct mm_daemon *d, const struct mm_stored_array *set, bool said)
{
	if (!set || set->n_byte != MM_PROBES_ID)
		return said ? MM_FEATURES_CANNOT : MM_FEATURES_NONE;
	return !memcmp(set->data, d->probe_set, MM_PROBES_ID) ? MM_FEATURES_HERE : MM_FEATURES_OTHER;
}

enum mm_feature_state mm_features_of_result(const struct mm_daemon *d, const struct mm_result *r)
{
	const struct mm_stored_array *why = find(r, "no_features");
	return of_set(d, find(r, "probe_set"), why && why->n_byte);
}

enum mm_feature_state mm_features_stored(const struct mm_daemon *d, struct mm_txn *t, uint64_t model)
{
	struct mm_stored_array set, why;
	struct mm_err ignored;
	bool has = !mm_array_get(t, model, "probe_set", &set, &ignored);
	bool said = !mm_array_get(t, model, "no_features", &why, &ignored) && why.n_byte;
	return of_set(d, has ? &set : NULL, said);
}

static const struct mm_model_entry *owner_of(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	const struct mm_model_entry *rep = e->rec.same_as ? mm_reg_by_id(d, e->rec.same_as) : NULL;
	return rep ? rep : e;
}

const char *mm_features_name(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	static const char *const names[] = { [MM_FEATURES_NONE] = "none",
		[MM_FEATURES_CANNOT] = "none",
		[MM_FEATURES_OTHER] = "other probes",
		[MM_FEATURES_HERE] = "next byte" };
	return e->rec.scored_at && !e->not_finite ? names[owner_of(d, e)->features] : NULL;
}

/* The scorer's reason, for `show`; NULL: there is none. */
json_t *mm_features_why(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	const struct mm_model_entry *o = owner_of(d, e);
	struct mm_stored_array a;
	struct mm_err ignored;
	char text[256];
	json_t *j = NULL;
	struct mm_txn *t = o->features == MM_FEATURES_CANNOT ? mm_txn_begin(d->store, false, &ignored) : NULL;
	if (t && !mm_array_get(t, o->rec.id, "no_features", &a, &ignored)) {
		mm_utf8_sanitize(text, sizeof text, a.data, a.n_byte);
		j = json_string(text);
	}
	mm_txn_abort(t);
	return j;
}

bool mm_features_missing(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	return d->probes.n && mm_reg_is_scored(e) && !e->rec.same_as && !e->not_finite &&
	       (e->features == MM_FEATURES_NONE || e->features == MM_FEATURES_OTHER);
}
