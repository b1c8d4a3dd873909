/* Times the text path: what surrounds the model's forward, from bytes to the reply's text.
 *
 *   driver TOKENIZER.json faithful|kompress DOCS
 *
 * DOCS: u32 length, bytes, again and again. Each line on stdin takes every document through all of
 * it once (scores are a hash of the ids), then once through each of some of its stages alone, on
 * one core, and prints "all prepare encode critical route fnv1a": nanoseconds of CPU time and a
 * hash of the replies. */
#include "runtime/base/file.h"
#include "runtime/decide/compress.h"
#include "runtime/text/critical.h"
#include "runtime/text/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DOCS_BYTES_MAX = 256 * 1024 * 1024, ARENA_BYTES_MAX = 1 << 30 };

typedef struct bench {
    pith_tokenizer *tokenizer;
    pith_critical *critical;
    pith_decide_config decide;
    pith_document_opts opts;
    pith_token_list list;
    pith_file docs;
    pith_document doc;
    pith_compress_result result;
    uint64_t hash;   /* of the replies */
    uint64_t routed; /* so that routing is not left out */
} bench;

/* CPU time of the thread, so that other work on the machine does not count. */
static int64_t cpu_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int fail(const char *text) {
    (void)fprintf(stderr, "driver: %s\n", text);
    return 1;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001B3U;
    }
    return hash;
}

static uint64_t hash_result(uint64_t hash, const pith_compress_result *r) {
    const uint64_t counts[] = {r->text_len,      r->input_words,    r->kept_words,
                               r->input_tokens,  r->kept_tokens,    r->critical_total,
                               r->critical_kept, r->unscored_words, r->pattern_limit_hits,
                               r->passthrough,   r->budget_missed,  r->domain,
                               r->n_kept_ranges};
    hash = mix(hash, r->text, r->text_len);
    hash = mix(hash, counts, sizeof counts);
    return mix(hash, r->kept_ranges, r->n_kept_ranges * sizeof *r->kept_ranges);
}

/* Scores of units, as the runner without a model gives them: a hash of the id. */
static bool score(const pith_document *doc, pith_arena *arena, float **scores) {
    float *tokens = pith_arena_alloc(arena, doc->n_ids, sizeof *tokens);
    *scores = pith_arena_calloc(arena, doc->n_units, sizeof **scores);
    if (tokens == NULL || *scores == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < doc->n_ids; i++) {
        tokens[i] = (float)(doc->ids[i] * UINT32_C(2654435761) >> 8) / (float)(1 << 24);
    }
    for (uint32_t w = 0; w < doc->n_windows; w++) {
        pith_document_collect(doc, w, tokens + doc->windows[w].id_begin, *scores);
    }
    return true;
}

typedef struct text_arg {
    const char *bytes;
    size_t len;
    pith_arena arena; /* given back after each text */
} text_arg;

static pith_status do_prepare(bench *b, text_arg *t, pith_err *err) {
    return pith_document_prepare(&b->doc, b->tokenizer, &b->opts, t->bytes, t->len, &b->list,
                                 &t->arena, err);
}

/* One text as the engine takes it. */
static pith_status do_all(bench *b, text_arg *t, pith_err *err) {
    pith_compress_request request = {.text = t->bytes,
                                     .text_len = t->len,
                                     .budget = PITH_BUDGET_TARGET_RATIO,
                                     .budget_value = 0.5,
                                     .profile = b->opts.profile};
    float *scores;
    pith_status status = do_prepare(b, t, err);
    if (status != PITH_OK) {
        return status;
    }
    if (!score(&b->doc, &t->arena, &scores)) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for scores");
    }
    return pith_compress_finish(&b->decide, &request, &b->doc, b->tokenizer, scores, &b->list,
                                &t->arena, &b->result, err);
}

static pith_status do_encode(bench *b, text_arg *t, pith_err *err) {
    pith_token_list_reset(&b->list);
    return pith_tokenizer_encode(b->tokenizer, PITH_ADDED_PLAIN, t->bytes, t->len, &b->list, err);
}

static pith_status do_route(bench *b, text_arg *t, pith_err *err) {
    (void)err;
    b->routed += pith_route(t->bytes, t->len);
    return PITH_OK;
}

static pith_status do_critical(bench *b, text_arg *t, pith_err *err) {
    pith_critical_scan scan;
    return pith_critical_find(b->critical, PITH_CRITICAL_FULL, PITH_DOMAIN_LOG, 1, t->bytes, t->len,
                              &t->arena, &scan, err);
}

/* Every document through one stage. */
static pith_status pass(bench *b, pith_status (*stage)(bench *, text_arg *, pith_err *),
                        bool replies, int64_t *ns, pith_err *err) {
    int64_t begin = cpu_ns();
    for (size_t at = 0; at + 4 <= b->docs.len;) {
        uint32_t len;
        memcpy(&len, b->docs.data + at, sizeof len);
        text_arg text = {.bytes = b->docs.data + at + 4, .len = len};
        pith_arena_init(&text.arena, ARENA_BYTES_MAX);
        pith_status status = stage(b, &text, err);
        if (status != PITH_OK) {
            pith_arena_reset(&text.arena);
            return status;
        }
        if (replies) {
            b->hash = hash_result(b->hash, &b->result);
        }
        pith_arena_reset(&text.arena);
        at += 4 + len;
    }
    *ns = cpu_ns() - begin;
    return PITH_OK;
}

static int run_round(bench *b) {
    pith_status (*const stages[])(bench *, text_arg *, pith_err *) = {do_all, do_prepare, do_encode,
                                                                      do_critical, do_route};
    enum { STAGES = sizeof stages / sizeof *stages };
    int64_t ns[STAGES];
    pith_err err = {0};
    if (b->hash == 0) { /* the first round: what the replies are */
        b->hash = 0xCBF29CE484222325U;
        if (pass(b, do_all, true, &ns[0], &err) != PITH_OK) {
            return fail(err.text);
        }
    }
    for (size_t i = 0; i < STAGES; i++) {
        if (pass(b, stages[i], false, &ns[i], &err) != PITH_OK) {
            return fail(err.text);
        }
        (void)printf("%" PRId64 " ", ns[i]);
    }
    (void)printf("%" PRIu64 "\n", b->hash);
    (void)fflush(stdout);
    return 0;
}

static pith_status open_bench(bench *b, char **argv, pith_err *err) {
    *b = (bench){
        .decide = {.length_exponent = 0.5, .critical_window = 1}, /* as pith-mini's config */
        .opts = {.profile = strcmp(argv[2], "kompress") == 0 ? PITH_PROFILE_KOMPRESS
                                                             : PITH_PROFILE_FAITHFUL,
                 .window_tokens = 768,
                 .halo_tokens = 64}};
    pith_status status = pith_tokenizer_open(&b->tokenizer, argv[1], err);
    if (status == PITH_OK) {
        status = pith_critical_open(&b->critical, NULL, err);
    }
    b->decide.critical = b->critical;
    return status == PITH_OK ? pith_file_read(&b->docs, argv[3], DOCS_BYTES_MAX, err) : status;
}

int main(int argc, char **argv) {
    static bench b;
    pith_err err = {0};
    if (argc != 4) {
        return fail("usage: driver TOKENIZER.json faithful|kompress DOCS");
    }
    if (open_bench(&b, argv, &err) != PITH_OK) {
        return fail(err.text);
    }
    char line[16];
    int status = 0;
    while (status == 0 && fgets(line, sizeof line, stdin) != NULL) {
        status = run_round(&b);
    }
    pith_token_list_free(&b.list);
    pith_critical_close(b.critical);
    pith_tokenizer_close(b.tokenizer);
    pith_file_close(&b.docs);
    return status;
}
