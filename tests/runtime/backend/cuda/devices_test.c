/* Several emulated devices: names, likeness, how weights get from the first to the others. NCCL is
 * tests/runtime/backend/cuda/fake_nccl.c. */
#include "tests/runtime/backend/cuda/cuda_cases.h"

static void (*set_fault)(const char *name);
static unsigned (*broadcasts)(void);
static unsigned (*connected)(void);

static int prepare(void **state) {
    void *library = dlopen(PITH_FAKE_NCCL, RTLD_NOW);
    assert_non_null(library);
    resolve(library, "fake_nccl_set", &set_fault);
    resolve(library, "fake_nccl_broadcasts", &broadcasts);
    resolve(library, "fake_nccl_open", &connected);
    return write_model(state);
}

static void reset(const char *nccl, const char *fault) {
    pith_emulated_reset(0);
    pith_emulated_library(PITH_CU_NCCL, nccl);
    set_fault(fault);
}

static void check_nothing_left(void) {
    check_devices_empty();
    assert_int_equal(connected(), 0);
}

/* A model on every device. */
typedef struct fleet {
    pith_model_config config;
    pith_checkpoint *checkpoint;
    pith_device devices[PITH_DEVICES_MAX];
    uint32_t n;
    pith_encoder *encoders[PITH_DEVICES_MAX];
    pith_err note;
} fleet;

static pith_status open_fleet(fleet *f, const pith_device_opts *opts, pith_err *why) {
    *f = (fleet){0};
    MUST(pith_model_config_read(&f->config, dir.path, err));
    MUST(pith_checkpoint_open(&f->checkpoint, dir.path, &f->config, err));
    MUST(pith_devices_open(f->devices, &f->n, opts, err));
    pith_encoder_opts encoder = {
        .ops = f->devices[0].ops, .ctx = f->devices[0].ctx, .tokens_max = TOKENS_MAX};
    pith_ops_ctx *others[PITH_DEVICES_MAX];
    for (uint32_t d = 1; d < f->n; d++) {
        others[d - 1] = f->devices[d].ctx;
    }
    MUST(pith_encoder_open(&f->encoders[0], &f->config, f->checkpoint, &encoder, err));
    return pith_encoder_replicate(&f->encoders[1], f->encoders[0], others, f->n - 1, &f->note, why);
}

static void close_fleet(fleet *f) {
    for (uint32_t d = 0; d < f->n; d++) {
        pith_encoder_close(f->encoders[d]);
    }
    pith_devices_close(f->devices, f->n);
    pith_checkpoint_close(f->checkpoint);
    check_nothing_left();
}

static pith_status forward(pith_encoder *encoder, float *score, pith_err *err) {
    uint32_t ids[TEXT] = {3, 141, 59, 265, 35};
    const uint32_t offsets[2] = {0, TEXT};
    pith_batch batch = {.ids = ids, .cu_seqlens = offsets, .n_seq = 1, .n_tok = TEXT};
    pith_encoder_out out = {.score = score};
    return pith_encoder_forward(encoder, &batch, &out, err);
}

static void check_same_bits(const fleet *f) {
    float first[TEXT];
    float other[TEXT];
    uint64_t before = pith_emulated_read().kernels_on[1];
    MUST(forward(f->encoders[0], first, err));
    assert_int_equal(pith_emulated_read().kernels_on[1], before); /* each on its own device */
    MUST(forward(f->encoders[1], other, err));
    assert_true(pith_emulated_read().kernels_on[1] > before);
    assert_memory_equal(first, other, sizeof first);
    assert_true(isfinite(first[0]));
}

static void devices_get_their_weights_by_nccl_and_give_the_same_bits(void **state) {
    fleet f;
    reset(PITH_FAKE_NCCL, "");
    MUST(open_fleet(&f, &(pith_device_opts){.device = "cuda:0,cuda:1"}, err));
    assert_string_equal(f.note.text, "2 devices: weights broadcast by NCCL");
    assert_int_equal(broadcasts(), 11 + 6 * 4 - 1); /* layer 0 has one norm */
    uint64_t copies = pith_emulated_read().copies_in;
    assert_in_range(copies, broadcasts(), broadcasts() + 3); /* once, and three counters' zeros */
    assert_int_equal(pith_emulated_read().peers, 2);         /* each may write to the other */
    check_same_bits(&f);
    close_fleet(&f);
}

static void without_nccl_weights_go_through_the_host_and_the_note_says_why(void **state) {
    const struct {
        const char *file;
        const char *fault;
        const char *says;
    } cases[] = {
        {"/no/libnccl.so.2", "", "/no/libnccl.so.2 cannot be loaded"},
        {"libm.so.6", "", "libm.so.6 has no ncclGetVersion"},
        {PITH_FAKE_NCCL, "version", "is version 30100, expected 2"},
        {PITH_FAKE_NCCL, "connect", "cannot connect 2 devices: unhandled cuda error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fleet f;
        reset(cases[i].file, cases[i].fault);
        MUST(open_fleet(&f, &(pith_device_opts){.device = "cuda:1,cuda:0"}, err));
        assert_memory_equal(f.note.text, "2 devices: weights through the host: ", 37);
        assert_non_null(strstr(f.note.text, cases[i].says));
        assert_null(strchr(f.note.text, '\n'));
        assert_int_equal(broadcasts(), 0);
        assert_int_equal(f.devices[0].ordinal, 1);
        float score[TEXT];
        float other[TEXT];
        MUST(forward(f.encoders[0], score, err));
        MUST(forward(f.encoders[1], other, err));
        assert_memory_equal(score, other, sizeof score);
        close_fleet(&f);
    }
}

static void a_broadcast_that_fails_ends_the_start(void **state) {
    const char *const faults[] = {"broadcast", "group"};
    for (size_t i = 0; i < 2; i++) {
        fleet f;
        pith_err why = {0};
        reset(PITH_FAKE_NCCL, faults[i]);
        assert_int_equal(open_fleet(&f, &(pith_device_opts){.device = "cuda:all"}, &why),
                         PITH_INTERNAL);
        assert_non_null(strstr(why.text, "NCCL: broadcast of"));
        assert_null(f.encoders[1]);
        close_fleet(&f);
    }
}

/* Fails the n-th allocation of the second device until the copy succeeds. */
static void any_allocation_of_a_copy_may_fail_and_nothing_is_left(void **state) {
    bool good = false;
    for (unsigned n = 0; !good; n += 3) {
        fleet f = {0};
        pith_err why = {0};
        assert_in_range(n, 0, 100);
        reset(PITH_FAKE_NCCL, "");
        pith_emulated_only(1);
        pith_emulated_fail(PITH_EMULATED_MALLOC, n, NO_MEMORY);
        good = open_fleet(&f, &(pith_device_opts){.device = "cuda:0,cuda:1"}, &why) == PITH_OK;
        assert_true(good || strstr(why.text, "cuda:1: ") != NULL);
        close_fleet(&f);
    }
}

static void a_device_lost_while_weights_are_copied_ends_the_start(void **state) {
    fleet f;
    pith_err why = {0};
    reset(PITH_FAKE_NCCL, "");
    pith_emulated_only(1);
    pith_emulated_fail(PITH_EMULATED_RUN, 5, LAUNCH_FAILURE);
    assert_int_equal(open_fleet(&f, &(pith_device_opts){.device = "cuda:0,cuda:1"}, &why),
                     PITH_UNAVAILABLE);
    assert_non_null(strstr(why.text, "cuda:1 is lost"));
    close_fleet(&f);
    pith_emulated_reset(0);
}

/* --- names and likeness --- */

static void refused(const char *list, pith_status status, const char *says) {
    pith_device devices[PITH_DEVICES_MAX] = {0};
    uint32_t n = 99;
    pith_err why = {0};
    assert_int_equal(pith_devices_open(devices, &n, &(pith_device_opts){.device = list}, &why),
                     status);
    assert_int_equal(n, 0);
    if (strstr(why.text, says) == NULL) {
        print_error("%s: %s\n", list, why.text);
    }
    assert_non_null(strstr(why.text, says));
    check_nothing_left();
}

static void lists_of_devices_that_make_no_sense_are_refused(void **state) {
    reset(NULL, "");
    refused("cuda:0,cuda:0", PITH_INVALID, "cuda:0 twice");
    refused("cuda:0,cuda", PITH_INVALID, "cuda:0 twice");
    refused("cuda:0,cpu", PITH_INVALID, "expected cuda:N, cuda:N,cuda:M or cuda:all");
    refused("cuda:0,", PITH_INVALID, "expected cuda:N, cuda:N,cuda:M or cuda:all");
    refused("cuda:0,,cuda:1", PITH_INVALID, "expected cuda:N, cuda:N,cuda:M or cuda:all");
    refused("cuda:0,cuda:all", PITH_INVALID, "expected cuda:N");
    refused("cuda:0,cuda:000000000000000000000000000000000000000001", PITH_INVALID, "is unknown");
    refused("cuda:0,cuda:5", PITH_UNSUPPORTED, "this machine has");
}

static void cuda_all_is_every_device_of_the_machine(void **state) {
    pith_device devices[PITH_DEVICES_MAX] = {0};
    uint32_t n;
    reset(NULL, "");
    MUST(pith_devices_open(devices, &n, &(pith_device_opts){.device = "cuda:all"}, err));
    assert_int_equal(n, 2);
    assert_int_equal(devices[1].ordinal, 1);
    assert_string_equal(devices[1].uuid, "GPU-emulated-1");
    pith_devices_close(devices, n);
    MUST(pith_devices_open(devices, &n, &(pith_device_opts){.device = "cpu"}, err));
    assert_int_equal(n, 1);
    assert_null(devices[0].uuid);
    pith_devices_close(devices, n);
    check_nothing_left();
}

static void devices_that_are_not_alike_are_refused(void **state) {
    reset(NULL, "");
    pith_emulated_only(1);
    pith_emulated_capability(8, 6);
    refused("cuda:0,cuda:1", PITH_UNSUPPORTED,
            "cuda:0 is emulated (sm_80), cuda:1 emulated (sm_86)");
}

/* Fast kernels that are off on one device are not used on any. */
static void one_device_s_mismatch_is_the_whole_process_s(void **state) {
    pith_device devices[PITH_DEVICES_MAX] = {0};
    uint32_t n;
    reset(NULL, "");
    pith_emulated_capability(9, 0);
    pith_emulated_only(1);
    pith_emulated_mute("k_linear_wgmma");
    MUST(pith_devices_open(devices, &n, &(pith_device_opts){.device = "cuda:0,cuda:1"}, err));
    assert_int_equal(n, 2);
    for (uint32_t d = 0; d < n; d++) {
        assert_string_equal(devices[d].isa, "sm80-safe-mismatch");
        assert_true(devices[d].kernels_refused);
    }
    pith_devices_close(devices, n);
    check_nothing_left();
    pith_emulated_reset(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_get_their_weights_by_nccl_and_give_the_same_bits),
        cmocka_unit_test(without_nccl_weights_go_through_the_host_and_the_note_says_why),
        cmocka_unit_test(a_broadcast_that_fails_ends_the_start),
        cmocka_unit_test(any_allocation_of_a_copy_may_fail_and_nothing_is_left),
        cmocka_unit_test(a_device_lost_while_weights_are_copied_ends_the_start),
        cmocka_unit_test(lists_of_devices_that_make_no_sense_are_refused),
        cmocka_unit_test(cuda_all_is_every_device_of_the_machine),
        cmocka_unit_test(devices_that_are_not_alike_are_refused),
        cmocka_unit_test(one_device_s_mismatch_is_the_whole_process_s),
    };
    return cmocka_run_group_tests(tests, prepare, remove_model);
}
