/* Bearer keys: the file, finding one, buckets in tokens, reload. */
#include "server/access/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static char path[64];

static void put(const char *text) {
    if (path[0] == '\0') {
        (void)snprintf(path, sizeof path, "/tmp/pith-keys-XXXXXX");
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        (void)close(fd);
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static pith_keys *keys_of(const char *text) {
    pith_keys *keys;
    pith_err err;
    put(text);
    assert_int_equal(pith_keys_open(&keys, path, &err), PITH_OK);
    return keys;
}

static int find(pith_keys *keys, const char *header) {
    return pith_keys_find(keys, header, strlen(header));
}

static void a_key_is_found_by_its_text_or_its_hash(void **state) {
    pith_keys *keys = keys_of("# who KEY\n\n  alice   first-key-0123456  # hers\nbob\tsha256:"
                              "AB5C20AFCEB0F7BCDA70D3FDE8BEF8B1D2AE0F4C4D4E1E4FBC5A2F8E9C6A7B1D\r\n"
                              "carol third-key-0123456");
    assert_int_equal(pith_keys_count(keys), 3);
    char name[PITH_KEY_NAME_BYTES];
    pith_keys_name(keys, find(keys, "Bearer first-key-0123456"), name);
    assert_string_equal(name, "alice");
    pith_keys_name(keys, find(keys, "bearer third-key-0123456"), name);
    assert_string_equal(name, "carol");
    pith_keys_close(keys);
    keys = keys_of("x sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n");
    assert_int_equal(find(keys, "Bearer test"), 0); /* the SHA-256 of "test" */
    pith_keys_close(keys);
}

static void whatever_is_not_a_known_key_is_none(void **state) {
    pith_keys *keys = keys_of("alice first-key-0123456\n");
    static const char *const headers[] = {"",
                                          "Bearer",
                                          "Bearer ",
                                          "first-key-0123456",
                                          "Basic first-key-0123456",
                                          "Bearer first-key-012345",
                                          "Bearer first-key-01234567",
                                          "Bearer  first-key-0123456",
                                          "Bearer first-key-0123456 ",
                                          "Bearer alice"};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        assert_int_equal(find(keys, headers[i]), PITH_KEY_NONE);
    }
    assert_int_equal(pith_keys_find(keys, NULL, 0), PITH_KEY_NONE);
    char endless[2000];
    memset(endless, 'x', sizeof endless);
    memcpy(endless, "Bearer ", 7);
    assert_int_equal(pith_keys_find(keys, endless, sizeof endless), PITH_KEY_NONE);
    pith_keys_close(keys);
}

static void a_wrong_file_is_refused_by_line_and_never_quoted(void **state) {
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "no key"},
        {"alice\n", "line 1: expected"},
        {"ok first-key-0123456\nalice k-0123456789abcdef 1 2 3\n", "line 2: expected"},
        {"al/ice first-key-0123456\n", "line 1: a name"},
        {"alice just-enough-key1\n", NULL},
        {"alice too-short-secre\n", "line 1: a key"},
        {"alice secret\n", "line 1: a key"},
        {"alice sha256:secret\n", "line 1: a key"},
        {"alice first-secret-0123456 -1\n", "line 1: the rate"},
        {"alice first-secret-0123456 nan\n", "line 1: the rate"},
        {"alice first-secret-0123456 10 0\n", "line 1: the burst"},
        {"a first-secret-0123456\na other-secret-0123456\n", "a is there twice"},
        {"a first-secret-0123456\nb first-secret-0123456\n", "the same key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith_keys *keys;
        pith_err err = {0};
        put(cases[i].text);
        pith_status status = pith_keys_open(&keys, path, &err);
        if (cases[i].says == NULL) { /* 16 bytes and more: fine */
            assert_int_equal(status, PITH_OK);
        } else {
            assert_int_equal(status, PITH_INVALID);
            assert_non_null(strstr(err.text, cases[i].says));
            assert_null(strstr(err.text, "secret"));
        }
        pith_keys_close(keys);
    }
    pith_keys *keys;
    pith_err err;
    assert_int_equal(pith_keys_open(&keys, "/nowhere/keys", &err), PITH_NOT_FOUND);
}

static void a_bucket_gives_its_rate_and_says_when_to_come_back(void **state) {
    pith_keys *keys = keys_of("a first-key-0123456 100 500\nfree other-key-0123456\n");
    int key = find(keys, "Bearer first-key-0123456");
    int64_t now = 3600 * SECOND * 1000; /* long after the file was read: the bucket is full */
    int64_t retry;
    assert_true(pith_keys_charge(keys, key, 500, now, &retry));
    assert_false(pith_keys_charge(keys, key, 50, now, &retry));
    assert_int_equal(retry / 1000000, 501);
    assert_false(pith_keys_charge(keys, key, 50, now + retry / 2, &retry));
    assert_true(pith_keys_charge(keys, key, 50, now + SECOND / 2, &retry));
    /* over ten seconds: what came in, no more and no less */
    uint64_t given = 0;
    for (int64_t at = now + SECOND; at < now + 11 * SECOND; at += SECOND / 20) {
        given += pith_keys_charge(keys, key, 10, at, &retry) ? 10 : 0;
    }
    assert_in_range(given, 1000, 1060);
    for (int i = 0; i < 1000; i++) {
        assert_true(
            pith_keys_charge(keys, find(keys, "Bearer other-key-0123456"), 1 << 20, now, &retry));
    }
    pith_keys_close(keys);
}

static void a_text_over_the_burst_passes_alone_and_leaves_a_debt(void **state) {
    pith_keys *keys = keys_of("a first-key-0123456 100 500\n");
    int64_t now = 3600 * SECOND * 1000;
    int64_t retry;
    assert_true(pith_keys_charge(keys, 0, 1500, now, &retry));
    assert_false(pith_keys_charge(keys, 0, 1, now + 9 * SECOND, &retry));
    assert_true(pith_keys_charge(keys, 0, 1, now + 11 * SECOND, &retry));
    pith_keys_close(keys);
}

static void the_estimate_is_settled_by_what_it_was(void **state) {
    pith_keys *keys = keys_of("a first-key-0123456 100 500\n");
    int64_t now = 3600 * SECOND * 1000;
    int64_t retry;
    assert_int_equal(pith_keys_estimate(4000), 1001);
    assert_true(pith_keys_charge(keys, 0, 500, now, &retry));
    pith_keys_settle(keys, 0, 500, 100); /* a fifth of it */
    assert_true(pith_keys_charge(keys, 0, 400, now, &retry));
    pith_keys_settle(keys, 0, 400, 700);
    assert_false(pith_keys_charge(keys, 0, 1, now + 2 * SECOND, &retry));
    assert_true(pith_keys_charge(keys, 0, 1, now + 4 * SECOND, &retry));
    pith_keys_settle(keys, 99, 1, 1); /* nobody */
    pith_keys_close(keys);
}

static void a_reload_keeps_numbers_and_buckets_or_changes_nothing(void **state) {
    pith_keys *keys = keys_of("a first-key-0123456 100 500\nb other-key-0123456\n");
    int a = find(keys, "Bearer first-key-0123456");
    int64_t now = 3600 * SECOND * 1000;
    int64_t retry;
    pith_err err;
    assert_true(pith_keys_charge(keys, a, 500, now, &retry));
    put("z newer-key-0123456\nb other-key-changed\na first-key-0123456 100 500\n");
    assert_int_equal(pith_keys_reload(keys, &err), PITH_OK);
    assert_int_equal(find(keys, "Bearer first-key-0123456"), a);
    assert_false(pith_keys_charge(keys, a, 500, now, &retry)); /* still empty */
    assert_int_equal(find(keys, "Bearer other-key-0123456"), PITH_KEY_NONE);
    assert_true(find(keys, "Bearer other-key-changed") >= 0);
    assert_int_equal(find(keys, "Bearer newer-key-0123456"), 2);
    put("z newer-key-0123456\nbroken\n");
    assert_int_equal(pith_keys_reload(keys, &err), PITH_INVALID);
    assert_int_equal(find(keys, "Bearer first-key-0123456"), a);
    put("z newer-key-0123456\n");
    assert_int_equal(pith_keys_reload(keys, &err), PITH_OK);
    assert_int_equal(find(keys, "Bearer first-key-0123456"), PITH_KEY_NONE);
    assert_int_equal(find(keys, "Bearer newer-key-0123456"), 2);
    assert_int_equal(pith_keys_count(keys), 1);
    char name[PITH_KEY_NAME_BYTES];
    pith_keys_name(keys, a, name);
    assert_string_equal(name, "");
    pith_keys_close(keys);
}

static void a_text_of_a_key_that_is_gone_is_settled_with_nobody(void **state) {
    pith_keys *keys = keys_of("a first-key-0123456 100 500\n");
    int64_t now = 3600 * SECOND * 1000;
    int64_t retry;
    pith_err err;
    char name[PITH_KEY_NAME_BYTES];
    int gone = find(keys, "Bearer first-key-0123456");
    assert_true(pith_keys_charge(keys, gone, 10, now, &retry));
    put("b other-key-0123456 100 500\n"); /* takes the place of a */
    assert_int_equal(pith_keys_reload(keys, &err), PITH_OK);
    int b = find(keys, "Bearer other-key-0123456");
    assert_int_not_equal(b, gone);
    pith_keys_name(keys, gone, name);
    assert_string_equal(name, "");
    assert_true(pith_keys_charge(keys, b, 1, now, &retry));
    pith_keys_settle(keys, gone, 10, 510); /* 500 more than was thought: not b's */
    assert_true(pith_keys_charge(keys, b, 499, now, &retry));
    pith_keys_settle(keys, gone, 500, 0); /* and nothing back to b */
    assert_false(pith_keys_charge(keys, b, 1, now, &retry));
    put("a first-key-0123456 100 500\nb other-key-0123456 100 500\n"); /* a is somebody new */
    assert_int_equal(pith_keys_reload(keys, &err), PITH_OK);
    assert_int_equal(find(keys, "Bearer other-key-0123456"), b);
    int back = find(keys, "Bearer first-key-0123456");
    assert_true(back >= 0 && back != gone);
    assert_true(pith_keys_charge(keys, back, 500, now, &retry));
    pith_keys_close(keys);
}

static int forget_file(void **state) {
    (void)unlink(path);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_found_by_its_text_or_its_hash),
        cmocka_unit_test(whatever_is_not_a_known_key_is_none),
        cmocka_unit_test(a_wrong_file_is_refused_by_line_and_never_quoted),
        cmocka_unit_test(a_bucket_gives_its_rate_and_says_when_to_come_back),
        cmocka_unit_test(a_text_over_the_burst_passes_alone_and_leaves_a_debt),
        cmocka_unit_test(the_estimate_is_settled_by_what_it_was),
        cmocka_unit_test(a_reload_keeps_numbers_and_buckets_or_changes_nothing),
        cmocka_unit_test(a_text_of_a_key_that_is_gone_is_settled_with_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, forget_file);
}
