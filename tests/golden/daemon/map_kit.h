/* map_kit.h: what tests of the map and of its alerts do with the models of fake_reg.h. */
#ifndef MAP_KIT_H
#define MAP_KIT_H

#include "fake_reg.h"

static inline void shuffle(size_t *order, size_t n, uint64_t seed)
{
	struct mm_rng rng;
	mm_rng_init(&rng, seed);
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t i = n; i-- > 1;) {
		size_t j = mm_rng_below(&rng, i + 1), tmp = order[i];
		order[i] = order[j];
		order[j] = tmp;
	}
}

static inline void arrive(struct mm_daemon *d, struct mm_model_entry *e)
{
	mm_map_scored(d, e);
	mm_alerts_model(d, e);
	settle_down(d);
}

static inline size_t n_alerts(struct mm_daemon *d, const char *kind, enum mm_alert_state state)
{
	size_t n = 0;
	for (size_t i = 0; i < d->alerts->n; i++)
		n += (!kind || strcmp(d->alerts->rec[i]->kind, kind) == 0) && d->alerts->rec[i]->state == state;
	return n;
}

static inline void refit(struct mm_daemon *d)
{
	json_decref(ask(d, mm_cmd_refit, NULL, NULL));
	settle_down(d);
}

static inline double num(json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}
static inline const char *str(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

#endif
