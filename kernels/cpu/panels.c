/* Packing of weights into panels: plain C, once at start-up. */
#include "kernels/linear.h"

#include <stdbool.h>

static size_t at_most(size_t value, size_t limit) {
    return value < limit ? value : limit;
}

size_t pk_panels_plan(pk_panels *panels, pk_dtype dtype, pk_panel_kind kind, size_t width, size_t n,
                      size_t k, size_t half) {
    size_t per_group = (half + width - 1) / width;
    size_t n_panels =
        kind == PK_PANEL_PLAIN ? (n + 2 * width - 1) / (2 * width) : n / (2 * half) * per_group;
    *panels = (pk_panels){.data = panels->data,
                          .dtype = dtype,
                          .kind = kind,
                          .width = width,
                          .n = n,
                          .k = k,
                          .half = half,
                          .n_panels = n_panels};
    return n_panels * k * 2 * width * pk_dtype_bytes(dtype);
}

pk_panel_columns pk_panel_columns_of(const pk_panels *panels, size_t panel) {
    size_t width = panels->width;
    if (panels->kind == PK_PANEL_PLAIN) {
        size_t lo = panel * 2 * width;
        size_t hi = lo + width;
        return (pk_panel_columns){
            .lo = lo,
            .hi = hi,
            .lo_valid = at_most(panels->n - lo, width),
            .hi_valid = hi < panels->n ? at_most(panels->n - hi, width) : 0,
        };
    }
    size_t per_group = (panels->half + width - 1) / width;
    size_t group = panel / per_group;
    size_t offset = (panel - group * per_group) * width;
    size_t lo = group * 2 * panels->half + offset;
    size_t valid = at_most(panels->half - offset, width);
    return (pk_panel_columns){
        .lo = lo, .hi = lo + panels->half, .lo_valid = valid, .hi_valid = valid};
}

/* rows [2 * width][k]: the panel's weight rows as f32, zero where none exists. */
static void gather(const pk_panels *panels, size_t panel, const void *src, pk_dtype src_dtype,
                   float *rows) {
    pk_panel_columns cols = pk_panel_columns_of(panels, panel);
    size_t k = panels->k;
    memset(rows, 0, 2 * panels->width * k * sizeof *rows);
    pk_to_f32(rows, src, src_dtype, cols.lo * k, cols.lo_valid * k);
    if (cols.hi_valid > 0) {
        pk_to_f32(rows + panels->width * k, src, src_dtype, cols.hi * k, cols.hi_valid * k);
    }
}

static void pack_f32(float *out, const float *rows, size_t columns, size_t k) {
    for (size_t i = 0; i < k; i++) {
        for (size_t c = 0; c < columns; c++) {
            out[i * columns + c] = rows[c * k + i];
        }
    }
}

static void pack_bf16(uint16_t *out, const float *rows, size_t columns, size_t k) {
    for (size_t i = 0; i < k; i++) {
        uint16_t *pairs = out + i / 2 * 2 * columns + i % 2;
        for (size_t c = 0; c < columns; c++) {
            pairs[2 * c] = pk_bf16_of_f32(rows[c * k + i]);
        }
    }
}

void pk_panels_pack(const pk_panels *panels, const void *src, pk_dtype src_dtype, float *rows) {
    size_t columns = 2 * panels->width;
    size_t per_panel = columns * panels->k;
    for (size_t p = 0; p < panels->n_panels; p++) {
        gather(panels, p, src, src_dtype, rows);
        if (panels->dtype == PK_F32) {
            pack_f32((float *)panels->data + p * per_panel, rows, columns, panels->k);
        } else {
            pack_bf16((uint16_t *)panels->data + p * per_panel, rows, columns, panels->k);
        }
    }
}
