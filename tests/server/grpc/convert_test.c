#include "server/grpc/convert.h"
#include "server/grpc/response_json.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const pith_model_info model = {.name = "mini", .fingerprint = "f00d"};
static const pith_range ranges[] = {{0, 5}, {9, 12}};
static const uint32_t starts[] = {0, 6, 9};
static const uint32_t ends[] = {5, 8, 12};
static const float scores[] = {0.9F, 0.1F, 1.0F / 3.0F};
static const bool kept[] = {true, false, true};
static const bool critical[] = {false, false, true};

static pith_compress_result a_result(void) {
    return (pith_compress_result){.text = "hello\0\"7\\\n",
                                  .text_len = 10,
                                  .input_words = 3,
                                  .kept_words = 2,
                                  .input_tokens = 30,
                                  .kept_tokens = 20,
                                  .critical_total = 1,
                                  .critical_kept = 1,
                                  .unscored_words = 4,
                                  .pattern_limit_hits = 5,
                                  .folded_lines = 6,
                                  .folded_critical = 7,
                                  .budget_missed = true,
                                  .domain = PITH_DOMAIN_SEARCH,
                                  .kept_ranges = ranges,
                                  .n_kept_ranges = 2,
                                  .explanation = {.start = starts,
                                                  .end = ends,
                                                  .score = scores,
                                                  .kept = kept,
                                                  .critical = critical,
                                                  .n = 3}};
}

static pith_reply a_reply(const pith_compress_result *result) {
    return (pith_reply){.result = result,
                        .model = &model,
                        .timing = {.queue_ns = 1500,
                                   .tokenize_ns = -1,
                                   .model_ns = INT64_MAX,
                                   .total_ns = 4294967295000,
                                   .n_windows = 2}};
}

static void a_reply_becomes_a_message_and_survives_the_wire(void **state) {
    pith_compress_result result = a_result();
    pith_reply reply = a_reply(&result);
    pith_response response;
    pith_arena arena;
    pith_arena_init(&arena, pith_response_arena_bytes(&reply));
    assert_int_equal(pith_response_from_reply(&response, &reply, "id", 2, &arena, NULL), PITH_OK);
    size_t len = pith__v1__compress_response__get_packed_size(&response.message);
    uint8_t *bytes = malloc(len);
    (void)pith__v1__compress_response__pack(&response.message, bytes);
    pith_arena_reset(&arena);
    Pith__V1__CompressResponse *m = pith__v1__compress_response__unpack(NULL, len, bytes);
    assert_int_equal(m->text.len, 10);
    assert_memory_equal(m->text.data, "hello\0\"7\\\n", 10);
    assert_int_equal(m->n_kept_ranges, 4);
    assert_int_equal(m->kept_ranges[2], 9);
    assert_int_equal(m->kept_ranges[3], 12);
    assert_int_equal(m->domain, PITH__V1__DOMAIN__DOMAIN_SEARCH);
    assert_int_equal(m->explanation->n_kept, 3);
    assert_int_equal(m->explanation->word_end[1], 8);
    assert_true(m->explanation->kept[2] && !m->explanation->kept[1]);
    assert_true(m->explanation->critical[2] && !m->explanation->critical[0]);
    assert_true(m->explanation->score[2] == 1.0F / 3.0F);
    assert_int_equal(m->timing->queue_us, 1);
    assert_int_equal(m->timing->tokenize_us, 0);
    assert_int_equal(m->timing->model_us, UINT32_MAX);
    assert_int_equal(m->timing->total_us, UINT32_MAX);
    assert_false(m->passed_through);
    assert_int_equal(m->folded_lines, 6);
    assert_int_equal(m->folded_critical, 7);
    pith__v1__compress_response__free_unpacked(m, NULL);
    free(bytes);
}

static void packed_numbers_are_packed(void **state) {
    pith_compress_result result = a_result();
    pith_reply reply = a_reply(&result);
    result.explanation.n = 0;
    pith_response response;
    pith_arena arena;
    pith_arena_init(&arena, 0);
    assert_int_equal(pith_response_from_reply(&response, &reply, "", 0, &arena, NULL), PITH_OK);
    assert_null(response.message.explanation);
    uint8_t bytes[512];
    size_t len = pith__v1__compress_response__pack(&response.message, bytes);
    static const uint8_t packed[] = {0x8A, 0x01, 4, 0, 5, 9, 12}; /* field 17, four varints */
    assert_non_null(memmem(bytes, len, packed, sizeof packed));
}

static void each_reason_says_passed_through(void **state) {
    for (int reason = PITH_PASS_EMPTY; reason <= PITH_PASS_DEADLINE; reason++) {
        pith_compress_result result = {.text = "", .passthrough = (pith_passthrough)reason};
        pith_reply reply = {.result = &result};
        pith_response response;
        pith_arena arena;
        pith_arena_init(&arena, 0);
        assert_int_equal(pith_response_from_reply(&response, &reply, NULL, 0, &arena, NULL),
                         PITH_OK);
        assert_true(response.message.passed_through);
        assert_int_equal(response.message.passthrough_reason, reason);
    }
}

static void a_reply_without_a_result_is_an_internal_error(void **state) {
    pith_reply reply = {.status = PITH_OK};
    pith_response response;
    pith_arena arena;
    pith_err err;
    pith_arena_init(&arena, 0);
    assert_int_equal(pith_response_from_reply(&response, &reply, NULL, 0, &arena, &err),
                     PITH_INTERNAL);
}

static void an_explanation_over_the_arena_is_exhausted(void **state) {
    pith_compress_result result = a_result();
    pith_reply reply = a_reply(&result);
    pith_response response;
    pith_arena arena;
    pith_arena_init(&arena, 64);
    assert_int_equal(pith_response_from_reply(&response, &reply, NULL, 0, &arena, NULL),
                     PITH_EXHAUSTED);
    pith_arena_reset(&arena);
}

static json_t *to_json(const Pith__V1__CompressResponse *message) {
    char *text;
    size_t len;
    assert_int_equal(pith_response_to_json(message, &text, &len, NULL), PITH_OK);
    assert_int_equal(strlen(text), len);
    json_error_t error;
    json_t *parsed = json_loadb(text, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (parsed == NULL) {
        fail_msg("%s in %s", error.text, text);
    }
    free(text);
    return parsed;
}

static void json_of_a_reply_is_proto3_json(void **state) {
    pith_compress_result result = a_result();
    pith_reply reply = a_reply(&result);
    pith_response response;
    pith_arena arena;
    pith_arena_init(&arena, pith_response_arena_bytes(&reply));
    assert_int_equal(pith_response_from_reply(&response, &reply, "i\"d", 3, &arena, NULL), PITH_OK);
    json_t *json = to_json(&response.message);
    const json_t *text = json_object_get(json, "text");
    assert_int_equal(json_string_length(text), 10);
    assert_memory_equal(json_string_value(text), "hello\0\"7\\\n", 10);
    assert_string_equal(json_string_value(json_object_get(json, "id")), "i\"d");
    assert_string_equal(json_string_value(json_object_get(json, "domain")), "DOMAIN_SEARCH");
    assert_string_equal(json_string_value(json_object_get(json, "passthroughReason")),
                        "PASSTHROUGH_REASON_UNSPECIFIED");
    assert_true(json_is_true(json_object_get(json, "budgetMissed")));
    assert_int_equal(json_integer_value(json_object_get(json, "foldedLines")), 6);
    assert_int_equal(json_integer_value(json_object_get(json, "foldedCritical")), 7);
    assert_int_equal(json_array_size(json_object_get(json, "keptRanges")), 4);
    const json_t *explanation = json_object_get(json, "explanation");
    const json_t *score = json_array_get(json_object_get(explanation, "score"), 2);
    assert_true((float)json_real_value(score) == 1.0F / 3.0F);
    assert_true(json_is_false(json_array_get(json_object_get(explanation, "kept"), 1)));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json, "timing"), "queueUs")), 1);
    json_decref(json);
    pith_arena_reset(&arena);
}

static void json_has_every_scalar_even_at_its_default(void **state) {
    static const char *const names[] = {
        "id",           "text",          "inputWords",       "keptWords",     "inputTokens",
        "keptTokens",   "criticalTotal", "criticalKept",     "passedThrough", "passthroughReason",
        "budgetMissed", "questionUsed",  "unscoredWords",    "model",         "modelFingerprint",
        "domain",       "keptRanges",    "patternLimitHits", "foldedLines",   "foldedCritical"};
    Pith__V1__CompressResponse empty = PITH__V1__COMPRESS_RESPONSE__INIT;
    json_t *json = to_json(&empty);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_non_null(json_object_get(json, names[i]));
    }
    assert_int_equal(json_object_size(json), sizeof names / sizeof names[0]);
    json_decref(json);
}

/* Every field of the proto is in the table above or is a message: a new one must be added here. */
static void json_knows_every_field_of_the_proto(void **state) {
    assert_int_equal(pith__v1__compress_response__descriptor.n_fields, 22);
    assert_int_equal(pith__v1__explanation__descriptor.n_fields, 5);
    assert_int_equal(pith__v1__timing__descriptor.n_fields, 6);
}

static void json_escapes_control_characters_and_keeps_utf8(void **state) {
    static const char text[] = "\x01\x1f\x7f\b\f\r\t\xf0\x9f\x98\x80";
    Pith__V1__CompressResponse message = PITH__V1__COMPRESS_RESPONSE__INIT;
    message.text =
        (ProtobufCBinaryData){.len = sizeof text - 1, .data = (uint8_t *)(uintptr_t)text};
    json_t *json = to_json(&message);
    const json_t *value = json_object_get(json, "text");
    assert_int_equal(json_string_length(value), sizeof text - 1);
    assert_memory_equal(json_string_value(value), text, sizeof text - 1);
    json_decref(json);
}

static void json_spells_scores_that_are_no_numbers(void **state) {
    float odd[] = {NAN, INFINITY, -INFINITY, 0.1F, 1.17549435e-38F};
    Pith__V1__Explanation explanation = PITH__V1__EXPLANATION__INIT;
    explanation.n_score = 5;
    explanation.score = odd;
    Pith__V1__CompressResponse message = PITH__V1__COMPRESS_RESPONSE__INIT;
    message.explanation = &explanation;
    json_t *json = to_json(&message);
    const json_t *score = json_object_get(json_object_get(json, "explanation"), "score");
    assert_string_equal(json_string_value(json_array_get(score, 0)), "NaN");
    assert_string_equal(json_string_value(json_array_get(score, 2)), "-Infinity");
    assert_true((float)json_real_value(json_array_get(score, 3)) == 0.1F);
    assert_true((float)json_real_value(json_array_get(score, 4)) == 1.17549435e-38F);
    json_decref(json);
}

static void json_of_a_file_that_is_full_is_an_io_error(void **state) {
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    (void)setvbuf(full, NULL, _IONBF, 0);
    Pith__V1__CompressResponse message = PITH__V1__COMPRESS_RESPONSE__INIT;
    pith_err err;
    assert_int_equal(pith_response_print_json(&message, full, &err), PITH_IO);
    (void)fclose(full);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_becomes_a_message_and_survives_the_wire),
        cmocka_unit_test(packed_numbers_are_packed),
        cmocka_unit_test(each_reason_says_passed_through),
        cmocka_unit_test(a_reply_without_a_result_is_an_internal_error),
        cmocka_unit_test(an_explanation_over_the_arena_is_exhausted),
        cmocka_unit_test(json_of_a_reply_is_proto3_json),
        cmocka_unit_test(json_has_every_scalar_even_at_its_default),
        cmocka_unit_test(json_knows_every_field_of_the_proto),
        cmocka_unit_test(json_escapes_control_characters_and_keeps_utf8),
        cmocka_unit_test(json_spells_scores_that_are_no_numbers),
        cmocka_unit_test(json_of_a_file_that_is_full_is_an_io_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
