#include "server/observe/trace_context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static void a_traceparent_is_read(void **state) {
    pith_trace_context c;
    assert_true(pith_trace_context_parse("00-" TRACE "-" PARENT "-01", &c));
    assert_string_equal(c.trace_id, TRACE);
    assert_string_equal(c.parent_id, PARENT);
    assert_true(c.sampled);
    assert_true(pith_trace_context_parse("00-" TRACE "-" PARENT "-00", &c));
    assert_false(c.sampled);
}

static void a_later_version_may_have_more_behind(void **state) {
    pith_trace_context c;
    assert_true(pith_trace_context_parse("01-" TRACE "-" PARENT "-01-more", &c));
    assert_string_equal(c.trace_id, TRACE);
}

static void what_is_no_traceparent_gives_an_empty_context(void **state) {
    static const char *const wrong[] = {
        "",
        "00",
        "00-" TRACE "-" PARENT,
        "00-" TRACE "-" PARENT "-1",
        "00-" TRACE "-" PARENT "-0g",
        "00-" TRACE "-" PARENT "-01x",
        "00-" TRACE "-" PARENT "-01-more",
        "01-" TRACE "-" PARENT "-01more",
        "ff-" TRACE "-" PARENT "-01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" TRACE "-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01",
        "00_" TRACE "-" PARENT "-01",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pith_trace_context c;
        assert_false(pith_trace_context_parse(wrong[i], &c));
        assert_string_equal(c.trace_id, "");
        assert_string_equal(c.parent_id, "");
    }
    pith_trace_context c;
    assert_false(pith_trace_context_parse(NULL, &c));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traceparent_is_read),
        cmocka_unit_test(a_later_version_may_have_more_behind),
        cmocka_unit_test(what_is_no_traceparent_gives_an_empty_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
