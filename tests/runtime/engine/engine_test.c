/* with: tests/runtime/engine/fixture.c */
/* The engine's promises: one reply a job, bounded queues, cancel and deadline at step boundaries,
 * failures that stay with their job, and the same bytes whatever else is being served. */
#include "tests/runtime/engine/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void one_text_gets_one_reply(void **state) {
    pith_engine *engine = engine_on(model_dir, (pith_engine_opts){0});
    assert_non_null(engine);
    char *text = words_of(300, 1);
    kept_reply kept;
    kept_reply_init(&kept);
    assert_int_equal(submit(engine, text, &kept, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    kept_reply_wait(&kept);
    assert_int_equal(kept.status, PITH_OK);
    assert_true(kept.text_len > 0 && kept.text_len < strlen(text));
    assert_int_equal(strlen(kept.fingerprint), 32);
    pith_engine_close(engine);
    assert_int_equal(kept.count, 1);
    kept_reply_free(&kept);
    free(text);
}

enum { MIX_TEXTS = 16, MIX_ROUNDS = 2 };

static void a_text_gives_the_same_bytes_alone_and_in_any_batch(void **state) {
    char *texts[MIX_TEXTS];
    kept_reply alone[MIX_TEXTS];
    pith_engine *engine = engine_on(model_dir, (pith_engine_opts){.n_threads = 1});
    assert_non_null(engine);
    for (int i = 0; i < MIX_TEXTS; i++) {
        texts[i] = words_of((uint32_t)(1 + i * i * 3), (uint64_t)i);
        kept_reply_init(&alone[i]);
        assert_int_equal(submit(engine, texts[i], &alone[i], (pith_submit_opts){0}, NULL, NULL),
                         PITH_OK);
        kept_reply_wait(&alone[i]);
        assert_int_equal(alone[i].status, PITH_OK);
    }
    pith_engine_close(engine);
    engine = engine_on(model_dir, (pith_engine_opts){.n_threads = 2, .step_tokens_max = 700});
    assert_non_null(engine);
    for (int round = 0; round < MIX_ROUNDS; round++) {
        kept_reply packed[MIX_TEXTS];
        for (int k = 0; k < MIX_TEXTS; k++) {
            int i = (k * 7 + round * 5) % MIX_TEXTS; /* another order each round */
            kept_reply_init(&packed[i]);
            assert_int_equal(
                submit(engine, texts[i], &packed[i], (pith_submit_opts){0}, NULL, NULL), PITH_OK);
        }
        for (int i = 0; i < MIX_TEXTS; i++) {
            kept_reply_wait(&packed[i]);
            assert_int_equal(packed[i].text_len, alone[i].text_len);
            assert_memory_equal(packed[i].text, alone[i].text, alone[i].text_len);
            assert_string_equal(packed[i].fingerprint, alone[i].fingerprint);
            kept_reply_free(&packed[i]);
        }
    }
    pith_engine_close(engine);
    for (int i = 0; i < MIX_TEXTS; i++) {
        kept_reply_free(&alone[i]);
        free(texts[i]);
    }
}

static void a_full_queue_is_refused_and_those_inside_are_answered(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){.jobs_max = 4});
    atomic_store(&fake.held, true);
    kept_reply kept[5];
    char *text = words_of(40, 3);
    for (int i = 0; i < 5; i++) {
        kept_reply_init(&kept[i]);
        pith_status status = submit(engine, text, &kept[i], (pith_submit_opts){0}, NULL, NULL);
        assert_int_equal(status, i < 4 ? PITH_OK : PITH_EXHAUSTED);
    }
    atomic_store(&fake.held, false);
    for (int i = 0; i < 4; i++) {
        kept_reply_wait(&kept[i]);
        assert_int_equal(kept[i].status, PITH_OK);
    }
    pith_engine_stats stats;
    pith_engine_read_stats(engine, &stats);
    assert_int_equal(stats.rejected, 1);
    pith_engine_close(engine);
    assert_true(fake.closed);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kept[i].count, i < 4 ? 1 : 0);
        kept_reply_free(&kept[i]);
    }
    free(text);
}

static void a_cancelled_job_ends_while_others_go_on(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){.step_tokens_max = 200});
    atomic_store(&fake.held, true);
    char *text = words_of(2000, 4);
    kept_reply dropped;
    kept_reply other;
    kept_reply_init(&dropped);
    kept_reply_init(&other);
    pith_job *job;
    assert_int_equal(submit(engine, text, &dropped, (pith_submit_opts){0}, &job, NULL), PITH_OK);
    fake_wait_submitted(&fake, PITH_STEPS_IN_FLIGHT);
    assert_int_equal(
        submit(engine, "a short one with 42 words", &other, (pith_submit_opts){0}, NULL, NULL),
        PITH_OK);
    pith_job_cancel(job);
    pith_job_release(job);
    atomic_store(&fake.held, false);
    kept_reply_wait(&dropped);
    kept_reply_wait(&other);
    assert_int_equal(dropped.status, PITH_CANCELLED);
    assert_int_equal(other.status, PITH_OK);
    /* 2,000 words are over 20 windows of 200; the two steps inside at the cancel end, no more. */
    assert_true(atomic_load(&fake.n_sequences) <= 4);
    pith_engine_close(engine);
    kept_reply_free(&dropped);
    kept_reply_free(&other);
    free(text);
}

static void a_deadline_ends_a_job_that_waits(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    atomic_store(&fake.held, true);
    char *text = words_of(100, 5);
    kept_reply kept;
    kept_reply_init(&kept);
    pith_submit_opts opts = {.deadline_ns = pith_clock_now(&pith_clock_system) + 20000000};
    assert_int_equal(submit(engine, text, &kept, opts, NULL, NULL), PITH_OK);
    (void)usleep(40000);
    atomic_store(&fake.held, false);
    kept_reply_wait(&kept);
    assert_int_equal(kept.status, PITH_DEADLINE);
    pith_engine_close(engine);
    kept_reply_free(&kept);
    free(text);
}

static void a_failed_step_fails_its_jobs_alone(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){.step_tokens_max = 200});
    atomic_store(&fake.fail, true);
    char *text = words_of(500, 6);
    kept_reply first;
    kept_reply second;
    kept_reply_init(&first);
    kept_reply_init(&second);
    assert_int_equal(submit(engine, text, &first, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    kept_reply_wait(&first);
    assert_int_equal(first.status, PITH_INTERNAL);
    assert_string_equal(first.error, "the device made a mistake");
    atomic_store(&fake.fail, false);
    assert_int_equal(submit(engine, text, &second, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    kept_reply_wait(&second);
    assert_int_equal(second.status, PITH_OK);
    pith_engine_close(engine);
    kept_reply_free(&first);
    kept_reply_free(&second);
    free(text);
}

static void a_score_that_is_not_a_number_passes_the_text_through(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    atomic_store(&fake.nan, true);
    char *text = words_of(80, 7);
    kept_reply kept;
    kept_reply_init(&kept);
    assert_int_equal(submit(engine, text, &kept, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    kept_reply_wait(&kept);
    assert_int_equal(kept.status, PITH_OK);
    assert_int_equal(kept.passthrough, PITH_PASS_NONFINITE_SCORE);
    assert_string_equal(kept.text, text);
    pith_engine_stats stats;
    pith_engine_read_stats(engine, &stats);
    assert_int_equal(stats.nonfinite, 1);
    assert_int_equal(stats.passed_through, 1);
    pith_engine_close(engine);
    kept_reply_free(&kept);
    free(text);
}

typedef struct counted {
    pith_engine *engine;
    uint64_t answered; /* when the answer came */
    kept_reply kept;
} counted;

static void take_and_count(void *user, const pith_reply *reply) {
    counted *c = user;
    pith_engine_stats stats;
    pith_engine_read_stats(c->engine, &stats);
    c->answered = stats.answered;
    kept_reply_take(&c->kept, reply);
}

static void an_answer_is_counted_before_it_is_given(void **state) {
    fake_runner fake;
    counted c = {.engine = faked(&fake, (pith_engine_opts){0})};
    kept_reply_init(&c.kept);
    char *text = words_of(80, 8);
    pith_compress_request request = request_of(text, strlen(text));
    pith_submit_opts opts = {
        .deadline_ns = PITH_DEADLINE_NONE, .reply = take_and_count, .user = &c};
    assert_int_equal(pith_engine_submit(c.engine, &request, &opts, NULL, NULL, NULL), PITH_OK);
    kept_reply_wait(&c.kept);
    assert_int_equal(c.answered, 1);
    pith_engine_close(c.engine);
    kept_reply_free(&c.kept);
    free(text);
}

static void interactive_work_goes_before_batch_work(void **state) {
    fake_runner fake;
    scripted_clock scripted; /* nobody ages, however slow the machine */
    pith_clock clock = scripted_clock_init(&scripted);
    pith_engine *engine = faked(&fake, (pith_engine_opts){.step_tokens_max = 200, .clock = &clock});
    atomic_store(&fake.held, true);
    kept_reply kept[8];
    for (int i = 0; i < 8; i++) {
        kept_reply_init(&kept[i]);
    }
    char *filler = words_of(90, 8); /* over half a step, so that no two share one */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(submit(engine, filler, &kept[i], (pith_submit_opts){0}, NULL, NULL),
                         PITH_OK);
    }
    fake_wait_submitted(&fake, 2); /* no step has room left that what comes next could fill */
    unsigned before = atomic_load(&fake.n_sequences);
    assert_int_equal(before, 0);
    pith_job *late;
    pith_submit_opts batch = {.priority = PITH_PRIORITY_BATCH};
    pith_submit_opts urgent = {.priority = PITH_PRIORITY_INTERACTIVE};
    assert_int_equal(submit(engine, "zebra zebra zebra zebra", &kept[2], batch, &late, NULL),
                     PITH_OK);
    wait_tokenized(late);
    pith_job_release(late);
    assert_int_equal(submit(engine, "query query query query", &kept[3], urgent, &late, NULL),
                     PITH_OK);
    wait_tokenized(late);
    pith_job_release(late);
    atomic_store(&fake.held, false);
    for (int i = 0; i < 4; i++) {
        kept_reply_wait(&kept[i]);
        assert_int_equal(kept[i].status, PITH_OK);
    }
    uint32_t n = atomic_load(&fake.n_sequences);
    assert_true(n >= 4);
    /* The last two sequences of all are the urgent one, then the batch one. */
    assert_int_not_equal(fake.first_ids[n - 1], fake.first_ids[n - 2]);
    kept_reply probe;
    kept_reply_init(&probe);
    assert_int_equal(submit(engine, "zebra zebra", &probe, (pith_submit_opts){0}, NULL, NULL),
                     PITH_OK);
    kept_reply_wait(&probe);
    assert_int_equal(fake.first_ids[n], fake.first_ids[n - 1]);
    pith_engine_close(engine);
    kept_reply_free(&probe);
    for (int i = 0; i < 8; i++) {
        kept_reply_free(&kept[i]);
    }
    free(filler);
}

static void a_long_text_does_not_hold_up_a_short_one(void **state) {
    fake_runner fake;
    scripted_clock scripted; /* nobody ages, however slow the machine */
    pith_clock clock = scripted_clock_init(&scripted);
    pith_engine *engine = faked(&fake, (pith_engine_opts){.step_tokens_max = 256, .clock = &clock});
    atomic_store(&fake.held, true);
    char *text = words_of(20000, 9); /* some 500 windows */
    kept_reply big;
    kept_reply small;
    kept_reply_init(&big);
    kept_reply_init(&small);
    assert_int_equal(submit(engine, text, &big, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    fake_wait_submitted(&fake, PITH_STEPS_IN_FLIGHT);
    pith_job *late;
    assert_int_equal(
        submit(engine, "zebra zebra zebra zebra", &small, (pith_submit_opts){0}, &late, NULL),
        PITH_OK);
    wait_tokenized(late);
    pith_job_release(late);
    atomic_store(&fake.held, false);
    kept_reply_wait(&big);
    kept_reply_wait(&small);
    uint32_t n = atomic_load(&fake.n_sequences);
    uint32_t at = 0;
    kept_reply probe;
    kept_reply_init(&probe);
    assert_int_equal(submit(engine, "zebra zebra", &probe, (pith_submit_opts){0}, NULL, NULL),
                     PITH_OK);
    kept_reply_wait(&probe);
    assert_true(n < sizeof fake.first_ids / sizeof *fake.first_ids);
    while (at < n && fake.first_ids[at] != fake.first_ids[n]) {
        at++;
    }
    /* Two steps were inside when it came; it is in one of the next two. */
    assert_true(n > 100);
    assert_true(at <= 24);
    pith_engine_close(engine);
    kept_reply_free(&big);
    kept_reply_free(&small);
    kept_reply_free(&probe);
    free(text);
}

static void bad_requests_are_refused_with_the_field(void **state) {
    fake_runner fake;
    pith_engine *engine =
        faked(&fake, (pith_engine_opts){.text_bytes_max = 64, .step_tokens_max = 200});
    const pith_range outside = {.start = 0, .end = 5};
    const pith_range reversed = {.start = 2, .end = 1};
    const struct {
        pith_compress_request request;
        const char *model;
        pith_status status;
        const char *field;
    } cases[] = {
        {{.text = "a\xFF", .text_len = 2}, NULL, PITH_INVALID, "text"},
        {{.text = "", .text_len = 65}, NULL, PITH_INVALID, "text"},
        {{.text = "a", .text_len = 1, .budget = PITH_BUDGET_TARGET_RATIO, .budget_value = 0.0},
         NULL,
         PITH_INVALID,
         "target_ratio"},
        {{.text = "a", .text_len = 1, .budget = PITH_BUDGET_TARGET_RATIO, .budget_value = 1.01},
         NULL,
         PITH_INVALID,
         "target_ratio"},
        {{.text = "a",
          .text_len = 1,
          .budget = PITH_BUDGET_TARGET_RATIO,
          .budget_value = 0.0 / 0.0},
         NULL,
         PITH_INVALID,
         "target_ratio"},
        {{.text = "a", .text_len = 1, .budget = PITH_BUDGET_THRESHOLD, .budget_value = -0.1},
         NULL,
         PITH_INVALID,
         "threshold"},
        {{.text = "a", .text_len = 1, .budget = PITH_BUDGET_MAX_TOKENS, .budget_value = 0.0},
         NULL,
         PITH_INVALID,
         "max_tokens"},
        {{.text = "a", .text_len = 1, .domain = PITH_DOMAIN_COUNT}, NULL, PITH_INVALID, "domain"},
        {{.text = "a", .text_len = 1, .profile = (pith_profile)7}, NULL, PITH_INVALID, "profile"},
        {{.text = "a", .text_len = 1, .fold_repeats = true, .profile = PITH_PROFILE_KOMPRESS},
         NULL,
         PITH_INVALID,
         "fold_repeats"},
        {{.text = "abcd", .text_len = 4, .keep = &outside, .n_keep = 1},
         NULL,
         PITH_INVALID,
         "keep"},
        {{.text = "abcd", .text_len = 4, .keep = &reversed, .n_keep = 1},
         NULL,
         PITH_INVALID,
         "keep"},
        /* its windows have 512 tokens, a step of this engine holds 200 */
        {{.text = "a", .text_len = 1, .profile = PITH_PROFILE_KOMPRESS},
         NULL,
         PITH_INVALID,
         "profile"},
        {{.text = "a", .text_len = 1}, "nobody", PITH_NOT_FOUND, "model"},
    };
    static char long_text[65];
    memset(long_text, 'a', sizeof long_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pith_compress_request request = cases[i].request;
        if (request.text_len == 65) {
            request.text = long_text;
        }
        pith_refusal refusal = {0};
        pith_err err = {0};
        pith_submit_opts opts = {
            .model = cases[i].model, .deadline_ns = PITH_DEADLINE_NONE, .reply = kept_reply_take};
        assert_int_equal(pith_engine_submit(engine, &request, &opts, NULL, &refusal, &err),
                         cases[i].status);
        assert_string_equal(refusal.field, cases[i].field);
        assert_non_null(strstr(err.text, cases[i].field));
    }
    pith_engine_close(engine);
}

static void an_explanation_of_too_many_words_is_refused_before_the_model_runs(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    char *text = words_of(PITH_EXPLAIN_WORDS_MAX + 1, 12);
    pith_compress_request request = request_of(text, strlen(text));
    request.explain = true;
    kept_reply kept;
    kept_reply_init(&kept);
    pith_submit_opts opts = {
        .deadline_ns = PITH_DEADLINE_NONE, .reply = kept_reply_take, .user = &kept};
    assert_int_equal(pith_engine_submit(engine, &request, &opts, NULL, NULL, NULL), PITH_OK);
    kept_reply_wait(&kept);
    assert_int_equal(kept.status, PITH_INVALID);
    assert_non_null(strstr(kept.error, "explain: 200001 words"));
    assert_int_equal(atomic_load(&fake.n_steps), 0);
    pith_engine_close(engine);
    kept_reply_free(&kept);
    free(text);
}

static void a_draining_engine_finishes_what_it_has_and_takes_no_more(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    atomic_store(&fake.held, true);
    char *text = words_of(50, 10);
    kept_reply inside;
    kept_reply late;
    kept_reply_init(&inside);
    kept_reply_init(&late);
    assert_int_equal(submit(engine, text, &inside, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
    pith_engine_drain(engine);
    assert_int_equal(submit(engine, text, &late, (pith_submit_opts){0}, NULL, NULL),
                     PITH_UNAVAILABLE);
    atomic_store(&fake.held, false);
    kept_reply_wait(&inside);
    assert_int_equal(inside.status, PITH_OK);
    pith_engine_close(engine);
    assert_int_equal(late.count, 0);
    kept_reply_free(&inside);
    kept_reply_free(&late);
    free(text);
}

static void closing_answers_everything_that_was_accepted(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){.step_tokens_max = 200});
    kept_reply kept[20];
    char *text = words_of(3000, 11);
    for (int i = 0; i < 20; i++) {
        kept_reply_init(&kept[i]);
        assert_int_equal(submit(engine, text, &kept[i], (pith_submit_opts){0}, NULL, NULL),
                         PITH_OK);
    }
    pith_engine_close(engine);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kept[i].count, 1);
        assert_true(kept[i].status == PITH_OK || kept[i].status == PITH_CANCELLED);
        kept_reply_free(&kept[i]);
    }
    free(text);
}

enum { STORM_THREADS = 3, STORM_JOBS = 100 };

typedef struct storm {
    pith_engine *engine;
    uint64_t seed;
    uint32_t accepted;
    kept_reply kept[STORM_JOBS];
} storm;

static void *storm_main(void *arg) {
    storm *s = arg;
    for (uint32_t i = 0; i < STORM_JOBS; i++) {
        uint64_t x = s->seed * 7919 + i * 104729;
        char *text = words_of((uint32_t)(x % 300), x);
        pith_submit_opts opts = {.priority = (pith_priority)(x % PITH_PRIORITY_COUNT)};
        if (x % 5 == 0) {
            opts.deadline_ns = pith_clock_now(&pith_clock_system) + (int64_t)(x % 3000000);
        }
        pith_job *job = NULL;
        kept_reply_init(&s->kept[i]);
        if (submit(s->engine, text, &s->kept[i], opts, &job, NULL) == PITH_OK) {
            s->accepted++;
            if (x % 3 == 0) {
                (void)usleep((useconds_t)(x % 2000));
                pith_job_cancel(job);
            }
            pith_job_release(job);
        }
        free(text);
    }
    return NULL;
}

static void a_storm_of_cancels_and_deadlines_loses_no_reply(void **state) {
    pith_engine *engine = engine_on(model_dir, (pith_engine_opts){.jobs_max = 32});
    assert_non_null(engine);
    storm *storms = calloc(STORM_THREADS, sizeof *storms);
    pthread_t threads[STORM_THREADS];
    for (int i = 0; i < STORM_THREADS; i++) {
        storms[i] = (storm){.engine = engine, .seed = (uint64_t)i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, storm_main, &storms[i]), 0);
    }
    uint64_t accepted = 0;
    for (int i = 0; i < STORM_THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        accepted += storms[i].accepted;
    }
    pith_engine_stats stats;
    do {
        (void)usleep(1000);
        pith_engine_read_stats(engine, &stats);
    } while (stats.in_flight > 0);
    assert_int_equal(stats.accepted, accepted);
    assert_int_equal(stats.answered, accepted);
    pith_engine_close(engine);
    uint64_t replies = 0;
    for (int i = 0; i < STORM_THREADS; i++) {
        for (int k = 0; k < STORM_JOBS; k++) {
            assert_true(storms[i].kept[k].count <= 1);
            replies += storms[i].kept[k].count;
            kept_reply_free(&storms[i].kept[k]);
        }
    }
    assert_int_equal(replies, accepted);
    free(storms);
}

enum { CROWD_THREADS = 4, CROWD_TEXTS = 200 };

typedef struct crowd {
    pith_engine *engine;
    char *text;
    kept_reply alone;
    uint32_t same;
} crowd;

static void *crowd_main(void *arg) {
    crowd *c = arg;
    for (int i = 0; i < CROWD_TEXTS; i++) {
        kept_reply kept;
        kept_reply_init(&kept);
        if (submit(c->engine, c->text, &kept, (pith_submit_opts){0}, NULL, NULL) == PITH_OK) {
            kept_reply_wait(&kept);
            c->same += kept.count == 1 && kept.status == PITH_OK &&
                       kept.text_len == c->alone.text_len &&
                       memcmp(kept.text, c->alone.text, kept.text_len) == 0;
        }
        kept_reply_free(&kept);
    }
    return NULL;
}

/* The engine thread looks up now and then: whoever comes just then takes the long way. */
enum { IDLE_TRIES = 20, IDLE_US = 10000 };

static void a_short_text_to_an_idle_engine_is_answered_before_submit_returns(void **state) {
    fake_runner fake;
    pith_engine *engine = faked_anywhere(&fake, (pith_engine_opts){0});
    char *text = words_of(40, 9);
    uint32_t at_once = 0;
    for (int i = 0; i < IDLE_TRIES; i++) {
        kept_reply kept;
        kept_reply_init(&kept);
        (void)usleep(IDLE_US);
        assert_int_equal(submit(engine, text, &kept, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
        (void)pthread_mutex_lock(&kept.mutex);
        at_once += kept.count;
        (void)pthread_mutex_unlock(&kept.mutex);
        kept_reply_wait(&kept);
        assert_int_equal(kept.status, PITH_OK);
        kept_reply_free(&kept);
    }
    assert_true(at_once > IDLE_TRIES / 2);
    pith_engine_stats stats;
    pith_engine_read_stats(engine, &stats);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.steps, IDLE_TRIES);
    pith_engine_close(engine);
    free(text);
}

static void a_step_that_who_submits_began_is_ended_by_the_engine_thread(void **state) {
    fake_runner fake;
    pith_engine *engine = faked_anywhere(&fake, (pith_engine_opts){0});
    char *text = words_of(40, 10);
    uint32_t begun = 0;
    for (int i = 0; i < IDLE_TRIES; i++) {
        kept_reply kept;
        kept_reply_init(&kept);
        (void)usleep(IDLE_US);
        atomic_store(&fake.held, true);
        assert_int_equal(submit(engine, text, &kept, (pith_submit_opts){0}, NULL, NULL), PITH_OK);
        begun += atomic_load(&fake.n_submitted) == (uint32_t)i + 1;
        (void)pthread_mutex_lock(&kept.mutex);
        assert_int_equal(kept.count, 0);
        (void)pthread_mutex_unlock(&kept.mutex);
        atomic_store(&fake.held, false);
        kept_reply_wait(&kept);
        assert_int_equal(kept.status, PITH_OK);
        kept_reply_free(&kept);
    }
    assert_true(begun > IDLE_TRIES / 2);
    pith_engine_close(engine);
    free(text);
}

/* Anyone may drive, and all do: what comes back is what one alone gets. */
static void texts_of_many_threads_at_once_get_their_own_bytes(void **state) {
    fake_runner fake;
    pith_engine *engine = faked_anywhere(&fake, (pith_engine_opts){0});
    crowd crowds[CROWD_THREADS];
    pthread_t threads[CROWD_THREADS];
    for (uint32_t i = 0; i < CROWD_THREADS; i++) {
        crowds[i] = (crowd){.engine = engine, .text = words_of(30 + 5 * i, i + 1)};
        kept_reply_init(&crowds[i].alone);
        assert_int_equal(
            submit(engine, crowds[i].text, &crowds[i].alone, (pith_submit_opts){0}, NULL, NULL),
            PITH_OK);
        kept_reply_wait(&crowds[i].alone);
    }
    for (uint32_t i = 0; i < CROWD_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowds[i]), 0);
    }
    for (uint32_t i = 0; i < CROWD_THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(crowds[i].same, CROWD_TEXTS);
        kept_reply_free(&crowds[i].alone);
        free(crowds[i].text);
    }
    pith_engine_close(engine);
}

static void models_that_cannot_be_served_are_refused_by_name(void **state) {
    pith_engine *engine;
    pith_err err = {0};
    pith_model_spec missing = {.dir = "/nonexistent-model"};
    pith_engine_opts opts = {.models = &missing, .n_models = 1};
    assert_int_not_equal(pith_engine_open(&engine, &opts, &err), PITH_OK);
    assert_null(engine);
    assert_non_null(strstr(err.text, "/nonexistent-model"));
    pith_model_spec twice[] = {{.name = "a", .dir = model_dir}, {.name = "a", .dir = model_dir}};
    opts = (pith_engine_opts){.models = twice, .n_models = 2};
    assert_int_equal(pith_engine_open(&engine, &opts, &err), PITH_INVALID);
    assert_non_null(strstr(err.text, "two models are named"));
    pith_model_spec wide = {.dir = model_dir};
    opts = (pith_engine_opts){.models = &wide, .n_models = 1, .step_tokens_max = 8};
    assert_int_equal(pith_engine_open(&engine, &opts, &err), PITH_INVALID);
    assert_non_null(strstr(err.text, "step-tokens"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_text_gets_one_reply),
        cmocka_unit_test(a_text_gives_the_same_bytes_alone_and_in_any_batch),
        cmocka_unit_test(a_full_queue_is_refused_and_those_inside_are_answered),
        cmocka_unit_test(a_cancelled_job_ends_while_others_go_on),
        cmocka_unit_test(a_deadline_ends_a_job_that_waits),
        cmocka_unit_test(a_failed_step_fails_its_jobs_alone),
        cmocka_unit_test(a_score_that_is_not_a_number_passes_the_text_through),
        cmocka_unit_test(an_answer_is_counted_before_it_is_given),
        cmocka_unit_test(interactive_work_goes_before_batch_work),
        cmocka_unit_test(a_long_text_does_not_hold_up_a_short_one),
        cmocka_unit_test(bad_requests_are_refused_with_the_field),
        cmocka_unit_test(an_explanation_of_too_many_words_is_refused_before_the_model_runs),
        cmocka_unit_test(a_draining_engine_finishes_what_it_has_and_takes_no_more),
        cmocka_unit_test(closing_answers_everything_that_was_accepted),
        cmocka_unit_test(a_storm_of_cancels_and_deadlines_loses_no_reply),
        cmocka_unit_test(a_short_text_to_an_idle_engine_is_answered_before_submit_returns),
        cmocka_unit_test(a_step_that_who_submits_began_is_ended_by_the_engine_thread),
        cmocka_unit_test(texts_of_many_threads_at_once_get_their_own_bytes),
        cmocka_unit_test(models_that_cannot_be_served_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
