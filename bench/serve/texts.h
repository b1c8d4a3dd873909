/* The texts of the serving benchmarks and what their replies are compared by: the same for the
 * engine alone and for a server, so that the two runs can be told to have given the same bytes. */
#ifndef PITH_BENCH_TEXTS_H
#define PITH_BENCH_TEXTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_TEXTS = 64 };

typedef struct bench_text {
    char *bytes;
    size_t len;
    atomic_uint_fast64_t hash; /* of its first reply; 0: none came yet */
} bench_text;

/* `len` bytes of made-up log lines by seed, or of `corpus` (may be NULL) if it is longer. */
bool bench_text_make(bench_text *text, size_t len, uint64_t seed, const char *corpus,
                     size_t corpus_len);

/* The reply's bytes are those of the text's first reply. Any thread. */
bool bench_text_same(bench_text *text, const void *reply, size_t len);

/* One number for the replies to texts [n]: equal where each reply was. */
uint64_t bench_texts_hash(const bench_text *texts, size_t n);

/* The replies' hashes, one a line: written when every text has one, and taken as first replies. */
bool bench_texts_save(const bench_text *texts, size_t n, const char *path);
bool bench_texts_load(bench_text *texts, size_t n, const char *path);

int64_t bench_now_ns(void);

/* Sorts; the share-th of n values. */
int64_t bench_percentile(int64_t *values, size_t n, double share);

#endif
