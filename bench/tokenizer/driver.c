/* Times the tokenizer. Usage: driver TOKENIZER.json DOCS
 *   Each line on stdin encodes every document of DOCS (u32 length, bytes) once, one core, plain
 *   calls, and prints "nanoseconds tokens fnv1a" with the hash over the ids as little-endian u32.
 * driver TOKENIZER.json --linear prints the time per byte over sizes of one repeated character. */
#include "runtime/base/file.h"
#include "runtime/text/tokenizer.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DOCS_BYTES_MAX = 256 * 1024 * 1024, LINEAR_BYTES_MAX = 4 * 1024 * 1024 };

/* CPU time of the process, so that other work on the machine does not count. */
static int64_t cpu_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int fail(const char *text) {
    (void)fprintf(stderr, "driver: %s\n", text);
    return 1;
}

static uint64_t hash_ids(uint64_t hash, const pith_token_list *list) {
    for (size_t i = 0; i < list->len; i++) {
        for (unsigned shift = 0; shift < 32; shift += 8) {
            hash = (hash ^ ((list->items[i].id >> shift) & 0xFF)) * 0x100000001B3U;
        }
    }
    return hash;
}

typedef struct round_result {
    int64_t ns;
    size_t tokens;
    uint64_t hash;
} round_result;

static int encode_docs(const pith_tokenizer *tokenizer, const pith_file *docs,
                       pith_token_list *list, round_result *result) {
    pith_err err = {0};
    *result = (round_result){.hash = 0xCBF29CE484222325U};
    for (size_t at = 0; at + 4 <= docs->len;) {
        uint32_t len;
        memcpy(&len, docs->data + at, sizeof len);
        pith_token_list_reset(list);
        int64_t start = cpu_ns();
        if (pith_tokenizer_encode(tokenizer, PITH_ADDED_PARITY, docs->data + at + 4, len, list,
                                  &err) != PITH_OK) {
            return fail(err.text);
        }
        result->ns += cpu_ns() - start;
        result->tokens += list->len;
        result->hash = hash_ids(result->hash, list);
        at += 4 + len;
    }
    return 0;
}

static int serve(const pith_tokenizer *tokenizer, const char *path, pith_token_list *list) {
    pith_file docs;
    pith_err err = {0};
    char line[64];
    if (pith_file_read(&docs, path, DOCS_BYTES_MAX, &err) != PITH_OK) {
        return fail(err.text);
    }
    int status = 0;
    while (status == 0 && fgets(line, sizeof line, stdin) != NULL) {
        round_result result;
        status = encode_docs(tokenizer, &docs, list, &result);
        (void)printf("%" PRId64 " %zu %" PRIu64 "\n", result.ns, result.tokens, result.hash);
        (void)fflush(stdout);
    }
    pith_file_close(&docs);
    return status;
}

static int linear(const pith_tokenizer *tokenizer, pith_token_list *list) {
    static const char *const units[][2] = {{"a", "a"},
                                           {"=", "="},
                                           {"space", " "},
                                           {"newline", "\n"},
                                           {"digit 0", "0"},
                                           {"U+4E2D", "\xE4\xB8\xAD"},
                                           {"U+00E9", "\xC3\xA9"},
                                           {"e U+0301", "e\xCC\x81"},
                                           {"ab", "ab"}};
    char *text = malloc(LINEAR_BYTES_MAX);
    if (text == NULL) {
        return fail("no memory");
    }
    (void)printf("%-10s %10s %10s %10s %10s   ns per byte\n", "unit", "64 KiB", "256 KiB", "1 MiB",
                 "4 MiB");
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t n = strlen(units[u][1]);
        for (size_t i = 0; i < LINEAR_BYTES_MAX; i++) {
            text[i] = units[u][1][i % n];
        }
        (void)printf("%-10s", units[u][0]);
        for (size_t len = 64 * 1024; len <= LINEAR_BYTES_MAX; len *= 4) {
            int64_t best = INT64_MAX;
            for (int round = 0; round < 3; round++) {
                pith_err err;
                pith_token_list_reset(list);
                int64_t start = cpu_ns();
                if (pith_tokenizer_encode(tokenizer, PITH_ADDED_PLAIN, text, len / n * n, list,
                                          &err) != PITH_OK) {
                    free(text);
                    return fail(err.text);
                }
                int64_t ns = cpu_ns() - start;
                best = ns < best ? ns : best;
            }
            (void)printf(" %10.1f", (double)best / (double)(len / n * n));
        }
        (void)printf("\n");
    }
    free(text);
    return 0;
}

int main(int argc, char **argv) {
    pith_tokenizer *tokenizer;
    pith_err err = {0};
    pith_token_list list = {0};
    if (argc != 3) {
        return fail("usage: driver TOKENIZER.json DOCS|--linear");
    }
    if (pith_tokenizer_open(&tokenizer, argv[1], &err) != PITH_OK) {
        return fail(err.text);
    }
    int status = strcmp(argv[2], "--linear") == 0 ? linear(tokenizer, &list)
                                                  : serve(tokenizer, argv[2], &list);
    pith_token_list_free(&list);
    pith_tokenizer_close(tokenizer);
    return status;
}
