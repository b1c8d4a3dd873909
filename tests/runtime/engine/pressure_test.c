/* with: tests/runtime/engine/fixture.c */
/* Limits, deadlines, cancels by the hundred thousand, long texts beside short ones. */
#include "tests/runtime/engine/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static void wait_empty(pith_engine *engine, pith_engine_stats *stats) {
    do {
        (void)usleep(1000);
        pith_engine_read_stats(engine, stats);
    } while (stats->in_flight > 0);
}

static void check_gauges_are_zero(const pith_engine_stats *stats) {
    assert_int_equal(stats->bytes_in_flight, 0);
    assert_int_equal(stats->tokens_in_flight, 0);
    assert_int_equal(stats->running, 0);
    for (int i = 0; i < PITH_STAGE_COUNT; i++) {
        assert_int_equal(stats->in_stage[i], 0);
    }
    for (int i = 0; i < PITH_PRIORITY_COUNT; i++) {
        assert_int_equal(stats->waiting[i], 0);
    }
    assert_int_equal(stats->accepted, stats->answered);
}

static void each_limit_refuses_by_its_name_and_one_text_always_fits(void **state) {
    char *text = words_of(1000, 1); /* some 5 KB, 2,000 tokens */
    const struct {
        pith_engine_opts opts;
        pith_refused reason;
    } cases[] = {
        {{.jobs_max = 1}, PITH_REFUSED_REQUESTS},
        {{.bytes_max = 6000}, PITH_REFUSED_BYTES},
        {{.tokens_max = 3000}, PITH_REFUSED_TOKENS},
        {{.tokens_max = 1, .bytes_max = 1}, PITH_REFUSED_BYTES},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_runner fake;
        pith_engine *engine = faked(&fake, cases[i].opts);
        atomic_store(&fake.held, true);
        kept_reply first;
        kept_reply second;
        kept_reply_init(&first);
        kept_reply_init(&second);
        pith_refusal refusal;
        assert_int_equal(submit(engine, text, &first, (pith_submit_opts){0}, NULL, &refusal),
                         PITH_OK);
        assert_int_equal(refusal.reason, PITH_REFUSED_NOT);
        assert_int_equal(submit(engine, text, &second, (pith_submit_opts){0}, NULL, &refusal),
                         PITH_EXHAUSTED);
        assert_int_equal(refusal.reason, cases[i].reason);
        assert_true(refusal.retry_after_ns > 0);
        atomic_store(&fake.held, false);
        kept_reply_wait(&first);
        pith_engine_stats stats;
        wait_empty(engine, &stats);
        assert_int_equal(stats.refusals[cases[i].reason], 1);
        assert_int_equal(stats.rejected, 1);
        check_gauges_are_zero(&stats);
        assert_int_equal(submit(engine, text, &second, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
        kept_reply_wait(&second);
        pith_engine_close(engine);
        kept_reply_free(&first);
        kept_reply_free(&second);
    }
    free(text);
}

static void a_deadline_shorter_than_the_wait_is_refused_at_once(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){.step_tokens_max = 400});
    atomic_store(&fake.held, true);
    char *text = words_of(20000, 2);
    kept_reply kept[9];
    pith_refusal refusal;
    int64_t now = pith_clock_now(&pith_clock_system);
    for (int i = 0; i < 9; i++) {
        kept_reply_init(&kept[i]);
    }
    pith_submit_opts late = {.deadline_ns = now};
    assert_int_equal(submit(engine, text, &kept[8], late, NULL, &refusal), PITH_DEADLINE);
    assert_int_equal(refusal.reason, PITH_REFUSED_DEADLINE);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(submit(engine, text, &kept[i], (pith_submit_opts){0}, NULL, NULL),
                         PITH_OK);
    }
    /* 8 texts of 50,000 tokens at the microsecond a token that a runner is taken for at first */
    int64_t wait = pith_engine_wait(engine, PITH_PRIORITY_NORMAL, strlen(text));
    assert_true(wait > 100 * MS);
    assert_true(pith_engine_wait(engine, PITH_PRIORITY_INTERACTIVE, strlen(text)) < wait / 4);
    late.deadline_ns = pith_clock_now(&pith_clock_system) + 10 * MS;
    assert_int_equal(submit(engine, text, &kept[8], late, NULL, &refusal), PITH_DEADLINE);
    assert_true(refusal.wait_ns > 10 * MS);
    atomic_store(&fake.held, false);
    for (int i = 0; i < 8; i++) {
        kept_reply_wait(&kept[i]);
        assert_int_equal(kept[i].status, PITH_OK);
    }
    pith_engine_stats stats;
    wait_empty(engine, &stats);
    check_gauges_are_zero(&stats);
    assert_int_equal(pith_engine_wait(engine, PITH_PRIORITY_INTERACTIVE, 0) < MS, true);
    pith_engine_close(engine);
    for (int i = 0; i < 9; i++) {
        kept_reply_free(&kept[i]);
    }
    free(text);
}

/* A millisecond passes at each look: a machine so busy that a letter takes some. */
static int64_t busy_now(void *self) {
    return atomic_fetch_add((atomic_int_fast64_t *)self, MS);
}

static void a_letter_on_a_busy_machine_says_little_of_how_long_a_text_takes(void **state) {
    fake_runner fake;
    atomic_int_fast64_t now = INT64_C(1000000000000);
    pith_clock clock = {.now_ns = busy_now, .self = &now};
    pith_engine *engine = faked(&fake, (pith_engine_opts){.step_tokens_max = 400, .clock = &clock});
    kept_reply kept[2];
    kept_reply_init(&kept[0]);
    kept_reply_init(&kept[1]);
    assert_int_equal(submit(engine, "x", &kept[0], (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    kept_reply_wait(&kept[0]);
    assert_true(pith_engine_wait(engine, PITH_PRIORITY_NORMAL, 100000) < 5000 * MS);
    char *text = words_of(7000, 5); /* some 35 KB */
    pith_submit_opts opts = {.deadline_ns = atomic_load(&now) + 60000 * MS};
    assert_int_equal(submit(engine, text, &kept[1], opts, NULL, NULL), PITH_OK);
    kept_reply_wait(&kept[1]);
    assert_int_equal(kept[1].status, PITH_OK);
    pith_engine_close(engine);
    kept_reply_free(&kept[0]);
    kept_reply_free(&kept[1]);
    free(text);
}

static void a_deadline_amid_a_text_gives_the_part_that_was_scored(void **state) {
    fake_runner fake;
    scripted_clock scripted;
    pith_clock clock = scripted_clock_init(&scripted);
    pith_engine *engine = faked(&fake, (pith_engine_opts){.step_tokens_max = 200, .clock = &clock});
    atomic_store(&fake.held, true);
    char *text = words_of(2000, 3); /* over 20 windows */
    kept_reply kept;
    kept_reply_init(&kept);
    int64_t deadline = pith_clock_now(&clock) + 60000 * MS;
    pith_job *job;
    assert_int_equal(
        submit(engine, text, &kept, (pith_submit_opts){.deadline_ns = deadline}, &job, NULL),
        PITH_OK);
    uint32_t done = 0;
    uint32_t total = 0;
    while (done < 3) { /* step by step */
        atomic_store(&fake.one, true);
        (void)usleep(1000);
        pith_job_progress(job, &done, &total);
    }
    /* No further window would be done in time, but there is time to finish. */
    atomic_store(&scripted.now_ns, deadline - MS);
    (void)usleep(20000);
    atomic_store(&fake.held, false);
    kept_reply_wait(&kept);
    assert_int_equal(kept.status, PITH_OK);
    assert_true(kept.partial);
    pith_job_progress(job, &done, &total);
    assert_in_range(done, 3, 8);
    assert_true(total > 15);
    assert_int_equal(kept.n_windows, done);
    /* Over half the text was never seen and is there word for word. */
    assert_true(kept.unscored_words > 1000 && kept.unscored_words < 2000);
    size_t tail = strlen(text) / 2;
    assert_true(kept.text_len > tail && kept.text_len < strlen(text));
    assert_memory_equal(kept.text + kept.text_len - tail, text + strlen(text) - tail, tail);
    pith_engine_stats stats;
    wait_empty(engine, &stats);
    assert_int_equal(stats.partial, 1);
    assert_int_equal(stats.unscored_words, kept.unscored_words);
    check_gauges_are_zero(&stats);
    pith_job_release(job);
    pith_engine_close(engine);
    kept_reply_free(&kept);
    free(text);
}

enum { CANCELS = 100000 };

static void count_reply(void *user, const pith_reply *reply) {
    (void)atomic_fetch_add((atomic_uint *)user, 1);
}

static void a_hundred_thousand_cancelled_jobs_leave_nothing_behind(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){.jobs_max = 64});
    char *longer = words_of(500, 4); /* over what submit ingests itself */
    static atomic_uint replies;
    uint32_t accepted = 0;
    while (accepted < CANCELS) {
        const char *text = accepted % 500 == 0 ? longer : "a short text with 7 words in it";
        pith_compress_request request = request_of(text, strlen(text));
        pith_submit_opts opts = {.deadline_ns = PITH_DEADLINE_NONE,
                                 .priority = (pith_priority)(accepted % PITH_PRIORITY_COUNT),
                                 .reply = count_reply,
                                 .user = &replies};
        pith_job *job;
        if (pith_engine_submit(engine, &request, &opts, &job, NULL, NULL) == PITH_OK) {
            accepted++;
            pith_job_cancel(job);
            pith_job_cancel(job); /* twice is once */
            pith_job_release(job);
        } else {
            (void)usleep(100);
        }
    }
    pith_engine_stats stats;
    wait_empty(engine, &stats);
    check_gauges_are_zero(&stats);
    assert_int_equal(stats.accepted, CANCELS);
    assert_int_equal(stats.outcomes[PITH_CANCELLED] + stats.outcomes[PITH_OK], CANCELS);
    assert_true(stats.cancelled > CANCELS / 4);
    assert_int_equal(atomic_load(&replies), CANCELS);
    pith_engine_close(engine);
    free(longer);
}

static void a_cancelled_giant_stops_while_it_is_tokenized(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    char *giant = words_of(600000, 5); /* 3 MB */
    kept_reply kept;
    kept_reply alone;
    kept_reply_init(&kept);
    kept_reply_init(&alone);
    pith_job *job;
    assert_int_equal(submit(engine, giant, &kept, (pith_submit_opts){0}, &job, NULL), PITH_OK);
    pith_engine_stats stats;
    pith_engine_read_stats(engine, &stats);
    assert_int_equal(stats.in_stage[PITH_STAGE_INGEST], 1);
    pith_job_cancel(job);
    pith_job_release(job);
    kept_reply_wait(&kept);
    assert_int_equal(kept.status, PITH_CANCELLED);
    assert_int_equal(atomic_load(&fake.n_submitted), 0); /* it never had all its tokens */
    wait_empty(engine, &stats);
    check_gauges_are_zero(&stats);
    pith_engine_close(engine);
    kept_reply_free(&kept);
    kept_reply_free(&alone);
    free(giant);
}

/* Three giants fill every thread for long texts, a fourth waits for one; short ones go past. */
static void short_texts_go_past_giants_that_are_tokenized(void **state) {
    enum { GIANTS = 4, SHORT = 5 };
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    char *giant = words_of(200000, 6); /* 1 MB */
    char *text = words_of(600, 7);     /* over what submit ingests itself */
    kept_reply giants[GIANTS];
    kept_reply kept[SHORT];
    for (int i = 0; i < GIANTS; i++) {
        kept_reply_init(&giants[i]);
        assert_int_equal(submit(engine, giant, &giants[i], (pith_submit_opts){0}, NULL, NULL),
                         PITH_OK);
    }
    for (int i = 0; i < SHORT; i++) {
        kept_reply_init(&kept[i]);
        assert_int_equal(submit(engine, text, &kept[i], (pith_submit_opts){0}, NULL, NULL),
                         PITH_OK);
        kept_reply_wait(&kept[i]);
        assert_int_equal(kept[i].status, PITH_OK);
    }
    pith_engine_stats stats;
    pith_engine_read_stats(engine, &stats);
    assert_true(stats.in_flight > 0); /* giants were under way all the time */
    for (int i = 0; i < GIANTS; i++) {
        kept_reply_wait(&giants[i]);
        assert_int_equal(giants[i].status, PITH_OK);
        assert_int_equal(giants[i].text_len, giants[0].text_len);
        assert_memory_equal(giants[i].text, giants[0].text, giants[0].text_len);
    }
    pith_engine_close(engine);
    for (int i = 0; i < GIANTS; i++) {
        kept_reply_free(&giants[i]);
    }
    for (int i = 0; i < SHORT; i++) {
        kept_reply_free(&kept[i]);
    }
    free(giant);
    free(text);
}

static void a_short_text_goes_in_front_of_a_giants_window(void **state) {
    enum { SHORT = 400 };
    pith_engine *engine = engine_on(model_dir, (pith_engine_opts){.n_threads = 1});
    assert_non_null(engine);
    char *giant = words_of(12000, 8);
    char *text = words_of(30, 9);
    kept_reply alone[2];
    kept_reply beside[2];
    for (int i = 0; i < 2; i++) {
        kept_reply_init(&alone[i]);
        kept_reply_init(&beside[i]);
        assert_int_equal(
            submit(engine, i == 0 ? giant : text, &alone[i], (pith_submit_opts){0}, NULL, NULL),
            PITH_OK);
        kept_reply_wait(&alone[i]);
    }
    assert_int_equal(submit(engine, giant, &beside[0], (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    pith_engine_stats stats = {0};
    for (int i = 0; i < SHORT && stats.steps_aside < 3; i++) {
        assert_int_equal(submit(engine, text, &beside[1], (pith_submit_opts){0}, NULL, NULL),
                         PITH_OK);
        kept_reply_wait(&beside[1]);
        assert_int_equal(beside[1].text_len, alone[1].text_len);
        assert_memory_equal(beside[1].text, alone[1].text, alone[1].text_len);
        kept_reply_free(&beside[1]);
        kept_reply_init(&beside[1]);
        pith_engine_read_stats(engine, &stats);
    }
    assert_true(stats.steps_aside >= 3);
    kept_reply_wait(&beside[0]);
    assert_int_equal(beside[0].text_len, alone[0].text_len);
    assert_memory_equal(beside[0].text, alone[0].text, alone[0].text_len);
    pith_engine_close(engine);
    for (int i = 0; i < 2; i++) {
        kept_reply_free(&alone[i]);
        kept_reply_free(&beside[i]);
    }
    free(giant);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_limit_refuses_by_its_name_and_one_text_always_fits),
        cmocka_unit_test(a_deadline_shorter_than_the_wait_is_refused_at_once),
        cmocka_unit_test(a_letter_on_a_busy_machine_says_little_of_how_long_a_text_takes),
        cmocka_unit_test(a_deadline_amid_a_text_gives_the_part_that_was_scored),
        cmocka_unit_test(a_hundred_thousand_cancelled_jobs_leave_nothing_behind),
        cmocka_unit_test(a_cancelled_giant_stops_while_it_is_tokenized),
        cmocka_unit_test(a_short_text_goes_in_front_of_a_giants_window),
        cmocka_unit_test(short_texts_go_past_giants_that_are_tokenized),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
