/* map_view.c - what a picture of the map needs, joined by name: places from `map`, families and runs from there or from
 * `models`, alerts. Families are ordered by size, so that the most frequent ones get the colours that differ most. */
#include "client/client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- look-up by name ---- */

struct named {
	const char *name;
	const json_t *o;
};

static int cmp_named(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static struct named *index_of(const json_t *list, const char *key, size_t *n, struct mm_err *err)
{
	*n = json_array_size(list);
	struct named *x = mm_calloc(*n + 1, sizeof *x, err);
	for (size_t i = 0; x && i < *n; i++)
		x[i] = (struct named){ mm_str(json_array_get(list, i), key), json_array_get(list, i) };
	if (x)
		qsort(x, *n, sizeof *x, cmp_named);
	return x;
}

static const json_t *find(const struct named *x, size_t n, const char *name)
{
	struct named key = { name, NULL };
	const struct named *hit = n ? bsearch(&key, x, n, sizeof *x, cmp_named) : NULL;
	return hit ? hit->o : NULL;
}

/* ---- points ---- */

static int cmp_point(const void *a, const void *b)
{
	return mm_name_cmp(((const struct mm_view_point *)a)->name, ((const struct mm_view_point *)b)->name);
}

static int make_points(struct mm_view *v, struct mm_err *err)
{
	const json_t *list = json_object_get(v->map, "points"), *p;
	size_t i, n_model;
	struct named *models = index_of(json_object_get(v->models, "models"), "name", &n_model, err);
	v->point = mm_calloc(json_array_size(list) + 1, sizeof *v->point, err);
	if (!models || !v->point) {
		mm_free(models);
		return -1;
	}
	json_array_foreach (list, i, p) {
		double x = mm_num(p, "x", NAN), y = mm_num(p, "y", NAN);
		if (!isfinite(x) || !isfinite(y) || fabs(x) > 1e15 || fabs(y) > 1e15)
			continue;
		const char *name = mm_str(p, "name");
		v->point[v->n++] =
			(struct mm_view_point){ .name = name, .x = x, .y = y, .model = find(models, n_model, name) };
	}
	mm_free(models);
	qsort(v->point, v->n, sizeof *v->point, cmp_point);
	return 0;
}

static void mark_alerts(struct mm_view *v)
{
	const json_t *a;
	size_t k;
	json_array_foreach (json_object_get(v->alerts, "alerts"), k, a) {
		struct mm_view_point key = { .name = mm_str(a, "model") };
		struct mm_view_point *p = v->n ? bsearch(&key, v->point, v->n, sizeof key, cmp_point) : NULL;
		unsigned level = !strcmp(mm_str(a, "state"), "open") ? 2 : !strcmp(mm_str(a, "state"), "acked") ? 1 : 0;
		if (p && level > p->alert) {
			p->alert = level;
			p->alert_text = mm_str(a, "message");
		}
	}
}

/* ---- families ---- */

struct family {
	const char *name;
	size_t n, first;
};

static int cmp_family(const void *a, const void *b)
{
	const struct family *x = a, *y = b;
	return x->n != y->n ? (x->n > y->n ? -1 : 1) : strcmp(x->name, y->name);
}

/* A field of a point, which the daemon gives in `map` or in `models`. */
static const json_t *field(
	const struct mm_view *v, const struct mm_view_point *p, const struct named *places, size_t n, const char *key)
{
	(void)v;
	const json_t *x = json_object_get(find(places, n, p->name), key);
	return x && !json_is_null(x) ? x : json_object_get(p->model, key);
}

static int make_families(struct mm_view *v, const struct named *places, size_t n_place, struct mm_err *err)
{
	struct family *f = mm_calloc(v->n + 1, sizeof *f, err);
	const char **name = mm_calloc(v->n + 1, sizeof *name, err);
	v->family = mm_calloc(v->n + 1, sizeof *v->family, err);
	if (!f || !name || !v->family) {
		mm_free(f);
		mm_free(name);
		return -1;
	}
	for (size_t i = 0; i < v->n; i++) {
		const char *s = json_string_value(field(v, &v->point[i], places, n_place, "family"));
		size_t k = 0;
		name[i] = s && *s ? s : "other";
		while (k < v->n_family && strcmp(f[k].name, name[i]) != 0)
			k++;
		if (k == v->n_family)
			f[v->n_family++] = (struct family){ .name = name[i] };
		f[k].n++;
	}
	qsort(f, v->n_family, sizeof *f, cmp_family);
	for (size_t k = 0; k < v->n_family; k++)
		v->family[k] = f[k].name;
	for (size_t i = 0; i < v->n; i++)
		for (size_t k = 0; k < v->n_family; k++)
			if (!strcmp(v->family[k], name[i]))
				v->point[i].family = (unsigned)k;
	mm_free(f);
	mm_free(name);
	return 0;
}

/* ---- runs ---- */

struct stop {
	const char *run;
	double step;
	size_t at;
};

static int cmp_stop(const void *a, const void *b)
{
	const struct stop *x = a, *y = b;
	int c = strcmp(x->run, y->run);
	if (c)
		return c;
	return x->step != y->step ? (x->step < y->step ? -1 : 1) : (x->at > y->at) - (x->at < y->at);
}

static int make_runs(struct mm_view *v, const struct named *places, size_t n_place, struct mm_err *err)
{
	struct stop *s = mm_calloc(v->n + 1, sizeof *s, err);
	size_t n = 0;
	v->run = mm_calloc(v->n + 1, sizeof *v->run, err);
	if (!s || !v->run) {
		mm_free(s);
		return -1;
	}
	for (size_t i = 0; i < v->n; i++) {
		const char *run = json_string_value(field(v, &v->point[i], places, n_place, "run"));
		const json_t *step = field(v, &v->point[i], places, n_place, "step");
		if (run && *run && json_is_number(step))
			s[n++] = (struct stop){ run, json_number_value(step), i };
	}
	qsort(s, n, sizeof *s, cmp_stop);
	int rc = 0;
	for (size_t i = 0, j; i < n && !rc; i = j) {
		for (j = i; j < n && !strcmp(s[j].run, s[i].run);)
			j++;
		if (j - i < 2)
			continue;
		struct mm_view_run *r = &v->run[v->n_run];
		if (!(r->at = mm_calloc(j - i, sizeof *r->at, err))) {
			rc = -1;
			break;
		}
		v->n_run++;
		r->name = s[i].run;
		for (size_t k = i; k < j; k++)
			r->at[r->n++] = s[k].at;
	}
	mm_free(s);
	return rc;
}

/* ---- the whole ---- */

static void set_extent(struct mm_view *v)
{
	if (!v->n) {
		v->x0 = v->y0 = -1;
		v->x1 = v->y1 = 1;
		return;
	}
	v->x0 = v->x1 = v->point[0].x;
	v->y0 = v->y1 = v->point[0].y;
	for (size_t i = 1; i < v->n; i++) {
		v->x0 = fmin(v->x0, v->point[i].x);
		v->x1 = fmax(v->x1, v->point[i].x);
		v->y0 = fmin(v->y0, v->point[i].y);
		v->y1 = fmax(v->y1, v->point[i].y);
	}
	/* One model, or all in one place: room around it. Relative to the size of the numbers, so that it is not lost.
	 */
	double room = fmax(fmax(v->x1 - v->x0, v->y1 - v->y0) * 1e-3, fmax(fabs(v->x0), fabs(v->y0)) * 1e-9);
	room = room > 0 ? room : 1;
	if (v->x1 - v->x0 < room) {
		v->x0 -= room;
		v->x1 += room;
	}
	if (v->y1 - v->y0 < room) {
		v->y0 -= room;
		v->y1 += room;
	}
}

int mm_view_make(struct mm_view *v, json_t *map, json_t *models, json_t *alerts, struct mm_err *err)
{
	*v = (struct mm_view){ .map = map, .models = models, .alerts = alerts };
	size_t n;
	struct named *places = index_of(json_object_get(map, "points"), "name", &n, err);
	int rc = !places || make_points(v, err) ? -1 : 0;
	if (!rc)
		rc = make_families(v, places, n, err) || make_runs(v, places, n, err) ? -1 : 0;
	mm_free(places);
	if (rc) {
		mm_view_free(v);
		return -1;
	}
	mark_alerts(v);
	set_extent(v);
	const json_t *share = json_object_get(map, "explained"), *quality = json_object_get(map, "quality");
	v->epoch = mm_int(map, "epoch", 0);
	v->method = mm_str(map, "method");
	v->unit = mm_str(map, "unit");
	v->domain = mm_str(map, "domain");
	v->dims = mm_int(map, "dims", 2);
	v->trustworthiness = mm_num(quality, "trustworthiness", NAN);
	v->recall = mm_num(quality, "knn_recall", NAN);
	for (size_t i = 0; i < 2; i++) /* shares are of the projection's axes */
		v->explained[i] = !strcmp(v->method, "pca") && json_is_number(json_array_get(share, i))
					  ? json_number_value(json_array_get(share, i))
					  : NAN;
	return 0;
}

void mm_view_free(struct mm_view *v)
{
	for (size_t i = 0; i < v->n_run; i++)
		mm_free(v->run[i].at);
	mm_free(v->run);
	mm_free(v->family);
	mm_free(v->point);
	json_decref(v->map);
	json_decref(v->models);
	json_decref(v->alerts);
	*v = (struct mm_view){ 0 };
}

void mm_view_caption(const struct mm_view *v, char *out, size_t cap)
{
	struct mm_buf b = { 0 };
	mm_buf_printf(&b, "%zu model%s, epoch %lld, %s", v->n, v->n == 1 ? "" : "s", (long long)v->epoch,
		*v->method ? v->method : "no map yet");
	if (v->dims == 3 && strcmp(v->method, "pca") != 0)
		mm_buf_str(&b, " in space (two axes shown)");
	if (*v->domain)
		mm_buf_printf(&b, ", texts of %s", v->domain);
	if (isfinite(v->explained[0]) && isfinite(v->explained[1]))
		mm_buf_printf(&b, ": axes show %.0f %% + %.0f %% of the variance", 100 * v->explained[0],
			100 * v->explained[1]);
	if (isfinite(v->trustworthiness) && isfinite(v->recall))
		mm_buf_printf(&b, "; trustworthiness %.3f, %.0f %% of the 10 nearest kept", v->trustworthiness,
			100 * v->recall);
	snprintf(out, cap, "%s", b.data ? (const char *)b.data : "");
	mm_buf_fini(&b);
}

double mm_tick_step(double span, int n)
{
	double raw = span / MM_MAX(n, 1), p = pow(10, floor(log10(raw))), f = raw / p;
	return p * (f <= 1 ? 1 : f <= 2 ? 2 : f <= 5 ? 5 : 10);
}
