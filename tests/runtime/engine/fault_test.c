/* with: tests/runtime/engine/fixture.c */
/* A device that is lost, one that stalls, a clock that jumps. */
#include "tests/runtime/engine/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

typedef struct world {
    fake_runner fake;
    scripted_clock scripted;
    pith_clock clock;
    pith_engine *engine;
} world;

static void open_world(world *w) {
    w->clock = scripted_clock_init(&w->scripted);
    w->engine = faked(&w->fake, (pith_engine_opts){.step_tokens_max = 200, .clock = &w->clock});
}

/* The engine thread needs a turn or two to see what a test has done. */
static void wait_state(pith_engine *engine, pith_engine_state state) {
    while (pith_engine_check(engine) != state) {
        (void)usleep(1000);
    }
}

/* A call is counted just after it is answered. */
static void wait_outcomes(pith_engine *engine, pith_status outcome, uint64_t count) {
    pith_engine_stats stats;
    pith_engine_read_stats(engine, &stats);
    while (stats.outcomes[outcome] < count) {
        (void)usleep(1000);
        pith_engine_read_stats(engine, &stats);
    }
    assert_int_equal(stats.outcomes[outcome], count);
}

static void forward(world *w, int64_t ns) {
    (void)atomic_fetch_add(&w->scripted.now_ns, ns);
}

static void a_lost_device_answers_every_call_in_flight_once(void **state) {
    enum { CALLS = 30 };
    world w;
    open_world(&w);
    atomic_store(&w.fake.held, true);
    kept_reply kept[CALLS];
    char *text = words_of(300, 1);
    for (int i = 0; i < CALLS; i++) {
        kept_reply_init(&kept[i]);
        assert_int_equal(submit(w.engine, text, &kept[i], (pith_submit_opts){0}, NULL, NULL),
                         PITH_OK);
    }
    fake_wait_submitted(&w.fake, 2);
    atomic_store(&w.fake.lost, true);
    atomic_store(&w.fake.held, false);
    for (int i = 0; i < CALLS; i++) {
        kept_reply_wait(&kept[i]);
        assert_int_equal(kept[i].status, PITH_UNAVAILABLE);
    }
    assert_int_equal(pith_engine_check(w.engine), PITH_ENGINE_FAULTED);
    atomic_store(&w.fake.lost, false); /* it may look well again: it is not trusted any more */
    kept_reply late;
    kept_reply_init(&late);
    pith_refusal refusal;
    assert_int_equal(submit(w.engine, text, &late, (pith_submit_opts){0}, NULL, &refusal),
                     PITH_UNAVAILABLE);
    assert_int_equal(refusal.reason, PITH_REFUSED_FAULT);
    assert_true(atomic_load(&w.fake.n_submitted) <= 2 + 1);
    wait_outcomes(w.engine, PITH_UNAVAILABLE, CALLS);
    pith_engine_close(w.engine);
    for (int i = 0; i < CALLS; i++) {
        assert_int_equal(kept[i].count, 1);
        kept_reply_free(&kept[i]);
    }
    kept_reply_free(&late);
    free(text);
}

static void a_runner_that_takes_no_step_fails_the_calls_and_not_the_engine(void **state) {
    world w;
    open_world(&w);
    atomic_store(&w.fake.refuse, true);
    char *text = words_of(300, 2);
    kept_reply kept;
    kept_reply_init(&kept);
    assert_int_equal(submit(w.engine, text, &kept, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    kept_reply_wait(&kept);
    assert_int_equal(kept.status, PITH_EXHAUSTED);
    atomic_store(&w.fake.refuse, false);
    kept_reply next;
    kept_reply_init(&next);
    assert_int_equal(submit(w.engine, text, &next, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    kept_reply_wait(&next);
    assert_int_equal(next.status, PITH_OK);
    pith_engine_close(w.engine);
    kept_reply_free(&kept);
    kept_reply_free(&next);
    free(text);
}

static void a_stalled_runner_is_noticed_in_three_beats_and_may_come_back(void **state) {
    world w;
    open_world(&w);
    pith_engine_stats stats;
    pith_engine_read_stats(w.engine, &stats);
    int64_t beat = stats.beat_ns;
    assert_int_equal(stats.state, PITH_ENGINE_SERVING);
    for (int i = 0; i < 5; i++) { /* an idle engine beats */
        forward(&w, beat);
        wait_state(w.engine, PITH_ENGINE_SERVING);
        do {
            (void)usleep(1000);
            pith_engine_read_stats(w.engine, &stats);
        } while (stats.heartbeat_ns != pith_clock_now(&w.clock));
    }
    atomic_store(&w.fake.held, true);
    char *text = words_of(100, 3);
    kept_reply kept;
    kept_reply_init(&kept);
    assert_int_equal(submit(w.engine, text, &kept, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    fake_wait_submitted(&w.fake, 1);
    forward(&w, beat); /* a step may take one beat */
    (void)usleep(20000);
    assert_int_equal(pith_engine_check(w.engine), PITH_ENGINE_SERVING);
    pith_engine_read_stats(w.engine, &stats);
    assert_int_equal(stats.steps_running, 1);
    forward(&w, 2 * beat);
    (void)usleep(20000);
    assert_int_equal(pith_engine_check(w.engine), PITH_ENGINE_SERVING);
    forward(&w, 2 * beat); /* three beats were missed */
    assert_int_equal(pith_engine_check(w.engine), PITH_ENGINE_STALLED);
    (void)usleep(20000); /* the engine's thread is alive and does not hide it */
    assert_int_equal(pith_engine_check(w.engine), PITH_ENGINE_STALLED);
    atomic_store(&w.fake.held, false);
    kept_reply_wait(&kept);
    assert_int_equal(kept.status, PITH_OK);
    wait_state(w.engine, PITH_ENGINE_SERVING);
    pith_engine_close(w.engine);
    kept_reply_free(&kept);
    free(text);
}

static void jumps_of_the_clock_lose_no_reply(void **state) {
    enum { CALLS = 40 };
    static const int64_t jumps[] = {3600000 * MS, -3600000 * MS, 86400000 * MS, -1 * MS, 1};
    world w;
    open_world(&w);
    char *text = words_of(600, 4);
    kept_reply kept[CALLS];
    atomic_store(&w.fake.held, true);
    for (int i = 0; i < CALLS; i++) {
        kept_reply_init(&kept[i]);
        assert_int_equal(submit(w.engine, text, &kept[i], (pith_submit_opts){0}, NULL, NULL),
                         PITH_OK);
        forward(&w, jumps[i % 5]);
        atomic_store(&w.fake.one, true);
        (void)usleep(500);
    }
    atomic_store(&w.fake.held, false);
    for (int i = 0; i < CALLS; i++) {
        kept_reply_wait(&kept[i]);
        assert_int_equal(kept[i].status, PITH_OK);
        assert_int_equal(kept[i].text_len, kept[0].text_len);
        assert_memory_equal(kept[i].text, kept[0].text, kept[0].text_len);
    }
    wait_state(w.engine, PITH_ENGINE_SERVING);
    pith_engine_stats stats;
    do {
        (void)usleep(1000);
        pith_engine_read_stats(w.engine, &stats);
    } while (stats.in_flight > 0);
    assert_int_equal(stats.answered, CALLS);
    assert_true(stats.tokens_per_second > 1.0); /* the speed was not believed to be nothing */
    pith_engine_close(w.engine);
    for (int i = 0; i < CALLS; i++) {
        kept_reply_free(&kept[i]);
    }
    free(text);
}

static void a_drain_refuses_the_new_and_finishes_the_old(void **state) {
    world w;
    open_world(&w);
    atomic_store(&w.fake.held, true);
    char *text = words_of(600, 5);
    kept_reply kept;
    kept_reply late;
    kept_reply_init(&kept);
    kept_reply_init(&late);
    assert_int_equal(submit(w.engine, text, &kept, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    pith_engine_drain(w.engine);
    assert_int_equal(pith_engine_check(w.engine), PITH_ENGINE_DRAINING);
    pith_refusal refusal;
    assert_int_equal(submit(w.engine, text, &late, (pith_submit_opts){0}, NULL, &refusal),
                     PITH_UNAVAILABLE);
    assert_int_equal(refusal.reason, PITH_REFUSED_DRAINING);
    assert_true(refusal.retry_after_ns > 0);
    pith_engine_stats stats;
    pith_engine_read_stats(w.engine, &stats);
    assert_int_equal(stats.in_flight, 1);
    assert_int_equal(stats.refusals[PITH_REFUSED_DRAINING], 1);
    atomic_store(&w.fake.held, false);
    kept_reply_wait(&kept);
    assert_int_equal(kept.status, PITH_OK);
    do {
        (void)usleep(1000);
        pith_engine_read_stats(w.engine, &stats);
    } while (stats.in_flight > 0);
    pith_engine_close(w.engine);
    kept_reply_free(&kept);
    kept_reply_free(&late);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_device_answers_every_call_in_flight_once),
        cmocka_unit_test(a_runner_that_takes_no_step_fails_the_calls_and_not_the_engine),
        cmocka_unit_test(a_stalled_runner_is_noticed_in_three_beats_and_may_come_back),
        cmocka_unit_test(jumps_of_the_clock_lose_no_reply),
        cmocka_unit_test(a_drain_refuses_the_new_and_finishes_the_old),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
