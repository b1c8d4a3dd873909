/* Each operation through the ops table: cpu against ref over batches whose sequences end at task
 * boundaries, on several threads, and rows that depend on their own sequence alone. With
 * PITH_EMULATED the same for the CUDA backend, its kernels run by kernels/emu. */
#include "kernels/types.h"
#include "runtime/backend/device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef PITH_EMULATED
/* Shapes that a GPU takes; heads of 64. Fewer tokens: a kernel's thread is a fiber here. */
enum { DIM = 128, HEADS = 2, WIDE = 64, CHANNELS = 16, TOKENS_MAX = 300, WINDOW = 64 };
/* A gate without steps: a score near one would jump with the last bit of its logits. */
static const pith_op_gate gate = PITH_OP_GATE_ASYMMETRIC;
#else
enum { DIM = 48, HEADS = 3, WIDE = 40, CHANNELS = 12, TOKENS_MAX = 1300, WINDOW = 9 };
static const pith_op_gate gate = PITH_OP_GATE_OR_BOOST;
#endif
enum { HEAD_DIM = DIM / HEADS, VOCAB = 50 };

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

/* --- arrays on the device, in its own formats --- */

static pk_dtype dtype_of(const pith_device *d, size_t bytes) {
    return bytes == sizeof(float) ? PK_F32 : strcmp(d->dtype, "f16") == 0 ? PK_F16 : PK_BF16;
}

static void *room(const pith_device *d, size_t count, size_t bytes) {
    pith_err err = {0};
    void *mem = NULL;
    assert_int_equal(d->ops->alloc(d->ctx, count * bytes, &mem, &err), PITH_OK);
    return mem;
}

/* `bytes` of an element: f32, or the 16 bits that the device computes in. */
static void *give(const pith_device *d, const float *data, size_t count, size_t bytes) {
    static uint16_t halves[TOKENS_MAX * 3 * DIM];
    pith_err err = {0};
    void *mem = room(d, count, bytes);
    pk_dtype dtype = dtype_of(d, bytes);
    for (size_t i = 0; dtype != PK_F32 && i < count; i++) {
        halves[i] = dtype == PK_F16 ? pk_f16_of_f32(data[i]) : pk_bf16_of_f32(data[i]);
    }
    d->ops->copy_in(d->ctx, mem, dtype == PK_F32 ? (const void *)data : halves, count * bytes);
    assert_int_equal(d->ops->sync(d->ctx, &err), PITH_OK);
    return mem;
}

/* Into `out` as f32; frees. */
static void take(const pith_device *d, float *out, void *mem, size_t count, size_t bytes) {
    static uint16_t halves[TOKENS_MAX * 3 * DIM];
    pith_err err = {0};
    pk_dtype dtype = dtype_of(d, bytes);
    d->ops->copy_out(d->ctx, dtype == PK_F32 ? (void *)out : halves, mem, count * bytes);
    pith_status status = d->ops->sync(d->ctx, &err);
    if (status != PITH_OK) {
        print_error("%s\n", err.text);
    }
    assert_int_equal(status, PITH_OK);
    if (dtype != PK_F32) {
        pk_to_f32(out, halves, dtype, 0, count);
    }
    d->ops->free(d->ctx, mem);
}

/* --- the operations --- */

static void run_norms(const pith_device *d, uint32_t n_tok, outputs *out) {
    size_t act = d->ops->elems(d->ctx).act;
    size_t n = (size_t)n_tok * DIM;
    pith_packed *table = pack(d, in.table, VOCAB, DIM, PITH_PACK_TABLE);
    float *weight = give(d, in.norm, DIM, sizeof(float));
    float *x = room(d, n, sizeof(float));
    void *normed = room(d, n, act);
    d->ops->embed_norm(d->ctx,
                       &(pith_op_embed_norm){
                           .x = x, .out = normed, .table = table, .weight = weight, .eps = 1e-5f});
    take(d, out->embedded, x, n, sizeof(float));
    x = give(d, in.x, n, sizeof(float));
    float *delta = give(d, in.act, n, sizeof(float));
    d->ops->add_norm(
        d->ctx,
        &(pith_op_add_norm){
            .x = x, .out = normed, .delta = delta, .weight = weight, .dim = DIM, .eps = 1e-5f});
    take(d, out->added, x, n, sizeof(float));
    take(d, out->normed, normed, n, act);
    d->ops->free(d->ctx, delta);
    d->ops->free(d->ctx, weight);
    d->ops->packed_free(d->ctx, table);
}

static void run_products(const pith_device *d, uint32_t n_tok, outputs *out) {
    pith_ops_elems elems = d->ops->elems(d->ctx);
    size_t n = n_tok;
    pith_packed *wqkv = pack(d, in.wqkv, 3 * DIM, DIM, PITH_PACK_QKV);
    pith_packed *wo = pack(d, in.wo, DIM, DIM, PITH_PACK_LINEAR);
    pith_packed *wi = pack(d, in.wi, 2 * WIDE, DIM, PITH_PACK_GEGLU);
    void *act = give(d, in.act, n * DIM, elems.act);
    float *rope = give(d, in.rope, n * HEAD_DIM, sizeof(float));
    void *qkv = room(d, n * 3 * DIM, elems.qkv);
    float *linear = room(d, n * DIM, sizeof(float));
    void *glu = room(d, n * WIDE, elems.act);
    d->ops->linear_qkv_rope(
        d->ctx, &(pith_op_qkv_rope){.qkv = qkv, .act = act, .weight = wqkv, .rope = rope});
    d->ops->linear(d->ctx, &(pith_op_linear){.out = linear, .act = act, .weight = wo});
    d->ops->linear_geglu(d->ctx, &(pith_op_geglu){.out = glu, .act = act, .weight = wi});
    take(d, out->qkv, qkv, n * 3 * DIM, elems.qkv);
    take(d, out->linear, linear, n * DIM, sizeof(float));
    take(d, out->glu, glu, n * WIDE, elems.act);
    d->ops->free(d->ctx, act);
    d->ops->free(d->ctx, rope);
    d->ops->packed_free(d->ctx, wqkv);
    d->ops->packed_free(d->ctx, wo);
    d->ops->packed_free(d->ctx, wi);
}

static void run_attn(const pith_device *d, uint32_t n_tok, uint32_t window, float *out) {
    pith_ops_elems elems = d->ops->elems(d->ctx);
    void *qkv = give(d, in.qkv, (size_t)n_tok * 3 * DIM, elems.qkv);
    void *mixed = room(d, (size_t)n_tok * DIM, elems.act);
    d->ops->attn(
        d->ctx,
        &(pith_op_attn){
            .out = mixed, .qkv = qkv, .n_heads = HEADS, .head_dim = HEAD_DIM, .window = window});
    take(d, out, mixed, (size_t)n_tok * DIM, elems.act);
    d->ops->free(d->ctx, qkv);
}

static void run_heads(const pith_device *d, uint32_t n_tok, outputs *out) {
    pith_packed *conv0 = pack(d, in.conv0, CHANNELS, DIM * 5, PITH_PACK_SPAN_CONV);
    float *hidden = give(d, in.x, (size_t)n_tok * DIM, sizeof(float));
    float *token = give(d, in.token, 2 * DIM, sizeof(float));
    float *small = give(d, in.small, 3 * CHANNELS, sizeof(float));
    float *scores = room(d, (size_t)n_tok * 3, sizeof(float));
    d->ops->heads_gate(d->ctx, &(pith_op_heads){.z_tok = scores,
                                                .z_span = scores + n_tok,
                                                .score = scores + 2 * n_tok,
                                                .hidden = hidden,
                                                .token_weight = token,
                                                .token_bias = small,
                                                .conv0 = conv0,
                                                .conv0_bias = small,
                                                .conv2_weight = small,
                                                .conv2_bias = small,
                                                .dim = DIM,
                                                .channels = CHANNELS,
                                                .gate = gate,
                                                .gamma = 1.0f});
    take(d, out->heads, scores, (size_t)n_tok * 3, sizeof(float));
    d->ops->free(d->ctx, hidden);
    d->ops->free(d->ctx, token);
    d->ops->free(d->ctx, small);
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
    uint32_t n_tok = offsets[n_seq];
    assert_true(d.ops->begin(
        d.ctx,
        &(pith_ops_batch){.ids = in.ids, .cu_seqlens = offsets, .n_seq = n_seq, .n_tok = n_tok}));
    run_norms(&d, n_tok, out);
    run_products(&d, n_tok, out);
    run_attn(&d, n_tok, WINDOW, out->local);
    run_attn(&d, n_tok, PITH_OPS_WINDOW_GLOBAL, out->global);
    run_heads(&d, n_tok, out);
    d.ops->end(d.ctx);
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

/* Where one rounding to 16 bits of operands and results adds `half` (half a unit of the last place:
 * 2^-11 or 2^-8; 0 for f32): a sum of K terms of operands below `a` and `b` moves by at most
 * 2 K a b half, and its result of magnitude r by r half. The terms' signs are mixed, so 4 standard
 * deviations, sqrt(K) in place of K, stand for "at most". */
static double half_of(const char *dtype) {
    return strcmp(dtype, "f32") == 0 ? 0.0 : strcmp(dtype, "f16") == 0 ? 0x1p-11 : 0x1p-8;
}

/* Limits: the longest sum has 240 terms below 0.1 (the convolution), others 48 terms below 0.2;
 * 240 * 2^-24 * 24 = 3.5e-4 at worst, a tenth of that where the sums are short. */
static void check_outputs(const outputs *a, const outputs *b, size_t n_tok, double half) {
    check(a->embedded, b->embedded, n_tok * DIM, 2e-5, "embed_norm");
    check(a->added, b->added, n_tok * DIM, 0.0, "add_norm x");
    check(a->normed, b->normed, n_tok * DIM, 2e-5 + 4.0 * half, "add_norm"); /* |y| < 4 */
    check(a->qkv, b->qkv, n_tok * 3 * DIM, 4e-5 + 12.0 * half, "linear_qkv_rope");
    check(a->linear, b->linear, n_tok * DIM, 4e-5 + 8.0 * half, "linear");
    check(a->glu, b->glu, n_tok * WIDE, 2e-4 + 40.0 * half, "linear_geglu");
    check(a->local, b->local, n_tok * DIM, 4e-5 + 4.0 * half, "attn local");
    check(a->global, b->global, n_tok * DIM, 2e-4 + 4.0 * half, "attn global");
    check(a->heads, b->heads, n_tok * 3, 4e-4 + 8.0 * half, "heads_gate");
}

typedef struct batch_case {
    uint32_t lengths[8];
    uint32_t n_seq;
} batch_case;

#ifdef PITH_EMULATED
static const batch_case batches[] = {{{1}, 1}, {{65, 1, 3, 64}, 4}, {{129, 128}, 2}};
#else
static const batch_case batches[] = {
    {{1}, 1},           {{2, 1, 3}, 3},       {{95, 1}, 2},         {{96}, 1},
    {{97, 94}, 2},      {{191, 192, 193}, 3}, {{64, 63, 65, 1}, 4}, {{127, 128, 129, 130}, 4},
    {{200, 513, 5}, 3}, {{255, 256, 257}, 3},
};
#endif

enum { BATCH_COUNT = sizeof batches / sizeof batches[0] };

static uint32_t total(const batch_case *b) {
    uint32_t sum = 0;
    for (uint32_t s = 0; s < b->n_seq; s++) {
        sum += b->lengths[s];
    }
    return sum;
}

#ifdef PITH_EMULATED

/* A GPU's product of rows is the same whatever lies around them: what one operation over the packed
 * batch gives is what it gives for each sequence alone. */
static void every_operation_matches_ref_in_f16_and_bf16(void **state) {
    pith_device_opts ref = {.isa = "ref"};
    const char *const dtypes[] = {"f16", "bf16"};
    for (size_t i = 0; i < BATCH_COUNT; i++) {
        run_all(&ref, batches[i].lengths, batches[i].n_seq, &expected);
        for (size_t d = 0; d < 2; d++) {
            pith_device_opts cuda = {.device = "cuda:0", .dtype = dtypes[d]};
            run_all(&cuda, batches[i].lengths, batches[i].n_seq, &found);
            check_outputs(&found, &expected, total(&batches[i]), half_of(dtypes[d]));
        }
    }
}

static const pith_device_opts subject = {.device = "cuda:0", .dtype = "f16"};

#else

static void every_operation_matches_ref_on_any_number_of_threads(void **state) {
    pith_device_opts ref = {.isa = "ref"};
    for (size_t i = 0; i < BATCH_COUNT; i++) {
        run_all(&ref, batches[i].lengths, batches[i].n_seq, &expected);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            pith_device_opts cpu = {.dtype = "f32", .n_threads = threads};
            run_all(&cpu, batches[i].lengths, batches[i].n_seq, &found);
            check_outputs(&found, &expected, total(&batches[i]), half_of("f32"));
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

static const pith_device_opts subject = {.dtype = "f32", .n_threads = 2};

#endif

/* Every row of the second of two sequences is NaN: the first keeps its bits in every operation
 * that looks at more than one row. */
static void nan_in_the_next_sequence_changes_no_bit(void **state) {
    const uint32_t lengths[2] = {130, 70};
    static inputs clean;
    run_all(&subject, lengths, 2, &alone);
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
    run_all(&subject, lengths, 2, &found);
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

enum { REACH = 4 * WINDOW < 280 ? 4 * WINDOW : 280 }; /* tokens: local and global differ */

/* The limits are no wider than they need to be: global attention in place of local is far over. */
static void a_wrong_result_is_over_the_limits(void **state) {
    run_all(&(pith_device_opts){.isa = "ref"}, (uint32_t[]){REACH}, 1, &expected);
    run_all(&subject, (uint32_t[]){REACH}, 1, &found);
    double worst = 0.0;
    for (size_t i = 0; i < REACH * DIM; i++) {
        worst = fmax(worst, fabs((double)found.global[i] - expected.local[i]));
    }
    assert_true(worst > 10.0 * (4e-5 + 4.0 * half_of(subject.dtype))); /* ten times the limit */
}

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef PITH_EMULATED
        cmocka_unit_test(every_operation_matches_ref_in_f16_and_bf16),
#else
        cmocka_unit_test(every_operation_matches_ref_on_any_number_of_threads),
        cmocka_unit_test(threads_change_no_bit),
#endif
        cmocka_unit_test(nan_in_the_next_sequence_changes_no_bit),
        cmocka_unit_test(a_wrong_result_is_over_the_limits),
    };
    return cmocka_run_group_tests(tests, fill_inputs, NULL);
}
