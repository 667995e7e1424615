/* tok_pair.c - vocab.json with merges.txt: tokenizers that were saved before tokenizer.json, all byte-level BPE.
 *
 * How texts are cut follows from tokenizer_class in tokenizer_config.json; a class that is not in the table is refused.
 * Special tokens come from tokenizer_config.json and added_tokens.json beside it.
 */
#include "model/tok_priv.h"

#include <stdlib.h>
#include <string.h>

#define GPT2	   "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define GPT2_SPACE "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}"
#define QWEN2                                                                                                          \
	"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|" \
	"'ll|'d)|"                                                                                                     \
	"[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "                                                           \
	"?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|"                                                 \
	"\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false},"                                       \
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"

static const struct {
	const char *class;	     /* without "Fast" */
	const char *pre, *pre_space; /* pre_space: with add_prefix_space */
	bool nfc, roberta;
} classes[] = {
	{ "", GPT2, GPT2_SPACE, false, false },
	{ "GPT2Tokenizer", GPT2, GPT2_SPACE, false, false },
	{ "PreTrainedTokenizer", GPT2, GPT2_SPACE, false, false },
	{ "CodeGenTokenizer", GPT2, GPT2_SPACE, false, false },
	{ "GPTNeoXTokenizer", GPT2, GPT2_SPACE, false, false },
	{ "Qwen2Tokenizer", QWEN2, QWEN2, true, false },
	{ "RobertaTokenizer", GPT2, GPT2_SPACE, false, true },
	{ "BartTokenizer", GPT2, GPT2_SPACE, false, true },
};

static int read_vocab(struct mm_tok *tok, struct tok_str file, struct mm_err *err)
{
	struct tok_json j;
	struct tok_str key;
	uint32_t id;
	int rc = tok_vocab_init(&tok->vocab, file.n / 16, err);
	if (!rc && !tok_utf8_valid(file.s, file.n))
		rc = mm_fail(err, MM_EFORMAT, "vocab.json is not valid UTF-8");
	if (rc)
		return -1;
	tok_json_init(&j, file.s, file.n, "vocab.json", err);
	if (tok_json_object(&j))
		while (!rc && tok_json_key(&j, &key)) {
			struct tok_str k = key;
			rc = !tok_json_u32(&j, &id) || tok_vocab_put(&tok->vocab, k, id, err) ? -1 : 0;
		}
	rc = rc || j.failed || !tok_json_done(&j) ? -1 : 0;
	tok_json_fini(&j);
	return rc ? -1 : tok_vocab_seal(&tok->vocab, err);
}

static int read_merges(struct mm_tok *tok, struct tok_bpe *b, struct tok_str rest, struct mm_err *err)
{
	struct tok_str line;
	struct mm_buf tmp = { 0 };
	uint32_t rank = 0;
	int rc = tok_merges_init(&b->merges, rest.n / 10, err);
	while (!rc && tok_line_next(&rest, &line)) {
		if (line.n && line.s[line.n - 1] == '\r')
			line.n--;
		if (!line.n || (line.n >= 8 && !memcmp(line.s, "#version", 8)))
			continue;
		rc = tok_bpe_merge_line(b, &tok->vocab, line, rank++, &tmp, err);
	}
	mm_buf_fini(&tmp);
	return rc ? mm_wrap(err, "merges.txt") : 0;
}

static int add(struct mm_tok *tok, const json_t *content, uint32_t id, bool special, struct mm_err *err)
{
	struct tok_added_token t = { .id = id, .special = special };
	t.text = t.norm = (struct tok_str){ (const uint8_t *)json_string_value(content), json_string_length(content) };
	if (!t.text.n || tok_lookup(tok, t.text) != id)
		return 0;
	for (size_t i = 0; i < tok->added.n; i++)
		if (tok->added.tok[i].id == id)
			return 0;
	return tok_added_put(&tok->added, &t, err);
}

/* added_tokens.json: {"<|im_end|>": 32001} */
static int added_file(struct mm_tok *tok, const char *dir, struct mm_err *err)
{
	char *path = mm_path_join(dir, "added_tokens.json", err);
	struct mm_err none;
	json_t *j;
	const char *key;
	json_t *v;
	int rc = 0;
	if (!path)
		return -1;
	j = mm_json_load(path, 64 << 20, &none);
	mm_free(path);
	if (!j)
		return none.code == MM_ENOENT ? 0 : mm_fail(err, none.code, "%s", none.text);
	json_object_foreach (j, key, v) {
		struct tok_added_token t = { .text = { (const uint8_t *)key, strlen(key) } };
		json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
		t.norm = t.text;
		t.id = (uint32_t)id;
		if (id < 0 || id > TOK_ID_MAX)
			rc = mm_fail(err, MM_EFORMAT, "added_tokens.json: '%s'", key);
		else if (t.text.n && tok_lookup(tok, t.text) == TOK_NONE)
			rc = tok_added_put(&tok->added, &t, err);
		if (rc)
			break;
	}
	json_decref(j);
	return rc;
}

static int added(struct mm_tok *tok, const char *dir, const json_t *conf, struct mm_err *err)
{
	static const char *const name[] = { "bos_token", "eos_token", "unk_token", "pad_token", "cls_token",
		"sep_token", "mask_token" };
	if (tok_added_decoder(tok, conf, err) || added_file(tok, dir, err))
		return -1;
	for (size_t i = 0; i < MM_COUNT(name); i++) {
		const json_t *v = json_object_get(conf, name[i]);
		uint32_t id;
		if (json_is_object(v))
			v = json_object_get(v, "content");
		if (!json_is_string(v))
			continue;
		id = tok_lookup(tok, (struct tok_str){ (const uint8_t *)json_string_value(v), json_string_length(v) });
		if (id != TOK_NONE && add(tok, v, id, true, err))
			return -1;
	}
	if (!tok->added.n) {
		json_t *s = json_string("<|endoftext|>");
		uint32_t id = tok_vocab_get(&tok->vocab, (const uint8_t *)"<|endoftext|>", 13);
		int rc = s && id != TOK_NONE ? add(tok, s, id, true, err) : 0;
		json_decref(s);
		return rc;
	}
	return 0;
}

static int64_t named(const struct mm_tok *tok, const char *name)
{
	uint32_t id = tok_lookup(tok, (struct tok_str){ (const uint8_t *)name, strlen(name) });
	return id == TOK_NONE ? -1 : (int64_t)id;
}

static int template(struct mm_tok *tok, const json_t *conf, bool roberta, struct mm_err *err)
{
	bool bos = roberta, eos = roberta;
	tok_conf_apply(tok, conf);
	if (roberta) {
		tok->bos = tok->bos >= 0 ? tok->bos : named(tok, "<s>");
		tok->eos = tok->eos >= 0 ? tok->eos : named(tok, "</s>");
	}
	if (mm_json_get_bool(conf, "add_bos_token", &bos, err) || mm_json_get_bool(conf, "add_eos_token", &eos, err))
		return -1;
	if (bos && tok->bos >= 0 && tok_template_add(tok, false, (uint32_t)tok->bos, err))
		return -1;
	return eos && tok->eos >= 0 ? tok_template_add(tok, true, (uint32_t)tok->eos, err) : 0;
}

static int pipeline(struct mm_tok *tok, const json_t *conf, bool *roberta, struct mm_err *err)
{
	const char *class = "";
	size_t i = 0, n;
	bool space = false;
	json_t *j;
	int rc;
	if (mm_json_get_str(conf, "tokenizer_class", &class, err) ||
		mm_json_get_bool(conf, "add_prefix_space", &space, err))
		return -1;
	n = strlen(class);
	if (n > 4 && !strcmp(class + n - 4, "Fast"))
		n -= 4;
	while (i < MM_COUNT(classes) && (strlen(classes[i].class) != n || strncmp(classes[i].class, class, n)))
		i++;
	if (i == MM_COUNT(classes))
		return mm_fail(err, MM_EUNSUPPORTED, "tokenizer_class '%s' with vocab.json and merges.txt is not known",
			class);
	*roberta = classes[i].roberta;
	if (classes[i].nfc && tok_norms_add_nfc(&tok->norms, err))
		return -1;
	j = mm_json_parse(space ? classes[i].pre_space : classes[i].pre,
		strlen(space ? classes[i].pre_space : classes[i].pre), "pre-tokenizer", err);
	rc = j ? tok_pres_parse(&tok->pres, j, 0, err) : -1;
	json_decref(j);
	return rc;
}

int tok_open_pair(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err)
{
	struct tok_bpe *b = mm_calloc(1, sizeof(*b), err);
	json_t *none = NULL;
	bool roberta = false;
	int rc;
	tok->ops = &tok_bpe_ops;
	tok->model = b;
	if (!conf)
		conf = none = json_object();
	rc = b && conf ? tok_bpe_affixes(b, (struct tok_str){ NULL, 0 }, (struct tok_str){ NULL, 0 }, err) : -1;
	if (b && !conf)
		rc = mm_fail(err, MM_ENOMEM, "out of memory");
	if (!rc && (read_vocab(tok, src->part[0], err) || read_merges(tok, b, src->part[1], err) ||
			   pipeline(tok, conf, &roberta, err) || tok_pipeline_seal(tok, err) ||
			   added(tok, src->dir, conf, err) || tok_added_seal(&tok->added, err) ||
			   template(tok, conf, roberta, err)))
		rc = -1;
	json_decref(none);
	return rc;
}
