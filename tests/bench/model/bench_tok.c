/* bench_tok.c - MB/s of the tokenizers on one thread, in calls of 1, 4 and 64 KB, and the time to load each.
 *
 * Text: the zoo's texts and this project's own sources, cut at character boundaries, 5 MB. Tokenizers: those of
 * ../shared, else the fixtures. When the npm package `tokenizers` can be found (NODE_PATH, or node_modules here), the
 * same figures for it: its time includes the binding's conversion of strings and ids. */
#include "model/model.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TOTAL 5000000u

static const char *shared(void)
{
	const char *s = getenv("MM_SHARED");
	return s ? s : "../shared";
}

static void add_file(struct mm_buf *b, const char *path)
{
	struct mm_err err;
	size_t n;
	char *s = mm_file_read(path, 64 << 20, &n, &err);
	if (s && mm_utf8_valid(s, n))
		mm_buf_put(b, s, n);
	mm_free(s);
}

static void add_sources(struct mm_buf *b, const char *dir)
{
	struct dirent *e;
	DIR *d = opendir(dir);
	while (d && (e = readdir(d))) {
		char path[600];
		size_t n = strlen(e->d_name);
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (n > 2 && !strcmp(e->d_name + n - 2, ".c"))
			add_file(b, path);
	}
	if (d)
		closedir(d);
}

static void fill(struct mm_buf *b, const struct mm_buf *block, size_t upto)
{
	while (block->len && b->len + block->len <= upto)
		mm_buf_put(b, block->data, block->len);
}

/* Half prose, half program text, whole blocks of each. */
static void make_text(struct mm_buf *b)
{
	struct mm_texts texts = { 0 };
	struct mm_err err;
	struct mm_buf prose = { 0 }, code = { 0 };
	char path[600];
	snprintf(path, sizeof(path), "%s/zoo/dev/texts.jsonl", shared());
	if (!mm_texts_load(&texts, path, &err))
		for (size_t i = 0; i < texts.n; i++)
			mm_buf_put(&prose, texts.text[i], texts.len[i]);
	mm_texts_free(&texts);
	add_sources(&code, "lib/base");
	add_sources(&code, "lib/model");
	fill(b, &prose, TOTAL / 2);
	fill(b, &code, TOTAL);
	mm_buf_fini(&prose);
	mm_buf_fini(&code);
}

static double speed(const struct mm_tok *tok, const struct mm_buf *text, size_t size, size_t *n_id)
{
	double best = 0;
	for (unsigned round = 0; round < 3; round++) {
		struct mm_ids ids = { 0 };
		struct mm_err err;
		double t = mm_monotonic();
		for (size_t i = 0; i < text->len;) {
			size_t n = MM_MIN(size, text->len - i);
			while (i + n < text->len && (text->data[i + n] & 0xc0) == 0x80)
				n++;
			if (mm_tok_encode(tok, (const char *)text->data + i, n, 0, &ids, &err)) {
				printf("%s\n", err.text);
				exit(1);
			}
			i += n;
		}
		t = (double)text->len / (mm_monotonic() - t) / 1e6;
		best = t > best ? t : best;
		*n_id = ids.n;
		mm_free(ids.id);
	}
	return best;
}

static void measure(const char *path, const struct mm_buf *text)
{
	const char *name = strrchr(path, '/');
	struct mm_err err;
	double load = 1e9, mbs[3];
	struct mm_tok *tok = NULL;
	size_t n = 0;
	for (unsigned round = 0; round < 3; round++) {
		double t = mm_monotonic();
		mm_tok_close(tok);
		tok = mm_tok_open(path, &err);
		t = mm_monotonic() - t;
		load = t < load ? t : load;
		if (!tok) {
			printf("%s\n", err.text);
			return;
		}
	}
	for (unsigned i = 0; i < 3; i++)
		mbs[i] = speed(tok, text, (size_t[]){ 1024, 4096, 65536 }[i], &n);
	printf("%-24s %-18s %7.1f %7.1f %7.1f %8.1f %10zu\n", name ? name + 1 : path, mm_tok_class(tok), mbs[0], mbs[1],
		mbs[2], load * 1e3, n);
	fflush(stdout);
	mm_tok_close(tok);
}

static const char *const script =
	"const {Tokenizer}=require('tokenizers'),fs=require('fs');(async()=>{const b=fs.readFileSync(process.argv[1]);"
	"for(const d of process.argv.slice(2)){let load=1e9,t;for(let i=0;i<3;i++){const a=process.hrtime.bigint();"
	"t=Tokenizer.fromFile(d+'/tokenizer.json');load=Math.min(load,Number(process.hrtime.bigint()-a)/1e6);}const "
	"r=[];"
	"for(const size of [1024,4096,65536]){const parts=[];for(let i=0;i<b.length;){let n=Math.min(size,b.length-i);"
	"while(i+n<b.length&&(b[i+n]&0xc0)===0x80)n++;parts.push(b.toString('utf8',i,i+n));i+=n;}const "
	"a=process.hrtime.bigint();"
	"for(const p of parts)(await t.encode(p,null,{addSpecialTokens:false})).getIds();"
	"r.push(b.length/(Number(process.hrtime.bigint()-a)/1e9)/1e6);}"
	"console.log(d.split('/').pop().padEnd(24),'npm tokenizers'.padEnd(18),...r.map(x=>x.toFixed(1).padStart(7)),"
	"load.toFixed(1).padStart(8));}})();";

static void measure_npm(const char *dirs, const struct mm_buf *text)
{
	char command[8000], file[] = "/tmp/bench-tok-XXXXXX";
	int fd = mkstemp(file);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return;
	fwrite(text->data, 1, text->len, f);
	fclose(f);
	setenv("MM_BENCH_SCRIPT", script, 1);
	snprintf(command, sizeof(command),
		"node -e \"require('tokenizers')\" 2>/dev/null && RAYON_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false "
		"node -e \"$MM_BENCH_SCRIPT\" %s %s || echo '(npm package tokenizers not found: NODE_PATH)'",
		file, dirs);
	fflush(stdout);
	if (system(command))
		printf("(npm package tokenizers: failed)\n");
	remove(file);
}

int main(void)
{
	static const char *const sets[] = { "gpt-neox-20b", "llama-3", "qwen2", "llama-2", "mistral-v3-first",
		"deepseek-coder", "falcon-7b", "t5-small", "bert-base-uncased", "llama-2.model", "rwkv-world",
		"gguf-starcoder", "gguf-llama-spm" };
	static const char *const own[] = { "gpt2-style", "llama3-style", "llama2-style", "unigram", "bert-style" };
	struct mm_buf text = { 0 }, dirs = { 0 };
	char path[600];
	struct stat st;
	bool have;
	make_text(&text);
	snprintf(path, sizeof(path), "%s/tokenizers/dev", shared());
	have = !stat(path, &st);
	printf("%zu bytes, one thread%26s 1 KB    4 KB   64 KB  load ms        ids\n", text.len, "");
	for (size_t i = 0; i < (have ? MM_COUNT(sets) : MM_COUNT(own)); i++) {
		if (have)
			snprintf(path, sizeof(path), "%s/tokenizers/dev/%s", shared(), sets[i]);
		else
			snprintf(path, sizeof(path), "tests/fixtures/tokenizers/%s", own[i]);
		measure(path, &text);
		if (i < 9)
			mm_buf_printf(&dirs, " %s", path);
	}
	measure_npm((const char *)dirs.data, &text);
	mm_buf_fini(&dirs);
	mm_buf_fini(&text);
	return 0;
}
