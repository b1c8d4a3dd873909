/* Every malformed safetensors file gets one line that names file, tensor, found and expected. */
#include "runtime/weights/safetensors.h"

#include "tests/support/weights_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOOD_A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
#define GOOD_B "\"b\":{\"dtype\":\"BF16\",\"shape\":[1,2],\"data_offsets\":[8,12]}"
static const char GOOD[] = "{" GOOD_A "," GOOD_B "}";
enum { GOOD_DATA = 12, PARTS_MAX = 6 };

typedef struct bad_case {
    const char *what;
    const char *header;
    size_t header_len; /* SIZE_MAX: the true one */
    size_t data_len;
    const char *parts[PARTS_MAX]; /* of the error, NULL-ended */
} bad_case;

#define ENTRY(name, dtype, shape, offsets)                                                         \
    "\"" name "\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const bad_case bad_cases[] = {
    {"header length 0", GOOD, 0, 12, {"m.st: header", "found a length of 0", "expected 2 to 1"}},
    {"header length past the end", GOOD, 5000, 12, {"found a length of 5000", "expected 2 to"}},
    {"header length over 100 MB", GOOD, (size_t)1 << 62, 12, {"found a length of 461168601842738"}},
    {"header length one short", GOOD, sizeof GOOD - 2, 13, {"m.st: header: JSON at byte"}},
    {"header is not an object", "[1,2,3]", SIZE_MAX, 0, {"m.st: header", "0x5b", "expected '{'"}},
    {"header is cut JSON",
     "{\"a\":",
     SIZE_MAX,
     0,
     {"m.st: header: JSON at byte", "expected an obj"}},
    {"header is empty", "{}", SIZE_MAX, 0, {"m.st: header", "found 0 tensors", "expected 1 to"}},
    {"header is not UTF-8", "{\"\xff\xfe\":1}", SIZE_MAX, 0, {"m.st: header: JSON", "0xff"}},
    {"NUL in a name", "{\"a\\u0000b\":1}", SIZE_MAX, 0, {"m.st: header: JSON", "NUL"}},
    {"duplicate tensor",
     "{" GOOD_A "," GOOD_A "}",
     SIZE_MAX,
     8,
     {"m.st: header: JSON", "uplicate"}},
    {"entry is a number",
     "{\"a\":3}",
     SIZE_MAX,
     0,
     {"tensor a: entry", "found 3", "expected an ob"}},
    {"missing key",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}",
     SIZE_MAX,
     8,
     {"tensor a: entry", "found an object of 2"}},
    {"unknown key",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}",
     SIZE_MAX,
     8,
     {"tensor a: entry", "found an object of 4", "expected"}},
    {"unknown dtype",
     "{" ENTRY("a", "\"F4\"", "[2]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"m.st: tensor a: dtype", "found \"F4\"", "expected F32, F16 or BF16"}},
    {"dtype is a number",
     "{" ENTRY("a", "7", "[2]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"tensor a: dtype", "found 7", "expected F32"}},
    {"shape is no array",
     "{" ENTRY("a", "\"F32\"", "2", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"tensor a: shape", "found 2", "expected an array of at most 4"}},
    {"five dimensions",
     "{" ENTRY("a", "\"F32\"", "[1,1,1,1,2]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"tensor a: shape", "found an array of 5", "at most 4"}},
    {"negative extent",
     "{" ENTRY("a", "\"F32\"", "[-2]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"tensor a: shape", "found -2", "0 or more"}},
    {"extent is a real",
     "{" ENTRY("a", "\"F32\"", "[2.0]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"tensor a: shape", "found 2", "expected an integer"}},
    {"product overflows",
     "{" ENTRY("a", "\"F32\"", "[4294967296,4294967296]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"tensor a: shape", "found 4294967296", "under 2^64"}},
    {"product wraps to the right size",
     "{" ENTRY("a", "\"F32\"", "[4611686018427387906]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"tensor a: shape", "under 2^64"}},
    {"integer too large for 64 bits",
     "{" ENTRY("a", "\"F32\"", "[99999999999999999999]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"m.st: header: JSON", "too big integer"}},
    {"real too large",
     "{" ENTRY("a", "\"F32\"", "[1e999]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"m.st: header: JSON", "real number overflow"}},
    {"one offset",
     "{" ENTRY("a", "\"F32\"", "[2]", "[0]") "}",
     SIZE_MAX,
     8,
     {"tensor a: data_offsets", "found an array of 1", "two integers"}},
    {"offsets are text",
     "{" ENTRY("a", "\"F32\"", "[2]", "[\"0\",8]") "}",
     SIZE_MAX,
     8,
     {"tensor a: data_offsets", "two integers"}},
    {"negative offset",
     "{" ENTRY("a", "\"F32\"", "[2]", "[-8,0]") "}",
     SIZE_MAX,
     8,
     {"tensor a: data_offsets", "found -8 to 0", "0 or more"}},
    {"descending offsets",
     "{" ENTRY("a", "\"F32\"", "[2]", "[8,0]") "}",
     SIZE_MAX,
     8,
     {"tensor a: data_offsets", "found 8 to 0", "ascending"}},
    {"end past the data",
     "{" ENTRY("a", "\"F32\"", "[4]", "[0,16]") "}",
     SIZE_MAX,
     8,
     {"tensor a: data_offsets", "found an end of 16", "expected at most 8"}},
    {"huge end",
     "{" ENTRY("a", "\"F32\"", "[2]", "[0,9223372036854775807]") "}",
     SIZE_MAX,
     8,
     {"tensor a: data_offsets", "found an end of 9223372036854775807"}},
    {"bytes do not match the shape",
     "{" ENTRY("a", "\"F32\"", "[3]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"tensor a: data_offsets", "found 8 bytes", "expected 12 for F32 [3]"}},
    {"overlap",
     "{" GOOD_A "," ENTRY("b", "\"F32\"", "[2]", "[4,12]") "}",
     SIZE_MAX,
     12,
     {"tensor b: data_offsets", "found a begin of 4", "expected 8 (it overlaps a)"}},
    {"the same bytes twice",
     "{" GOOD_A "," ENTRY("b", "\"F32\"", "[2]", "[0,8]") "}",
     SIZE_MAX,
     8,
     {"found a begin of 0", "expected 8 (it overlaps"}},
    {"gap between",
     "{" GOOD_A "," ENTRY("b", "\"F32\"", "[1]", "[12,16]") "}",
     SIZE_MAX,
     16,
     {"tensor b: data_offsets", "found a begin of 12", "expected 8 (a gap after a)"}},
    {"gap before",
     "{" ENTRY("a", "\"F32\"", "[2]", "[4,12]") "}",
     SIZE_MAX,
     12,
     {"tensor a", "found a begin of 4", "expected 0 (a gap after the header)"}},
    {"bytes after the last tensor",
     GOOD,
     SIZE_MAX,
     13,
     {"tensor b: data_offsets", "found an end of 12", "expected 13, the end of the file"}},
    {"metadata is no object",
     "{\"__metadata__\":[]," GOOD_A "}",
     SIZE_MAX,
     8,
     {"__metadata__", "found an array of 0", "object of strings"}},
    {"metadata holds a number",
     "{\"__metadata__\":{\"k\":1}," GOOD_A "}",
     SIZE_MAX,
     8,
     {"__metadata__", "found 1", "expected a string"}},
    {"control characters in a name",
     "{\"a\\nb\":3}",
     SIZE_MAX,
     0,
     {"tensor a?b: entry", "found 3"}},
    {"text after the header",
     "{" GOOD_A "} x",
     SIZE_MAX,
     8,
     {"m.st: header: JSON", "end of file expected"}},
};

static void every_malformed_header_is_refused_by_name(void **state) {
    static const char zeros[64];
    for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++) {
        const bad_case *bad = &bad_cases[i];
        size_t len;
        char *data = weights_safetensors(bad->header, bad->header_len, zeros, bad->data_len, &len);
        pith_safetensors st;
        pith_err err = {0};
        pith_status status = pith_safetensors_parse(&st, data, len, "m.st", &err);
        if (err.status != status || status != PITH_CORRUPT || strncmp(err.text, "m.st: ", 6) != 0) {
            fail_msg("%s: %s: %s", bad->what, pith_status_name(status), err.text);
        }
        weights_assert_text(err.text, bad->parts);
        assert_null(st.entries);
        free(data);
    }
}

static void a_file_cut_anywhere_is_refused(void **state) {
    static const char zeros[GOOD_DATA];
    size_t len;
    char *data = weights_safetensors(GOOD, SIZE_MAX, zeros, sizeof zeros, &len);
    for (size_t cut = 0; cut < len; cut++) {
        char *exact = malloc(cut + 1);
        assert_non_null(exact);
        memcpy(exact, data, cut);
        pith_safetensors st;
        pith_err err = {0};
        assert_int_equal(pith_safetensors_parse(&st, exact, cut, "m.st", &err), PITH_CORRUPT);
        weights_assert_text(err.text, (const char *[]){"m.st: ", "found", "expected", NULL});
        free(exact);
    }
    free(data);
}

static void deep_nesting_is_refused_without_deep_recursion(void **state) {
    enum { DEPTH = 200000 };
    char *header = malloc(DEPTH + 8);
    assert_non_null(header);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', DEPTH);
    header[5 + DEPTH] = '\0';
    size_t len;
    char *data = weights_safetensors(header, SIZE_MAX, NULL, 0, &len);
    pith_safetensors st;
    pith_err err = {0};
    assert_int_equal(pith_safetensors_parse(&st, data, len, "m.st", &err), PITH_CORRUPT);
    weights_assert_text(err.text, (const char *[]){"m.st: header", "depth", NULL});
    free(data);
    free(header);
}

static void more_tensors_than_the_table_holds_are_refused(void **state) {
    enum { N = PITH_SAFETENSORS_TENSORS_MAX + 1, ROW = 64 };
    char *header = malloc((size_t)N * ROW + 2);
    assert_non_null(header);
    size_t pos = 0;
    for (int i = 0; i < N; i++) {
        pos += (size_t)snprintf(header + pos, ROW,
                                "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                                i == 0 ? "{" : ",", i);
    }
    memcpy(header + pos, "}", 2);
    size_t len;
    char *data = weights_safetensors(header, SIZE_MAX, NULL, 0, &len);
    pith_safetensors st;
    pith_err err = {0};
    assert_int_equal(pith_safetensors_parse(&st, data, len, "m.st", &err), PITH_CORRUPT);
    weights_assert_text(err.text, (const char *[]){"found 16385 tensors", "1 to 16384", NULL});
    free(data);
    free(header);
}

static void a_good_file_is_read_with_its_metadata_padding_and_empty_tensors(void **state) {
    static const float values[3] = {1.5f, -2.0f, 0.0f};
    const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"}," GOOD_B ","
        "\"z\":{\"dtype\":\"I64\",\"shape\":[0,3],\"data_offsets\":[8,8]}," GOOD_A "}    ";
    size_t len;
    char *data = weights_safetensors(header, SIZE_MAX, values, sizeof values, &len);
    pith_safetensors st;
    pith_err err;
    assert_int_equal(pith_safetensors_parse(&st, data, len, "m.st", &err), PITH_OK);
    assert_int_equal(st.n, 3);
    assert_string_equal(st.entries[0].name, "a");
    assert_string_equal(st.entries[2].name, "b");
    assert_int_equal(st.entries[2].bytes, 4);
    assert_int_equal(st.entries[2].shape[1], 2);
    float first;
    memcpy(&first, pith_safetensors_data(&st, &st.entries[0]), sizeof first);
    assert_memory_equal(&first, &values[0], sizeof first);
    pith_dtype dtype;
    assert_int_equal(pith_safetensors_dtype(&st, &st.entries[2], &dtype, &err), PITH_OK);
    assert_int_equal(dtype, PITH_BF16);
    assert_int_equal(pith_safetensors_dtype(&st, &st.entries[1], &dtype, &err), PITH_CORRUPT);
    weights_assert_text(err.text, (const char *[]){"tensor z", "found I64", "expected F32", NULL});
    assert_int_equal(pith_safetensors_verify(&st, NULL, &err), PITH_OK);
    pith_safetensors_close(&st);
    free(data);
}

/* Verifies the good file with `bits` in place of element `index` of tensor a or b. */
static pith_status verify_with(size_t byte, uint32_t bits, size_t size, pith_err *err) {
    char values[GOOD_DATA] = {0};
    memcpy(values + byte, &bits, size);
    size_t len;
    char *data = weights_safetensors(GOOD, SIZE_MAX, values, sizeof values, &len);
    pith_safetensors st;
    assert_int_equal(pith_safetensors_parse(&st, data, len, "m.st", err), PITH_OK);
    pith_status status = pith_safetensors_verify(&st, NULL, err);
    pith_safetensors_close(&st);
    free(data);
    return status;
}

static void nan_and_infinity_are_found_and_named(void **state) {
    pith_err err = {0};
    assert_int_equal(verify_with(4, 0x7fc00000u, 4, &err), PITH_CORRUPT);
    weights_assert_text(err.text,
                        (const char *[]){"m.st: tensor a: value", "found NaN at element 1",
                                         "expected finite", NULL});
    assert_int_equal(verify_with(10, 0xff80u, 2, &err), PITH_CORRUPT);
    weights_assert_text(err.text, (const char *[]){"tensor b: value", "found infinity at element 1",
                                                   "expected finite", NULL});
    assert_int_equal(verify_with(4, 0x7f7fffffu, 4, &err), PITH_OK); /* the largest finite */
}

static void the_hash_covers_every_byte_of_the_file(void **state) {
    char golden[WEIGHTS_PATH_BYTES];
    char path[WEIGHTS_PATH_BYTES + 32];
    weights_golden(golden, "peft");
    (void)snprintf(path, sizeof path, "%s/model.safetensors", golden);
    size_t len;
    char *data = weights_read(golden, "model.safetensors", &len);
    pith_sha256 sha;
    uint8_t whole[PITH_SHA256_BYTES];
    uint8_t verified[PITH_SHA256_BYTES];
    pith_sha256_init(&sha);
    pith_sha256_update(&sha, data, len);
    pith_sha256_final(&sha, whole);
    pith_safetensors st;
    pith_err err;
    assert_int_equal(pith_safetensors_open(&st, path, &err), PITH_OK);
    pith_sha256_init(&sha);
    assert_int_equal(pith_safetensors_verify(&st, &sha, &err), PITH_OK);
    pith_sha256_final(&sha, verified);
    pith_safetensors_close(&st);
    free(data);
    assert_memory_equal(whole, verified, sizeof whole);
}

static void a_missing_file_and_an_empty_one_are_told_apart(void **state) {
    weights_folder folder;
    char path[WEIGHTS_PATH_BYTES + 32];
    pith_safetensors st;
    pith_err err;
    weights_folder_make(&folder);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder.path);
    assert_int_equal(pith_safetensors_open(&st, path, &err), PITH_NOT_FOUND);
    weights_assert_text(err.text, (const char *[]){"model.safetensors", NULL});
    weights_write(&folder, "model.safetensors", "", 0);
    assert_int_equal(pith_safetensors_open(&st, path, &err), PITH_CORRUPT);
    assert_int_equal(pith_safetensors_open(&st, folder.path, &err), PITH_IO);
    weights_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_malformed_header_is_refused_by_name),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(deep_nesting_is_refused_without_deep_recursion),
        cmocka_unit_test(more_tensors_than_the_table_holds_are_refused),
        cmocka_unit_test(a_good_file_is_read_with_its_metadata_padding_and_empty_tensors),
        cmocka_unit_test(nan_and_infinity_are_found_and_named),
        cmocka_unit_test(the_hash_covers_every_byte_of_the_file),
        cmocka_unit_test(a_missing_file_and_an_empty_one_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
