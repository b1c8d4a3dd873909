/* config.json: both spellings, the pith object, and a refusal for everything else. */
#include "runtime/weights/config.h"

#include "runtime/weights/config_parts.h"
#include "tests/support/random_model.h"
#include "tests/support/weights_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static pith_status parse(pith_model_config *config, const char *json, pith_err *err) {
    return pith_config_parse(config, "named", json, strlen(json), "config.json", err);
}

static void assert_same_encoder(const pith_model_config *a, const pith_model_config *b) {
    assert_int_equal(a->vocab_size, b->vocab_size);
    assert_int_equal(a->hidden, b->hidden);
    assert_int_equal(a->intermediate, b->intermediate);
    assert_int_equal(a->n_layers, b->n_layers);
    assert_int_equal(a->n_heads, b->n_heads);
    assert_int_equal(a->local_window, b->local_window);
    for (uint32_t i = 0; i < a->n_layers; i++) {
        assert_int_equal(a->layer_global[i], b->layer_global[i]);
    }
    assert_true(a->rope_theta_global == b->rope_theta_global);
    assert_true(a->rope_theta_local == b->rope_theta_local);
    assert_true(a->norm_eps == b->norm_eps);
    assert_int_equal(a->positions_max, b->positions_max);
    assert_int_equal(a->cls_id, b->cls_id);
    assert_int_equal(a->sep_id, b->sep_id);
    assert_int_equal(a->pad_id, b->pad_id);
    assert_int_equal(a->span_channels, b->span_channels);
}

static void an_empty_kompress_config_is_modernbert_base_as_published(void **state) {
    pith_model_config config;
    pith_model_config base = pith_random_config_base();
    pith_err err = {0};
    assert_int_equal(parse(&config,
                           "{\"model_type\": \"kompress_v2\", "
                           "\"architectures\": [\"HeadroomCompressorV2\"]}",
                           &err),
                     PITH_OK);
    assert_same_encoder(&config, &base);
    assert_string_equal(config.name, "named");
    assert_true(config.split_words);
    assert_int_equal(config.gate, PITH_GATE_MULTIPLICATIVE);
    assert_int_equal(config.window_tokens, 512);
    assert_int_equal(config.halo_tokens, 64);
    assert_int_equal(config.n_thresholds, 1);
    assert_string_equal(config.thresholds[0].domain, "default");
    assert_true(config.thresholds[0].value == 0.5);
}

static void both_spellings_of_transformers_give_equal_configs(void **state) {
    char path[WEIGHTS_PATH_BYTES];
    pith_model_config four;
    pith_model_config five;
    pith_err err;
    weights_golden(path, "flat"); /* global_rope_theta, global_attn_every_n_layers */
    assert_int_equal(pith_model_config_read(&four, path, &err), PITH_OK);
    weights_golden(path, "peft"); /* rope_parameters, layer_types */
    assert_int_equal(pith_model_config_read(&five, path, &err), PITH_OK);
    assert_same_encoder(&four, &five);
    assert_int_equal(four.hidden, 8);
    assert_int_equal(four.n_layers, 2);
    assert_true(four.layer_global[0]);
    assert_false(four.layer_global[1]);
    assert_int_equal(four.span_channels, 4);
}

static void modernbert_large_is_read(void **state) {
    pith_model_config config;
    pith_err err;
    assert_int_equal(parse(&config,
                           "{\"model_type\": \"modernbert\", \"hidden_size\": 1024, "
                           "\"num_hidden_layers\": 28, \"num_attention_heads\": 16, "
                           "\"intermediate_size\": 2624, \"local_rope_theta\": 10000.0}",
                           &err),
                     PITH_OK);
    assert_int_equal(config.hidden / config.n_heads, 64);
    assert_int_equal(config.intermediate, 2624);
    assert_true(config.layer_global[27]);
    assert_false(config.layer_global[26]);
}

static void the_pith_object_is_read_whole(void **state) {
    pith_model_config config;
    pith_err err = {0};
    assert_int_equal(
        parse(&config,
              "{\"pith\": {\"format\": 1, \"name\": \"pith-mini\", \"word_mode\": \"raw\", "
              "\"gate\": \"asymmetric\", \"gamma\": 1.27, \"span_channels\": 32, "
              "\"length_exponent\": 0.5, \"repeat_exponent\": 0.25, "
              "\"window_tokens\": 1024, \"halo_tokens\": 128, "
              "\"thresholds\": {\"log\": 0.55, \"prose\": 1}}}",
              &err),
        PITH_OK);
    assert_string_equal(config.name, "pith-mini");
    assert_false(config.split_words);
    assert_int_equal(config.gate, PITH_GATE_ASYMMETRIC);
    assert_true(config.gamma == 1.27);
    assert_true(config.length_exponent == 0.5);
    assert_true(config.repeat_exponent == 0.25);
    assert_int_equal(config.span_channels, 32);
    assert_int_equal(config.window_tokens, 1024);
    assert_int_equal(config.halo_tokens, 128);
    assert_int_equal(config.n_thresholds, 3);
    assert_string_equal(config.thresholds[0].domain, "log");
    assert_true(config.thresholds[0].value == 0.55);
    assert_true(config.thresholds[1].value == 1.0);
    assert_string_equal(config.thresholds[2].domain, "default");
}

static void null_counts_as_absent_and_a_null_local_theta_as_the_global_one(void **state) {
    pith_model_config config;
    pith_err err;
    assert_int_equal(parse(&config,
                           "{\"hidden_size\": null, \"pith\": null, "
                           "\"local_rope_theta\": null}",
                           &err),
                     PITH_OK);
    assert_int_equal(config.hidden, 768);
    assert_true(config.rope_theta_local == 160000.0);
}

static void cls_and_sep_fall_back_on_bos_and_eos(void **state) {
    pith_model_config config;
    pith_err err;
    assert_int_equal(parse(&config,
                           "{\"vocab_size\": 100, \"bos_token_id\": 7, "
                           "\"eos_token_id\": 8, \"pad_token_id\": 9}",
                           &err),
                     PITH_OK);
    assert_int_equal(config.cls_id, 7);
    assert_int_equal(config.sep_id, 8);
}

#define LAYERS2 "\"model_type\":\"modernbert\",\"num_hidden_layers\":2,"

typedef struct bad_config {
    const char *json;
    pith_status status;
    const char *parts[5];
} bad_config;

static const bad_config bad_configs[] = {
    {"", PITH_CORRUPT, {"config.json: JSON at byte"}},
    {"[]", PITH_CORRUPT, {"config.json", "found an array of 0", "expected a JSON object"}},
    {"{\"hidden_size\": 8, \"hidden_size\": 8}", PITH_CORRUPT, {"config.json: JSON", "uplicate"}},
    {"{\"hidden_size\": \"768\"}",
     PITH_CORRUPT,
     {"config.json: hidden_size: found \"768\"", "expected an integer from 1 to 8192"}},
    {"{\"hidden_size\": 768.5}", PITH_CORRUPT, {"hidden_size: found 768.5", "expected an integer"}},
    {"{\"hidden_size\": 0}", PITH_CORRUPT, {"hidden_size: found 0", "expected an integer from 1"}},
    {"{\"hidden_size\": -768}", PITH_CORRUPT, {"hidden_size: found -768", "expected"}},
    {"{\"hidden_size\": 4294968064}", PITH_CORRUPT, {"hidden_size: found 4294968064", "expected"}},
    {"{\"num_hidden_layers\": 65}", PITH_CORRUPT, {"num_hidden_layers: found 65", "from 1 to 64"}},
    {"{\"num_attention_heads\": 7}",
     PITH_CORRUPT,
     {"hidden_size: found 768 for 7 heads", "expected an even head dimension"}},
    {"{\"num_attention_heads\": 256}",
     PITH_CORRUPT,
     {"num_attention_heads: found 256", "expected"}},
    {"{\"model_type\":\"kompress_v2\",\"hidden_size\": 1536}",
     PITH_CORRUPT,
     {"hidden_size: found 1536", "expected 768", "because num_attention_heads is missing"}},
    {"{\"model_type\": 5}", PITH_CORRUPT, {"model_type: found 5", "expected a string"}},
    {"{\"vocab_size\": 100}",
     PITH_CORRUPT,
     {"cls_token_id: found 50281", "expected under vocab_size 100"}},
    {"{\"sep_token_id\": 50368}",
     PITH_CORRUPT,
     {"sep_token_id: found 50368", "expected under vocab_size 50368"}},
    {"{\"sep_token_id\": [1]}", PITH_CORRUPT, {"sep_token_id: found an array of 1", "expected"}},
    {"{\"attention_bias\": true}",
     PITH_UNSUPPORTED,
     {"attention_bias: found true", "expected false"}},
    {"{\"mlp_bias\": 1}", PITH_CORRUPT, {"mlp_bias: found 1", "expected true or false"}},
    {"{\"hidden_activation\": \"silu\"}",
     PITH_UNSUPPORTED,
     {"hidden_activation: found \"silu\"", "expected \"gelu\""}},
    {"{\"rope_scaling\": {\"type\": \"yarn\"}}",
     PITH_UNSUPPORTED,
     {"rope_scaling: found an object", "expected nothing"}},
    {"{\"local_attention\": 1}", PITH_CORRUPT, {"local_attention: found 1", "expected"}},
    {"{\"global_attn_every_n_layers\": 0}",
     PITH_CORRUPT,
     {"global_attn_every_n_layers: found 0", "expected"}},
    {"{\"norm_eps\": 0}", PITH_CORRUPT, {"norm_eps: found 0", "expected a number from"}},
    {"{\"norm_eps\": \"1e-5\"}", PITH_CORRUPT, {"norm_eps: found \"1e-5\"", "expected a number"}},
    {"{\"global_rope_theta\": -1}", PITH_CORRUPT, {"global_rope_theta: found -1", "expected"}},
    {"{\"global_rope_theta\": 1e999}", PITH_CORRUPT, {"config.json: JSON", "real number overflow"}},
    {"{" LAYERS2 "\"layer_types\": [\"full_attention\"]}",
     PITH_CORRUPT,
     {"layer_types: found an array of 1", "expected an array of 2"}},
    {"{" LAYERS2 "\"layer_types\": \"full\"}",
     PITH_CORRUPT,
     {"layer_types: found \"full\"", "expected an array of 2"}},
    {"{" LAYERS2 "\"layer_types\": [\"full_attention\", \"chunked\"]}",
     PITH_CORRUPT,
     {"layer_types: found \"chunked\"", "\"sliding_attention\""}},
    {"{" LAYERS2 "\"global_attn_every_n_layers\": 3, \"layer_types\": [\"full_attention\", "
     "\"full_attention\"]}",
     PITH_CORRUPT,
     {"layer_types: found layer 1 global", "expected the other", "is 3"}},
    {"{\"rope_parameters\": 3}", PITH_CORRUPT, {"rope_parameters: found 3", "expected an object"}},
    {"{\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 5}}}",
     PITH_CORRUPT,
     {"rope_parameters.sliding_attention: found nothing", "expected an object"}},
    {"{\"rope_parameters\": {\"full_attention\": {}}}",
     PITH_CORRUPT,
     {"rope_parameters.full_attention.rope_theta: found nothing", "expected a number"}},
    {"{\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 5, \"rope_type\": \"yarn\"}}}",
     PITH_UNSUPPORTED,
     {"rope_type: found \"yarn\"", "expected \"default\""}},
    {"{\"global_rope_theta\": 9, \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 5}, "
     "\"sliding_attention\": {\"rope_theta\": 5}}}",
     PITH_CORRUPT,
     {"global_rope_theta: found 9", "expected 5 as in rope_parameters"}},
    {"{\"pith\": 1}", PITH_CORRUPT, {"config.json: pith: found 1", "expected an object"}},
    {"{\"pith\": {}}", PITH_UNSUPPORTED, {"pith.format: found nothing", "expected 1"}},
    {"{\"pith\": {\"format\": 2}}", PITH_UNSUPPORTED, {"pith.format: found 2", "expected 1"}},
    {"{\"pith\": {\"format\": 1, \"treshold\": 1}}",
     PITH_CORRUPT,
     {"pith.treshold: found 1", "expected no such key"}},
    {"{\"pith\": {\"format\": 1, \"name\": \"a b\"}}",
     PITH_CORRUPT,
     {"pith.name: found \"a b\"", "expected 1 to 63"}},
    {"{\"pith\": {\"format\": 1, \"name\": \"\"}}",
     PITH_CORRUPT,
     {"pith.name: found \"\"", "expected"}},
    {"{\"pith\": {\"format\": 1, \"word_mode\": \"words\"}}",
     PITH_CORRUPT,
     {"pith.word_mode: found \"words\"", "expected raw or split"}},
    {"{\"pith\": {\"format\": 1, \"gate\": \"and\"}}",
     PITH_CORRUPT,
     {"pith.gate: found \"and\"", "expected multiplicative or asymmetric or or-boost"}},
    {"{\"pith\": {\"format\": 1, \"gate\": \"asymmetric\"}}",
     PITH_CORRUPT,
     {"pith.gamma: found nothing", "expected a number"}},
    {"{\"pith\": {\"format\": 1, \"gamma\": -0.5}}",
     PITH_CORRUPT,
     {"pith.gamma: found -0.5", "expected a number from 0"}},
    {"{\"pith\": {\"format\": 1, \"span_channels\": 0}}",
     PITH_CORRUPT,
     {"pith.span_channels: found 0", "expected"}},
    {"{\"pith\": {\"format\": 1, \"window_tokens\": 8193}}",
     PITH_CORRUPT,
     {"pith.window_tokens: found 8193", "expected at most max_position_embeddings 8192"}},
    {"{\"pith\": {\"format\": 1, \"window_tokens\": 130}}",
     PITH_CORRUPT,
     {"pith.halo_tokens: found 64", "expected 2 x halo + 2 under window_tokens 130"}},
    {"{\"pith\": {\"format\": 1, \"thresholds\": {\"log\": 1.5}}}",
     PITH_CORRUPT,
     {"pith.thresholds.log: found 1.5", "expected a number from 0 to 1"}},
    {"{\"pith\": {\"format\": 1, \"thresholds\": {\"log\": null}}}",
     PITH_CORRUPT,
     {"pith.thresholds.log: found nothing", "expected"}},
    {"{\"pith\": {\"format\": 1, \"thresholds\": {\"a/b\": 0.5}}}",
     PITH_CORRUPT,
     {"pith.thresholds.a/b", "expected a key of letters"}},
};

static void every_bad_config_is_refused_by_key(void **state) {
    for (size_t i = 0; i < sizeof bad_configs / sizeof *bad_configs; i++) {
        const bad_config *bad = &bad_configs[i];
        pith_model_config config;
        pith_err err = {0};
        pith_status status = parse(&config, bad->json, &err);
        if (err.status != status || status != bad->status) {
            fail_msg("%s: %s: %s", bad->json, pith_status_name(status), err.text);
        }
        weights_assert_text(err.text, bad->parts);
    }
}

/* {"pith": {... "thresholds": {"d0": 0.5, ...}}} with n of them. */
static pith_status parse_thresholds(size_t n, pith_model_config *config, pith_err *err) {
    char json[1024];
    size_t len = (size_t)snprintf(json, sizeof json, "{\"pith\":{\"format\":1,\"thresholds\":{");
    for (size_t i = 0; i < n; i++) {
        len +=
            (size_t)snprintf(json + len, sizeof json - len, "%s\"d%zu\":0.5", i == 0 ? "" : ",", i);
    }
    (void)snprintf(json + len, sizeof json - len, "}}}");
    return parse(config, json, err);
}

static void there_is_room_for_fifteen_thresholds_and_the_default(void **state) {
    pith_model_config config;
    pith_err err;
    assert_int_equal(parse_thresholds(15, &config, &err), PITH_OK);
    assert_int_equal(config.n_thresholds, 16);
    assert_int_equal(parse_thresholds(16, &config, &err), PITH_CORRUPT);
    weights_assert_text(err.text,
                        (const char *[]){"found 16 without a default", "at most 15", NULL});
    assert_int_equal(parse_thresholds(17, &config, &err), PITH_CORRUPT);
    weights_assert_text(err.text, (const char *[]){"pith.thresholds: found an object of 17",
                                                   "expected at most 16", NULL});
}

static void what_random_model_writes_is_read_back(void **state) {
    weights_folder folder;
    pith_model_config read;
    pith_model_config written = pith_random_config_tiny();
    pith_random_model_opts opts = pith_random_model_defaults();
    pith_err err;
    written.gate = PITH_GATE_OR_BOOST;
    written.layer_global[1] = true; /* a pattern that only layer_types can say */
    weights_folder_make(&folder);
    assert_int_equal(pith_random_model_write(folder.path, &written, &opts, &err), PITH_OK);
    assert_int_equal(pith_model_config_read(&read, folder.path, &err), PITH_OK);
    assert_same_encoder(&read, &written);
    assert_string_equal(read.name, "random-tiny");
    assert_int_equal(read.gate, PITH_GATE_OR_BOOST);
    assert_false(read.split_words);
    assert_int_equal(read.window_tokens, 64);
    weights_folder_remove(&folder);
}

static void the_name_defaults_to_the_last_part_of_the_folder(void **state) {
    weights_folder folder;
    char path[WEIGHTS_PATH_BYTES + 8];
    pith_model_config config;
    pith_err err;
    weights_folder_make(&folder);
    weights_write(&folder, "config.json", "{}", 2);
    (void)snprintf(path, sizeof path, "%s/./", folder.path);
    assert_int_equal(pith_model_config_read(&config, path, &err), PITH_OK);
    assert_string_equal(config.name, strrchr(folder.path, '/') + 1);
    weights_folder_remove(&folder);
}

static void a_missing_folder_or_config_is_not_found(void **state) {
    weights_folder folder;
    pith_model_config config;
    pith_err err;
    weights_folder_make(&folder);
    assert_int_equal(pith_model_config_read(&config, folder.path, &err), PITH_NOT_FOUND);
    weights_assert_text(err.text, (const char *[]){"config.json", NULL});
    weights_folder_remove(&folder);
    assert_int_equal(pith_model_config_read(&config, folder.path, &err), PITH_NOT_FOUND);
    weights_assert_text(err.text, (const char *[]){"cannot open the model's folder", NULL});
}

static void a_long_path_keeps_its_end_in_the_error(void **state) {
    char label[PITH_LABEL_BYTES];
    char path[PITH_LABEL_BYTES * 3];
    memset(path, 'x', sizeof path);
    memcpy(path + sizeof path - 13, "/config.json", 13);
    path[10] = '\n';
    pith_label(label, path);
    assert_int_equal(strlen(label), PITH_LABEL_BYTES - 1);
    assert_memory_equal(label, "...xxx", 6);
    assert_string_equal(label + strlen(label) - 12, "/config.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_kompress_config_is_modernbert_base_as_published),
        cmocka_unit_test(both_spellings_of_transformers_give_equal_configs),
        cmocka_unit_test(modernbert_large_is_read),
        cmocka_unit_test(the_pith_object_is_read_whole),
        cmocka_unit_test(null_counts_as_absent_and_a_null_local_theta_as_the_global_one),
        cmocka_unit_test(cls_and_sep_fall_back_on_bos_and_eos),
        cmocka_unit_test(every_bad_config_is_refused_by_key),
        cmocka_unit_test(there_is_room_for_fifteen_thresholds_and_the_default),
        cmocka_unit_test(what_random_model_writes_is_read_back),
        cmocka_unit_test(the_name_defaults_to_the_last_part_of_the_folder),
        cmocka_unit_test(a_missing_folder_or_config_is_not_found),
        cmocka_unit_test(a_long_path_keeps_its_end_in_the_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
