#include "runtime/text/critical.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARENA_BYTES = 1 << 28, CONFIG_BYTES = 256 };

static pith_critical *open_critical(const char *config) {
    pith_critical *critical = NULL;
    pith_err err = {0};
    if (pith_critical_open(&critical, config, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
    return critical;
}

static pith_critical *open_only(const char *class) {
    char config[CONFIG_BYTES];
    (void)snprintf(config, sizeof config, "{\"only\": [\"%s\"]}", class);
    return open_critical(config);
}

typedef struct found {
    pith_span spans[64];
    size_t n;
    size_t n_limited;
} found;

static found find_in(const pith_critical *critical, pith_critical_set set, pith_domain domain,
                     uint32_t window, const char *text, size_t len) {
    pith_arena arena;
    pith_arena_init(&arena, ARENA_BYTES);
    pith_critical_scan scan;
    pith_err err = {0};
    if (pith_critical_find(critical, set, domain, window, text, len, &arena, &scan, &err) !=
        PITH_OK) {
        fail_msg("%s", err.text);
    }
    found f = {.n = scan.spans.len, .n_limited = scan.limited.len};
    for (size_t i = 0; i < f.n && i < 64; i++) {
        f.spans[i] = scan.spans.items[i];
    }
    pith_arena_reset(&arena);
    return f;
}

static size_t count(const pith_critical *critical, pith_domain domain, const char *text) {
    return find_in(critical, PITH_CRITICAL_FULL, domain, 1, text, strlen(text)).n;
}

/* Each text of `yes` holds exactly one span of the class, none of `no` holds any. */
static void check_class(const char *class, const char *const *yes, const char *const *no) {
    pith_critical *critical = open_only(class);
    for (; *yes != NULL; yes++) {
        size_t n = count(critical, PITH_DOMAIN_PROSE, *yes);
        if (n != 1) {
            fail_msg("%s: %zu spans in [%s], expected 1", class, n, *yes);
        }
    }
    for (; *no != NULL; no++) {
        if (count(critical, PITH_DOMAIN_PROSE, *no) != 0) {
            fail_msg("%s: found in [%s]", class, *no);
        }
    }
    pith_critical_close(critical);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void class_hex(void **state) {
    check_class("hex", LIST("0x7fff2038", "(0xA)", "=0xff,"), LIST("0xZZ", "a0xff", "0xfg", "0x"));
}

static void class_number(void **state) {
    check_class("number", LIST("42", "3.14", "x 7 y", "\xD9\xA3\xD9\xA4", "-5", "12%"),
                LIST("word0", "4GB", "1.2.3", "v1", "5.", "\xC2\xB2"));
}

static void class_allcaps(void **state) {
    check_class("allcaps", LIST("SIGILL", "aBC", "__"), LIST("Sig", "A b", "\xC3\x89\xC3\x89"));
}

static void class_dotted(void **state) {
    check_class("dotted", LIST("os.path", "libsystem_kernel.dylib", "9a8.b", "_.x"),
                LIST("End.", "A.B", "3.14", ". a"));
}

static void class_path(void **state) {
    check_class("path", LIST("/usr/lib/python3.so", "and/or", "//x"), LIST("/Ab", "a/", "/"));
}

static void class_extension(void **state) {
    check_class("extension", LIST("X.py", ".json"), LIST(".python", ".p", ". py", ".PY"));
}

static void class_flag(void **state) {
    check_class("flag", LIST("--verbose", "-n", "well-known"), LIST("-O", "- n", "--", "-5"));
}

static void class_camel(void **state) {
    check_class("camel", LIST("IndexError", "ReadFileEx2", "(AbC)"), LIST("Index", "xAbC", "ABC"));
}

static void class_directive(void **state) {
    check_class("directive",
                LIST("not", "NEVER", "can't", "(must)", "Required,",
                     "D\xC4\xB0"
                     "DN'T"),
                LIST("nothing", "knot", "musty", "can\xE2\x80\x99t"));
}

static void class_connective(void **state) {
    check_class("connective", LIST("and", "OR", "either-or", "xor"), LIST("band", "order", "a"));
}

static void class_uuid(void **state) {
    check_class(
        "uuid",
        LIST("123e4567-e89b-12d3-a456-426614174000", "id={123E4567-E89B-12D3-A456-426614174000}"),
        LIST("123e4567-e89b-12d3-a456-42661417400", "123e4567e89b12d3a456426614174000",
             "x123e4567-e89b-12d3-a456-426614174000"));
}

static void class_hash(void **state) {
    check_class("hash",
                LIST("commit 9fbd47ba", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                     "sha256:abcdef0123456789", "sha512-AbC+/123=="),
                LIST("deadbeef", "abc123", "g9fbd47ba", "cafe_9fbd47ba_x"));
}

static void class_version(void **state) {
    check_class("version",
                LIST("v1.2.3", "1.2.3", "V2", "(v0.42.0)", "1.2.3-rc.1+build5", "10.0.0.1"),
                LIST("1.2", "version", "v", "x1.2.3", "vv1"));
}

static void class_number_unit(void **state) {
    check_class("number_unit",
                LIST("4.2GB", "150ms", "99.9%", "1,5h",
                     "20\xC2\xB0"
                     "C",
                     "25MB/s", "3\xC2\xB5s"),
                LIST("42", "GB", "x4GB", "4verylongword"));
}

static void class_key_value(void **state) {
    check_class("key_value",
                LIST("a=5", "retries=3,", "port:8080", "\"size\":12", "rate=-0.5", "main.c:12:5"),
                LIST("a=b", "=5", "a == 5", "x:y"));
}

static void class_windows_path(void **state) {
    check_class("windows_path",
                LIST("C:\\Temp\\x.log", "\\\\server\\share\\File.txt", "d:/Games/x"),
                LIST("http://x", "C:", "a\\b", "\\n"));
}

static void class_upper_flag(void **state) {
    check_class("upper_flag", LIST("-Wall", "-O2", "-DNDEBUG=1", "--Xmx"),
                LIST("-wall", "Spider-Man", "-5", "- W"));
}

static void class_mixed_path(void **state) {
    check_class("mixed_path", LIST("/Users/Me/File.txt", "src/Main.java", "~/Build", "../A_b/c/"),
                LIST("path", "a / b", "//", "/"));
}

static void class_quoted(void **state) {
    check_class("quoted", LIST("'foo'", "\"my_name\",", "`cmd`", "(\"a.b\")"),
                LIST("don't'", "\"\"", "\"two words\"", "it's 'n", "'foo\""));
}

static void class_snake_case(void **state) {
    check_class("snake_case", LIST("snake_case", "_private_name", "a_1", "get_x()"),
                LIST("snake", "_x", "Snake_case", "a__b", "_"));
}

static void class_lower_camel(void **state) {
    check_class("lower_camel", LIST("lowerCamel", "getX", "x1Y"), LIST("lower", "Upper", "a_B"));
}

static void class_placeholder(void **state) {
    check_class("placeholder", LIST("{{HEADROOM_TAG_3}}", "${HOME}", "<FILE_NAME>", "{{a.b}}"),
                LIST("{a}", "{{}}", "{{a b}}", "<b>", "$HOME"));
}

static void class_error_name(void **state) {
    check_class("error_name",
                LIST("ValueError:", "java.io.IOException", "error:", "panicked", "E0308",
                     "error[E0277]", "DeprecationWarning", "TS2304"),
                LIST("terror", "mirror", "Erroneous", "E1", "fail"));
}

static void class_negation(void **state) {
    check_class("negation", LIST("no", "Don\xE2\x80\x99t", "wasn't", "nothing", "NEITHER"),
                LIST("know", "note", "n't", "noo"));
}

static void every_class_is_tested_above(void **state) {
    /* 24 classes: a new one needs its test, and this number. */
    pith_critical *critical = NULL;
    pith_err err = {0};
    assert_int_equal(pith_critical_open(&critical,
                                        "{\"only\": [\"hex\",\"number\",\"allcaps\","
                                        "\"dotted\",\"path\",\"extension\",\"flag\","
                                        "\"camel\",\"directive\",\"connective\","
                                        "\"uuid\",\"hash\",\"version\",\"number_unit\","
                                        "\"key_value\",\"windows_path\","
                                        "\"upper_flag\",\"mixed_path\",\"quoted\","
                                        "\"snake_case\",\"lower_camel\","
                                        "\"placeholder\",\"error_name\","
                                        "\"negation\"]}",
                                        &err),
                     PITH_OK);
    pith_critical_close(critical);
}

static void faithful_holds_all_that_the_published_patterns_hold(void **state) {
    pith_critical *critical = open_critical(NULL);
    static const char alphabet[] = "aAbZ_09.-/x'no {}=\"\\:%$fE";
    char text[48];
    uint64_t seed = 11;
    for (int n = 0; n < 20000; n++) {
        for (size_t i = 0; i < sizeof text; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            text[i] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
        }
        found narrow =
            find_in(critical, PITH_CRITICAL_PUBLISHED, PITH_DOMAIN_PROSE, 1, text, sizeof text);
        found wide = find_in(critical, PITH_CRITICAL_FULL, PITH_DOMAIN_CODE, 1, text, sizeof text);
        size_t w = 0;
        for (size_t i = 0; i < narrow.n; i++) {
            while (w < wide.n && wide.spans[w].end < narrow.spans[i].end) {
                w++;
            }
            assert_true(w < wide.n && wide.spans[w].start <= narrow.spans[i].start);
        }
    }
    pith_critical_close(critical);
}

static void identifiers_are_off_inside_code_bodies(void **state) {
    pith_critical *critical = open_only("snake_case");
    assert_int_equal(count(critical, PITH_DOMAIN_PROSE, "my_name"), 1);
    assert_int_equal(count(critical, PITH_DOMAIN_CODE, "my_name"), 0);
    assert_int_equal(count(critical, PITH_DOMAIN_DIFF, "my_name"), 0);
    pith_critical_close(critical);
    critical = open_only("lower_camel");
    assert_int_equal(count(critical, PITH_DOMAIN_CODE, "myName"), 0);
    pith_critical_close(critical);
}

static void config_switches_classes_per_domain(void **state) {
    pith_critical *critical = open_critical(
        "{\"classes\": {\"snake_case\": {\"domains\": [\"code\"]}}, \"only\": [\"snake_case\"]}");
    assert_int_equal(count(critical, PITH_DOMAIN_PROSE, "my_name"), 0);
    assert_int_equal(count(critical, PITH_DOMAIN_CODE, "my_name"), 1);
    pith_critical_close(critical);
    critical = open_critical("{\"classes\": {\"number\": {\"enabled\": false}}}");
    assert_int_equal(count(critical, PITH_DOMAIN_PROSE, " 42 "), 0);
    pith_critical_close(critical);
}

static void config_adds_and_replaces_classes(void **state) {
    pith_critical *critical = open_critical(
        "{\"classes\": {\"ticket\": {\"pattern\": \"[a-z]+#[0-9]+\"},"
        " \"number\": {\"pattern\": \"[0-9]+!\"}}, \"only\": [\"ticket\", \"number\"]}");
    assert_int_equal(count(critical, PITH_DOMAIN_LOG, "see abc#12 42 now"), 1);
    assert_int_equal(count(critical, PITH_DOMAIN_LOG, "x 7! y"), 1);
    found f = find_in(critical, PITH_CRITICAL_PUBLISHED, PITH_DOMAIN_LOG, 1, "42", 2);
    assert_int_equal(f.n, 1); /* the kompress profile's patterns are fixed */
    pith_critical_close(critical);
}

static void a_window_lets_a_pattern_cross_words(void **state) {
    pith_critical *critical =
        open_critical("{\"classes\": {\"code\": {\"pattern\": \"error\\\\s+code\\\\s+[0-9]+\"}},"
                      " \"only\": [\"code\"]}");
    const char *text = "an error  code\n17 here";
    for (uint32_t window = 1; window <= 3; window++) {
        found f =
            find_in(critical, PITH_CRITICAL_FULL, PITH_DOMAIN_PROSE, window, text, strlen(text));
        assert_int_equal(f.n, window == 3 ? 1 : 0);
        if (window == 3) {
            assert_int_equal(f.spans[0].start, 3);
            assert_int_equal(f.spans[0].end, 17);
        }
    }
    pith_critical_close(critical);
}

static void bad_config_is_one_clear_error(void **state) {
    static const struct {
        const char *config;
        const char *says;
    } cases[] = {
        {"{", "not JSON"},
        {"[]", "not a JSON object"},
        {"{\"class\": {}}", "unknown key \"class\""},
        {"{\"classes\": []}", "\"classes\" is not an object"},
        {"{\"classes\": {\"ticket\": {}}}", "\"ticket\" is not built in and has no pattern"},
        {"{\"classes\": {\"ticket\": {\"pattern\": \"(\"}}}", "class \"ticket\": pattern: "},
        {"{\"classes\": {\"ticket\": {\"pattern\": \"\"}}}", "pattern is not a string of 1 to"},
        {"{\"classes\": {\"number\": {\"pattern\": 5}}}", "pattern is not a string"},
        {"{\"classes\": {\"number\": {\"enabled\": 5}}}", "bad key or value at \"enabled\""},
        {"{\"classes\": {\"number\": {\"domains\": [\"poem\"]}}}", "\"poem\" is not a domain"},
        {"{\"classes\": {\"number\": {\"domains\": [\"auto\"]}}}", "\"auto\" is not a domain"},
        {"{\"classes\": {\"number\": 5}}", "class \"number\" is not an object"},
        {"{\"only\": [\"numbers\"]}", "\"numbers\" is not a class"},
        {"{\"only\": 5}", "\"only\" is not a list"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pith_critical *critical = NULL;
        pith_err err = {0};
        assert_int_equal(pith_critical_open(&critical, cases[i].config, &err), PITH_INVALID);
        assert_null(critical);
        assert_null(strchr(err.text, '\n'));
        if (strstr(err.text, cases[i].says) == NULL) {
            fail_msg("[%s] does not say [%s]", err.text, cases[i].says);
        }
    }
}

static void a_pattern_that_runs_away_holds_the_word_and_is_counted(void **state) {
    pith_critical *critical = open_critical(
        "{\"classes\": {\"bad\": {\"pattern\": \"(?:a|aa|a.)+[!?]\"}}, \"only\": [\"bad\"]}");
    const char *text = "fine aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab fine";
    found f = find_in(critical, PITH_CRITICAL_FULL, PITH_DOMAIN_PROSE, 1, text, strlen(text));
    assert_int_equal(f.n, 0);
    assert_int_equal(f.n_limited, 1);
    pith_critical_close(critical);
}

static void a_long_word_is_shown_to_config_patterns_in_slices(void **state) {
    pith_critical *critical = open_critical(
        "{\"classes\": {\"mark\": {\"pattern\": \"<[a-z]{20}>\"}}, \"only\": [\"mark\"]}");
    size_t len = 5 * PITH_CRITICAL_SLICE_BYTES;
    char *text = malloc(len);
    assert_non_null(text);
    for (size_t at = 0; at + 22 < len; at += 997) {
        memset(text, 'x', len);
        text[at] = '<';
        text[at + 21] = '>';
        found f = find_in(critical, PITH_CRITICAL_FULL, PITH_DOMAIN_PROSE, 1, text, len);
        assert_int_equal(f.n, 1);
        assert_int_equal(f.spans[0].start, at);
    }
    free(text);
    pith_critical_close(critical);
}

/* 256 KiB of each: quadratic scanning would take minutes, not the seconds of a test's limit. */
static void built_in_patterns_scan_any_text_in_linear_time(void **state) {
    static const char *const units[] = {
        "a",  "A_", "_a", "/",   "-",    ".a", "{",  "9",  "f0", "'a", "a.",  "a/",   "Aa",
        "a-", "9.", "0x", "a\n", "\\\\", "{{", "${", "a=", "E9", "n'", "v1.", "C:\\", "\xC2\xB5"};
    size_t len = 256 * 1024;
    char *text = malloc(len);
    assert_non_null(text);
    pith_critical *critical = open_critical(NULL);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t n = strlen(units[u]);
        for (size_t i = 0; i < len; i++) {
            text[i] = units[u][i % n];
        }
        len -= len % n;
        found f = find_in(critical, PITH_CRITICAL_FULL, PITH_DOMAIN_PROSE, 1, text, len);
        assert_int_equal(f.n_limited, 0);
    }
    free(text);
    pith_critical_close(critical);
}

static void an_arena_over_its_bound_is_an_error(void **state) {
    pith_critical *critical = open_critical(NULL);
    pith_arena arena;
    pith_arena_init(&arena, 256);
    pith_critical_scan scan;
    pith_err err = {0};
    assert_int_equal(pith_critical_find(critical, PITH_CRITICAL_FULL, PITH_DOMAIN_PROSE, 1, "42 42",
                                        5, &arena, &scan, &err),
                     PITH_EXHAUSTED);
    pith_arena_reset(&arena);
    pith_critical_close(critical);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_hex),
        cmocka_unit_test(class_number),
        cmocka_unit_test(class_allcaps),
        cmocka_unit_test(class_dotted),
        cmocka_unit_test(class_path),
        cmocka_unit_test(class_extension),
        cmocka_unit_test(class_flag),
        cmocka_unit_test(class_camel),
        cmocka_unit_test(class_directive),
        cmocka_unit_test(class_connective),
        cmocka_unit_test(class_uuid),
        cmocka_unit_test(class_hash),
        cmocka_unit_test(class_version),
        cmocka_unit_test(class_number_unit),
        cmocka_unit_test(class_key_value),
        cmocka_unit_test(class_windows_path),
        cmocka_unit_test(class_upper_flag),
        cmocka_unit_test(class_mixed_path),
        cmocka_unit_test(class_quoted),
        cmocka_unit_test(class_snake_case),
        cmocka_unit_test(class_lower_camel),
        cmocka_unit_test(class_placeholder),
        cmocka_unit_test(class_error_name),
        cmocka_unit_test(class_negation),
        cmocka_unit_test(every_class_is_tested_above),
        cmocka_unit_test(faithful_holds_all_that_the_published_patterns_hold),
        cmocka_unit_test(identifiers_are_off_inside_code_bodies),
        cmocka_unit_test(config_switches_classes_per_domain),
        cmocka_unit_test(config_adds_and_replaces_classes),
        cmocka_unit_test(a_window_lets_a_pattern_cross_words),
        cmocka_unit_test(bad_config_is_one_clear_error),
        cmocka_unit_test(a_pattern_that_runs_away_holds_the_word_and_is_counted),
        cmocka_unit_test(a_long_word_is_shown_to_config_patterns_in_slices),
        cmocka_unit_test(built_in_patterns_scan_any_text_in_linear_time),
        cmocka_unit_test(an_arena_over_its_bound_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
