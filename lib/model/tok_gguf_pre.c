/* tok_gguf_pre.c - how texts are cut for each name that `tokenizer.ggml.pre` can have.
 *
 * GGUF files of byte-level vocabularies carry neither normalizer nor regex, only this name. A row gives the pipeline of
 * the tokenizer.json that the name stands for. A name that is not here is refused.
 */
#include "model/tok_priv.h"

#include <string.h>

/* Regexes as JSON strings. */
#define J_FOLDED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define J_CASES	 "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define J_LEAD	 "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?"
#define J_WORDS	 J_LEAD "\\\\p{L}+"
#define J_OTHER	 " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*"
#define J_SPACES "\\\\s+(?!\\\\S)|\\\\s+"
#define J_LINES	 "\\\\s*[\\\\r\\\\n]+|" J_SPACES
#define J_UPPER	 "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define J_LOWER	 "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define J_O200K(tail, digits)                                                                                          \
	J_LEAD J_UPPER "*" J_LOWER "+" tail "|" J_LEAD J_UPPER "+" J_LOWER "*" tail "|" digits                         \
		       "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|" J_LINES
#define J_ASCII_PUNCT "[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~]"

/* Cased letters, as the published pattern lists them. In escapes: some of them are not stable under normalization. */
#define J_CASED                                                                                                        \
	"A-Za-z\\u00b5\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u01ba\\u01bc-\\u01bf"                                    \
	"\\u01c4-\\u0293\\u0295-\\u02af\\u0370-\\u0373\\u0376\\u0377\\u037b-\\u037d"                                   \
	"\\u037f\\u0386\\u0388-\\u038a\\u038c\\u038e-\\u03a1\\u03a3-\\u03f5"                                           \
	"\\u03f7-\\u0481\\u048a-\\u052f\\u0531-\\u0556\\u10a0-\\u10c5\\u13a0-\\u13f5"                                  \
	"\\u13f8-\\u13fd\\u1c90-\\u1cba\\u1cbd-\\u1cbf\\u1d00-\\u1d2b\\u1d6b-\\u1d77"                                  \
	"\\u1d79-\\u1d9a\\u1e00-\\u1f15\\u1f18-\\u1f1d\\u1f20-\\u1f45\\u1f48-\\u1f4d"                                  \
	"\\u1f50-\\u1f57\\u1f59\\u1f5b\\u1f5d\\u1f5f-\\u1f7d\\u1f80-\\u1fb4"                                           \
	"\\u1fb6-\\u1fbc\\u1fbe\\u1fc2-\\u1fc4\\u1fc6-\\u1fcc\\u1fd0-\\u1fd3"                                          \
	"\\u1fd6-\\u1fdb\\u1fe0-\\u1fec\\u1ff2-\\u1ff4\\u1ff6-\\u1ffc\\u2102\\u2107"                                   \
	"\\u210a-\\u2113\\u2115\\u2119-\\u211d\\u2124\\u2126\\u2128\\u212a-\\u212d"                                    \
	"\\u212f-\\u2134\\u2139\\u213c-\\u213f\\u2145-\\u2149\\u214e\\u2183\\u2184"                                    \
	"\\u2c00-\\u2c7b\\u2c7e-\\u2ce4\\u2ceb-\\u2cee\\u2cf2\\u2cf3\\ua640-\\ua66d"                                   \
	"\\ua680-\\ua69b\\ua722-\\ua76f\\ua771-\\ua787\\ua78b-\\ua78e\\uab70-\\uabbf"                                  \
	"\\ufb00-\\ufb06\\ufb13-\\ufb17\\uff21-\\uff3a\\uff41-\\uff5a"                                                 \
	"\\ud801\\udc00-\\ud801\\udc4f\\ud801\\udcb0-\\ud801\\udcd3"                                                   \
	"\\ud801\\udcd8-\\ud801\\udcfb\\ud803\\udc80-\\ud803\\udcb2"                                                   \
	"\\ud803\\udcc0-\\ud803\\udcf2\\ud806\\udca0-\\ud806\\udcdf"                                                   \
	"\\ud83a\\udd00-\\ud83a\\udd43"

/* Steps. */
#define SEQ(steps) "{\"type\":\"Sequence\",\"pretokenizers\":[" steps "]}"
#define SPLIT(regex)                                                                                                   \
	"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define BYTES	     "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define GPT2	     "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define DIGITS(each) "{\"type\":\"Digits\",\"individual_digits\":" each "}"
#define ONE(regex)   SEQ(SPLIT(regex) "," BYTES)
#define LLAMA3	     ONE(J_FOLDED "|" J_WORDS "|\\\\p{N}{1,3}|" J_OTHER "|" J_LINES)
#define QWEN2	     ONE(J_FOLDED "|" J_WORDS "|\\\\p{N}|" J_OTHER "|" J_LINES)
#define STARCODER    SEQ(DIGITS("true") "," GPT2)
#define BLOOM	     " ?[^(\\\\s|[.,!?…。，、।۔،])]+"
#define DEEPSEEK3                                                                                                      \
	SEQ(SPLIT("\\\\p{N}{1,3}") "," SPLIT("[一-龥぀-ゟ゠-ヿ]+") "," SPLIT(                                    \
		J_ASCII_PUNCT "[A-Za-z]+|[^\\\\r\\\\n\\\\p{L}\\\\p{P}\\\\p{S}]?[\\\\p{L}\\\\p{M}]+| "                  \
			      "?[\\\\p{P}\\\\p{S}]+[\\\\r\\\\n]*|" J_LINES) "," BYTES)
#define FALCON                                                                                                         \
	SEQ("{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}," GPT2                                             \
	    "," DIGITS("false") "," SPLIT("[0-9][0-9][0-9]"))
#define DEEPSEEK_LLM                                                                                                      \
	SEQ(SPLIT("[\\r\\n]") "," SPLIT("\\\\s?[" J_CASED "]+") "," SPLIT("\\\\s?[!-/:-~！-／：-～‘-‟　-。]+") "," SPLIT( \
		"\\\\s+$") "," SPLIT("[一-龥ࠀ-一가-퟿]+") "," DIGITS("true") "," BYTES)
#define DEEPSEEK_CODER                                                                                                 \
	SEQ(SPLIT("[\\r\\n]") "," SPLIT("\\\\s?\\\\p{L}+") "," SPLIT("\\\\s?\\\\p{P}+") "," SPLIT(                     \
		"[一-龥ࠀ-一가-퟿]+") "," DIGITS("true") "," BYTES)
#define KIMI                                                                                                           \
	ONE("[\\\\p{Han}]+|" J_LEAD "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}&&[^\\\\p{Han}]]*"                   \
	    "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}&&[^\\\\p{Han}]]+" J_FOLDED "?|" J_LEAD                               \
	    "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}&&[^\\\\p{Han}]]+"                                           \
	    "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}&&[^\\\\p{Han}]]*" J_FOLDED "?|\\\\p{N}{1,3}|" J_OTHER "|" J_LINES)

enum { NFC = 1, IGNORE_MERGES = 2 };

static const struct {
	const char *name, *pre;
	unsigned flags;
} rows[] = {
	{ "gpt-2", GPT2, 0 },
	{ "gpt2", GPT2, 0 },
	{ "phi-2", GPT2, 0 },
	{ "exaone4", GPT2, NFC },
	{ "gigachat", GPT2, 0 },
	{ "a.x-4.0", GPT2, 0 },
	{ "mellum", GPT2, 0 },
	{ "jina-es", GPT2, 0 },
	{ "jina-de", GPT2, 0 },
	{ "jina-v2-es", GPT2, 0 },
	{ "jina-v2-de", GPT2, 0 },
	{ "modern-bert", GPT2, NFC },
	{ "jina-v1-en", GPT2, 0 },
	{ "jina-v2-code", GPT2, 0 },
	{ "roberta-bpe", GPT2, 0 },
	{ "jais", GPT2, 0 },
	{ "trillion", GPT2, 0 },
	{ "granite-docling", GPT2, 0 },
	{ "mpt", GPT2, NFC },
	{ "olmo", GPT2, NFC },
	{ "starcoder", STARCODER, 0 },
	{ "refact", STARCODER, 0 },
	{ "command-r", STARCODER, NFC },
	{ "smollm", STARCODER, 0 },
	{ "codeshell", STARCODER, 0 },
	{ "exaone", STARCODER, NFC },
	{ "minerva-7b", STARCODER, 0 },
	{ "mellum2", STARCODER, 0 },
	{ "llama3", LLAMA3, IGNORE_MERGES },
	{ "llama-v3", LLAMA3, IGNORE_MERGES },
	{ "llama-bpe", LLAMA3, IGNORE_MERGES },
	{ "falcon3", LLAMA3, IGNORE_MERGES },
	{ "falcon-h1", LLAMA3, IGNORE_MERGES },
	{ "pixtral", LLAMA3, IGNORE_MERGES },
	{ "midm-2.0", LLAMA3, IGNORE_MERGES },
	{ "lfm2", LLAMA3, IGNORE_MERGES },
	{ "jina-v5-nano", LLAMA3, IGNORE_MERGES },
	{ "dbrx", LLAMA3, 0 },
	{ "smaug-bpe", LLAMA3, IGNORE_MERGES },
	{ "chatglm-bpe", LLAMA3, IGNORE_MERGES },
	{ "glm4", LLAMA3, IGNORE_MERGES },
	{ "minicpm5",
		SEQ(SPLIT("\\\\p{N}{1,3}") "," SPLIT(J_FOLDED "|" J_WORDS "|\\\\p{N}+|" J_OTHER "|" J_LINES) "," BYTES),
		IGNORE_MERGES },
	{ "qwen2", QWEN2, NFC },
	{ "deepseek-r1-qwen", QWEN2, NFC },
	{ "kormo", QWEN2, NFC },
	{ "f2llmv2", QWEN2, NFC },
	{ "megrez", QWEN2, NFC },
	{ "stablelm2", QWEN2, NFC },
	{ "hunyuan", QWEN2, 0 },
	{ "solar-open", QWEN2, 0 },
	{ "grok-2", QWEN2, 0 },
	{ "qwen35",
		ONE(J_FOLDED "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{L}\\\\p{M}]+|\\\\p{N}| "
			     "?[^\\\\s\\\\p{L}\\\\p{M}\\\\p{N}]+"
			     "[\\\\r\\\\n]*|" J_LINES),
		NFC },
	{ "seed-coder", ONE(J_FOLDED "|" J_WORDS "|\\\\p{N}{1}| ?[^\\\\s\\\\p{L}\\\\p{N}\\\\r\\\\n]+|" J_LINES), 0 },
	{ "bailingmoe",
		ONE("'(?i:[sdmt]|ll|ve|re)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?+\\\\p{L}+|\\\\p{N}| "
		    "?[^\\\\s\\\\p{L}\\\\p{N}]++"
		    "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]|" J_SPACES),
		0 },
	{ "bailingmoe2",
		ONE("'(?i:[sdmt]|ll|ve|re)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?+\\\\p{L}+|\\\\p{N}| "
		    "?[^\\\\s\\\\p{L}\\\\p{N}]++"
		    "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]|" J_SPACES),
		0 },
	{ "llada-moe",
		ONE("'(?i:[sdmt]|ll|ve|re)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?+\\\\p{L}+|\\\\p{N}| "
		    "?[^\\\\s\\\\p{L}\\\\p{N}]++"
		    "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]|" J_SPACES),
		0 },
	{ "exaone-moe",
		ONE(J_FOLDED "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?(?:\\\\p{L}\\\\p{M}*(?: \\\\p{L}\\\\p{M}*)*)+|\\\\p{N}"
			     "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]?|\\\\s*[\\\\r\\\\n]|" J_SPACES),
		NFC },
	{ "gpt-4o", ONE(J_O200K(J_FOLDED "?", "\\\\p{N}{1,3}")), 0 },
	{ "llama4", ONE(J_O200K(J_FOLDED "?", "\\\\p{N}{1,3}")), 0 },
	{ "kanana2", ONE(J_O200K(J_FOLDED "?", "\\\\p{N}{1,3}")), 0 },
	{ "minimax-m2", ONE(J_O200K(J_FOLDED "?", "\\\\p{N}{1,3}")), 0 },
	{ "granite-embed-multi-97m", ONE(J_O200K(J_FOLDED "?", "\\\\p{N}{1,3}")), IGNORE_MERGES },
	{ "tekken", ONE(J_O200K("", "\\\\p{N}")), IGNORE_MERGES },
	{ "tiny_aya",
		SEQ(SPLIT("\\\\d{1,3}(?=(?:\\\\d{3})*\\\\b)") "," SPLIT(
			J_O200K(J_FOLDED "?", "\\\\p{N}{1,3}")) "," BYTES),
		0 },
	{ "cohere2moe",
		SEQ(SPLIT("\\\\d{1,3}(?=(?:\\\\d{3})*\\\\b)") "," SPLIT(
			J_O200K(J_FOLDED "?", "\\\\p{N}{1,3}")) "," BYTES),
		0 },
	{ "kimi-k2", KIMI, 0 },
	{ "deepseek-llm", DEEPSEEK_LLM, 0 },
	{ "deepseek-coder", DEEPSEEK_CODER, 0 },
	{ "deepseek-v3", DEEPSEEK3, 0 },
	{ "hunyuan-dense", DEEPSEEK3, 0 },
	{ "joyai-llm", DEEPSEEK3, 0 },
	{ "falcon", FALCON, 0 },
	{ "bloom", ONE(BLOOM), 0 },
	{ "gpt3-finnish", ONE(BLOOM), 0 },
	{ "poro-chat", ONE(BLOOM), 0 },
	{ "viking", SEQ(SPLIT(BLOOM) "," DIGITS("true") "," BYTES), 0 },
	{ "superbpe", SEQ(SPLIT("\\\\p{N}+") "," SPLIT("(?=(\\\\d{3})+(?!\\\\d))") "," BYTES), 0 },
	{ "chameleon",
		SEQ(SPLIT("<sentinel:[0-9]+>") "," SPLIT("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z") "," SPLIT(
			"([\\\\t\\\\n]|    |  )") "," DIGITS("true") ",{\"type\":\"Punctuation\",\"behavior\":"
								     "\"Isolated\"}," GPT2),
		0 },
};

/* Files of the first years have no name ("default" is what the converter wrote when it did not know either). */
static const struct {
	const char *architecture, *name;
} older[] = { { "falcon", "falcon" }, { "starcoder", "starcoder" }, { "starcoder2", "starcoder" },
	{ "refact", "refact" }, { "bloom", "bloom" }, { "mpt", "mpt" }, { "gptneox", "mpt" }, { "olmo", "olmo" },
	{ "qwen", "qwen2" }, { "qwen2", "qwen2" }, { "qwen2moe", "qwen2" }, { "stablelm", "gpt-2" },
	{ "command-r", "command-r" }, { "dbrx", "dbrx" } };

int tok_gguf_pre(struct mm_tok *tok, struct tok_str name, struct tok_str architecture, struct tok_gguf_defaults *out,
	struct mm_err *err)
{
	char shown[80];
	size_t i = 0;
	json_t *j;
	int rc;
	if (!name.n || tok_str_is(name, "default")) {
		name = TOK_LIT("gpt-2");
		for (size_t k = 0; k < MM_COUNT(older); k++)
			if (tok_str_is(architecture, older[k].architecture))
				name = (struct tok_str){ (const uint8_t *)older[k].name, strlen(older[k].name) };
	}
	while (i < MM_COUNT(rows) && !tok_str_is(name, rows[i].name))
		i++;
	if (i == MM_COUNT(rows)) {
		mm_utf8_sanitize(shown, sizeof(shown), name.s, name.n);
		return mm_fail(err, MM_EUNSUPPORTED, "tokenizer.ggml.pre '%s' is not known", shown);
	}
	out->ignore_merges = rows[i].flags & IGNORE_MERGES;
	if ((rows[i].flags & NFC) && tok_norms_add_nfc(&tok->norms, err))
		return -1;
	j = mm_json_parse(rows[i].pre, strlen(rows[i].pre), rows[i].name, err);
	rc = j ? tok_pres_parse(&tok->pres, j, 0, err) : -1;
	json_decref(j);
	return rc ? mm_wrap(err, "tokenizer.ggml.pre '%s'", rows[i].name) : 0;
}

const char *tok_gguf_pre_name(size_t i)
{
	return i < MM_COUNT(rows) ? rows[i].name : NULL;
}
