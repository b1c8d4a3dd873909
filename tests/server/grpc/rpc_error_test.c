#include "server/grpc/rpc_error.h"

#include "google/rpc/error_details.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* A fault turned into a Status, packed and read again, as a client would see it. */
typedef struct seen {
    pith_arena arena;
    Google__Rpc__Status *status;
    size_t packed_len;
} seen;

static seen build(const pith_fault *fault, const char *id) {
    seen s = {0};
    pith_arena_init(&s.arena, 64 * 1024);
    Google__Rpc__Status *made;
    assert_int_equal(pith_rpc_error_build(fault, (const uint8_t *)id, strlen(id), &s.arena, &made),
                     PITH_OK);
    uint8_t bytes[PITH_RPC_DETAILS_BYTES_MAX];
    s.packed_len = google__rpc__status__get_packed_size(made);
    assert_true(s.packed_len <= sizeof bytes);
    (void)google__rpc__status__pack(made, bytes);
    s.status = google__rpc__status__unpack(NULL, s.packed_len, bytes);
    assert_non_null(s.status);
    return s;
}

static void drop(seen *s) {
    google__rpc__status__free_unpacked(s->status, NULL);
    pith_arena_reset(&s->arena);
}

static ProtobufCMessage *detail(const seen *s, const char *name,
                                const ProtobufCMessageDescriptor *type) {
    for (size_t i = 0; i < s->status->n_details; i++) {
        const Google__Protobuf__Any *any = s->status->details[i];
        if (strcmp(strrchr(any->type_url, '.') + 1, name) == 0) {
            return protobuf_c_message_unpack(type, NULL, any->value.len, any->value.data);
        }
    }
    return NULL;
}

static void an_invalid_argument_names_its_field(void **state) {
    pith_fault fault;
    (void)pith_fault_set(&fault, PITH_INVALID, "target_ratio", "%g, expected less", 7.0);
    seen s = build(&fault, "id-1");
    assert_int_equal(s.status->code, PITH_RPC_INVALID_ARGUMENT);
    assert_string_equal(s.status->message, "target_ratio: 7, expected less");
    Google__Rpc__BadRequest *bad =
        (Google__Rpc__BadRequest *)detail(&s, "BadRequest", &google__rpc__bad_request__descriptor);
    assert_non_null(bad);
    assert_string_equal(bad->field_violations[0]->field, "target_ratio");
    assert_string_equal(bad->field_violations[0]->description, "7, expected less");
    google__rpc__bad_request__free_unpacked(bad, NULL);
    Google__Rpc__RequestInfo *info = (Google__Rpc__RequestInfo *)detail(
        &s, "RequestInfo", &google__rpc__request_info__descriptor);
    assert_string_equal(info->request_id, "id-1");
    google__rpc__request_info__free_unpacked(info, NULL);
    drop(&s);
}

static void every_status_carries_an_error_info_of_our_domain(void **state) {
    for (int i = PITH_OK + 1; i < PITH_STATUS_COUNT; i++) {
        pith_fault fault;
        (void)pith_fault_set(&fault, (pith_status)i, NULL, "x");
        seen s = build(&fault, "");
        Google__Rpc__ErrorInfo *info =
            (Google__Rpc__ErrorInfo *)detail(&s, "ErrorInfo", &google__rpc__error_info__descriptor);
        assert_non_null(info);
        assert_string_equal(info->domain, "pith.v1");
        assert_true(strlen(info->reason) > 0);
        assert_int_not_equal(s.status->code, PITH_RPC_OK);
        google__rpc__error_info__free_unpacked(info, NULL);
        drop(&s);
    }
}

static void a_full_queue_says_when_to_come_back(void **state) {
    pith_fault fault;
    (void)pith_fault_set(&fault, PITH_EXHAUSTED, NULL, "the queue is full");
    assert_int_equal(pith_rpc_retry_ns(&fault), 100000000);
    fault.retry_after_ns = 2500000000;
    seen s = build(&fault, "");
    assert_int_equal(s.status->code, PITH_RPC_RESOURCE_EXHAUSTED);
    Google__Rpc__RetryInfo *retry =
        (Google__Rpc__RetryInfo *)detail(&s, "RetryInfo", &google__rpc__retry_info__descriptor);
    assert_int_equal(retry->retry_delay->seconds, 2);
    assert_int_equal(retry->retry_delay->nanos, 500000000);
    google__rpc__retry_info__free_unpacked(retry, NULL);
    Google__Rpc__QuotaFailure *quota = (Google__Rpc__QuotaFailure *)detail(
        &s, "QuotaFailure", &google__rpc__quota_failure__descriptor);
    assert_string_equal(quota->violations[0]->description, "the queue is full");
    google__rpc__quota_failure__free_unpacked(quota, NULL);
    drop(&s);
}

static void what_cannot_be_retried_has_no_delay(void **state) {
    pith_fault fault;
    (void)pith_fault_set(&fault, PITH_INVALID, "text", "bad");
    fault.retry_after_ns = 1000000;
    assert_int_equal(pith_rpc_retry_ns(&fault), 0);
}

static void an_unknown_model_names_the_resource(void **state) {
    pith_fault fault;
    (void)pith_fault_set(&fault, PITH_NOT_FOUND, "model", "no model of this name");
    memcpy(fault.resource, "gone", 5);
    seen s = build(&fault, "");
    Google__Rpc__ResourceInfo *info = (Google__Rpc__ResourceInfo *)detail(
        &s, "ResourceInfo", &google__rpc__resource_info__descriptor);
    assert_string_equal(info->resource_type, "model");
    assert_string_equal(info->resource_name, "gone");
    google__rpc__resource_info__free_unpacked(info, NULL);
    drop(&s);
}

static void the_text_of_an_internal_error_does_not_leave(void **state) {
    static const pith_status kinds[] = {PITH_INTERNAL, PITH_IO, PITH_CORRUPT, PITH_NO_MEMORY};
    for (size_t i = 0; i < 4; i++) {
        pith_fault fault;
        (void)pith_fault_set(&fault, kinds[i], "text", "/srv/secret/path at 0x7f12");
        seen s = build(&fault, "");
        assert_null(strstr(s.status->message, "secret"));
        for (size_t k = 0; k < s.status->n_details; k++) {
            const ProtobufCBinaryData *value = &s.status->details[k]->value;
            assert_null(memmem(value->data, value->len, "secret", 6));
        }
        drop(&s);
    }
}

static void the_longest_fault_fits_the_trailer(void **state) {
    pith_fault fault = {.err.status = PITH_INVALID};
    memset(fault.err.text, 'e', sizeof fault.err.text - 1);
    memset(fault.field, 'f', sizeof fault.field - 1);
    char id[PITH_REQUEST_ID_BYTES_MAX + 1] = {0};
    memset(id, 'i', PITH_REQUEST_ID_BYTES_MAX);
    seen s = build(&fault, id);
    assert_true(s.packed_len < PITH_RPC_DETAILS_BYTES_MAX);
    drop(&s);
}

static void a_text_cut_within_a_character_is_mended(void **state) {
    pith_fault fault;
    (void)pith_fault_set(&fault, PITH_INVALID, NULL, "caf\xc3");
    seen s = build(&fault, "");
    assert_string_equal(s.status->message, "caf");
    drop(&s);
}

static void codes_come_back_as_the_nearest_status(void **state) {
    for (int i = 0; i < PITH_STATUS_COUNT; i++) {
        pith_status back = pith_rpc_code_to_status((int)pith_rpc_code_of((pith_status)i));
        assert_int_equal(pith_rpc_code_of(back), pith_rpc_code_of((pith_status)i));
    }
    assert_int_equal(pith_rpc_code_to_status(PITH_RPC_RESOURCE_EXHAUSTED), PITH_EXHAUSTED);
    assert_int_equal(pith_rpc_code_to_status(99), PITH_INTERNAL);
    assert_string_equal(pith_rpc_code_name(14), "UNAVAILABLE");
    assert_string_equal(pith_rpc_code_name(-1), "UNKNOWN");
    assert_int_equal(pith_rpc_code_of((pith_status)99), PITH_RPC_INTERNAL);
}

static void a_request_is_counted_by_its_reason_and_not_by_its_status_alone(void **state) {
    for (size_t cause = 0; cause < PITH_RPC_CAUSES; cause++) {
        pith_status status = pith_rpc_cause_status(cause);
        const char *reason = pith_rpc_cause_reason(cause);
        assert_int_equal(pith_rpc_cause_of(status, reason), cause);
        for (size_t other = 0; other < cause; other++) {
            bool internal = cause < PITH_STATUS_COUNT && strcmp(reason, "INTERNAL") == 0;
            assert_true(internal || pith_rpc_cause_status(other) != status ||
                        strcmp(pith_rpc_cause_reason(other), reason) != 0);
        }
    }
    size_t draining = pith_rpc_cause_of(PITH_UNAVAILABLE, NULL);
    assert_string_equal(pith_rpc_cause_reason(draining), "DRAINING");
    const pith_reply lost = {.status = PITH_UNAVAILABLE};
    size_t device = pith_rpc_cause_of(PITH_UNAVAILABLE, pith_rpc_reply_reason(&lost));
    assert_string_equal(pith_rpc_cause_reason(device), "DEVICE_LOST");
    const char *full = pith_rpc_refusal_reason(PITH_REFUSED_REQUESTS);
    assert_int_equal(pith_rpc_cause_of(PITH_EXHAUSTED, full), PITH_EXHAUSTED);
    const char *late = pith_rpc_refusal_reason(PITH_REFUSED_DEADLINE);
    assert_string_equal(pith_rpc_cause_reason(pith_rpc_cause_of(PITH_DEADLINE, late)),
                        "QUEUE_TOO_LONG");
    /* a reason of another status, and one that nobody knows */
    assert_int_equal(pith_rpc_cause_of(PITH_INVALID, "LOADING"), PITH_INVALID);
    assert_int_equal(pith_rpc_cause_of(PITH_UNAVAILABLE, "TIRED"), PITH_UNAVAILABLE);
    assert_int_equal(pith_rpc_cause_of((pith_status)99, NULL), PITH_INTERNAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_counted_by_its_reason_and_not_by_its_status_alone),
        cmocka_unit_test(an_invalid_argument_names_its_field),
        cmocka_unit_test(every_status_carries_an_error_info_of_our_domain),
        cmocka_unit_test(a_full_queue_says_when_to_come_back),
        cmocka_unit_test(what_cannot_be_retried_has_no_delay),
        cmocka_unit_test(an_unknown_model_names_the_resource),
        cmocka_unit_test(the_text_of_an_internal_error_does_not_leave),
        cmocka_unit_test(the_longest_fault_fits_the_trailer),
        cmocka_unit_test(a_text_cut_within_a_character_is_mended),
        cmocka_unit_test(codes_come_back_as_the_nearest_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
