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
#define DEEPSEEK_LLM                                                                                                                                                                                                                 \
	SEQ(SPLIT("[\\r\\n]") "," SPLIT(                                                                                                                                                                                             \
		"\\\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-"                                                                                                         \
		"Ᏽᏸ-"                                                                                                                                                                                                            \
		"ᏽᲐ-"                                                                                                                                                                                                            \
		"ᲺᲽ-"                                                                                                                                                                                                            \
		"Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-" \
		"ⱻⱾ-"                                                                                                                                                                                                            \
		"ⳤⳫ-"                                                                                                                                                                                                            \
		"ⳮⳲⳳꙀ-ꙭ"                                                                                                                                                                                                   \
		"Ꚁ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-"                                                                                                  \
		"𑣟𞤀-"                                                                                                                                                                                                          \
		"𞥃]"                                                                                                                                                                                                              \
		"+") "," SPLIT("\\\\s?[!-/:-~！-／：-～‘-‟　-。]+") "," SPLIT("\\\\s+$") "," SPLIT("[一-龥ࠀ-一가-"                                                                                                             \
												   "퟿]"                                                                                                                            \
												   "+") "," DIGITS("t"                                                                                                               \
														   "r"                                                                                                               \
														   "u"                                                                                                               \
														   "e") "," BYTES)
#define DEEPSEEK_CODER                                                                                                 \
	SEQ(SPLIT("[\\r\\n]") "," SPLIT("\\\\s?\\\\p{L}+") "," SPLIT("\\\\s?\\\\p{P}+") "," SPLIT(                     \
		"[一-龥ࠀ-一가-퟿]+") "," DIGITS("true") "," BYTES)
#define KIMI                                                                                                           \
	ONE("[\\\\p{Han}]+|" J_LEAD "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}&&[^\\\\p{Han}]]*"                   \
	    "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}&&[^\\\\p{Han}]]+" J_FOLDED "?|" J_LEAD                               \
	    "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}&&[^\\\\p{Han}]]+"                                           \
	    "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}&&[^\\\\p{Han}]]*" J_FOLDED "?|\\\\p{N}{1,3}|" J_OTHER "|" J_LINES)

enum { NFC = 1, IGNORE_MERGES = 2, BOS = 4, SEP = 8 };

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
	{ "jina-es", GPT2, SEP },
	{ "jina-de", GPT2, SEP },
	{ "jina-v2-es", GPT2, SEP },
	{ "jina-v2-de", GPT2, SEP },
	{ "modern-bert", GPT2, NFC },
	{ "jina-v1-en", GPT2, SEP },
	{ "jina-v2-code", GPT2, SEP },
	{ "roberta-bpe", GPT2, SEP },
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
	{ "llama3", LLAMA3, IGNORE_MERGES | BOS },
	{ "llama-v3", LLAMA3, IGNORE_MERGES | BOS },
	{ "llama-bpe", LLAMA3, IGNORE_MERGES | BOS },
	{ "falcon3", LLAMA3, IGNORE_MERGES | BOS },
	{ "falcon-h1", LLAMA3, IGNORE_MERGES | BOS },
	{ "pixtral", LLAMA3, IGNORE_MERGES | BOS },
	{ "midm-2.0", LLAMA3, IGNORE_MERGES | BOS },
	{ "lfm2", LLAMA3, IGNORE_MERGES | BOS },
	{ "jina-v5-nano", LLAMA3, IGNORE_MERGES | BOS },
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
	{ "tekken", ONE(J_O200K("", "\\\\p{N}")), IGNORE_MERGES | BOS },
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
		BOS },
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
	out->bos = rows[i].flags & (BOS | SEP);
	out->sep = rows[i].flags & SEP;
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
