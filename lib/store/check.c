/* check.c - is the structure of store.mdb sound?
 *
 * LMDB trusts its pages: a damaged one makes it read outside the map, loop, or hand out a page that is in use. Records
 * have checksums of their own (record.c), the tree around them has none. So before LMDB opens the file, every page that
 * the newest meta page leads to is looked at once: header, node offsets, child and overflow page numbers, order of
 * keys, the list of free pages; and no page has two owners. A file that passes cannot make LMDB go astray; what it
 * does not see is damage inside values (the records' checksums do) and damage that happens later.
 *
 * File format of LMDB 0.9 with 64-bit words, native byte order:
 *   page    number u64, pad u16, flags u16, lower u16, upper u16 (overflow: number of pages u32), offsets u16[]
 *   node    u16 lo, u16 hi, u16 flags, u16 key size, key, data
 *           branch: child = lo | hi << 16 | flags << 32; leaf: data size = lo | hi << 16
 *   db      u32 pad, u16 flags, u16 depth, u64 branch, leaf, overflow pages, u64 entries, u64 root
 *   meta    (pages 0 and 1, behind a page header) u32 magic, u32 version, u64 address, u64 map size, db free, db main,
 *           u64 last page, u64 transaction; the page size is the pad of `free`
 */
#include "store/store_priv.h"

#include <string.h>

#define MAGIC	   0xBEEFC0DEu
#define FORMAT	   1u
#define PAGE_HEAD  16u
#define NODE_HEAD  8u
#define DB_SIZE	   48u
#define NO_PAGE	   UINT64_MAX
#define DEPTH_MAX  32u
#define META_BYTES (24u + 2 * DB_SIZE + 16u)
#define MAIN_MAX   64u /* databases: far more than there are */

enum { P_BRANCH = 0x01, P_LEAF = 0x02, P_OVERFLOW = 0x04, P_META = 0x08 };
enum { F_BIGDATA = 0x01, F_SUBDATA = 0x02 };
enum tree { T_FREE, T_MAIN, T_NAMED };

struct check {
	const uint8_t *file;
	uint64_t in_file, n_page; /* whole pages in the file; pages that the store has given out */
	size_t psize;
	uint8_t *seen; /* a bit for each page: it has an owner */
	struct mm_err *err;
};

struct db {
	uint16_t flags, depth;
	uint64_t entries, root;
};

static uint16_t u16_at(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static uint64_t u64_at(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static int bad(struct check *c, uint64_t page, const char *what)
{
	return mm_fail(c->err, MM_ECORRUPT, "page %llu: %s", (unsigned long long)page, what);
}

static struct db db_at(const uint8_t *p)
{
	return (struct db){
		.flags = u16_at(p + 4), .depth = u16_at(p + 6), .entries = u64_at(p + 32), .root = u64_at(p + 40)
	};
}

/* Gives `n` pages an owner. Pages in use must be in the file; free ones may never have been written. */
static int claim(struct check *c, uint64_t page, uint64_t n, uint64_t end)
{
	if (page < 2 || n > end || page > end - n)
		return bad(c, page, "lies outside the file");
	for (uint64_t i = page; i < page + n; i++) {
		if (c->seen[i / 8] & 1u << i % 8)
			return bad(c, i, "is used twice");
		c->seen[i / 8] |= (uint8_t)(1u << i % 8);
	}
	return 0;
}

static int walk(struct check *c, enum tree tree, uint64_t page, unsigned depth, uint64_t *entries);

/* A large value in pages of its own. */
static int overflow(struct check *c, uint64_t page, size_t size)
{
	uint64_t n = (PAGE_HEAD - 1 + (uint64_t)size) / c->psize + 1;
	if (claim(c, page, n, MM_MIN(c->in_file, c->n_page)))
		return -1;
	const uint8_t *p = c->file + page * c->psize;
	if (u64_at(p) != page || u16_at(p + 10) != P_OVERFLOW || u32_at(p + 12) != n)
		return bad(c, page, "is not the large value that it should be");
	return 0;
}

static int free_list(struct check *c, uint64_t page, const uint8_t *data, size_t size)
{
	uint64_t n = size >= 8 ? u64_at(data) : 0;
	if (size < 8 || n > size / 8 - 1)
		return bad(c, page, "list of free pages: its length is wrong");
	for (uint64_t i = 1; i <= n; i++)
		if (claim(c, u64_at(data + 8 * i), 1, c->n_page))
			return mm_wrap(c->err, "list of free pages");
	return 0;
}

static int tree_of(struct check *c, enum tree tree, const struct db *db)
{
	uint64_t entries = 0;
	/* The list of free pages has integer keys, and flags of the environment in the upper byte. */
	if (tree == T_FREE ? (db->flags & 0xff) != 0x08 : db->flags & 0x7fff)
		return mm_fail(c->err, MM_ECORRUPT, "a database of an unknown kind (%#x)", db->flags);
	if (db->root == NO_PAGE && !db->depth && !db->entries)
		return 0;
	if (db->depth < 1 || db->depth > DEPTH_MAX)
		return mm_fail(c->err, MM_ECORRUPT, "a database of depth %u", db->depth);
	if (walk(c, tree, db->root, db->depth, &entries))
		return -1;
	if (entries != db->entries)
		return mm_fail(c->err, MM_ECORRUPT, "a database has %llu entries and counts %llu",
			(unsigned long long)entries, (unsigned long long)db->entries);
	return 0;
}

/* One value; `room` bytes of the page lie behind `data`. */
static int leaf_value(
	struct check *c, enum tree tree, uint64_t page, unsigned flags, const uint8_t *data, size_t size, size_t room)
{
	const uint8_t *value = data;
	if (flags & ~(unsigned)(F_BIGDATA | F_SUBDATA))
		return bad(c, page, "a node of an unknown kind");
	if (flags & F_BIGDATA) {
		if (room < 8)
			return bad(c, page, "a node reaches over the end");
		if (overflow(c, u64_at(data), size))
			return -1;
		value = c->file + u64_at(data) * c->psize + PAGE_HEAD;
	} else if (size > room) {
		return bad(c, page, "a node reaches over the end");
	}
	if (tree == T_FREE)
		return free_list(c, page, value, size);
	if (tree == T_MAIN) {
		if (flags != F_SUBDATA || size != DB_SIZE)
			return bad(c, page, "does not hold a database where one should be");
		struct db db = db_at(data);
		return tree_of(c, T_NAMED, &db);
	}
	return flags & F_SUBDATA ? bad(c, page, "holds a database where none should be") : 0;
}

static bool key_before(enum tree tree, const uint8_t *a, size_t na, const uint8_t *b, size_t nb)
{
	if (tree == T_FREE)
		return na == 8 && nb == 8 && u64_at(a) < u64_at(b);
	int d = memcmp(a, b, MM_MIN(na, nb));
	return d < 0 || (!d && na < nb);
}

/* Node i of the page: where it is and how long its key is, all of it inside the page. */
static const uint8_t *node_at(struct check *c, const uint8_t *p, size_t i, size_t upper, size_t *key, size_t *room)
{
	size_t at = u16_at(p + PAGE_HEAD + 2 * i);
	if (at < upper || at > c->psize - NODE_HEAD)
		return NULL;
	*key = u16_at(p + at + 6);
	if (*key > c->psize - at - NODE_HEAD)
		return NULL;
	*room = c->psize - at - NODE_HEAD - *key;
	return p + at;
}

static int walk(struct check *c, enum tree tree, uint64_t page, unsigned depth, uint64_t *entries)
{
	if (claim(c, page, 1, MM_MIN(c->in_file, c->n_page)))
		return -1;
	const uint8_t *p = c->file + page * c->psize, *last = NULL;
	size_t lower = u16_at(p + 12), upper = u16_at(p + 14), last_len = 0, n = (lower - PAGE_HEAD) / 2;
	bool leaf = depth == 1;
	if (u64_at(p) != page || u16_at(p + 10) != (leaf ? P_LEAF : P_BRANCH))
		return bad(c, page, "is not the page that it should be");
	if (lower < PAGE_HEAD || lower % 2 || lower > upper || upper > c->psize)
		return bad(c, page, "its bounds are wrong");
	if (n < (leaf || tree == T_FREE ? 1u : 2u) || (tree == T_MAIN && leaf && n > MAIN_MAX))
		return bad(c, page, "has a wrong number of nodes");
	for (size_t i = 0; i < n; i++) {
		size_t key, room;
		const uint8_t *node = node_at(c, p, i, upper, &key, &room);
		if (!node)
			return bad(c, page, "a node reaches over the end");
		unsigned flags = u16_at(node + 4);
		uint64_t low = u16_at(node) | (uint64_t)u16_at(node + 2) << 16;
		if (leaf && (!key || (tree == T_FREE && key != 8)))
			return bad(c, page, "a key is missing");
		/* A branch's first key stands for "everything smaller" and may be empty. */
		if (i > (leaf ? 0u : 1u) && !key_before(tree, last, last_len, node + NODE_HEAD, key))
			return bad(c, page, "its keys are not in order");
		last = node + NODE_HEAD;
		last_len = key;
		if (leaf ? leaf_value(c, tree, page, flags, node + NODE_HEAD + key, (size_t)low, room)
			 : walk(c, tree, low | (uint64_t)flags << 32, depth - 1, entries))
			return -1;
	}
	*entries += leaf ? n : 0;
	return 0;
}

/* The meta page at `p` when it is one. */
static const uint8_t *meta_at(const uint8_t *p)
{
	return u16_at(p + 10) & P_META && u32_at(p + PAGE_HEAD) == MAGIC && u32_at(p + PAGE_HEAD + 4) == FORMAT
		       ? p + PAGE_HEAD
		       : NULL;
}

static int check_map(const struct mm_map *m, struct mm_err *err)
{
	struct check c = { .file = m->data, .err = err };
	const size_t free_at = 24, main_at = free_at + DB_SIZE, last_at = main_at + DB_SIZE;
	if (m->size < PAGE_HEAD + META_BYTES || !meta_at(m->data))
		return mm_fail(err, MM_ECORRUPT, "its first page is not that of an LMDB file");
	c.psize = u32_at(m->data + PAGE_HEAD + free_at);
	if (c.psize < 512 || c.psize > 65536 || c.psize & (c.psize - 1) || m->size < 2 * c.psize)
		return mm_fail(err, MM_ECORRUPT, "page size %zu, %zu bytes", c.psize, m->size);
	const uint8_t *meta = meta_at(m->data), *other = meta_at(m->data + c.psize);
	if (!other || u32_at(other + free_at) != c.psize)
		return mm_fail(err, MM_ECORRUPT, "its second page is not that of an LMDB file");
	/* Commits go to the two in turn, so their numbers follow each other. If they do not, one is damaged, and taking
	 * the other would silently go back in time. */
	uint64_t even = u64_at(meta + last_at + 8), odd = u64_at(other + last_at + 8);
	if ((even || odd) && (even % 2 || !(odd % 2) || (even + 1 != odd && odd + 1 != even)))
		return mm_fail(err, MM_ECORRUPT,
			"the numbers of its last two transactions, %llu and %llu, do not follow",
			(unsigned long long)even, (unsigned long long)odd);
	if (even < odd)
		meta = other;
	c.in_file = m->size / c.psize;
	if (u64_at(meta + last_at) > UINT64_MAX / 65536 - 1)
		return mm_fail(err, MM_ECORRUPT, "its last page has an impossible number");
	c.n_page = u64_at(meta + last_at) + 1;
	/* Pages that were given out and freed within one transaction may be missing at the end, but not most of it. */
	if (c.n_page / 2 > c.in_file)
		return mm_fail(err, MM_ETRUNC, "has %llu of %llu pages", (unsigned long long)c.in_file,
			(unsigned long long)c.n_page);
	if (!(c.seen = mm_calloc((size_t)(c.n_page / 8 + 1), 1, err)))
		return -1;
	struct db free_db = db_at(meta + free_at), main_db = db_at(meta + main_at);
	int rc = tree_of(&c, T_FREE, &free_db) || tree_of(&c, T_MAIN, &main_db) ? -1 : 0;
	mm_free(c.seen);
	return rc;
}

int mm_store_check_file(const char *path, struct mm_err *err)
{
	struct mm_map m;
	if (mm_map_open(&m, path, err))
		return -1;
	int rc = check_map(&m, err);
	mm_map_close(&m);
	if (!rc || err->code == MM_ENOMEM)
		return rc;
	err->code = MM_ECORRUPT;
	mm_wrap(err, "store %s is damaged", path);
	char why[sizeof err->text];
	memcpy(why, err->text, sizeof why);
	return mm_fail(err, MM_ECORRUPT,
		"%s. Put a backup in its place (made with `modelmap backup`), or move it away to start anew", why);
}
