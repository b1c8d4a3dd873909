/* The guards of the accept loop and the watchdog, with a core behind them and raw sockets before.
 */
#include "server/grpc/accept.h"

#include "runtime/base/clock.h"
#include "server/grpc/transport_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND_NS INT64_C(1000000000)

/* Preface, then an empty SETTINGS frame. */
static const char opening[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

typedef struct world {
    grpc_server *server;
    grpc_completion_queue *queue;
    pthread_t poller;
    pith_accept *accept;
    int tag;
} world;

static void *poll_core(void *arg) {
    while (grpc_completion_queue_next(arg, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN) {
    }
    return NULL;
}

static void open_world(world *w, uint32_t connections_max) {
    pith_err err;
    grpc_init();
    w->server = grpc_server_create(NULL, NULL);
    w->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(w->server, w->queue, NULL);
    grpc_server_start(w->server);
    assert_int_equal(pthread_create(&w->poller, NULL, poll_core, w->queue), 0);
    assert_int_equal(pith_accept_open(&w->accept, "127.0.0.1:0", connections_max, NULL, &err),
                     PITH_OK);
    assert_int_equal(pith_accept_start(w->accept, w->server, &err), PITH_OK);
}

static void close_world(world *w) {
    pith_accept_stop(w->accept);
    grpc_server_shutdown_and_notify(w->server, w->queue, &w->tag);
    grpc_server_cancel_all_calls(w->server);
    (void)usleep(100000);
    grpc_completion_queue_shutdown(w->queue);
    (void)pthread_join(w->poller, NULL);
    grpc_server_destroy(w->server);
    grpc_completion_queue_destroy(w->queue);
    pith_accept_close(w->accept);
    grpc_shutdown_blocking();
}

static int connect_to(const world *w) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(pith_accept_port(w->accept)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static int speak(const world *w) {
    int fd = connect_to(w);
    assert_int_equal(send(fd, opening, sizeof opening - 1, MSG_NOSIGNAL), sizeof opening - 1);
    char first;
    assert_int_equal(recv(fd, &first, 1, 0), 1); /* the core answers: it has the socket */
    return fd;
}

/* Reads until the peer ends it or `ms` have passed. */
static bool is_cut_within(int fd, int64_t ms) {
    int64_t end = pith_clock_now(&pith_clock_system) + ms * 1000000;
    struct timeval wait = {.tv_usec = 50000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    while (pith_clock_now(&pith_clock_system) < end) {
        char bytes[4096];
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return true;
        }
    }
    return false;
}

static pith_accept_stats stats_of(const world *w) {
    pith_accept_stats stats;
    pith_accept_read_stats(w->accept, &stats);
    return stats;
}

static bool wait_open(const world *w, uint64_t expected) {
    for (int i = 0; i < 200 && stats_of(w).open != expected; i++) {
        (void)usleep(10000);
    }
    return stats_of(w).open == expected;
}

static void a_peer_of_another_protocol_is_refused(void **state) {
    world w = {0};
    open_world(&w, 8);
    int fd = connect_to(&w);
    assert_int_equal(send(fd, "GET /", 5, MSG_NOSIGNAL), 5);
    assert_true(is_cut_within(fd, 2000));
    assert_int_equal(stats_of(&w).refused, 1);
    assert_true(wait_open(&w, 0));
    (void)close(fd);
    close_world(&w);
}

static void connections_over_the_cap_are_refused_until_one_ends(void **state) {
    world w = {0};
    open_world(&w, 2);
    int first = speak(&w);
    int second = speak(&w);
    int third = connect_to(&w);
    assert_true(is_cut_within(third, 2000));
    assert_int_equal(stats_of(&w).refused, 1);
    (void)close(first);
    assert_true(wait_open(&w, 1));
    int fourth = speak(&w);
    (void)close(second);
    (void)close(third);
    (void)close(fourth);
    close_world(&w);
}

/* Tells the loop `n` times that a call was abandoned, on whatever connection there is. */
static void abandon(const world *w, int n) {
    for (int fd = 0; fd < 256; fd++) {
        char peer[16];
        (void)snprintf(peer, sizeof peer, "fd:%d", fd);
        for (int i = 0; i < n; i++) {
            pith_accept_abandoned(w->accept, peer);
        }
    }
    pith_accept_abandoned(w->accept, "ipv4:127.0.0.1:1"); /* not ours: ignored */
    pith_accept_abandoned(w->accept, "fd:-1");
    pith_accept_abandoned(w->accept, "fd:99999999");
}

static void a_connection_that_abandons_calls_is_cut_once(void **state) {
    world w = {0};
    open_world(&w, 8);
    int fd = speak(&w);
    abandon(&w, 190);
    assert_false(is_cut_within(fd, 200)); /* within the burst */
    abandon(&w, 300);
    assert_true(is_cut_within(fd, 2000));
    assert_int_equal(stats_of(&w).cut, 1);
    assert_true(wait_open(&w, 0));
    (void)close(fd);
    close_world(&w);
}

/* The core does not look at a PRIORITY frame: only the bytes on their way to it tell. */
static void a_flood_of_frames_is_cut_and_the_others_stay(void **state) {
    world w = {0};
    open_world(&w, 8);
    int calm = speak(&w);
    int hostile = speak(&w);
    char frames[14 * 1100];
    for (size_t i = 0; i < sizeof frames; i += 14) {
        memcpy(frames + i, "\0\0\5\2\0\0\0\0\1\0\0\0\0\1", 14);
    }
    assert_int_equal(send(hostile, frames, 14 * 900, MSG_NOSIGNAL), 14 * 900);
    assert_false(is_cut_within(hostile, 200));
    (void)send(hostile, frames, 14 * 400, MSG_NOSIGNAL);
    assert_true(is_cut_within(hostile, 2000));
    assert_int_equal(stats_of(&w).cut, 1);
    assert_true(wait_open(&w, 1));
    assert_false(is_cut_within(calm, 100));
    (void)close(hostile); /* its number goes to the next one, which begins anew */
    int next = speak(&w);
    assert_int_equal(send(next, frames, 14 * 900, MSG_NOSIGNAL), 14 * 900);
    assert_false(is_cut_within(next, 200));
    (void)close(next);
    (void)close(calm);
    close_world(&w);
}

static void the_busiest_connection_is_cut_and_no_other(void **state) {
    world w = {0};
    open_world(&w, 8);
    int calm = speak(&w);
    int busy = speak(&w);
    static const char update[] = "\0\0\4\x08\0\0\0\0\0\0\0\0\1"; /* WINDOW_UPDATE by 1 */
    assert_false(pith_accept_cut_busiest(w.accept, UINT64_MAX)); /* takes the counts */
    for (int i = 0; i < 100; i++) {
        assert_true(send(busy, update, sizeof update - 1, MSG_NOSIGNAL) > 0);
    }
    (void)usleep(50000);
    assert_false(pith_accept_cut_busiest(w.accept, 1 << 20)); /* not that busy; counts again */
    for (int i = 0; i < 100; i++) {
        assert_true(send(busy, update, sizeof update - 1, MSG_NOSIGNAL) > 0);
    }
    (void)usleep(50000);
    assert_true(pith_accept_cut_busiest(w.accept, 1000));
    assert_true(is_cut_within(busy, 2000));
    assert_false(is_cut_within(calm, 200));
    (void)close(calm);
    (void)close(busy);
    close_world(&w);
}

/* Floods with frames that cost the core work and carry nothing; true when it was cut. */
static bool flood(int fd, int64_t ms) {
    static char frames[13 * 1000];
    for (size_t i = 0; i < sizeof frames; i += 13) {
        memcpy(frames + i, "\0\0\4\x08\0\0\0\0\0\0\0\0\1", 13);
    }
    /* The sum of the updates must stay below 2^31, or the core ends the connection itself. */
    int64_t end = pith_clock_now(&pith_clock_system) + ms * 1000000;
    for (size_t sent = 0; pith_clock_now(&pith_clock_system) < end && sent < (size_t)1 << 30;) {
        ssize_t n = send(fd, frames, sizeof frames, MSG_NOSIGNAL);
        if (n < 0) {
            return true;
        }
        sent += (size_t)n;
    }
    return false;
}

static void the_watchdog_cuts_a_flood_only_while_a_thread_is_stuck(void **state) {
    for (int stuck = 0; stuck < 2; stuck++) {
        world w = {0};
        open_world(&w, 8);
        pith_poller pollers[PITH_POLLERS];
        memset(pollers, 0, sizeof pollers);
        pith_watchdog *watchdog;
        pith_err err;
        assert_int_equal(pith_watchdog_open(&watchdog, w.accept, pollers, SECOND_NS / 1000, &err),
                         PITH_OK);
        int fd = speak(&w);
        if (stuck == 1) {
            pith_stay_begin(&pollers[1].stay, pith_clock_now(&pith_clock_system));
        }
        assert_int_equal(flood(fd, stuck == 1 ? 5000 : 800), stuck == 1);
        pith_watchdog_close(watchdog);
        (void)close(fd);
        close_world(&w);
    }
}

static void count_long(void *arg) {
    ++*(int *)arg;
}

static void reads_that_go_on_for_long_within_a_stay_are_told_of(void **state) {
    int told = 0;
    pith_stay stay = {.on_long = count_long, .arg = &told};
    const int64_t begun = SECOND_NS;
    pith_stay_read(begun);
    pith_stay_read(begun + 2 * PITH_RELIEF_NS); /* outside */
    pith_stay_begin(&stay, begun);
    pith_stay_read(begun);
    pith_stay_read(begun + PITH_RELIEF_NS);
    assert_int_equal(told, 0);
    pith_stay_end(&stay);
    pith_stay_begin(&stay, begun); /* a wait may lie between: the first read of each stay counts */
    pith_stay_read(begun + 3 * PITH_RELIEF_NS);
    assert_int_equal(told, 0);
    pith_stay_read(begun + 4 * PITH_RELIEF_NS + 1);
    assert_int_equal(told, 1);
    pith_stay_end(&stay);
    pith_stay_read(begun + 9 * PITH_RELIEF_NS);
    assert_int_equal(told, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_that_go_on_for_long_within_a_stay_are_told_of),
        cmocka_unit_test(a_peer_of_another_protocol_is_refused),
        cmocka_unit_test(connections_over_the_cap_are_refused_until_one_ends),
        cmocka_unit_test(a_connection_that_abandons_calls_is_cut_once),
        cmocka_unit_test(a_flood_of_frames_is_cut_and_the_others_stay),
        cmocka_unit_test(the_busiest_connection_is_cut_and_no_other),
        cmocka_unit_test(the_watchdog_cuts_a_flood_only_while_a_thread_is_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
