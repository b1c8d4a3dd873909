#include "runtime/text/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(pith_domain expected, const char *const *texts, size_t n) {
    for (size_t i = 0; i < n; i++) {
        pith_domain found = pith_route(texts[i], strlen(texts[i]));
        if (found != expected) {
            fail_msg("example %zu of %s is routed to %s", i, pith_domain_name(expected),
                     pith_domain_name(found));
        }
    }
}

#define CHECK(domain, texts) check(domain, texts, sizeof(texts) / sizeof *(texts))

static void prose_is_routed_to_prose(void **state) {
    static const char *const texts[] = {
        "The committee met on Tuesday. It was agreed that the budget should be reviewed before "
        "the end of the year, and that no new staff would be hired until then.\n",
        "",
        "hello",
        "From the beginning it was clear that this would not be easy.\n\nFor the most part we "
        "walked in silence. If anyone spoke, it was to ask how far we had come: \"not far\".\n",
        "# Installing\n\nRead the notes first. The tool needs Python 3.8 or later.\n\n"
        "* It works on Linux.\n* It does not work on Windows.\n\nUse it at your own risk.\n",
        "\"We shall see,\" she said.\n\"Perhaps\", he answered, \"but not today.\"\n",
        "- one\n- two, which goes on\n  here\n- three\n- four\n",
        "[Note: the following is a summary of the report, which was published in 2019.]\n",
        "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, \xD0\xBC\xD0\xB8\xD1\x80.\n",
    };
    CHECK(PITH_DOMAIN_PROSE, texts);
}

static void source_is_routed_to_code(void **state) {
    static const char *const texts[] = {
        "import os\n\ndef main(argv):\n    path = argv[1]\n    if not os.path.exists(path):\n"
        "        return 1\n    for name in os.listdir(path):\n        print(name)\n    return 0\n",
        "#include <stdio.h>\n\nint main(void) {\n    printf(\"hi\\n\");\n    return 0;\n}\n",
        "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tx := 5\n\tfmt.Println(x)\n}\n",
        "export function add(a, b) {\n  const sum = a + b;\n  return sum;\n}\n",
        "SELECT id, name\nFROM users\nWHERE id = 5 AND name = 'x';\nUPDATE users SET a = 1;\n",
    };
    CHECK(PITH_DOMAIN_CODE, texts);
}

static void logs_are_routed_to_log(void **state) {
    static const char *const texts[] = {
        "2026-01-02 10:00:00,123 INFO server started\n2026-01-02 10:00:01,000 WARN slow request\n"
        "2026-01-02 10:00:02,500 ERROR connection refused\n",
        "Jan  2 15:04:05 host sshd[123]: Accepted publickey\n"
        "Jan  2 15:04:06 host sshd[123]: session opened\n",
        "[INFO] Scanning for projects...\n[INFO] Building demo 1.0\n[ERROR] failed\n",
        "I0102 15:04:05.000000   1 main.go:12] starting\nE0102 15:04:06.1 1 main.go:13] oops\n",
        "time=2026-01-02T10:00:00Z level=info msg=\"ready\"\ntime=x level=warn msg=\"slow\"\n",
        "127.0.0.1 - - [02/Jan/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 12\n"
        "127.0.0.1 - - [02/Jan/2026:10:00:01 +0000] \"GET /x HTTP/1.1\" 404 9\n",
        "[    0.000000] Linux version 6.1\n[    0.004000] Command line: quiet\n",
        "2026-01-02 10:00:00 ERROR boom\nTraceback (most recent call last):\n"
        "2026-01-02 10:00:01 INFO again\n2026-01-02 10:00:02 INFO again\n",
    };
    CHECK(PITH_DOMAIN_LOG, texts);
}

static void json_is_routed_to_json(void **state) {
    static const char *const texts[] = {
        "{\"a\": 1, \"b\": [true, false, null]}",
        "  [\n  {\"name\": \"x\"},\n  {\"name\": \"y\\\"\"}\n]\n",
        "{\"level\":\"info\",\"msg\":\"a\"}\n{\"level\":\"info\",\"msg\":\"b\"}\n",
        "[1, 2, 3.5e+10, -4]",
        "{\"cut\": \"in the middle of a stri",
        "    \"type\": \"string\",\n    \"minLength\": 3\n  },\n  \"sizes\": [\n    12,\n"
        "    -1.5e3,\n    true\n  ],\n  \"name\": {\n    \"$ref\": \"#/definitions/name\"\n",
        "\"at\": 1, \"cut\": \"before\"}\n{\"at\": 2, \"text\": \"it said (a, b)\"}\n"
        "{\"at\": 3, \"text\": \"cut behi\n",
        "\t\t\"compress/gzip\",\n\t\t\"context\",\n\t\t\"say \\\"hi\\\"\"\n\t],\n",
    };
    CHECK(PITH_DOMAIN_JSON, texts);
}

static void diffs_are_routed_to_diff(void **state) {
    static const char *const texts[] = {
        "diff --git a/x.c b/x.c\nindex 1..2 100644\n--- a/x.c\n+++ b/x.c\n@@ -1,3 +1,3 @@\n"
        " int a;\n-int b;\n+int c;\n",
        "+    keep(a);\n+    keep(b);\n     return 0;\n }\n-int old;\n",
        "--- old.txt\t2026-01-01\n+++ new.txt\t2026-01-02\n@@ -1 +1 @@\n-a\n+b\n",
    };
    CHECK(PITH_DOMAIN_DIFF, texts);
}

static void search_results_are_routed_to_search(void **state) {
    static const char *const texts[] = {
        "src/main.c:12:int main(void) {\nsrc/util.c:40:static int x;\nsrc/util.h:3:int y;\n",
        "./a/b.c\n./a/c.c\n./d/e/f.txt\n./g\n",
        "total 12\n-rw-r--r-- 1 root root  120 Jan  2 10:00 a.txt\n"
        "drwxr-xr-x 2 root root 4096 Jan  2 10:00 dir\n",
        "README.md:Pith is a server\ndocs/a.md:Another line of text\n",
    };
    CHECK(PITH_DOMAIN_SEARCH, texts);
}

static void shell_sessions_are_routed_to_shell(void **state) {
    static const char *const texts[] = {
        "$ ls\na.txt b.txt\n$ cat a.txt\nhello\n",
        "user@host:~/src$ make\ncc -c a.c\nuser@host:~/src$ ./a\nhi\n",
        "[ 10%] Building C object a.o\n[ 20%] Building C object b.o\n[100%] Linking C\n",
        "make[1]: Entering directory 'x'\ngcc -O2 -c a.c\ngcc -o a a.o\nmake[1]: Leaving\n",
        "Collecting numpy\n  Downloading numpy-1.whl (10 MB)\nInstalling collected packages\n"
        "Successfully installed numpy\n",
        "=== RUN   TestA\n--- PASS: TestA (0.00s)\nPASS\nok  \texample.com/x\t0.003s\n",
    };
    CHECK(PITH_DOMAIN_SHELL, texts);
}

static void traces_are_routed_to_error_trace(void **state) {
    static const char *const texts[] = {
        "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\n    main()\n"
        "  File \"a.py\", line 1, in main\n    raise ValueError(1)\nValueError: 1\n",
        "Exception in thread \"main\" java.lang.NullPointerException\n"
        "\tat com.x.A.b(A.java:12)\n\tat com.x.A.main(A.java:5)\n",
        "TypeError: x is not a function\n    at f (/a/b.js:1:2)\n    at Object.<anonymous> "
        "(c.js:3)\n",
        "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()\n"
        "\t/go/src/x/main.go:12 +0x1d\n",
        "a.c: In function 'main':\na.c:3:5: error: 'x' undeclared\n    3 |     x = 1;\n"
        "      |     ^\n",
        "error[E0308]: mismatched types\n --> src/main.rs:2:5\n  |\n2 |     1\n  |     ^ "
        "expected\n",
    };
    CHECK(PITH_DOMAIN_ERROR_TRACE, texts);
}

static void names_and_domains_are_the_same_both_ways(void **state) {
    for (unsigned d = 0; d < PITH_DOMAIN_COUNT; d++) {
        assert_int_equal(pith_domain_find(pith_domain_name((pith_domain)d)), d);
    }
    assert_int_equal(pith_domain_find("poetry"), PITH_DOMAIN_COUNT);
    assert_string_equal(pith_domain_name(PITH_DOMAIN_ERROR_TRACE), "error_trace");
}

static void only_the_first_64_kib_decide(void **state) {
    size_t len = 1 << 20;
    char *text = malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++) {
        text[i] = i % 16 == 15 ? '\n' : 'w';
    }
    memcpy(text, "$ ls", 4);
    pith_domain before = pith_route(text, len);
    memset(text + 65536, '{', len - 65536);
    assert_int_equal(pith_route(text, len), before);
    free(text);
}

static void any_bytes_get_a_domain(void **state) {
    char text[64];
    uint64_t seed = 7;
    static const char alphabet[] = "\n \t{}[]\":/.-+@$#ab01\0\xC3\xA9";
    for (size_t n = 0; n < 20000; n++) {
        size_t len = n % sizeof text;
        for (size_t i = 0; i < len; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
            text[i] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
        }
        pith_domain domain = pith_route(text, len);
        assert_true(domain > PITH_DOMAIN_AUTO && domain < PITH_DOMAIN_COUNT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prose_is_routed_to_prose),
        cmocka_unit_test(source_is_routed_to_code),
        cmocka_unit_test(logs_are_routed_to_log),
        cmocka_unit_test(json_is_routed_to_json),
        cmocka_unit_test(diffs_are_routed_to_diff),
        cmocka_unit_test(search_results_are_routed_to_search),
        cmocka_unit_test(shell_sessions_are_routed_to_shell),
        cmocka_unit_test(traces_are_routed_to_error_trace),
        cmocka_unit_test(names_and_domains_are_the_same_both_ways),
        cmocka_unit_test(only_the_first_64_kib_decide),
        cmocka_unit_test(any_bytes_get_a_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
