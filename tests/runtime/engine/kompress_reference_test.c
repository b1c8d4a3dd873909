/* with: tests/runtime/engine/fixture.c */
/* The kompress profile with a real encoder, end to end, against the real headroom-ai 0.42.0 with
 * the same encoder in transformers: byte for byte. The goldens and the script that made them are
 * in tests/golden/kompress. */
#include "tests/runtime/engine/fixture.h"

#include "runtime/base/file.h"
#include "tests/support/random_model.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_BYTES = 1024, LINE_BYTES_MAX = 1 << 20, CASES_MIN = 100, CASES_MAX = 256 };

/* Sanitizers make the encoder many times slower: there, a part of the cases stands for all. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { CASES_RUN = 40 };
#else
enum { CASES_RUN = CASES_MAX };
#endif

static const char *golden(const char *name) {
    static char path[PATH_BYTES];
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(path, sizeof path, "%s/tests/golden/kompress/%s", source ? source : ".", name);
    return path;
}

static void copy_tokenizer(const char *dir) {
    char to[PATH_BYTES];
    (void)snprintf(to, sizeof to, "%s/tokenizer.json", dir);
    pith_file file;
    pith_err err = {0};
    assert_int_equal(pith_file_read(&file, golden("tokenizer.json"), 1 << 24, &err), PITH_OK);
    FILE *out = fopen(to, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file.data, 1, file.len, out), file.len);
    assert_int_equal(fclose(out), 0);
    pith_file_close(&file);
}

/* The model of make_encoder_goldens.py. */
static char *model_make(void) {
    char dir[] = "/tmp/pith-kompress-XXXXXX";
    assert_non_null(mkdtemp(dir));
    pith_tokenizer *tokenizer;
    pith_err err = {0};
    assert_int_equal(pith_tokenizer_open(&tokenizer, golden("tokenizer.json"), &err), PITH_OK);
    pith_model_config config = pith_random_config_tiny();
    config.vocab_size = pith_tokenizer_vocab_size(tokenizer);
    config.cls_id = pith_tokenizer_find(tokenizer, "[CLS]");
    config.sep_id = pith_tokenizer_find(tokenizer, "[SEP]");
    config.pad_id = pith_tokenizer_find(tokenizer, "[PAD]");
    config.positions_max = 512;
    config.window_tokens = 512;
    config.halo_tokens = 64;
    pith_tokenizer_close(tokenizer);
    pith_random_model_opts opts = pith_random_model_defaults();
    opts.word_mode = "split";
    if (pith_random_model_write(dir, &config, &opts, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
    copy_tokenizer(dir);
    return strdup(dir);
}

static uint64_t fnv1a64(const char *data, size_t len) {
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < len; i++) {
        h = (h ^ (unsigned char)data[i]) * UINT64_C(0x100000001B3);
    }
    return h;
}

/* All are in flight at once: what is packed together must not matter. */
static json_t *rows[CASES_MAX];
static kept_reply replies[CASES_MAX];

static void submit_row(pith_engine *engine, const json_t *row, kept_reply *reply) {
    const json_t *ratio = json_array_get(row, 1);
    pith_compress_request request = {
        .text = json_string_value(json_array_get(row, 0)),
        .text_len = json_string_length(json_array_get(row, 0)),
        .budget = json_is_null(ratio) ? PITH_BUDGET_DEFAULT : PITH_BUDGET_TARGET_RATIO,
        .budget_value = json_number_value(ratio),
        .profile = PITH_PROFILE_KOMPRESS,
    };
    pith_submit_opts opts = {
        .deadline_ns = PITH_DEADLINE_NONE, .reply = kept_reply_take, .user = reply};
    pith_err err = {0};
    kept_reply_init(reply);
    if (pith_engine_submit(engine, &request, &opts, NULL, NULL, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
}

static bool reply_agrees(const json_t *row, kept_reply *reply) {
    kept_reply_wait(reply);
    if (reply->status != PITH_OK) {
        fail_msg("%s", reply->error);
    }
    uint64_t expected = strtoull(json_string_value(json_array_get(row, 2)), NULL, 16);
    bool equal = fnv1a64(reply->text, reply->text_len) == expected;
    kept_reply_free(reply);
    return equal;
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

static size_t read_rows(void) {
    pid_t child;
    FILE *file = open_gz(golden("encoder_cases.jsonl.gz"), &child);
    char *line = malloc(LINE_BYTES_MAX);
    assert_non_null(line);
    size_t n = 0;
    while (fgets(line, LINE_BYTES_MAX, file) != NULL) {
        assert_true(n < CASES_MAX);
        rows[n] = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(rows[n++]);
    }
    free(line);
    (void)fclose(file);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return n;
}

static void kompress_with_a_real_encoder_equals_the_reference(void **state) {
    size_t n = read_rows();
    assert_true(n >= CASES_MIN);
    char *dir = model_make();
    pith_engine *engine =
        engine_on(dir, (pith_engine_opts){.device = "cpu", .dtype = "f32", .jobs_max = CASES_MAX});
    assert_non_null(engine);
    size_t n_run = n < CASES_RUN ? n : CASES_RUN;
    for (size_t i = 0; i < n_run; i++) {
        submit_row(engine, rows[i], &replies[i]);
    }
    size_t n_bad = 0;
    for (size_t i = 0; i < n; i++) {
        if (i < n_run && !reply_agrees(rows[i], &replies[i])) {
            print_error("case %zu differs\n", i);
            n_bad++;
        }
        json_decref(rows[i]);
    }
    pith_engine_close(engine);
    tiny_model_remove(dir);
    assert_int_equal(n_bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kompress_with_a_real_encoder_equals_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
