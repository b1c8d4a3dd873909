/* --gpu-kernels cublas: which algorithm of the library multiplies, when our own kernels do, and
 * what is refused. The library is tests/runtime/backend/cuda/fake_cublaslt.c on emulated devices.
 */
#include "tests/runtime/backend/cuda/cuda_cases.h"

static void (*set_fault)(const char *name);
static unsigned (*products)(void);

static int prepare(void **state) {
    void *library = dlopen(PITH_FAKE_CUBLASLT, RTLD_NOW);
    assert_non_null(library);
    resolve(library, "fake_cublaslt_set", &set_fault);
    resolve(library, "fake_cublaslt_products", &products);
    return write_model(state);
}

static void reset(const char *fault) {
    pith_emulated_reset(0);
    pith_emulated_library(PITH_CU_CUBLASLT, PITH_FAKE_CUBLASLT);
    set_fault(fault);
}

static void open_with(opened *o, const char *kernels, const char *dtype) {
    open_model(o, dir.path,
               &(open_how){.device = "cuda:0",
                           .dtype = dtype,
                           .gpu_kernels = kernels,
                           .n_threads = 1,
                           .tokens_max = TOKENS_MAX});
}

/* Texts of TEXT tokens, all in one step. */
static pith_status forward(pith_encoder *encoder, uint32_t n_texts, float *score, pith_err *err) {
    uint32_t ids[4 * TEXT];
    uint32_t offsets[5] = {0};
    for (uint32_t i = 0; i < n_texts * TEXT; i++) {
        ids[i] = i * 11 % 500;
        offsets[i / TEXT + 1] = (i / TEXT + 1) * TEXT;
    }
    pith_batch batch = {
        .ids = ids, .cu_seqlens = offsets, .n_seq = n_texts, .n_tok = n_texts * TEXT};
    pith_encoder_out out = {.score = score};
    return pith_encoder_forward(encoder, &batch, &out, err);
}

typedef struct run {
    char isa[64];
    float score[4 * TEXT];
    unsigned products; /* by the library, of one step */
} run;

static run run_with(const char *kernels, const char *dtype, const char *fault) {
    opened o;
    run found = {0};
    reset(fault);
    open_with(&o, kernels, dtype);
    unsigned before = products();
    MUST(forward(o.encoder, 4, found.score, err));
    found.products = products() - before;
    (void)snprintf(found.isa, sizeof found.isa, "%s", o.device.isa);
    close_model(&o);
    check_devices_empty();
    return found;
}

enum { PRODUCTS = 4 * 4 + 1 }; /* of a step: four a layer, the span convolution */

static void a_library_that_keeps_a_row_s_bits_multiplies(void **state) {
    const char *const dtypes[] = {"f16", "bf16"};
    for (size_t d = 0; d < 2; d++) {
        run own = run_with("safe", dtypes[d], "");
        run library = run_with("cublas", dtypes[d], "");
        assert_int_equal(own.products, 0);
        assert_int_equal(library.products, PRODUCTS);
        assert_string_equal(own.isa, "sm80-safe");
        assert_memory_equal(library.isa, "sm80-safe-cublaslt130100-", 25);
        for (size_t i = 0; i < 4 * TEXT; i++) { /* sums in another order; bf16 rounds 8 x coarser */
            check_near(library.score[i], own.score[i], d == 0 ? 1e-3 : 1e-2, "score", i);
        }
    }
}

static void a_text_alone_has_the_bits_it_has_in_a_batch_of_the_library(void **state) {
    opened o;
    float alone[TEXT];
    float packed[4 * TEXT];
    reset("");
    open_with(&o, "cublas", "f16");
    MUST(forward(o.encoder, 1, alone, err));
    MUST(forward(o.encoder, 4, packed, err));
    assert_memory_equal(alone, packed, sizeof alone);
    assert_int_equal(pith_emulated_read().graphs, 0); /* rows come from the host */
    close_model(&o);
    check_devices_empty();
}

/* Each fault is one that the probe, or the question before it, must see: the library's second
 * algorithm is taken instead; where that has it too, our own kernels multiply, bit for bit. Either
 * shows in the name. */
static void one_differing_bit_at_any_row_count_or_offset_rejects_an_algorithm(void **state) {
    const char *const faults[] = {"one",       "some",  "offset", "last",
                                  "unwritten", "fails", "split",  "workspace"};
    run good = run_with("cublas", "f16", "");
    run own = run_with("safe", "f16", "");
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        char both[32];
        (void)snprintf(both, sizeof both, "*%s", faults[i]);
        run second = run_with("cublas", "f16", faults[i]);
        assert_int_equal(second.products, PRODUCTS);
        assert_string_not_equal(second.isa, good.isa);
        assert_memory_equal(second.score, good.score, sizeof good.score);
        run neither = run_with("cublas", "f16", both);
        assert_int_equal(neither.products, 0);
        assert_string_not_equal(neither.isa, good.isa);
        assert_string_not_equal(neither.isa, second.isa);
        assert_memory_equal(neither.score, own.score, sizeof own.score);
    }
    run none = run_with("cublas", "f16", "none");
    assert_int_equal(none.products, 0);
    assert_memory_equal(none.score, own.score, sizeof own.score);
}

static void refused(const char *file, const char *fault, const char *says) {
    pith_device device;
    pith_err why = {0};
    reset(fault);
    pith_emulated_library(PITH_CU_CUBLASLT, file);
    pith_device_opts opts = {.device = "cuda:0", .gpu_kernels = "cublas"};
    assert_int_equal(pith_device_open(&device, &opts, &why), PITH_UNSUPPORTED);
    assert_non_null(strstr(why.text, says));
    assert_null(strchr(why.text, '\n'));
    check_devices_empty();
}

static void a_library_that_is_missing_incomplete_or_another_version_is_one_line(void **state) {
    refused("/no/libcublasLt.so.13", "", "/no/libcublasLt.so.13 cannot be loaded");
    refused("libm.so.6", "", "libm.so.6 has no cublasLtGetVersion");
    refused(PITH_FAKE_CUBLASLT, "version", "is version 120805, expected 13");
}

/* Nothing of the library is looked for unless it is asked for. */
static void without_the_library_all_other_kernels_serve(void **state) {
    const char *const others[] = {NULL, "auto", "safe"};
    for (size_t i = 0; i < 3; i++) {
        pith_device device;
        pith_emulated_reset(0);
        MUST(pith_device_open(
            &device, &(pith_device_opts){.device = "cuda:0", .gpu_kernels = others[i]}, err));
        pith_device_close(&device);
        check_devices_empty();
    }
}

static void a_failed_product_of_the_library_costs_its_step_alone(void **state) {
    for (size_t i = 0; i < 2; i++) { /* no memory in the library; a refused launch */
        opened o;
        float good[TEXT];
        float bad[TEXT];
        pith_err why = {0};
        reset("");
        open_with(&o, "cublas", "f16");
        MUST(forward(o.encoder, 1, good, err));
        if (i == 0) {
            set_fault("full");
        } else {
            pith_emulated_fail(PITH_EMULATED_LAUNCH, 1, LAUNCH_RESOURCES);
        }
        assert_int_equal(forward(o.encoder, 1, bad, &why), i == 0 ? PITH_NO_MEMORY : PITH_INTERNAL);
        set_fault("");
        MUST(forward(o.encoder, 1, bad, err));
        assert_memory_equal(bad, good, sizeof good);
        close_model(&o);
        check_devices_empty();
    }
}

static void the_start_fails(pith_status expected, const char *says) {
    opened o = {0};
    pith_err why = {0};
    MUST(pith_model_config_read(&o.config, dir.path, err));
    MUST(pith_checkpoint_open(&o.checkpoint, dir.path, &o.config, err));
    MUST(pith_device_open(&o.device,
                          &(pith_device_opts){.device = "cuda:0", .gpu_kernels = "cublas"}, err));
    if (expected == PITH_NO_MEMORY) {
        pith_emulated_reset(3000000); /* the model fits; 8,448 rows of a probe do not */
    } else {
        pith_emulated_fail(PITH_EMULATED_RUN, 3, LAUNCH_FAILURE);
    }
    pith_encoder_opts opts = {.ops = o.device.ops, .ctx = o.device.ctx, .tokens_max = TOKENS_MAX};
    assert_int_equal(pith_encoder_open(&o.encoder, &o.config, o.checkpoint, &opts, &why), expected);
    assert_non_null(strstr(why.text, says));
    pith_device_close(&o.device);
    pith_checkpoint_close(o.checkpoint);
    check_devices_empty();
}

static void a_probe_without_memory_or_on_a_lost_device_ends_the_start(void **state) {
    reset("");
    the_start_fails(PITH_NO_MEMORY, "bytes needed");
    reset("");
    the_start_fails(PITH_UNAVAILABLE, "cuda:0 is lost");
    pith_emulated_reset(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_library_that_keeps_a_row_s_bits_multiplies),
        cmocka_unit_test(a_text_alone_has_the_bits_it_has_in_a_batch_of_the_library),
        cmocka_unit_test(one_differing_bit_at_any_row_count_or_offset_rejects_an_algorithm),
        cmocka_unit_test(a_library_that_is_missing_incomplete_or_another_version_is_one_line),
        cmocka_unit_test(without_the_library_all_other_kernels_serve),
        cmocka_unit_test(a_failed_product_of_the_library_costs_its_step_alone),
        cmocka_unit_test(a_probe_without_memory_or_on_a_lost_device_ends_the_start),
    };
    return cmocka_run_group_tests(tests, prepare, remove_model);
}
