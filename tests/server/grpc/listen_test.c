#include "server/grpc/listen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct bound {
    int fd;
    uint16_t port;
    char address[80];
    pith_err err;
    pith_status status;
} bound;

static bound bind_to(const char *text) {
    bound b = {0};
    b.status = pith_listen(text, &b.fd, &b.port, b.address, sizeof b.address, &b.err);
    return b;
}

static void port_0_picks_one_and_says_which(void **state) {
    bound b = bind_to("127.0.0.1:0");
    assert_int_equal(b.status, PITH_OK);
    char expected[80];
    assert_true(b.port > 0);
    (void)snprintf(expected, sizeof expected, "127.0.0.1:%u", b.port);
    assert_string_equal(b.address, expected);
    (void)close(b.fd);
}

static void a_port_in_use_is_one_clear_line(void **state) {
    bound first = bind_to("127.0.0.1:0");
    bound second = bind_to(first.address);
    char expected[160];
    (void)snprintf(expected, sizeof expected, "cannot listen on %s: Address already in use",
                   first.address);
    assert_int_equal(second.status, PITH_IO);
    assert_string_equal(second.err.text, expected);
    assert_int_equal(second.fd, -1);
    (void)close(first.fd);
    bound third = bind_to(first.address); /* and free again */
    assert_int_equal(third.status, PITH_OK);
    (void)close(third.fd);
}

static void names_and_every_address_can_be_listened_on(void **state) {
    static const char *const texts[] = {"localhost:0", ":0", "0.0.0.0:0"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        bound b = bind_to(texts[i]);
        assert_int_equal(b.status, PITH_OK);
        assert_true(b.port > 0);
        (void)close(b.fd);
    }
}

static void ipv6_stands_in_brackets(void **state) {
    bound b = bind_to("[::1]:0");
    if (b.status == PITH_IO) {
        skip(); /* a machine without IPv6 */
    }
    assert_int_equal(b.status, PITH_OK);
    assert_memory_equal(b.address, "[::1]:", 6);
    (void)close(b.fd);
}

static void text_that_is_no_address_is_refused(void **state) {
    static const char *const texts[] = {
        "",      "127.0.0.1", "127.0.0.1:",   "host:port",     "127.0.0.1:65536", "127.0.0.1:-1",
        "::1:0", "[::1:0",    "127.0.0.1:1x", "no such host:1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        bound b = bind_to(texts[i]);
        assert_int_equal(b.status, PITH_INVALID);
        assert_non_null(strstr(b.err.text, "listen address"));
    }
    char longer[600];
    memset(longer, 'h', sizeof longer);
    memcpy(longer + 500, ":1", 3);
    assert_int_equal(bind_to(longer).status, PITH_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(port_0_picks_one_and_says_which),
        cmocka_unit_test(a_port_in_use_is_one_clear_line),
        cmocka_unit_test(names_and_every_address_can_be_listened_on),
        cmocka_unit_test(ipv6_stands_in_brackets),
        cmocka_unit_test(text_that_is_no_address_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
