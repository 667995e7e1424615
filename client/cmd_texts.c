/* cmd_texts.c - `texts build` makes a text set from files, `texts check` tells what one holds. No daemon is needed. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

/* ---- build ---- */

static void summary(const struct mm_cli *c, const struct mm_chunks *k, size_t pieces)
{
	mm_say(c,
		"%zu texts of %zu pieces from %zu files; passed over: %zu files that are no UTF-8 text, %zu pieces of "
		"at "
		"most 256 bytes, %zu duplicates",
		k->n, pieces, k->n_file, k->n_binary, k->n_short, k->n_duplicate);
}

static int put_out(const struct mm_cli *c, const struct mm_buf *b, struct mm_err *err)
{
	const char *path = c->o.output;
	if (!path || !strcmp(path, "-"))
		return fwrite(b->data, 1, b->len, c->out) == b->len ? 0
								    : mm_fail(err, MM_EIO, "cannot write the output");
	return mm_file_write(path, b->data, b->len, err);
}

static int build(struct mm_cli *c, struct mm_err *err)
{
	struct mm_chunks k = { .piece_max = (size_t)c->o.bytes };
	struct mm_buf out = { 0 };
	int rc = 0;
	for (size_t i = 1; i < c->n_word && !rc; i++)
		rc = mm_chunks_add(&k, c->word[i], c->o.domain, err);
	size_t pieces = k.n;
	if (!rc && !k.n)
		rc = mm_fail(err, MM_EINVAL, "no piece of more than 256 bytes of text in what was given");
	if (!rc) {
		mm_chunks_sample(&k, (size_t)c->o.n, (uint64_t)c->o.seed);
		if (c->o.n && pieces < (size_t)c->o.n)
			mm_say(c, "only %zu pieces for a sample of %lld: all of them are taken", pieces,
				(long long)c->o.n);
		rc = mm_chunks_write(&k, &out, err) || put_out(c, &out, err) ? -1 : 0;
	}
	if (!rc)
		summary(c, &k, pieces);
	mm_buf_fini(&out);
	mm_chunks_free(&k);
	return rc;
}

/* ---- check ---- */

static int cmp_hash(const void *a, const void *b)
{
	const struct mm_hash *x = a, *y = b;
	if (x->hi != y->hi)
		return x->hi < y->hi ? -1 : 1;
	return (x->lo > y->lo) - (x->lo < y->lo);
}

static int count_duplicates(const struct mm_texts *t, size_t *n, struct mm_err *err)
{
	struct mm_hash *h = mm_calloc(t->n, sizeof *h, err);
	if (!h)
		return -1;
	for (size_t i = 0; i < t->n; i++)
		h[i] = mm_hash_of(t->text[i], t->len[i]);
	qsort(h, t->n, sizeof *h, cmp_hash);
	*n = 0;
	for (size_t i = 1; i < t->n; i++)
		*n += mm_hash_eq(h[i], h[i - 1]);
	mm_free(h);
	return 0;
}

static json_t *report(const struct mm_texts *t, size_t duplicates)
{
	char hash[MM_HASH_HEX];
	size_t least = t->len[0], most = 0, bytes = 0, *per = calloc(t->n_domain + 1, sizeof *per);
	json_t *domains = json_object();
	for (size_t i = 0; i < t->n && per; i++) {
		least = MM_MIN(least, t->len[i]);
		most = MM_MAX(most, t->len[i]);
		bytes += t->len[i];
		per[t->domain[i]]++;
	}
	for (size_t d = 0; d < t->n_domain && per; d++)
		json_object_set_new(domains, t->domain_name[d], json_integer((json_int_t)per[d]));
	free(per);
	mm_hash_hex(t->hash, hash);
	return json_pack("{s:I, s:I, s:f, s:I, s:I, s:s, s:I, s:o}", "n", (json_int_t)t->n, "bytes", (json_int_t)bytes,
		"mean_bytes", t->mean_bytes, "min_bytes", (json_int_t)least, "max_bytes", (json_int_t)most, "hash",
		hash, "duplicates", (json_int_t)duplicates, "domains", domains);
}

static void print_report(const struct mm_cli *c, const json_t *r)
{
	const char *name;
	json_t *v;
	char clean[512];
	fprintf(c->out,
		"texts       %lld\nbytes       %lld, %.1f on average, %lld to %lld\nhash        %s\nduplicates  %lld\n",
		(long long)mm_int(r, "n", 0), (long long)mm_int(r, "bytes", 0), mm_num(r, "mean_bytes", 0),
		(long long)mm_int(r, "min_bytes", 0), (long long)mm_int(r, "max_bytes", 0), mm_str(r, "hash"),
		(long long)mm_int(r, "duplicates", 0));
	fputs("domains     ", c->out);
	bool first = true;
	json_object_foreach (json_object_get(r, "domains"), name, v) {
		mm_term_clean(&c->term, *name ? name : "(none)", clean, sizeof clean);
		fprintf(c->out, "%s%s %lld", first ? "" : ", ", clean, (long long)json_integer_value(v));
		first = false;
	}
	fputc('\n', c->out);
}

static int check(struct mm_cli *c, struct mm_err *err)
{
	struct mm_texts t;
	size_t duplicates;
	if (c->n_word > 2) {
		c->usage = true;
		return mm_fail(err, MM_EINVAL, "texts check takes one file");
	}
	if (mm_texts_load(&t, c->word[1], err))
		return -1;
	int rc = count_duplicates(&t, &duplicates, err);
	json_t *r = rc ? NULL : report(&t, duplicates);
	if (!rc && !r)
		rc = mm_fail(err, MM_ENOMEM, "out of memory for a report");
	if (!rc && c->o.json)
		rc = mm_json_print(r, &c->term, c->out, err);
	else if (!rc)
		print_report(c, r);
	json_decref(r);
	mm_texts_free(&t);
	return rc;
}

int mm_run_texts(struct mm_cli *c, struct mm_err *err)
{
	if (c->n_word < 2 && (!strcmp(c->word[0], "build") || !strcmp(c->word[0], "check"))) {
		c->usage = true;
		return mm_fail(err, MM_EINVAL, "texts %s: of which file?", c->word[0]);
	}
	if (!strcmp(c->word[0], "build"))
		return build(c, err);
	if (!strcmp(c->word[0], "check"))
		return check(c, err);
	if (!strcmp(c->word[0], "select"))
		return mm_texts_select(c, err);
	c->usage = true;
	return mm_fail(err, MM_EINVAL, "texts: \"%s\" is none of build, check, select", c->word[0]);
}
