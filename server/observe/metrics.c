/* The Prometheus page, text format 0.0.4. Every series is there from the start, at zero. */
#include "server/observe/metrics.h"
#include "server/grpc/rpc_error.h"
#include "server/observe/heap.h"
#include "server/observe/observe_internal.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LABEL_BYTES = 160 };

#define NS 1e-9

/* --- the format --------------------------------------------------------------------------- */

void pith_metric_head(FILE *out, const char *name, const char *type, const char *help) {
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void pith_metric_counter(FILE *out, const char *name, const char *help, uint64_t value) {
    pith_metric_head(out, name, "counter", help);
    (void)fprintf(out, "%s %" PRIu64 "\n", name, value);
}

void pith_metric_gauge(FILE *out, const char *name, const char *help, double value) {
    pith_metric_head(out, name, "gauge", help);
    (void)fprintf(out, "%s %.17g\n", name, value);
}

void pith_metric_histogram(FILE *out, const char *name, const char *labels,
                           const pith_histogram_view *view, double unit) {
    const char *comma = labels[0] == '\0' ? "" : ",";
    const char *open = labels[0] == '\0' ? "" : "{";
    const char *close = labels[0] == '\0' ? "" : "}";
    uint64_t total = 0;
    for (uint32_t i = 0; i < view->bounds->n; i++) {
        total += view->counts[i];
        (void)fprintf(out, "%s_bucket{%s%sle=\"%.12g\"} %" PRIu64 "\n", name, labels, comma,
                      (double)view->bounds->upper[i] * unit, total);
    }
    total += view->counts[view->bounds->n];
    (void)fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, total);
    (void)fprintf(out, "%s_sum%s%s%s %.12g\n", name, open, labels, close, (double)view->sum * unit);
    (void)fprintf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, total);
}

/* A label value with backslash, quote and line feed escaped. */
static void write_label(FILE *out, const char *value) {
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\\' || *c == '"') {
            (void)fputc('\\', out);
        }
        (void)(*c == '\n' ? fputs("\\n", out) : fputc(*c, out));
    }
}

/* --- the page ----------------------------------------------------------------------------- */

static uint64_t count_of(pith_observe *o, int entry, size_t cause) {
    return atomic_load_explicit(&o->requests[entry][cause], memory_order_relaxed);
}

static void write_requests(pith_observe *o, FILE *out) {
    const char *name = "pith_requests_total";
    pith_metric_head(out, name, "counter", "Requests answered, by way in, gRPC code and reason.");
    for (int e = 0; e < PITH_ENTRY_COUNT; e++) {
        for (size_t cause = 0; cause < PITH_RPC_CAUSES; cause++) {
            if (cause == PITH_IO || cause == PITH_CORRUPT) {
                continue; /* one INTERNAL to a peer, see below */
            }
            uint64_t n = count_of(o, e, cause);
            n +=
                cause == PITH_INTERNAL ? count_of(o, e, PITH_IO) + count_of(o, e, PITH_CORRUPT) : 0;
            (void)fprintf(out, "%s{method=\"%s\",code=\"%s\",reason=\"%s\"} %" PRIu64 "\n", name,
                          pith_entry_name((pith_entry)e),
                          pith_rpc_code_name((int)pith_rpc_code_of(pith_rpc_cause_status(cause))),
                          cause == PITH_OK ? "" : pith_rpc_cause_reason(cause), n);
        }
    }
    name = "pith_request_duration_seconds";
    char labels[LABEL_BYTES];
    pith_metric_head(out, name, "histogram", "From a whole request to its answer.");
    for (int e = 0; e < PITH_ENTRY_COUNT; e++) {
        pith_histogram_view view;
        pith_histogram_read(&o->duration[e], &view);
        (void)snprintf(labels, sizeof labels, "method=\"%s\"", pith_entry_name((pith_entry)e));
        pith_metric_histogram(out, name, labels, &view, NS);
    }
}

/* gRFC A66's name and labels; "other" as there, for what does no work: health, reflection, the
 * model's metadata, unknown methods. */
static void write_rpcs(pith_observe *o, FILE *out) {
    static const pith_rpc_code codes[] = {
        PITH_RPC_OK,
        PITH_RPC_CANCELLED,
        PITH_RPC_INVALID_ARGUMENT,
        PITH_RPC_DEADLINE_EXCEEDED,
        PITH_RPC_NOT_FOUND,
        PITH_RPC_RESOURCE_EXHAUSTED,
        PITH_RPC_UNIMPLEMENTED,
        PITH_RPC_INTERNAL,
        PITH_RPC_UNAVAILABLE,
        PITH_RPC_UNAUTHENTICATED,
    };
    const char *name = "grpc_server_call_duration_seconds";
    char labels[LABEL_BYTES];
    pith_metric_head(out, name, "histogram", "From a call's headers to its end, by status.");
    for (int m = 0; m < PITH_RPC_METHODS; m++) {
        const char *method = m == PITH_RPC_OTHER ? "other" : pith_entry_name((pith_entry)m);
        for (size_t c = 0; c < sizeof codes / sizeof *codes; c++) {
            pith_histogram_view view;
            pith_histogram_read(&o->rpc[m][codes[c]], &view);
            (void)snprintf(labels, sizeof labels, "grpc_method=\"%s\",grpc_status=\"%s\"", method,
                           pith_rpc_code_name((int)codes[c]));
            pith_metric_histogram(out, name, labels, &view, NS);
        }
    }
}

static void write_stages(const pith_engine_stats *s, FILE *out) {
    const char *name = "pith_request_queue_seconds";
    pith_metric_head(out, name, "histogram", "From acceptance to the first window's step.");
    pith_metric_histogram(out, name, "", &s->queue_ns, NS);
    name = "pith_request_tokenize_seconds";
    pith_metric_head(out, name, "histogram", "Splitting, tokenizing and routing of a text.");
    pith_metric_histogram(out, name, "", &s->ingest_ns, NS);
    name = "pith_request_inference_seconds";
    pith_metric_head(out, name, "histogram",
                     "The model (encode), then decisions and join (finish).");
    pith_metric_histogram(out, name, "phase=\"encode\"", &s->compute_ns, NS);
    pith_metric_histogram(out, name, "phase=\"finish\"", &s->finish_ns, NS);
}

static void write_queue(const pith_engine_stats *s, FILE *out) {
    const char *name = "pith_requests_waiting";
    pith_metric_head(out, name, "gauge", "Texts of which no window has run yet.");
    for (int p = 0; p < PITH_PRIORITY_COUNT; p++) {
        (void)fprintf(out, "%s{class=\"%s\"} %" PRIu64 "\n", name,
                      pith_priority_name((pith_priority)p), s->waiting[p]);
    }
    pith_metric_gauge(out, "pith_requests_running", "Texts of which a window has run.",
                      (double)s->running);
    name = "pith_jobs_in_stage";
    pith_metric_head(out, name, "gauge", "Texts in flight, by where they are.");
    for (int i = 0; i < PITH_STAGE_COUNT; i++) {
        (void)fprintf(out, "%s{stage=\"%s\"} %" PRIu64 "\n", name, pith_stage_name((pith_stage)i),
                      s->in_stage[i]);
    }
    pith_metric_gauge(out, "pith_jobs_in_flight", "Texts accepted and not yet answered.",
                      (double)s->in_flight);
    pith_metric_gauge(out, "pith_bytes_in_flight", "Bytes of those texts.",
                      (double)s->bytes_in_flight);
    pith_metric_gauge(out, "pith_tokens_in_flight", "Their tokens that wait for the model.",
                      (double)s->tokens_in_flight);
    pith_metric_gauge(out, "pith_jobs_max", "Most texts in flight.", (double)s->jobs_max);
    pith_metric_gauge(out, "pith_bytes_max", "Most bytes in flight.", (double)s->bytes_max);
    pith_metric_gauge(out, "pith_tokens_max", "Most tokens in flight.", (double)s->tokens_max);
}

static void write_jobs(const pith_engine_stats *s, FILE *out) {
    pith_metric_counter(out, "pith_jobs_accepted_total", "Texts the engine took.", s->accepted);
    pith_metric_counter(out, "pith_jobs_answered_total", "Texts the engine answered.", s->answered);
    pith_metric_counter(out, "pith_jobs_cancelled_total", "Texts cancelled before their answer.",
                        s->cancelled);
    const char *name = "pith_jobs_refused_total";
    pith_metric_head(out, name, "counter", "Texts the engine did not take, by reason.");
    for (int r = PITH_REFUSED_NOT + 1; r < PITH_REFUSED_COUNT; r++) {
        (void)fprintf(out, "%s{reason=\"%s\"} %" PRIu64 "\n", name,
                      pith_refused_name((pith_refused)r), s->refusals[r]);
    }
    static const char *const passes[PITH_PASS_COUNT] = {
        [PITH_PASS_EMPTY] = "empty",
        [PITH_PASS_TOO_SHORT] = "too_short",
        [PITH_PASS_NOTHING_DROPPED] = "nothing_dropped",
        [PITH_PASS_NOTHING_KEPT] = "nothing_kept",
        [PITH_PASS_NONFINITE_SCORE] = "nonfinite_score",
        [PITH_PASS_DEADLINE] = "deadline",
    };
    name = "pith_passed_through_total";
    pith_metric_head(out, name, "counter", "Texts that came back unchanged, by reason.");
    for (int p = PITH_PASS_NONE + 1; p < PITH_PASS_COUNT; p++) {
        (void)fprintf(out, "%s{reason=\"%s\"} %" PRIu64 "\n", name, passes[p], s->passes[p]);
    }
    pith_metric_counter(out, "pith_partial_total",
                        "Texts answered with a part unscored for their deadline.", s->partial);
}

static void write_tokens(const pith_engine_stats *s, FILE *out) {
    const char *name = "pith_tokens_total";
    pith_metric_head(out, name, "counter",
                     "Tokens of texts answered, of what was kept, and of what was sent.");
    (void)fprintf(out, "%s{kind=\"input\"} %" PRIu64 "\n", name, s->input_tokens);
    (void)fprintf(out, "%s{kind=\"kept\"} %" PRIu64 "\n", name, s->kept_tokens);
    (void)fprintf(out, "%s{kind=\"output\"} %" PRIu64 "\n", name, s->kept_tokens);
    pith_metric_counter(out, "pith_text_bytes_total", "Bytes of texts answered.", s->input_bytes);
    pith_metric_counter(out, "pith_unscored_words_total", "Words kept because time was up.",
                        s->unscored_words);
    name = "pith_critical_spans_total";
    pith_metric_head(out, name, "counter", "Critical spans found, and found again in the output.");
    (void)fprintf(out, "%s{kind=\"found\"} %" PRIu64 "\n", name, s->critical_total);
    (void)fprintf(out, "%s{kind=\"kept\"} %" PRIu64 "\n", name, s->critical_kept);
}

static void write_steps(const pith_engine_stats *s, FILE *out) {
    pith_metric_counter(out, "pith_steps_total", "Batches that the model ran.", s->steps);
    pith_metric_counter(out, "pith_steps_failed_total", "Batches that failed.", s->steps_failed);
    const char *name = "pith_step_seconds";
    pith_metric_head(out, name, "histogram", "Computation of a batch.");
    pith_metric_histogram(out, name, "", &s->step_ns, NS);
    name = "pith_batch_size";
    pith_metric_head(out, name, "histogram", "Windows in a batch.");
    pith_metric_histogram(out, name, "", &s->batch_size, 1);
    name = "pith_batch_tokens";
    pith_metric_head(out, name, "histogram", "Tokens in a batch.");
    pith_metric_histogram(out, name, "", &s->batch_tokens, 1);
    pith_metric_gauge(out, "pith_engine_tokens_per_second", "The device's speed as last seen.",
                      s->tokens_per_second);
}

static void write_state(const pith_observe *o, const pith_engine_stats *s, bool loaded, FILE *out) {
    static const char *const states[] = {"serving", "draining", "stalled", "faulted"};
    const char *name = "pith_engine_state";
    pith_metric_head(out, name, "gauge", "1 for the state that the engine is in.");
    for (int i = 0; i <= PITH_ENGINE_FAULTED; i++) {
        (void)fprintf(out, "%s{state=\"%s\"} %d\n", name, states[i], loaded && (int)s->state == i);
    }
    (void)fprintf(out, "%s{state=\"loading\"} %d\n", name, !loaded);
    int64_t since = atomic_load(&o->draining_since_ns);
    int64_t drain_ns = since == 0 ? 0 : pith_clock_now(&pith_clock_system) - since;
    pith_metric_gauge(out, "pith_drain_seconds", "Since the drain began; 0 while there is none.",
                      (double)drain_ns * NS);
}

/* Without a GPU each family is one series at zero. */
static void write_gpus(const pith_engine_stats *s, FILE *out) {
    const char *saturated = "pith_gpu_saturated_values_total";
    const char *mismatch = "pith_gpu_kernel_mismatch";
    char labels[PITH_GPUS_MAX][LABEL_BYTES] = {""};
    uint32_t n = s->n_gpus > 0 ? s->n_gpus : 1;
    for (uint32_t i = 0; i < s->n_gpus; i++) {
        (void)snprintf(labels[i], sizeof labels[i], "{gpu=\"%d\",uuid=\"%s\"}", s->gpus[i].ordinal,
                       s->gpus[i].uuid);
    }
    pith_metric_head(out, saturated, "counter", "Weights and activations that did not fit f16.");
    for (uint32_t i = 0; i < n; i++) {
        (void)fprintf(out, "%s%s %" PRIu64 "\n", saturated, labels[i], s->gpus[i].saturated);
    }
    pith_metric_head(out, mismatch, "gauge",
                     "1 where a fast kernel did not agree with the safe one, which serves.");
    for (uint32_t i = 0; i < n; i++) {
        (void)fprintf(out, "%s%s %d\n", mismatch, labels[i], s->gpus[i].kernels_refused);
    }
}

static void write_models(pith_engine *engine, FILE *out) {
    const pith_model_info *models;
    size_t n = engine == NULL ? 0 : pith_engine_models(engine, &models);
    const char *name = "pith_model_info";
    pith_metric_head(out, name, "gauge", "A loaded model; always 1.");
    for (size_t i = 0; i < n; i++) {
        (void)fprintf(out, "%s{model=\"", name);
        write_label(out, models[i].name);
        (void)fprintf(out, "\",fingerprint=\"%s\",device=\"", models[i].fingerprint);
        write_label(out, models[i].device);
        (void)fprintf(out, "\",dtype=\"%s\",isa=\"%s\"} 1\n", models[i].dtype, models[i].isa);
    }
}

static void write_open_fds(FILE *out) {
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) {
        return;
    }
    double n = -1; /* the folder's own */
    for (const struct dirent *at = readdir(folder); at != NULL; at = readdir(folder)) {
        n += at->d_name[0] != '.';
    }
    (void)closedir(folder);
    pith_metric_gauge(out, "process_open_fds", "Open file descriptors.", n);
}

/* Names of the Prometheus client libraries. */
static void write_process(FILE *out) {
    struct rusage use;
    if (getrusage(RUSAGE_SELF, &use) == 0) {
        const char *name = "process_cpu_seconds_total";
        double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                     (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
        pith_metric_head(out, name, "counter", "User and system CPU time.");
        (void)fprintf(out, "%s %.6f\n", name, cpu);
    }
    FILE *statm = fopen("/proc/self/statm", "r");
    unsigned long long size = 0;
    unsigned long long resident = 0;
    if (statm != NULL) {
        if (fscanf(statm, "%llu %llu", &size, &resident) == 2) {
            pith_metric_gauge(out, "process_resident_memory_bytes", "Resident memory.",
                              (double)resident * (double)sysconf(_SC_PAGESIZE));
        }
        (void)fclose(statm);
    }
    write_open_fds(out);
    size_t allocated;
    if (pith_heap_allocated(&allocated)) {
        pith_metric_gauge(out, "pith_heap_allocated_bytes", "Memory allocated and not freed.",
                          (double)allocated);
    }
}

/* What an engine says that has done nothing yet. */
static void read_stats(pith_engine *engine, pith_engine_stats *stats) {
    if (engine != NULL) {
        pith_engine_read_stats(engine, stats);
        return;
    }
    *stats = (pith_engine_stats){0};
    pith_histogram_view *times[] = {&stats->queue_ns,  &stats->ingest_ns, &stats->compute_ns,
                                    &stats->finish_ns, &stats->total_ns,  &stats->step_ns};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        times[i]->bounds = &pith_histogram_seconds;
    }
    stats->batch_size.bounds = &pith_histogram_powers;
    stats->batch_tokens.bounds = &pith_histogram_powers;
}

void pith_observe_write_page(pith_observe *observe, FILE *out) {
    pith_engine *engine = atomic_load_explicit(&observe->engine, memory_order_acquire);
    pith_engine_stats stats;
    read_stats(engine, &stats);
    write_requests(observe, out);
    write_rpcs(observe, out);
    write_stages(&stats, out);
    write_queue(&stats, out);
    write_jobs(&stats, out);
    write_tokens(&stats, out);
    write_steps(&stats, out);
    write_gpus(&stats, out);
    write_state(observe, &stats, engine != NULL, out);
    write_models(engine, out);
    write_process(out);
    pith_tracer_write_metrics(observe->tracer, out);
    for (size_t i = 0; i < observe->n_sources; i++) {
        observe->sources[i].write(observe->sources[i].arg, out);
    }
}
