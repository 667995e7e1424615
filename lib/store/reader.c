/* reader.c - reading from another thread than the loop's: a worker that goes through large arrays.
 *
 * LMDB's readers see the store as it was when they began, and hold nobody up; only the map may not grow under them,
 * which therefore waits for them as it does for copies (env.c). A reader belongs to the thread that began it and is
 * short: what is needed for long is copied. */
#include "store/store_priv.h"

static void leave(struct mm_store *s)
{
	pthread_mutex_lock(&s->mu);
	if (!--s->n_copy)
		pthread_cond_broadcast(&s->no_copy);
	pthread_mutex_unlock(&s->mu);
}

struct mm_txn *mm_reader_begin(struct mm_store *s, struct mm_err *err)
{
	struct mm_txn *t = mm_calloc(1, sizeof *t, err);
	if (!t)
		return NULL;
	pthread_mutex_lock(&s->mu);
	s->n_copy++;
	pthread_mutex_unlock(&s->mu);
	int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t->x);
	if (rc) {
		leave(s);
		mm_lmdb_fail(err, rc, "cannot begin to read the store");
		mm_free(t);
		return NULL;
	}
	t->store = s;
	return t;
}

void mm_reader_end(struct mm_txn *t)
{
	if (!t)
		return;
	struct mm_store *s = t->store;
	mdb_txn_abort(t->x);
	mm_free(t);
	leave(s);
}
