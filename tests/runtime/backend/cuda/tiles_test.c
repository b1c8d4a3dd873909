/* Which tile multiplies: runtime/backend/cuda/tiles.h as a sweep made it, else by size. */
#include "runtime/backend/cuda/tiles.h"

#include "runtime/backend/cuda/kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { N_SM = 132 };

static pk_linear_cuda_task chosen(bool fast, pith_pack_kind kind, uint32_t n, uint32_t k,
                                  uint32_t rows_max) {
    pith_ops_ctx ctx = {.fast = fast, .pairs = N_SM / 2, .info.n_sm = N_SM};
    pk_linear_cuda_task task = {.n = n, .k = k, .rows_max = rows_max, .multicast = true};
    cuda_choose_tile(&ctx, kind, &task);
    return task;
}

static void every_row_of_the_table_is_what_its_step_gets(void **state) {
    (void)state;
    size_t count = sizeof cuda_tiles / sizeof cuda_tiles[0];
    for (size_t i = 0; i < count; i++) {
        const cuda_tile *row = &cuda_tiles[i];
        pk_linear_cuda_task task = chosen(true, row->kind, row->n, row->k, row->rows_max);
        assert_int_equal(task.tile, row->tile);
        assert_int_equal(task.stages, row->stages);
        assert_int_equal(task.multicast, row->multicast);
        assert_int_equal(task.ctas, N_SM * row->ctas_per_sm);
        if (i > 0 && row[-1].kind == row->kind && row[-1].n == row->n && row[-1].k == row->k) {
            assert_true(row[-1].rows_max < row->rows_max); /* one more row is the next class */
            task = chosen(true, row->kind, row->n, row->k, row[-1].rows_max + 1);
            assert_int_equal(task.tile, row->tile);
        }
    }
}

static void a_step_past_the_last_class_has_the_last_class_tile(void **state) {
    (void)state;
    pk_linear_cuda_task last = chosen(true, PITH_PACK_QKV, 2304, 768, 8448);
    pk_linear_cuda_task more = chosen(true, PITH_PACK_QKV, 2304, 768, 100000);
    assert_int_equal(more.tile, last.tile);
    assert_int_equal(more.ctas, last.ctas);
}

static void other_shapes_go_by_their_size(void **state) {
    (void)state;
    pk_linear_cuda_task task = chosen(true, PITH_PACK_QKV, 1152, 384, 512);
    assert_int_equal(task.tile, PK_LINEAR_64_192);
    assert_int_equal(chosen(true, PITH_PACK_LINEAR, 192, 288, 512).tile, PK_LINEAR_64_64);
    assert_int_equal(chosen(true, PITH_PACK_LINEAR, 192, 288, 513).tile, PK_LINEAR_128_192);
    assert_true(task.multicast);
}

/* Until a sweep says otherwise the table and the sizes come of one computation. */
static void a_table_that_nobody_measured_is_what_the_sizes_give(void **state) {
    (void)state;
    size_t count = CUDA_TILES_MEASURED ? 0 : sizeof cuda_tiles / sizeof cuda_tiles[0];
    for (size_t i = 0; i < count; i++) {
        const cuda_tile *row = &cuda_tiles[i];
        pk_linear_cuda_task task =
            chosen(true, PITH_PACK_TABLE, row->n, row->k, row->rows_max); /* of no row */
        assert_int_equal(task.tile, row->tile);
        assert_int_equal(task.stages, row->stages);
        assert_int_equal(task.multicast, row->multicast);
        assert_int_equal(task.ctas, N_SM * row->ctas_per_sm);
    }
}

/* A row of the table that no kernel is would be refused when the step runs. */
static void every_row_of_the_table_is_a_kernel(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cuda_tiles / sizeof cuda_tiles[0]; i++) {
        const cuda_tile *row = &cuda_tiles[i];
        bool found = false;
        bool alone = false; /* where the pairs do not fit */
        for (int c = 0; c < PK_LINEAR_CUDA_CHOICES; c++) {
            const pk_linear_cuda_choice *kernel = &pk_linear_cuda_choices[c];
            bool same = kernel->tile == row->tile && kernel->stages == row->stages;
            found = found || (same && kernel->multicast == row->multicast &&
                              kernel->ctas_per_sm == row->ctas_per_sm);
            alone = alone || (same && !kernel->multicast);
        }
        assert_true(found);
        assert_true(alone);
    }
}

static void safe_kernels_ask_no_table(void **state) {
    (void)state;
    pk_linear_cuda_task task = chosen(false, PITH_PACK_QKV, 2304, 768, 8448);
    assert_int_equal(task.tile, PK_LINEAR_SAFE);
    assert_int_equal(task.stages, 0);
    assert_false(task.multicast);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table_is_what_its_step_gets),
        cmocka_unit_test(a_step_past_the_last_class_has_the_last_class_tile),
        cmocka_unit_test(other_shapes_go_by_their_size),
        cmocka_unit_test(a_table_that_nobody_measured_is_what_the_sizes_give),
        cmocka_unit_test(every_row_of_the_table_is_a_kernel),
        cmocka_unit_test(safe_kernels_ask_no_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
