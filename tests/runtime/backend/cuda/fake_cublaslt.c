/* Stands in for libcublasLt.so.13 on emulated devices: the functions that the backend uses, with
 * products in plain loops, and what a test asks it to get wrong.
 *
 * It has two algorithms, 0 and 1. What is wrong is wrong in algorithm 0, or, after a '*', in both:
 *   version        another major version
 *   none           no algorithm is known
 *   split          k is in four parts
 *   workspace      workspace is needed
 *   fails          one row alone is refused
 *   one, some      one bit of one output differs in a product of one row, of 127
 *   offset         one bit differs in every row at offset 63 of 64
 *   last           one bit differs in row 8,447
 *   unwritten      row 100 is not written
 *   full           no memory, from now on */
#include "kernels/types.h"
#include "runtime/backend/cuda/cublaslt.h"
#include "runtime/backend/cuda/emulated.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INVALID_VALUE = 7, NOT_SUPPORTED = 15, ALGORITHMS = 2 };

typedef struct layout {
    int type;
    uint64_t rows;
    uint64_t cols;
    int64_t ld;
} layout;

typedef struct desc {
    int compute;
    int transposed;
} desc;

typedef struct product {
    float *out;          /* [rows, n] */
    const uint16_t *act; /* [rows, k] */
    const uint16_t *rhs; /* [n, k] */
    size_t rows, n, k;
    int type;
    uint64_t algorithm;
} product;

static const char *fault = "";
static unsigned n_products;

void fake_cublaslt_set(const char *name);
unsigned fake_cublaslt_products(void);

void fake_cublaslt_set(const char *name) {
    fault = name;
}

unsigned fake_cublaslt_products(void) {
    return n_products;
}

static bool wrong(const char *name, uint64_t algorithm) {
    bool both = fault[0] == '*';
    return strcmp(fault + both, name) == 0 && (both || algorithm == 0);
}

/* --- the library's names --- */

size_t cublasLtGetVersion(void);
int cublasLtCreate(void **lt);
int cublasLtDestroy(void *lt);
int cublasLtMatmulDescCreate(void **made, int compute, int scale);
int cublasLtMatmulDescDestroy(void *made);
int cublasLtMatmulDescSetAttribute(void *made, int attribute, const void *value, size_t bytes);
int cublasLtMatrixLayoutCreate(void **made, int type, uint64_t rows, uint64_t cols, int64_t ld);
int cublasLtMatrixLayoutDestroy(void *made);
int cublasLtMatrixLayoutSetAttribute(void *made, int attribute, const void *value, size_t bytes);
int cublasLtMatmulPreferenceCreate(void **made);
int cublasLtMatmulPreferenceDestroy(void *made);
int cublasLtMatmulPreferenceSetAttribute(void *made, int attribute, const void *value,
                                         size_t bytes);
int cublasLtMatmulAlgoGetHeuristic(void *lt, void *d, void *a, void *b, void *c, void *out,
                                   void *preference, int wanted, lt_heuristic *results, int *found);
int cublasLtMatmulAlgoConfigGetAttribute(const lt_algo *algo, int attribute, void *value,
                                         size_t bytes, size_t *written);
int cublasLtMatmul(void *lt, void *d, const void *alpha, const void *a, void *a_layout,
                   const void *b, void *b_layout, const void *beta, const void *c, void *c_layout,
                   void *out, void *out_layout, const lt_algo *algo, void *workspace,
                   size_t workspace_bytes, void *stream);

size_t cublasLtGetVersion(void) {
    return wrong("version", 0) ? 120805 : 130100;
}

static int make(void **made, size_t bytes) {
    *made = calloc(1, bytes);
    return *made != NULL ? LT_SUCCESS : LT_ALLOC_FAILED;
}

static int drop(void *made) {
    free(made);
    return LT_SUCCESS;
}

int cublasLtCreate(void **lt) {
    return make(lt, 1);
}

int cublasLtDestroy(void *lt) {
    return drop(lt);
}

int cublasLtMatmulDescCreate(void **made, int compute, int scale) {
    int code = make(made, sizeof(desc));
    if (code == LT_SUCCESS) {
        ((desc *)*made)->compute = compute;
    }
    return scale == LT_R_32F ? code : INVALID_VALUE;
}

int cublasLtMatmulDescDestroy(void *made) {
    return drop(made);
}

int cublasLtMatmulDescSetAttribute(void *made, int attribute, const void *value, size_t bytes) {
    if (attribute != LT_DESC_TRANSA || bytes != sizeof(int)) {
        return INVALID_VALUE;
    }
    memcpy(&((desc *)made)->transposed, value, bytes);
    return LT_SUCCESS;
}

int cublasLtMatrixLayoutCreate(void **made, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    int code = make(made, sizeof(layout));
    if (code == LT_SUCCESS) {
        *(layout *)*made = (layout){type, rows, cols, ld};
    }
    return code;
}

int cublasLtMatrixLayoutDestroy(void *made) {
    return drop(made);
}

int cublasLtMatrixLayoutSetAttribute(void *made, int attribute, const void *value, size_t bytes) {
    if (attribute != LT_LAYOUT_COLS || bytes != sizeof(uint64_t)) {
        return INVALID_VALUE;
    }
    memcpy(&((layout *)made)->cols, value, bytes);
    return LT_SUCCESS;
}

int cublasLtMatmulPreferenceCreate(void **made) {
    return make(made, 1);
}

int cublasLtMatmulPreferenceDestroy(void *made) {
    return drop(made);
}

int cublasLtMatmulPreferenceSetAttribute(void *made, int attribute, const void *value,
                                         size_t bytes) {
    uint32_t mask = 1;
    if (made == NULL || attribute != LT_PREF_REDUCTION_SCHEME_MASK || bytes != sizeof mask) {
        return INVALID_VALUE;
    }
    memcpy(&mask, value, bytes);
    return mask == LT_REDUCTION_NONE ? LT_SUCCESS : INVALID_VALUE;
}

/* Whether the three layouts are those of out [rows, n] = b [rows, k] times a [n, k]. */
static bool fits(const desc *d, const layout *a, const layout *b, const layout *out) {
    return d->compute == LT_COMPUTE_32F && d->transposed == LT_OP_T && a->type == b->type &&
           (a->type == LT_R_16F || a->type == LT_R_16BF) && out->type == LT_R_32F &&
           a->rows == b->rows && a->cols == out->rows && b->cols == out->cols &&
           a->ld == (int64_t)a->rows && b->ld == (int64_t)b->rows && out->ld == (int64_t)out->rows;
}

int cublasLtMatmulAlgoGetHeuristic(void *lt, void *d, void *a, void *b, void *c, void *out,
                                   void *preference, int wanted, lt_heuristic *results,
                                   int *found) {
    if (lt == NULL || preference == NULL || !fits(d, a, b, out) || c != out) {
        return INVALID_VALUE;
    }
    *found = wrong("none", 0) ? 0 : wanted < ALGORITHMS ? wanted : ALGORITHMS;
    for (int i = 0; i < *found; i++) {
        results[i] = (lt_heuristic){.algo = {{(uint64_t)i}}};
        results[i].workspace = wrong("workspace", (uint64_t)i) ? 1024 : 0;
    }
    return *found > 0 ? LT_SUCCESS : NOT_SUPPORTED;
}

int cublasLtMatmulAlgoConfigGetAttribute(const lt_algo *algo, int attribute, void *value,
                                         size_t bytes, size_t *written) {
    uint32_t parts = wrong("split", algo->data[0]) ? 4 : 1;
    if (attribute != LT_ALGO_SPLITK_NUM || bytes != sizeof parts) {
        return INVALID_VALUE;
    }
    memcpy(value, &parts, bytes);
    *written = bytes;
    return LT_SUCCESS;
}

/* --- the product --- */

static float value_of(uint16_t bits, int type) {
    return type == LT_R_16BF ? pk_f32_of_bf16(bits) : pk_f32_of_f16(bits);
}

static void spoil(float *value) {
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    bits ^= 1;
    memcpy(value, &bits, sizeof bits);
}

static void spoil_row(const product *p, size_t row) {
    float *out = p->out + row * p->n;
    if ((wrong("one", p->algorithm) && p->rows == 1) ||
        (wrong("some", p->algorithm) && p->rows == 127 && row == 5) ||
        (wrong("offset", p->algorithm) && row % 64 == 63) ||
        (wrong("last", p->algorithm) && row == 8447)) {
        spoil(&out[p->n / 2]);
    }
}

static void multiply_row(const product *p, const float *rhs, size_t row) {
    for (size_t c = 0; c < p->n; c++) {
        float sum = 0.0f;
        for (size_t i = 0; i < p->k; i++) {
            sum += value_of(p->act[row * p->k + i], p->type) * rhs[c * p->k + i];
        }
        p->out[row * p->n + c] = sum;
    }
}

static int run(void *arg) {
    enum { PERIOD = 61 }; /* the probe's rows repeat: saves their products */
    const product *p = arg;
    float *rhs = malloc(p->n * p->k * sizeof *rhs);
    for (size_t i = 0; i < p->n * p->k; i++) {
        rhs[i] = value_of(p->rhs[i], p->type);
    }
    for (size_t r = 0; r < p->rows; r++) {
        const uint16_t *act = p->act + r * p->k;
        bool again = r >= PERIOD && memcmp(act, act - PERIOD * p->k, p->k * sizeof *act) == 0;
        if (wrong("unwritten", p->algorithm) && r == 100) {
            continue;
        }
        if (again && r != 100 + PERIOD) {
            memcpy(p->out + r * p->n, p->out + (r - PERIOD) * p->n, p->n * sizeof(float));
        } else {
            multiply_row(p, rhs, r);
        }
    }
    for (size_t r = 0; r < p->rows; r++) {
        spoil_row(p, r);
    }
    free(rhs);
    return 0;
}

int cublasLtMatmul(void *lt, void *d, const void *alpha, const void *a, void *a_layout,
                   const void *b, void *b_layout, const void *beta, const void *c, void *c_layout,
                   void *out, void *out_layout, const lt_algo *algo, void *workspace,
                   size_t workspace_bytes, void *stream) {
    const layout *weight = a_layout;
    const layout *sums = out_layout;
    bool once = *(const float *)alpha == 1.0f && *(const float *)beta == 0.0f;
    if (lt == NULL || !once || !fits(d, a_layout, b_layout, out_layout) || c != out ||
        c_layout != out_layout || workspace != NULL || workspace_bytes != 0) {
        return INVALID_VALUE;
    }
    if (wrong("fails", algo->data[0]) && sums->cols == 1) {
        return NOT_SUPPORTED;
    }
    product *p = malloc(sizeof *p);
    if (p == NULL || wrong("full", 0)) {
        free(p);
        return LT_ALLOC_FAILED;
    }
    *p = (product){.out = out,
                   .act = b,
                   .rhs = a,
                   .rows = sums->cols,
                   .n = weight->cols,
                   .k = weight->rows,
                   .type = weight->type,
                   .algorithm = algo->data[0]};
    n_products++;
    return pith_emulated_enqueue(stream, run, p) == 0 ? LT_SUCCESS : NOT_SUPPORTED;
}
