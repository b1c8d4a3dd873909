#include "server/observe/tracer.h"

#include "runtime/base/log.h"
#include "server/common/version.h"
#include "server/observe/metrics.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    BATCH_MAX = 512, /* spans of one request: half a megabyte of JSON */
    SEND_MS_MAX = 5000,
    LAST_SEND_MS_MAX = 2000,
    URL_BYTES = 1024,
    /* Numbers of the OTLP proto, opentelemetry/proto/trace/v1. */
    SPAN_KIND_SERVER = 2,
    STATUS_CODE_ERROR = 2
};

struct pith_tracer {
    char url[URL_BYTES];
    pthread_t thread;
    bool running;
    bool failing; /* the thread's own: the last batch was not taken */
    atomic_uint_fast64_t sent;
    atomic_uint_fast64_t dropped; /* the table was full */
    atomic_uint_fast64_t failed;  /* the collector did not take them */

    pthread_mutex_t mutex; /* guards everything below */
    pthread_cond_t wake;
    size_t n;
    bool stop;
    pith_span spans[PITH_TRACER_SPANS_MAX];
};

/* --- the request -------------------------------------------------------------------------- */

static void add_attribute(json_t *list, const char *key, json_t *value) {
    (void)json_array_append_new(list, json_pack("{s:s, s:o}", "key", key, "value", value));
}

static void add_text(json_t *list, const char *key, const char *text) {
    add_attribute(list, key, json_pack("{s:s}", "stringValue", text));
}

/* OTLP's JSON writes 64-bit numbers as text. */
static json_t *big(int64_t number) {
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRId64, number);
    return json_string(text);
}

static void add_number(json_t *list, const char *key, int64_t number) {
    add_attribute(list, key, json_pack("{s:o}", "intValue", big(number)));
}

static void add_ms(json_t *list, const char *key, int64_t ns) {
    add_attribute(list, key, json_pack("{s:f}", "doubleValue", (double)ns / 1e6));
}

/* `chars` hex digits; a zero id is not one (W3C), and 2^-64 is unlikely enough. */
static void make_id(char *out, size_t chars) {
    unsigned char bytes[PITH_TRACE_ID_CHARS / 2];
    if (getrandom(bytes, chars / 2, 0) != (ssize_t)(chars / 2)) {
        memset(bytes, 1, sizeof bytes);
    }
    for (size_t i = 0; i < chars / 2; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
}

static json_t *attributes_of(const pith_span *span) {
    json_t *list = json_array();
    add_text(list, "pith.code", span->code);
    if (span->request_id[0] != '\0') {
        add_text(list, "pith.request_id", span->request_id);
    }
    add_number(list, "pith.text_bytes", (int64_t)span->text_bytes);
    add_number(list, "pith.input_tokens", span->input_tokens);
    add_number(list, "pith.kept_tokens", span->kept_tokens);
    add_ms(list, "pith.queue_ms", span->queue_ns);
    add_ms(list, "pith.tokenize_ms", span->tokenize_ns);
    add_ms(list, "pith.model_ms", span->model_ns);
    add_ms(list, "pith.finish_ms", span->finish_ns);
    return list;
}

static json_t *span_json(const pith_span *span) {
    char trace_id[PITH_TRACE_ID_CHARS + 1];
    char span_id[PITH_SPAN_ID_CHARS + 1];
    make_id(span_id, PITH_SPAN_ID_CHARS);
    if (span->parent.trace_id[0] == '\0') {
        make_id(trace_id, PITH_TRACE_ID_CHARS);
    } else {
        memcpy(trace_id, span->parent.trace_id, sizeof trace_id);
    }
    json_t *out =
        json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o}", "traceId", trace_id, "spanId", span_id,
                  "name", span->name, "kind", SPAN_KIND_SERVER, "startTimeUnixNano",
                  big(span->end_ns - span->duration_ns), "endTimeUnixNano", big(span->end_ns),
                  "attributes", attributes_of(span));
    if (span->parent.parent_id[0] != '\0') {
        (void)json_object_set_new(out, "parentSpanId", json_string(span->parent.parent_id));
    }
    if (span->failed) {
        (void)json_object_set_new(
            out, "status",
            json_pack("{s:i, s:s}", "code", STATUS_CODE_ERROR, "message", span->code));
    }
    return out;
}

/* An ExportTraceServiceRequest; malloc'd, NULL when memory is short. */
static char *request_body(const pith_span *spans, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(list, span_json(&spans[i]));
    }
    json_t *resource = json_array();
    add_text(resource, "service.name", "pith");
    add_text(resource, "service.version", PITH_VERSION);
    json_t *request =
        json_pack("{s:[{s:{s:o}, s:[{s:{s:s}, s:o}]}]}", "resourceSpans", "resource", "attributes",
                  resource, "scopeSpans", "scope", "name", "pith", "spans", list);
    char *body = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
    json_decref(request);
    return body;
}

/* --- the thread --------------------------------------------------------------------------- */

static size_t ignore_reply(char *data, size_t size, size_t n, void *arg) {
    (void)data;
    (void)arg;
    return size * n;
}

static bool post(CURL *curl, const char *url, const char *body, long ms_max) {
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    long code = 0;
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ms_max);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore_reply);
    CURLcode result = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    curl_slist_free_all(headers);
    return result == CURLE_OK && code >= 200 && code < 300;
}

static void send_batch(pith_tracer *tracer, CURL *curl, const pith_span *spans, size_t n,
                       long ms_max) {
    char *body = curl == NULL ? NULL : request_body(spans, n);
    bool taken = body != NULL && post(curl, tracer->url, body, ms_max);
    free(body);
    (void)atomic_fetch_add(taken ? &tracer->sent : &tracer->failed, n);
    if (taken == tracer->failing) {
        tracer->failing = !taken;
        pith_log(taken ? PITH_LOG_INFO : PITH_LOG_WARN,
                 taken ? "traces: the collector takes spans again"
                       : "traces: the collector takes no spans; they are dropped");
    }
}

/* Waits a second, or until told to stop. Takes the oldest spans out; returns how many. */
static size_t take(pith_tracer *tracer, pith_span *batch, bool *stop) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    (void)pthread_mutex_lock(&tracer->mutex);
    int waited = 0;
    while (!tracer->stop && tracer->n < BATCH_MAX && waited == 0) {
        waited = pthread_cond_timedwait(&tracer->wake, &tracer->mutex, &until);
    }
    size_t n = tracer->n < BATCH_MAX ? tracer->n : BATCH_MAX;
    memcpy(batch, tracer->spans, n * sizeof *batch);
    memmove(tracer->spans, tracer->spans + n, (tracer->n - n) * sizeof *batch);
    tracer->n -= n;
    *stop = tracer->stop;
    (void)pthread_mutex_unlock(&tracer->mutex);
    return n;
}

static void *send_loop(void *arg) {
    pith_tracer *tracer = arg;
    pith_span *batch = malloc(BATCH_MAX * sizeof *batch);
    CURL *curl = curl_easy_init();
    bool stop = batch == NULL;
    while (!stop) {
        size_t n = take(tracer, batch, &stop);
        if (n > 0) {
            send_batch(tracer, curl, batch, n, stop ? LAST_SEND_MS_MAX : SEND_MS_MAX);
        }
    }
    curl_easy_cleanup(curl);
    free(batch);
    return NULL;
}

/* --- from outside ------------------------------------------------------------------------- */

static pith_status read_url(pith_tracer *tracer, const char *url, pith_err *err) {
    const char *host = strncmp(url, "http://", 7) == 0    ? url + 7
                       : strncmp(url, "https://", 8) == 0 ? url + 8
                                                          : NULL;
    size_t len = strlen(url);
    if (host == NULL || *host == '\0' || *host == '/' || len >= URL_BYTES - 16) {
        return pith_fail(err, PITH_INVALID, "--otlp: \"%.128s\" is not an http or https URL", url);
    }
    const char *path = strchr(host, '/');
    bool bare = path == NULL || path[1] == '\0';
    (void)snprintf(tracer->url, sizeof tracer->url, "%.*s%s",
                   (int)(path != NULL && bare ? path - url : (ptrdiff_t)len), url,
                   bare ? "/v1/traces" : "");
    return PITH_OK;
}

pith_status pith_tracer_open(pith_tracer **tracer, const char *url, pith_err *err) {
    *tracer = NULL;
    pith_tracer *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for traces");
    }
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_cond_init(&made->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    pith_status status = read_url(made, url, err);
    if (status == PITH_OK && (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
                              pthread_create(&made->thread, NULL, send_loop, made) != 0)) {
        status = pith_fail(err, PITH_IO, "--otlp: cannot start the sender");
    }
    if (status != PITH_OK) {
        pith_tracer_close(made);
        return status;
    }
    (void)pthread_setname_np(made->thread, "pith-otlp");
    made->running = true;
    *tracer = made;
    return PITH_OK;
}

void pith_tracer_close(pith_tracer *tracer) {
    if (tracer == NULL) {
        return;
    }
    if (tracer->running) {
        (void)pthread_mutex_lock(&tracer->mutex);
        tracer->stop = true;
        (void)pthread_cond_signal(&tracer->wake);
        (void)pthread_mutex_unlock(&tracer->mutex);
        (void)pthread_join(tracer->thread, NULL);
        curl_global_cleanup();
    }
    (void)pthread_cond_destroy(&tracer->wake);
    (void)pthread_mutex_destroy(&tracer->mutex);
    free(tracer);
}

void pith_tracer_add(pith_tracer *tracer, const pith_span *span) {
    if (tracer == NULL || (span->parent.trace_id[0] != '\0' && !span->parent.sampled)) {
        return;
    }
    (void)pthread_mutex_lock(&tracer->mutex);
    bool fits = tracer->n < PITH_TRACER_SPANS_MAX;
    if (fits) {
        tracer->spans[tracer->n++] = *span;
    }
    if (tracer->n == BATCH_MAX) {
        (void)pthread_cond_signal(&tracer->wake);
    }
    (void)pthread_mutex_unlock(&tracer->mutex);
    if (!fits) {
        (void)atomic_fetch_add(&tracer->dropped, 1);
    }
}

void pith_tracer_write_metrics(pith_tracer *tracer, FILE *out) {
    const char *name = "pith_trace_spans_total";
    pith_metric_head(out, name, "counter",
                     "Spans sent, dropped at a full table, and not taken by the collector.");
    (void)fprintf(out, "%s{outcome=\"sent\"} %" PRIuFAST64 "\n", name,
                  tracer == NULL ? 0 : atomic_load(&tracer->sent));
    (void)fprintf(out, "%s{outcome=\"dropped\"} %" PRIuFAST64 "\n", name,
                  tracer == NULL ? 0 : atomic_load(&tracer->dropped));
    (void)fprintf(out, "%s{outcome=\"failed\"} %" PRIuFAST64 "\n", name,
                  tracer == NULL ? 0 : atomic_load(&tracer->failed));
}
