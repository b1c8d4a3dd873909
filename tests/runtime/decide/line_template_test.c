/* Templates, one test a class of masks; signs of errors; time on hostile lines. */
#include "runtime/decide/line_template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { LINE_BYTES = 512 };

static char bytes[LINE_BYTES];
static pith_line_id ids[LINE_BYTES];

/* The template with each mask spelled: T time, U UUID, H hex, N number, P path, Q quoted, I
 * identifier, in angle brackets. */
static const char *spelled(const char *line) {
    static const char letters[] = "?TUHNPQI";
    static char out[4 * LINE_BYTES];
    pith_line_template t = {.bytes = bytes, .ids = ids};
    assert_true(pith_line_template_make(&t, line, strlen(line)));
    assert_true(t.len <= strlen(line));
    assert_true(t.n_ids <= PITH_LINE_IDS_MAX(strlen(line)));
    size_t n = 0;
    for (size_t i = 0; i < t.len; i++) {
        bool mask = (unsigned char)bytes[i] < PITH_MASK_END;
        n += (size_t)snprintf(out + n, sizeof out - n, mask ? "<%c>" : "%c",
                              mask ? letters[(int)bytes[i]] : bytes[i]);
    }
    out[n] = '\0';
    return out;
}

static void check(const char *line, const char *expected) {
    const char *found = spelled(line);
    if (strcmp(found, expected) != 0) {
        fail_msg("[%s] gave [%s], expected [%s]", line, found, expected);
    }
}

static void timestamps_of_every_form_are_one_mask(void **state) {
    check("2026-11-21T12:07:00.123Z up", "<T> up");
    check("2026-11-21 12:07:00,123 up", "<T> up");
    check("2026-11-21 12:07:00+01:00 up", "<T> up");
    check("2026/11/21 12:07:00 up", "<T> up");
    check("2026-11-21 up", "<T> up");
    check("12:07:00 up", "<T> up");
    check("Nov 21 12:07:00 host up", "<T> host up");
    check("Nov  1 12:07:00 host up", "<T> host up");
    check("Sat Nov 21 12:07:00 2026 up", "<T> up");
    check("Sat, 21 Nov 2026 12:07:00 GMT up", "<T> up");
    check("[21/Nov/2026:12:07:00 +0000] up", "[<T>] up");
    check("May be", "May be");
    check("ratio 12:30", "ratio <N>:<N>");
}

static void uuids_are_one_mask(void **state) {
    check("job 1c17149d-4395-36b3-216f-daeeb975729f done", "job <U> done");
    check("JOB 1C17149D-4395-36B3-216F-DAEEB975729F", "JOB <U>");
    check("job 1c17149d-4395-36b3-216f-daeeb975729fa", "job <H>-<N>-<I>-<N>-<H>");
}

static void hex_numbers_are_one_mask(void **state) {
    check("at 0x7ffd12 in", "at <H> in");
    check("commit 3b1612dd272d", "commit <H>");
    check("the facade added", "the facade added"); /* no digit */
    check("sum a1b2", "sum a<I>");                 /* too short: an identifier */
}

static void numbers_and_durations_are_one_mask(void **state) {
    check("took 7.4ms of -12 and 1,234.5", "took <N> of <N> and <N>");
    check("12% of 64MiB in 1m30s at 3e-4", "<N> of <N> in <N> at <N>");
    check("from 10.0.3.17:8080", "from <N>:<N>");
    check("worker-3 took shard_17", "worker-<N> took shard_<N>");
    check("took 5\xC2\xB5s", "took <N>");
    check("x=1 y=+2 [3/7]", "x=<N> y=<N> [<N>/<N>]");
}

static void paths_and_urls_are_one_mask(void **state) {
    check("open /var/lib/a-1.dat now", "open <P> now");
    check("src/net/open.c:12:4: note", "<P>:<N>:<N>: note");
    check("main/a.c ./x ../y ~/z", "<P> <P> <P> <P>");
    check("GET https://example.org/p/1?q=2 ok", "GET <P> ok");
    check("GET /shop/1?ref=a&b=c HTTP/1.1", "GET <P> HTTP/<N>");
    check("C:\\temp\\x.txt gone", "<P> gone");
    check("and/or I/O read/write", "and/or I/O read/write");
}

static void quoted_strings_are_masked_but_keys_and_sentences_stay(void **state) {
    check("key 'user:12' `x` \"y\" hit", "key <Q> <Q> <Q> hit");
    check("{\"name\": \"abc\", \"note\":\"a b\"}", "{\"name\": <Q>, \"note\":<Q>}");
    check("{\"msg\":\"took 3 tries\"}", "{\"msg\":\"took <N> tries\"}");
    check("user=\"Ann Lee\" msg=\"logged in\"", "user=<Q> msg=\"logged in\"");
    check("\"GET /a/b HTTP/1.1\" 200", "\"GET <P> HTTP/<N>\" <N>");
    check("don't say it's", "don't say it's");
    check("an \"open one", "an \"open one");
    check("\"a\\\"b\" x", "<Q> x");
}

static void identifiers_are_masked_behind_their_letters_and_reported(void **state) {
    check("node3 said E4021", "node<I> said E<I>");
    check("CVE-2024-1234 in v1.2.3", "CVE<I> in v<I>.<I>.<I>");
    check("libfoo 1.2.3", "libfoo <I>");
    pith_line_template t = {.bytes = bytes, .ids = ids};
    assert_true(pith_line_template_make(&t, "CVE-2024-1234 on node3", 22));
    assert_int_equal(t.n_ids, 2);
    assert_int_equal(ids[0].start, 0);
    assert_int_equal(ids[0].end, 13);
    assert_int_equal(ids[1].start, 17);
    assert_int_equal(ids[1].end, 22);
}

static void indentation_stays_and_columns_do_not_matter(void **state) {
    check("    \"id\": 7,", "    \"id\": <N>,");
    check("  12 a   b", " <N> a b");
    check("size     7 x", "size <N> x");
}

static void a_template_knows_whether_it_says_anything(void **state) {
    pith_line_template t = {.bytes = bytes, .ids = ids};
    assert_true(pith_line_template_make(&t, "/a/b 12 \"x\"", 11));
    assert_true(t.masked && !t.letters);
    assert_true(pith_line_template_make(&t, "},", 2));
    assert_true(!t.masked && !t.letters);
    assert_true(pith_line_template_make(&t, "a 1", 3));
    assert_true(t.masked && t.letters);
}

static void a_line_with_a_mask_byte_has_no_template(void **state) {
    for (char c = 0; c < PITH_MASK_END; c++) {
        char line[] = {'a', ' ', c, 'b'};
        pith_line_template t = {.bytes = bytes, .ids = ids};
        assert_false(pith_line_template_make(&t, line, sizeof line));
    }
}

static void signs_of_errors_are_found_and_their_absence_too(void **state) {
    static const char *const bad[] = {
        "ERROR x",
        "a NullPointerException",
        "it failed",
        "PANIC: y",
        "Traceback (most",
        "a Warning",
        "access denied",
        "Connection refused",
        "timed out",
        "read TIMEOUT",
        "an err here",
        "[OOM] gone",
        "HTTP/1.1\" 503 12",
        "status=404",
        "\"status\": 500,",
        "exit code 1",
        "rc=-1",
        "E1121 12:00:00.1 x",
        "exited with 137",
        "\"code\":13",
        "segfault at",
        "errors: 0",
        "exit code: 255",
        "\"exitCode\": 1",
        "FATAL",
        "unreachable host",
    };
    static const char *const good[] = {
        "INFO all well", "HTTP/1.1\" 200 12", "status=304", "\"status\": 201,", "exit code 0",
        "rc=0",          "E1121x y",          "a terrier",  "source code",      "merry rooms",
        "status=ok 500", "src=7 exit",        "code 204",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (pith_line_error_find(bad[i], strlen(bad[i])) == strlen(bad[i])) {
            fail_msg("no sign found in [%s]", bad[i]);
        }
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t at = pith_line_error_find(good[i], strlen(good[i]));
        if (at != strlen(good[i])) {
            fail_msg("a sign found in [%s] at %zu", good[i], at);
        }
    }
}

/* Lines from the characters that scanners look for, in rooms of the exact size: the sanitizers see
 * a byte read or written outside. */
static void generated_lines_stay_within_their_room(void **state) {
    static const char alphabet[] = "0123456789afxZTeE  ..--::///\\\"\"''`,=_~%+[](){}\xC2\xB5"
                                   "NovMonsUTCstatuscodeHTTP";
    uint64_t seed = 1;
    for (int n = 0; n < 20000; n++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        size_t len = (size_t)(seed >> 33) % 60;
        char *line = malloc(len == 0 ? 1 : len);
        char *exact = malloc(len == 0 ? 1 : len);
        pith_line_id *room = malloc(PITH_LINE_IDS_MAX(len) * sizeof *room);
        assert_true(line != NULL && exact != NULL && room != NULL);
        for (size_t i = 0; i < len; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            line[i] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
        }
        pith_line_template t = {.bytes = exact, .ids = room};
        assert_true(pith_line_template_make(&t, line, len));
        assert_true(t.len <= len && t.n_ids <= PITH_LINE_IDS_MAX(len));
        for (uint32_t i = 0; i < t.n_ids; i++) {
            assert_true(room[i].start < room[i].end && room[i].end <= len);
            assert_true(i == 0 || room[i - 1].end <= room[i].start);
        }
        assert_true(pith_line_error_find(line, len) <= len);
        free(line);
        free(exact);
        free(room);
    }
}

/* Each of these made a naive scanner start again at every byte. */
static void hostile_lines_take_linear_time(void **state) {
    static const char *const parts[] = {"'a", "\"a ",   "a-",      "1.",     "1.1x",
                                        "a/", "` ",     "Mon ",    "1m",     "\\\"",
                                        "a ", "x=\"b ", "status ", "\"k\" ", "A-1"};
    enum { LEN = 1 << 18 };
    char *line = malloc(LEN);
    char *out = malloc(LEN);
    pith_line_id *room = malloc(PITH_LINE_IDS_MAX(LEN) * sizeof *room);
    assert_true(line != NULL && out != NULL && room != NULL);
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        size_t n = strlen(parts[p]);
        for (size_t i = 0; i < LEN; i++) {
            line[i] = parts[p][i % n];
        }
        clock_t began = clock();
        pith_line_template t = {.bytes = out, .ids = room};
        assert_true(pith_line_template_make(&t, line, LEN));
        assert_true(t.len <= LEN && t.n_ids <= PITH_LINE_IDS_MAX(LEN));
        (void)pith_line_error_find(line, LEN);
        double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
        if (!(seconds < 2.0)) { /* quadratic: a minute; linear: 0.01 s, with sanitizers 0.1 s */
            fail_msg("\"%s\" repeated: %.1f s", parts[p], seconds);
        }
    }
    free(line);
    free(out);
    free(room);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timestamps_of_every_form_are_one_mask),
        cmocka_unit_test(uuids_are_one_mask),
        cmocka_unit_test(hex_numbers_are_one_mask),
        cmocka_unit_test(numbers_and_durations_are_one_mask),
        cmocka_unit_test(paths_and_urls_are_one_mask),
        cmocka_unit_test(quoted_strings_are_masked_but_keys_and_sentences_stay),
        cmocka_unit_test(identifiers_are_masked_behind_their_letters_and_reported),
        cmocka_unit_test(indentation_stays_and_columns_do_not_matter),
        cmocka_unit_test(a_template_knows_whether_it_says_anything),
        cmocka_unit_test(a_line_with_a_mask_byte_has_no_template),
        cmocka_unit_test(signs_of_errors_are_found_and_their_absence_too),
        cmocka_unit_test(generated_lines_stay_within_their_room),
        cmocka_unit_test(hostile_lines_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
