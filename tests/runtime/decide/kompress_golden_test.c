/* The kompress profile against the real headroom-ai 0.42.0, byte for byte. The goldens and the
 * script that made them are in tests/golden/kompress. */
#include "tests/runtime/decide/fixture.h"

#include <jansson.h>
#include <sys/wait.h>

enum { LINE_BYTES_MAX = 1 << 20, CASES_MIN = 2000 };

static uint64_t fnv1a64(const char *data, size_t len) {
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < len; i++) {
        h = (h ^ (unsigned char)data[i]) * UINT64_C(0x100000001B3);
    }
    return h;
}

/* The unpacked lines of a .gz file, through a child of our own. */
static FILE *open_gz(const char *path, pid_t *child) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    *child = fork();
    assert_true(*child >= 0);
    if (*child == 0) {
        (void)dup2(ends[1], 1);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execlp("gzip", "gzip", "-dc", path, (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    FILE *file = fdopen(ends[0], "r");
    assert_non_null(file);
    return file;
}

static void close_gz(FILE *file, pid_t child) {
    int status;
    (void)fclose(file);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* A line of cases.jsonl, see make_goldens.py. `column`: 5 for the small tokenizer, 7 for
 * ModernBERT's. */
static bool case_agrees(fixture *f, const json_t *row, size_t column) {
    const json_t *ratio = json_array_get(row, 1);
    fixture_rule rule = {(uint64_t)json_integer_value(json_array_get(row, 2)),
                         json_number_value(json_array_get(row, 3)),
                         json_number_value(json_array_get(row, 4))};
    pith_compress_request request = {
        .text = json_string_value(json_array_get(row, 0)),
        .text_len = json_string_length(json_array_get(row, 0)),
        .budget = json_is_null(ratio) ? PITH_BUDGET_DEFAULT : PITH_BUDGET_TARGET_RATIO,
        .budget_value = json_number_value(ratio),
        .profile = PITH_PROFILE_KOMPRESS,
    };
    fixture_compress(f, &request, &rule);
    const char *expected = json_string_value(json_array_get(row, column));
    assert_non_null(expected);
    bool equal = strtoull(expected, NULL, 16) == fnv1a64(f->result.text, f->result.text_len);
    equal = equal &&
            f->result.kept_words == (uint32_t)json_integer_value(json_array_get(row, column + 1));
    const char *full = json_string_value(json_array_get(row, 9));
    if (!equal && full != NULL && column == 5) {
        print_error("expected [%s]\n   found [%.*s]\n", full, (int)f->result.text_len,
                    f->result.text);
    }
    return equal;
}

static void check_cases(const char *tokenizer_path, size_t column) {
    fixture f;
    fixture_open(&f, tokenizer_path);
    pid_t child;
    FILE *file = open_gz(fixture_golden("cases.jsonl.gz"), &child);
    char *line = malloc(LINE_BYTES_MAX);
    assert_non_null(line);
    size_t n = 0;
    size_t n_bad = 0;
    while (fgets(line, LINE_BYTES_MAX, file) != NULL) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        if (!case_agrees(&f, row, column)) {
            print_error("case %zu differs\n", n);
            n_bad++;
        }
        json_decref(row);
        n++;
    }
    free(line);
    close_gz(file, child);
    fixture_close(&f);
    assert_true(n >= CASES_MIN);
    assert_int_equal(n_bad, 0);
}

static void kompress_equals_the_reference_on_every_text(void **state) {
    char path[FIXTURE_PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s", fixture_golden("tokenizer.json"));
    check_cases(path, 5);
}

static void kompress_equals_the_reference_with_the_vocabulary_of_modernbert(void **state) {
    const char *shared = getenv("PITH_SHARED");
    char path[FIXTURE_PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/data/tokenizers/modernbert/tokenizer.json",
                   shared ? shared : "../shared");
    if (access(path, R_OK) != 0) {
        skip();
    }
    check_cases(path, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kompress_equals_the_reference_on_every_text),
        cmocka_unit_test(kompress_equals_the_reference_with_the_vocabulary_of_modernbert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
