#include "runtime/backend/cuda/kernels.h"

#include "runtime/backend/cuda/cublaslt.h"
#include "runtime/backend/cuda/tiles.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- which tile --- */

/* Of products that tiles.h does not name, by their size: tiles that fill 132 multiprocessors at 512
 * rows and keep their operands longest from 2,048 on. Computed, not yet measured on a GPU. */
typedef struct tile_row {
    uint32_t rows_max; /* for steps up to this size */
    uint32_t n_min;
    pk_linear_cuda_tile tile;
    uint32_t stages;
    bool pairs; /* that share weight tiles, where every multiprocessor has a partner */
    uint32_t ctas_per_sm;
} tile_row;

/* Pairs where single CTAs would ask more of L2 than it gives (6.65 TB/s, seen by others on an
 * H100): at 650 TFLOP/s 8.5 TB/s, pairs 5.8 (computed). At n 768 only steps of 4,097 to 4,224 rows
 * take two rounds of pairs where they took one of single tiles. At 512 rows and n 2,304 the 96
 * tiles ask 38 MB, pairs 24, which L2 gives in 5.7 and 3.6 us; the products alone take 2.6. */
static const tile_row tile_rows[] = {
    {512, 1024, PK_LINEAR_64_192, 6, true, 1},
    {512, 0, PK_LINEAR_64_64, 12, false, 1},
    {2048, 0, PK_LINEAR_128_192, 5, false, 1},
    {UINT32_MAX, 0, PK_LINEAR_128_192, 5, true, 1},
};

enum { SAFE_CTAS_PER_SM = 2 }; /* 128 registers, 96 KiB: kernels/cuda/linear.cu */

/* The smallest class that holds the step, else the product's largest; NULL: not in the table. */
static const cuda_tile *measured_tile(pith_pack_kind kind, const pk_linear_cuda_task *task) {
    const cuda_tile *found = NULL;
    for (size_t i = 0; i < sizeof cuda_tiles / sizeof cuda_tiles[0]; i++) {
        const cuda_tile *row = &cuda_tiles[i];
        if (row->kind == kind && row->n == task->n && row->k == task->k &&
            (found == NULL || found->rows_max < task->rows_max)) {
            found = row;
        }
    }
    return found;
}

/* A pair that has to wait for a place would take its tiles after all others. */
static bool pairs_fit(const pith_ops_ctx *ctx) {
    return ctx->pairs > 0 && ctx->pairs >= (uint32_t)ctx->info.n_sm / 2;
}

static void choose_by_size(const pith_ops_ctx *ctx, pk_linear_cuda_task *task) {
    const tile_row *row = tile_rows;
    while (task->rows_max > row->rows_max || task->n < row->n_min) {
        row++; /* the last has no bounds */
    }
    task->tile = row->tile;
    task->stages = row->stages;
    task->multicast = row->pairs && pairs_fit(ctx);
    task->ctas = (uint32_t)ctx->info.n_sm * row->ctas_per_sm;
}

void cuda_choose_tile(const pith_ops_ctx *ctx, pith_pack_kind kind, pk_linear_cuda_task *task) {
    uint32_t n_sm = (uint32_t)ctx->info.n_sm;
    const cuda_tile *row = measured_tile(kind, task);
    task->multicast = false;
    task->stages = 0;
    if (!ctx->fast) {
        task->tile = PK_LINEAR_SAFE;
        task->ctas = n_sm * SAFE_CTAS_PER_SM;
    } else if (row != NULL) {
        task->tile = row->tile;
        task->stages = row->stages;
        task->multicast = row->multicast && pairs_fit(ctx);
        task->ctas = n_sm * row->ctas_per_sm;
    } else {
        choose_by_size(ctx, task);
    }
}

int cuda_run_product(cuda_product product, const pk_linear_cuda_task *task) {
    switch (product) {
    case CUDA_GEGLU:
        return pk_geglu_cuda(task);
    case CUDA_QKV:
        return pk_qkv_rope_cuda(task);
    case CUDA_PLAIN:
    case CUDA_PRODUCTS:
        break;
    }
    return pk_linear_cuda(task);
}

/* --- the comparison of one tile --- */

enum {
    CHECK_ROWS = 128,
    CHECK_N = 192, /* three heads, three groups of a GLU */
    CHECK_K = 128,
    CHECK_DIM = PK_LINEAR_CUDA_HEAD_DIM,
    ACT_HALVES = CHECK_ROWS * CHECK_K,
    WEIGHT_HALVES = CHECK_N * CHECK_K,
    ROPE_FLOATS = CHECK_ROWS * CHECK_DIM,
    OUT_BYTES = CHECK_ROWS * CHECK_N * (int)sizeof(float)
};

/* One block of device memory and its copy on the host. All parts are multiples of 16 bytes. */
typedef struct check_block {
    uint16_t act[ACT_HALVES]; /* for attention: q, k, v of one head begin here */
    uint16_t weight[WEIGHT_HALVES];
    float rope[ROPE_FLOATS];
    uint32_t positions[CHECK_ROWS];
    uint32_t totals[4]; /* rows, tiles */
    pk_attn_cuda_tile tile;
    uint8_t safe[OUT_BYTES];
    uint8_t fast[OUT_BYTES];
} check_block;

static float random_float(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-23f - 1.0f; /* [-1, 1) */
}

static uint16_t half_of(float x, pk_dtype dtype) {
    return dtype == PK_F16 ? pk_f16_of_f32(x) : pk_bf16_of_f32(x);
}

static void fill_check(check_block *b, pk_dtype dtype) {
    uint32_t state = 1;
    for (uint32_t i = 0; i < ACT_HALVES + WEIGHT_HALVES; i++) {
        (i < ACT_HALVES ? b->act : b->weight - ACT_HALVES)[i] =
            half_of(random_float(&state), dtype);
    }
    for (uint32_t i = 0; i < ROPE_FLOATS; i++) {
        b->rope[i] = random_float(&state);
    }
    for (uint32_t i = 0; i < CHECK_ROWS; i++) {
        b->positions[i] = i;
    }
    b->totals[0] = CHECK_ROWS;
    b->totals[1] = 1;
    b->tile = (pk_attn_cuda_tile){0, CHECK_ROWS, 0, 0};
    memset(b->safe, 0xff, sizeof b->safe); /* NaN: an output that was not written is noticed */
    memset(b->fast, 0xff, sizeof b->fast);
}

/* Sums of 128 products below 1, or 16-bit results of them below 12: f32 sums in another order
 * differ by 128 * 12 * 2^-24 at most, then one rounding may fall the other way, by 2^-10 (f16) or
 * 2^-7 (bf16) of the value. A NaN is over any limit. */
static bool near(float a, float b, pk_dtype out) {
    double unit = out == PK_F32 ? 0.0 : out == PK_F16 ? 0x1p-10 : 0x1p-7;
    return fabs((double)a - (double)b) <= 1e-3 + unit * fabs((double)a);
}

static bool outputs_agree(const check_block *b, size_t count, pk_dtype out) {
    for (size_t i = 0; i < count; i++) {
        float safe;
        float fast;
        pk_to_f32(&safe, b->safe, out, i, 1);
        pk_to_f32(&fast, b->fast, out, i, 1);
        if (!near(safe, fast, out)) {
            return false;
        }
    }
    return true;
}

static size_t outputs_of(cuda_product product) {
    return (size_t)CHECK_ROWS * (product == CUDA_GEGLU ? CHECK_N / 2 : CHECK_N);
}

static int run_check(pith_ops_ctx *ctx, check_block *device, cuda_product product,
                     const pk_linear_cuda_choice *kernel, void *out) {
    pk_linear_cuda_task task = {
        .out = out,
        .act = device->act,
        .weight = device->weight,
        .rope = device->rope,
        .positions = device->positions,
        .rows = device->totals,
        .rows_max = CHECK_ROWS,
        .n = CHECK_N,
        .k = CHECK_K,
        .dtype = ctx->dtype,
        .tile = kernel->tile,
        .stages = kernel->stages,
        .ctas = 2,
        .multicast = kernel->multicast,
        .stream = ctx->compute,
    };
    return cuda_run_product(product, &task);
}

static int run_attn_check(pith_ops_ctx *ctx, check_block *device, pk_attn_cuda_form form,
                          void *out) {
    pk_attn_cuda_task task = {
        .out = out,
        .qkv = device->act, /* 128 rows of 3 * 64: act and the first of weight */
        .tiles = &device->tile,
        .n_tiles = device->totals + 1,
        .tiles_max = 1,
        .rows_max = CHECK_ROWS,
        .heads = 1,
        .dtype = ctx->dtype,
        .window = SIZE_MAX,
        .form = form,
        .stream = ctx->compute,
    };
    return pk_attn_cuda(&task);
}

_Static_assert(3 * CHECK_DIM * CHECK_ROWS <= ACT_HALVES + WEIGHT_HALVES, "q, k, v fit");

/* Brings both outputs to the host. */
static bool fetch_and_compare(pith_ops_ctx *ctx, check_block *host, check_block *device,
                              size_t count, pk_dtype out, pith_status *status, pith_err *err) {
    cuda_copy_out(ctx, host->safe, device->safe, sizeof host->safe);
    cuda_copy_out(ctx, host->fast, device->fast, sizeof host->fast);
    *status = cuda_sync(ctx, err);
    return *status == PITH_OK && outputs_agree(host, count, out);
}

static bool forms_agree(pith_ops_ctx *ctx, check_block *host, check_block *device,
                        pith_status *status, pith_err *err) {
    static const pk_linear_cuda_choice safe = {.tile = PK_LINEAR_SAFE};
    static const uint8_t spoiled[OUT_BYTES]; /* not the last tile's output */
    for (int product = 0; product < CUDA_PRODUCTS; product++) {
        pk_dtype out = product == CUDA_PLAIN ? PK_F32 : ctx->dtype;
        CUDA_DO(ctx, run_check(ctx, device, product, &safe, device->safe));
        for (int i = 0; i < PK_LINEAR_CUDA_CHOICES; i++) {
            const pk_linear_cuda_choice *kernel = &pk_linear_cuda_choices[i];
            if (kernel->multicast && ctx->pairs == 0) {
                continue;
            }
            cuda_copy_in(ctx, device->fast, &spoiled, sizeof spoiled);
            CUDA_DO(ctx, run_check(ctx, device, product, kernel, device->fast));
            if (!fetch_and_compare(ctx, host, device, outputs_of(product), out, status, err)) {
                return false;
            }
        }
    }
    CUDA_DO(ctx, run_attn_check(ctx, device, PK_ATTN_SAFE, device->safe));
    CUDA_DO(ctx, run_attn_check(ctx, device, PK_ATTN_WGMMA, device->fast));
    return fetch_and_compare(ctx, host, device, (size_t)CHECK_ROWS * CHECK_DIM, ctx->dtype, status,
                             err);
}

static pith_status compare_kernels(pith_ops_ctx *ctx, bool *good, pith_err *err) {
    check_block *host = malloc(sizeof *host);
    void *device = NULL;
    *good = false;
    if (host == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory to compare kernels");
    }
    pith_status status = cuda_alloc(ctx, sizeof *host, &device, err);
    if (status == PITH_OK) {
        fill_check(host, ctx->dtype);
        cuda_copy_in(ctx, device, host, sizeof *host);
        status = cuda_sync(ctx, err);
    }
    if (status == PITH_OK) {
        *good = forms_agree(ctx, host, device, &status, err);
    }
    cuda_free(ctx, device);
    (void)cuda_sync(ctx, NULL);
    free(host);
    /* A fast kernel that the device refuses is off, not fatal; a lost device is. */
    return status == PITH_INTERNAL ? PITH_OK : status;
}

static void set_name(pith_ops_ctx *ctx) {
    const char *kernels = ctx->fast           ? "sm90a"
                          : ctx->fast_refused ? "sm80-safe-mismatch"
                                              : "sm80-safe";
    char library[32] = "";
    if (ctx->lt != NULL) {
        cuda_lt_name(ctx, library, sizeof library);
    }
    (void)snprintf(ctx->isa, sizeof ctx->isa, "%s%s%s", kernels, ctx->lt != NULL ? "-" : "",
                   library);
}

pith_status cuda_choose_kernels(pith_ops_ctx *ctx, const char *wanted, pith_err *err) {
    bool safe = wanted != NULL && strcmp(wanted, "safe") == 0;
    bool library = wanted != NULL && strcmp(wanted, "cublas") == 0;
    ctx->fast = false;
    ctx->fast_refused = false;
    if (!safe && !library && wanted != NULL && wanted[0] != '\0' && strcmp(wanted, "auto") != 0) {
        return pith_fail(err, PITH_INVALID,
                         "gpu kernels \"%.32s\" are unknown: expected auto, safe or cublas",
                         wanted);
    }
    pith_status status = PITH_OK;
    if (library) {
        ctx->graphs = false;
        status = cuda_lt_open(ctx, pith_cu_library_file(PITH_CU_CUBLASLT), err);
    } else if (!safe && ctx->info.major == 9 &&
               ctx->info.minor == 0) { /* sm_90a code's only home */
        bool good;
        int pairs = 0;
        CUDA_DO(ctx, pk_linear_cuda_pairs(ctx->dtype, &pairs));
        ctx->pairs = pairs > 0 ? (uint32_t)pairs : 0;
        status = compare_kernels(ctx, &good, err);
        ctx->fast = good;
        ctx->fast_refused = !good;
    }
    if (status == PITH_OK) {
        set_name(ctx);
    }
    return status;
}

void cuda_refuse_fast(pith_ops_ctx *ctx) {
    ctx->fast = false;
    ctx->fast_refused = true;
    set_name(ctx);
}

pith_status cuda_choose_product(pith_ops_ctx *ctx, pith_packed *weight, pith_err *err) {
    if (ctx->lt == NULL) {
        return PITH_OK;
    }
    const cuda_lt_plan *plan;
    pith_status status =
        cuda_lt_plan_of(ctx, (uint32_t)weight->rows, (uint32_t)weight->cols, &plan, err);
    if (status == PITH_OK) {
        weight->plan = plan->candidate == LT_OWN ? NULL : plan;
        set_name(ctx);
    }
    return status;
}
