/* with: tests/kernels/pair_isa.c */
/* with: tests/kernels/pair_bf16_isa.c */
/* Every cpu kernel of every instruction set that runs here against the oracle, on random shapes
 * around the tile boundaries, within limits derived from the number of roundings. */
#include "tests/kernels/kernel_cases.h"

static void over_isas(void (*check)(const pk_cpu_isa *isa, test_rng *rng)) {
    for (size_t i = 0; i < ISA_COUNT; i++) {
        test_rng rng = {1234};
        if (runs_here(all_isas[i])) {
            check(all_isas[i], &rng);
        } else {
            print_message("%s: not on this CPU\n", all_isas[i]->name);
        }
    }
}

/* --- norms --- */

/* y's error: mean and scale each err by about dim units of rounding of the row's size. */
static void check_norm(const float *y, const float *expected, const float *weight, size_t dim) {
    double limit = (double)(dim + 16) * UNIT * 4.0; /* |y / weight| stays below 4 at most times */
    for (size_t d = 0; d < dim; d++) {
        check_close(y[d], expected[d], limit * fmax(fabs((double)weight[d]), 0.25), "norm");
    }
}

static void norms_at(const pk_cpu_isa *isa, test_rng *rng, size_t rows, size_t dim) {
    enum { VOCAB = 11 };
    float *table = test_floats(rng, VOCAB * dim, 2.0f);
    float *weight = test_floats(rng, dim, 1.5f);
    float *delta = test_floats(rng, rows * dim, 0.5f);
    float *x = test_floats(rng, rows * dim, 0.0f);
    float *x_ref = test_floats(rng, rows * dim, 0.0f);
    float *out = test_floats(rng, rows * dim, 0.0f);
    float *out_ref = test_floats(rng, rows * dim, 0.0f);
    uint16_t *halves = as_bf16(table, VOCAB * dim);
    uint16_t *out_halves = as_bf16(out, rows * dim);
    uint32_t ids[64];
    for (size_t r = 0; r < rows; r++) {
        ids[r] = (uint32_t)test_between(rng, 0, VOCAB - 1);
    }
    isa->embed_norm(x, out, PK_F32, ids, halves, PK_BF16, weight, rows, dim, 1e-5f);
    pk_embed_norm_ref(x_ref, out_ref, PK_F32, ids, halves, PK_BF16, weight, rows, dim, 1e-5f);
    for (size_t r = 0; r < rows; r++) {
        check_norm(x + r * dim, x_ref + r * dim, weight, dim);
        assert_memory_equal(x + r * dim, out + r * dim, dim * sizeof *x);
    }
    memcpy(x, x_ref, rows * dim * sizeof *x);
    isa->add_norm(x, out, PK_F32, delta, weight, rows, dim, 1e-5f);
    pk_add_norm_ref(x_ref, out_ref, PK_F32, delta, weight, rows, dim, 1e-5f);
    assert_memory_equal(x, x_ref, rows * dim * sizeof *x); /* one addition: equal bits */
    for (size_t r = 0; r < rows; r++) {
        check_norm(out + r * dim, out_ref + r * dim, weight, dim);
    }
    for (size_t i = 0; i < rows * dim; i++) {
        delta[i] = 0.0f;
    }
    isa->add_norm(x, out_halves, PK_BF16, delta, weight, rows, dim, 1e-5f);
    isa->add_norm(x, out, PK_F32, delta, weight, rows, dim, 1e-5f);
    for (size_t i = 0; i < rows * dim; i++) {
        assert_int_equal(out_halves[i], pk_bf16_of_f32(out[i]));
    }
    isa->add_norm(x, delta, PK_F32, delta, weight, rows, dim, 1e-5f); /* out over delta */
    assert_memory_equal(delta, out, rows * dim * sizeof *out);
    free(table), free(weight), free(delta), free(x), free(x_ref), free(out), free(out_ref);
    free(halves), free(out_halves);
}

static void norms(const pk_cpu_isa *isa, test_rng *rng) {
    const size_t dims[] = {1, 7, 8, 9, 15, 16, 17, 63, 64, 192, 768};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        norms_at(isa, rng, test_between(rng, 1, 20), dims[i]);
    }
}

static void norms_match_the_oracle(void **state) {
    over_isas(norms);
}

/* --- products --- */

typedef struct product_case {
    size_t rows;
    size_t n;
    size_t k;
    size_t half; /* 0: plain */
    pk_dtype dtype;
} product_case;

typedef struct product {
    float *act;    /* [rows, k], of the dtype's values */
    float *weight; /* [n, k], likewise */
    void *act_in;  /* as the kernel takes it */
    pk_panels panels;
    float *scratch; /* [PK_ROW_BLOCK, k] */
    pk_linear_task task;
} product;

static product product_open(const pk_cpu_isa *isa, test_rng *rng, const product_case *c) {
    product p = {.act = test_floats(rng, c->rows * c->k, 1.0f),
                 .weight = test_floats(rng, c->n * c->k, 1.0f)};
    if (c->dtype == PK_BF16) {
        round_to_bf16(p.act, c->rows * c->k);
        round_to_bf16(p.weight, c->n * c->k);
        p.act_in = as_bf16(p.act, c->rows * c->k);
    } else {
        p.act_in = p.act;
    }
    size_t bytes =
        pk_panels_plan(&p.panels, c->dtype, c->half == 0 ? PK_PANEL_PLAIN : PK_PANEL_PAIRED,
                       isa->width, c->n, c->k, c->half);
    p.panels.data = test_floats(rng, bytes / 4 + 1, 1.0f);
    float *rows = test_floats(rng, 2 * isa->width * c->k, 1.0f);
    pk_panels_pack(&p.panels, p.weight, PK_F32, rows);
    free(rows);
    p.scratch = test_floats(rng, PK_ROW_BLOCK * c->k, 1.0f);
    p.task = (pk_linear_task){.act = p.act_in,
                              .act_stride = c->k,
                              .rows = c->rows,
                              .panel_begin = 0,
                              .panel_end = p.panels.n_panels,
                              .scratch = p.scratch};
    return p;
}

static void product_close(product *p) {
    if (p->act_in != p->act) {
        free(p->act_in);
    }
    free(p->act), free(p->weight), free(p->panels.data), free(p->scratch);
}

/* k fused steps of relative error UNIT each on partial sums of at most sum |a b|, and the final
 * rounding of the oracle: (k + 2) UNIT sum |a b|. */
static double product_limit(const product *p, size_t row, size_t col, size_t k) {
    double sum = 0.0;
    for (size_t i = 0; i < k; i++) {
        sum += fabs((double)p->act[row * k + i] * (double)p->weight[col * k + i]);
    }
    return (double)(k + 2) * UNIT * sum;
}

static void linear_at(const pk_cpu_isa *isa, test_rng *rng, const product_case *c) {
    product p = product_open(isa, rng, c);
    p.task.weight = &p.panels;
    float *out = test_floats(rng, c->rows * c->n, 1.0f);
    float *expected = test_floats(rng, c->rows * c->n, 1.0f);
    isa->linear(out, c->n, &p.task);
    pk_linear_ref(expected, p.act, p.weight, c->rows, c->n, c->k);
    for (size_t r = 0; r < c->rows; r++) {
        for (size_t n = 0; n < c->n; n++) {
            check_close(out[r * c->n + n], expected[r * c->n + n], product_limit(&p, r, n, c->k),
                        "linear");
        }
    }
    free(out), free(expected);
    product_close(&p);
}

static void linears(const pk_cpu_isa *isa, test_rng *rng) {
    const size_t rows[] = {1, 2, 5, 6, 7, 11, 12, 13, 95, 96};
    const size_t widths[] = {1, 7, 8, 9, 16, 17, 31, 32, 33, 64};
    for (size_t i = 0; i < 10; i++) {
        for (size_t j = 0; j < 10; j += 1 + i % 3) {
            product_case c = {rows[i], widths[j], 2 * test_between(rng, 1, 40), 0,
                              i % 2 == 0 ? PK_F32 : PK_BF16};
            linear_at(isa, rng, &c);
            c.dtype = c.dtype == PK_F32 ? PK_BF16 : PK_F32;
            linear_at(isa, rng, &c);
        }
    }
}

static void products_match_the_oracle(void **state) {
    over_isas(linears);
}

/* |gelu'| <= 1.13, so the value's error passes at most 1.13-fold, times the gate, plus the gate's
 * error times gelu, plus gelu's own error. */
static void geglu_at(const pk_cpu_isa *isa, test_rng *rng, const product_case *c) {
    product p = product_open(isa, rng, c);
    p.task.weight = &p.panels;
    float *out = test_floats(rng, c->rows * c->half, 1.0f);
    float *expected = test_floats(rng, c->rows * c->half, 1.0f);
    uint16_t *halves = as_bf16(out, c->rows * c->half);
    isa->geglu(out, PK_F32, c->half, &p.task);
    isa->geglu(halves, PK_BF16, c->half, &p.task);
    pk_geglu_ref(expected, p.act, p.weight, c->rows, c->half, c->k);
    for (size_t r = 0; r < c->rows; r++) {
        for (size_t n = 0; n < c->half; n++) {
            double value_limit = product_limit(&p, r, n, c->k);
            double gate_limit = product_limit(&p, r, c->half + n, c->k);
            double size = (double)c->k; /* |a|, |b| <= 1: no sum exceeds k */
            double limit = 1.13 * value_limit * size + gate_limit * size + 4e-7 * size * size;
            check_close(out[r * c->half + n], expected[r * c->half + n], limit, "geglu");
            assert_int_equal(halves[r * c->half + n], pk_bf16_of_f32(out[r * c->half + n]));
        }
    }
    free(out), free(expected), free(halves);
    product_close(&p);
}

static void geglus(const pk_cpu_isa *isa, test_rng *rng) {
    const size_t halves[] = {1, 7, 8, 9, 15, 16, 17, 48};
    for (size_t i = 0; i < 8; i++) {
        product_case c = {test_between(rng, 1, 30), 2 * halves[i], 2 * test_between(rng, 1, 12),
                          halves[i], i % 2 == 0 ? PK_F32 : PK_BF16};
        geglu_at(isa, rng, &c);
    }
}

static void geglu_matches_the_oracle(void **state) {
    over_isas(geglus);
}

static void qkv_at(const pk_cpu_isa *isa, test_rng *rng, size_t heads, size_t half,
                   pk_dtype dtype) {
    enum { POSITIONS = 40 };
    product_case c = {test_between(rng, 1, 30), 6 * heads * half, 2 * test_between(rng, 1, 40),
                      half, dtype};
    product p = product_open(isa, rng, &c);
    p.task.weight = &p.panels;
    float *rope = test_floats(rng, POSITIONS * 2 * half, 1.0f);
    float *out = test_floats(rng, c.rows * c.n, 1.0f);
    float *expected = test_floats(rng, c.rows * c.n, 1.0f);
    uint32_t positions[64];
    for (size_t r = 0; r < c.rows; r++) {
        positions[r] = (uint32_t)test_between(rng, 0, POSITIONS - 1);
    }
    isa->qkv_rope(out, rope, positions, &p.task);
    pk_qkv_rope_ref(expected, p.act, p.weight, rope, positions, c.rows, heads, half, c.k);
    for (size_t r = 0; r < c.rows; r++) {
        for (size_t n = 0; n < c.n; n++) {
            size_t group = n / (2 * half);
            size_t lo = group * 2 * half + n % half;
            /* |cos|, |sin| <= 1; three more roundings of a sum of at most 2 k. */
            double limit = product_limit(&p, r, lo, c.k) + product_limit(&p, r, lo + half, c.k) +
                           4.0 * UNIT * 2.0 * (double)c.k;
            check_close(out[r * c.n + n], expected[r * c.n + n], limit, "qkv_rope");
        }
    }
    free(rope), free(out), free(expected);
    product_close(&p);
}

static void qkvs(const pk_cpu_isa *isa, test_rng *rng) {
    const size_t halves[] = {1, 4, 8, 12, 16, 20, 32};
    for (size_t i = 0; i < 7; i++) {
        qkv_at(isa, rng, 1 + i % 3, halves[i], PK_F32);
        qkv_at(isa, rng, 1 + i % 2, halves[i], PK_BF16);
    }
}

static void rotated_products_match_the_oracle(void **state) {
    over_isas(qkvs);
}

/* --- attention --- */

typedef struct attn_case {
    size_t len;
    size_t heads;
    size_t head_dim;
    size_t window;
} attn_case;

static void run_attn(pk_attn_fn *attn, float *out, const float *qkv, const attn_case *c,
                     float *scratch) {
    for (size_t h = 0; h < c->heads; h++) {
        for (size_t q = 0; q < c->len; q += PK_ATTN_QUERIES) {
            pk_attn_task task = {
                .qkv = qkv,
                .len = c->len,
                .heads = c->heads,
                .head = h,
                .head_dim = c->head_dim,
                .window = c->window,
                .q_begin = q,
                .q_end = c->len - q < PK_ATTN_QUERIES ? c->len : q + PK_ATTN_QUERIES,
                .scratch = scratch,
            };
            attn(out, PK_F32, &task);
        }
    }
}

/* With |q|, |k|, |v| <= 1 and q scaled by head_dim^-1/2, a score is at most sqrt(head_dim) and errs
 * by (head_dim + 2) UNIT times that; a shift of all p by e changes out by at most 2 e |v|. exp adds
 * 2^-22, the sums over n keys (n + chunks) UNIT each. */
static void attn_at(const pk_cpu_isa *isa, test_rng *rng, const attn_case *c) {
    size_t dim = c->heads * c->head_dim;
    float *qkv = test_floats(rng, c->len * 3 * dim, 1.0f);
    float scale = 1.0f / sqrtf((float)c->head_dim);
    for (size_t i = 0; i < c->len; i++) {
        for (size_t d = 0; d < dim; d++) {
            qkv[i * 3 * dim + d] *= scale;
        }
    }
    float *scratch = test_floats(rng, pk_attn_scratch_floats(c->head_dim), 1.0f);
    for (size_t i = 0; i < pk_attn_scratch_floats(c->head_dim); i++) {
        scratch[i] = NAN; /* nothing may be read before it is written */
    }
    float *out = test_floats(rng, c->len * dim, 1.0f);
    float *expected = test_floats(rng, c->len * dim, 1.0f);
    run_attn(isa->attn, out, qkv, c, scratch);
    run_attn(pk_attn_ref, expected, qkv, c, NULL);
    size_t keys = c->window < c->len ? 2 * c->window + 1 : c->len;
    double limit = 2.0 * ((double)(c->head_dim + 2) * UNIT * sqrt((double)c->head_dim) + 0x1p-22) +
                   2.0 * (double)(keys + 8) * UNIT;
    for (size_t i = 0; i < c->len * dim; i++) {
        check_close(out[i], expected[i], limit, "attn");
    }
    free(qkv), free(scratch), free(out), free(expected);
}

/* The same with operands that bf16 holds, on the kernel for bf16 activations: a native one rounds p
 * too, by at most 2^-9 of itself, and sums what it rounded. */
static void attn_bf16_at(const pk_cpu_isa *isa, test_rng *rng, const attn_case *c) {
    size_t dim = c->heads * c->head_dim;
    float *qkv = test_floats(rng, c->len * 3 * dim, 1.0f);
    round_to_bf16(qkv, c->len * 3 * dim);
    float *scratch = test_floats(rng, pk_attn_scratch_floats(c->head_dim), 1.0f);
    for (size_t i = 0; i < pk_attn_scratch_floats(c->head_dim); i++) {
        scratch[i] = NAN;
    }
    float *out = test_floats(rng, c->len * dim, 1.0f);
    float *expected = test_floats(rng, c->len * dim, 1.0f);
    run_attn(isa->attn_bf16, out, qkv, c, scratch);
    run_attn(pk_attn_ref, expected, qkv, c, NULL);
    size_t keys = c->window < c->len ? 2 * c->window + 1 : c->len;
    double limit = 2.0 * ((double)(c->head_dim + 2) * UNIT * (double)c->head_dim + 0x1p-22) +
                   2.0 * (double)(keys + 8) * UNIT + (isa->native_bf16 ? 2.0 * 0x1p-9 : 0.0);
    for (size_t i = 0; i < c->len * dim; i++) {
        check_close(out[i], expected[i], limit, "attn bf16");
    }
    free(qkv), free(scratch), free(out), free(expected);
}

static void attns(const pk_cpu_isa *isa, test_rng *rng) {
    const size_t lens[] = {1, 2, 63, 64, 65, 127, 128, 129, 130, 200, 513};
    const size_t head_dims[] = {2, 8, 20, 32, 48, 64};
    for (size_t i = 0; i < 11; i++) {
        attn_case global = {lens[i], 1 + i % 2, head_dims[i % 6], PK_ATTN_GLOBAL};
        attn_case local = {lens[i], 1 + i % 2, head_dims[(i + 3) % 6], 64};
        attn_case narrow = {lens[i], 1, 64, i % 5};
        attn_at(isa, rng, &global);
        attn_at(isa, rng, &local);
        attn_at(isa, rng, &narrow);
        attn_bf16_at(isa, rng, &global);
        attn_bf16_at(isa, rng, &local);
        attn_bf16_at(isa, rng, &narrow);
    }
    attn_case wide = {300, 1, 64, 299};
    attn_at(isa, rng, &wide);
}

static void attention_matches_the_oracle(void **state) {
    over_isas(attns);
}

/* Scores of plus and minus hundreds: only the running maximum keeps exp in range. */
static void large_scores(const pk_cpu_isa *isa, test_rng *rng) {
    attn_case c = {600, 1, 64, PK_ATTN_GLOBAL};
    float *qkv = test_floats(rng, c.len * 3 * 64, 8.0f);
    float *scratch = test_floats(rng, pk_attn_scratch_floats(64), 1.0f);
    float *out = test_floats(rng, c.len * 64, 1.0f);
    float *expected = test_floats(rng, c.len * 64, 1.0f);
    run_attn(isa->attn, out, qkv, &c, scratch);
    run_attn(pk_attn_ref, expected, qkv, &c, NULL);
    /* A score of at most 64 * 64 errs by 66 UNIT of that; |v| <= 8. */
    double limit = 2.0 * 8.0 * (66.0 * UNIT * 4096.0 + 0x1p-22 + 600.0 * UNIT);
    for (size_t i = 0; i < c.len * 64; i++) {
        check_close(out[i], expected[i], limit, "large scores");
    }
    free(qkv), free(scratch), free(out), free(expected);
}

static void attention_survives_large_scores(void **state) {
    over_isas(large_scores);
}

/* --- heads --- */

static void heads_at(const pk_cpu_isa *isa, test_rng *rng, size_t len, size_t dim,
                     size_t channels) {
    size_t k = PK_SPAN_TAPS * dim;
    float *hidden = test_floats(rng, len * dim, 1.0f);
    float *conv = test_floats(rng, channels * k, 1.0f / sqrtf((float)k));
    float *conv_rows = test_floats(rng, channels * k, 0.0f);
    float *token_weight = test_floats(rng, 2 * dim, 0.5f);
    float *conv0_bias = test_floats(rng, channels, 0.5f);
    float *conv2_weight = test_floats(rng, 3 * channels, 0.5f);
    float token_bias[2] = {0.25f, -0.5f};
    float conv2_bias[1] = {0.125f};
    pk_span_conv_reorder(conv_rows, conv, channels, dim);
    pk_panels panels;
    size_t bytes = pk_panels_plan(&panels, PK_F32, PK_PANEL_PLAIN, isa->width, channels, k, 0);
    panels.data = test_floats(rng, bytes / 4, 0.0f);
    float *rows = test_floats(rng, 2 * isa->width * k, 0.0f);
    pk_panels_pack(&panels, conv_rows, PK_F32, rows);
    pk_heads_weights weights = {
        .token_weight = token_weight,
        .token_bias = token_bias,
        .conv0 = &panels,
        .conv0_rows = conv_rows,
        .conv0_bias = conv0_bias,
        .conv2_weight = conv2_weight,
        .conv2_bias = conv2_bias,
        .dim = dim,
        .channels = channels,
        .gate = PK_GATE_ASYMMETRIC,
        .gamma = 0.9f,
    };
    float *found = test_floats(rng, 3 * len, 0.0f);
    float *expected = test_floats(rng, 3 * len, 0.0f);
    float *scratch = test_floats(rng, pk_heads_scratch_floats(dim, channels), 1.0f);
    pk_heads_task task = {.hidden = hidden, .len = len, .scratch = scratch};
    for (size_t begin = 0; begin < len; begin += PK_HEADS_ROWS) {
        task.begin = begin;
        task.end = len - begin < PK_HEADS_ROWS ? len : begin + PK_HEADS_ROWS;
        task.z_tok = found, task.z_span = found + len, task.score = found + 2 * len;
        isa->heads(&task, &weights);
        task.z_tok = expected, task.z_span = expected + len, task.score = expected + 2 * len;
        pk_heads_ref(&task, &weights);
    }
    /* Sums of k terms of at most k^-1/2, then of 3 * channels terms of at most 0.5 |g| where |g|
     * stays below sqrt(k). */
    double feature = (double)(k + 4) * UNIT * sqrt((double)k) + 4e-7;
    double span = 1.5 * (double)channels * (1.2 * feature + 4.0 * UNIT * sqrt((double)k));
    for (size_t i = 0; i < len; i++) {
        check_close(found[i], expected[i], (double)(dim + 8) * UNIT * (double)dim, "z_tok");
        check_close(found[len + i], expected[len + i], span, "z_span");
        check_close(found[2 * len + i], expected[2 * len + i], span + 1e-6, "score");
    }
    free(hidden), free(conv), free(conv_rows), free(token_weight), free(conv0_bias);
    free(conv2_weight), free(panels.data), free(rows), free(found), free(expected), free(scratch);
}

static void heads(const pk_cpu_isa *isa, test_rng *rng) {
    const size_t lens[] = {1, 2, 3, 4, 5, 6, 92, 93, 94, 95, 96, 188, 189};
    for (size_t i = 0; i < 13; i++) {
        heads_at(isa, rng, lens[i], 2 * test_between(rng, 1, 20), test_between(rng, 1, 40));
    }
}

static void heads_match_the_oracle(void **state) {
    over_isas(heads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_match_the_oracle),
        cmocka_unit_test(products_match_the_oracle),
        cmocka_unit_test(geglu_matches_the_oracle),
        cmocka_unit_test(rotated_products_match_the_oracle),
        cmocka_unit_test(attention_matches_the_oracle),
        cmocka_unit_test(attention_survives_large_scores),
        cmocka_unit_test(heads_match_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
