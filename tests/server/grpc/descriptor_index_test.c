#include "server/grpc/descriptor_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const unsigned char pith_descriptor_set[];
extern const unsigned long pith_descriptor_set_len;

static pith_descriptor_index *open_embedded(void) {
    pith_descriptor_index *index;
    assert_int_equal(
        pith_descriptor_index_open(&index, pith_descriptor_set, pith_descriptor_set_len, NULL),
        PITH_OK);
    return index;
}

static void names_lead_to_the_file_that_declares_them(void **state) {
    pith_descriptor_index *index = open_embedded();
    size_t ours = pith_descriptor_find_file(index, "pith/v1/compression.proto");
    assert_int_not_equal(ours, PITH_DESCRIPTOR_NONE);
    static const char *const names[] = {
        "pith.v1.CompressionService", /* service */
        "pith.v1.CompressionService.StreamCompress",
        "pith.v1.CompressRequest",
        "pith.v1.CompressRequest.text",
        "pith.v1.CompressRequest.budget", /* oneof */
        "pith.v1.Domain",
        "pith.v1.DOMAIN_LOG", /* a value lives beside its enum */
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(pith_descriptor_find_symbol(index, names[i]), ours);
    }
    size_t health = pith_descriptor_find_file(index, "grpc/health/v1/health.proto");
    assert_int_equal(
        pith_descriptor_find_symbol(index, "grpc.health.v1.HealthCheckResponse.NOT_SERVING"),
        health); /* nested enum */
    pith_descriptor_index_close(index);
}

static void unknown_names_are_not_found(void **state) {
    pith_descriptor_index *index = open_embedded();
    static const char *const names[] = {"",
                                        "pith",
                                        "pith.v1",
                                        "pith.v1.Domain.DOMAIN_LOG",
                                        "pith.v1.CompressRequest.nothing",
                                        ".pith.v1.Domain"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(pith_descriptor_find_symbol(index, names[i]), PITH_DESCRIPTOR_NONE);
    }
    assert_int_equal(pith_descriptor_find_file(index, "compression.proto"), PITH_DESCRIPTOR_NONE);
    pith_descriptor_index_close(index);
}

static void a_closure_has_the_file_first_and_each_import_once(void **state) {
    pith_descriptor_index *index = open_embedded();
    pith_descriptor_file files[PITH_DESCRIPTOR_FILES_MAX];
    size_t ours = pith_descriptor_find_file(index, "pith/v1/compression.proto");
    assert_int_equal(pith_descriptor_closure(index, ours, files), 3);
    assert_non_null(memmem(files[0].data, 40, "pith/v1/compression.proto", 25));
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = i + 1; k < 3; k++) {
            assert_ptr_not_equal(files[i].data, files[k].data);
        }
    }
    assert_int_equal(pith_descriptor_closure(index, PITH_DESCRIPTOR_NONE, files), 0);
    pith_descriptor_index_close(index);
}

static void a_broken_set_is_refused_and_leaks_nothing(void **state) {
    for (unsigned long len = 0; len < pith_descriptor_set_len; len += 97) {
        unsigned char *cut = malloc(len + 1);
        memcpy(cut, pith_descriptor_set, len);
        pith_descriptor_index *index;
        if (pith_descriptor_index_open(&index, cut, len, NULL) == PITH_OK) {
            pith_descriptor_index_close(index); /* cut between two files */
        }
        free(cut);
    }
    pith_descriptor_index *index;
    assert_int_equal(
        pith_descriptor_index_open(&index, pith_descriptor_set, pith_descriptor_set_len - 1, NULL),
        PITH_CORRUPT);
    assert_int_equal(pith_descriptor_index_open(&index, pith_descriptor_set, 0, NULL),
                     PITH_CORRUPT);
}

/* set { file { name "f" message_type { name "m" nested_type { ... } } } } with `depth` types. */
static size_t nest(unsigned char *set, int depth) {
    size_t len = 3;
    memcpy(set, "\x0a\x01m", 3);
    for (int i = 1; i < depth; i++) {
        memmove(set + 5, set, len);
        memcpy(set, "\x0a\x01m\x1a", 4);
        set[4] = (unsigned char)len;
        len += 5;
    }
    memmove(set + 7, set, len);
    memcpy(set, "\x0a\x00\x0a\x01", 4);
    memcpy(set + 4, "f\x22", 2);
    set[6] = (unsigned char)len;
    set[1] = (unsigned char)(len + 5);
    return len + 7;
}

static void nesting_over_the_limit_is_refused(void **state) {
    unsigned char set[128];
    pith_descriptor_index *index;
    size_t len = nest(set, PITH_DESCRIPTOR_NESTING_MAX);
    assert_int_equal(pith_descriptor_index_open(&index, set, len, NULL), PITH_OK);
    assert_int_equal(pith_descriptor_find_symbol(index, "m.m.m"), 0);
    pith_descriptor_index_close(index);
    len = nest(set, PITH_DESCRIPTOR_NESTING_MAX + 1);
    assert_int_equal(pith_descriptor_index_open(&index, set, len, NULL), PITH_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_to_the_file_that_declares_them),
        cmocka_unit_test(unknown_names_are_not_found),
        cmocka_unit_test(a_closure_has_the_file_first_and_each_import_once),
        cmocka_unit_test(a_broken_set_is_refused_and_leaks_nothing),
        cmocka_unit_test(nesting_over_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
