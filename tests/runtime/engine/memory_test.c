/* with: tests/runtime/engine/fixture.c */
/* wrap: malloc calloc realloc aligned_alloc strdup */
/* Our own allocations fail at the n-th, for every n until nothing fails: each text is answered
 * once, nothing leaks, and the next text gets its bytes. */
#include "tests/runtime/engine/fixture.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);

/* While armed: the allocation that counts `left` down to zero fails, and all after it if `rest`. */
static atomic_bool armed;
static atomic_bool rest;
static atomic_long left;
static atomic_long failed;

static atomic_long large; /* allocations of LARGE_BYTES or more */

enum { LARGE_BYTES = 1 << 20 }; /* half of what a token list keeps of frequent words */

static bool fails(size_t size) {
    if (!atomic_load(&armed)) {
        return false;
    }
    (void)atomic_fetch_add(&large, size >= LARGE_BYTES);
    long now = atomic_fetch_sub(&left, 1) - 1;
    bool hit = now == 0 || (now < 0 && atomic_load(&rest));
    (void)atomic_fetch_add(&failed, hit);
    return hit;
}

void *__wrap_malloc(size_t size) {
    return fails(size) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails(n * size) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return fails(size) ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return fails(size) ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text) {
    return fails(strlen(text)) ? NULL : __real_strdup(text);
}

static void arm(long n, bool all_after) {
    atomic_store(&failed, 0);
    atomic_store(&large, 0);
    atomic_store(&rest, all_after);
    atomic_store(&left, n);
    atomic_store(&armed, true);
}

/* How many failed. */
static long disarm(void) {
    atomic_store(&armed, false);
    return atomic_load(&failed);
}

typedef struct answer {
    atomic_uint count;
    pith_status status;
    uint64_t hash;
} answer;

static void take_answer(void *user, const pith_reply *reply) {
    answer *a = user;
    a->status = reply->status;
    a->hash = 1;
    for (size_t i = 0; reply->result != NULL && i < reply->result->text_len; i++) {
        a->hash = (a->hash ^ (unsigned char)reply->result->text[i]) * UINT64_C(1099511628211);
    }
    (void)atomic_fetch_add(&a->count, 1);
}

static answer compress(pith_engine *engine, const char *text) {
    answer a = {0};
    pith_compress_request request = request_of(text, strlen(text));
    request.explain = true;
    request.fold_repeats = true;
    pith_submit_opts opts = {.deadline_ns = PITH_DEADLINE_NONE, .reply = take_answer, .user = &a};
    pith_status status = pith_engine_submit(engine, &request, &opts, NULL, NULL, NULL);
    if (status != PITH_OK) {
        a.status = status;
        return a;
    }
    pith_engine_stats stats;
    do {
        (void)usleep(200);
        pith_engine_read_stats(engine, &stats);
    } while (stats.in_flight > 0);
    assert_int_equal(atomic_load(&a.count), 1);
    return a;
}

/* Fails the n-th allocation of one text's way, for n = 1, 2, ... until there is no n-th. */
static long fail_each(const char *text, bool all_after) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    answer good = compress(engine, text);
    assert_int_equal(good.status, PITH_OK);
    long n = 1;
    for (;; n++) {
        arm(n, all_after);
        answer a = compress(engine, text);
        if (disarm() == 0) {
            assert_int_equal(a.status, PITH_OK);
            assert_true(a.hash == good.hash);
            break;
        }
        /* A failure is said, or it was of something that the text could do without. */
        assert_true(a.status == PITH_OK || a.status == PITH_NO_MEMORY ||
                    a.status == PITH_EXHAUSTED);
        if (a.status == PITH_OK) {
            assert_true(a.hash == good.hash);
        }
    }
    pith_engine_stats stats;
    pith_engine_read_stats(engine, &stats);
    assert_int_equal(stats.bytes_in_flight, 0);
    assert_int_equal(stats.tokens_in_flight, 0);
    assert_int_equal(pith_engine_check(engine), PITH_ENGINE_SERVING);
    pith_engine_close(engine);
    return n;
}

static void every_allocation_of_a_short_text_may_fail(void **state) {
    const char *text = "a short text with v1.2.3 and 42 words, ingested by who submits it";
    assert_true(fail_each(text, false) > 2);
    assert_true(fail_each(text, true) > 2);
}

static void every_allocation_of_a_text_in_the_queues_may_fail(void **state) {
    char *text = words_of(1000, 1);
    assert_true(fail_each(text, false) > 5);
    assert_true(fail_each(text, true) > 5);
    free(text);
}

static void every_allocation_of_a_long_text_may_fail(void **state) {
    char *text = words_of(14000, 2); /* over a slice: its own list, given back */
    assert_true(fail_each(text, false) > 10);
    free(text);
}

/* What threads keep between texts they have from the start: how many work side by side at the
 * busiest moment is not seen in the memory of an idle engine. */
static void no_text_makes_the_engine_keep_more_than_it_opened_with(void **state) {
    fake_runner fake;
    pith_engine *engine = faked(&fake, (pith_engine_opts){0});
    char *queued = words_of(1000, 1);
    arm(LONG_MAX, false);
    assert_int_equal(compress(engine, "a short text, ingested by who submits it").status, PITH_OK);
    assert_int_equal(compress(engine, queued).status, PITH_OK);
    assert_int_equal(disarm(), 0);
    assert_int_equal(atomic_load(&large), 0);
    char *sliced =
        words_of(14000, 2); /* has a list of its own while it lasts: the check can fail */
    arm(LONG_MAX, false);
    assert_int_equal(compress(engine, sliced).status, PITH_OK);
    (void)disarm();
    assert_true(atomic_load(&large) > 0);
    free(sliced);
    free(queued);
    pith_engine_close(engine);
}

/* Hundreds of allocations, most of them alike: every one of the first, then ever fewer. */
static void an_engine_that_cannot_get_its_memory_does_not_open(void **state) {
    pith_model_spec spec = {.name = "tiny", .dir = model_dir};
    pith_runner runner;
    fake_runner fake;
    for (long n = 1;; n += 1 + n / 8) {
        fake_runner_init(&fake, &runner);
        pith_engine_opts opts = {.models = &spec, .n_models = 1, .runner = &runner};
        pith_engine *engine = NULL;
        pith_err err = {0};
        arm(n, false);
        pith_status status = pith_engine_open(&engine, &opts, &err);
        long hits = disarm();
        if (status == PITH_OK) {
            pith_engine_close(engine);
            if (hits == 0) {
                assert_true(n > 50);
                break;
            }
            continue; /* of something that it can do without */
        }
        assert_null(engine);
        assert_true(hits > 0);
        assert_true(err.text[0] != '\0');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_of_a_short_text_may_fail),
        cmocka_unit_test(every_allocation_of_a_text_in_the_queues_may_fail),
        cmocka_unit_test(every_allocation_of_a_long_text_may_fail),
        cmocka_unit_test(no_text_makes_the_engine_keep_more_than_it_opened_with),
        cmocka_unit_test(an_engine_that_cannot_get_its_memory_does_not_open),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
