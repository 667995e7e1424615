/* tok_spm_file.c - reads a SentencePiece model file: a protocol buffer.
 *
 *	ModelProto: 1 pieces { 1 text, 2 score (f32), 3 type }, 2 trainer { 3 kind, 24 suffix, 35 byte fallback, 45-47
 *names }, 3 normalizer { 2 table, 3 dummy prefix, 4 remove extra spaces, 5 escape spaces }
 *
 * Unknown fields are skipped, as the format demands. Without a tokenizer_config.json the template is: BOS in front if
 *the model has one.
 */
#include "model/tok_priv.h"

#include <stdlib.h>
#include <string.h>

#define PIECES_MAX (1u << 24)

/* ---- protocol buffers ---- */

struct field {
	uint32_t no;
	unsigned wire;
	uint64_t value;	     /* wire 0, 1, 5 */
	struct tok_str data; /* wire 2 */
};

static uint64_t varint(struct mm_cur *c)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b = mm_cur_u8(c);
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	c->failed = true;
	return 0;
}

/* The next field; false at the end or when it is malformed (c->failed). */
static bool next_field(struct mm_cur *c, struct field *f)
{
	uint64_t key, n;
	if (c->failed || !mm_cur_left(c))
		return false;
	key = varint(c);
	*f = (struct field){ .no = (uint32_t)(key >> 3), .wire = (unsigned)key & 7 };
	if (f->wire == 0)
		f->value = varint(c);
	else if (f->wire == 1)
		f->value = mm_cur_u64(c);
	else if (f->wire == 5)
		f->value = mm_cur_u32(c);
	else if (f->wire == 2) {
		n = varint(c);
		f->data = (struct tok_str){ mm_cur_bytes(c, n), (size_t)n };
	} else
		c->failed = true;
	if (!f->no || key >> 32)
		c->failed = true;
	return !c->failed;
}

/* A field's number with its type: 2 << 3 | 2 is a string */
#define F(no, wire) ((uint32_t)(no) << 3 | (wire))

static bool read_bool(const struct field *f)
{
	return f->value != 0;
}

/* ---- the messages ---- */

struct spm_file {
	struct tok_spm *m;
	struct tok_vocab *v;
	double *score;
	size_t n, cap_score, cap_type;
	struct tok_str table, bos, eos;
	bool has_unk;
};

static int read_piece(struct spm_file *sf, struct tok_str msg, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(msg.s, msg.n);
	struct tok_str text = { (const uint8_t *)"", 0 };
	uint64_t type = TOK_SPM_NORMAL;
	float score = 0;
	struct field f;
	while (next_field(&c, &f))
		switch (F(f.no, f.wire)) {
		case F(1, 2):
			text = f.data;
			break;
		case F(2, 5): {
			uint32_t bits = (uint32_t)f.value;
			memcpy(&score, &bits, 4);
			break;
		}
		case F(3, 0):
			type = f.value;
			break;
		}
	if (c.failed || !text.n || type < TOK_SPM_NORMAL || type > TOK_SPM_BYTE || score != score)
		return mm_fail(err, MM_EFORMAT, "piece %zu is malformed", sf->n);
	if (!tok_utf8_valid(text.s, text.n))
		return mm_fail(err, MM_EFORMAT, "piece %zu is not valid UTF-8", sf->n);
	if (sf->n >= PIECES_MAX)
		return mm_fail(err, MM_EUNSUPPORTED, "more than %u pieces", PIECES_MAX);
	if (tok_vocab_get(sf->v, text.s, text.n) != TOK_NONE)
		return mm_fail(err, MM_EFORMAT, "piece %zu is there twice", sf->n);
	if (mm_grow(&sf->score, &sf->cap_score, sf->n + 1, sizeof(*sf->score), err) ||
		mm_grow(&sf->m->type, &sf->cap_type, sf->n + 1, 1, err) ||
		tok_vocab_put(sf->v, text, (uint32_t)sf->n, err))
		return -1;
	sf->score[sf->n] = score;
	sf->m->type[sf->n] = (uint8_t)type;
	if (type == TOK_SPM_UNKNOWN) {
		if (sf->has_unk)
			return mm_fail(err, MM_EFORMAT, "two unknown pieces");
		sf->has_unk = true;
		sf->m->unk = (uint32_t)sf->n;
	}
	sf->m->has_unused = sf->m->has_unused || type == TOK_SPM_UNUSED;
	sf->n++;
	return 0;
}

static int read_trainer(struct spm_file *sf, struct tok_str msg, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(msg.s, msg.n);
	struct field f;
	while (next_field(&c, &f))
		switch (F(f.no, f.wire)) {
		case F(3, 0):
			if (f.value < TOK_SPM_UNIGRAM || f.value > TOK_SPM_CHAR)
				return mm_fail(err, MM_EUNSUPPORTED, "model kind %llu", (unsigned long long)f.value);
			sf->m->kind = (enum tok_spm_kind)f.value;
			break;
		case F(24, 0):
			sf->m->suffix = read_bool(&f);
			break;
		case F(35, 0):
			sf->m->byte_fallback = read_bool(&f);
			break;
		case F(46, 2):
			sf->bos = f.data;
			break;
		case F(47, 2):
			sf->eos = f.data;
			break;
		}
	return c.failed ? mm_fail(err, MM_EFORMAT, "malformed trainer part") : 0;
}

static int read_normalizer(struct spm_file *sf, struct tok_str msg, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(msg.s, msg.n);
	struct field f;
	while (next_field(&c, &f))
		switch (F(f.no, f.wire)) {
		case F(2, 2):
			sf->table = f.data;
			break;
		case F(3, 0):
			sf->m->dummy = read_bool(&f);
			break;
		case F(4, 0):
			sf->m->fold = read_bool(&f);
			break;
		case F(5, 0):
			sf->m->escape = read_bool(&f);
			break;
		}
	return c.failed ? mm_fail(err, MM_EFORMAT, "malformed normalizer part") : 0;
}

static int read_model(struct spm_file *sf, struct tok_str file, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(file.s, file.n);
	struct field f;
	int rc = 0;
	while (!rc && next_field(&c, &f))
		switch (F(f.no, f.wire)) {
		case F(1, 2):
			rc = read_piece(sf, f.data, err);
			break;
		case F(2, 2):
			rc = read_trainer(sf, f.data, err);
			break;
		case F(3, 2):
			rc = read_normalizer(sf, f.data, err);
			break;
		}
	if (!rc && c.failed)
		rc = mm_fail(err, MM_EFORMAT, "malformed or cut at byte %zu", c.off);
	if (!rc && !sf->has_unk)
		rc = mm_fail(err, MM_EFORMAT, "no unknown piece");
	return rc;
}

/* ---- what follows from them ---- */

struct by_score {
	double score;
	uint32_t i;
};

static int higher(const void *a, const void *b)
{
	const struct by_score *x = a, *y = b;
	return x->score > y->score ? -1 : x->score < y->score ? 1 : x->i < y->i ? -1 : x->i > y->i;
}

int tok_rank_scores(const double *score, size_t n, uint32_t *rank, struct mm_err *err)
{
	struct by_score *s = mm_calloc(n, sizeof(*s), err);
	uint32_t r = 0;
	if (!s)
		return -1;
	for (size_t i = 0; i < n; i++)
		s[i] = (struct by_score){ score[i], (uint32_t)i };
	qsort(s, n, sizeof(*s), higher);
	for (size_t i = 0; i < n; i++) {
		r += i && s[i].score < s[i - 1].score;
		rank[s[i].i] = r;
	}
	mm_free(s);
	return 0;
}

static int bytes_table(struct spm_file *sf, struct mm_err *err)
{
	for (unsigned b = 0; b < 256; b++) {
		char code[8];
		uint32_t id;
		snprintf(code, sizeof(code), "<0x%02X>", b);
		id = tok_vocab_get(sf->v, (const uint8_t *)code, 6);
		if (sf->m->byte_fallback && (id == TOK_NONE || sf->m->type[id] != TOK_SPM_BYTE))
			return mm_fail(err, MM_EFORMAT, "byte piece %s is missing", code);
		sf->m->byte_id[b] = id;
	}
	return 0;
}

static int user_trie(struct spm_file *sf, struct mm_err *err)
{
	struct tok_spm *m = sf->m;
	for (size_t i = 0; i < sf->v->n; i++) {
		const struct tok_ent *e = &sf->v->ent[i];
		if (m->type[e->id] != TOK_SPM_USER)
			continue;
		if (!m->user && !(m->user = tok_trie_new(256, err)))
			return -1;
		if (tok_trie_put(m->user, (struct tok_str){ sf->v->blob.data + e->off, e->len }, e->id, err))
			return -1;
	}
	return 0;
}

static int cuts(struct spm_file *sf, struct mm_err *err)
{
	struct tok_spm *m = sf->m;
	uint32_t meta = tok_vocab_get(sf->v, (const uint8_t *)TOK_META, 3);
	if (!m->escape || m->has_unused || meta == TOK_NONE || !tok_spm_is_text(m, meta))
		return 0;
	m->glue = mm_calloc(0x110000 / 8, 1, err);
	if (!m->glue)
		return -1;
	for (size_t i = 0; i < sf->v->n; i++)
		tok_glue_mark(m->glue, (struct tok_str){ sf->v->blob.data + sf->v->ent[i].off, sf->v->ent[i].len });
	m->cut = true;
	return 0;
}

static int build_bpe(struct spm_file *sf, struct mm_err *err)
{
	uint32_t *rank = mm_calloc(sf->n, sizeof(*rank), err);
	int rc = rank ? tok_rank_scores(sf->score, sf->n, rank, err) : -1;
	if (!rc)
		rc = tok_spm_pairs(sf->m, sf->v, rank, err);
	mm_free(rank);
	if (!rc && sf->m->has_unused)
		sf->m->merges.watch = sf->m->type;
	return rc;
}

static int build(struct spm_file *sf, struct mm_err *err)
{
	struct tok_spm *m = sf->m;
	struct tok_unigram_opts opts = { .byte_fallback = m->byte_fallback, .spm = true, .unk = m->unk };
	m->n = sf->n;
	if (tok_vocab_seal(sf->v, err) || bytes_table(sf, err) || user_trie(sf, err))
		return -1;
	if (sf->table.n && !(m->map = tok_charsmap_new(sf->table.s, sf->table.n, err)))
		return -1;
	if (m->kind == TOK_SPM_UNIGRAM) {
		m->unigram = tok_unigram_new(sf->v, sf->score, m->type, &opts, err);
		return m->unigram ? 0 : -1;
	}
	if (m->kind == TOK_SPM_BPE && build_bpe(sf, err))
		return -1;
	return cuts(sf, err);
}

static int64_t control(const struct spm_file *sf, struct tok_str name)
{
	uint32_t id = tok_vocab_get(sf->v, name.s, name.n);
	return id != TOK_NONE && sf->m->type[id] == TOK_SPM_CONTROL ? (int64_t)id : -1;
}

/* add_bos_token and add_eos_token decide; without them: BOS for all but T5, which ends a text with EOS instead. */
static int template(struct mm_tok *tok, const json_t *conf, struct mm_err *err)
{
	const char *class = "";
	bool t5, bos, eos;
	if (mm_json_get_str(conf, "tokenizer_class", &class, err))
		return -1;
	t5 = !strncmp(class, "T5Tokenizer", 11);
	bos = !t5;
	eos = t5;
	if (mm_json_get_bool(conf, "add_bos_token", &bos, err) || mm_json_get_bool(conf, "add_eos_token", &eos, err))
		return -1;
	if (bos && tok->bos >= 0 && tok_template_add(tok, false, (uint32_t)tok->bos, err))
		return -1;
	return eos && tok->eos >= 0 ? tok_template_add(tok, true, (uint32_t)tok->eos, err) : 0;
}

bool tok_spm_looks(struct tok_str s)
{
	return s.n > 4 && s.s[0] == 0x0a; /* field 1, the first piece */
}

int tok_open_spm(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err)
{
	static const char *const class[] = { [TOK_SPM_UNIGRAM] = "spm-unigram",
		[TOK_SPM_BPE] = "spm-bpe",
		[TOK_SPM_WORD] = "spm-word",
		[TOK_SPM_CHAR] = "spm-char" };
	struct spm_file sf = { .v = &tok->vocab, .bos = TOK_LIT("<s>"), .eos = TOK_LIT("</s>") };
	json_t *none = NULL;
	int rc;
	sf.m = mm_calloc(1, sizeof(*sf.m), err);
	tok->ops = &tok_spm_ops;
	tok->model = sf.m;
	if (!sf.m || tok_vocab_init(&tok->vocab, src->part[0].n / 16, err))
		return -1;
	sf.m->kind = TOK_SPM_UNIGRAM;
	sf.m->dummy = sf.m->fold = sf.m->escape = true;
	rc = read_model(&sf, src->part[0], err);
	if (!rc)
		rc = build(&sf, err);
	mm_free(sf.score);
	if (rc)
		return -1;
	tok->class = class[sf.m->kind];
	tok->strip_prefix = sf.m->dummy;
	tok->bos = control(&sf, sf.bos);
	tok->eos = control(&sf, sf.eos);
	if (!conf)
		conf = none = json_object();
	tok_conf_apply(tok, conf);
	rc = conf ? template(tok, conf, err) : mm_fail(err, MM_ENOMEM, "out of memory");
	json_decref(none);
	return rc;
}
