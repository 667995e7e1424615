/* env.c - the LMDB environment: opening, the lock on the state directory, growth, copies.
 *
 * The map is address space, not memory or disk: it starts large and sparse and doubles. LMDB wants no transaction of
 * this process open while it changes; `n_txn` counts those of the loop thread, `n_copy` the copies that other threads
 * make. All functions but mm_store_copy are called from one thread.
 */
#include "store/store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_START (UINT64_C(1) << 30)
#define MAP_END	  (UINT64_C(1) << 46) /* half of the address space of a process */
#define FILE_MODE 0640

static const char *const db_names[MM_N_DBI] = {
	[MM_D_META] = "meta",
	[MM_D_MODELS] = "models",
	[MM_D_ARRAYS] = "arrays",
	[MM_D_JOBS] = "jobs",
	[MM_D_ALERTS] = "alerts",
	[MM_D_EPOCHS] = "epochs",
	[MM_D_EPOCH_ARRAYS] = "epoch_arrays",
	[MM_D_SCORES] = "scores",
};

int mm_lmdb_fail(struct mm_err *err, int rc, const char *fmt, ...)
{
	char what[500];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	if (rc > 0) { /* of the system */
		errno = rc;
		return mm_fail_errno(err, "%s", what);
	}
	bool damaged =
		rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH;
	return mm_fail(err, damaged ? MM_ECORRUPT : MM_EIO, "%s: %s", what, mdb_strerror(rc));
}

/* ---- one process for each state directory ---- */

/* flock, because the kernel drops it when the process ends, however it ends. */
static int lock_dir(struct mm_store *s, struct mm_err *err)
{
	char text[32] = "";
	int rc = -1;
	char *path = mm_path_join(s->dir, "lock", err);
	if (!path)
		return -1;
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (s->lock_fd < 0) {
		mm_fail_errno(err, "cannot open %s", path);
	} else if (!flock(s->lock_fd, LOCK_EX | LOCK_NB)) {
		int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
		/* The pid is only for people: a full disk must not keep the daemon from reading its store. */
		if (!ftruncate(s->lock_fd, 0) && pwrite(s->lock_fd, text, (size_t)n, 0) < 0)
			errno = 0;
		rc = 0;
	} else if (errno == EWOULDBLOCK) {
		ssize_t n = pread(s->lock_fd, text, sizeof text - 1, 0);
		text[strcspn(text, "\n")] = 0;
		mm_fail(err, MM_ECONFLICT,
			"state directory %s is in use by another modelmapd%s%s: stop that one, or give this one a "
			"state_dir of its own",
			s->dir, n > 0 && text[0] ? ", pid " : "", n > 0 ? text : "");
	} else {
		mm_fail_errno(err, "cannot lock %s", path);
	}
	mm_free(path);
	return rc;
}

/* A new file is lasting only when its directory is. */
static void sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

/* ---- open ---- */

/* One sync a commit (of the data) where LMDB does two: the meta page reaches the disk with the next commit or the
 * kernel's own write-back. The file stays whole whatever happens; a power failure may take back the last commit, and
 * then that model is looked at or scored again. A killed process loses nothing. The loop waits for this sync, so it is
 * half of what a query may wait. */
#define FLAGS (MDB_NOSUBDIR | MDB_NOTLS | MDB_NOMETASYNC)

/* `file_size` of an existing store decides how much room the map has in front of it. */
static int open_env(struct mm_store *s, size_t map, struct mm_err *err)
{
	struct stat st;
	int rc = -1;
	char *path = mm_path_join(s->dir, "store.mdb", err);
	if (!path)
		return -1;
	bool fresh = stat(path, &st) != 0 || st.st_size == 0;
	if (!fresh && mm_store_check_file(path, err))
		goto out;
	s->map = map;
	while (!fresh && s->map / 2 < (uint64_t)st.st_size && s->map < MAP_END)
		s->map *= 2;
	if ((rc = mdb_env_create(&s->env)) || (rc = mdb_env_set_maxdbs(s->env, MM_N_DBI)) ||
		(rc = mdb_env_set_mapsize(s->env, s->map)) || (rc = mdb_env_open(s->env, path, FLAGS, FILE_MODE))) {
		rc = mm_lmdb_fail(err, rc, "cannot open %s", path);
		goto out;
	}
	int dead;
	mdb_reader_check(s->env, &dead); /* slots of a process that was killed would keep old pages for ever */
	if (fresh)
		sync_dir(s->dir);
out:
	mm_free(path);
	return rc;
}

struct opening {
	const struct mm_store_pin *pin;
};

static int open_dbs(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	struct opening *o = ctx;
	for (int i = 0; i < MM_N_DBI; i++) {
		int rc = mdb_dbi_open(t->x, db_names[i], MDB_CREATE, &t->store->dbi[i]);
		if (rc == MDB_MAP_FULL) {
			t->full = true;
			return mm_fail(err, MM_EBUSY, "the store had to grow");
		}
		if (rc)
			return mm_lmdb_fail(err, rc, "cannot open the database %s", db_names[i]);
	}
	if (mm_store_check_schema(t, err))
		return -1;
	return mm_store_check_pin(t, o->pin, err);
}

struct mm_store *mm_store_open_sized(const char *dir, const struct mm_store_pin *pin, size_t map, struct mm_err *err)
{
	struct opening o = { pin };
	struct mm_store *s = mm_calloc(1, sizeof *s, err);
	if (!s)
		return NULL;
	s->lock_fd = -1;
	pthread_mutex_init(&s->mu, NULL);
	pthread_cond_init(&s->no_copy, NULL);
	if (!(s->dir = mm_strdup(dir, err)) || mm_mkdirs(dir, 0750, err) || lock_dir(s, err) || open_env(s, map, err) ||
		mm_store_write(s, open_dbs, &o, err)) {
		mm_store_close(s);
		return NULL;
	}
	return s;
}

struct mm_store *mm_store_open(const char *dir, const struct mm_store_pin *pin, struct mm_err *err)
{
	return mm_store_open_sized(dir, pin, MAP_START, err);
}

void mm_store_close(struct mm_store *s)
{
	if (!s)
		return;
	if (s->env)
		mdb_env_close(s->env);
	if (s->lock_fd >= 0)
		close(s->lock_fd); /* last: nobody else may open before LMDB has let go */
	pthread_mutex_destroy(&s->mu);
	pthread_cond_destroy(&s->no_copy);
	mm_free(s->dir);
	mm_free(s);
}

const struct mm_store_pin *mm_store_pin_get(const struct mm_store *s)
{
	return &s->pin;
}

void mm_store_on_bad(
	struct mm_store *s, void (*fn)(const char *what, uint64_t id, const char *why, void *ctx), void *ctx)
{
	s->bad = fn;
	s->bad_ctx = ctx;
}

/* ---- growth and copies ---- */

int mm_store_grow(struct mm_store *s, bool wait, struct mm_err *err)
{
	if (s->n_txn)
		return mm_fail(err, MM_EBUSY, "the store cannot grow while a transaction is open");
	if (s->map >= MAP_END)
		return mm_fail(err, MM_ENOMEM, "the store has reached %zu bytes, the end of the address space", s->map);
	/* A copy reads through the map. Growth ahead of time (txn.c), which does not wait, makes waiting here rare. */
	pthread_mutex_lock(&s->mu);
	if (s->n_copy && !wait) {
		pthread_mutex_unlock(&s->mu);
		return mm_fail(err, MM_EBUSY, "the store cannot grow while it is copied");
	}
	while (s->n_copy)
		pthread_cond_wait(&s->no_copy, &s->mu);
	int rc = mdb_env_set_mapsize(s->env, s->map * 2);
	if (!rc)
		s->map *= 2;
	pthread_mutex_unlock(&s->mu);
	return rc ? mm_lmdb_fail(err, rc, "the store cannot grow beyond %zu bytes", s->map) : 0;
}

int mm_store_copy(struct mm_store *s, int fd, struct mm_err *err)
{
	pthread_mutex_lock(&s->mu);
	s->n_copy++;
	pthread_mutex_unlock(&s->mu);
	off_t start = lseek(fd, 0, SEEK_CUR);
	int rc = mdb_env_copyfd2(s->env, fd, MDB_CP_COMPACT);
	/* Compacting wants every page accounted for and gives up otherwise; a plain copy takes them all. */
	if (rc == MDB_INCOMPATIBLE && start >= 0 && !ftruncate(fd, start) && lseek(fd, start, SEEK_SET) == start)
		rc = mdb_env_copyfd2(s->env, fd, 0);
	pthread_mutex_lock(&s->mu);
	if (!--s->n_copy)
		pthread_cond_broadcast(&s->no_copy);
	pthread_mutex_unlock(&s->mu);
	return rc ? mm_lmdb_fail(err, rc, "cannot copy the store") : 0;
}

/* ---- figures ---- */

static int count(struct mm_txn *t, enum mm_dbi db, uint64_t *n, struct mm_err *err)
{
	MDB_stat st;
	int rc = mdb_stat(t->x, t->store->dbi[db], &st);
	*n = rc ? 0 : st.ms_entries;
	return rc ? mm_lmdb_fail(err, rc, "cannot count %s", db_names[db]) : 0;
}

int mm_store_stat(struct mm_store *s, struct mm_store_stat *out, struct mm_err *err)
{
	MDB_envinfo info;
	MDB_stat st;
	*out = (struct mm_store_stat){ 0 };
	struct mm_txn *t = mm_txn_begin(s, false, err);
	if (!t)
		return -1;
	int rc = count(t, MM_D_MODELS, &out->n_models, err) || count(t, MM_D_JOBS, &out->n_jobs, err) ||
				 count(t, MM_D_ALERTS, &out->n_alerts, err)
			 ? -1
			 : 0;
	mm_txn_abort(t);
	if (!rc && !mdb_env_info(s->env, &info) && !mdb_env_stat(s->env, &st)) {
		out->bytes_used = (info.me_last_pgno + 1) * st.ms_psize;
		out->bytes_map = info.me_mapsize;
	}
	return rc;
}
