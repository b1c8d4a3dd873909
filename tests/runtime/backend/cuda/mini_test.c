/* The shipped model's whole forward pass on the CUDA backend, its kernels run by kernels/emu: the
 * decisions are the CPU's, a text alone has the bits it has in a batch, recorded steps the bits of
 * unrecorded ones. */
#include "runtime/backend/cuda/emulated.h"
#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/text/document.h"
#include "tests/runtime/model/model_cases.h"

enum { TOKENS_MAX = 2048, TEXTS_MAX = 6, SEQS_MAX = 16 };

/* Of each sample, in bytes: a second of emulation for some thirty tokens. */
#ifdef PITH_EMULATED_LONG
enum { TEXT_BYTES = 2400, TEXT_BYTES_BF16 = 800 };
#else
enum { TEXT_BYTES = 300, TEXT_BYTES_BF16 = 100 };
#endif

/* Real tool output: the demo's samples, their beginnings. */
static const char *const samples[TEXTS_MAX] = {"build", "diff", "json", "log", "search", "test"};

typedef struct texts {
    pith_tokenizer *tokenizer;
    pith_token_list list;
    pith_arena arena;
    pith_file files[TEXTS_MAX];
    pith_document docs[TEXTS_MAX];
} texts;

static const char *source_path(char out[512], const char *rest) {
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(out, 512, "%s/%s", source != NULL ? source : ".", rest);
    return out;
}

/* At most `bytes` of the text, cut between two characters. */
static size_t cut(const pith_file *file, size_t bytes) {
    size_t len = file->len < bytes ? file->len : bytes;
    while (len > 0 && len < file->len && ((unsigned char)file->data[len] & 0xc0) == 0x80) {
        len--;
    }
    return len;
}

static void open_texts(texts *t, const pith_model_config *config, size_t bytes) {
    char path[512];
    *t = (texts){0};
    pith_arena_init(&t->arena, 64 << 20);
    MUST(pith_tokenizer_open(&t->tokenizer, source_path(path, "models/pith-mini/tokenizer.json"),
                             err));
    pith_document_opts opts = {.word_mode = PITH_WORDS_RAW,
                               .window_tokens = config->window_tokens,
                               .halo_tokens = config->halo_tokens,
                               .cls_id = config->cls_id,
                               .sep_id = config->sep_id};
    for (size_t i = 0; i < TEXTS_MAX; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "deploy/demo/%s.txt", samples[i]);
        MUST(pith_file_read(&t->files[i], source_path(path, name), 1 << 20, err));
        MUST(pith_document_prepare(&t->docs[i], t->tokenizer, &opts, t->files[i].data,
                                   cut(&t->files[i], bytes), &t->list, &t->arena, err));
        assert_true(t->docs[i].n_windows > 0);
    }
}

static void close_texts(texts *t) {
    for (size_t i = 0; i < TEXTS_MAX; i++) {
        pith_file_close(&t->files[i]);
    }
    pith_token_list_free(&t->list);
    pith_arena_reset(&t->arena);
    pith_tokenizer_close(t->tokenizer);
}

static void open_mini(opened *o, const char *device, const char *dtype) {
    char path[512];
    open_model(
        o, source_path(path, "models/pith-mini"),
        &(open_how){.device = device, .dtype = dtype, .n_threads = 1, .tokens_max = TOKENS_MAX});
}

/* Unit scores of a document, window by window. */
static void score(pith_encoder *encoder, const pith_document *doc, float *units) {
    static float token_scores[TOKENS_MAX];
    for (uint32_t w = 0; w < doc->n_windows; w++) {
        const pith_window *window = &doc->windows[w];
        const uint32_t offsets[2] = {0, window->n_ids};
        pith_batch batch = {.ids = doc->ids + window->id_begin,
                            .cu_seqlens = offsets,
                            .n_seq = 1,
                            .n_tok = window->n_ids};
        pith_encoder_out out = {.score = token_scores};
        MUST(pith_encoder_forward(encoder, &batch, &out, err));
        pith_document_collect(doc, w, token_scores, units);
    }
}

typedef struct tally {
    uint32_t words;
    uint32_t within; /* fp32 score at most MARGIN from the threshold */
    uint32_t changed;
    uint32_t changed_outside;
    double worst; /* largest difference of two scores */
} tally;

static const double margin = 0.02;

static void count(tally *t, const float *cpu, const float *cuda, uint32_t n, double threshold) {
    for (uint32_t u = 0; u < n; u++) {
        bool near = fabs(cpu[u] - threshold) <= margin;
        bool same = (cpu[u] > threshold) == (cuda[u] > threshold) && isfinite(cuda[u]);
        t->words++;
        t->within += near;
        t->changed += !same;
        t->changed_outside += !same && !near;
        t->worst = fmax(t->worst, fabs((double)cpu[u] - cuda[u]));
    }
}

/* The thresholds of every domain that the model was given: each is a set of decisions. */
static tally compare(const char *dtype, size_t bytes) {
    static float cpu[TEXTS_MAX * TOKENS_MAX];
    static float cuda[TEXTS_MAX * TOKENS_MAX];
    static texts t;
    tally found = {0};
    opened on_cpu;
    opened on_cuda;
    open_mini(&on_cpu, "cpu", "f32");
    open_mini(&on_cuda, "cuda:0", dtype);
    open_texts(&t, &on_cpu.config, bytes);
    for (size_t i = 0; i < TEXTS_MAX; i++) {
        const pith_document *doc = &t.docs[i];
        assert_in_range(doc->n_units, 1, TEXTS_MAX * TOKENS_MAX);
        score(on_cpu.encoder, doc, cpu);
        score(on_cuda.encoder, doc, cuda);
        for (uint32_t k = 0; k < on_cpu.config.n_thresholds; k++) {
            count(&found, cpu, cuda, doc->n_units, on_cpu.config.thresholds[k].value);
        }
    }
    close_texts(&t);
    close_model(&on_cuda);
    close_model(&on_cpu);
    print_message(
        "%s: %u decisions, %.2f %% within %.2f of the threshold, %u changed (%u outside), "
        "scores differ by at most %.4f\n",
        dtype, found.words, 100.0 * found.within / found.words, margin, found.changed,
        found.changed_outside, found.worst);
    return found;
}

static void f16_decides_as_the_cpu_does(void **state) {
    tally t = compare("f16", TEXT_BYTES);
    assert_true(t.words >= 1000);             /* nine thresholds a word */
    assert_true(t.changed * 1000 <= t.words); /* 99.9 % */
    assert_int_equal(t.changed_outside, 0);
}

static void bf16_decides_as_the_cpu_does(void **state) {
    tally t = compare("bf16", TEXT_BYTES_BF16);
    assert_true(t.words >= 300);
    assert_true(t.changed * 100 <= t.words); /* 99.0 % */
    assert_int_equal(t.changed_outside, 0);
}

/* The comparison can fail: a score on the other side, far from the threshold or not a number. */
static void a_changed_decision_is_counted(void **state) {
    tally t = {0};
    const float cpu[3] = {0.9f, 0.51f, 0.9f};
    const float cuda[3] = {0.1f, 0.49f, NAN};
    count(&t, cpu, cuda, 3, 0.5);
    assert_int_equal(t.changed, 3);
    assert_int_equal(t.changed_outside, 2);
    assert_int_equal(t.within, 1);
}

/* --- bits --- */

typedef struct packed {
    uint32_t ids[TOKENS_MAX];
    uint32_t offsets[SEQS_MAX + 1];
    uint32_t n_seq;
    float z_tok[TOKENS_MAX];
    float z_span[TOKENS_MAX];
    float score[TOKENS_MAX];
} packed;

static void add(packed *p, uint32_t len) {
    uint32_t first = p->offsets[p->n_seq];
    for (uint32_t i = 0; i < len; i++) {
        uint64_t seed = len * 131u + i; /* a text depends on its length alone */
        p->ids[first + i] = (uint32_t)(case_next(&seed) % 8000);
    }
    p->offsets[++p->n_seq] = first + len;
}

static void forward(pith_encoder *encoder, packed *p) {
    pith_batch batch = {
        .ids = p->ids, .cu_seqlens = p->offsets, .n_seq = p->n_seq, .n_tok = p->offsets[p->n_seq]};
    pith_encoder_out out = {.z_tok = p->z_tok, .z_span = p->z_span, .score = p->score};
    MUST(pith_encoder_forward(encoder, &batch, &out, err));
}

static void a_text_alone_has_the_bits_it_has_in_a_batch(void **state) {
    static packed all;
    static packed one;
    const uint32_t lens[] = {2, 64, 65, 1, 130};
    opened o;
    open_mini(&o, "cuda:0", "f16");
    all = (packed){0};
    for (size_t i = 0; i < 5; i++) {
        add(&all, lens[i]);
    }
    forward(o.encoder, &all);
    for (uint32_t s = 0; s < all.n_seq; s++) {
        one = (packed){0};
        add(&one, lens[s]);
        forward(o.encoder, &one);
        size_t bytes = lens[s] * sizeof(float);
        assert_memory_equal(one.z_tok, all.z_tok + all.offsets[s], bytes);
        assert_memory_equal(one.z_span, all.z_span + all.offsets[s], bytes);
        assert_memory_equal(one.score, all.score + all.offsets[s], bytes);
    }
    close_model(&o);
}

static void no_probe(void *user, uint32_t stage, const float *x, size_t n) {
}

/* Steps of one class and slot are played from one recording, and their bits are those of a model
 * that records nothing (one with a probe). */
static void recorded_steps_have_the_bits_of_unrecorded_ones(void **state) {
    static packed found[4];
    static packed expected;
    const uint32_t lens[4] = {40, 3, 70, 40};
    char path[512];
    opened o;
    pith_emulated_reset(0);
    open_mini(&o, "cuda:0", "f16");
    for (size_t i = 0; i < 4; i++) {
        found[i] = (packed){0};
        add(&found[i], lens[i]);
        forward(o.encoder, &found[i]);
    }
    pith_emulated_stats stats = pith_emulated_read();
    assert_int_equal(stats.graphs, 2); /* one for each slot */
    assert_int_equal(stats.graph_nodes, stats.kernels);
    assert_int_equal(stats.kernels % 4, 0);
    close_model(&o);
    open_model(&o, source_path(path, "models/pith-mini"),
               &(open_how){.device = "cuda:0",
                           .dtype = "f16",
                           .n_threads = 1,
                           .tokens_max = TOKENS_MAX,
                           .probe = no_probe});
    for (size_t i = 0; i < 4; i++) {
        expected = (packed){0};
        add(&expected, lens[i]);
        forward(o.encoder, &expected);
        assert_memory_equal(found[i].score, expected.score, lens[i] * sizeof(float));
        assert_memory_equal(found[i].z_span, expected.z_span, lens[i] * sizeof(float));
    }
    assert_int_equal(pith_emulated_read().graphs, 2);
    close_model(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_decision_is_counted),
        cmocka_unit_test(f16_decides_as_the_cpu_does),
        cmocka_unit_test(bf16_decides_as_the_cpu_does),
        cmocka_unit_test(a_text_alone_has_the_bits_it_has_in_a_batch),
        cmocka_unit_test(recorded_steps_have_the_bits_of_unrecorded_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
