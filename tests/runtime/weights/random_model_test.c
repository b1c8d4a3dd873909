/* tests/support/random_model.h gives the bits that random_model.py gave when the goldens were made.
 */
#include "tests/support/random_model.h"

#include "runtime/base/sha256.h"
#include "runtime/weights/manifest.h"
#include "tests/support/weights_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One line of random_model.txt: file DTYPE SHA256. */
static void check_file(const char *dtype, const char *expected) {
    weights_folder folder;
    weights_folder_make(&folder);
    pith_model_config config = pith_random_config_tiny();
    pith_random_model_opts opts = pith_random_model_defaults();
    opts.seed = 5;
    opts.dtype = strcmp(dtype, "f32") == 0 ? PITH_F32 : PITH_BF16;
    pith_err err;
    assert_int_equal(pith_random_model_write(folder.path, &config, &opts, &err), PITH_OK);
    size_t len;
    char *data = weights_read(folder.path, "model.safetensors", &len);
    pith_sha256 sha;
    uint8_t digest[PITH_SHA256_BYTES];
    char hex[PITH_SHA256_HEX_BYTES];
    pith_sha256_init(&sha);
    pith_sha256_update(&sha, data, len);
    pith_sha256_final(&sha, digest);
    pith_sha256_hex(digest, hex);
    free(data);
    weights_folder_remove(&folder);
    assert_string_equal(hex, expected);
}

/* element NAME INDEX BITS, of ModernBERT-base with default options. */
static void check_element(const char *name, size_t index, uint32_t expected) {
    pith_model_config config = pith_random_config_base();
    pith_random_model_opts opts = pith_random_model_defaults();
    pith_manifest manifest;
    assert_int_equal(pith_manifest_init(&manifest, &config, NULL), PITH_OK);
    size_t at = pith_manifest_find(&manifest, name);
    assert_true(at < manifest.n);
    size_t count = 1;
    for (uint32_t i = 0; i < manifest.specs[at].n_dims; i++) {
        count *= manifest.specs[at].shape[i];
    }
    double mean;
    double std;
    pith_random_moments(&opts, name, count / manifest.specs[at].shape[0], &mean, &std);
    pith_manifest_reset(&manifest);
    assert_true(index < count);
    float *values = malloc((index + 1) * sizeof *values);
    assert_non_null(values);
    pith_random_tensor(values, index + 1, name, opts.seed, mean, std);
    uint32_t bits;
    memcpy(&bits, &values[index], sizeof bits);
    free(values);
    assert_int_equal(bits, expected);
}

static void the_generator_gives_the_bits_of_its_python_twin(void **state) {
    char golden[WEIGHTS_PATH_BYTES];
    size_t len;
    weights_golden(golden, "");
    char *text = weights_read(golden, "random_model.txt", &len);
    int checked = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char name[128];
        char value[80];
        size_t index;
        uint32_t bits;
        if (sscanf(line, "file %127s %79s", name, value) == 2) {
            check_file(name, value);
        } else {
            assert_int_equal(sscanf(line, "element %127s %zu %x", name, &index, &bits), 3);
            check_element(name, index, bits);
        }
        checked++;
    }
    free(text);
    assert_int_equal(checked, 11);
}

static void rounding_to_bf16_goes_to_the_nearest_and_to_even_on_ties(void **state) {
    assert_int_equal(pith_random_bf16(1.0f), 0x3f80);
    assert_int_equal(pith_random_bf16(0x1.01p0f), 0x3f80);     /* tie, down to even */
    assert_int_equal(pith_random_bf16(0x1.03p0f), 0x3f82);     /* tie, up to even */
    assert_int_equal(pith_random_bf16(0x1.010002p0f), 0x3f81); /* just above a tie */
    assert_int_equal(pith_random_bf16(-0x1.010002p0f), 0xbf81);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_gives_the_bits_of_its_python_twin),
        cmocka_unit_test(rounding_to_bf16_goes_to_the_nearest_and_to_even_on_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
