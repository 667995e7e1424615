/* ready_record.c - a candidate and its record: which belongs to which, and what a probe's answer puts into it. */
#include "daemon/core_priv.h"

void mm_cand_attach(struct mm_cand *c, struct mm_model_entry *e)
{
	struct mm_cand *before = e->ready_state;
	if (before && before != c)
		before->e = NULL;
	if (c->e && c->e != e)
		c->e->ready_state = NULL;
	c->e = e;
	e->ready_state = c;
}

/* A record for the path: the one there is, else a new one. */
struct mm_model_entry *mm_cand_record(struct mm_cand *c, struct mm_err *err)
{
	if (c->e)
		return c->e;
	char *name = mm_reg_make_name(c->d, c->root, c->path, NULL, err);
	struct mm_model_entry *e = name ? mm_reg_add(c->d, name, c->path, err) : NULL;
	mm_free(name);
	if (!e || mm_reg_run_step(c->root, c->path, &e->rec.run, &e->rec.step, err))
		return NULL;
	mm_cand_attach(c, e);
	return e;
}

int mm_cand_meta(struct mm_model_rec *to, const struct mm_probe_result *p, struct mm_err *err)
{
	to->params = p->params ? p->params : to->params;
	to->bytes = p->bytes ? p->bytes : p->file_bytes;
	to->context = p->context;
	to->vocab = p->vocab;
	to->modified = p->newest_ns / 1000000000;
	return (p->family && mm_reg_str(&to->family, p->family, err)) ||
			       (p->architecture && mm_reg_str(&to->architecture, p->architecture, err)) ||
			       (p->dtype && mm_reg_str(&to->dtype, p->dtype, err)) ||
			       (p->container && mm_reg_str(&to->container, p->container, err)) ||
			       (p->base_claimed && mm_reg_str(&to->base_claimed, p->base_claimed, err))
		       ? -1
		       : 0;
}

/* The answer was taken in; the next one is of a new change. */
void mm_cand_accepted(struct mm_cand *c)
{
	c->changed = false;
	c->twin = 0;
	c->n_error = 0;
	mm_probe_result_fini(&c->probe);
}
