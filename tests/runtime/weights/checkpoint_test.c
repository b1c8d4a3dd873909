/* Model folders: the published layouts give the same tensors, and what is wrong is named. */
#include "runtime/weights/checkpoint.h"

#include "runtime/weights/manifest.h"
#include "runtime/weights/safetensors.h"
#include "tests/support/random_model.h"
#include "tests/support/weights_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TINY_ELEMENTS_MAX = 512 }; /* of one tensor of the fixtures */

static pith_checkpoint *open_golden(const char *name, pith_model_config *config) {
    char path[WEIGHTS_PATH_BYTES];
    pith_checkpoint *checkpoint;
    pith_err err = {0};
    weights_golden(path, name);
    if (pith_model_config_read(config, path, &err) != PITH_OK ||
        pith_checkpoint_open(&checkpoint, path, config, &err) != PITH_OK) {
        fail_msg("%s: %s", name, err.text);
    }
    return checkpoint;
}

static void every_layout_loads_to_the_same_tensors(void **state) {
    static const char *const others[] = {"peft", "converted", "converted-v2"};
    pith_model_config config;
    pith_manifest manifest;
    pith_checkpoint *flat = open_golden("flat", &config);
    assert_int_equal(pith_manifest_init(&manifest, &config, NULL), PITH_OK);
    for (size_t other = 0; other < 3; other++) {
        pith_model_config config2;
        pith_checkpoint *checkpoint = open_golden(others[other], &config2);
        assert_int_equal(config2.hidden, config.hidden);
        assert_int_equal(config2.span_channels, config.span_channels);
        for (size_t i = 0; i < manifest.n; i++) {
            float expected[TINY_ELEMENTS_MAX];
            float found[TINY_ELEMENTS_MAX];
            const pith_tensor *a = pith_checkpoint_tensor(flat, manifest.specs[i].name);
            const pith_tensor *b = pith_checkpoint_tensor(checkpoint, manifest.specs[i].name);
            size_t count = pith_tensor_count(a);
            assert_in_range(count, 1, TINY_ELEMENTS_MAX);
            assert_int_equal(pith_tensor_count(b), count);
            assert_int_equal((uintptr_t)b->data % 8, 0);
            pith_tensor_to_f32(a, expected);
            pith_tensor_to_f32(b, found);
            assert_memory_equal(found, expected, count * sizeof *found);
        }
        assert_int_equal(pith_checkpoint_parameters(checkpoint), pith_checkpoint_parameters(flat));
        pith_checkpoint_close(checkpoint);
    }
    assert_null(pith_checkpoint_tensor(flat, "encoder.layers.0.attn_norm.weight"));
    assert_null(pith_checkpoint_tensor(flat, ""));
    pith_manifest_reset(&manifest);
    pith_checkpoint_close(flat);
}

/* Both sides sum r <= 3 products in f32, scale and add: at most (r + 2) roundings of 2^-24 each, of
 * a sum that stays under scale * r * max|a| * max|b| = 4.05 * 3 * 3.4 * 3.4 = 141, so they differ
 * by at most 2 * 5 * 2^-24 * 141 = 8.4e-5. A wrong scale or rank is off by 0.1 and more. */
static const float MERGE_LIMIT = 8.4e-5f;

static void adapters_merge_as_the_peft_library_merges_them(void **state) {
    char path[WEIGHTS_PATH_BYTES];
    pith_model_config config;
    pith_safetensors golden;
    pith_err err;
    pith_checkpoint *checkpoint = open_golden("peft-pattern", &config);
    weights_golden(path, "peft-pattern/merged.safetensors");
    assert_int_equal(pith_safetensors_open(&golden, path, &err), PITH_OK);
    size_t merged = 0;
    for (size_t i = 0; i < golden.n; i++) {
        float expected[TINY_ELEMENTS_MAX];
        float found[TINY_ELEMENTS_MAX];
        const pith_tensor *tensor = pith_checkpoint_tensor(checkpoint, golden.entries[i].name);
        size_t count = pith_tensor_count(tensor);
        assert_int_equal(golden.entries[i].bytes, count * sizeof(float));
        memcpy(expected, pith_safetensors_data(&golden, &golden.entries[i]), count * sizeof(float));
        pith_tensor_to_f32(tensor, found);
        for (size_t k = 0; k < count; k++) {
            if (!(fabsf(found[k] - expected[k]) <= MERGE_LIMIT)) {
                fail_msg("%s[%zu]: %.9g, expected %.9g", golden.entries[i].name, k,
                         (double)found[k], (double)expected[k]);
            }
        }
        merged += tensor->n_dims == 2 && strstr(golden.entries[i].name, "layers") != NULL;
    }
    assert_int_equal(golden.n, 20);
    assert_int_equal(merged, 8);
    pith_safetensors_close(&golden);
    pith_checkpoint_close(checkpoint);
}

/* --- broken folders: each starts as a copy of a fixture --- */

static void copy_of(weights_folder *folder, const char *golden) {
    char path[WEIGHTS_PATH_BYTES];
    weights_golden(path, golden);
    weights_folder_make(folder);
    weights_copy(folder, path, "config.json");
    weights_copy(folder, path, "model.safetensors");
    if (strncmp(golden, "peft", 4) == 0) {
        weights_copy(folder, path, "adapter_config.json");
    }
}

/* Expects open to fail with `status` and these parts in its text; removes the folder. */
static void assert_refused(const weights_folder *folder, pith_status status,
                           const char *const *parts) {
    pith_model_config config;
    pith_checkpoint *checkpoint = NULL;
    pith_err err = {0};
    assert_int_equal(pith_model_config_read(&config, folder->path, &err), PITH_OK);
    pith_status found = pith_checkpoint_open(&checkpoint, folder->path, &config, &err);
    if (found != status) {
        fail_msg("%s, expected %s: %s", pith_status_name(found), pith_status_name(status),
                 err.text);
    }
    assert_null(checkpoint);
    weights_assert_text(err.text, parts);
    weights_folder_remove(folder);
}

static void assert_opens(const weights_folder *folder) {
    pith_model_config config;
    pith_checkpoint *checkpoint = NULL;
    pith_err err = {0};
    assert_int_equal(pith_model_config_read(&config, folder->path, &err), PITH_OK);
    if (pith_checkpoint_open(&checkpoint, folder->path, &config, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
    pith_checkpoint_close(checkpoint);
    weights_folder_remove(folder);
}

/* Replaces the one place of `from` in the file's header by `to`, of the same length. */
static void patch_header(const weights_folder *folder, const char *from, const char *to) {
    size_t len;
    char *data = weights_read(folder->path, "model.safetensors", &len);
    char *at = strstr(data + 8, from); /* the header has no NUL, and the data follows it */
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    weights_write(folder, "model.safetensors", data, len);
    free(data);
}

/* Overwrites element `index` of an f32 tensor of the file. */
static void patch_value(const weights_folder *folder, const char *name, size_t index, float value) {
    char path[WEIGHTS_PATH_BYTES + 32];
    size_t len;
    size_t at = 0;
    pith_safetensors st;
    pith_err err;
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder->path);
    assert_int_equal(pith_safetensors_open(&st, path, &err), PITH_OK);
    for (size_t i = 0; i < st.n; i++) {
        at = strcmp(st.entries[i].name, name) == 0 ? st.entries[i].begin : at;
    }
    pith_safetensors_close(&st);
    assert_true(at > 0);
    char *data = weights_read(folder->path, "model.safetensors", &len);
    memcpy(data + at + index * sizeof value, &value, sizeof value);
    weights_write(folder, "model.safetensors", data, len);
    free(data);
}

/* Adds a tensor of one F32 element at the end of the file. */
static void append_tensor(const weights_folder *folder, const char *name) {
    size_t len;
    uint64_t header_len;
    char *data = weights_read(folder->path, "model.safetensors", &len);
    memcpy(&header_len, data, sizeof header_len);
    size_t data_len = len - 8 - (size_t)header_len;
    char *brace = data + 8 + header_len - 1;
    while (*brace != '}') {
        brace--;
    }
    size_t kept = (size_t)(brace - (data + 8));
    char *header = malloc(kept + 256);
    float *values = calloc(1, data_len + sizeof(float));
    assert_non_null(header);
    assert_non_null(values);
    memcpy(header, data + 8, kept);
    (void)snprintf(header + kept, 256,
                   ",\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}}", name,
                   data_len, data_len + sizeof(float));
    memcpy(values, data + 8 + header_len, data_len);
    size_t made_len;
    char *made = weights_safetensors(header, SIZE_MAX, values, data_len + sizeof(float), &made_len);
    weights_write(folder, "model.safetensors", made, made_len);
    free(made);
    free(values);
    free(header);
    free(data);
}

#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void a_wrong_dtype_is_named(void **state) {
    weights_folder folder;
    copy_of(&folder, "flat");
    patch_header(&folder, "\"token_head.bias\":{\"dtype\":\"F32\"",
                 "\"token_head.bias\":{\"dtype\":\"I32\"");
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("model.safetensors: tensor token_head.bias: dtype: found I32",
                         "expected F32, F16 or BF16"));
}

static void a_wrong_shape_is_named(void **state) {
    weights_folder folder;
    copy_of(&folder, "flat");
    patch_header(&folder, "\"token_head.weight\":{\"dtype\":\"F32\",\"shape\":[2,8]",
                 "\"token_head.weight\":{\"dtype\":\"F32\",\"shape\":[8,2]");
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("model.safetensors: tensor token_head.weight: shape: found [8, 2]",
                         "expected [2, 8]"));
}

static void a_tensor_outside_the_manifest_is_named(void **state) {
    weights_folder folder;
    copy_of(&folder, "flat");
    append_tensor(&folder, "decoder.bias");
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("model.safetensors: tensor decoder.bias: found it", "expected none"));
    copy_of(&folder, "flat");
    append_tensor(&folder, "encoder.layers.0.attn_norm.weight");
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("tensor encoder.layers.0.attn_norm.weight: found it", "expected none"));
    copy_of(&folder, "flat");
    append_tensor(&folder, "encoder.a.name.that.is.longer.than.any.canonical.tensor.name.could.be");
    assert_refused(&folder, PITH_CORRUPT, PARTS("than.any.canonical", "expected none"));
}

static void old_buffers_are_harmless(void **state) {
    weights_folder folder;
    copy_of(&folder, "flat");
    append_tensor(&folder, "encoder.embeddings.position_ids");
    append_tensor(&folder, "encoder.layers.1.attn.rotary_emb.inv_freq");
    assert_opens(&folder);
    copy_of(&folder, "peft");
    append_tensor(&folder, "encoder.base_model.model.embeddings.position_ids");
    assert_opens(&folder);
}

static void a_file_of_fewer_layers_misses_a_tensor(void **state) {
    weights_folder folder;
    pith_model_config config = pith_random_config_tiny();
    pith_random_model_opts opts = pith_random_model_defaults();
    pith_err err;
    size_t len;
    weights_folder_make(&folder);
    assert_int_equal(pith_random_model_write(folder.path, &config, &opts, &err), PITH_OK);
    char *four = weights_read(folder.path, "config.json", &len);
    config.n_layers = 3;
    assert_int_equal(pith_random_model_write(folder.path, &config, &opts, &err), PITH_OK);
    weights_write(&folder, "config.json", four, len);
    free(four);
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("model.safetensors: tensor encoder.layers.3.",
                         "found nothing of this name", "expected shape ["));
}

static void nan_and_infinity_in_any_tensor_are_named(void **state) {
    weights_folder folder;
    copy_of(&folder, "flat");
    patch_value(&folder, "encoder.layers.1.mlp.Wo.weight", 95, (float)NAN);
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("model.safetensors: tensor encoder.layers.1.mlp.Wo.weight: value",
                         "found NaN at element 95", "expected finite"));
    copy_of(&folder, "flat");
    patch_value(&folder, "span_conv.2.bias", 0, -(float)INFINITY);
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("tensor span_conv.2.bias: value", "found infinity at element 0"));
    copy_of(&folder, "peft");
    patch_value(&folder, "encoder.base_model.model.layers.0.mlp.Wi.lora_B.weight", 3, (float)NAN);
    assert_refused(&folder, PITH_CORRUPT, PARTS("layers.0.mlp.Wi.lora_B.weight", "found NaN"));
}

static void a_merge_that_overflows_is_named(void **state) {
    static const char A[] = "encoder.base_model.model.layers.0.mlp.Wi.lora_A.weight";
    static const char B[] = "encoder.base_model.model.layers.0.mlp.Wi.lora_B.weight";
    weights_folder folder;
    copy_of(&folder, "peft");
    patch_value(&folder, A, 0, 3e38f);
    patch_value(&folder, B, 0, 3e38f);
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("layers.0.mlp.Wi.base_layer.weight: value", "after merging", "expected"));
}

static void half_an_adapter_is_named(void **state) {
    weights_folder folder;
    copy_of(&folder, "flat");
    append_tensor(&folder, "encoder.base_model.model.layers.0.mlp.Wi.lora_A.weight");
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("layers.0.mlp.Wi.lora_A.weight: found no lora_B", "expected the pair"));
    copy_of(&folder, "flat");
    append_tensor(&folder, "encoder.base_model.model.layers.0.mlp.Wi.lora_A.weight");
    append_tensor(&folder, "encoder.base_model.model.layers.0.mlp.Wi.lora_B.weight");
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("found an adapter without a base_layer",
                         "expected encoder.layers.0.mlp.Wi.weight as its base_layer"));
}

static void two_tensors_for_one_place_are_named(void **state) {
    weights_folder folder;
    copy_of(&folder, "flat");
    append_tensor(&folder, "encoder.base_model.model.final_norm.weight");
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("found it and encoder.final_norm.weight for one tensor", "expected one"));
}

static void an_adapter_needs_its_config(void **state) {
    char path[WEIGHTS_PATH_BYTES];
    weights_folder folder;
    weights_golden(path, "peft");
    weights_folder_make(&folder);
    weights_copy(&folder, path, "config.json");
    weights_copy(&folder, path, "model.safetensors");
    assert_refused(&folder, PITH_NOT_FOUND, PARTS("adapter_config.json"));
}

static void a_rank_that_the_config_does_not_name_is_refused(void **state) {
    static const char config[] = "{\"peft_type\": \"LORA\", \"r\": 5, \"lora_alpha\": 8}";
    weights_folder folder;
    copy_of(&folder, "peft");
    weights_write(&folder, "adapter_config.json", config, sizeof config - 1);
    assert_refused(&folder, PITH_CORRUPT,
                   PARTS("lora_A.weight: shape: found [4, 8]", "expected [5, 8]"));
}

static void a_file_cut_anywhere_is_refused(void **state) {
    weights_folder folder;
    pith_model_config config;
    size_t len;
    copy_of(&folder, "flat");
    pith_err err = {0};
    assert_int_equal(pith_model_config_read(&config, folder.path, &err), PITH_OK);
    char *data = weights_read(folder.path, "model.safetensors", &len);
    for (size_t cut = 1; cut < len; cut += 53) {
        pith_checkpoint *checkpoint;
        weights_write(&folder, "model.safetensors", data, cut);
        assert_int_equal(pith_checkpoint_open(&checkpoint, folder.path, &config, &err),
                         PITH_CORRUPT);
        weights_assert_text(err.text, PARTS("model.safetensors: ", "found", "expected"));
    }
    free(data);
    weights_folder_remove(&folder);
}

static void a_pickle_alone_points_to_the_converter(void **state) {
    weights_folder folder;
    weights_folder_make(&folder);
    weights_write(&folder, "config.json", "{}", 2);
    assert_refused(&folder, PITH_NOT_FOUND, PARTS("model.safetensors"));
    weights_folder_make(&folder);
    weights_write(&folder, "config.json", "{}", 2);
    weights_write(&folder, "merged.pt", "x", 1);
    assert_refused(&folder, PITH_NOT_FOUND,
                   PARTS("model.safetensors: found merged.pt", "models/convert.py"));
}

/* --- fingerprint, pages, manifest --- */

static void assert_fingerprint(const weights_folder *folder, const char *expected) {
    pith_model_config config;
    pith_checkpoint *checkpoint;
    pith_err err;
    assert_int_equal(pith_model_config_read(&config, folder->path, &err), PITH_OK);
    assert_int_equal(pith_checkpoint_open(&checkpoint, folder->path, &config, &err), PITH_OK);
    assert_memory_equal(pith_checkpoint_sha256(checkpoint), expected, 64);
    assert_int_equal(strlen(pith_checkpoint_sha256(checkpoint)), 64);
    pith_checkpoint_close(checkpoint);
}

/* fingerprints.txt: three lines of 64 digits, made by Python's hashlib in sha256sum's format. */
static void the_fingerprint_is_the_digest_of_all_files_digests(void **state) {
    char path[WEIGHTS_PATH_BYTES];
    weights_folder folder;
    size_t len;
    weights_golden(path, "");
    char *lines = weights_read(path, "fingerprints.txt", &len);
    assert_int_equal(len, 3 * 65);
    copy_of(&folder, "peft");
    assert_fingerprint(&folder, lines);
    weights_write(&folder, "tokenizer.json", "{}", 2);
    assert_fingerprint(&folder, lines + 65);
    weights_write(&folder, "tokenizer.json", "[]", 2);
    assert_fingerprint(&folder, lines + 130);
    weights_folder_remove(&folder);
    free(lines);
}

static void discarded_pages_leave_the_other_tensors_alone(void **state) {
    pith_model_config config = pith_random_config_tiny();
    pith_random_model_opts opts = pith_random_model_defaults();
    pith_checkpoint *checkpoint;
    weights_folder folder;
    pith_err err;
    opts.dtype = PITH_BF16; /* span_conv.2.weight lies unaligned behind one bf16 */
    weights_folder_make(&folder);
    assert_int_equal(pith_random_model_write(folder.path, &config, &opts, &err), PITH_OK);
    assert_int_equal(pith_checkpoint_open(&checkpoint, folder.path, &config, &err), PITH_OK);
    const pith_tensor *kept = pith_checkpoint_tensor(checkpoint, "encoder.layers.2.mlp.Wi.weight");
    const pith_tensor *moved = pith_checkpoint_tensor(checkpoint, "span_conv.2.weight");
    assert_int_equal((uintptr_t)moved->data % 8, 0);
    pith_checkpoint_discard(checkpoint, moved);
    pith_checkpoint_discard(
        checkpoint, pith_checkpoint_tensor(checkpoint, "encoder.embeddings.tok_embeddings.weight"));
    pith_checkpoint_discard(checkpoint,
                            pith_checkpoint_tensor(checkpoint, "encoder.layers.2.mlp.Wo.weight"));
    size_t count = pith_tensor_count(kept);
    float *found = malloc(2 * count * sizeof *found);
    assert_non_null(found);
    double mean;
    double std;
    pith_tensor_to_f32(kept, found);
    pith_random_moments(&opts, "encoder.layers.2.mlp.Wi.weight", kept->shape[1], &mean, &std);
    pith_random_tensor(found + count, count, "encoder.layers.2.mlp.Wi.weight", opts.seed, mean,
                       std);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pith_random_bf16(found[i]), pith_random_bf16(found[count + i]));
    }
    free(found);
    pith_checkpoint_close(checkpoint);
    weights_folder_remove(&folder);
}

static size_t encoder_tensors(const pith_manifest *manifest) {
    size_t count = 0;
    for (size_t i = 0; i < manifest->n; i++) {
        count += strncmp(manifest->specs[i].name, "encoder.", 8) == 0;
        assert_int_equal(pith_manifest_find(manifest, manifest->specs[i].name), i);
    }
    return count;
}

static void modernbert_base_has_134_encoder_tensors_and_large_170(void **state) {
    pith_model_config config = pith_random_config_base();
    pith_manifest manifest;
    assert_int_equal(pith_manifest_init(&manifest, &config, NULL), PITH_OK);
    assert_int_equal(manifest.n, 134 + 6);
    assert_int_equal(encoder_tensors(&manifest), 134);
    assert_int_equal(pith_manifest_find(&manifest, "encoder.layers.0.attn_norm.weight"),
                     manifest.n);
    pith_manifest_reset(&manifest);
    config.hidden = 1024;
    config.n_layers = 28;
    config.n_heads = 16;
    config.intermediate = 2624;
    assert_int_equal(pith_manifest_init(&manifest, &config, NULL), PITH_OK);
    assert_int_equal(encoder_tensors(&manifest), 170);
    size_t wi = pith_manifest_find(&manifest, "encoder.layers.27.mlp.Wi.weight");
    assert_int_equal(manifest.specs[wi].shape[0], 5248);
    assert_int_equal(manifest.specs[wi].shape[1], 1024);
    pith_manifest_reset(&manifest);
    config.n_layers = PITH_LAYERS_MAX;
    assert_int_equal(pith_manifest_init(&manifest, &config, NULL), PITH_OK);
    assert_int_equal(manifest.n, PITH_MANIFEST_TENSORS_MAX);
    pith_manifest_reset(&manifest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_loads_to_the_same_tensors),
        cmocka_unit_test(adapters_merge_as_the_peft_library_merges_them),
        cmocka_unit_test(a_wrong_dtype_is_named),
        cmocka_unit_test(a_wrong_shape_is_named),
        cmocka_unit_test(a_tensor_outside_the_manifest_is_named),
        cmocka_unit_test(old_buffers_are_harmless),
        cmocka_unit_test(a_file_of_fewer_layers_misses_a_tensor),
        cmocka_unit_test(nan_and_infinity_in_any_tensor_are_named),
        cmocka_unit_test(a_merge_that_overflows_is_named),
        cmocka_unit_test(half_an_adapter_is_named),
        cmocka_unit_test(two_tensors_for_one_place_are_named),
        cmocka_unit_test(an_adapter_needs_its_config),
        cmocka_unit_test(a_rank_that_the_config_does_not_name_is_refused),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(a_pickle_alone_points_to_the_converter),
        cmocka_unit_test(the_fingerprint_is_the_digest_of_all_files_digests),
        cmocka_unit_test(discarded_pages_leave_the_other_tensors_alone),
        cmocka_unit_test(modernbert_base_has_134_encoder_tensors_and_large_170),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
