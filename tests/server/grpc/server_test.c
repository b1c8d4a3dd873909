/* with: tests/server/fake_engine.c */
/* The server and our own client in one process, over loopback, with the fake engine. */
#include "server/grpc/server.h"

#include "server/grpc/client.h"
#include "tests/server/fake_engine.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND_NS INT64_C(1000000000)
#define TIMEOUT   (20 * SECOND_NS)

typedef struct world {
    pith_engine *engine;
    pith_grpc_server *server;
    const char *addr;
} world;

static world open_world(pith_grpc_opts opts) {
    world w = {0};
    const pith_engine_opts engine = {0};
    pith_err err;
    assert_int_equal(pith_engine_open(&w.engine, &engine, &err), PITH_OK);
    opts.listen = "127.0.0.1:0";
    opts.engine = w.engine;
    opts.lame_duck_ns = opts.lame_duck_ns == 0 ? 1 : opts.lame_duck_ns;
    assert_int_equal(pith_grpc_server_open(&w.server, &opts, &err), PITH_OK);
    assert_int_equal(pith_grpc_server_start(w.server, &err), PITH_OK);
    w.addr = pith_grpc_server_address(w.server);
    return w;
}

static void close_world(world *w) {
    (void)pith_grpc_server_drain(w->server, 5000);
    pith_grpc_server_close(w->server);
    pith_engine_close(w->engine);
}

static Pith__V1__CompressRequest a_request(const char *text, size_t len) {
    Pith__V1__CompressRequest request = PITH__V1__COMPRESS_REQUEST__INIT;
    request.text = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)(uintptr_t)text};
    return request;
}

static void a_text_is_compressed_over_the_wire(void **state) {
    world w = open_world((pith_grpc_opts){0});
    Pith__V1__CompressRequest request = a_request("a long\0text of 7", 16);
    Pith__V1__CompressResponse *response;
    pith_err err;
    assert_int_equal(pith_client_compress(w.addr, &request, TIMEOUT, &response, &err), PITH_OK);
    assert_int_equal(response->text.len, 11);
    assert_memory_equal(response->text.data, "long\0text 7", 11);
    assert_int_equal(response->input_words, 4);
    assert_int_equal(response->n_kept_ranges, 4);
    pith__v1__compress_response__free_unpacked(response, NULL);
    close_world(&w);
}

static void a_refusal_comes_back_as_its_status_and_text(void **state) {
    world w = open_world((pith_grpc_opts){.text_bytes_max = 10});
    Pith__V1__CompressRequest request = a_request("01234567890", 11);
    Pith__V1__CompressResponse *response;
    pith_err err;
    assert_int_equal(pith_client_compress(w.addr, &request, TIMEOUT, &response, &err),
                     PITH_INVALID);
    assert_null(response);
    assert_non_null(strstr(err.text, "INVALID_ARGUMENT: text: 11 bytes, at most 10 are allowed"));
    request = a_request("x", 1);
    request.model = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *)(uintptr_t) "none"};
    assert_int_equal(pith_client_compress(w.addr, &request, TIMEOUT, &response, &err),
                     PITH_NOT_FOUND);
    close_world(&w);
}

static void a_server_that_is_not_there_is_unavailable(void **state) {
    world w = open_world((pith_grpc_opts){0});
    char addr[80];
    (void)snprintf(addr, sizeof addr, "%s", w.addr);
    close_world(&w);
    bool serving = true;
    pith_err err;
    assert_int_equal(pith_client_health(addr, "", 2 * SECOND_NS, &serving, &err), PITH_UNAVAILABLE);
    assert_false(serving);
}

static void the_deadline_of_a_client_is_kept(void **state) {
    world w = open_world((pith_grpc_opts){0});
    Pith__V1__CompressRequest request = a_request("@delay=60000 x", 14);
    Pith__V1__CompressResponse *response;
    pith_err err;
    int64_t began = pith_clock_now(&pith_clock_system);
    assert_int_equal(pith_client_compress(w.addr, &request, SECOND_NS / 5, &response, &err),
                     PITH_DEADLINE);
    assert_true(pith_clock_now(&pith_clock_system) - began < 5 * SECOND_NS);
    pith_engine_stats stats;
    do { /* the engine is told */
        (void)usleep(1000);
        pith_engine_read_stats(w.engine, &stats);
    } while (stats.in_flight > 0 && pith_clock_now(&pith_clock_system) - began < 5 * SECOND_NS);
    assert_int_equal(stats.in_flight, 0);
    close_world(&w);
}

static void every_call_is_counted_in_and_out(void **state) {
    world w = open_world((pith_grpc_opts){0});
    pith_grpc_stats stats;
    for (int i = 0; i < 5; i++) {
        bool serving;
        pith_err err;
        assert_int_equal(pith_client_health(w.addr, "", TIMEOUT, &serving, &err), PITH_OK);
        assert_true(serving);
    }
    (void)pith_grpc_server_drain(w.server, 5000);
    pith_grpc_server_read_stats(w.server, &stats);
    assert_int_equal(stats.calls, 5);
    assert_int_equal(stats.calls_ended, 5);
    assert_int_equal(stats.calls_open, 0);
    pith_grpc_server_close(w.server);
    pith_engine_close(w.engine);
}

static bool serving_now(const world *w, const char *name) {
    bool serving;
    pith_err err;
    assert_int_equal(pith_client_health(w->addr, name, TIMEOUT, &serving, &err), PITH_OK);
    return serving;
}

static void *compress_in_background(void *arg) {
    Pith__V1__CompressRequest request = a_request("word", 4);
    Pith__V1__CompressResponse *response;
    pith_err err;
    pith_status status = pith_client_compress(arg, &request, TIMEOUT, &response, &err);
    pith__v1__compress_response__free_unpacked(response, NULL);
    return (void *)(uintptr_t)status;
}

static bool wait_serving(const world *w, const char *name, bool expected) {
    int64_t end = pith_clock_now(&pith_clock_system) + 10 * SECOND_NS;
    while (serving_now(w, name) != expected && pith_clock_now(&pith_clock_system) < end) {
        (void)usleep(50000);
    }
    return serving_now(w, name) == expected;
}

static void a_stalled_engine_is_not_serving_until_it_moves(void **state) {
    world w = open_world((pith_grpc_opts){0});
    (void)usleep(700000);
    assert_true(serving_now(&w, "liveness")); /* idle is not stalled */
    fake_engine_freeze(w.engine, true);
    pthread_t caller;
    assert_int_equal(
        pthread_create(&caller, NULL, compress_in_background, (void *)(uintptr_t)w.addr), 0);
    assert_true(wait_serving(&w, "liveness", false));
    assert_false(serving_now(&w, ""));
    fake_engine_freeze(w.engine, false);
    assert_true(wait_serving(&w, "liveness", true));
    assert_true(serving_now(&w, "pith.v1.CompressionService"));
    void *status;
    (void)pthread_join(caller, &status);
    assert_int_equal((uintptr_t)status, PITH_OK);
    close_world(&w);
}

static void *drain_in_background(void *arg) {
    (void)pith_grpc_server_drain(arg, 5000);
    return NULL;
}

static void the_lame_duck_serves_but_says_not_serving(void **state) {
    world w = open_world((pith_grpc_opts){.lame_duck_ns = SECOND_NS});
    pthread_t drain;
    assert_int_equal(pthread_create(&drain, NULL, drain_in_background, w.server), 0);
    assert_true(wait_serving(&w, "", false));
    assert_true(serving_now(&w, "liveness")); /* must not be restarted for draining */
    (void)pthread_join(drain, NULL);
    pith_grpc_server_close(w.server);
    pith_engine_close(w.engine);
}

static void hurry_cuts_the_grace_short(void **state) {
    world w = open_world((pith_grpc_opts){0});
    pthread_t caller;
    fake_engine_freeze(w.engine, true);
    assert_int_equal(
        pthread_create(&caller, NULL, compress_in_background, (void *)(uintptr_t)w.addr), 0);
    pith_engine_stats stats;
    do {
        (void)usleep(1000);
        pith_engine_read_stats(w.engine, &stats);
    } while (stats.in_flight == 0);
    pith_grpc_server_hurry(w.server);
    int64_t began = pith_clock_now(&pith_clock_system);
    assert_int_equal(pith_grpc_server_drain(w.server, 60000), 1);
    assert_true(pith_clock_now(&pith_clock_system) - began < 10 * SECOND_NS);
    void *status;
    (void)pthread_join(caller, &status);
    assert_int_not_equal((uintptr_t)status, PITH_OK);
    pith_engine_close(w.engine); /* before the server: its last answers are out */
    pith_grpc_server_close(w.server);
}

static void a_server_that_never_started_can_be_closed(void **state) {
    pith_grpc_server *server;
    pith_err err;
    const pith_grpc_opts opts = {.listen = "127.0.0.1:0"};
    assert_int_equal(pith_grpc_server_open(&server, &opts, &err), PITH_OK);
    assert_true(pith_grpc_server_port(server) > 0);
    pith_grpc_server_close(server);
    pith_grpc_server_close(NULL);
}

static void a_port_in_use_refuses_to_open(void **state) {
    world w = open_world((pith_grpc_opts){0});
    pith_grpc_server *second;
    pith_err err;
    const pith_grpc_opts opts = {.listen = w.addr, .engine = w.engine};
    assert_int_equal(pith_grpc_server_open(&second, &opts, &err), PITH_IO);
    assert_null(second);
    assert_non_null(strstr(err.text, "Address already in use"));
    close_world(&w);
}

static void calls_over_the_cap_are_refused_but_health_is_not(void **state) {
    world w = open_world((pith_grpc_opts){.calls_max = 1});
    fake_engine_freeze(w.engine, true);
    pthread_t caller;
    assert_int_equal(
        pthread_create(&caller, NULL, compress_in_background, (void *)(uintptr_t)w.addr), 0);
    pith_engine_stats stats;
    do {
        (void)usleep(1000);
        pith_engine_read_stats(w.engine, &stats);
    } while (stats.in_flight == 0);
    Pith__V1__CompressRequest request = a_request("x", 1);
    Pith__V1__CompressResponse *response;
    pith_err err;
    assert_int_equal(pith_client_compress(w.addr, &request, TIMEOUT, &response, &err),
                     PITH_EXHAUSTED);
    (void)serving_now(&w, ""); /* answered; what it says depends on how long the engine is frozen */
    fake_engine_freeze(w.engine, false);
    void *status;
    (void)pthread_join(caller, &status);
    assert_int_equal((uintptr_t)status, PITH_OK);
    pith_grpc_stats open;
    do { /* the client has its answer a little before the server has done with the call */
        (void)usleep(1000);
        pith_grpc_server_read_stats(w.server, &open);
    } while (open.calls_open > 0);
    assert_int_equal(pith_client_compress(w.addr, &request, TIMEOUT, &response, &err), PITH_OK);
    pith__v1__compress_response__free_unpacked(response, NULL);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_compressed_over_the_wire),
        cmocka_unit_test(a_refusal_comes_back_as_its_status_and_text),
        cmocka_unit_test(a_server_that_is_not_there_is_unavailable),
        cmocka_unit_test(the_deadline_of_a_client_is_kept),
        cmocka_unit_test(every_call_is_counted_in_and_out),
        cmocka_unit_test(a_stalled_engine_is_not_serving_until_it_moves),
        cmocka_unit_test(the_lame_duck_serves_but_says_not_serving),
        cmocka_unit_test(hurry_cuts_the_grace_short),
        cmocka_unit_test(a_server_that_never_started_can_be_closed),
        cmocka_unit_test(a_port_in_use_refuses_to_open),
        cmocka_unit_test(calls_over_the_cap_are_refused_but_health_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
