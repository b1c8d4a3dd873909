/* Body of kernels/linear.h for one ISA; included after its vec header. PK_NATIVE_BF16: the vec
 * header has v_dot_bf16, and bf16 activations are multiplied as they are. */
#include "kernels/cpu/tile_body.h"
#include "kernels/linear.h"

#include <math.h>

typedef enum epilogue { STORE_PLAIN, STORE_GEGLU, STORE_QKV_ROPE } epilogue;

typedef struct sink {
    epilogue kind;
    void *out;
    pk_dtype dtype;            /* STORE_GEGLU; f32 otherwise */
    size_t stride;             /* elements between output rows */
    const float *rope;         /* STORE_QKV_ROPE */
    const uint32_t *positions; /* STORE_QKV_ROPE, of the task's rows */
} sink;

static void store_plain(const sink *s, const tile *t, size_t row, size_t rows,
                        const pk_panel_columns *cols) {
    for (size_t r = 0; r < rows; r++) {
        float *out = (float *)s->out + (row + r) * s->stride;
        v_store_n(out + cols->lo, t->at[r][0], cols->lo_valid);
        if (cols->hi_valid > 0) {
            v_store_n(out + cols->hi, t->at[r][1], cols->hi_valid);
        }
    }
}

static void store_geglu(const sink *s, const tile *t, size_t row, size_t rows,
                        const pk_panel_columns *cols) {
    for (size_t r = 0; r < rows; r++) {
        vf value = v_mul(v_gelu(t->at[r][0]), t->at[r][1]);
        size_t at = (row + r) * s->stride + cols->lo;
        if (s->dtype == PK_F32) {
            v_store_n((float *)s->out + at, value, cols->lo_valid);
        } else {
            v_store_bf16_n((uint16_t *)s->out + at, value, cols->lo_valid);
        }
    }
}

static void store_qkv_rope(const sink *s, const pk_panels *w, const tile *t, size_t row,
                           size_t rows, const pk_panel_columns *cols) {
    size_t half = w->half;
    size_t heads = w->n / (6 * half);
    size_t group = cols->lo / (2 * half);
    size_t d = cols->lo - group * 2 * half;
    size_t n = cols->lo_valid;
    vf scale = v_set1(1.0f / sqrtf(2.0f * (float)half));
    for (size_t r = 0; r < rows; r++) {
        vf lo = t->at[r][0];
        vf hi = t->at[r][1];
        if (group < 2 * heads) {
            const float *table = s->rope + s->positions[row + r] * 2 * half + d;
            vf cosine = v_load_n(table, n);
            vf sine = v_load_n(table + half, n);
            vf turned = v_nfma(hi, sine, v_mul(lo, cosine));
            hi = v_fma(lo, sine, v_mul(hi, cosine));
            lo = turned;
        }
        if (group < heads) {
            lo = v_mul(lo, scale);
            hi = v_mul(hi, scale);
        }
        float *out = (float *)s->out + (row + r) * s->stride;
        v_store_n(out + cols->lo, lo, n);
        v_store_n(out + cols->hi, hi, n);
    }
}

static void store(const sink *s, const pk_panels *w, const tile *t, size_t row, size_t rows,
                  const pk_panel_columns *cols) {
    switch (s->kind) {
    case STORE_PLAIN:
        store_plain(s, t, row, rows, cols);
        break;
    case STORE_GEGLU:
        store_geglu(s, t, row, rows, cols);
        break;
    case STORE_QKV_ROPE:
        store_qkv_rope(s, w, t, row, rows, cols);
        break;
    }
}

static size_t tile_height(size_t row, size_t rows) {
    return rows - row < PK_MR ? rows - row : PK_MR;
}

static void run_f32(const sink *s, const pk_linear_task *task, const float *act, size_t stride) {
    const pk_panels *w = task->weight;
    for (size_t p = task->panel_begin; p < task->panel_end; p++) {
        pk_panel_columns cols = pk_panel_columns_of(w, p);
        const float *b = (const float *)w->data + p * w->k * 2 * VW;
        for (size_t row = 0; row < task->rows; row += PK_MR) {
            const float *a[PK_MR];
            tile t;
            tile_rows(a, act, stride, row, task->rows);
            tile_zero(&t);
            tile_f32(&t, a, b, 2 * VW, w->k);
            store(s, w, &t, row, tile_height(row, task->rows), &cols);
        }
    }
}

#ifdef PK_NATIVE_BF16

static void run_bf16(const sink *s, const pk_linear_task *task) {
    const pk_panels *w = task->weight;
    for (size_t p = task->panel_begin; p < task->panel_end; p++) {
        pk_panel_columns cols = pk_panel_columns_of(w, p);
        const uint16_t *b = (const uint16_t *)w->data + p * w->k * 2 * VW;
        for (size_t row = 0; row < task->rows; row += PK_MR) {
            const uint16_t *a[PK_MR];
            for (size_t r = 0; r < PK_MR; r++) {
                size_t at = row + r < task->rows ? row + r : task->rows - 1;
                a[r] = (const uint16_t *)task->act + at * task->act_stride;
            }
            tile t;
            tile_zero(&t);
            tile_dot_bf16(&t, a, b, 4 * VW, w->k);
            store(s, w, &t, row, tile_height(row, task->rows), &cols);
        }
    }
}

#else

/* The rows are widened once per task, then every panel meets them in f32. */
static void run_bf16(const sink *s, const pk_linear_task *task) {
    const pk_panels *w = task->weight;
    for (size_t row = 0; row < task->rows; row++) {
        pk_to_f32(task->scratch + row * w->k, task->act, PK_BF16, row * task->act_stride, w->k);
    }
    for (size_t p = task->panel_begin; p < task->panel_end; p++) {
        pk_panel_columns cols = pk_panel_columns_of(w, p);
        const uint16_t *b = (const uint16_t *)w->data + p * w->k * 2 * VW;
        for (size_t row = 0; row < task->rows; row += PK_MR) {
            const float *a[PK_MR];
            tile t;
            tile_rows(a, task->scratch, w->k, row, task->rows);
            tile_zero(&t);
            tile_bf16(&t, a, b, w->k);
            store(s, w, &t, row, tile_height(row, task->rows), &cols);
        }
    }
}

#endif

static void run(const sink *s, const pk_linear_task *task) {
    if (task->rows == 0) {
        return;
    }
    if (task->weight->dtype == PK_F32) {
        run_f32(s, task, task->act, task->act_stride);
    } else {
        run_bf16(s, task);
    }
}

void PK_ISA(pk_linear)(float *out, size_t out_stride, const pk_linear_task *task) {
    sink s = {.kind = STORE_PLAIN, .out = out, .dtype = PK_F32, .stride = out_stride};
    run(&s, task);
}

void PK_ISA(pk_geglu)(void *out, pk_dtype out_dtype, size_t out_stride,
                      const pk_linear_task *task) {
    sink s = {.kind = STORE_GEGLU, .out = out, .dtype = out_dtype, .stride = out_stride};
    run(&s, task);
}

void PK_ISA(pk_qkv_rope)(float *out, const float *rope, const uint32_t *positions,
                         const pk_linear_task *task) {
    sink s = {.kind = STORE_QKV_ROPE,
              .out = out,
              .dtype = PK_F32,
              .stride = task->weight->n,
              .rope = rope,
              .positions = positions};
    run(&s, task);
}
