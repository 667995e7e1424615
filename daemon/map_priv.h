/* map_priv.h - inner doors of the map: map.c, map_place.c, map_refit.c, map_store.c, cmd_map.c, alert_rules.c.
 *
 * A member is a model that has a vector (its own, or that of the model whose copy it is). Members stand in one array;
 * member i holds its distances to the members before it, so that together they are the lower triangle of the distance
 * matrix and a new member only appends a row. A member whose `dist` is NULL is still being placed by the worker.
 *
 * What an epoch freezes (threshold, means, axes) is in struct mm_epoch. Everything here belongs to the loop thread; the
 * worker sees snapshots only (struct mm_snap), whose vectors stay valid because mm_map_retire keeps them. */
#ifndef MM_MAP_PRIV_H
#define MM_MAP_PRIV_H

#include "daemon/daemon.h"
#include "stat/stat.h"

#define MM_MAP_DIMS 3

/* Layouts that are not projections: a new model is placed among the fixed points of the fit. Bit w of a mask is layout
 * w; which of them an epoch has is the configuration's business. */
enum mm_layout { MM_LAYOUT_MDS, MM_LAYOUT_TSNE, MM_LAYOUT_MDS3, MM_LAYOUT_TSNE3, MM_LAYOUT_COUNT };
struct mm_layout_kind {
	const char *name; /* in the store and in descriptions of an epoch */
	const char *method;
	size_t dims;
	bool tsne;
};
extern const struct mm_layout_kind mm_layout_kinds[MM_LAYOUT_COUNT];
/* Above so many models of the fit a layout is made of half as many of them, the landmarks, and the rest placed among
 * these. */
#define MM_LANDMARKS_FROM 20000

/* Rows times texts that the loop thread may walk through itself (about a millisecond); more goes to the worker. */
#define MM_MAP_SYNC_MAX ((size_t)4 << 20)

struct mm_place {
	struct mm_model_entry *e;
	size_t at;	  /* own index among the members */
	float *dist;	  /* [at] two_kl to the earlier members; NULL: not there yet (or at == 0) */
	bool placed;	  /* coord and var are there */
	bool in_fit;	  /* threshold, means and axes of the epoch were made with it */
	uint32_t version; /* grows when its vector is replaced */
	double var;	  /* of the clipped vector, over the texts */
	double nearest;	  /* two_kl to the nearest other member; INFINITY when alone */
	size_t nearest_at;
	double coord[MM_MAP_DIMS]; /* sqrt(nats per text) */
	double alt[MM_LAYOUT_COUNT][3];
	unsigned has_alt; /* mask */
	struct mm_isolation iso;
	bool iso_known; /* iso was computed at least once in this epoch, among enough models */
};

struct mm_epoch {
	uint64_t id; /* 0: none */
	struct mm_pca pca;
	double origin[MM_MAP_DIMS]; /* added to what the axes give: the shift of the alignment */
	unsigned has_alt;	    /* mask: layouts that the fit's members have */
	json_t *info;		    /* what `epochs` shows */
};

struct mm_snap { /* one member as a worker sees it */
	uint64_t id;
	const float *vec; /* [n] valid until unpinned */
	uint32_t version;
	bool fit;     /* takes part in threshold, means and axes */
	bool had_old; /* old is its place in the last epoch */
	double old[MM_MAP_DIMS];
	unsigned has_old_alt; /* mask */
	double old_alt[MM_LAYOUT_COUNT][3];
};

struct mm_waiter { /* a client that waits for the refit */
	uint64_t token;
	struct mm_waiter *next;
};

struct mm_chart {
	struct mm_place **member; /* [n] */
	size_t n, cap;
	uint64_t n_order; /* grows when members change their places in the array */
	struct mm_epoch epoch;
	json_t *epochs;			/* descriptions of all epochs, oldest first */
	bool refit_running;		/* on the worker */
	double held_until;		/* monotonic: growth makes no epoch before (an import goes on) */
	bool refit_again;		/* asked for while one was running */
	bool place_running;		/* one placement is on the worker */
	struct mm_waiter *waiters;	/* of the running refit */
	struct mm_waiter *waiters_next; /* of the one after it */
	unsigned pins;			/* snapshots in use */
	float **retired;
	size_t n_retired, cap_retired;
	size_t sync_max;	/* MM_MAP_SYNC_MAX; tests lower it */
	size_t landmarks_from;	/* MM_LANDMARKS_FROM; tests lower it */
	struct mm_boot boot;	/* resamples of the texts, domain after domain */
	uint32_t *by_domain;	/* [n texts] texts in the order of their domains */
	uint32_t *domain_start; /* [n domains + 1] into by_domain */
};

/* ---- map.c ---- */
/* The vector that counts for the entry: its own or that of the model it is a copy of. NULL: none. */
const float *mm_map_vec(const struct mm_daemon *d, const struct mm_model_entry *e);
/* Is the member there for queries: it has a vector and its entry is on the map. */
bool mm_map_live(const struct mm_daemon *d, const struct mm_place *p);
struct mm_place *mm_map_member(const struct mm_daemon *d, const struct mm_model_entry *e); /* NULL: none */
/* two_kl from p to every member, [n]; from the triangle where it is known, else from the vectors (INFINITY without
 * one). Says nothing about who is live. */
void mm_map_distances(const struct mm_daemon *d, const struct mm_place *p, double *out);
double mm_map_distance(const struct mm_daemon *d, const struct mm_place *a, const struct mm_place *b);
double mm_map_clip(const struct mm_daemon *d); /* threshold of the epoch; MM_NO_CLIP before the first */
void mm_map_pin(struct mm_daemon *d);
void mm_map_unpin(struct mm_daemon *d);
/* The vector of every live member; `fit` says who belongs to the first k_fit. */
enum mm_snap_order {
	MM_SNAP_MEMBERS,   /* as the members stand */
	MM_SNAP_FIT_FIRST, /* those that may make an epoch (no open anomaly alert) first */
	MM_SNAP_MADE_FIRST /* those that made the epoch there is first */
};
struct mm_snap *mm_map_snapshot(
	struct mm_daemon *d, enum mm_snap_order order, size_t *k, size_t *k_fit, struct mm_err *err) MM_MUST_CHECK;

/* Growth makes no epoch for so many seconds; 0: it may again. */
void mm_map_hold(struct mm_daemon *d, double seconds);
/* Has the map grown enough for a new epoch? */
bool mm_map_refit_due(const struct mm_daemon *d);

/* ---- map_place.c ---- */
/* Starts with the next member that has no place yet; small ones are placed at once. */
void mm_map_place_next(struct mm_daemon *d);
void mm_map_project(const struct mm_chart *m, const float *vec, double coord[MM_MAP_DIMS]);
void mm_map_nearest_all(struct mm_daemon *d); /* from the triangle */
/* After distances changed: who is isolated now; tells the alerts about every change. `fresh`: the new member, or NULL.
 */
void mm_map_isolation(struct mm_daemon *d, const struct mm_place *fresh);
/* method: -1 the projection, else enum mm_layout */
json_t *mm_map_point_json(const struct mm_daemon *d, const struct mm_place *p, int method);
void mm_map_point_who(const struct mm_model_entry *e, json_t *o); /* adds family, run, step, gone; o may be NULL */

/* ---- map_domain.c ---- */
/* `map` on the texts of args' domain: deferred. */
int mm_map_domain(
	struct mm_daemon *d, const json_t *args, int method, struct mm_reply *reply, struct mm_err *err) MM_MUST_CHECK;

/* ---- cmd_map.c ---- */
void mm_map_set_method(json_t *o, int method); /* "method", "dims", "unit", "quality"; o may be NULL */
/* Adds "epoch" and "clip" (null: no threshold); takes o, which may be NULL. */
json_t *mm_with_epoch(const struct mm_daemon *d, json_t *o);
int mm_reply_body(struct mm_reply *reply, json_t *o, struct mm_err *err) MM_MUST_CHECK; /* takes o; NULL: no memory */
/* args' `key` names a model: its place; why it is not on the map is the error. */
const struct mm_place *mm_map_place_arg(
	const struct mm_daemon *d, const json_t *args, const char *key, struct mm_err *err);

/* ---- map_refit.c ---- */
/* A new epoch from all live members without an open anomaly alert. token != 0: answered when it is done. */
void mm_map_refit(struct mm_daemon *d, uint64_t token);
/* At start: the triangle for the loaded epoch. */
void mm_map_rebuild(struct mm_daemon *d);

/* ---- map_layout.c ---- */
/* Layouts of the fit's k models; coord [k_all, 3] is the projection. alt[w]: [k_all, dims], the fit's first; NULL: not
 * wanted. On a worker; describes each in `info`. */
struct mm_layouts {
	const struct mm_snap *s;
	const struct mm_tri *tri; /* of all */
	size_t k, k_all;
	const double *coord;
	double *const *alt; /* [MM_LAYOUT_COUNT] */
	size_t landmarks_from;
	json_t *info; /* {"pca": {quality}, "mds": ..., "tsne": ...} */
};
int mm_map_layouts(struct mm_layouts *l, const _Atomic bool *cancel, struct mm_err *err) MM_MUST_CHECK;
/* Only the last part of it: the models behind the fit's k, placed among these. */
int mm_map_layout_others(const struct mm_layouts *l, struct mm_err *err) MM_MUST_CHECK;
/* Place of one more model with distances d[k] to the fit's points alt[k, dims]. */
int mm_map_layout_place(const double *d, const double *alt, size_t k, enum mm_layout which, double *out,
	struct mm_err *err) MM_MUST_CHECK;
unsigned mm_layouts_wanted(const struct mm_config *c); /* mask */

/* ---- map_store.c ---- */
/* alt[w]: [k.., dims], NULL: not made */
int mm_map_epoch_save(struct mm_daemon *d, const struct mm_epoch *e, const struct mm_snap *s, const double *coord,
	double *const *alt, size_t k, struct mm_err *err) MM_MUST_CHECK;
struct mm_points {		      /* of one epoch: models of its fit */
	uint64_t *ids;		      /* [k] */
	double *coord;		      /* [k, 3] */
	double *alt[MM_LAYOUT_COUNT]; /* [k, dims] or NULL */
	size_t k;
};
void mm_points_fini(struct mm_points *p);
/* Loads descriptions and the last epoch with its points; a damaged one is reported and treated as none. */
int mm_map_epoch_load(struct mm_daemon *d, struct mm_points *p, struct mm_err *err) MM_MUST_CHECK;
/* Points and description of any epoch. */
int mm_map_epoch_points(
	struct mm_daemon *d, uint64_t epoch, struct mm_points *p, json_t **info, struct mm_err *err) MM_MUST_CHECK;

/* ---- alerts.c ---- */
bool mm_alerts_anomaly_open(const struct mm_daemon *d, uint64_t model);

#endif
