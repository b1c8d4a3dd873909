/* The engine without a server, driven as one would drive it: what bench/serve compares servers
 * with.
 *
 *   engine_driver MODEL load [options]    closed loop: texts/s, tokens/s, MB/s, latencies
 *   engine_driver MODEL giant [options]   short texts at an even pace: alone, beside a giant; and
 *                                         the giant alone
 *   engine_driver MODEL texts [options]   the texts themselves, a NUL after each, for other clients
 * Options: --threads N, --clients N (texts in flight), --bytes N (of a text), --seconds S,
 * --giant-bytes N, --every-ms N, --step-ms N, --corpus FILE (else made-up log lines),
 * --replies FILE (written: what a server's replies are compared with).
 *
 * Prints "name value" lines. Every reply to a text must have the bytes of the first one. */
#include "bench/serve/texts.h"
#include "runtime/base/file.h"
#include "runtime/base/queue.h"
#include "runtime/engine/engine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { CLIENTS_MAX = 4096, TIMES_MAX = 1 << 20, CORPUS_BYTES_MAX = 1 << 28 };

typedef struct config {
    const char *model;
    const char *mode;
    const char *corpus;
    const char *replies;
    long threads, clients, bytes, giant_bytes, every_ms, step_ms;
    double seconds;
} config;

typedef struct slot {
    struct driver *driver;
    bench_text *text;
    int64_t begin_ns;
} slot;

typedef struct driver {
    config config;
    pith_engine *engine;
    bench_text texts[BENCH_TEXTS];
    bench_text giant;
    pith_queue *free_slots;
    slot slots[CLIENTS_MAX];
    int64_t *times; /* [TIMES_MAX] ns, of the replies so far */
    atomic_uint n_times;
    atomic_uint_fast64_t tokens, bytes_in;
    atomic_uint failed, different;
} driver;

static void take_reply(void *user, const pith_reply *reply) {
    slot *s = user;
    driver *d = s->driver;
    if (reply->status != PITH_OK) {
        (void)atomic_fetch_add(&d->failed, 1);
    } else {
        bool same = bench_text_same(s->text, reply->result->text, reply->result->text_len);
        (void)atomic_fetch_add(&d->different, !same);
        (void)atomic_fetch_add(&d->tokens, reply->result->input_tokens);
        (void)atomic_fetch_add(&d->bytes_in, s->text->len);
        uint32_t at = atomic_fetch_add(&d->n_times, 1);
        d->times[at % TIMES_MAX] = bench_now_ns() - s->begin_ns;
    }
    (void)pith_queue_push(d->free_slots, s);
}

static bool submit(driver *d, slot *s, bench_text *t) {
    pith_compress_request request = {.text = t->bytes,
                                     .text_len = t->len,
                                     .budget = PITH_BUDGET_TARGET_RATIO,
                                     .budget_value = 0.5};
    pith_submit_opts opts = {.deadline_ns = PITH_DEADLINE_NONE, .reply = take_reply, .user = s};
    s->driver = d;
    s->text = t;
    s->begin_ns = bench_now_ns();
    pith_err err = {0};
    if (pith_engine_submit(d->engine, &request, &opts, NULL, NULL, &err) != PITH_OK) {
        if (atomic_fetch_add(&d->failed, 1) == 0) {
            (void)fprintf(stderr, "refused: %s\n", err.text);
        }
        (void)pith_queue_push(d->free_slots, s);
        return false;
    }
    return true;
}

static void reset(driver *d) {
    atomic_store(&d->n_times, 0);
    atomic_store(&d->tokens, 0);
    atomic_store(&d->bytes_in, 0);
}

/* Every slot but `busy` of them is free again. */
static void wait_free(driver *d, size_t busy) {
    while (pith_queue_len(d->free_slots) + busy < (size_t)d->config.clients + 1) {
        struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
    }
}

static double percentile(driver *d, double share) {
    uint32_t n = atomic_load(&d->n_times);
    return (double)bench_percentile(d->times, n < TIMES_MAX ? n : TIMES_MAX, share) / 1e6;
}

static double cpu_seconds(void) {
    struct rusage use;
    (void)getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

/* At least `least` texts. */
static void load_for(driver *d, double seconds, uint32_t least) {
    int64_t end = bench_now_ns() + (int64_t)(seconds * 1e9);
    for (uint32_t i = 0; i < least || bench_now_ns() < end; i++) {
        slot *s = pith_queue_pop(d->free_slots, 1000000000);
        if (s != NULL) {
            (void)submit(d, s, &d->texts[i % BENCH_TEXTS]);
        }
    }
}

static void run_load(driver *d) {
    load_for(d, 0.2 * d->config.seconds, BENCH_TEXTS); /* warm; each text has its reply */
    wait_free(d, 0);
    reset(d);
    double cpu = cpu_seconds();
    int64_t begin = bench_now_ns();
    load_for(d, d->config.seconds, 0);
    wait_free(d, 0);
    double wall = (double)(bench_now_ns() - begin) / 1e9;
    cpu = cpu_seconds() - cpu;
    double n = (double)atomic_load(&d->n_times);
    (void)printf("texts_per_s %.1f\ntokens_per_s %.0f\nMB_per_s %.3f\ncpu_us_per_text %.1f\n",
                 n / wall, (double)atomic_load(&d->tokens) / wall,
                 (double)atomic_load(&d->bytes_in) / wall / 1e6, 1e6 * cpu / (n > 0 ? n : 1));
    (void)printf("p50_ms %.3f\np99_ms %.3f\n", percentile(d, 0.5), percentile(d, 0.99));
}

/* Short texts, one every `every_ms`, for `seconds` or while the giant runs. */
static void run_even(driver *d, double seconds, const atomic_uint_fast64_t *until) {
    int64_t every = d->config.every_ms * INT64_C(1000000);
    int64_t at = bench_now_ns();
    int64_t end = at + (int64_t)(seconds * 1e9);
    for (uint32_t i = 0; until != NULL ? atomic_load(until) == 0 : at < end; i++) {
        at += every;
        struct timespec when = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
        slot *s = pith_queue_pop(d->free_slots, 1000000000);
        if (s != NULL) {
            (void)submit(d, s, &d->texts[i % BENCH_TEXTS]);
        }
    }
}

static double run_giant_alone(driver *d) {
    atomic_store(&d->giant.hash, 0);
    slot *s = pith_queue_pop(d->free_slots, INT64_MAX);
    int64_t begin = bench_now_ns();
    (void)submit(d, s, &d->giant);
    wait_free(d, 0);
    return (double)(bench_now_ns() - begin) / 1e9;
}

static void giant_reply(void *user, const pith_reply *reply) {
    slot *s = user;
    driver *d = s->driver;
    s->begin_ns = bench_now_ns() - s->begin_ns;
    if (reply->status != PITH_OK ||
        !bench_text_same(s->text, reply->result->text, reply->result->text_len)) {
        (void)atomic_fetch_add(&d->failed, 1);
        atomic_store(&s->text->hash, 1);
    }
}

static double run_giant_beside(driver *d, uint64_t alone) {
    static slot s;
    atomic_store(&d->giant.hash, 0);
    s = (slot){.driver = d, .text = &d->giant, .begin_ns = bench_now_ns()};
    pith_compress_request request = {.text = d->giant.bytes,
                                     .text_len = d->giant.len,
                                     .budget = PITH_BUDGET_TARGET_RATIO,
                                     .budget_value = 0.5};
    pith_submit_opts opts = {.deadline_ns = PITH_DEADLINE_NONE, .reply = giant_reply, .user = &s};
    if (pith_engine_submit(d->engine, &request, &opts, NULL, NULL, NULL) != PITH_OK) {
        return 0.0;
    }
    run_even(d, 0.0, &d->giant.hash);
    wait_free(d, 0);
    (void)atomic_fetch_add(&d->different, atomic_load(&d->giant.hash) != alone);
    return (double)s.begin_ns / 1e9;
}

static void run_giant(driver *d) {
    run_even(d, 0.2 * d->config.seconds, NULL);
    wait_free(d, 0);
    double giant_alone = run_giant_alone(d);
    uint64_t hash = atomic_load(&d->giant.hash);
    reset(d);
    run_even(d, d->config.seconds, NULL);
    wait_free(d, 0);
    double n_alone = (double)atomic_load(&d->n_times);
    double p50_alone = percentile(d, 0.5);
    double p99_alone = percentile(d, 0.99);
    reset(d);
    double giant_beside = run_giant_beside(d, hash);
    double n_beside = (double)atomic_load(&d->n_times);
    double p50 = percentile(d, 0.5);
    double p99 = percentile(d, 0.99);
    (void)printf("giant_bytes %zu\nshort_n_alone %.0f\nshort_n_beside %.0f\n", d->giant.len,
                 n_alone, n_beside);
    (void)printf("short_p50_ms_alone %.2f\nshort_p50_ms_beside %.2f\n", p50_alone, p50);
    (void)printf("short_p99_ms_alone %.2f\nshort_p99_ms_beside %.2f\nshort_p99_ratio %.2f\n",
                 p99_alone, p99, p99 / p99_alone);
    (void)printf("giant_s_alone %.2f\ngiant_s_beside %.2f\ngiant_ratio %.2f\n", giant_alone,
                 giant_beside, giant_beside / giant_alone);
}

static bool parse(config *c, int argc, char **argv) {
    const struct {
        const char *name;
        long *value;
    } numbers[] = {{"--threads", &c->threads},   {"--clients", &c->clients},
                   {"--bytes", &c->bytes},       {"--giant-bytes", &c->giant_bytes},
                   {"--every-ms", &c->every_ms}, {"--step-ms", &c->step_ms}};
    *c = (config){
        .clients = 16, .bytes = 2048, .giant_bytes = 1 << 20, .every_ms = 100, .seconds = 5.0};
    if (argc < 3 || argc % 2 == 0) {
        return false;
    }
    c->model = argv[1];
    c->mode = argv[2];
    for (int i = 3; i < argc; i += 2) {
        bool known = strcmp(argv[i], "--corpus") == 0 || strcmp(argv[i], "--seconds") == 0 ||
                     strcmp(argv[i], "--replies") == 0;
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
            if (strcmp(argv[i], numbers[k].name) == 0) {
                *numbers[k].value = strtol(argv[i + 1], NULL, 10);
                known = true;
            }
        }
        if (strcmp(argv[i], "--corpus") == 0) {
            c->corpus = argv[i + 1];
        } else if (strcmp(argv[i], "--replies") == 0) {
            c->replies = argv[i + 1];
        } else if (strcmp(argv[i], "--seconds") == 0) {
            c->seconds = strtod(argv[i + 1], NULL);
        }
        if (!known) {
            return false;
        }
    }
    return c->clients >= 1 && c->clients < CLIENTS_MAX && c->bytes >= 1 && c->giant_bytes >= 1 &&
           c->every_ms >= 1;
}

static pith_status make_texts(driver *d, pith_err *err) {
    const config *c = &d->config;
    pith_file corpus = {0};
    pith_status status =
        c->corpus != NULL ? pith_file_read(&corpus, c->corpus, CORPUS_BYTES_MAX, err) : PITH_OK;
    if (status != PITH_OK) {
        return status;
    }
    bool ok = true;
    for (uint64_t i = 0; i < BENCH_TEXTS; i++) {
        ok = bench_text_make(&d->texts[i], (size_t)c->bytes, i + 1, corpus.data, corpus.len) && ok;
    }
    ok = bench_text_make(&d->giant, (size_t)c->giant_bytes, 999, corpus.data, corpus.len) && ok;
    pith_file_close(&corpus);
    return ok ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, "no memory");
}

static pith_status open_driver(driver *d, pith_err *err) {
    const config *c = &d->config;
    pith_model_spec spec = {.dir = c->model};
    pith_engine_opts opts = {.models = &spec,
                             .n_models = 1,
                             .device = getenv("PITH_DEVICE"), /* NULL: auto */
                             .dtype = "auto",
                             .isa = "auto",
                             .n_threads = (uint32_t)c->threads,
                             .jobs_max = 2 * (uint32_t)c->clients +
                                         2, /* a slot is free before its place is */
                             .step_ns_max = c->step_ms * 1000000,
                             .text_bytes_max = (size_t)1 << 26};
    pith_status status = pith_engine_open(&d->engine, &opts, err);
    if (status == PITH_OK) {
        status = pith_queue_open(&d->free_slots, (size_t)c->clients + 1, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    d->times = malloc(TIMES_MAX * sizeof *d->times);
    for (long i = 0; i <= c->clients; i++) {
        (void)pith_queue_push(d->free_slots, &d->slots[i]);
    }
    return d->times != NULL ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, "no memory");
}

static void print_texts(const driver *d) {
    for (size_t i = 0; i < BENCH_TEXTS; i++) {
        (void)fwrite(d->texts[i].bytes, 1, d->texts[i].len, stdout);
        (void)fputc('\0', stdout);
    }
}

int main(int argc, char **argv) {
    static driver d;
    pith_err err = {0};
    if (!parse(&d.config, argc, argv)) {
        (void)fprintf(stderr, "usage: %s MODEL load|giant|texts [options]\n", argv[0]);
        return 2;
    }
    bool texts_alone = strcmp(d.config.mode, "texts") == 0;
    if (make_texts(&d, &err) != PITH_OK || (!texts_alone && open_driver(&d, &err) != PITH_OK)) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (texts_alone) {
        print_texts(&d);
        return 0;
    }
    if (strcmp(d.config.mode, "giant") == 0) {
        run_giant(&d);
    } else {
        run_load(&d);
    }
    pith_engine_stats stats;
    pith_engine_read_stats(d.engine, &stats);
    (void)printf("steps %llu\nsteps_aside %llu\nmean_step_ms %.2f\nmean_step_tokens "
                 "%.0f\nreplies_hash %016llx\n"
                 "failed %u\ndifferent %u\n",
                 (unsigned long long)stats.steps, (unsigned long long)stats.steps_aside,
                 stats.steps > 0 ? (double)stats.step_ns.sum / 1e6 / (double)stats.steps : 0.0,
                 stats.steps > 0 ? (double)stats.step_tokens / (double)stats.steps : 0.0,
                 (unsigned long long)bench_texts_hash(d.texts, BENCH_TEXTS), atomic_load(&d.failed),
                 atomic_load(&d.different));
    if (d.config.replies != NULL && !bench_texts_save(d.texts, BENCH_TEXTS, d.config.replies)) {
        (void)fprintf(stderr, "%s: not written; was every text answered?\n", d.config.replies);
        return 1;
    }
    pith_engine_close(d.engine);
    pith_queue_close(d.free_slots);
    for (int i = 0; i < BENCH_TEXTS; i++) {
        free(d.texts[i].bytes);
    }
    free(d.giant.bytes);
    free(d.times);
    return atomic_load(&d.failed) + atomic_load(&d.different) > 0;
}
