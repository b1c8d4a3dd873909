#include "bench/serve/texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static uint64_t hash_of(const unsigned char *bytes, size_t len) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < len; i++) {
        h = (h ^ bytes[i]) * UINT64_C(1099511628211);
    }
    return h | 1;
}

static void cut_corpus(bench_text *t, size_t len, uint64_t seed, const char *corpus,
                       size_t corpus_len) {
    size_t from = mix(seed) % (corpus_len - len - 4096);
    while (from > 0 && corpus[from - 1] != '\n') { /* whole lines are whole characters */
        from--;
    }
    memcpy(t->bytes, corpus + from, len);
    while (len > 0 && ((unsigned char)t->bytes[len - 1] & 0x80) != 0) {
        len--;
    }
    t->len = len;
}

bool bench_text_make(bench_text *t, size_t len, uint64_t seed, const char *corpus,
                     size_t corpus_len) {
    static const char *const words[] = {
        "the",     "request", "failed",  "with",       "status",   "because", "worker", "of",
        "timeout", "after",   "reading", "config",     "from",     "module",  "parser", "retried",
        "INFO",    "WARN",    "and",     "connection", "released", "while",   "in",     "cache"};
    t->bytes = malloc(len + 32);
    if (t->bytes == NULL) {
        return false;
    }
    if (corpus != NULL && corpus_len > len + 4096) {
        cut_corpus(t, len, seed, corpus, corpus_len);
        return true;
    }
    for (uint64_t i = 0; t->len < len; i++) {
        uint64_t x = mix(seed * 1000003 + i);
        bool word = (x >> 40 & 7) != 0;
        t->len += (size_t)(word ? snprintf(t->bytes + t->len, 32, "%s", words[x % 24])
                                : snprintf(t->bytes + t->len, 32, "%u", (unsigned)(x % 9973)));
        t->bytes[t->len++] = (x >> 50) % 11 == 0 ? '\n' : ' ';
    }
    t->len = len;
    return true;
}

bool bench_text_same(bench_text *text, const void *reply, size_t len) {
    uint64_t hash = hash_of(reply, len);
    uint64_t first = 0;
    return atomic_compare_exchange_strong(&text->hash, &first, hash) || first == hash;
}

uint64_t bench_texts_hash(const bench_text *texts, size_t n) {
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++) {
        all = mix(all ^ atomic_load(&texts[i].hash));
    }
    return all;
}

bool bench_texts_save(const bench_text *texts, size_t n, const char *path) {
    for (size_t i = 0; i < n; i++) {
        if (atomic_load(&texts[i].hash) == 0) {
            return false;
        }
    }
    FILE *file = fopen(path, "w");
    for (size_t i = 0; file != NULL && i < n; i++) {
        (void)fprintf(file, "%llx\n", (unsigned long long)atomic_load(&texts[i].hash));
    }
    return file != NULL && fclose(file) == 0;
}

bool bench_texts_load(bench_text *texts, size_t n, const char *path) {
    FILE *file = fopen(path, "r");
    size_t read = 0;
    unsigned long long hash;
    while (file != NULL && read < n && fscanf(file, "%llx", &hash) == 1) {
        atomic_store(&texts[read++].hash, hash);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return read == n;
}

int64_t bench_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int compare(const void *a, const void *b) {
    int64_t x;
    int64_t y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

int64_t bench_percentile(int64_t *values, size_t n, double share) {
    if (n == 0) {
        return 0;
    }
    qsort(values, n, sizeof *values, compare);
    size_t at = (size_t)(share * (double)n);
    return values[at < n ? at : n - 1];
}
