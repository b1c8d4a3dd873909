/* The engine as the recipe asks it: one text, one reply, copied out. */
#include "models/recipe/floor/engine.h"

#include "runtime/decide/compress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static pith_recipe_engine *engine;
static pith_err err;

static int open_all(void **state) {
    const char *source = getenv("PITH_SOURCE");
    char dir[4096];
    char device[64];
    (void)snprintf(dir, sizeof dir, "%s/models/pith-mini", source != NULL ? source : ".");
    pith_recipe_engine_opts opts = {.model_dir = dir, .dtype = "f32", .n_threads = 1};
    return pith_recipe_engine_open(&engine, &opts, device, sizeof device, &err) == PITH_OK &&
                   strncmp(device, "cpu ", 4) == 0
               ? 0
               : -1;
}

static int close_all(void **state) {
    pith_recipe_engine_close(engine);
    return 0;
}

static const char text[] =
    "the worker keeps going as before while the rest waits for port 8080 to answer\n"
    "the worker keeps going as before while the rest waits for port 8081 to answer\n"
    "the worker keeps going as before while the rest waits for port 8082 to answer\n";

static pith_recipe_ask ask_for(uint32_t budget, double value) {
    return (pith_recipe_ask){.text = text,
                             .text_len = sizeof text - 1,
                             .domain = "log",
                             .budget = budget,
                             .budget_value = value,
                             .explain = 1};
}

static void ask(const pith_recipe_ask *question, pith_recipe_reply *reply) {
    if (pith_recipe_engine_compress(engine, question, reply, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
}

static void a_reply_has_text_counts_units_and_ranges(void **state) {
    pith_recipe_ask question = ask_for(PITH_BUDGET_TARGET_RATIO, 0.3);
    pith_recipe_reply reply;
    ask(&question, &reply);
    assert_int_equal(reply.domain, PITH_DOMAIN_LOG);
    assert_int_equal(reply.input_words, 45);
    assert_int_equal(reply.n_units, 45);
    assert_true(reply.kept_words > 0 && reply.kept_words < reply.input_words);
    assert_true(reply.kept_tokens > 0 && reply.kept_tokens < reply.input_tokens);
    assert_int_equal(reply.critical_total, 3);
    assert_int_equal(reply.critical_kept, 3);
    assert_int_equal(strlen(reply.text), reply.text_len);
    assert_non_null(strstr(reply.text, "8081"));
    uint32_t kept = 0;
    for (uint32_t u = 0; u < reply.n_units; u++) {
        const pith_recipe_unit *unit = &reply.units[u];
        bool inside = false;
        for (uint32_t i = 0; i < reply.n_ranges; i++) {
            inside = inside ||
                     (reply.ranges[i].start <= unit->start && unit->end <= reply.ranges[i].end);
        }
        assert_int_equal(inside, unit->kept);
        assert_true(unit->score >= 0.0F && unit->score <= 1.0F);
        kept += unit->kept;
    }
    assert_int_equal(kept, reply.kept_words);
    pith_recipe_reply_free(&reply);
}

static void folding_is_passed_on(void **state) {
    pith_recipe_ask question = ask_for(PITH_BUDGET_DEFAULT, 0.0);
    question.fold_repeats = 1;
    pith_recipe_reply reply;
    ask(&question, &reply);
    assert_int_equal(reply.folded_lines, 1);
    assert_null(strstr(reply.text, "8081"));
    pith_recipe_reply_free(&reply);
}

static void what_the_engine_refuses_is_told(void **state) {
    pith_recipe_reply reply;
    pith_recipe_ask question = ask_for(PITH_BUDGET_THRESHOLD, 1.5);
    assert_int_equal(pith_recipe_engine_compress(engine, &question, &reply, &err), PITH_INVALID);
    question = ask_for(PITH_BUDGET_DEFAULT, 0.0);
    question.domain = "poetry";
    assert_int_equal(pith_recipe_engine_compress(engine, &question, &reply, &err), PITH_INVALID);
    question = ask_for(PITH_BUDGET_MAX_TOKENS + 1, 0.0);
    assert_int_equal(pith_recipe_engine_compress(engine, &question, &reply, &err), PITH_INVALID);
    assert_null(reply.text);
    pith_recipe_engine *none;
    pith_recipe_engine_opts opts = {.model_dir = "/nowhere", .dtype = "f32", .n_threads = 1};
    assert_int_not_equal(pith_recipe_engine_open(&none, &opts, NULL, 0, &err), PITH_OK);
    assert_null(none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_has_text_counts_units_and_ranges),
        cmocka_unit_test(folding_is_passed_on),
        cmocka_unit_test(what_the_engine_refuses_is_told),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
