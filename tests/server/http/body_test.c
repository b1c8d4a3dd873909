#include "server/http/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct reading {
    pith_http_body body;
    const char *field;
    pith_err err;
    pith_status status;
} reading;

static void read_body(reading *r, const char *json) {
    r->status = pith_http_body_read(&r->body, json, strlen(json), &r->field, &r->err);
}

static void text_and_ratio_are_read(void **state) {
    reading r;
    read_body(&r, "{\"content\": \"a\\u0000b\\n\", \"target_ratio\": 0.25}");
    assert_int_equal(r.status, PITH_OK);
    assert_int_equal(r.body.text_len, 4);
    assert_memory_equal(r.body.text, "a\0b\n", 4);
    assert_true(r.body.has_ratio);
    assert_true(r.body.ratio == 0.25);
    pith_http_body_reset(&r.body);
}

static void a_null_ratio_is_none(void **state) {
    reading r;
    read_body(&r, "{\"content\":\"x\",\"target_ratio\":null}");
    assert_int_equal(r.status, PITH_OK);
    assert_false(r.body.has_ratio);
    pith_http_body_reset(&r.body);
}

static void a_refusal_names_the_key_and_quotes_nothing(void **state) {
    static const struct {
        const char *json;
        const char *field;
    } cases[] = {{"{\"content\":\"secret\",\"target_ratio\":\"secret\"}", "target_ratio"},
                 {"{\"content\":[\"secret\"]}", "content"},
                 {"{\"content\":\"secret\" secret}", ""},
                 {"[\"secret\"]", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reading r;
        read_body(&r, cases[i].json);
        assert_int_equal(r.status, PITH_INVALID);
        assert_string_equal(r.field, cases[i].field);
        assert_null(strstr(r.err.text, "secret"));
        pith_http_body_reset(&r.body);
    }
}

/* A tree of two million values would take over 100 bytes for each of its bytes. */
static void a_body_of_many_values_is_refused_before_it_is_parsed(void **state) {
    enum { BYTES = 4 * 1024 * 1024 };
    char *json = malloc(BYTES + 1);
    assert_non_null(json);
    memset(json, '1', BYTES);
    for (size_t i = 1; i < BYTES; i += 2) {
        json[i] = ',';
    }
    memcpy(json, "{\"content\":\"a\",\"x\":[", 20);
    json[BYTES] = '\0';
    reading r;
    read_body(&r, json);
    assert_int_equal(r.status, PITH_INVALID);
    assert_non_null(strstr(r.err.text, "too many values"));
    pith_http_body_reset(&r.body);
    free(json);
}

static void a_text_full_of_commas_and_brackets_is_text(void **state) {
    reading r;
    char json[4096];
    int n = snprintf(json, sizeof json, "{\"content\":\"");
    for (int i = 0; i < 900; i++) {
        n += snprintf(json + n, sizeof json - (size_t)n, "%s", i % 2 == 0 ? ",[{" : "\\\"");
    }
    (void)snprintf(json + n, sizeof json - (size_t)n, "\"}");
    read_body(&r, json);
    assert_int_equal(r.status, PITH_OK);
    assert_int_equal(r.body.text_len, 450 * 3 + 450);
    pith_http_body_reset(&r.body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_ratio_are_read),
        cmocka_unit_test(a_null_ratio_is_none),
        cmocka_unit_test(a_refusal_names_the_key_and_quotes_nothing),
        cmocka_unit_test(a_body_of_many_values_is_refused_before_it_is_parsed),
        cmocka_unit_test(a_text_full_of_commas_and_brackets_is_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
