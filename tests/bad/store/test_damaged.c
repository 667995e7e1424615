/* test_damaged.c - a damaged record or array is reported and all others are served; a damaged file structure is refused
 * with a message; no flipped bit and no cut makes the program crash or read a wrong value. */
#include "tests/unit/store/kit.h"

#include <fcntl.h>
#include <sys/stat.h>

#define N_MODEL 40
#define N_FLOAT 300

static float value(uint64_t id, int i)
{
	return (float)id + (float)i / N_FLOAT;
}

/* Small vectors within leaf pages, every eighth large enough for pages of its own; two levels of tree. */
static void fill(const char *dir)
{
	struct mm_err err = { 0 };
	struct mm_store *s = kit_open(dir);
	static float x[16 * N_FLOAT];
	for (uint64_t id = 1; id <= N_MODEL; id++) {
		struct mm_model_rec m;
		struct mm_job_rec j;
		struct mm_alert_rec al;
		struct mm_txn *t = mm_txn_begin(s, true, &err);
		size_t n = id % 8 ? N_FLOAT : 16 * N_FLOAT;
		for (size_t i = 0; i < n; i++)
			x[i] = value(id, (int)i);
		kit_fill(&mm_layout_model, &m, (unsigned)id);
		kit_fill(&mm_layout_job, &j, (unsigned)id);
		kit_fill(&mm_layout_alert, &al, (unsigned)id);
		m.id = j.id = al.id = id;
		struct mm_stored_array a = kit_array("loglik", x, n);
		assert_int_equal(mm_model_put(t, &m, &err), 0);
		assert_int_equal(mm_job_put(t, &j, &err), 0);
		assert_int_equal(mm_alert_put(t, &al, &err), 0);
		assert_int_equal(mm_array_put(t, id, &a, &err), 0);
		a = kit_array("basis", x, n);
		assert_int_equal(mm_epoch_put(t, id, "{\"clip\":1}", &a, 1, &err), 0);
		assert_int_equal(mm_txn_commit(t, &err), 0);
		mm_model_rec_fini(&m);
		mm_job_rec_fini(&j);
		mm_alert_rec_fini(&al);
	}
	mm_store_close(s);
}

struct tally {
	unsigned good, bad;
	uint64_t bad_id;
};

static int good_model(const struct mm_model_rec *m, void *ctx, struct mm_err *err)
{
	struct tally *t = ctx;
	struct mm_model_rec want;
	(void)err;
	kit_fill(&mm_layout_model, &want, (unsigned)m->id);
	want.id = m->id;
	assert_true(kit_same(&mm_layout_model, m, &want));
	mm_model_rec_fini(&want);
	t->good++;
	return 0;
}

static int good_job(const struct mm_job_rec *j, void *ctx, struct mm_err *err)
{
	struct mm_job_rec want;
	(void)err;
	kit_fill(&mm_layout_job, &want, (unsigned)j->id);
	want.id = j->id;
	assert_true(kit_same(&mm_layout_job, j, &want));
	mm_job_rec_fini(&want);
	((struct tally *)ctx)->good++;
	return 0;
}

static int good_alert(const struct mm_alert_rec *a, void *ctx, struct mm_err *err)
{
	(void)a, (void)err;
	((struct tally *)ctx)->good++;
	return 0;
}

static void bad_model(uint64_t id, const char *why, void *ctx)
{
	struct tally *t = ctx;
	assert_true(why && why[0]);
	t->bad++;
	t->bad_id = id;
}

static void bad_any(const char *what, uint64_t id, const char *why, void *ctx)
{
	assert_true(what[0]);
	bad_model(id, why, ctx);
}

/* Reads all there is: every value is right, or is reported as damaged. Returns the number of damaged ones. */
static unsigned read_all(struct mm_store *s)
{
	struct mm_err err = { 0 };
	struct tally models = { 0 }, rest = { 0 };
	unsigned damaged = 0;
	mm_store_on_bad(s, bad_any, &rest);
	struct mm_txn *t = mm_txn_begin(s, false, &err);
	assert_non_null(t);
	assert_int_equal(mm_model_each(t, good_model, bad_model, &models, &err), 0);
	assert_int_equal(models.good + models.bad, N_MODEL);
	assert_int_equal(mm_job_each(t, good_job, &rest, &err), 0);
	assert_int_equal(mm_alert_each(t, good_alert, &rest, &err), 0);
	assert_int_equal(rest.good + rest.bad, 2 * N_MODEL);
	for (uint64_t id = 1; id <= N_MODEL; id++) {
		for (int k = 0; k < 2; k++) {
			struct mm_stored_array a;
			if (k ? mm_epoch_array(t, id, "basis", &a, &err) : mm_array_get(t, id, "loglik", &a, &err)) {
				assert_true(err.code == MM_ECORRUPT || err.code == MM_ENOENT);
				damaged++;
				continue;
			}
			const uint8_t *p = a.data;
			for (size_t i = 0; i < a.n_byte / 4; i++) {
				float x = value(id, (int)i);
				if (memcmp(p + 4 * i, &x, 4))
					fail_msg("model %llu: a wrong value", (unsigned long long)id);
			}
		}
		char *json;
		if (mm_epoch_json(t, id, &json, &err)) {
			assert_true(err.code == MM_ECORRUPT || err.code == MM_ENOENT);
			damaged++;
		} else {
			assert_string_equal(json, "{\"clip\":1}");
			mm_free(json);
		}
	}
	mm_txn_abort(t);
	return damaged + models.bad + rest.bad;
}

/* ---- damage inside values ---- */

static void each_damaged_record_alone(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	(void)state;
	fill(dir);
	struct mm_store *s = kit_open(dir);
	assert_int_equal(read_all(s), 0);
	static const enum mm_dbi dbs[] = { MM_D_MODELS, MM_D_JOBS, MM_D_ALERTS, MM_D_EPOCHS };
	struct mm_rng rng;
	mm_rng_init(&rng, 7);
	for (size_t k = 0; k < MM_COUNT(dbs); k++) {
		struct mm_key key = mm_key_of(17, NULL);
		for (int kind = 0; kind < 40; kind++) {
			MDB_val old, val;
			struct mm_txn *t = mm_txn_begin(s, true, &err);
			assert_int_equal(mm_txn_get(t, dbs[k], mm_key_val(&key), &old, &err), 0);
			uint8_t *copy = mm_calloc(old.mv_size + 1, 1, &err), *saved = mm_calloc(old.mv_size, 1, &err);
			memcpy(copy, old.mv_data, old.mv_size);
			memcpy(saved, old.mv_data, old.mv_size);
			val = (MDB_val){ old.mv_size, copy };
			if (kind == 0)
				val.mv_size = 0;
			else if (kind == 1)
				val.mv_size--;
			else if (kind == 2)
				val.mv_size++;
			else
				copy[mm_rng_below(&rng, old.mv_size)] ^= (uint8_t)(1u << kind % 8);
			size_t n = old.mv_size;
			assert_int_equal(mm_txn_put(t, dbs[k], mm_key_val(&key), &val, &err), 0);
			assert_int_equal(mm_txn_commit(t, &err), 0);
			assert_int_equal(read_all(s), 1);
			t = mm_txn_begin(s, true, &err);
			val = (MDB_val){ n, saved };
			assert_int_equal(mm_txn_put(t, dbs[k], mm_key_val(&key), &val, &err), 0);
			assert_int_equal(mm_txn_commit(t, &err), 0);
			mm_free(copy);
			mm_free(saved);
		}
	}
	/* A sound record under another's key is damage too; and a damaged one can be written anew. */
	struct mm_key one = mm_key_of(1, NULL), two = mm_key_of(2, NULL);
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	MDB_val val;
	assert_int_equal(mm_txn_get(t, MM_D_MODELS, mm_key_val(&one), &val, &err), 0);
	uint8_t *copy = mm_calloc(val.mv_size, 1, &err);
	memcpy(copy, val.mv_data, val.mv_size);
	val.mv_data = copy;
	assert_int_equal(mm_txn_put(t, MM_D_MODELS, mm_key_val(&two), &val, &err), 0);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	assert_int_equal(read_all(s), 1);
	struct mm_model_rec m;
	kit_fill(&mm_layout_model, &m, 2);
	m.id = 2;
	t = mm_txn_begin(s, true, &err);
	assert_int_equal(mm_model_put(t, &m, &err), 0);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	assert_int_equal(read_all(s), 0);
	mm_model_rec_fini(&m);
	mm_free(copy);
	mm_store_close(s);
	kit_rm(dir);
}

/* ---- damage to the file ---- */

static void write_file(const char *dir, const char *data, size_t len)
{
	char path[128];
	snprintf(path, sizeof path, "%s/store.mdb", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	close(fd);
}

/* Opens the damaged file: refused as corrupt, or all that it serves is right. */
static bool try_open(const char *dir)
{
	struct mm_err err = { 0 };
	struct mm_store_pin pin = kit_pin();
	struct mm_store *s = mm_store_open(dir, &pin, &err);
	if (!s) {
		if (!err.text[0] || (err.code != MM_ECORRUPT && err.code != MM_EUNSUPPORTED))
			fail_msg("%s: %s", mm_err_name(err.code), err.text);
		return false;
	}
	read_all(s);
	/* Writing walks the same pages and uses the free ones. */
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	struct mm_model_rec m;
	kit_fill(&mm_layout_model, &m, 3);
	m.id = 0;
	assert_int_equal(mm_model_put(t, &m, &err), 0);
	assert_int_equal(mm_job_del(t, 5, &err), 0);
	static float x[16 * N_FLOAT];
	struct mm_stored_array a = kit_array("loglik", x, MM_COUNT(x));
	assert_int_equal(mm_array_put(t, 8, &a, &err), 0); /* over an old one: its pages become free */
	assert_int_equal(mm_array_put(t, 9, &a, &err), 0);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	mm_model_rec_fini(&m);
	mm_store_close(s);
	return true;
}

static void flipped_and_cut_files(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	char path[128];
	size_t len, refused = 0, served = 0;
	struct mm_rng rng;
	(void)state;
	fill(dir);
	snprintf(path, sizeof path, "%s/store.mdb", dir);
	char *file = mm_file_read(path, 64 << 20, &len, &err);
	assert_non_null(file);
	mm_rng_init(&rng, getenv("MM_SEED") ? strtoull(getenv("MM_SEED"), NULL, 10) : 11); /* for longer searches */
	/* The metas byte by byte, page headers and offsets often, the rest now and then. */
	for (size_t at = 0; at < len; at++) {
		size_t in_page = at % 4096, page = at / 4096;
		uint64_t every = in_page >= 160 ? 2000 : page < 2 ? 2 : in_page < 16 ? 5 : 40;
		if (mm_rng_below(&rng, every))
			continue;
		char old = file[at];
		file[at] = mm_rng_below(&rng, 2) ? (char)(old ^ (1 << mm_rng_below(&rng, 8)))
						 : (char)mm_rng_below(&rng, 256);
		write_file(dir, file, len);
		*(try_open(dir) ? &served : &refused) += 1;
		file[at] = old;
	}
	for (size_t cut = 0; cut < len; cut += 1 + mm_rng_below(&rng, len / 40)) {
		write_file(dir, file, cut);
		/* An empty file is an empty store: LMDB makes it anew. Any other cut has lost something. */
		if (cut)
			assert_false(try_open(dir));
	}
	print_message("%zu refused, %zu served\n", refused, served);
	assert_true(refused > 20 && served > 20);
	write_file(dir, file, len);
	assert_true(try_open(dir));
	mm_free(file);
	kit_rm(dir);
}

static void other_files(void **state)
{
	static const char text[] = "this is not a database\n";
	const char *dir = kit_dir();
	(void)state;
	write_file(dir, text, sizeof text);
	assert_false(try_open(dir));
	char *big = calloc(1, 1 << 20);
	assert_non_null(big);
	write_file(dir, big, 1 << 20);
	assert_false(try_open(dir));
	memset(big, 0xff, 1 << 20);
	write_file(dir, big, 1 << 20);
	assert_false(try_open(dir));
	free(big);
	kit_rm(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_damaged_record_alone),
		cmocka_unit_test(flipped_and_cut_files),
		cmocka_unit_test(other_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
