/* map_store.c: map epochs in the store.
 *
 * An epoch is a JSON description (what `epochs` shows, plus "origin") and arrays: "col_mean" f64[n], "axis" f32[3, n],
 * "ids" f64[k] (model ids are small integers), "coord" f64[k, 3] and, from two models on, those of "mds", "tsne" f64[k,
 * 2], "mds3", "tsne3" f64[k, 3] that were asked for, of the models that made it. Models placed later are not stored:
 * their place follows from vector and axes. All epochs stay, so that old maps can be looked at. */
#include "daemon/map_priv.h"

#include <math.h>
#include <string.h>

struct save {
	const struct mm_epoch *e;
	char *json;
	struct mm_stored_array a[4 + MM_LAYOUT_COUNT];
	size_t n;
};

static struct mm_stored_array array_of(const char *name, unsigned type, uint64_t rows, uint64_t cols, const void *data)
{
	struct mm_stored_array a = { .type = type, .n_dim = cols ? 2 : 1, .dim = { rows, cols }, .data = data };
	snprintf(a.name, sizeof(a.name), "%s", name);
	a.n_byte = (size_t)(rows * (cols ? cols : 1)) * mm_array_type_size(type);
	return a;
}

static int put(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	struct save *s = ctx;
	return mm_epoch_put(t, s->e->id, s->json, s->a, s->n, err);
}

int mm_map_epoch_save(struct mm_daemon *d, const struct mm_epoch *e, const struct mm_snap *snap, const double *coord,
	double *const *alt, size_t k, struct mm_err *err)
{
	double *ids = mm_calloc(k, sizeof(*ids), err);
	json_t *full = json_deep_copy(e->info);
	struct save s = { .e = e };
	int rc = -1;
	if (!ids || !full)
		goto out;
	for (size_t i = 0; i < k; i++)
		ids[i] = (double)snap[i].id;
	json_object_set_new(full, "origin", json_pack("[f, f, f]", e->origin[0], e->origin[1], e->origin[2]));
	s.json = mm_json_dump(full, err);
	if (!s.json)
		goto out;
	s.a[0] = array_of("col_mean", MM_A_F64, e->pca.n, 0, e->pca.col_mean);
	s.a[1] = array_of("axis", MM_A_F32, MM_MAP_DIMS, e->pca.n, e->pca.axis);
	s.a[2] = array_of("ids", MM_A_F64, k, 0, ids);
	s.a[3] = array_of("coord", MM_A_F64, k, MM_MAP_DIMS, coord);
	s.n = 4;
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
		if (alt[w])
			s.a[s.n++] = array_of(mm_layout_kinds[w].name, MM_A_F64, k, mm_layout_kinds[w].dims, alt[w]);
	rc = mm_store_write(d->store, put, &s, err);
out:
	if (!full)
		mm_fail(err, MM_ENOMEM, "out of memory");
	mm_free(s.json);
	json_decref(full);
	mm_free(ids);
	return rc;
}

/* Copies an array of the epoch; its shape must be what is expected (rows 0: any). */
static void *array_dup(struct mm_txn *t, uint64_t epoch, const char *name, unsigned type, size_t *rows, size_t cols,
	struct mm_err *err)
{
	struct mm_stored_array a;
	if (mm_epoch_array(t, epoch, name, &a, err))
		return NULL;
	size_t got = (size_t)a.dim[0], want_cols = a.n_dim > 1 ? (size_t)a.dim[1] : 0;
	if (a.type != type || a.n_dim != (cols ? 2u : 1u) || want_cols != cols || (*rows && got != *rows) ||
		a.n_byte != got * (cols ? cols : 1) * mm_array_type_size(type)) {
		mm_fail(err, MM_ECORRUPT, "array %s of map epoch %llu has another shape", name,
			(unsigned long long)epoch);
		return NULL;
	}
	void *p = mm_calloc(a.n_byte ? a.n_byte : 1, 1, err);
	if (p && a.n_byte)
		memcpy(p, a.data, a.n_byte);
	*rows = got;
	return p;
}

static json_t *info_of(struct mm_txn *t, uint64_t epoch, struct mm_err *err)
{
	char *text = NULL;
	if (mm_epoch_json(t, epoch, &text, err))
		return NULL;
	json_t *j = mm_json_parse(text, strlen(text), "map epoch", err);
	mm_free(text);
	return j;
}

void mm_points_fini(struct mm_points *p)
{
	mm_free(p->ids);
	mm_free(p->coord);
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
		mm_free(p->alt[w]);
	memset(p, 0, sizeof(*p));
}

static void only_finite(double *v, size_t n)
{
	for (size_t i = 0; v && i < n; i++)
		if (!isfinite(v[i]))
			v[i] = 0;
}

static int points(struct mm_txn *t, uint64_t epoch, struct mm_points *p, struct mm_err *err)
{
	struct mm_err none;
	memset(p, 0, sizeof(*p));
	double *id = array_dup(t, epoch, "ids", MM_A_F64, &p->k, 0, err);
	p->ids = id ? mm_calloc(p->k, sizeof(*p->ids), err) : NULL;
	p->coord = p->ids ? array_dup(t, epoch, "coord", MM_A_F64, &p->k, MM_MAP_DIMS, err) : NULL;
	for (size_t i = 0; p->ids && i < p->k; i++)
		p->ids[i] = id[i] >= 0 && id[i] < 9e15 ? (uint64_t)id[i] : 0;
	mm_free(id);
	if (!p->coord) {
		mm_points_fini(p);
		return -1;
	}
	only_finite(p->coord, p->k * MM_MAP_DIMS);
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++) { /* an epoch need not have them */
		size_t rows = p->k;
		size_t dims = mm_layout_kinds[w].dims;
		p->alt[w] = p->k ? array_dup(t, epoch, mm_layout_kinds[w].name, MM_A_F64, &rows, dims, &none) : NULL;
		only_finite(p->alt[w], dims * p->k);
	}
	return 0;
}

int mm_map_epoch_points(struct mm_daemon *d, uint64_t epoch, struct mm_points *p, json_t **info, struct mm_err *err)
{
	struct mm_txn *t = mm_txn_begin(d->store, false, err);
	if (!t)
		return -1;
	*info = info_of(t, epoch, err);
	int rc = *info ? points(t, epoch, p, err) : -1;
	mm_txn_abort(t);
	if (rc) {
		json_decref(*info);
		*info = NULL;
		return mm_wrap(err, "map epoch %llu", (unsigned long long)epoch);
	}
	json_object_del(*info, "origin");
	return 0;
}

static int load_basis(struct mm_txn *t, uint64_t id, json_t *info, size_t n, struct mm_epoch *e, struct mm_err *err)
{
	size_t rows = n, dims = MM_MAP_DIMS;
	double clip = 0, total = 0;
	memset(e, 0, sizeof(*e));
	e->pca.col_mean = array_dup(t, id, "col_mean", MM_A_F64, &rows, 0, err);
	e->pca.axis = e->pca.col_mean ? array_dup(t, id, "axis", MM_A_F32, &dims, n, err) : NULL;
	if (!e->pca.axis || mm_json_get_double(info, "clip", &clip, err) ||
		mm_json_get_double(info, "total_variance", &total, err)) {
		mm_pca_fini(&e->pca);
		return -1;
	}
	json_t *origin = json_object_get(info, "origin");
	for (size_t c = 0; c < MM_MAP_DIMS; c++)
		e->origin[c] = json_number_value(json_array_get(origin, c));
	e->id = id;
	e->pca.n = n;
	e->pca.dims = MM_MAP_DIMS;
	e->pca.clip = clip;
	e->pca.total_var = total;
	json_object_del(info, "origin");
	e->info = json_incref(info);
	return 0;
}

int mm_map_epoch_load(struct mm_daemon *d, struct mm_points *p, struct mm_err *err)
{
	struct mm_chart *m = d->map;
	struct mm_err why;
	uint64_t last = 0;
	memset(p, 0, sizeof(*p));
	struct mm_txn *t = mm_txn_begin(d->store, false, err);
	if (!t)
		return -1;
	if (mm_epoch_last(t, &last, err)) {
		mm_txn_abort(t);
		return -1;
	}
	for (uint64_t id = 1; id <= last; id++) {
		json_t *info = info_of(t, id, &why);
		if (info && id == last &&
			(load_basis(t, id, info, d->texts.n, &m->epoch, &why) || points(t, id, p, &why))) {
			mm_log(MM_LOG_ERROR, "map: %s; a new epoch is made", why.text);
			mm_pca_fini(&m->epoch.pca);
			json_decref(m->epoch.info);
			memset(&m->epoch, 0, sizeof(m->epoch));
		} else if (info && id == last) {
			for (unsigned w = 0; w < MM_LAYOUT_COUNT; w++)
				m->epoch.has_alt |= p->alt[w] ? 1u << w : 0;
		} else if (!info) {
			mm_log(MM_LOG_ERROR, "map epoch %llu: %s", (unsigned long long)id, why.text);
			info = json_pack("{s:I, s:s}", "epoch", (json_int_t)id, "damaged", why.text);
		}
		if (info) {
			json_object_del(info, "origin");
			json_array_append_new(m->epochs, info);
		}
	}
	mm_txn_abort(t);
	return 0;
}
