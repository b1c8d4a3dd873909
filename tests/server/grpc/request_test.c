#include "server/grpc/request.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_BYTES_MAX = 100 };

typedef struct outcome {
    pith_status status;
    pith_fault fault;
    pith_compress_request request;
    pith_submit_opts submit;
    pith_arena arena;
} outcome;

static ProtobufCBinaryData text_of(const char *text) {
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)(uintptr_t)text};
}

static Pith__V1__CompressRequest a_request(const char *text) {
    Pith__V1__CompressRequest request = PITH__V1__COMPRESS_REQUEST__INIT;
    request.text = text_of(text);
    return request;
}

static outcome read_it(const Pith__V1__CompressRequest *message) {
    outcome o = {0};
    pith_arena_init(&o.arena, 1 << 20);
    o.status =
        pith_request_read(message, "", TEXT_BYTES_MAX, &o.arena, &o.request, &o.submit, &o.fault);
    return o;
}

static void assert_refused(const Pith__V1__CompressRequest *message, const char *field) {
    outcome o = read_it(message);
    assert_int_equal(o.status, PITH_INVALID);
    assert_string_equal(o.fault.field, field);
    assert_true(strlen(o.fault.err.text) > 0);
    pith_arena_reset(&o.arena);
}

static void a_bare_text_gets_the_defaults(void **state) {
    Pith__V1__CompressRequest message = a_request("hello");
    outcome o = read_it(&message);
    assert_int_equal(o.status, PITH_OK);
    assert_int_equal(o.request.text_len, 5);
    assert_int_equal(o.request.budget, PITH_BUDGET_DEFAULT);
    assert_int_equal(o.request.domain, PITH_DOMAIN_AUTO);
    assert_int_equal(o.request.profile, PITH_PROFILE_FAITHFUL);
    assert_false(o.request.fold_repeats);
    assert_int_equal(o.submit.priority, PITH_PRIORITY_NORMAL);
    assert_string_equal(o.submit.model, "");
    pith_arena_reset(&o.arena);
}

static void every_value_arrives(void **state) {
    Pith__V1__ByteRange range = PITH__V1__BYTE_RANGE__INIT;
    Pith__V1__ByteRange *ranges[] = {&range};
    Pith__V1__CompressRequest message = a_request("hello");
    range.start = 1;
    range.end = 5;
    message.n_keep = 1;
    message.keep = ranges;
    message.budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_MAX_TOKENS;
    message.max_tokens = 9;
    message.domain = PITH__V1__DOMAIN__DOMAIN_ERROR_TRACE;
    message.profile = PITH__V1__PROFILE__PROFILE_KOMPRESS;
    message.priority = PITH__V1__PRIORITY__PRIORITY_BATCH;
    message.explain = 1;
    message.model = text_of("mini");
    outcome o = read_it(&message);
    assert_int_equal(o.status, PITH_OK);
    assert_int_equal(o.request.budget, PITH_BUDGET_MAX_TOKENS);
    assert_true(o.request.budget_value == 9.0);
    assert_int_equal(o.request.domain, PITH_DOMAIN_ERROR_TRACE);
    assert_int_equal(o.request.profile, PITH_PROFILE_KOMPRESS);
    assert_int_equal(o.submit.priority, PITH_PRIORITY_BATCH);
    assert_true(o.request.explain);
    assert_int_equal(o.request.n_keep, 1);
    assert_int_equal(o.request.keep[0].end, 5);
    assert_string_equal(o.submit.model, "mini");
    pith_arena_reset(&o.arena);
}

static void budgets_out_of_range_are_refused(void **state) {
    static const double bad_ratios[] = {0.0, -0.1, 1.0000001, INFINITY, NAN};
    Pith__V1__CompressRequest message = a_request("x");
    message.budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_TARGET_RATIO;
    for (size_t i = 0; i < sizeof bad_ratios / sizeof bad_ratios[0]; i++) {
        message.target_ratio = bad_ratios[i];
        assert_refused(&message, "target_ratio");
    }
    static const double bad_thresholds[] = {-0.0001, 1.0000001, NAN, -INFINITY};
    message.budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_THRESHOLD;
    for (size_t i = 0; i < sizeof bad_thresholds / sizeof bad_thresholds[0]; i++) {
        message.threshold = bad_thresholds[i];
        assert_refused(&message, "threshold");
    }
    message.budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_MAX_TOKENS;
    message.max_tokens = 0;
    assert_refused(&message, "max_tokens");
}

static void budgets_at_their_ends_are_accepted(void **state) {
    Pith__V1__CompressRequest message = a_request("x");
    message.budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_TARGET_RATIO;
    message.target_ratio = 1.0;
    outcome o = read_it(&message);
    assert_int_equal(o.status, PITH_OK);
    pith_arena_reset(&o.arena);
    message.budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_THRESHOLD;
    message.threshold = 0.0;
    o = read_it(&message);
    assert_int_equal(o.status, PITH_OK);
    pith_arena_reset(&o.arena);
}

static void unknown_enum_values_are_refused_by_name(void **state) {
    Pith__V1__CompressRequest message = a_request("x");
    message.domain = (Pith__V1__Domain)PITH_DOMAIN_COUNT;
    assert_refused(&message, "domain");
    message.domain = (Pith__V1__Domain)-1;
    assert_refused(&message, "domain");
    message = a_request("x");
    message.profile = (Pith__V1__Profile)3;
    assert_refused(&message, "profile");
    message = a_request("x");
    message.priority = (Pith__V1__Priority)4;
    assert_refused(&message, "priority");
}

static void folding_is_read_and_refused_for_kompress(void **state) {
    Pith__V1__CompressRequest message = a_request("x");
    message.fold_repeats = 1;
    outcome o = read_it(&message);
    assert_int_equal(o.status, PITH_OK);
    assert_true(o.request.fold_repeats);
    pith_arena_reset(&o.arena);
    message.profile = PITH__V1__PROFILE__PROFILE_KOMPRESS;
    assert_refused(&message, "fold_repeats");
}

static void keep_ranges_must_lie_on_characters_of_the_text(void **state) {
    static const uint32_t bad[][2] = {{0, 6}, {3, 2}, {6, 6}, {0, UINT32_MAX}, {2, 5}, {0, 2}};
    Pith__V1__ByteRange fine = PITH__V1__BYTE_RANGE__INIT;
    Pith__V1__ByteRange range = PITH__V1__BYTE_RANGE__INIT;
    Pith__V1__ByteRange *ranges[] = {&fine, &range};
    Pith__V1__CompressRequest message = a_request("a\xc3\xa9zz"); /* 5 bytes */
    message.n_keep = 2;
    message.keep = ranges;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        range.start = bad[i][0];
        range.end = bad[i][1];
        assert_refused(&message, "keep[1]");
    }
    range.start = 1;
    range.end = 5;
    outcome o = read_it(&message);
    assert_int_equal(o.status, PITH_OK);
    pith_arena_reset(&o.arena);
}

static void too_many_keep_ranges_are_refused(void **state) {
    Pith__V1__ByteRange range = PITH__V1__BYTE_RANGE__INIT;
    size_t n = PITH_KEEP_RANGES_MAX + 1;
    Pith__V1__ByteRange **ranges = malloc(n * sizeof(Pith__V1__ByteRange *));
    for (size_t i = 0; i < n; i++) {
        ranges[i] = &range;
    }
    Pith__V1__CompressRequest message = a_request("x");
    message.n_keep = n;
    message.keep = ranges;
    assert_refused(&message, "keep");
    free(ranges);
}

static void lengths_are_bounded(void **state) {
    char longer[PITH_MODEL_NAME_BYTES_MAX + 2] = {0};
    memset(longer, 'n', PITH_MODEL_NAME_BYTES_MAX + 1);
    Pith__V1__CompressRequest message = a_request(longer);
    assert_refused(&message, "text");
    message = a_request("x");
    message.id = text_of(longer);
    assert_refused(&message, "id");
    message = a_request("x");
    message.model = text_of(longer);
    assert_refused(&message, "model");
    message.model = (ProtobufCBinaryData){.len = 3, .data = (uint8_t *)(uintptr_t) "a\0b"};
    assert_refused(&message, "model");
}

static void an_explanation_of_too_many_words_is_refused_before_the_model_runs(void **state) {
    size_t len = 2 * ((size_t)PITH_EXPLAIN_WORDS_MAX + 1);
    char *text = malloc(len + 1);
    for (size_t i = 0; i < len; i += 2) {
        memcpy(text + i, i % 4 == 0 ? "w " : "w\n", 2);
    }
    text[len] = '\0';
    Pith__V1__CompressRequest message = a_request(text);
    pith_arena arena;
    pith_arena_init(&arena, 1 << 16);
    pith_compress_request request;
    pith_submit_opts submit = {0};
    pith_fault fault;
    assert_int_equal(pith_request_read(&message, "", len, &arena, &request, &submit, &fault),
                     PITH_OK);
    message.explain = 1;
    assert_int_equal(pith_request_read(&message, "", len, &arena, &request, &submit, &fault),
                     PITH_INVALID);
    assert_string_equal(fault.field, "explain");
    message.text.len -= 2; /* exactly the limit */
    assert_int_equal(pith_request_read(&message, "", len, &arena, &request, &submit, &fault),
                     PITH_OK);
    pith_arena_reset(&arena);
    free(text);
}

static void the_prefix_stands_before_the_field(void **state) {
    Pith__V1__CompressRequest message = a_request("x");
    message.domain = (Pith__V1__Domain)99;
    pith_arena arena;
    pith_arena_init(&arena, 1 << 16);
    pith_compress_request request;
    pith_submit_opts submit = {0};
    pith_fault fault;
    assert_int_equal(
        pith_request_read(&message, "request.", TEXT_BYTES_MAX, &arena, &request, &submit, &fault),
        PITH_INVALID);
    assert_string_equal(fault.field, "request.domain");
    pith_arena_reset(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bare_text_gets_the_defaults),
        cmocka_unit_test(every_value_arrives),
        cmocka_unit_test(budgets_out_of_range_are_refused),
        cmocka_unit_test(budgets_at_their_ends_are_accepted),
        cmocka_unit_test(unknown_enum_values_are_refused_by_name),
        cmocka_unit_test(folding_is_read_and_refused_for_kompress),
        cmocka_unit_test(keep_ranges_must_lie_on_characters_of_the_text),
        cmocka_unit_test(too_many_keep_ranges_are_refused),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(an_explanation_of_too_many_words_is_refused_before_the_model_runs),
        cmocka_unit_test(the_prefix_stands_before_the_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
