#include "server/grpc/wire.h"

#include "grpc/health/v1/health.pb-c.h"
#include "pith/v1/compression.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUEST (&pith__v1__compress_request__descriptor)

static const pith_wire_opts ours = {.bytes_are_text = true, .text_bytes_max = 1000};

static pith_status check(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                         const pith_wire_opts *opts, pith_fault *fault) {
    size_t arena_bytes;
    *fault = (pith_fault){0};
    return pith_wire_check(type, data, len, opts, &arena_bytes, fault);
}

#define CHECK(bytes, fault) check(REQUEST, bytes, sizeof(bytes) - 1, &ours, fault)

static void a_well_formed_request_is_decoded_with_its_nul_bytes(void **state) {
    static const char bytes[] = "\x0a\x01i\x12\x05"
                                "a\0b\0c"
                                "\x62\x02\x10\x03";
    pith_arena arena;
    pith_fault fault;
    ProtobufCMessage *message;
    assert_int_equal(pith_wire_decode(REQUEST, (const uint8_t *)bytes, sizeof bytes - 1, &ours,
                                      &arena, &message, &fault),
                     PITH_OK);
    const Pith__V1__CompressRequest *request = (const Pith__V1__CompressRequest *)message;
    assert_int_equal(request->text.len, 5);
    assert_memory_equal(request->text.data, "a\0b\0c", 5);
    assert_int_equal(request->n_keep, 1);
    assert_int_equal(request->keep[0]->end, 3);
    pith_arena_reset(&arena);
}

static void an_empty_message_is_decoded(void **state) {
    pith_arena arena;
    pith_fault fault;
    ProtobufCMessage *message;
    assert_int_equal(pith_wire_decode(REQUEST, NULL, 0, &ours, &arena, &message, &fault), PITH_OK);
    assert_non_null(message);
    pith_arena_reset(&arena);
}

static void the_private_copy_of_the_proto_has_bytes_for_text(void **state) {
    const char *const names[] = {"id", "text", "question", "model"};
    for (size_t i = 0; i < 4; i++) {
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field_by_name(REQUEST, names[i]);
        assert_non_null(field);
        assert_int_equal(field->type, PROTOBUF_C_TYPE_BYTES);
    }
}

static void malformed_bytes_are_refused(void **state) {
    pith_fault fault;
    assert_int_equal(CHECK("\x12\x05"
                           "ab",
                           &fault),
                     PITH_INVALID); /* length past the end */
    assert_int_equal(CHECK("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &fault), PITH_INVALID);
    assert_int_equal(CHECK("\x0b\x0c", &fault), PITH_INVALID);     /* group */
    assert_int_equal(CHECK("\x0f", &fault), PITH_INVALID);         /* wire type 7 */
    assert_int_equal(CHECK("\x00\x01", &fault), PITH_INVALID);     /* field 0 */
    assert_int_equal(CHECK("\x19\x01\x02", &fault), PITH_INVALID); /* short double */
    assert_int_equal(CHECK("\x48", &fault), PITH_INVALID);         /* no number */
    assert_int_equal(CHECK("\x88\x80\x80\x80\x10\x01", &fault),
                     PITH_INVALID); /* tag over 32 bits */
    assert_int_equal(CHECK("\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", &fault), PITH_INVALID);
}

static void a_field_of_another_type_is_refused_by_decoding(void **state) {
    static const uint8_t bytes[] = {0x10, 0x05}; /* text as a number */
    pith_arena arena;
    pith_fault fault;
    ProtobufCMessage *message;
    assert_int_equal(
        pith_wire_decode(REQUEST, bytes, sizeof bytes, &ours, &arena, &message, &fault),
        PITH_INVALID);
    assert_null(message);
    pith_arena_reset(&arena);
}

static void invalid_utf8_names_field_and_offset(void **state) {
    pith_fault fault;
    assert_int_equal(CHECK("\x12\x04"
                           "ab\xc3\x28",
                           &fault),
                     PITH_INVALID);
    assert_string_equal(fault.field, "text");
    assert_string_equal(fault.err.text, "invalid UTF-8 at byte 2");
    static const char inner[] = "\x0a\x04\x12\x02\xed\xa0";
    assert_int_equal(check(&pith__v1__stream_compress_request__descriptor, inner, sizeof inner - 1,
                           &ours, &fault),
                     PITH_INVALID);
    assert_string_equal(fault.field, "request.text");
}

static void a_nul_in_a_c_string_is_refused(void **state) {
    static const char bytes[] = "\x0a\x03"
                                "a\0b";
    const pith_wire_opts opts = {0};
    pith_fault fault;
    assert_int_equal(check(&grpc__health__v1__health_check_request__descriptor, bytes,
                           sizeof bytes - 1, &opts, &fault),
                     PITH_INVALID);
    assert_string_equal(fault.field, "service");
}

static void a_text_over_its_bound_is_refused_before_it_is_read(void **state) {
    char bytes[3 + 1001];
    pith_fault fault;
    memset(bytes, 0xFF, sizeof bytes); /* not UTF-8: the length must be what is refused */
    memcpy(bytes, "\x12\xe9\x07", 3);
    assert_int_equal(check(REQUEST, bytes, sizeof bytes, &ours, &fault), PITH_INVALID);
    assert_string_equal(fault.field, "text");
    assert_string_equal(fault.err.text, "1001 bytes, at most 1000 are allowed");
}

static void a_sub_message_given_twice_is_refused(void **state) {
    static const char bytes[] = "\x0a\x02\x48\x01\x0a\x02\x48\x01";
    pith_fault fault;
    assert_int_equal(check(&pith__v1__stream_compress_request__descriptor, bytes, sizeof bytes - 1,
                           &ours, &fault),
                     PITH_INVALID);
    assert_string_equal(fault.field, "request");
    /* a repeated one may come often */
    assert_int_equal(CHECK("\x62\x00\x62\x00", &fault), PITH_OK);
}

/* A type that holds itself: what the depth limit is for. */
static ProtobufCMessageDescriptor nested_type;
static const ProtobufCFieldDescriptor nested_fields[] = {{.name = "inner",
                                                          .id = 1,
                                                          .label = PROTOBUF_C_LABEL_REPEATED,
                                                          .type = PROTOBUF_C_TYPE_MESSAGE,
                                                          .descriptor = &nested_type}};
static const ProtobufCIntRange nested_ranges[] = {{1, 0}, {0, 1}};

static size_t nest(uint8_t *out, size_t depth) {
    size_t len = 0; /* built from the inside: at most 2 bytes of header while short */
    for (size_t i = 0; i < depth; i++) {
        memmove(out + 2, out, len);
        out[0] = 0x0A;
        out[1] = (uint8_t)len;
        len += 2;
    }
    return len;
}

static void nesting_is_bounded(void **state) {
    nested_type = (ProtobufCMessageDescriptor){.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                               .sizeof_message = 64,
                                               .n_fields = 1,
                                               .fields = nested_fields,
                                               .n_field_ranges = 1,
                                               .field_ranges = nested_ranges};
    uint8_t bytes[128];
    pith_fault fault;
    const pith_wire_opts opts = {0};
    size_t len = nest(bytes, PITH_WIRE_DEPTH_MAX - 1);
    assert_int_equal(check(&nested_type, bytes, len, &opts, &fault), PITH_OK);
    len = nest(bytes, PITH_WIRE_DEPTH_MAX);
    assert_int_equal(check(&nested_type, bytes, len, &opts, &fault), PITH_INVALID);
}

static void the_number_of_fields_is_bounded(void **state) {
    size_t n = PITH_WIRE_ELEMENTS_MAX;
    uint8_t *bytes = malloc(2 * (n + 1));
    pith_fault fault;
    for (size_t i = 0; i <= n; i++) {
        bytes[2 * i] = 0x48;
        bytes[2 * i + 1] = 1;
    }
    assert_int_equal(check(REQUEST, bytes, 2 * n, &ours, &fault), PITH_OK);
    assert_int_equal(check(REQUEST, bytes, 2 * (n + 1), &ours, &fault), PITH_EXHAUSTED);
    free(bytes);
}

/* The bound on memory must hold for what amplifies most: many empty sub-messages, unknown fields.
 */
static void decoding_stays_within_the_bound_it_was_given(void **state) {
    static const char *const units[] = {"\x62\x00", "\xf8\x07\x01", "\xfa\x07\x01x", "\x12\x01y"};
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t unit_len = u == 0 ? 2 : strlen(units[u]);
        size_t n = 20000;
        uint8_t *bytes = malloc(n * unit_len);
        for (size_t i = 0; i < n; i++) {
            memcpy(bytes + i * unit_len, units[u], unit_len);
        }
        pith_arena arena;
        pith_fault fault = {0};
        ProtobufCMessage *message;
        assert_int_equal(
            pith_wire_decode(REQUEST, bytes, n * unit_len, &ours, &arena, &message, &fault),
            PITH_OK);
        pith_arena_reset(&arena);
        free(bytes);
    }
}

static void the_id_of_a_broken_request_is_found(void **state) {
    static const uint8_t bytes[] = "\x48\x01\x0a\x02id\x12\x02\xff\xff\x12\x7f";
    const uint8_t *found = NULL;
    size_t len = 0;
    assert_true(pith_wire_find(bytes, sizeof bytes - 1, 1, &found, &len));
    assert_int_equal(len, 2);
    assert_memory_equal(found, "id", 2);
    assert_false(pith_wire_find(bytes, sizeof bytes - 1, 7, &found, &len));
    assert_false(pith_wire_find(NULL, 0, 1, &found, &len));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_well_formed_request_is_decoded_with_its_nul_bytes),
        cmocka_unit_test(an_empty_message_is_decoded),
        cmocka_unit_test(the_private_copy_of_the_proto_has_bytes_for_text),
        cmocka_unit_test(malformed_bytes_are_refused),
        cmocka_unit_test(a_field_of_another_type_is_refused_by_decoding),
        cmocka_unit_test(invalid_utf8_names_field_and_offset),
        cmocka_unit_test(a_nul_in_a_c_string_is_refused),
        cmocka_unit_test(a_text_over_its_bound_is_refused_before_it_is_read),
        cmocka_unit_test(a_sub_message_given_twice_is_refused),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(the_number_of_fields_is_bounded),
        cmocka_unit_test(decoding_stays_within_the_bound_it_was_given),
        cmocka_unit_test(the_id_of_a_broken_request_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
