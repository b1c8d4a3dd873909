/* One options table: flag over environment over file over built-in value; one clear line each. */
#include "server/common/options.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGS_MAX = 16 };

static pith_status read_args(pith_options *options, pith_command command, const char *const *args,
                             pith_err *err) {
    char *argv[ARGS_MAX + 1] = {(char *)(uintptr_t) "pith"};
    int argc = 1;
    for (; args[argc - 1] != NULL; argc++) {
        argv[argc] = (char *)(uintptr_t)args[argc - 1];
    }
    return pith_options_read(options, command, argc, argv, err);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static char *file_with(const char *text) {
    char path[] = "/tmp/pith-options-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    return strdup(path);
}

static void built_in_values_hold_when_nothing_is_said(void **state) {
    pith_options options;
    assert_int_equal(read_args(&options, PITH_CMD_SERVE, ARGS(NULL), NULL), PITH_OK);
    assert_string_equal(options.listen, "127.0.0.1:50051");
    assert_string_equal(options.device, "auto");
    assert_int_equal(options.max_text_bytes, 16 * 1024 * 1024);
    assert_int_equal(options.n_models, 0);
    pith_options_free(&options);
}

static void a_flag_wins_over_the_environment_and_that_over_the_file(void **state) {
    char *path = file_with("listen: 0.0.0.0:1\nmax-jobs: 7\nmodel: [a=/m/a, /m/b]\nthreads: 3\n");
    pith_options options;
    pith_err err;
    assert_int_equal(setenv("PITH_MAX_JOBS", "8", 1), 0);
    assert_int_equal(setenv("PITH_THREADS", "5", 1), 0);
    assert_int_equal(
        read_args(&options, PITH_CMD_SERVE, ARGS("--config", path, "--threads=9"), &err), PITH_OK);
    assert_string_equal(options.listen, "0.0.0.0:1");
    assert_int_equal(options.max_jobs, 8);
    assert_int_equal(options.threads, 9);
    assert_int_equal(options.n_models, 2);
    assert_string_equal(options.models[0], "a=/m/a");
    assert_string_equal(options.models[1], "/m/b");
    pith_options_free(&options);
    assert_int_equal(unsetenv("PITH_MAX_JOBS"), 0);
    assert_int_equal(unsetenv("PITH_THREADS"), 0);
    (void)unlink(path);
    free(path);
}

static void a_model_flag_replaces_the_models_of_the_file(void **state) {
    char *path = file_with("model: /m/a\n");
    pith_options options;
    assert_int_equal(read_args(&options, PITH_CMD_SERVE,
                               ARGS("--config", path, "--model", "/m/x", "--model", "y=/m/y"),
                               NULL),
                     PITH_OK);
    assert_int_equal(options.n_models, 2);
    assert_string_equal(options.models[0], "/m/x");
    pith_options_free(&options);
    (void)unlink(path);
    free(path);
}

static void bad_flags_are_refused_by_name(void **state) {
    static const struct {
        const char *args[3];
        const char *text;
    } cases[] = {
        {{"--nonsense"}, "--nonsense"},
        {{"-x"}, "-x"},
        {{"--threads", "many"}, "--threads: \"many\""},
        {{"--threads", "-1"}, "--threads"},
        {{"--threads", "99999999999"}, "--threads"},
        {{"--listen"}, "--listen wants a value"},
        {{"--max-text-bytes", "1e9"}, "--max-text-bytes"},
        {{"--target-ratio", "0.5"}, "--target-ratio"}, /* another command's flag */
        {{"a", "b", "c"}, "unexpected argument"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pith_options options;
        pith_err err = {0};
        const char *args[4] = {cases[i].args[0], cases[i].args[1], cases[i].args[2], NULL};
        assert_int_equal(read_args(&options, PITH_CMD_SERVE, args, &err), PITH_INVALID);
        assert_non_null(strstr(err.text, cases[i].text));
        pith_options_free(&options);
    }
}

static void bad_files_are_refused_with_file_and_line_or_key(void **state) {
    static const struct {
        const char *file;
        const char *text;
    } cases[] = {
        {"nonsense: 1\n", "unknown key \"nonsense\""},
        {"threads: 1\nthreads: 2\n", "line 2: key given twice"},
        {"threads:\n  deep: 1\n", "line 2: nested"},
        {"- a\n- b\n", "line 1"},
        {"threads: lots\n", "threads: \"lots\""},
        {"threads: [1\n", "line"},
        {"config: other.yaml\n", "unknown key \"config\""},
        {"threads: *x\n", "alias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = file_with(cases[i].file);
        pith_options options;
        pith_err err = {0};
        assert_int_equal(read_args(&options, PITH_CMD_SERVE, ARGS("--config", path), &err),
                         PITH_INVALID);
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, cases[i].text));
        pith_options_free(&options);
        (void)unlink(path);
        free(path);
    }
}

static void a_bad_environment_value_names_the_variable(void **state) {
    pith_options options;
    pith_err err = {0};
    assert_int_equal(setenv("PITH_MAX_JOBS", "x", 1), 0);
    assert_int_equal(read_args(&options, PITH_CMD_SERVE, ARGS(NULL), &err), PITH_INVALID);
    assert_non_null(strstr(err.text, "PITH_MAX_JOBS"));
    pith_options_free(&options);
    assert_int_equal(unsetenv("PITH_MAX_JOBS"), 0);
}

static void folding_is_an_option_of_both_programs(void **state) {
    pith_options options;
    assert_int_equal(read_args(&options, PITH_CMD_SERVE, ARGS(NULL), NULL), PITH_OK);
    assert_false(options.fold_repeats);
    assert_int_equal(options.fold_after, 1);
    pith_options_free(&options);
    assert_int_equal(setenv("PITH_FOLD_REPEATS", "true", 1), 0);
    assert_int_equal(read_args(&options, PITH_CMD_COMPRESS, ARGS("--fold-after", "3", "f"), NULL),
                     PITH_OK);
    assert_true(options.fold_repeats);
    assert_int_equal(options.fold_after, 3);
    pith_options_free(&options);
    assert_int_equal(unsetenv("PITH_FOLD_REPEATS"), 0);
    char *path = file_with("fold-repeats: true\n");
    assert_int_equal(read_args(&options, PITH_CMD_SERVE, ARGS("--config", path), NULL), PITH_OK);
    assert_true(options.fold_repeats);
    pith_options_free(&options);
    (void)unlink(path);
    free(path);
}

static void budgets_are_told_from_zero(void **state) {
    pith_options options;
    assert_int_equal(
        read_args(&options, PITH_CMD_COMPRESS, ARGS("--threshold", "0", "--explain", "f"), NULL),
        PITH_OK);
    assert_true(options.threshold_set);
    assert_false(options.target_ratio_set);
    assert_true(options.explain);
    assert_string_equal(options.operands[0], "f");
    pith_options_free(&options);
}

static void a_dash_and_what_follows_two_dashes_are_operands(void **state) {
    pith_options options;
    assert_int_equal(read_args(&options, PITH_CMD_COMPRESS, ARGS("-"), NULL), PITH_OK);
    assert_string_equal(options.operands[0], "-");
    pith_options_free(&options);
    assert_int_equal(read_args(&options, PITH_CMD_COMPRESS, ARGS("--", "--json"), NULL), PITH_OK);
    assert_string_equal(options.operands[0], "--json");
    assert_false(options.json);
    pith_options_free(&options);
}

static void the_values_in_force_fit_one_line(void **state) {
    pith_options options;
    char line[1024];
    assert_int_equal(read_args(&options, PITH_CMD_SERVE, ARGS("--max-jobs", "12"), NULL), PITH_OK);
    pith_options_describe(&options, PITH_CMD_SERVE, line, sizeof line);
    assert_non_null(strstr(line, " max-jobs=12"));
    assert_non_null(strstr(line, " listen=127.0.0.1:50051"));
    assert_null(strchr(line, '\n'));
    pith_options_describe(&options, PITH_CMD_SERVE, line, 20);
    assert_true(strlen(line) < 20);
    pith_options_free(&options);
}

/* `make docs` writes the page. */
static void the_reference_page_is_up_to_date(void **state) {
    char *made = NULL;
    size_t made_len = 0;
    FILE *out = open_memstream(&made, &made_len);
    assert_non_null(out);
    pith_options_page(out);
    (void)fclose(out);
    char path[4096];
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(path, sizeof path, "%s/docs/options.md", source != NULL ? source : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *committed = calloc(1, made_len + 2);
    assert_non_null(committed);
    size_t len = fread(committed, 1, made_len + 1, file);
    (void)fclose(file);
    assert_int_equal(len, made_len);
    assert_string_equal(committed, made);
    free(committed);
    free(made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_page_is_up_to_date),
        cmocka_unit_test(built_in_values_hold_when_nothing_is_said),
        cmocka_unit_test(a_flag_wins_over_the_environment_and_that_over_the_file),
        cmocka_unit_test(a_model_flag_replaces_the_models_of_the_file),
        cmocka_unit_test(bad_flags_are_refused_by_name),
        cmocka_unit_test(bad_files_are_refused_with_file_and_line_or_key),
        cmocka_unit_test(a_bad_environment_value_names_the_variable),
        cmocka_unit_test(folding_is_an_option_of_both_programs),
        cmocka_unit_test(budgets_are_told_from_zero),
        cmocka_unit_test(a_dash_and_what_follows_two_dashes_are_operands),
        cmocka_unit_test(the_values_in_force_fit_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
