/* test_features.c: next-byte distributions against the brute force of feat_brute.h, on tiny tokenizers of each class
 * and on the conformance checkpoints' own; a byte-level model, where the answer is the softmax; the projection. */
#include "feat_brute.h"

#define MODEL  "tests/fixtures/conformance/llama-mha"
#define SAME   1e-6 /* what is asked for; f32 logits give about 1e-7 */
#define N_TINY 12
#define N_REAL 6
#define N_MORE 8
#define RANKS  256u /* of the first token of two bytes */

static const char *const lines[] = { "abcab cabba", "bab abc d\u00e9ab", "cabcab abcabc", "a bb abab",
	"d\u00e9d\u00e9 abc", "abcabcabcab" };

/* ---- tiny tokenizers ---- */

struct piece {
	const char *bytes, *json;
};

/* Characters as GPT-2's alphabet writes their bytes; then merges, each of two that are there. */
static const struct piece bytelevel[] = { { "a", "a" }, { "b", "b" }, { "c", "c" }, { "d", "d" }, { " ", "\u0120" },
	{ "\xc3", "\u00c3" }, { "\xa9", "\u00a9" }, { "ab", "ab" }, { "abc", "abc" }, { " a", "\u0120a" },
	{ " ab", "\u0120ab" }, { "ca", "ca" }, { "\xc3\xa9", "\u00c3\u00a9" }, { "d\xc3\xa9", "d\u00c3\u00a9" },
	{ "bb", "bb" }, { " b", "\u0120b" } };
static const char bytelevel_merges[] = "[\"a b\",\"\u0120 a\",\"\u0120a b\",\"ab c\",\"c a\",\"\u00c3 \u00a9\",\"d "
				       "\u00c3\u00a9\",\"b b\",\"\u0120 b\"]";

static const struct piece spm[] = { { "a", "a" }, { "b", "b" }, { "c", "c" }, { " ", "\u2581" }, { "ab", "ab" },
	{ " a", "\u2581a" }, { "abc", "abc" }, { " ab", "\u2581ab" }, { "ca", "ca" }, { "bc", "bc" },
	{ "  ", "\u2581\u2581" } };
static const char spm_merges[] = "[\"\u2581 a\",\"a b\",\"ab c\",\"\u2581 ab\",\"\u2581a b\",\"c a\",\"b c\"]";

/* Pieces of a unigram model with their scores in the same order. */
static const struct piece unigram[] = { { "a", "a" }, { "b", "b" }, { "c", "c" }, { " ", "\u2581" }, { "ab", "ab" },
	{ " a", "\u2581a" }, { "abc", "abc" }, { " ab", "\u2581ab" }, { "cab", "cab" }, { "bab", "bab" },
	{ "cabc", "cabc" } };
static const double unigram_score[] = { -4, -4.5, -5, -3, -5, -4, -6.5, -5.5, -7, -8, -9 };

static void spell(struct brute *b, uint32_t id, const char *bytes, size_t n)
{
	memcpy(b->spell[id], bytes, n);
	b->spell_n[id] = n;
}

static void open_json(struct brute *b, struct mm_buf *j)
{
	struct mm_err err;
	char path[] = "/tmp/mm-feat-XXXXXX.json";
	int fd = mkstemps(path, 5);
	assert_true(fd >= 0 && write(fd, j->data, j->len) == (ssize_t)j->len);
	close(fd);
	b->tok = mm_tok_open(path, &err);
	if (!b->tok)
		fail_msg("%s", err.text);
	unlink(path);
	mm_buf_fini(j);
}

static void world_model(struct brute *b, const char *path)
{
	struct mm_model_info i;
	memset(b, 0, sizeof(*b));
	b->m = brute_model(path);
	mm_model_info(b->m, &i);
	b->n_vocab = i.n_vocab;
	assert_true(i.n_vocab <= BRUTE_VOCAB && i.bos >= 0);
	b->front = (uint32_t)i.bos;
	if (i.eos >= 0)
		b->end[b->n_end++] = (uint32_t)i.eos;
}

static void vocab_put(struct mm_buf *j, struct brute *b, const struct piece *p, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++, id++) {
		mm_buf_printf(j, "%s\"%s\":%u", id ? "," : "", p[i].json, id);
		spell(b, id, p[i].bytes, strlen(p[i].bytes));
	}
}

static void make_bytelevel(struct brute *b)
{
	struct mm_buf j = { 0 };
	mm_buf_str(&j, "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
		       "\"add_prefix_space\":false,\"use_regex\":true},\"post_processor\":null,\"decoder\":null,"
		       "\"model\":{\"type\":\"BPE\",\"vocab\":{");
	vocab_put(&j, b, bytelevel, MM_COUNT(bytelevel), 0);
	mm_buf_printf(&j, "},\"merges\":%s}}", bytelevel_merges);
	open_json(b, &j);
	assert_string_equal(mm_tok_class(b->tok), "bpe-bytelevel");
}

/* <unk>, <s>, </s>, the 256 bytes. */
static uint32_t spm_begin(struct mm_buf *j, struct brute *b, const char *row, const char *unk)
{
	static const char *const special[] = { "<unk>", "<s>", "</s>" };
	mm_buf_printf(j, row, "", unk, 0u);
	mm_buf_printf(j, row, ",", special[1], 1u);
	mm_buf_printf(j, row, ",", special[2], 2u);
	for (unsigned c = 0; c < 256; c++) {
		char name[8], byte = (char)c;
		snprintf(name, sizeof(name), "<0x%02X>", c);
		mm_buf_printf(j, row, ",", name, 3 + c);
		spell(b, 3 + c, &byte, 1);
	}
	b->end[b->n_end++] = 2;
	return 259;
}

static const char spm_added[] =
	"{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
	"\"normalized\":false,\"special\":true},{\"id\":1,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,"
	"\"rstrip\":false,\"normalized\":false,\"special\":true},{\"id\":2,\"content\":\"</s>\",\"single_word\":false,"
	"\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],";

static void make_spm(struct brute *b)
{
	struct mm_buf j = { 0 };
	mm_buf_str(&j, spm_added);
	mm_buf_str(&j, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
		       "\"\u2581\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}]},"
		       "\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":null,\"model\":{\"type\":\"BPE\","
		       "\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,\"vocab\":{");
	uint32_t id = spm_begin(&j, b, "%s\"%s\":%u", "<unk>");
	vocab_put(&j, b, spm, MM_COUNT(spm), id);
	mm_buf_printf(&j, "},\"merges\":%s}}", spm_merges);
	open_json(b, &j);
	assert_string_equal(mm_tok_class(b->tok), "bpe-sentencepiece");
}

static void make_unigram(struct brute *b)
{
	struct mm_buf j = { 0 };
	mm_buf_str(&j, spm_added);
	mm_buf_str(&j, "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\","
		       "\"prepend_scheme\":\"always\",\"split\":false},\"post_processor\":null,\"decoder\":null,"
		       "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,\"vocab\":[");
	uint32_t id = spm_begin(&j, b, "%s[\"%s\",-%u]", "<unk>");
	for (size_t i = 0; i < MM_COUNT(unigram); i++) {
		mm_buf_printf(&j, ",[\"%s\",%g]", unigram[i].json, unigram_score[i]);
		spell(b, id + (uint32_t)i, unigram[i].bytes, strlen(unigram[i].bytes));
	}
	mm_buf_str(&j, "]}}");
	open_json(b, &j);
	assert_string_equal(mm_tok_class(b->tok), "unigram");
}

/* A tokenizer of several files: [name, text] each. */
static void open_files(struct brute *b, const char *const (*file)[2], size_t n)
{
	struct mm_err err;
	char dir[] = "/tmp/mm-feat-XXXXXX", path[80], command[80];
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, file[i][0]);
		FILE *f = fopen(path, "w");
		assert_non_null(f);
		assert_true(fputs(file[i][1], f) >= 0);
		assert_int_equal(fclose(f), 0);
	}
	b->tok = mm_tok_open(dir, &err);
	if (!b->tok)
		fail_msg("%s", err.text);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

/* Longest match over bytes. Ids begin at 1; some of the bytes are missing, one id is left out. */
static const struct piece world_pieces[] = { { "a", "'a'" }, { "b", "'b'" }, { "c", "'c'" }, { "d", "'d'" },
	{ " ", "' '" }, { "\xc3", "b'\\xc3'" }, { "\xa9", "b'\\xa9'" }, { "ab", "'ab'" }, { "cab", "'cab'" },
	{ " a", "' a'" }, { "abc", "'abc'" }, { " ab", "' ab'" }, { "b ", "'b '" }, { "\xc3\xa9", "'\u00e9'" },
	{ "d\xc3\xa9", "'d\u00e9'" }, { "bb", "\"bb\"" }, { "abcab", "'abcab'" }, { " abc", "' abc'" } };

static void make_rwkv(struct brute *b)
{
	struct mm_buf j = { 0 };
	uint32_t id = 1;
	for (size_t i = 0; i < MM_COUNT(world_pieces); i++, id += 1 + (id == 9)) {
		size_t n = strlen(world_pieces[i].bytes);
		mm_buf_printf(&j, "%u %s %zu\n", id, world_pieces[i].json, n);
		spell(b, id, world_pieces[i].bytes, n);
	}
	mm_buf_u8(&j, 0);
	b->end[b->n_end++] = 0;
	open_files(b, (const char *const[][2]){ { "rwkv_vocab_v20230424.txt", (const char *)j.data } }, 1);
	mm_buf_fini(&j);
	assert_string_equal(mm_tok_class(b->tok), "rwkv");
}

/* Ranks: the bytes, then tokens of two that are there. */
static const struct piece ranks[] = { { "ab", "YWI=" }, { " a", "IGE=" }, { "abc", "YWJj" }, { "bb", "YmI=" },
	{ "ca", "Y2E=" }, { "\xc3\xa9", "w6k=" }, { "  ", "ICA=" } };

static void make_tiktoken(struct brute *b)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct mm_buf j = { 0 };
	for (unsigned c = 0; c < 256; c++) {
		char byte = (char)c;
		mm_buf_printf(&j, "%c%c== %u\n", digit[c >> 2], digit[(c & 3) << 4], c);
		spell(b, c, &byte, 1);
	}
	for (uint32_t i = 0; i < MM_COUNT(ranks); i++) {
		mm_buf_printf(&j, "%s %u\n", ranks[i].json, RANKS + i);
		spell(b, RANKS + i, ranks[i].bytes, strlen(ranks[i].bytes));
	}
	mm_buf_u8(&j, 0);
	open_files(b,
		(const char *const[][2]){ { "small.tiktoken", (const char *)j.data },
			{ "tokenizer_config.json", "{\"pat_str\": \" ?\\\\p{L}+|\\\\s+\"}" } },
		2);
	mm_buf_fini(&j);
	assert_string_equal(mm_tok_class(b->tok), "bpe-tiktoken");
}

/* A word has a space in front, the first one too; what continues a word has none. */
static const struct piece wordpiece[] = { { " a", "a" }, { " b", "b" }, { " c", "c" }, { " d", "d" }, { "a", "##a" },
	{ "b", "##b" }, { "c", "##c" }, { "d", "##d" }, { "\xc3\xa9", "##\u00e9" }, { " abc", "abc" }, { "ab", "##ab" },
	{ " ab", "ab" }, { "cab", "##cab" }, { " abcab", "abcab" }, { "bc", "##bc" }, { " cab", "cab" },
	{ "\xc3\xa9"
	  "ab",
		"##\u00e9"
		"ab" } };

static void make_wordpiece(struct brute *b)
{
	struct mm_buf j = { 0 };
	mm_buf_str(&j, "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
		       "\"post_processor\":null,\"decoder\":null,\"model\":{\"type\":\"WordPiece\",\"unk_token\":"
		       "\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{");
	vocab_put(&j, b, wordpiece, MM_COUNT(wordpiece), 0);
	mm_buf_printf(&j, ",\"[UNK]\":%zu}}}", MM_COUNT(wordpiece));
	open_json(b, &j);
	assert_string_equal(mm_tok_class(b->tok), "wordpiece");
}

/* ---- comparing ---- */

/* The text's own tokens have a boundary at the probe. */
static bool at_boundary(const struct brute *b, const struct mm_texts *t, const struct mm_probe_point *p)
{
	struct mm_err err;
	struct mm_ids whole = { 0 }, part = { 0 };
	assert_int_equal(mm_tok_encode(b->tok, t->text[p->text], t->len[p->text], 0, &whole, &err), 0);
	assert_int_equal(mm_tok_encode(b->tok, t->text[p->text], p->offset, 0, &part, &err), 0);
	bool yes = part.n <= whole.n && !memcmp(whole.id, part.id, part.n * sizeof(*part.id));
	mm_free(whole.id);
	mm_free(part.id);
	return yes;
}

static struct mm_score_result features(const struct brute *b, const struct mm_texts *t, size_t n, bool exact)
{
	struct mm_err err;
	struct mm_score_result r = { 0 };
	struct mm_score_opts o = { .probes = n, .exact = exact };
	if (mm_score_texts(b->m, b->tok, t, &o, &r, &err))
		fail_msg("%s", err.text);
	if (!r.features.n)
		fail_msg("no features: %s", r.features.none);
	return r;
}

static void compare(struct brute *b, const char *name, size_t n)
{
	struct mm_err err;
	struct mm_texts t = brute_texts(lines, MM_COUNT(lines));
	struct mm_probes pr;
	double worst = 0, worst_missed = 0;
	size_t inside = 0, cross = 0, contexts = 0;
	assert_int_equal(mm_probes_make(&pr, &t, n, &err), 0);
	for (int exact = 0; exact < 2; exact++) {
		struct mm_score_result r = features(b, &t, n, exact);
		b->exact = exact;
		assert_int_equal(r.features.n, pr.n);
		for (size_t m = 0; m < pr.n; m++) {
			const struct mm_feat_row *row = &r.features.row[m];
			double sum = 0;
			brute_run(b, t.text[pr.at[m].text], pr.at[m].offset);
			for (size_t i = 0; i < 257; i++) {
				worst = fmax(worst, fabs(row->p[i] - b->p[i]));
				sum += row->p[i];
			}
			assert_true(fabs(sum - 1) < SAME);
			assert_true(row->missed >= 0 && row->missed < 1);
			if (exact)
				worst_missed = fmax(worst_missed, fabs(row->missed - (1 - b->one)));
			inside += !at_boundary(b, &t, &pr.at[m]);
			cross += b->n_cross;
			contexts += b->n_context;
		}
		mm_score_result_fini(&r);
	}
	printf("%-18s largest difference %.1e, of the neglected mass %.1e; %zu of %zu probes inside a token, %zu "
	       "contexts, %zu of them before the last token\n",
		name, worst, worst_missed, inside, 2 * pr.n, contexts, cross);
	assert_true(worst < SAME && worst_missed < SAME);
	assert_true(inside < 2 * pr.n && cross > 0 && (inside > 0 || n < N_TINY)); /* both kinds were there */
	mm_probes_free(&pr);
	mm_texts_free(&t);
	mm_tok_close(b->tok);
	mm_model_close(b->m);
}

static struct brute world;

static void test_bytelevel(void **state)
{
	(void)state;
	world_model(&world, MODEL);
	make_bytelevel(&world);
	compare(&world, "byte-level BPE", N_TINY);
}

static void test_spm(void **state)
{
	(void)state;
	world_model(&world, MODEL);
	make_spm(&world);
	compare(&world, "SentencePiece BPE", N_TINY);
}

static void test_unigram(void **state)
{
	(void)state;
	world_model(&world, MODEL);
	make_unigram(&world);
	compare(&world, "unigram", N_TINY);
}

static void test_wordpiece(void **state)
{
	(void)state;
	world_model(&world, MODEL);
	make_wordpiece(&world);
	compare(&world, "WordPiece", N_MORE);
}

static void test_tiktoken(void **state)
{
	(void)state;
	world_model(&world, MODEL);
	make_tiktoken(&world);
	compare(&world, "tiktoken", N_MORE);
}

static void test_rwkv_world(void **state)
{
	(void)state;
	world_model(&world, MODEL);
	make_rwkv(&world);
	compare(&world, "RWKV world", N_MORE);
}

/* Real checkpoints with their own tokenizers: a transformer, a Mamba, an RWKV. */
static void test_checkpoints(void **state)
{
	(void)state;
	static const char *const dirs[] = { "gpt2", "mamba", "rwkv", "gemma" };
	struct mm_err err;
	for (size_t d = 0; d < MM_COUNT(dirs); d++) {
		char path[200];
		snprintf(path, sizeof(path), "tests/fixtures/conformance/%s", dirs[d]);
		world_model(&world, path);
		if (!(world.tok = mm_tok_open(path, &err)))
			fail_msg("%s", err.text);
		const uint32_t *front, *back;
		size_t n_front, n_back;
		mm_tok_template(world.tok, &front, &n_front, &back, &n_back);
		if (n_front)
			world.front = front[0];
		uint32_t eos = (uint32_t)mm_tok_eos(world.tok); /* the config may name another one */
		assert_true(n_front < 2 && eos < world.n_vocab);
		if (eos != world.end[0])
			world.end[world.n_end++] = eos;
		for (uint32_t id = 0; id < mm_tok_n_vocab(world.tok) && id < world.n_vocab; id++) {
			struct mm_buf b = { 0 };
			bool special = id == world.end[0] || id == eos || id == (uint32_t)mm_tok_bos(world.tok);
			if (!special && !mm_tok_bytes(world.tok, id, &b, &err) && b.len && b.len < 16)
				spell(&world, id, (const char *)b.data, b.len);
			mm_buf_fini(&b);
		}
		compare(&world, dirs[d], N_REAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytelevel),
		cmocka_unit_test(test_spm),
		cmocka_unit_test(test_unigram),
		cmocka_unit_test(test_wordpiece),
		cmocka_unit_test(test_tiktoken),
		cmocka_unit_test(test_rwkv_world),
		cmocka_unit_test(test_checkpoints),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
