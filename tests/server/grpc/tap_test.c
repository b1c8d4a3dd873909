/* Taps by descriptor: what is failed, and whose a number is that was given out again. */
#include "server/grpc/tap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const uint8_t opening[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* Sends the preface into one end and reads it at the other as the core does. */
static ssize_t pass(const int pair[2]) {
    char bytes[64];
    struct iovec piece = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr msg = {.msg_iov = &piece, .msg_iovlen = 1};
    assert_int_equal(send(pair[0], opening, sizeof opening - 1, 0), sizeof opening - 1);
    return recvmsg(pair[1], &msg, 0);
}

static void a_failed_descriptor_reads_nothing_more_until_it_begins_again(void **state) {
    int pair[2];
    pith_tap *tap = pith_tap_open();
    assert_non_null(tap);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_true(pith_tap_begin(tap, pair[1], 1));
    assert_int_equal(pass(pair), sizeof opening - 1);
    assert_int_equal(pith_tap_bytes(tap, pair[1]), sizeof opening - 1);
    pith_tap_fail(tap, pair[1]);
    assert_int_equal(pass(pair), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_true(pith_tap_begin(tap, pair[1], 1));
    assert_int_equal(pass(pair), sizeof opening - 1);
    (void)close(pair[0]);
    (void)close(pair[1]);
    pith_tap_close(tap);
}

/* The core closes a socket before its accept loop hears of it; meanwhile another loop may have been
 * given the number. */
static void a_late_word_about_a_number_does_not_touch_its_next_owner(void **state) {
    int pair[2];
    pith_tap *old = pith_tap_open();
    pith_tap *next = pith_tap_open();
    assert_non_null(old);
    assert_non_null(next);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_true(pith_tap_begin(old, pair[1], 1));
    assert_true(pith_tap_begin(next, pair[1], 1));
    assert_int_equal(pass(pair), sizeof opening - 1);
    assert_int_equal(pith_tap_bytes(old, pair[1]), 0);
    pith_tap_fail(old, pair[1]);
    assert_int_equal(pass(pair), sizeof opening - 1);
    pith_tap_end(old, pair[1]);
    assert_int_equal(pass(pair), sizeof opening - 1);
    assert_int_equal(pith_tap_bytes(next, pair[1]), 3 * (sizeof opening - 1));
    (void)close(pair[0]);
    (void)close(pair[1]);
    pith_tap_close(old);
    pith_tap_close(next);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_descriptor_reads_nothing_more_until_it_begins_again),
        cmocka_unit_test(a_late_word_about_a_number_does_not_touch_its_next_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
