/* score_resume.c: what a killed job had done already.
 *
 * A file of the caller's: a header, then one chunk after each batch of texts.
 *
 *	header	"MMRESUM2", key (16 bytes), number of texts (u64)
 *	chunk	number of records and of features (u32 each), records {text u32, mink20 f32,
 *		mink20pp f32, 0 u32, loglik f64}, features (struct mm_feat_row), XXH3-64 of all that chained to the
 *		chunk before
 *
 * The key is of everything that the numbers depend on: files of the model (sizes, times, sampled contents), text set,
 * BOS policy, arithmetic, kernel, the program's version. Another key, and the file is begun again. A chunk that was cut
 * or spoilt ends the reading; what follows is cut off. Because a text has the same bits in whatever batch, a job that
 * goes on has the bits of one that was never interrupted.
 *
 * It is an aid, not a result: when it cannot be written the job goes on without. Numbers are of the machine's own byte
 * order: the kernel's name in the key would not fit another machine anyway. */
#include "model/ckpt_priv.h"
#include "model/score_priv.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "MMRESUM2"

struct head {
	char magic[8];
	struct mm_hash key;
	uint64_t n;
};

struct record {
	uint32_t text;
	float mink20, mink20pp;
	uint32_t zero;
	double loglik;
};

struct mm_resume {
	int fd;
	struct head head;
	uint64_t chain; /* checksum of the last chunk */
	struct record *done;
	size_t n_done, cap_done;
	struct mm_feat_row *feat, *fresh_feat;
	size_t n_feat, cap_feat, n_fresh_feat, cap_fresh_feat;
	uint8_t *seen;	      /* [n] */
	struct record *fresh; /* not written yet */
	size_t n_fresh, cap_fresh;
	double wait, last;
};

int mm_resume_key(const struct mm_model *m, const struct mm_texts *texts, enum mm_bos bos, const char *tag,
	struct mm_hash *out, struct mm_err *err)
{
	struct mm_hash quick;
	struct mm_hasher *h = mm_hasher_new(err);
	if (!h)
		return -1;
	int rc = mm_fingerprint_quick(m->ck, &quick, err);
	mm_hasher_put(h, &quick, sizeof(quick));
	for (size_t i = 0; !rc && i < m->ck->n_file; i++) {
		struct stat st;
		if (stat(m->ck->file[i].path, &st)) {
			rc = mm_fail_errno(err, "%s", m->ck->file[i].path);
			break;
		}
		int64_t id[4] = { (int64_t)st.st_ino, (int64_t)st.st_size, (int64_t)st.st_mtim.tv_sec,
			(int64_t)st.st_mtim.tv_nsec };
		mm_hasher_put(h, id, sizeof(id));
	}
	mm_hasher_put(h, &texts->hash, sizeof(texts->hash));
	int32_t kinds[2] = { (int32_t)bos, (int32_t)m->compute };
	mm_hasher_put(h, kinds, sizeof(kinds));
	mm_hasher_str(h, m->kernel);
	mm_hasher_str(h, tag ? tag : "");
	*out = mm_hasher_get(h);
	mm_hasher_free(h);
	return rc;
}

static uint64_t sum_of(uint64_t chain, const struct record *r, const struct mm_feat_row *f, const uint32_t n[2])
{
	uint64_t part[5] = { chain, n[0], mm_hash64(r, n[0] * sizeof(*r)), n[1], mm_hash64(f, n[1] * sizeof(*f)) };
	return mm_hash64(part, n[1] ? sizeof(part) : 3 * sizeof(part[0]));
}

static bool record_good(const struct mm_resume *r, const struct record *x)
{
	return x->text < r->head.n && isfinite(x->loglik) && isfinite(x->mink20) && isfinite(x->mink20pp);
}

static bool feat_good(const struct mm_feat_row *x)
{
	double sum = 0;
	for (size_t b = 0; b < MM_PROBES_BYTES; b++)
		sum += x->p[b];
	return x->probe < MM_PROBES_MAX && fabs(sum - 1) < 1e-6 && isfinite(x->missed);
}

/* Takes one chunk of `len` bytes at p; 0: it is none, else its size. */
static size_t chunk_take(struct mm_resume *r, const uint8_t *p, size_t len)
{
	uint32_t n[2];
	uint64_t sum;
	struct mm_err err;
	if (len < sizeof(n))
		return 0;
	memcpy(n, p, sizeof(n));
	size_t room = len - sizeof(n), size = n[0] * sizeof(struct record), feats = n[1] * sizeof(struct mm_feat_row);
	if (n[0] + (uint64_t)n[1] == 0 || n[0] > r->head.n || n[1] > MM_PROBES_MAX || room < size ||
		room - size < feats || room - size - feats < sizeof(sum) ||
		mm_grow(&r->done, &r->cap_done, r->n_done + n[0], sizeof(*r->done), &err) ||
		mm_grow(&r->feat, &r->cap_feat, r->n_feat + n[1], sizeof(*r->feat), &err))
		return 0;
	/* of either kind there may be none, and then no array */
	struct record *to = size ? r->done + r->n_done : NULL;
	struct mm_feat_row *feat = feats ? r->feat + r->n_feat : NULL;
	if (size)
		memcpy(to, p + sizeof(n), size);
	if (feats)
		memcpy(feat, p + sizeof(n) + size, feats);
	memcpy(&sum, p + sizeof(n) + size + feats, sizeof(sum));
	if (sum != sum_of(r->chain, to, feat, n))
		return 0;
	for (size_t i = 0; i < n[0]; i++)
		if (!record_good(r, &to[i]))
			return 0;
	for (size_t i = 0; i < n[1]; i++)
		if (!feat_good(&feat[i]))
			return 0;
	r->chain = sum;
	r->n_done += n[0];
	r->n_feat += n[1];
	return sizeof(n) + size + feats + sizeof(sum);
}

static void read_old(struct mm_resume *r, const char *path)
{
	struct mm_err err;
	size_t len, at = sizeof(struct head), k, max = 1024 + (size_t)r->head.n * 64;
	max += (sizeof(struct mm_feat_row) + 16) * MM_PROBES_MAX;
	uint8_t *p = (uint8_t *)mm_file_read(path, max, &len, &err);
	if (p && len >= sizeof(struct head) && !memcmp(p, &r->head, sizeof(struct head)))
		while ((k = chunk_take(r, p + at, len - at)))
			at += k;
	else
		at = 0;
	for (size_t i = 0; i < r->n_done; i++)
		r->seen[r->done[i].text] = 1;
	if (p && at) {
		r->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
		if (r->fd >= 0 && ftruncate(r->fd, (off_t)at)) {
			close(r->fd);
			r->fd = -1;
		}
	}
	mm_free(p);
}

struct mm_resume *mm_resume_open(const char *path, struct mm_hash key, size_t n, double wait, struct mm_err *err)
{
	struct mm_resume *r = mm_calloc(1, sizeof(*r), err);
	if (!r || !(r->seen = mm_calloc(n, 1, err))) {
		mm_free(r);
		return NULL;
	}
	r->fd = -1;
	memcpy(r->head.magic, MAGIC, 8);
	r->head.key = key;
	r->head.n = n;
	r->chain = mm_hash64(&r->head, sizeof(r->head));
	r->wait = wait;
	r->last = mm_monotonic();
	read_old(r, path);
	return r;
}

void mm_resume_close(struct mm_resume *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	mm_free(r->done);
	mm_free(r->fresh);
	mm_free(r->feat);
	mm_free(r->fresh_feat);
	mm_free(r->seen);
	mm_free(r);
}

bool mm_resume_has(const struct mm_resume *r, size_t text)
{
	return r->seen[text];
}

void mm_resume_give(const struct mm_resume *r, double *loglik, float *mink20, float *mink20pp)
{
	for (size_t i = 0; i < r->n_done; i++) {
		loglik[r->done[i].text] = r->done[i].loglik;
		mink20[r->done[i].text] = r->done[i].mink20;
		mink20pp[r->done[i].text] = r->done[i].mink20pp;
	}
}

void mm_resume_add(struct mm_resume *r, size_t text, double loglik, float mink20, float mink20pp)
{
	struct mm_err err;
	if (!isfinite(mink20) || !isfinite(mink20pp) ||
		mm_grow(&r->fresh, &r->cap_fresh, r->n_fresh + 1, sizeof(*r->fresh), &err))
		return;
	r->fresh[r->n_fresh++] = (struct record){ (uint32_t)text, mink20, mink20pp, 0, loglik };
}

void mm_resume_add_feat(struct mm_resume *r, const struct mm_feat_row *row)
{
	struct mm_err err;
	if (!mm_grow(&r->fresh_feat, &r->cap_fresh_feat, r->n_fresh_feat + 1, sizeof(*row), &err))
		r->fresh_feat[r->n_fresh_feat++] = *row;
}

const struct mm_feat_row *mm_resume_feats(const struct mm_resume *r, size_t *n)
{
	*n = r->n_feat;
	return r->feat;
}

static bool put(int fd, const void *p, size_t n)
{
	return write(fd, p, n) == (ssize_t)n;
}

void mm_resume_flush(struct mm_resume *r, const char *path)
{
	double now = mm_monotonic();
	if (r->n_fresh + r->n_fresh_feat == 0 || now - r->last < r->wait)
		return;
	r->last = now;
	if (r->fd == -1) { /* a job that ends before this never makes a file */
		r->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (r->fd < 0 || !put(r->fd, &r->head, sizeof(r->head)))
			goto broken;
	}
	uint32_t n[2] = { (uint32_t)r->n_fresh, (uint32_t)r->n_fresh_feat };
	uint64_t sum = sum_of(r->chain, r->fresh, r->fresh_feat, n);
	if (!put(r->fd, n, sizeof(n)) || !put(r->fd, r->fresh, n[0] * sizeof(*r->fresh)) ||
		!put(r->fd, r->fresh_feat, n[1] * sizeof(*r->fresh_feat)) || !put(r->fd, &sum, sizeof(sum)))
		goto broken;
	r->chain = sum;
	r->n_fresh = r->n_fresh_feat = 0;
	return;
broken:
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -2;
	r->wait = INFINITY;
}
