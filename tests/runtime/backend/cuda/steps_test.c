/* Steps of the CUDA backend on its emulated instance: two in flight, what fails and what is left
 * after a failure, saturation. A model of four layers and one head, texts of a few tokens. */
#include "runtime/backend/cuda/kernels.h"
#include "runtime/engine/model_runner.h"
#include "tests/runtime/backend/cuda/cuda_cases.h"

static void open_cuda(opened *o) {
    pith_emulated_reset(0);
    open_model(
        o, dir.path,
        &(open_how){.device = "cuda:0", .dtype = "f16", .n_threads = 1, .tokens_max = TOKENS_MAX});
}

/* One text of TEXT tokens. */
typedef struct text {
    uint32_t ids[TEXT];
    uint32_t offsets[2];
    float score[TEXT];
} text;

static text text_of(uint32_t seed) {
    text t = {.offsets = {0, TEXT}};
    for (uint32_t i = 0; i < TEXT; i++) {
        t.ids[i] = (seed * 37 + i * 11) % 500;
        t.score[i] = -1.0f;
    }
    return t;
}

static pith_status begin(pith_encoder *encoder, text *t, uint64_t *ticket, pith_err *err) {
    pith_batch batch = {.ids = t->ids, .cu_seqlens = t->offsets, .n_seq = 1, .n_tok = TEXT};
    pith_encoder_out out = {.score = t->score};
    return pith_encoder_begin(encoder, &batch, &out, ticket, err);
}

static pith_status forward(pith_encoder *encoder, text *t, pith_err *err) {
    uint64_t ticket;
    pith_status status = begin(encoder, t, &ticket, err);
    return status == PITH_OK ? pith_encoder_wait(encoder, ticket, err) : status;
}

/* --- the list of tiles --- */

/* Every tile of every text once, longest texts first, so that CTAs that take them in turn end
 * together. */
static void attention_tiles_are_listed_longest_text_first(void **state) {
    (void)state;
    static const uint32_t lengths[] = {1, 300, 128, 129, 0, 2, 384};
    enum { TEXTS = sizeof lengths / sizeof lengths[0] };
    static const uint32_t order[] = {1, 6, 3, 0, 2, 5}; /* texts, by number of tiles */
    static uint32_t ids[944];
    uint32_t offsets[TEXTS + 1] = {0};
    for (uint32_t i = 0; i < TEXTS; i++) {
        offsets[i + 1] = offsets[i] + lengths[i];
    }
    assert_int_equal(offsets[TEXTS], sizeof ids / sizeof ids[0]);
    pith_device device;
    pith_emulated_reset(0);
    MUST(pith_device_open(&device, &(pith_device_opts){.device = "cuda:0"}, err));
    pith_ops_ctx *ctx = device.ctx;
    const pith_ops_reserve bounds = {
        .tokens_max = 1000, .hidden = 64, .intermediate = 64, .n_heads = 1, .span_channels = 16};
    MUST(device.ops->reserve(ctx, &bounds, err));
    assert_true(device.ops->begin(
        ctx, &(pith_ops_batch){
                 .ids = ids, .cu_seqlens = offsets, .n_seq = TEXTS, .n_tok = offsets[TEXTS]}));
    const uint8_t *block = ctx->slots[ctx->slot].host_in;
    const uint32_t *totals = (const uint32_t *)(const void *)(block + ctx->layout.totals);
    const pk_attn_cuda_tile *tile =
        (const pk_attn_cuda_tile *)(const void *)(block + ctx->layout.tiles);
    assert_int_equal(totals[1], 3 + 3 + 2 + 1 + 1 + 1);
    for (uint32_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        uint32_t s = order[i];
        for (uint32_t first = 0; first < lengths[s]; first += PK_ATTN_CUDA_QUERIES, tile++) {
            assert_int_equal(tile->begin, offsets[s]);
            assert_int_equal(tile->len, lengths[s]);
            assert_int_equal(tile->first, first);
        }
    }
    MUST(device.ops->wait(ctx, device.ops->mark(ctx), err));
    pith_device_close(&device);
    check_devices_empty();
}

/* --- two in flight --- */

static void two_steps_in_flight_have_the_bits_of_one_by_one(void **state) {
    opened o;
    text one[4];
    text two[4];
    uint64_t tickets[4];
    open_cuda(&o);
    assert_int_equal(pith_encoder_steps_in_flight(o.encoder), 2);
    for (uint32_t i = 0; i < 4; i++) {
        one[i] = text_of(i);
        MUST(forward(o.encoder, &one[i], err));
        two[i] = text_of(i);
    }
    for (uint32_t i = 0; i < 5; i++) {
        if (i < 4) {
            MUST(begin(o.encoder, &two[i], &tickets[i], err));
            memset(two[i].ids, 0xff, sizeof two[i].ids); /* the batch was copied */
        }
        if (i > 0) {
            assert_float_equal(two[i - 1].score[0], -1.0f, 0.0); /* not before it is waited for */
            MUST(pith_encoder_wait(o.encoder, tickets[i - 1], err));
        }
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_memory_equal(one[i].score, two[i].score, sizeof one[i].score);
    }
    assert_memory_not_equal(one[0].score, one[1].score, sizeof one[0].score);
    close_model(&o);
    check_devices_empty();
}

/* One thread hands steps over, another waits for them. */
static void the_model_runner_takes_a_step_while_another_is_under_way(void **state) {
    enum { STEPS = 6 };
    opened o;
    pith_runner runner;
    text one[STEPS];
    text two[STEPS];
    pith_step steps[STEPS];
    open_cuda(&o);
    for (uint32_t i = 0; i < STEPS; i++) {
        one[i] = text_of(i);
        MUST(forward(o.encoder, &one[i], err));
        two[i] = text_of(i);
        steps[i] = (pith_step){.n_seq = 1,
                               .n_tok = TEXT,
                               .ids = two[i].ids,
                               .cu_seqlens = two[i].offsets,
                               .score = two[i].score};
    }
    pith_model model = {.encoders = {o.encoder}, .n_devices = 1};
    pith_model *models[] = {&model};
    MUST(pith_model_runner_open(&runner, models, 1, 1, &pith_clock_system, err));
    uint32_t polled = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        assert_int_equal(runner.submit(runner.self, &steps[i]), PITH_OK);
        if (i + 1 >= PITH_STEPS_IN_FLIGHT) {
            assert_ptr_equal(runner.poll(runner.self, INT64_MAX), &steps[polled]);
            assert_int_equal(steps[polled++].status, PITH_OK);
        }
    }
    while (polled < STEPS) {
        assert_ptr_equal(runner.poll(runner.self, INT64_MAX), &steps[polled]);
        assert_int_equal(steps[polled++].status, PITH_OK);
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        assert_memory_equal(one[i].score, two[i].score, sizeof one[i].score);
        assert_true(i == 0 || steps[i].begin_ns >= steps[i - 1].end_ns);
    }
    runner.close(runner.self);
    close_model(&o);
    check_devices_empty();
}

/* --- failures --- */

static void no_device_memory_at_start_is_one_line_with_needed_and_free_bytes(void **state) {
    pith_device device;
    pith_model_config config;
    pith_checkpoint *checkpoint;
    pith_encoder *encoder;
    pith_err why = {0};
    pith_emulated_reset(100000);
    MUST(pith_model_config_read(&config, dir.path, err));
    MUST(pith_checkpoint_open(&checkpoint, dir.path, &config, err));
    MUST(pith_device_open(&device, &(pith_device_opts){.device = "cuda:0"}, err));
    pith_encoder_opts opts = {.ops = device.ops, .ctx = device.ctx, .tokens_max = TOKENS_MAX};
    assert_int_equal(pith_encoder_open(&encoder, &config, checkpoint, &opts, &why), PITH_NO_MEMORY);
    assert_non_null(strstr(why.text, "bytes needed"));
    assert_non_null(strstr(why.text, "of 100000 free"));
    assert_null(strchr(why.text, '\n'));
    pith_device_close(&device);
    pith_checkpoint_close(checkpoint);
    check_devices_empty();
}

/* Fails the n-th call until the model opens. */
static void any_allocation_may_fail_and_nothing_is_left(void **state) {
    const pith_emulated_call calls[] = {PITH_EMULATED_MALLOC, PITH_EMULATED_HOST_ALLOC,
                                        PITH_EMULATED_COPY};
    pith_model_config config;
    pith_checkpoint *checkpoint;
    MUST(pith_model_config_read(&config, dir.path, err));
    MUST(pith_checkpoint_open(&checkpoint, dir.path, &config, err));
    for (size_t c = 0; c < 3; c++) {
        bool good = false;
        for (unsigned n = 0; !good; n++) {
            pith_device device;
            pith_encoder *encoder;
            pith_err why = {0};
            assert_in_range(n, 0, 200);
            pith_emulated_reset(0);
            MUST(pith_device_open(&device, &(pith_device_opts){.device = "cuda:0"}, err));
            pith_emulated_fail(calls[c], n, NO_MEMORY);
            pith_encoder_opts opts = {
                .ops = device.ops, .ctx = device.ctx, .tokens_max = TOKENS_MAX};
            good = pith_encoder_open(&encoder, &config, checkpoint, &opts, &why) == PITH_OK;
            assert_true(good || why.text[0] != '\0');
            pith_encoder_close(encoder);
            pith_device_close(&device);
            check_devices_empty();
        }
    }
    pith_checkpoint_close(checkpoint);
}

/* A step that fails is answered; the next one has its bits. */
static void check_one_step_fails(pith_emulated_call call, int code, pith_status expected) {
    opened o;
    text good = text_of(1);
    open_cuda(&o);
    MUST(forward(o.encoder, &good, err));
    for (unsigned n = 0; n < 3; n++) {
        text bad = text_of(1);
        text after = text_of(1);
        pith_err why = {0};
        pith_emulated_fail(call, n, code);
        pith_status status = forward(o.encoder, &bad, &why);
        if (n == 0) { /* a replayed step makes few calls */
            assert_int_equal(status, expected);
            assert_non_null(strstr(why.text, "cuda:0"));
            assert_float_equal(bad.score[0], -1.0f, 0.0); /* nothing was delivered */
        }
        pith_emulated_reset(0);
        MUST(forward(o.encoder, &after, err));
        assert_memory_equal(after.score, good.score, sizeof good.score);
    }
    close_model(&o);
    check_devices_empty();
}

static void out_of_memory_in_a_step_says_so_and_the_next_step_is_good(void **state) {
    check_one_step_fails(PITH_EMULATED_LAUNCH, NO_MEMORY, PITH_NO_MEMORY);
}

static void a_refused_launch_fails_its_step_alone(void **state) {
    check_one_step_fails(PITH_EMULATED_LAUNCH, LAUNCH_RESOURCES, PITH_INTERNAL);
}

static void a_failed_copy_fails_its_step_alone(void **state) {
    check_one_step_fails(PITH_EMULATED_COPY, LAUNCH_RESOURCES, PITH_INTERNAL);
}

static void a_failed_recording_costs_its_step_and_later_ones_run_unrecorded(void **state) {
    opened o;
    text bad = text_of(1);
    text first = text_of(1);
    text second = text_of(1);
    pith_err why = {0};
    open_cuda(&o);
    pith_emulated_fail(PITH_EMULATED_CAPTURE, 0, NO_MEMORY);
    assert_int_equal(forward(o.encoder, &bad, &why), PITH_NO_MEMORY);
    MUST(forward(o.encoder, &first, err));
    MUST(forward(o.encoder, &second, err));
    assert_memory_equal(first.score, second.score, sizeof first.score);
    assert_int_equal(pith_emulated_read().graphs, 0);
    assert_true(isfinite(first.score[0]));
    close_model(&o);
    check_devices_empty();
}

static void the_failure_of_one_step_in_flight_is_not_the_other_s(void **state) {
    opened o;
    text good = text_of(1);
    text a = text_of(1);
    text b = text_of(2);
    uint64_t ticket_a;
    uint64_t ticket_b;
    pith_err why = {0};
    open_cuda(&o);
    MUST(forward(o.encoder, &good, err));
    MUST(begin(o.encoder, &a, &ticket_a, err));
    pith_emulated_fail(PITH_EMULATED_LAUNCH, 0, LAUNCH_RESOURCES);
    MUST(begin(o.encoder, &b, &ticket_b, err));
    MUST(pith_encoder_wait(o.encoder, ticket_a, err));
    assert_memory_equal(a.score, good.score, sizeof good.score);
    assert_int_equal(pith_encoder_wait(o.encoder, ticket_b, &why), PITH_INTERNAL);
    close_model(&o);
    check_devices_empty();
}

/* A kernel that breaks while it runs takes the device with it: all that is in flight and all that
 * comes is unavailable. */
static void a_lost_device_is_unavailable_from_then_on(void **state) {
    opened o;
    text a = text_of(1);
    text b = text_of(2);
    uint64_t ticket_a;
    uint64_t ticket_b;
    void *mem;
    pith_err why = {0};
    open_cuda(&o);
    pith_emulated_fail(PITH_EMULATED_RUN, 7, LAUNCH_FAILURE);
    MUST(begin(o.encoder, &a, &ticket_a, err));
    MUST(begin(o.encoder, &b, &ticket_b, err));
    assert_int_equal(pith_encoder_wait(o.encoder, ticket_a, &why), PITH_UNAVAILABLE);
    assert_non_null(strstr(why.text, "cuda:0 is lost"));
    assert_int_equal(pith_encoder_wait(o.encoder, ticket_b, &why), PITH_UNAVAILABLE);
    assert_int_equal(forward(o.encoder, &a, &why), PITH_UNAVAILABLE);
    assert_float_equal(a.score[0], -1.0f, 0.0);
    assert_int_equal(o.device.ops->alloc(o.device.ctx, 64, &mem, &why), PITH_UNAVAILABLE);
    assert_int_equal(o.device.ops->sync(o.device.ctx, &why), PITH_UNAVAILABLE);
    close_model(&o);
    check_devices_empty();
}

/* --- values and names --- */

static void weights_that_f16_does_not_hold_are_saturated_and_counted(void **state) {
    pith_device device;
    static float weight[16 * 16];
    pith_packed *packed;
    pith_emulated_reset(0);
    weight[3] = 1e6f;
    weight[40] = -70000.0f;
    pith_matrix matrix = {weight, PITH_ELEM_F32, 16, 16};
    pith_pack_opts opts = {.kind = PITH_PACK_LINEAR};
    MUST(pith_device_open(&device, &(pith_device_opts){.device = "cuda:0"}, err));
    assert_string_equal(device.dtype, "f16");
    MUST(device.ops->pack_weight(device.ctx, &matrix, &opts, &packed, err));
    assert_int_equal(device.ops->saturated(device.ctx), 2);
    device.ops->packed_free(device.ctx, packed);
    pith_device_close(&device);
    check_devices_empty();
}

/* The device counts on and on; what the host says of it only grows, also where the device's counter
 * begins anew for larger steps. */
static void activations_that_f16_does_not_hold_are_counted_step_by_step(void **state) {
    random_directory large;
    opened o;
    text t = text_of(1);
    pith_model_config config = one_head();
    pith_random_model_opts opts = pith_random_model_defaults();
    opts.std_norm = 2e5; /* normed values of about one times that */
    random_directory_open(&large, &config, &opts);
    pith_emulated_reset(0);
    open_model(&o, large.path,
               &(open_how){.device = "cuda:0", .dtype = "f16", .n_threads = 1, .tokens_max = 32});
    uint64_t weights = o.device.ops->saturated(o.device.ctx);
    MUST(forward(o.encoder, &t, err));
    uint64_t first = o.device.ops->saturated(o.device.ctx) - weights;
    assert_true(first > 0);
    MUST(forward(o.encoder, &t, err));
    assert_int_equal(o.device.ops->saturated(o.device.ctx) - weights, 2 * first);
    pith_ops_reserve wider = {
        .tokens_max = 64, .hidden = 64, .intermediate = 96, .n_heads = 1, .span_channels = 16};
    MUST(o.device.ops->reserve(o.device.ctx, &wider, err));
    assert_int_equal(o.device.ops->saturated(o.device.ctx) - weights, 2 * first);
    MUST(forward(o.encoder, &t, err));
    assert_int_equal(o.device.ops->saturated(o.device.ctx) - weights, 3 * first);
    close_model(&o);
    random_directory_close(&large);
    check_devices_empty();
}

/* On 9.0 the wgmma kernels serve after one tile of each agreed with the safe ones; a kernel that
 * does nothing does not agree. */
static void kernels_that_are_off_leave_the_safe_ones_under_another_name(void **state) {
    const struct {
        const char *muted;
        const char *wanted;
        const char *isa;
    } cases[] = {
        {NULL, "auto", "sm90a"},
        {NULL, "safe", "sm80-safe"},
        {"k_linear_wgmma", "auto", "sm80-safe-mismatch"},
        {"k_attn_wgmma", NULL, "sm80-safe-mismatch"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith_device device;
        pith_emulated_reset(0);
        pith_emulated_capability(9, 0);
        pith_emulated_mute(cases[i].muted);
        MUST(pith_device_open(
            &device, &(pith_device_opts){.device = "cuda:0", .gpu_kernels = cases[i].wanted}, err));
        assert_string_equal(device.isa, cases[i].isa);
        pith_device_close(&device);
        check_devices_empty();
    }
    pith_emulated_reset(0);
}

/* Pairs of CTAs share weight tiles in large steps and in small ones of wide products, and only
 * where as many are resident at once as the multiprocessors make: the rest would wait. */
static void pairs_are_chosen_only_where_none_has_to_wait(void **state) {
    const struct {
        uint32_t pairs, rows, n, ctas;
        bool fast, multicast;
    } cases[] = {
        {66, 8448, 2304, 132, true, true}, {66, 8448, 1280, 132, true, true},
        {66, 8448, 768, 132, true, true},  {65, 8448, 2304, 132, true, false},
        {0, 8448, 2304, 132, true, false}, {66, 2048, 2304, 132, true, false},
        {66, 512, 2304, 132, true, true},  {65, 512, 2304, 132, true, false},
        {66, 512, 768, 132, true, false},  {66, 8448, 2304, 264, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static pith_ops_ctx ctx;
        ctx.fast = cases[i].fast;
        ctx.pairs = cases[i].pairs;
        ctx.info.n_sm = 132;
        pk_linear_cuda_task task = {.rows_max = cases[i].rows, .n = cases[i].n, .k = 768};
        cuda_choose_tile(&ctx, PITH_PACK_LINEAR, &task);
        assert_int_equal(task.multicast, cases[i].multicast);
        assert_int_equal(task.ctas, cases[i].ctas);
    }
    pith_device device;
    pith_emulated_reset(0);
    MUST(pith_device_open(&device, &(pith_device_opts){.device = "cuda:0"}, err));
    assert_int_equal(device.ctx->pairs, 0); /* sm_80 has no clusters: not asked */
    pith_device_close(&device);
    pith_emulated_capability(9, 0);
    MUST(pith_device_open(&device, &(pith_device_opts){.device = "cuda:0"}, err));
    assert_int_equal(device.ctx->pairs, 1); /* as the emulated device says */
    assert_string_equal(device.isa, "sm90a");
    pith_device_close(&device);
    pith_emulated_reset(0);
}

/* The same weights and text: scores of the two families of kernels are near, not equal. */
static void fast_kernels_score_as_the_safe_ones_do(void **state) {
    opened o;
    text safe = text_of(1);
    text fast = text_of(1);
    open_cuda(&o);
    MUST(forward(o.encoder, &safe, err));
    close_model(&o);
    pith_emulated_reset(0);
    pith_emulated_capability(9, 0);
    open_model(
        &o, dir.path,
        &(open_how){.device = "cuda:0", .dtype = "f16", .n_threads = 1, .tokens_max = TOKENS_MAX});
    assert_string_equal(o.device.isa, "sm90a");
    MUST(forward(o.encoder, &fast, err));
    for (size_t i = 0; i < TEXT; i++) {
        check_near(fast.score[i], safe.score[i], 1e-3, "score", i);
    }
    close_model(&o);
    check_devices_empty();
    pith_emulated_reset(0);
}

static void refused(const pith_device_opts *opts, pith_status status, const char *says) {
    pith_device device;
    pith_err why = {0};
    assert_int_equal(pith_device_open(&device, opts, &why), status);
    assert_non_null(strstr(why.text, says));
    assert_null(device.ops);
}

static void names_and_types_that_a_gpu_does_not_know_are_refused(void **state) {
    pith_emulated_reset(0);
    refused(&(pith_device_opts){.device = "cuda:"}, PITH_INVALID, "expected cuda:N");
    refused(&(pith_device_opts){.device = "cuda:1x"}, PITH_INVALID, "expected cuda:N");
    refused(&(pith_device_opts){.device = "cuda:12345"}, PITH_INVALID, "expected cuda:N");
    refused(&(pith_device_opts){.device = "cuda:9"}, PITH_UNSUPPORTED, "this machine has");
    refused(&(pith_device_opts){.device = "cuda:0", .dtype = "f32"}, PITH_UNSUPPORTED,
            "f16 or bf16");
    refused(&(pith_device_opts){.device = "cuda:0", .gpu_kernels = "quick"}, PITH_INVALID,
            "expected auto, safe or cublas");
    check_devices_empty();
}

static void shapes_that_a_gpu_does_not_multiply_are_refused(void **state) {
    pith_device device;
    pith_err why = {0};
    pith_emulated_reset(0);
    MUST(pith_device_open(&device, &(pith_device_opts){.device = "cuda"}, err));
    pith_ops_reserve bounds = {
        .tokens_max = 64, .hidden = 96, .intermediate = 96, .n_heads = 2, .span_channels = 16};
    assert_int_equal(device.ops->reserve(device.ctx, &bounds, &why), PITH_UNSUPPORTED);
    assert_non_null(strstr(why.text, "head dim 64"));
    float weight[16 * 15] = {0};
    pith_matrix matrix = {weight, PITH_ELEM_F32, 16, 15};
    pith_pack_opts opts = {.kind = PITH_PACK_LINEAR};
    pith_packed *packed;
    assert_int_equal(device.ops->pack_weight(device.ctx, &matrix, &opts, &packed, &why),
                     PITH_UNSUPPORTED);
    assert_non_null(strstr(why.text, "multiples of 16"));
    pith_device_close(&device);
    check_devices_empty();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_tiles_are_listed_longest_text_first),
        cmocka_unit_test(two_steps_in_flight_have_the_bits_of_one_by_one),
        cmocka_unit_test(the_model_runner_takes_a_step_while_another_is_under_way),
        cmocka_unit_test(no_device_memory_at_start_is_one_line_with_needed_and_free_bytes),
        cmocka_unit_test(any_allocation_may_fail_and_nothing_is_left),
        cmocka_unit_test(out_of_memory_in_a_step_says_so_and_the_next_step_is_good),
        cmocka_unit_test(a_refused_launch_fails_its_step_alone),
        cmocka_unit_test(a_failed_copy_fails_its_step_alone),
        cmocka_unit_test(a_failed_recording_costs_its_step_and_later_ones_run_unrecorded),
        cmocka_unit_test(the_failure_of_one_step_in_flight_is_not_the_other_s),
        cmocka_unit_test(a_lost_device_is_unavailable_from_then_on),
        cmocka_unit_test(weights_that_f16_does_not_hold_are_saturated_and_counted),
        cmocka_unit_test(activations_that_f16_does_not_hold_are_counted_step_by_step),
        cmocka_unit_test(kernels_that_are_off_leave_the_safe_ones_under_another_name),
        cmocka_unit_test(pairs_are_chosen_only_where_none_has_to_wait),
        cmocka_unit_test(fast_kernels_score_as_the_safe_ones_do),
        cmocka_unit_test(names_and_types_that_a_gpu_does_not_know_are_refused),
        cmocka_unit_test(shapes_that_a_gpu_does_not_multiply_are_refused),
    };
    return cmocka_run_group_tests(tests, write_model, remove_model);
}
