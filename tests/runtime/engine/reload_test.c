/* with: tests/runtime/engine/fixture.c */
/* Patterns and thresholds exchanged while serving: all or nothing, and told apart by fingerprint.
 */
#include "tests/runtime/engine/fixture.h"

#include "runtime/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void compress_as(pith_engine *engine, pith_compress_request request, kept_reply *kept) {
    pith_submit_opts opts = {
        .deadline_ns = PITH_DEADLINE_NONE, .reply = kept_reply_take, .user = kept};
    kept_reply_init(kept);
    assert_int_equal(pith_engine_submit(engine, &request, &opts, NULL, NULL, NULL), PITH_OK);
    kept_reply_wait(kept);
    assert_int_equal(kept->status, PITH_OK);
}

/* By the model's own threshold. */
static void compress(pith_engine *engine, const char *text, kept_reply *kept) {
    compress_as(engine,
                (pith_compress_request){
                    .text = text, .text_len = strlen(text), .domain = PITH_DOMAIN_PROSE},
                kept);
}

/* What the patterns hold, and nothing else. */
static void compress_to_floor(pith_engine *engine, const char *text, kept_reply *kept) {
    compress_as(engine,
                (pith_compress_request){.text = text,
                                        .text_len = strlen(text),
                                        .budget = PITH_BUDGET_THRESHOLD,
                                        .budget_value = 1.0,
                                        .domain = PITH_DOMAIN_PROSE},
                kept);
}

static void new_patterns_hold_for_later_jobs_and_change_the_fingerprint(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    const char *text = "the the the the the the build build of of of of status and and and and";
    kept_reply before;
    kept_reply after;
    kept_reply back;
    compress_to_floor(engine, text, &before);
    const pith_model_info *old;
    assert_int_equal(pith_engine_models(engine, &old), 1);
    const char *patterns = "{\"classes\": {\"every_the\": {\"pattern\": \"the|of|and\"}}}";
    assert_int_equal(pith_engine_reload(engine, patterns, NULL), PITH_OK);
    compress_to_floor(engine, text, &after);
    assert_string_not_equal(after.fingerprint, before.fingerprint);
    assert_string_equal(old->fingerprint, before.fingerprint); /* still valid */
    assert_true(after.text_len > before.text_len);
    assert_int_equal(pith_engine_reload(engine, NULL, NULL), PITH_OK);
    compress_to_floor(engine, text, &back);
    assert_string_equal(back.fingerprint, before.fingerprint);
    assert_string_equal(back.text, before.text);
    pith_engine_close(engine);
    kept_reply_free(&before);
    kept_reply_free(&after);
    kept_reply_free(&back);
}

static void patterns_that_do_not_compile_change_nothing(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    const char *text = "the build failed with status in module parser after";
    kept_reply before;
    kept_reply after;
    compress(engine, text, &before);
    pith_err err = {0};
    assert_int_equal(pith_engine_reload(engine, "{\"classes\": []}", &err), PITH_INVALID);
    assert_non_null(strstr(err.text, "classes"));
    compress(engine, text, &after);
    assert_string_equal(after.fingerprint, before.fingerprint);
    assert_string_equal(after.text, before.text);
    pith_engine_close(engine);
    kept_reply_free(&before);
    kept_reply_free(&after);
}

static void write_config(const char *path, const char *text, size_t len) {
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

static void new_thresholds_are_read_from_the_models_config(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/config.json", model_dir);
    pith_file config;
    assert_int_equal(pith_file_read(&config, path, 1 << 20, NULL), PITH_OK);
    char changed[8192];
    const char *at = strstr(config.data, "\"default\": 0.5");
    assert_non_null(at);
    int len = snprintf(changed, sizeof changed, "%.*s\"default\": 0.0%s",
                       (int)(at - (const char *)config.data), (const char *)config.data,
                       at + strlen("\"default\": 0.5"));
    char *text = words_of(100, 5);
    kept_reply before;
    kept_reply after;
    compress(engine, text, &before);
    write_config(path, changed, (size_t)len);
    assert_int_equal(pith_engine_reload(engine, NULL, NULL), PITH_OK);
    compress(engine, text, &after);
    assert_string_equal(after.text, text); /* every score is above 0 */
    assert_true(before.text_len < after.text_len);
    assert_string_not_equal(after.fingerprint, before.fingerprint);
    write_config(path, "{", 1);
    pith_err err = {0};
    assert_int_not_equal(pith_engine_reload(engine, NULL, &err), PITH_OK);
    assert_non_null(strstr(err.text, "config.json"));
    write_config(path, config.data, config.len);
    pith_engine_close(engine);
    pith_file_close(&config);
    kept_reply_free(&before);
    kept_reply_free(&after);
    free(text);
}

static void settings_that_are_had_again_are_the_same_ones(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    const pith_model_info *first;
    const pith_model_info *other;
    const pith_model_info *again;
    (void)pith_engine_models(engine, &first);
    for (int i = 0; i < 300; i++) { /* more than a process has different ones */
        assert_int_equal(pith_engine_reload(engine, "{\"only\": []}", NULL), PITH_OK);
        (void)pith_engine_models(engine, &other);
        assert_int_equal(pith_engine_reload(engine, NULL, NULL), PITH_OK);
        (void)pith_engine_models(engine, &again);
        assert_ptr_equal(again, first);
        assert_ptr_not_equal(other, first);
    }
    pith_engine_close(engine);
}

static void different_settings_are_bounded(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    pith_status status = PITH_OK;
    int n = 0;
    for (; status == PITH_OK; n++) {
        char patterns[96];
        (void)snprintf(patterns, sizeof patterns,
                       "{\"only\": [\"c\"], \"classes\": {\"c\": {\"pattern\": \"x%d\"}}}", n);
        status = pith_engine_reload(engine, patterns, NULL);
    }
    assert_int_equal(status, PITH_EXHAUSTED);
    assert_int_equal(n, 256);
    assert_int_equal(pith_engine_reload(engine, NULL, NULL), PITH_OK); /* had before */
    pith_engine_close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_patterns_hold_for_later_jobs_and_change_the_fingerprint),
        cmocka_unit_test(patterns_that_do_not_compile_change_nothing),
        cmocka_unit_test(new_thresholds_are_read_from_the_models_config),
        cmocka_unit_test(settings_that_are_had_again_are_the_same_ones),
        cmocka_unit_test(different_settings_are_bounded),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
