#include "runtime/backend/cuda/cublaslt.h"

#include "kernels/types.h"
#include "runtime/backend/cuda/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* PITH_MODELS_MAX models of five products each. */
    PLANS_MAX = 80,
    CANDIDATES_MAX = 4, /* that are probed for one (n, k) */
    PROBE_ROWS = 8448,
    /* Rows of the probe's operand repeat with this period: a prime, so that each row comes at every
     * offset within tiles of 64, 128, ... rows. */
    PROBE_PERIOD = 61,
    PROBE_SHIFT = 8, /* rows: 16 k of 16 bits each keep the operand at multiples of 256 bytes */
    PROBE_RUNS = 6
};

struct cuda_lt {
    lt_api api;
    size_t version;
    void *handle;
    void *desc;
    cuda_lt_plan plans[PLANS_MAX];
    uint32_t n_plans;
};

/* --- the library --- */

static pith_status load(lt_api *api, const char *file, pith_err *err) {
    const cuda_symbol symbols[] = {
        {"cublasLtGetVersion", &api->version},
        {"cublasLtCreate", &api->create},
        {"cublasLtDestroy", &api->destroy},
        {"cublasLtMatmulDescCreate", &api->desc_create},
        {"cublasLtMatmulDescDestroy", &api->desc_destroy},
        {"cublasLtMatmulDescSetAttribute", &api->desc_set},
        {"cublasLtMatrixLayoutCreate", &api->layout_create},
        {"cublasLtMatrixLayoutDestroy", &api->layout_destroy},
        {"cublasLtMatrixLayoutSetAttribute", &api->layout_set},
        {"cublasLtMatmulPreferenceCreate", &api->preference_create},
        {"cublasLtMatmulPreferenceDestroy", &api->preference_destroy},
        {"cublasLtMatmulPreferenceSetAttribute", &api->preference_set},
        {"cublasLtMatmulAlgoGetHeuristic", &api->heuristic},
        {"cublasLtMatmulAlgoConfigGetAttribute", &api->algo_get},
        {"cublasLtMatmul", &api->matmul},
    };
    return cuda_library_open(file, symbols, sizeof symbols / sizeof symbols[0], err);
}

static pith_status refused(const pith_ops_ctx *ctx, const char *what, int code, pith_err *err) {
    return pith_fail(err, code == LT_ALLOC_FAILED ? PITH_NO_MEMORY : PITH_UNSUPPORTED,
                     "%s: cuBLASLt: %s failed (status %d)", ctx->device_name, what, code);
}

pith_status cuda_lt_open(pith_ops_ctx *ctx, const char *file, pith_err *err) {
    struct cuda_lt *lt = calloc(1, sizeof *lt);
    if (lt == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for cuBLASLt's plans");
    }
    ctx->lt = lt;
    pith_status status = load(&lt->api, file, err);
    if (status != PITH_OK) {
        return status;
    }
    lt->version = lt->api.version();
    if (lt->version / 10000 != LT_MAJOR) {
        return pith_fail(err, PITH_UNSUPPORTED, "%.128s is version %zu, expected %d", file,
                         lt->version, LT_MAJOR);
    }
    const int transposed = LT_OP_T;
    int code = lt->api.create(&lt->handle);
    if (code == LT_SUCCESS) {
        code = lt->api.desc_create(&lt->desc, LT_COMPUTE_32F, LT_R_32F);
    }
    if (code == LT_SUCCESS) {
        code = lt->api.desc_set(lt->desc, LT_DESC_TRANSA, &transposed, sizeof transposed);
    }
    return code == LT_SUCCESS ? PITH_OK : refused(ctx, "opening", code, err);
}

void cuda_lt_close(pith_ops_ctx *ctx) {
    struct cuda_lt *lt = ctx->lt;
    if (lt == NULL) {
        return;
    }
    for (uint32_t i = 0; i < lt->n_plans; i++) {
        void *layouts[] = {lt->plans[i].weight, lt->plans[i].act, lt->plans[i].sums};
        for (size_t l = 0; l < sizeof layouts / sizeof layouts[0]; l++) {
            if (layouts[l] != NULL) {
                (void)lt->api.layout_destroy(layouts[l]);
            }
        }
    }
    if (lt->desc != NULL) {
        (void)lt->api.desc_destroy(lt->desc);
    }
    if (lt->handle != NULL) {
        (void)lt->api.destroy(lt->handle);
    }
    free(lt);
    ctx->lt = NULL;
}

/* Columns first, as the library sees it: D [n, rows] = W^T [n, k] A [k, rows]. */
int cuda_lt_multiply(pith_ops_ctx *ctx, const cuda_lt_plan *plan, float *sums, const void *act,
                     const void *weight, uint32_t rows) {
    const struct cuda_lt *lt = ctx->lt;
    const uint64_t cols = rows;
    const float one = 1.0f;
    const float zero = 0.0f;
    int code = lt->api.layout_set(plan->act, LT_LAYOUT_COLS, &cols, sizeof cols);
    if (code == LT_SUCCESS) {
        code = lt->api.layout_set(plan->sums, LT_LAYOUT_COLS, &cols, sizeof cols);
    }
    if (code == LT_SUCCESS) {
        code =
            lt->api.matmul(lt->handle, lt->desc, &one, weight, plan->weight, act, plan->act, &zero,
                           sums, plan->sums, sums, plan->sums, &plan->algo, NULL, 0, ctx->compute);
    }
    return code == LT_SUCCESS        ? PITH_CU_OK
           : code == LT_ALLOC_FAILED ? PITH_CU_NO_MEMORY
                                     : PITH_CU_INVALID;
}

/* --- the probe --- */

/* The operands and the outputs of one probe, on the device, and the outputs on the host. */
typedef struct probe {
    uint32_t n;
    uint32_t k;
    uint32_t most; /* rows */
    void *act;     /* [most + PROBE_RUNS * PROBE_SHIFT, k] */
    void *weight;  /* [n, k] */
    void *sums;    /* [most, n] f32 */
    float *host;   /* [most, n] */
    float *first;  /* [PROBE_PERIOD, n]: the first run's */
} probe;

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Random values in [-1, 1) of `rows` rows, repeating after `period` of them. */
static void fill(uint16_t *out, size_t rows, size_t cols, size_t period, pk_dtype dtype) {
    uint32_t state = 1;
    for (size_t i = 0; i < rows * cols; i++) {
        float x = (float)next_random(&state) * 0x1p-23f - 1.0f;
        out[i] = i >= period * cols ? out[i - period * cols]
                 : dtype == PK_BF16 ? pk_bf16_of_f32(x)
                                    : pk_f16_of_f32(x);
    }
}

static pith_status upload(pith_ops_ctx *ctx, void **mem, size_t rows, size_t cols, size_t period,
                          pith_err *err) {
    size_t bytes = rows * cols * sizeof(uint16_t);
    uint16_t *host = malloc(bytes);
    if (host == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory to probe cuBLASLt");
    }
    pith_status status = cuda_alloc(ctx, bytes, mem, err);
    if (status == PITH_OK) {
        fill(host, rows, cols, period, ctx->dtype);
        cuda_copy_in(ctx, *mem, host, bytes);
        status = cuda_sync(ctx, err);
    }
    free(host);
    return status;
}

static pith_status open_probe(pith_ops_ctx *ctx, probe *p, pith_err *err) {
    size_t bytes = (size_t)p->most * p->n * sizeof(float);
    p->host = malloc(bytes);
    p->first = malloc((size_t)PROBE_PERIOD * p->n * sizeof(float));
    if (p->host == NULL || p->first == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory to probe cuBLASLt");
    }
    pith_status status =
        upload(ctx, &p->act, p->most + PROBE_RUNS * PROBE_SHIFT, p->k, PROBE_PERIOD, err);
    if (status == PITH_OK) {
        status = upload(ctx, &p->weight, p->n, p->k, p->n, err);
    }
    return status == PITH_OK ? cuda_alloc(ctx, bytes, &p->sums, err) : status;
}

static void close_probe(pith_ops_ctx *ctx, probe *p) {
    cuda_free(ctx, p->act);
    cuda_free(ctx, p->weight);
    cuda_free(ctx, p->sums);
    (void)cuda_sync(ctx, NULL);
    free(p->host);
    free(p->first);
}

/* One run of `rows` rows that begin `shift` rows into the operand, so that what an earlier run left
 * behind is not taken for this one's. *same: every row has the bits it had in the first run. */
static pith_status run_probe(pith_ops_ctx *ctx, probe *p, const cuda_lt_plan *plan, uint32_t rows,
                             uint32_t shift, bool *same, pith_err *err) {
    size_t row_floats = p->n;
    const uint16_t *act = (const uint16_t *)p->act + (size_t)shift * p->k;
    int code = cuda_lt_multiply(ctx, plan, p->sums, act, p->weight, rows);
    cuda_copy_out(ctx, p->host, p->sums, rows * row_floats * sizeof(float));
    pith_status status = cuda_sync(ctx, err);
    *same = status == PITH_OK && code == PITH_CU_OK;
    if (status == PITH_INTERNAL) { /* this algorithm is off, not the device */
        status = PITH_OK;
    }
    if (*same && shift == 0) {
        memcpy(p->first, p->host, PROBE_PERIOD * row_floats * sizeof(float));
    }
    for (uint32_t r = 0; *same && r < rows; r++) {
        *same = memcmp(p->host + r * row_floats, p->first + (r + shift) % PROBE_PERIOD * row_floats,
                       row_floats * sizeof(float)) == 0;
    }
    return status;
}

static pith_status probe_algorithm(pith_ops_ctx *ctx, probe *p, const cuda_lt_plan *plan,
                                   bool *good, pith_err *err) {
    const uint32_t rows[PROBE_RUNS] = {p->most, PROBE_ROWS, 512, 127, 64, 1};
    pith_status status = PITH_OK;
    *good = true;
    for (uint32_t i = 0; status == PITH_OK && *good && i < PROBE_RUNS; i++) {
        status = run_probe(ctx, p, plan, rows[i], i * PROBE_SHIFT, good, err);
    }
    return status;
}

/* --- plans --- */

/* False: it splits k, or the library does not say. */
static bool keeps_one_chain(const lt_api *api, const lt_heuristic *h) {
    uint32_t parts = 0;
    size_t written = 0;
    int code = api->algo_get(&h->algo, LT_ALGO_SPLITK_NUM, &parts, sizeof parts, &written);
    return h->state == LT_SUCCESS && h->workspace == 0 && code == LT_SUCCESS && parts <= 1;
}

static pith_status open_layouts(const pith_ops_ctx *ctx, cuda_lt_plan *plan, uint32_t rows,
                                pith_err *err) {
    const lt_api *api = &ctx->lt->api;
    int type = ctx->dtype == PK_BF16 ? LT_R_16BF : LT_R_16F;
    int code = api->layout_create(&plan->weight, type, plan->k, plan->n, plan->k);
    if (code == LT_SUCCESS) {
        code = api->layout_create(&plan->act, type, plan->k, rows, plan->k);
    }
    if (code == LT_SUCCESS) {
        code = api->layout_create(&plan->sums, LT_R_32F, plan->n, rows, plan->n);
    }
    return code == LT_SUCCESS ? PITH_OK : refused(ctx, "a layout", code, err);
}

/* The library's algorithms for the most rows, in its order, without workspace and reductions. None
 * is an answer. */
static int candidates(const pith_ops_ctx *ctx, const cuda_lt_plan *plan, lt_heuristic *found) {
    const struct cuda_lt *lt = ctx->lt;
    const uint32_t reductions = LT_REDUCTION_NONE;
    void *preference = NULL;
    int n = 0;
    int code = lt->api.preference_create(&preference); /* its default is no workspace */
    if (code == LT_SUCCESS) {
        code = lt->api.preference_set(preference, LT_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                      sizeof reductions);
    }
    if (code == LT_SUCCESS) {
        code = lt->api.heuristic(lt->handle, lt->desc, plan->weight, plan->act, plan->sums,
                                 plan->sums, preference, CANDIDATES_MAX, found, &n);
    }
    if (preference != NULL) {
        (void)lt->api.preference_destroy(preference);
    }
    return code == LT_SUCCESS ? n : 0;
}

static pith_status choose(pith_ops_ctx *ctx, cuda_lt_plan *plan, pith_err *err) {
    probe p = {.n = plan->n, .k = plan->k, .most = PROBE_ROWS};
    if (ctx->bounds.tokens_max > p.most) {
        p.most = ctx->bounds.tokens_max;
    }
    pith_status status = open_layouts(ctx, plan, p.most, err);
    if (status == PITH_OK) {
        status = open_probe(ctx, &p, err);
    }
    lt_heuristic found[CANDIDATES_MAX];
    int n = status == PITH_OK ? candidates(ctx, plan, found) : 0;
    for (int i = 0; status == PITH_OK && plan->candidate == LT_OWN && i < n; i++) {
        bool good = keeps_one_chain(&ctx->lt->api, &found[i]);
        plan->algo = found[i].algo;
        if (good) {
            status = probe_algorithm(ctx, &p, plan, &good, err);
        }
        plan->candidate = good ? i : LT_OWN;
    }
    close_probe(ctx, &p);
    return status;
}

pith_status cuda_lt_plan_of(pith_ops_ctx *ctx, uint32_t n, uint32_t k, const cuda_lt_plan **plan,
                            pith_err *err) {
    struct cuda_lt *lt = ctx->lt;
    *plan = NULL;
    for (uint32_t i = 0; i < lt->n_plans; i++) {
        if (lt->plans[i].n == n && lt->plans[i].k == k) {
            *plan = &lt->plans[i];
            return PITH_OK;
        }
    }
    if (lt->n_plans == PLANS_MAX) {
        return pith_fail(err, PITH_UNSUPPORTED, "%s: more than %d shapes of products",
                         ctx->device_name, PLANS_MAX);
    }
    cuda_lt_plan *made = &lt->plans[lt->n_plans++];
    *made = (cuda_lt_plan){.n = n, .k = k, .candidate = LT_OWN};
    *plan = made;
    return choose(ctx, made, err);
}

/* FNV-1a of each plan; their sum, so that the order of models does not matter. */
void cuda_lt_name(const pith_ops_ctx *ctx, char *out, size_t size) {
    const struct cuda_lt *lt = ctx->lt;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < lt->n_plans; i++) {
        const uint32_t parts[] = {lt->plans[i].n, lt->plans[i].k, (uint32_t)lt->plans[i].candidate};
        uint32_t hash = 2166136261u;
        for (size_t b = 0; b < sizeof parts; b++) {
            hash = (hash ^ ((parts[b / 4] >> (b % 4 * 8)) & 0xff)) * 16777619u;
        }
        sum += hash;
    }
    (void)snprintf(out, size, "cublaslt%zu-%08x", lt->version, sum);
}
