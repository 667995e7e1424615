/* watch_name.c - what the name of a file or directory says about checkpoints. Pure functions over tables: no file is
 * touched here. */
#include "daemon/core_priv.h"

#include <ctype.h>
#include <string.h>

static bool ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), k = strlen(suffix);
	return n >= k && !strcmp(s + n - k, suffix);
}

static bool begins(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/* Writers that put a checkpoint together under another name and rename it in the end: nothing there counts before. */
bool mm_watch_ignored(const char *name, bool dir)
{
	static const char *const suffix[] = { ".tmp", ".temp", ".part", ".partial", ".incomplete", ".crdownload",
		".download", ".aria2", ".lock", ".swp", ".swx", "~" };
	static const char *const dir_name[] = { "__pycache__", "lost+found", "node_modules" };
	if (name[0] == '.' || !name[0])
		return true;
	for (size_t i = 0; i < MM_COUNT(suffix); i++)
		if (ends(name, suffix[i]))
			return true;
	if (strstr(name, ".tmp-") || strstr(name, ".tmp."))
		return true;
	if (!dir)
		return false;
	if (begins(name, "tmp-checkpoint-")) /* the Hugging Face trainer's, renamed when it is whole */
		return true;
	for (size_t i = 0; i < MM_COUNT(dir_name); i++)
		if (!strcmp(name, dir_name[i]))
			return true;
	return false;
}

enum mm_fkind mm_watch_kind(const char *name)
{
	static const struct {
		enum { EXACT, PREFIX, SUFFIX } how;
		const char *what;
		enum mm_fkind kind;
	} rule[] = {
		/* the first that fits */
		{ EXACT, "config.json", MM_F_CONFIG },
		{ EXACT, "adapter_config.json", MM_F_WEIGHTS },
		{ EXACT, "pytorch_model.bin", MM_F_WEIGHTS },
		{ EXACT, "pytorch_model.bin.index.json", MM_F_WEIGHTS },
		{ EXACT, "model.safetensors.index.json", MM_F_WEIGHTS },
		{ SUFFIX, ".safetensors", MM_F_WEIGHTS },
		{ SUFFIX, ".gguf", MM_F_GGUF },
		{ PREFIX, "tokenizer", MM_F_TOKENIZER },
		{ PREFIX, "special_tokens_map", MM_F_TOKENIZER },
		{ PREFIX, "added_tokens", MM_F_TOKENIZER },
		{ PREFIX, "vocab", MM_F_TOKENIZER },
		{ PREFIX, "merges", MM_F_TOKENIZER },
		{ PREFIX, "spiece", MM_F_TOKENIZER },
		{ PREFIX, "rwkv_vocab", MM_F_TOKENIZER },
		{ SUFFIX, ".model", MM_F_TOKENIZER },
		{ SUFFIX, ".tiktoken", MM_F_TOKENIZER },
		/* Logs and trainer states change all the time and say nothing: only what a score may depend on. */
		{ EXACT, "generation_config.json", MM_F_SIDE },
		{ SUFFIX, ".index.json", MM_F_SIDE },
		{ PREFIX, "quant", MM_F_SIDE },
		{ PREFIX, "hf_quant", MM_F_SIDE },
		{ PREFIX, "pytorch_model", MM_F_SIDE },
	};
	for (size_t i = 0; i < MM_COUNT(rule); i++) {
		const char *w = rule[i].what;
		if (rule[i].how == EXACT ? !strcmp(name, w) : rule[i].how == PREFIX ? begins(name, w) : ends(name, w))
			return rule[i].kind;
	}
	return MM_F_OTHER;
}

bool mm_watch_gguf_first(const char *name, char *out, size_t cap, unsigned *part)
{
	size_t n = strlen(name);
	const size_t tail = strlen("-00001-of-00003.gguf");
	if (n >= cap)
		return false;
	memcpy(out, name, n + 1);
	*part = 1;
	if (n <= tail)
		return true;
	const char *t = name + n - tail;
	if (t[0] != '-' || strncmp(t + 6, "-of-", 4) || strcmp(t + 15, ".gguf"))
		return true;
	unsigned no = 0;
	for (int i = 0; i < 5; i++) {
		if (!isdigit((unsigned char)t[1 + i]) || !isdigit((unsigned char)t[10 + i]))
			return true;
		no = no * 10 + (unsigned)(t[1 + i] - '0');
	}
	*part = no;
	memcpy(out + n - tail + 1, "00001", 5);
	return true;
}

bool mm_watch_network_fs(long f_type)
{
	static const unsigned magic[] = {
		0x6969 /* nfs */, 0xFF534D42 /* cifs */, 0xFE534D42 /* smb2 */, 0x517B /* smb */, 0x65735546 /* fuse */,
		0x01021997 /* 9p */, 0x00C36400 /* ceph */, 0x0BD00BD0 /* lustre */, 0x47504653 /* gpfs */,
		0x5346414F /* afs */, 0x6B414653 /* kafs */, 0x73757245 /* coda */, 0x564C /* ncp */,
		0x7461636F /* ocfs2 */, 0x01161970 /* gfs2 */, 0x786F4256 /* vboxsf */, 0x19830326 /* beegfs */,
		0xAAD7AAEA /* panfs */
	};
	for (size_t i = 0; i < MM_COUNT(magic); i++)
		if ((unsigned)f_type == magic[i])
			return true;
	return false;
}
