/* Opening a device: names, defaults, refusals that say what was asked and what there is. */
#include "runtime/backend/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void check_refused(const pith_device_opts *opts, pith_status status, const char *text) {
    pith_device device;
    pith_err err = {0};
    assert_int_equal(pith_device_open(&device, opts, &err), status);
    assert_non_null(strstr(err.text, text));
    assert_null(device.ops);
    pith_device_close(&device);
}

static void names_nobody_knows_are_refused(void **state) {
    check_refused(&(pith_device_opts){.device = "tpu"}, PITH_INVALID, "device \"tpu\" is unknown");
    check_refused(&(pith_device_opts){.dtype = "f64"}, PITH_INVALID, "dtype \"f64\" is unknown");
    check_refused(&(pith_device_opts){.isa = "neon"}, PITH_INVALID, "isa \"neon\" is unknown");
    check_refused(&(pith_device_opts){.n_threads = 257}, PITH_INVALID, "257 compute threads");
}

static void what_the_machine_or_build_lacks_is_unsupported(void **state) {
    check_refused(&(pith_device_opts){.isa = "ref", .dtype = "bf16"}, PITH_UNSUPPORTED,
                  "isa \"ref\" computes in f32, not bf16");
    const char *const isas[] = {"avx2", "avx512", "avx512-bf16"};
    for (size_t i = 0; i < 3; i++) {
        pith_device device;
        pith_err err = {0};
        pith_device_opts opts = {.isa = isas[i], .n_threads = 1};
        pith_status status = pith_device_open(&device, &opts, &err);
        if (status == PITH_OK) {
            assert_string_equal(device.isa, isas[i]);
        } else {
            assert_int_equal(status, PITH_UNSUPPORTED);
            assert_non_null(strstr(err.text, "this CPU does not have it"));
        }
        pith_device_close(&device);
    }
}

static void auto_and_null_and_empty_choose_the_same(void **state) {
    const char *const names[] = {"auto", NULL, ""};
    for (size_t i = 0; i < 3; i++) {
        pith_device device;
        pith_err err = {0};
        pith_device_opts opts = {.device = names[i], .dtype = names[i], .isa = names[i]};
        assert_int_equal(pith_device_open(&device, &opts, &err), PITH_OK);
        assert_string_equal(device.device, "cpu");
        assert_true(device.n_threads >= 1);
        bool native = strcmp(device.isa, "avx512-bf16") == 0;
        assert_string_equal(device.dtype, native ? "bf16" : "f32");
        pith_device_close(&device);
        pith_device_close(&device); /* once more is fine */
    }
}

static void an_odd_inner_size_is_refused_in_bf16(void **state) {
    pith_device device;
    pith_err err = {0};
    pith_device_opts opts = {.dtype = "bf16", .n_threads = 1};
    if (pith_device_open(&device, &opts, &err) != PITH_OK) {
        skip(); /* a CPU without AVX2 */
    }
    float weight[2 * 3] = {0};
    pith_matrix matrix = {weight, PITH_ELEM_F32, 2, 3};
    pith_pack_opts pack = {.kind = PITH_PACK_LINEAR};
    pith_packed *packed;
    assert_int_equal(device.ops->pack_weight(device.ctx, &matrix, &pack, &packed, &err),
                     PITH_UNSUPPORTED);
    assert_non_null(strstr(err.text, "3 inputs"));
    pith_device_close(&device);
}

static void sizes_that_overflow_are_out_of_memory(void **state) {
    const char *const isas[] = {"ref", NULL};
    for (size_t i = 0; i < 2; i++) {
        pith_device device;
        pith_err err = {0};
        pith_device_opts opts = {.isa = isas[i], .n_threads = 1};
        assert_int_equal(pith_device_open(&device, &opts, &err), PITH_OK);
        void *mem;
        assert_int_equal(device.ops->alloc(device.ctx, SIZE_MAX - 3, &mem, &err), PITH_NO_MEMORY);
        float weight = 0.0f;
        pith_matrix matrix = {&weight, PITH_ELEM_F32, SIZE_MAX / 4, 5};
        pith_pack_opts pack = {.kind = PITH_PACK_LINEAR};
        pith_packed *packed;
        assert_int_equal(device.ops->pack_weight(device.ctx, &matrix, &pack, &packed, &err),
                         PITH_NO_MEMORY);
        device.ops->free(device.ctx, NULL);
        device.ops->packed_free(device.ctx, NULL);
        pith_device_close(&device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_nobody_knows_are_refused),
        cmocka_unit_test(what_the_machine_or_build_lacks_is_unsupported),
        cmocka_unit_test(auto_and_null_and_empty_choose_the_same),
        cmocka_unit_test(an_odd_inner_size_is_refused_in_bf16),
        cmocka_unit_test(sizes_that_overflow_are_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
