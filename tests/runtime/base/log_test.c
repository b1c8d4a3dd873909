#include "runtime/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void escape_is(const char *text, size_t len, const char *expected) {
    char out[64];
    assert_int_equal(pith_log_escape(out, sizeof out, text, len), strlen(expected));
    assert_string_equal(out, expected);
}

static void text_is_escaped_for_json(void **state) {
    escape_is("plain", 5, "plain");
    escape_is("a\"b\\c\n\0d", 8, "a\\\"b\\\\c\\u000a\\u0000d");
    escape_is("\xc3\xa9\xff\xe2\x82", 5, "\xc3\xa9???");
}

static void escaping_stops_before_a_piece_that_does_not_fit(void **state) {
    char out[6];
    assert_int_equal(pith_log_escape(out, sizeof out, "abcd\"e", 6), 4);
    assert_string_equal(out, "abcd");
    assert_int_equal(pith_log_escape(out, sizeof out, "abcd\xc3\xa9", 6), 4);
}

/* Runs `write` with standard error caught; returns what came out. */
static size_t caught(void (*write)(void), char *out, size_t size) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    (void)dup2(ends[1], STDERR_FILENO);
    write();
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    (void)close(ends[1]);
    ssize_t n = read(ends[0], out, size - 1);
    (void)close(ends[0]);
    out[n < 0 ? 0 : n] = '\0';
    return n < 0 ? 0 : (size_t)n;
}

static void write_lines(void) {
    pith_log(PITH_LOG_INFO, "a \"%s\"", "b\nc");
    pith_log(PITH_LOG_DEBUG, "not seen");
    pith_log_fields(PITH_LOG_WARN, "request", "\"n\":1");
}

static void a_line_is_text_or_a_json_object(void **state) {
    char out[1024];
    (void)caught(write_lines, out, sizeof out);
    assert_string_equal(out, "pith info: a \"b\nc\"\npith warn: request {\"n\":1}\n");
    pith_log_set_json(true);
    (void)caught(write_lines, out, sizeof out);
    pith_log_set_json(false);
    assert_non_null(strstr(out, "Z\",\"level\":\"info\",\"message\":\"a \\\"b\\u000ac\\\"\"}\n"));
    assert_non_null(strstr(out, "Z\",\"level\":\"warn\",\"message\":\"request\",\"n\":1}\n"));
    assert_memory_equal(out, "{\"time\":\"20", 11);
}

static void write_long(void) {
    char text[6000];
    memset(text, '"', sizeof text);
    text[sizeof text - 1] = '\0';
    pith_log(PITH_LOG_ERROR, "%s", text);
}

static void a_long_line_is_cut_and_still_json(void **state) {
    char out[8192];
    pith_log_set_json(true);
    size_t n = caught(write_long, out, sizeof out);
    pith_log_set_json(false);
    assert_true(n < 4096);
    assert_memory_equal(out + n - 5, "\\\"\"}\n", 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_escaped_for_json),
        cmocka_unit_test(escaping_stops_before_a_piece_that_does_not_fit),
        cmocka_unit_test(a_line_is_text_or_a_json_object),
        cmocka_unit_test(a_long_line_is_cut_and_still_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
