/* with: tests/runtime/engine/fixture.c */
/* The engine on emulated devices: several share the work, a failed step is its calls' alone, a lost
 * device is everybody's. */
#include "runtime/backend/cuda/emulated.h"
#include "tests/runtime/engine/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXTS = 8, WORDS = 30, WINDOW = 64, NO_MEMORY = 2, LAUNCH_FAILURE = 719 };

static int make_small_model(void **state) {
    model_dir = tiny_model_make_for(1, WINDOW); /* one head of 64 */
    return model_dir == NULL ? -1 : 0;
}

static pith_engine *open_on(const char *devices) {
    pith_emulated_reset(0);
    return engine_on(model_dir, (pith_engine_opts){.device = devices, .step_tokens_max = WINDOW});
}

static pith_status ask(pith_engine *engine, const char *text, kept_reply *kept) {
    kept_reply_init(kept);
    return submit(engine, text, kept, (pith_submit_opts){0}, NULL, NULL);
}

/* All at once, so that there is work for every device. */
static void run_texts(pith_engine *engine, kept_reply *kept) {
    for (uint32_t i = 0; i < TEXTS; i++) {
        char *text = words_of(WORDS + i, i);
        assert_int_equal(ask(engine, text, &kept[i]), PITH_OK);
        free(text);
    }
    for (uint32_t i = 0; i < TEXTS; i++) {
        kept_reply_wait(&kept[i]);
    }
}

static void close_all(pith_engine *engine, kept_reply *kept, uint32_t n) {
    pith_engine_close(engine);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(kept[i].count, 1);
        kept_reply_free(&kept[i]);
    }
    pith_emulated_stats left = pith_emulated_read();
    assert_int_equal(left.bytes_in_use, 0);
    assert_int_equal(left.streams_events, 0);
}

static void two_devices_share_the_work_and_give_the_bytes_of_one(void **state) {
    kept_reply one[TEXTS];
    kept_reply two[TEXTS];
    pith_engine *alone = open_on("cuda:1");
    assert_non_null(alone);
    assert_string_equal(pith_engine_note(alone), "");
    run_texts(alone, one);
    pith_engine_close(alone);

    pith_engine *both = open_on("cuda:0,cuda:1");
    assert_non_null(both);
    assert_non_null(strstr(pith_engine_note(both), "2 devices: weights through the host"));
    pith_emulated_stats before = pith_emulated_read();
    run_texts(both, two);
    pith_emulated_stats after = pith_emulated_read();
    uint64_t first = after.kernels_on[0] - before.kernels_on[0];
    uint64_t second = after.kernels_on[1] - before.kernels_on[1];
    assert_true(4 * first >= second && 4 * second >= first); /* neither a fifth of the work */
    for (uint32_t i = 0; i < TEXTS; i++) {
        assert_int_equal(one[i].status, PITH_OK);
        assert_int_equal(two[i].status, PITH_OK);
        assert_string_equal(one[i].fingerprint, two[i].fingerprint);
        assert_string_equal(one[i].text, two[i].text);
        assert_int_equal(one[i].count, 1);
        kept_reply_free(&one[i]);
    }
    close_all(both, two, TEXTS);
}

/* One of two devices breaks while it computes: what is in flight is answered once, unavailable
 * unless it was done before; nothing new is taken, by the other device neither. */
static void a_device_lost_of_two_answers_every_call_once_and_ends_the_engine(void **state) {
    kept_reply kept[TEXTS];
    kept_reply late;
    pith_engine *engine = open_on("cuda:0,cuda:1");
    assert_non_null(engine);
    assert_int_equal(pith_engine_check(engine), PITH_ENGINE_SERVING);
    pith_emulated_only(1);
    pith_emulated_fail(PITH_EMULATED_RUN, 10, LAUNCH_FAILURE);
    run_texts(engine, kept);
    uint32_t unavailable = 0;
    for (uint32_t i = 0; i < TEXTS; i++) {
        assert_true(kept[i].status == PITH_OK || kept[i].status == PITH_UNAVAILABLE);
        unavailable += kept[i].status == PITH_UNAVAILABLE;
    }
    assert_true(unavailable > 0);
    assert_int_equal(pith_engine_check(engine), PITH_ENGINE_FAULTED);
    assert_int_equal(ask(engine, "some words that nobody will read", &late), PITH_UNAVAILABLE);
    assert_int_equal(late.count, 0);
    kept_reply_free(&late);
    close_all(engine, kept, TEXTS);
    pith_emulated_reset(0);
}

static void out_of_memory_in_a_step_is_its_calls_alone_and_the_engine_goes_on(void **state) {
    kept_reply kept[3];
    pith_engine *engine = open_on("cuda:0");
    assert_non_null(engine);
    for (uint32_t i = 0; i < 3; i++) {
        char *text = words_of(WORDS, 3);
        if (i == 1) {
            pith_emulated_fail(PITH_EMULATED_LAUNCH, 0, NO_MEMORY);
        }
        assert_int_equal(ask(engine, text, &kept[i]), PITH_OK);
        kept_reply_wait(&kept[i]);
        assert_int_equal(kept[i].status, i == 1 ? PITH_NO_MEMORY : PITH_OK);
        assert_int_equal(pith_engine_check(engine), PITH_ENGINE_SERVING);
        free(text);
    }
    assert_non_null(strstr(kept[1].error, "cuda:0"));
    assert_string_equal(kept[0].text, kept[2].text);
    pith_engine_stats stats;
    pith_engine_read_stats(engine, &stats);
    assert_int_equal(stats.steps_failed, 1);
    close_all(engine, kept, 3);
}

/* Scores that nobody wrote are NaN on this device. */
static void scores_of_nan_pass_texts_through_and_are_counted(void **state) {
    kept_reply kept[2];
    char *text = words_of(WORDS, 3);
    pith_emulated_reset(0);
    pith_emulated_mute("k_heads");
    pith_engine *engine =
        engine_on(model_dir, (pith_engine_opts){.device = "cuda:0", .step_tokens_max = WINDOW});
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(ask(engine, text, &kept[i]), PITH_OK);
        kept_reply_wait(&kept[i]);
        assert_int_equal(kept[i].status, PITH_OK);
        assert_string_equal(kept[i].text, text);
    }
    pith_engine_stats stats;
    pith_engine_read_stats(engine, &stats);
    assert_int_equal(stats.nonfinite, 2);
    assert_int_equal(pith_engine_check(engine), PITH_ENGINE_SERVING);
    close_all(engine, kept, 2);
    free(text);
}

/* The last number of the checkpoint becomes a NaN, of whatever type it is; the last test. */
static void nan_in_the_weights_ends_the_start_and_says_where(void **state) {
    char path[512];
    const uint32_t nan_bits = 0x7fc07fc0;
    (void)snprintf(path, sizeof path, "%s/model.safetensors", model_dir);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -(long)sizeof nan_bits, SEEK_END), 0);
    assert_int_equal(fwrite(&nan_bits, sizeof nan_bits, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    pith_model_spec spec = {.dir = model_dir};
    pith_engine_opts opts = {.models = &spec, .n_models = 1, .device = "cuda:0"};
    pith_engine *engine;
    pith_err why = {0};
    pith_emulated_reset(0);
    assert_int_equal(pith_engine_open(&engine, &opts, &why), PITH_CORRUPT);
    assert_non_null(strstr(why.text, "found NaN at element 127, expected finite numbers"));
    assert_int_equal(pith_emulated_read().bytes_in_use, 0);
}

/* On either device: needed and free bytes in one line, and nothing left. */
static void out_of_memory_at_start_is_one_line_with_needed_and_free_bytes(void **state) {
    const char *const lists[] = {"cuda:0", "cuda:0,cuda:1"};
    for (uint32_t i = 0; i < 2; i++) {
        pith_model_spec spec = {.dir = model_dir};
        pith_engine_opts opts = {.models = &spec, .n_models = 1, .device = lists[i]};
        pith_engine *engine;
        pith_err why = {0};
        pith_emulated_reset(0);
        pith_emulated_only((int)i);
        pith_emulated_fail(PITH_EMULATED_MALLOC, 7, NO_MEMORY);
        assert_int_equal(pith_engine_open(&engine, &opts, &why), PITH_NO_MEMORY);
        assert_non_null(strstr(why.text, i == 0 ? "cuda:0: " : "cuda:1: "));
        assert_non_null(strstr(why.text, " bytes needed, "));
        assert_non_null(strstr(why.text, " free"));
        assert_null(strchr(why.text, '\n'));
        assert_int_equal(pith_emulated_read().bytes_in_use, 0);
    }
    pith_emulated_reset(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_devices_share_the_work_and_give_the_bytes_of_one),
        cmocka_unit_test(a_device_lost_of_two_answers_every_call_once_and_ends_the_engine),
        cmocka_unit_test(out_of_memory_in_a_step_is_its_calls_alone_and_the_engine_goes_on),
        cmocka_unit_test(out_of_memory_at_start_is_one_line_with_needed_and_free_bytes),
        cmocka_unit_test(scores_of_nan_pass_texts_through_and_are_counted),
        cmocka_unit_test(nan_in_the_weights_ends_the_start_and_says_where),
    };
    return cmocka_run_group_tests(tests, make_small_model, remove_model);
}
