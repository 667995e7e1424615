/* signs.c: what the tokens of a text say beside their sum; stored with the vector and tested by the daemon.
 *
 *	mink20	 mean log-probability of the 20 % least likely tokens of a text: memorised texts have no surprises
 *	mink20pp the same of (log p - mean) / deviation, both under the model's own distribution at that place (head.c):
 *		 how a token does beside those that could have stood there, however sure the model is
 *	unigram	 log-likelihood of the text for a model that knows how often each token comes in the text set, and
 *nothing else: what a training that failed comes down to
 *
 * Neither touches the log-likelihoods. */
#include "model/score_priv.h"

#include <math.h>
#include <string.h>

#define MIN_K 0.2
/* Tokens for each different one: with fewer the frequencies know the texts by heart, by (kinds - 1) / 2 tokens nats a
 * token, and honest models would look bad beside them. Then there is no unigram model: all 0. */
#define EACH_MIN 5

/* v[want] as if sorted, smaller ones before it: quickselect with the middle as pivot. */
static void select_least(double *v, size_t n, size_t want)
{
	size_t from = 0, to = n;
	while (to - from > 1) {
		double pivot = v[from + (to - from) / 2];
		size_t i = from, j = to - 1;
		for (;;) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i >= j)
				break;
			double x = v[i];
			v[i++] = v[j];
			v[j--] = x;
		}
		/* from .. j are at most the pivot, j + 1 .. at least */
		if (i == j && v[i] <= pivot)
			j = i;
		if (j + 1 >= to)
			j = to - 2;
		if (want <= j)
			to = j + 1;
		else
			from = j + 1;
	}
}

double mm_sign_mink(double *v, size_t n)
{
	size_t k = MM_MAX((size_t)(MIN_K * (double)n), (size_t)1);
	double sum = 0;
	if (!n)
		return 0;
	select_least(v, n, k - 1);
	for (size_t i = 0; i < k; i++)
		sum += v[i];
	return sum / (double)k;
}

int mm_sign_unigram(const struct mm_score_seq *s, size_t n_seq, size_t n_vocab, float *out, struct mm_err *err)
{
	uint64_t all = 0, kinds = 0;
	uint32_t *count = mm_calloc(n_vocab, sizeof(*count), err);
	if (!count)
		return -1;
	for (size_t i = 0; i < n_seq; i++)
		for (size_t t = s[i].from; t < s[i].n; t++)
			if (s[i].id[t] < n_vocab) {
				kinds += !count[s[i].id[t]];
				count[s[i].id[t]]++;
				all++;
			}
	for (size_t i = 0; i < n_seq && all >= EACH_MIN * kinds; i++) {
		double sum = 0;
		for (size_t t = s[i].from; t < s[i].n; t++)
			if (s[i].id[t] < n_vocab)
				sum += log((double)count[s[i].id[t]] / (double)all);
		out[s[i].index] = (float)sum;
	}
	mm_free(count);
	return 0;
}
