/* with: tests/sim/engine_sim.c */
/* Many seeds of simulated load; see engine_sim.h for what each of them checks at every event. */
#include "tests/sim/engine_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

/* A device like two cores under pith-mini: 512 tokens in 10 ms. */
static pith_sim_opts cpu_like(uint64_t seed) {
    return (pith_sim_opts){
        .seed = seed,
        .n_jobs = 300,
        .n_devices = 1,
        .n_models = 1,
        .speed = {.fixed_ns = MS / 10, .token_ns = 20000.0},
        .limits = {.step_ns = 25 * MS, .step_tokens = 2048, .age_ns = 1000 * MS},
        .arrival_ns = 30 * MS,
        .tokens_max = 50000,
    };
}

/* A device like a GPU: 4,096 tokens in 1 ms, two steps inside. */
static pith_sim_opts gpu_like(uint64_t seed) {
    pith_sim_opts opts = cpu_like(seed);
    opts.n_devices = 2;
    opts.speed = (pith_speed){.fixed_ns = MS / 2, .token_ns = 120.0};
    opts.ahead_ns = 2 * MS;
    opts.limits.step_tokens = 8192;
    opts.arrival_ns = MS / 2;
    opts.tokens_max = 1000000;
    return opts;
}

static pith_sim_opts stormy(pith_sim_opts opts) {
    opts.mixed_priorities = true;
    opts.n_models = 3;
    opts.cancel_permille = 150;
    opts.cancel_within_ns = 400 * MS;
    opts.deadline_permille = 300;
    opts.deadline_within_ns = 2000 * MS;
    opts.failure_permille = 5;
    opts.arrival_ns /= 2;
    return opts;
}

static void run(const pith_sim_opts *opts, pith_sim_result *result) {
    pith_sim_run(opts, result);
    if (result->n_broken > 0) {
        fail_msg("seed %llu: %s", (unsigned long long)opts->seed, result->broken);
    }
}

enum { SEEDS = 60 };

static void storms_break_no_promise_on_any_seed(void **state) {
    uint64_t seen[PITH_STATUS_COUNT] = {0};
    uint64_t partial = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        pith_sim_opts opts = stormy(seed % 2 == 0 ? cpu_like(seed) : gpu_like(seed));
        pith_sim_result result;
        run(&opts, &result);
        for (int i = 0; i < PITH_STATUS_COUNT; i++) {
            seen[i] += result.answers[i];
        }
        partial += result.partial;
    }
    /* the storms were storms */
    assert_true(seen[PITH_OK] > 1000 && seen[PITH_CANCELLED] > 100);
    assert_true(seen[PITH_DEADLINE] > 100 && seen[PITH_INTERNAL] > 10 && partial > 10);
}

static void one_seed_gives_one_trace(void **state) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        pith_sim_opts opts = stormy(cpu_like(seed));
        pith_sim_result first;
        pith_sim_result second;
        run(&opts, &first);
        run(&opts, &second);
        assert_true(first.trace == second.trace);
        opts.seed += 1000;
        run(&opts, &second);
        assert_true(first.trace != second.trace);
    }
}

static void a_lost_device_answers_every_job_unavailable_once(void **state) {
    for (uint64_t seed = 1; seed <= 10; seed++) {
        pith_sim_opts opts = stormy(gpu_like(seed));
        opts.fault_step = 5 + seed * 7;
        opts.failure_permille = 0;
        pith_sim_result result;
        run(&opts, &result);
        assert_true(result.answers[PITH_UNAVAILABLE] > 0);
        /* What is left after the fault ends unavailable, or was given up before. */
        assert_true(result.n_steps <= opts.fault_step + 4);
    }
}

static void short_texts_pass_a_giant_at_every_step(void **state) {
    pith_sim_opts opts = cpu_like(7);
    opts.even = true;
    opts.fixed_tokens = 512;
    opts.arrival_ns = 50 * MS; /* a fifth of the device */
    opts.n_jobs = 400;
    pith_sim_result alone;
    run(&opts, &alone);
    opts.giant_tokens = 1000000;
    pith_sim_result beside;
    run(&opts, &beside);
    if (beside.took_max_ns > 2 * alone.took_max_ns + 2 * MS) {
        fail_msg("%.1f ms beside a giant, %.1f ms alone", (double)beside.took_max_ns / 1e6,
                 (double)alone.took_max_ns / 1e6);
    }
    opts.n_jobs = 1;
    pith_sim_result giant;
    run(&opts, &giant);
    /* 400 short texts of 10 ms beside 20 s of work */
    assert_true(beside.giant_ns <= giant.giant_ns + 400 * 11 * MS);
}

/* Windows of 512 tokens in 30 ms: no two are in a step, and a short text would wait for a whole
 * one. */
static pith_sim_opts with_steps_aside(uint64_t seed) {
    pith_sim_opts opts = cpu_like(seed);
    opts.speed.token_ns = 60000.0;
    opts.even = true;
    opts.fixed_tokens = 340;
    opts.arrival_ns = 171 * MS; /* an eighth of the device */
    opts.n_jobs = 400;
    opts.aside_tokens = 512;
    return opts;
}

static void a_short_text_goes_in_front_of_the_window_inside(void **state) {
    pith_sim_opts opts = with_steps_aside(41);
    pith_sim_result alone;
    run(&opts, &alone);
    assert_int_equal(alone.n_aside, 0);
    opts.giant_tokens = 1000000;
    pith_sim_result beside;
    run(&opts, &beside);
    assert_true(beside.n_aside > 300);
    if (2 * beside.took_max_ns > 3 * alone.took_max_ns) {
        fail_msg("%.1f ms beside a giant, %.1f ms alone", (double)beside.took_max_ns / 1e6,
                 (double)alone.took_max_ns / 1e6);
    }
    opts.n_jobs = 1;
    pith_sim_result giant;
    run(&opts, &giant);
    if (5 * beside.giant_ns > 6 * giant.giant_ns) {
        fail_msg("the giant took %.1f s, %.1f s alone", (double)beside.giant_ns / 1e9,
                 (double)giant.giant_ns / 1e9);
    }
}

static void storms_with_steps_aside_break_no_promise(void **state) {
    uint64_t n_aside = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        pith_sim_opts opts = stormy(cpu_like(seed));
        opts.aside_tokens = 256;
        pith_sim_result result;
        run(&opts, &result);
        n_aside += result.n_aside;
    }
    assert_true(n_aside > 100);
}

/* Twice as much comes as the device can do. */
static void interactive_work_goes_first_in_an_overload_and_batch_work_still_moves(void **state) {
    pith_sim_opts opts = cpu_like(3);
    opts.n_jobs = 1000;
    opts.mixed_priorities = true;
    opts.even = true;
    opts.fixed_tokens = 500;
    opts.arrival_ns = 5 * MS;
    pith_sim_result result;
    run(&opts, &result);
    int64_t urgent = result.waited_max_ns[PITH_PRIORITY_INTERACTIVE];
    int64_t batch = result.waited_max_ns[PITH_PRIORITY_BATCH];
    assert_true(4 * urgent < batch);
    assert_int_equal(result.answers[PITH_OK], 1000);
}

static void a_text_that_cannot_end_in_time_gives_what_was_scored(void **state) {
    pith_sim_opts opts = cpu_like(11);
    opts.n_jobs = 50;
    opts.even = true;
    opts.fixed_tokens = 20000; /* 400 ms */
    opts.arrival_ns = 1000 * MS;
    opts.deadline_permille = 1000;
    opts.deadline_within_ns = 400 * MS;
    pith_sim_result result;
    run(&opts, &result);
    assert_true(result.partial >= 35);
    assert_int_equal(result.partial + result.answers[PITH_DEADLINE] +
                         (result.answers[PITH_OK] - result.partial),
                     50);
}

static void a_slow_device_still_takes_one_window_a_step(void **state) {
    pith_sim_opts opts = stormy(cpu_like(13));
    opts.speed.token_ns = 1000000.0; /* half a second a window */
    opts.n_jobs = 60;
    opts.arrival_ns = 3000 * MS;
    opts.tokens_max = 2000;
    opts.deadline_within_ns = 20000 * MS;
    opts.cancel_within_ns = 20000 * MS;
    pith_sim_result result;
    run(&opts, &result);
    assert_true(result.answers[PITH_OK] > 10);
}

/* A machine so slow that every window takes longer than the age bound: short texts must still pass.
 */
static void age_does_not_undo_the_order_on_a_slow_device(void **state) {
    pith_sim_opts opts = cpu_like(29);
    opts.speed.token_ns = 2000000.0; /* a second for 512 tokens */
    opts.even = true;
    opts.fixed_tokens = 500;
    opts.giant_tokens = 100000;
    opts.arrival_ns = 1500 * MS; /* two thirds of the device */
    opts.n_jobs = 100;
    pith_sim_result result;
    run(&opts, &result);
    assert_true(result.took_max_ns < 4000 * MS);
}

static void tiny_steps_teach_what_a_step_costs_and_not_what_a_token_does(void **state) {
    pith_sim_opts opts = cpu_like(31);
    opts.calibrated = (pith_speed){.token_ns = opts.speed.token_ns}; /* as on a slow device */
    opts.even = true;
    opts.fixed_tokens = 3;
    opts.arrival_ns = MS;
    opts.n_jobs = 2000;
    pith_sim_result result;
    run(&opts, &result);
    double token = result.learned.token_ns / opts.speed.token_ns;
    double fixed = (double)result.learned.fixed_ns / (double)opts.speed.fixed_ns;
    if (!(token > 0.95 && token < 1.05 && fixed > 0.8 && fixed < 1.2)) {
        fail_msg("a token is taken for %.2f of what it is, a step for %.2f", token, fixed);
    }
}

static void a_speed_calibrated_on_a_busy_machine_is_mended_within_fifteen_steps(void **state) {
    pith_sim_opts opts = cpu_like(37);
    opts.calibrated = (pith_speed){.token_ns = 20.0 * opts.speed.token_ns};
    opts.even = true;
    opts.fixed_tokens = 512;
    opts.n_jobs = 15;
    pith_sim_result result;
    run(&opts, &result);
    double believed = (double)pith_speed_ns(&result.learned, 512);
    double ratio = believed / (double)pith_speed_ns(&opts.speed, 512);
    if (!(ratio > 0.8 && ratio < 1.5)) {
        fail_msg("512 tokens are taken for %.2f of what they are", ratio);
    }
}

/* The checks themselves: each must notice what it is for. */
static void a_scheduler_that_breaks_its_promises_is_caught(void **state) {
    pith_sim_result result;
    pith_sim_opts lost = cpu_like(17);
    lost.lose_step = 9; /* never comes back */
    pith_sim_run(&lost, &result);
    assert_non_null(strstr(result.broken, "nothing will happen"));
    pith_sim_opts starved = cpu_like(19);
    starved.even = true;
    starved.fixed_tokens = 500;
    starved.giant_tokens = 100000;
    starved.arrival_ns = 10 * MS; /* short texts take all there is */
    starved.n_jobs = 500;
    starved.age_claim_ns = starved.limits.age_ns;
    pith_sim_run(&starved, &result);
    assert_int_equal(result.n_broken, 0);
    starved.limits.age_ns = INT64_MAX / 4; /* no aging */
    pith_sim_run(&starved, &result);
    assert_non_null(strstr(result.broken, "beyond the bound"));
    pith_sim_opts pushed = with_steps_aside(43);
    pushed.giant_tokens = 100000;
    pushed.aside_claim = 0.3;
    pith_sim_run(&pushed, &result);
    assert_non_null(strstr(result.broken, "held up"));
    pith_sim_opts wide = cpu_like(23);
    wide.step_claim_ns = wide.limits.step_ns;
    wide.limits.step_ns *= 2;
    pith_sim_run(&wide, &result);
    assert_non_null(strstr(result.broken, "limit of time"));
}

int main(int argc, char **argv) {
    if (argc == 2) { /* a seed: its trace */
        pith_sim_opts opts = stormy(cpu_like(strtoull(argv[1], NULL, 10)));
        opts.print = true;
        pith_sim_result result;
        pith_sim_run(&opts, &result);
        return result.n_broken > 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storms_break_no_promise_on_any_seed),
        cmocka_unit_test(one_seed_gives_one_trace),
        cmocka_unit_test(a_lost_device_answers_every_job_unavailable_once),
        cmocka_unit_test(short_texts_pass_a_giant_at_every_step),
        cmocka_unit_test(a_short_text_goes_in_front_of_the_window_inside),
        cmocka_unit_test(storms_with_steps_aside_break_no_promise),
        cmocka_unit_test(interactive_work_goes_first_in_an_overload_and_batch_work_still_moves),
        cmocka_unit_test(a_text_that_cannot_end_in_time_gives_what_was_scored),
        cmocka_unit_test(a_slow_device_still_takes_one_window_a_step),
        cmocka_unit_test(age_does_not_undo_the_order_on_a_slow_device),
        cmocka_unit_test(tiny_steps_teach_what_a_step_costs_and_not_what_a_token_does),
        cmocka_unit_test(a_speed_calibrated_on_a_busy_machine_is_mended_within_fifteen_steps),
        cmocka_unit_test(a_scheduler_that_breaks_its_promises_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
