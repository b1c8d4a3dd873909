/* The linear kernel beside oneDNN's matmul on the four products of ModernBERT-base, one thread,
 * interleaved, in CPU time. Prints both rates, their ratio, and whether oneDNN gives a row the same
 * bits when other rows are computed beside it (ours does, by construction and by test). */
#include "kernels/cpu/isa.h"

#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 9, ROWS_MAX = 480 };

typedef struct shape {
    const char *name;
    size_t n;
    size_t k;
} shape;

static const shape shapes[] = {
    {"Wqkv", 2304, 768}, {"Wo", 768, 768}, {"Wi", 2304, 768}, {"mlp.Wo", 768, 1152}};

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *allocate(size_t bytes) {
    void *mem = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (mem == NULL) {
        exit(1);
    }
    return mem;
}

static void check(dnnl_status_t status, const char *what) {
    if (status != dnnl_success) {
        (void)fprintf(stderr, "oneDNN: %s failed with %d\n", what, (int)status);
        exit(1);
    }
}

/* oneDNN's product of `rows` rows with weights in its own layout. */
typedef struct peer {
    dnnl_primitive_t product;
    dnnl_memory_t memories[3];
    dnnl_stream_t stream;
} peer;

static peer peer_open(dnnl_engine_t engine, const shape *s, size_t rows, float *act, float *weight,
                      float *out) {
    peer p;
    dnnl_memory_desc_t plain[3];
    dnnl_memory_desc_t any;
    dnnl_dims_t act_dims = {(dnnl_dim_t)rows, (dnnl_dim_t)s->k};
    dnnl_dims_t weight_dims = {(dnnl_dim_t)s->k, (dnnl_dim_t)s->n};
    dnnl_dims_t out_dims = {(dnnl_dim_t)rows, (dnnl_dim_t)s->n};
    check(dnnl_memory_desc_init_by_tag(&plain[0], 2, act_dims, dnnl_f32, dnnl_ab), "act");
    check(dnnl_memory_desc_init_by_tag(&plain[1], 2, weight_dims, dnnl_f32, dnnl_ba), "weight");
    check(dnnl_memory_desc_init_by_tag(&plain[2], 2, out_dims, dnnl_f32, dnnl_ab), "out");
    check(dnnl_memory_desc_init_by_tag(&any, 2, weight_dims, dnnl_f32, dnnl_format_tag_any), "any");
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t made;
    check(dnnl_matmul_desc_init(&desc, &plain[0], &any, NULL, &plain[2]), "matmul");
    check(dnnl_primitive_desc_create(&made, &desc, NULL, engine, NULL), "matmul");
    check(dnnl_primitive_create(&p.product, made), "matmul");
    check(dnnl_stream_create(&p.stream, engine, dnnl_stream_default_flags), "stream");
    const dnnl_memory_desc_t *packed = dnnl_primitive_desc_query_md(made, dnnl_query_weights_md, 0);
    dnnl_memory_t source;
    dnnl_primitive_desc_t reorder_desc;
    dnnl_primitive_t reorder;
    check(dnnl_memory_create(&p.memories[0], &plain[0], engine, act), "act");
    check(dnnl_memory_create(&source, &plain[1], engine, weight), "weight");
    check(dnnl_memory_create(&p.memories[1], packed, engine, DNNL_MEMORY_ALLOCATE), "packed");
    check(dnnl_memory_create(&p.memories[2], &plain[2], engine, out), "out");
    check(
        dnnl_reorder_primitive_desc_create(&reorder_desc, &plain[1], engine, packed, engine, NULL),
        "reorder");
    check(dnnl_primitive_create(&reorder, reorder_desc), "reorder");
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, p.memories[1]}};
    check(dnnl_primitive_execute(reorder, p.stream, 2, args), "reorder");
    check(dnnl_stream_wait(p.stream), "reorder");
    return p;
}

static void peer_run(const peer *p) {
    dnnl_exec_arg_t args[3] = {{DNNL_ARG_SRC, p->memories[0]},
                               {DNNL_ARG_WEIGHTS, p->memories[1]},
                               {DNNL_ARG_DST, p->memories[2]}};
    check(dnnl_primitive_execute(p->product, p->stream, 3, args), "execute");
    check(dnnl_stream_wait(p->stream), "execute");
}

static void ours_run(const pk_cpu_isa *isa, const pk_panels *panels, const float *act, float *out,
                     size_t rows) {
    for (size_t row = 0; row < rows; row += PK_ROW_BLOCK) {
        pk_linear_task task = {.act = act + row * panels->k,
                               .act_stride = panels->k,
                               .rows = rows - row < PK_ROW_BLOCK ? rows - row : PK_ROW_BLOCK,
                               .weight = panels,
                               .panel_begin = 0,
                               .panel_end = panels->n_panels};
        isa->linear(out + row * panels->n, panels->n, &task);
    }
}

static double least(double a, double b) {
    return a < b ? a : b;
}

static void compare(const pk_cpu_isa *isa, dnnl_engine_t engine, const shape *s) {
    float *act = allocate(ROWS_MAX * s->k * sizeof(float));
    float *weight = allocate(s->n * s->k * sizeof(float));
    float *out = allocate(ROWS_MAX * s->n * sizeof(float));
    float *theirs = allocate(ROWS_MAX * s->n * sizeof(float));
    float *one = allocate(s->n * sizeof(float));
    float *rows = allocate(2 * isa->width * s->k * sizeof(float));
    for (size_t i = 0; i < ROWS_MAX * s->k; i++) {
        act[i] = (float)(i * 2654435761u % 1000) * 0.002f - 1.0f;
    }
    for (size_t i = 0; i < s->n * s->k; i++) {
        weight[i] = (float)(i * 2246822519u % 1000) * 0.002f - 1.0f;
    }
    pk_panels panels = {0};
    panels.data =
        allocate(pk_panels_plan(&panels, PK_F32, PK_PANEL_PLAIN, isa->width, s->n, s->k, 0));
    pk_panels_pack(&panels, weight, PK_F32, rows);
    for (size_t m = 96; m <= ROWS_MAX; m *= 5) {
        peer p = peer_open(engine, s, m, act, weight, theirs);
        double mine = 1e9;
        double other = 1e9;
        for (int i = 0; i < ROUNDS; i++) {
            double from = now();
            ours_run(isa, &panels, act, out, m);
            double middle = now();
            peer_run(&p);
            mine = least(mine, middle - from);
            other = least(other, now() - middle);
        }
        peer single = peer_open(engine, s, 1, act, weight, one);
        peer_run(&single);
        double flop = 2.0 * (double)(m * s->n * s->k) * 1e-9;
        printf(
            "%-6s %3zu x %4zu x %4zu: pith %s %.1f GFLOP/s, oneDNN %.1f, ratio %.2f; oneDNN's row "
            "alone %s its row of %zu\n",
            s->name, m, s->n, s->k, isa->name, flop / mine, flop / other, other / mine,
            memcmp(one, theirs, s->n * sizeof(float)) == 0 ? "equals" : "differs from", m);
    }
    free(act), free(weight), free(out), free(theirs), free(one), free(rows), free(panels.data);
}

int main(void) {
    const pk_cpu_isa *isa = pk_cpu_has(&pk_cpu_avx512) ? &pk_cpu_avx512 : &pk_cpu_avx2;
    dnnl_engine_t engine;
    if (!pk_cpu_has(isa)) {
        printf("skipped: this CPU has no AVX2\n");
        return 0;
    }
    check(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        compare(isa, engine, &shapes[i]);
    }
    return 0;
}
