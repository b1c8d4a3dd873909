/* Time grows linearly with the text, whatever the text. */
#include "tests/runtime/text/tokenizer_golden.h"

#include <time.h>

enum {
    SMALL_BYTES = 64 * 1024,
    GROWTH = 16,
    LARGE_BYTES = SMALL_BYTES * GROWTH, /* 1 MiB */
    SLACK = 6 /* linear is GROWTH; a quadratic algorithm takes GROWTH times that */
};

/* Text of `len` bytes made of `unit`; cut at a unit's end. */
static size_t fill(char *text, size_t len, const char *unit) {
    size_t n = strlen(unit);
    size_t at = 0;
    for (; at + n <= len; at += n) {
        memcpy(text + at, unit, n);
    }
    return at;
}

/* Of this thread, in nanoseconds: others may be busy. */
static int64_t cpu_time(void) {
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The fastest of three: caches may be cold. */
static int64_t time_encode(const pith_tokenizer *tokenizer, const char *text, size_t len,
                           pith_token_list *list) {
    int64_t best = INT64_MAX;
    for (int round = 0; round < 3; round++) {
        int64_t start = cpu_time();
        encode(tokenizer, PITH_ADDED_PLAIN, text, len, list);
        int64_t spent = cpu_time() - start;
        best = spent < best ? spent : best;
    }
    return best;
}

static bool grows_linearly(int64_t small_ns, int64_t large_ns) {
    return large_ns <= small_ns * GROWTH * SLACK;
}

static void check_linear(const pith_tokenizer *tokenizer, const char *unit) {
    char *text = malloc(LARGE_BYTES);
    pith_token_list list = {0};
    assert_non_null(text);
    size_t large = fill(text, LARGE_BYTES, unit);
    size_t small = fill(text, SMALL_BYTES, unit);
    /* The large one first: the memory that both need is there when the small one is timed. */
    int64_t large_ns = time_encode(tokenizer, text, large, &list);
    int64_t small_ns = time_encode(tokenizer, text, small, &list);
    if (!grows_linearly(small_ns, large_ns)) {
        fail_msg("%zu bytes of \"%s\" take %lld ns, %zu bytes %lld ns", large, unit,
                 (long long)large_ns, small, (long long)small_ns);
    }
    pith_token_list_free(&list);
    free(text);
}

static void equal_characters_take_linear_time(void **state) {
    static const char *const units[] = {
        "a", " ", "\n", "\xE4\xB8\xAD", "=", "e\xCC\x81", "\xCC\x81\xCC\xA3", "[CLS]", "  \n", "'"};
    pith_tokenizer *gpt2 = open_small("small-flags.json");
    pith_tokenizer *qwen2 = open_small("small-qwen2.json");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        check_linear(i % 2 == 0 ? gpt2 : qwen2, units[i]);
    }
    pith_tokenizer_close(gpt2);
    pith_tokenizer_close(qwen2);
}

static void one_letter_takes_linear_time_with_the_full_vocabulary(void **state) {
    const char *path = shared_path("modernbert");
    if (path == NULL) {
        print_message("skipped: the vocabulary modernbert is not here (PITH_SHARED)\n");
        skip();
    }
    pith_tokenizer *tokenizer = open_tokenizer(path);
    check_linear(tokenizer, "a");
    pith_tokenizer_close(tokenizer);
}

static void quadratic_time_would_be_noticed(void **state) {
    assert_true(grows_linearly(1000, 1000 * GROWTH));
    assert_false(grows_linearly(1000, 1000 * GROWTH * GROWTH));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quadratic_time_would_be_noticed),
        cmocka_unit_test(equal_characters_take_linear_time),
        cmocka_unit_test(one_letter_takes_linear_time_with_the_full_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
