/* Each operation through the ops table: cpu against ref over batches whose sequences end at task
 * boundaries, on several threads, and rows that depend on their own sequence alone. */
#include "runtime/backend/device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    DIM = 48,
    HEADS = 3,
    HEAD_DIM = DIM / HEADS,
    WIDE = 40,
    CHANNELS = 12,
    VOCAB = 50,
    TOKENS_MAX = 1300,
    WINDOW = 9
};

/* Everything an operation may read, the same for every device. */
typedef struct inputs {
    uint32_t ids[TOKENS_MAX];
    float table[VOCAB * DIM];
    float x[TOKENS_MAX * DIM];
    float act[TOKENS_MAX * DIM];
    float qkv[TOKENS_MAX * 3 * DIM];
    float norm[DIM];
    float wqkv[3 * DIM * DIM];
    float wo[DIM * DIM];
    float wi[2 * WIDE * DIM];
    float conv0[CHANNELS * DIM * 5];
    float rope[TOKENS_MAX * HEAD_DIM];
    float token[2 * DIM];
    float small[3 * CHANNELS];
} inputs;

/* What each operation left, rows of the packed batch. */
typedef struct outputs {
    float embedded[TOKENS_MAX * DIM];
    float added[TOKENS_MAX * DIM];
    float normed[TOKENS_MAX * DIM];
    float qkv[TOKENS_MAX * 3 * DIM];
    float local[TOKENS_MAX * DIM];
    float global[TOKENS_MAX * DIM];
    float linear[TOKENS_MAX * DIM];
    float glu[TOKENS_MAX * WIDE];
    float heads[3 * TOKENS_MAX]; /* z_tok, z_span, score, n_tok each */
} outputs;

static inputs in;
static outputs expected;
static outputs found;
static outputs alone;

static uint64_t rng_state = 17;

static void fill(float *x, size_t count, float scale) {
    for (size_t i = 0; i < count; i++) {
        uint64_t z = rng_state += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        x[i] = scale * ((float)(z >> 40) * 0x1p-23f - 1.0f);
    }
}

static int fill_inputs(void **state) {
    fill(in.table, VOCAB * DIM, 1.0f);
    fill(in.x, TOKENS_MAX * DIM, 1.0f);
    fill(in.act, TOKENS_MAX * DIM, 1.0f);
    fill(in.qkv, TOKENS_MAX * 3 * DIM, 1.0f);
    fill(in.norm, DIM, 1.0f);
    fill(in.wqkv, 3 * DIM * DIM, 0.2f);
    fill(in.wo, DIM * DIM, 0.2f);
    fill(in.wi, 2 * WIDE * DIM, 0.2f);
    fill(in.conv0, CHANNELS * DIM * 5, 0.1f);
    fill(in.rope, TOKENS_MAX * HEAD_DIM, 1.0f);
    fill(in.token, 2 * DIM, 0.2f);
    fill(in.small, 3 * CHANNELS, 0.2f);
    for (uint32_t i = 0; i < TOKENS_MAX; i++) {
        in.ids[i] = i * 31 % VOCAB;
    }
    return 0;
}

static pith_packed *pack(const pith_device *d, const float *data, size_t rows, size_t cols,
                         pith_pack_kind kind) {
    pith_err err = {0};
    pith_packed *packed = NULL;
    pith_matrix matrix = {data, PITH_ELEM_F32, rows, cols};
    pith_pack_opts opts = {.kind = kind, .n_heads = HEADS};
    assert_int_equal(d->ops->pack_weight(d->ctx, &matrix, &opts, &packed, &err), PITH_OK);
    return packed;
}

static void run_norms(const pith_device *d, outputs *out) {
    pith_packed *table = pack(d, in.table, VOCAB, DIM, PITH_PACK_TABLE);
    d->ops->embed_norm(d->ctx, &(pith_op_embed_norm){.x = out->embedded,
                                                     .out = out->normed,
                                                     .table = table,
                                                     .weight = in.norm,
                                                     .eps = 1e-5f});
    memcpy(out->added, in.x, sizeof in.x);
    d->ops->add_norm(d->ctx, &(pith_op_add_norm){.x = out->added,
                                                 .out = out->normed,
                                                 .delta = in.act,
                                                 .weight = in.norm,
                                                 .dim = DIM,
                                                 .eps = 1e-5f});
    d->ops->packed_free(d->ctx, table);
}

static void run_products(const pith_device *d, outputs *out) {
    pith_packed *wqkv = pack(d, in.wqkv, 3 * DIM, DIM, PITH_PACK_QKV);
    pith_packed *wo = pack(d, in.wo, DIM, DIM, PITH_PACK_LINEAR);
    pith_packed *wi = pack(d, in.wi, 2 * WIDE, DIM, PITH_PACK_GEGLU);
    d->ops->linear_qkv_rope(
        d->ctx,
        &(pith_op_qkv_rope){.qkv = out->qkv, .act = in.act, .weight = wqkv, .rope = in.rope});
    d->ops->linear(d->ctx, &(pith_op_linear){.out = out->linear, .act = in.act, .weight = wo});
    d->ops->linear_geglu(d->ctx, &(pith_op_geglu){.out = out->glu, .act = in.act, .weight = wi});
    d->ops->packed_free(d->ctx, wqkv);
    d->ops->packed_free(d->ctx, wo);
    d->ops->packed_free(d->ctx, wi);
}

static void run_sequences(const pith_device *d, uint32_t n_tok, outputs *out) {
    pith_packed *conv0 = pack(d, in.conv0, CHANNELS, DIM * 5, PITH_PACK_SPAN_CONV);
    pith_op_attn attn = {
        .out = out->local, .qkv = in.qkv, .n_heads = HEADS, .head_dim = HEAD_DIM, .window = WINDOW};
    d->ops->attn(d->ctx, &attn);
    attn.out = out->global;
    attn.window = PITH_OPS_WINDOW_GLOBAL;
    d->ops->attn(d->ctx, &attn);
    d->ops->heads_gate(d->ctx, &(pith_op_heads){.z_tok = out->heads,
                                                .z_span = out->heads + n_tok,
                                                .score = out->heads + 2 * n_tok,
                                                .hidden = in.x,
                                                .token_weight = in.token,
                                                .token_bias = in.small,
                                                .conv0 = conv0,
                                                .conv0_bias = in.small,
                                                .conv2_weight = in.small,
                                                .conv2_bias = in.small,
                                                .dim = DIM,
                                                .channels = CHANNELS,
                                                .gate = PITH_OP_GATE_OR_BOOST,
                                                .gamma = 1.0f});
    d->ops->packed_free(d->ctx, conv0);
}

/* All operations over sequences of the given lengths. */
static void run_all(const pith_device_opts *opts, const uint32_t *lengths, uint32_t n_seq,
                    outputs *out) {
    pith_device d;
    pith_err err = {0};
    uint32_t offsets[64] = {0};
    assert_int_equal(pith_device_open(&d, opts, &err), PITH_OK);
    for (uint32_t s = 0; s < n_seq; s++) {
        offsets[s + 1] = offsets[s] + lengths[s];
    }
    pith_ops_reserve bounds = {.tokens_max = offsets[n_seq],
                               .hidden = DIM,
                               .intermediate = WIDE,
                               .n_heads = HEADS,
                               .span_channels = CHANNELS};
    assert_int_equal(d.ops->reserve(d.ctx, &bounds, &err), PITH_OK);
    d.ops->begin(
        d.ctx, &(pith_ops_batch){
                   .ids = in.ids, .cu_seqlens = offsets, .n_seq = n_seq, .n_tok = offsets[n_seq]});
    run_norms(&d, out);
    run_products(&d, out);
    run_sequences(&d, offsets[n_seq], out);
    assert_int_equal(d.ops->sync(d.ctx, &err), PITH_OK);
    pith_device_close(&d);
}

static void check(const float *a, const float *b, size_t count, double limit, const char *what) {
    for (size_t i = 0; i < count; i++) {
        if (!(fabs((double)a[i] - b[i]) <= limit)) { /* a NaN fails */
            print_error("%s[%zu]: found %.9g, expected %.9g\n", what, i, a[i], b[i]);
            fail();
        }
    }
}

/* Limits: the longest sum has 240 terms below 0.1 (the convolution), others 48 terms below 0.2;
 * 240 * 2^-24 * 24 = 3.5e-4 at worst, a tenth of that where the sums are short. */
static void check_outputs(const outputs *a, const outputs *b, size_t n_tok) {
    check(a->embedded, b->embedded, n_tok * DIM, 2e-5, "embed_norm");
    check(a->added, b->added, n_tok * DIM, 0.0, "add_norm x");
    check(a->normed, b->normed, n_tok * DIM, 2e-5, "add_norm");
    check(a->qkv, b->qkv, n_tok * 3 * DIM, 4e-5, "linear_qkv_rope");
    check(a->linear, b->linear, n_tok * DIM, 4e-5, "linear");
    check(a->glu, b->glu, n_tok * WIDE, 2e-4, "linear_geglu");
    check(a->local, b->local, n_tok * DIM, 4e-5, "attn local");
    check(a->global, b->global, n_tok * DIM, 2e-4, "attn global");
    check(a->heads, b->heads, n_tok * 3, 4e-4, "heads_gate");
}

typedef struct batch_case {
    uint32_t lengths[8];
    uint32_t n_seq;
} batch_case;

static const batch_case batches[] = {
    {{1}, 1},           {{2, 1, 3}, 3},       {{95, 1}, 2},         {{96}, 1},
    {{97, 94}, 2},      {{191, 192, 193}, 3}, {{64, 63, 65, 1}, 4}, {{127, 128, 129, 130}, 4},
    {{200, 513, 5}, 3}, {{255, 256, 257}, 3},
};

enum { BATCH_COUNT = sizeof batches / sizeof batches[0] };

static uint32_t total(const batch_case *b) {
    uint32_t sum = 0;
    for (uint32_t s = 0; s < b->n_seq; s++) {
        sum += b->lengths[s];
    }
    return sum;
}

static void every_operation_matches_ref_on_any_number_of_threads(void **state) {
    pith_device_opts ref = {.isa = "ref"};
    for (size_t i = 0; i < BATCH_COUNT; i++) {
        run_all(&ref, batches[i].lengths, batches[i].n_seq, &expected);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            pith_device_opts cpu = {.dtype = "f32", .n_threads = threads};
            run_all(&cpu, batches[i].lengths, batches[i].n_seq, &found);
            check_outputs(&found, &expected, total(&batches[i]));
        }
    }
}

static void threads_change_no_bit(void **state) {
    for (size_t i = 0; i < BATCH_COUNT; i++) {
        size_t n = total(&batches[i]);
        run_all(&(pith_device_opts){.dtype = "f32", .n_threads = 1}, batches[i].lengths,
                batches[i].n_seq, &alone);
        run_all(&(pith_device_opts){.dtype = "f32", .n_threads = 4}, batches[i].lengths,
                batches[i].n_seq, &found);
        assert_memory_equal(alone.qkv, found.qkv, n * 3 * DIM * sizeof(float));
        assert_memory_equal(alone.glu, found.glu, n * WIDE * sizeof(float));
        assert_memory_equal(alone.linear, found.linear, n * DIM * sizeof(float));
        assert_memory_equal(alone.local, found.local, n * DIM * sizeof(float));
        assert_memory_equal(alone.global, found.global, n * DIM * sizeof(float));
        assert_memory_equal(alone.heads, found.heads, n * 3 * sizeof(float));
        assert_memory_equal(alone.normed, found.normed, n * DIM * sizeof(float));
    }
}

/* Every row of the second of two sequences is NaN: the first keeps its bits in every operation
 * that looks at more than one row. */
static void nan_in_the_next_sequence_changes_no_bit(void **state) {
    const uint32_t lengths[2] = {130, 70};
    static inputs clean;
    pith_device_opts cpu = {.dtype = "f32", .n_threads = 2};
    run_all(&cpu, lengths, 2, &alone);
    clean = in;
    for (size_t i = 130; i < 200; i++) {
        for (size_t d = 0; d < 3 * DIM; d++) {
            in.qkv[i * 3 * DIM + d] = d % 2 == 0 ? NAN : INFINITY;
        }
        for (size_t d = 0; d < DIM; d++) {
            in.x[i * DIM + d] = d % 2 == 0 ? NAN : INFINITY;
            in.act[i * DIM + d] = NAN;
        }
    }
    run_all(&cpu, lengths, 2, &found);
    in = clean;
    assert_memory_equal(alone.local, found.local, 130 * DIM * sizeof(float));
    assert_memory_equal(alone.global, found.global, 130 * DIM * sizeof(float));
    assert_memory_equal(alone.qkv, found.qkv, 130 * 3 * DIM * sizeof(float));
    assert_memory_equal(alone.glu, found.glu, 130 * WIDE * sizeof(float));
    assert_memory_equal(alone.normed, found.normed, 130 * DIM * sizeof(float));
    for (size_t k = 0; k < 3; k++) {
        assert_memory_equal(alone.heads + k * 200, found.heads + k * 200, 130 * sizeof(float));
        assert_true(isnan(found.heads[k * 200 + 131 + 60]));
    }
}

/* The limits are no wider than they need to be: global attention in place of local is far over. */
static void a_wrong_result_is_over_the_limits(void **state) {
    run_all(&(pith_device_opts){.isa = "ref"}, (uint32_t[]){40}, 1, &expected);
    run_all(&(pith_device_opts){.dtype = "f32", .n_threads = 1}, (uint32_t[]){40}, 1, &found);
    double worst = 0.0;
    for (size_t i = 0; i < 40 * DIM; i++) {
        worst = fmax(worst, fabs((double)found.global[i] - expected.local[i]));
    }
    assert_true(worst > 4e-4); /* ten times the limit */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_matches_ref_on_any_number_of_threads),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(nan_in_the_next_sequence_changes_no_bit),
        cmocka_unit_test(a_wrong_result_is_over_the_limits),
    };
    return cmocka_run_group_tests(tests, fill_inputs, NULL);
}
