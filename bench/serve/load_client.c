/* Load over gRPC that costs little itself: unary calls on one thread of the C core.
 *
 *   load_client ADDR [options]
 *     --in-flight N      closed loop: calls open at a time (16); open loop: at most
 *     --connections N    (1)
 *     --rps R            open loop: one call every 1/R seconds, whatever comes back
 *     --bytes N          of a text (100)          --seconds S   (5)
 *     --deadline-ms N    of a call (60000)        --warm-s S    before the counted seconds (0.5)
 *
 *     --replies FILE     of engine_driver: what each reply must be
 *
 * Prints "name value" lines. Every reply to a text must have the bytes of the first one; the hash
 * of all of them is that of engine_driver for the same texts. An echo server's reply is its
 * request, which the texts of a reply are read from just as well: text is field 2 of both. */
#include "bench/serve/texts.h"
#include "server/grpc/wire.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IN_FLIGHT_MAX = 8192,
    CONNECTIONS_MAX = 256,
    TIMES_MAX = 1 << 20, /* of each kind; later ones are counted only */
    CODES = 17,
    FIELD_TEXT = 2,
};

typedef struct config {
    const char *addr;
    const char *replies;
    double in_flight, connections, rps, bytes, seconds, deadline_ms, warm_s;
} config;

typedef struct call {
    grpc_call *core;
    bench_text *text;
    int64_t begin_ns;
    bool counted; /* begun within the counted seconds */
    grpc_metadata_array headers, trailers;
    grpc_byte_buffer *reply;
    grpc_status_code code;
    grpc_slice details;
} call;

typedef struct times {
    int64_t *ns; /* [TIMES_MAX] */
    size_t n;
} times;

typedef struct client {
    config config;
    grpc_completion_queue *queue;
    grpc_channel *channels[CONNECTIONS_MAX];
    bench_text texts[BENCH_TEXTS];
    grpc_slice requests[BENCH_TEXTS];
    call calls[IN_FLIGHT_MAX];
    call *idle[IN_FLIGHT_MAX];
    size_t n_idle;
    uint64_t n_begun, n_dropped, codes[CODES];
    uint64_t different;
    int64_t count_from_ns, count_to_ns;
    times ok, refused;
} client;

static const grpc_slice *path(void) {
    static grpc_slice slice;
    slice = grpc_slice_from_static_string("/pith.v1.CompressionService/Compress");
    return &slice;
}

/* text = 2, target_ratio = 3: the request that engine_driver makes. */
static grpc_slice request_of(const bench_text *text) {
    uint8_t head[16] = {FIELD_TEXT << 3 | 2};
    size_t n = 1;
    for (size_t len = text->len;; len >>= 7) {
        head[n++] = (uint8_t)(len > 0x7F ? (len & 0x7F) | 0x80 : len);
        if (len <= 0x7F) {
            break;
        }
    }
    const double half = 0.5;
    grpc_slice slice = grpc_slice_malloc(n + text->len + 1 + sizeof half);
    uint8_t *at = GRPC_SLICE_START_PTR(slice);
    memcpy(at, head, n);
    memcpy(at + n, text->bytes, text->len);
    at[n + text->len] = 3 << 3 | 1;
    memcpy(at + n + text->len + 1, &half, sizeof half);
    return slice;
}

static void begin(client *c) {
    call *k = c->idle[--c->n_idle];
    size_t which = c->n_begun % BENCH_TEXTS;
    grpc_channel *channel = c->channels[c->n_begun % (size_t)c->config.connections];
    c->n_begun++;
    k->text = &c->texts[which];
    k->begin_ns = bench_now_ns();
    k->counted = k->begin_ns >= c->count_from_ns && k->begin_ns < c->count_to_ns;
    gpr_timespec deadline =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                     gpr_time_from_millis((int64_t)c->config.deadline_ms, GPR_TIMESPAN));
    k->core = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->queue, *path(),
                                       NULL, deadline, NULL);
    grpc_metadata_array_init(&k->headers);
    grpc_metadata_array_init(&k->trailers);
    k->reply = NULL;
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&c->requests[which], 1);
    grpc_op ops[6];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = message;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &k->headers;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &k->reply;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &k->trailers;
    ops[5].data.recv_status_on_client.status = &k->code;
    ops[5].data.recv_status_on_client.status_details = &k->details;
    if (grpc_call_start_batch(k->core, ops, 6, k, NULL) != GRPC_CALL_OK) {
        abort();
    }
    grpc_byte_buffer_destroy(message);
}

static void compare_reply(client *c, call *k) {
    grpc_byte_buffer_reader reader;
    if (k->reply == NULL || grpc_byte_buffer_reader_init(&reader, k->reply) == 0) {
        c->different++;
        return;
    }
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    const uint8_t *text = NULL;
    size_t len = 0;
    bool found =
        pith_wire_find(GRPC_SLICE_START_PTR(all), GRPC_SLICE_LENGTH(all), FIELD_TEXT, &text, &len);
    c->different += !found || !bench_text_same(k->text, text, len);
    grpc_slice_unref(all);
    grpc_byte_buffer_reader_destroy(&reader);
}

static void note(times *t, int64_t ns) {
    if (t->n < TIMES_MAX) {
        t->ns[t->n++] = ns;
    }
}

static void end(client *c, call *k) {
    int64_t took = bench_now_ns() - k->begin_ns;
    if (k->code == GRPC_STATUS_OK) {
        compare_reply(c, k);
    }
    if (k->counted) {
        c->codes[(unsigned)k->code < CODES ? (unsigned)k->code : 2]++;
        if (k->code == GRPC_STATUS_OK) {
            note(&c->ok, took);
        } else if (k->code == GRPC_STATUS_RESOURCE_EXHAUSTED) {
            note(&c->refused, took);
        }
    }
    if (k->reply != NULL) {
        grpc_byte_buffer_destroy(k->reply);
    }
    grpc_metadata_array_destroy(&k->headers);
    grpc_metadata_array_destroy(&k->trailers);
    grpc_slice_unref(k->details);
    grpc_call_unref(k->core);
    c->idle[c->n_idle++] = k;
}

static bool next(client *c, int64_t until_ns) {
    int64_t wait = until_ns - bench_now_ns();
    gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                      gpr_time_from_nanos(wait > 0 ? wait : 0, GPR_TIMESPAN));
    grpc_event event = grpc_completion_queue_next(c->queue, until, NULL);
    if (event.type != GRPC_OP_COMPLETE) {
        return false;
    }
    end(c, event.tag);
    return true;
}

static void run(client *c) {
    size_t most = (size_t)c->config.in_flight;
    int64_t begin_ns = bench_now_ns();
    c->count_from_ns = begin_ns + (int64_t)(c->config.warm_s * 1e9);
    c->count_to_ns = c->count_from_ns + (int64_t)(c->config.seconds * 1e9);
    double every = c->config.rps > 0.0 ? 1e9 / c->config.rps : 0.0;
    for (uint64_t turn = 0; bench_now_ns() < c->count_to_ns;) {
        int64_t due = begin_ns + (int64_t)((double)turn * every);
        if (every > 0.0) {
            while (due <= bench_now_ns() && due < c->count_to_ns) {
                if (c->n_idle > 0) {
                    begin(c);
                } else {
                    c->n_dropped++; /* the client's own limit: the run says so */
                }
                due = begin_ns + (int64_t)((double)++turn * every);
            }
            due = due < c->count_to_ns ? due : c->count_to_ns;
        } else {
            while (c->n_idle > 0) {
                begin(c);
            }
            due = c->count_to_ns;
        }
        (void)next(c, due);
    }
    while (c->n_idle < most && next(c, c->count_to_ns + (int64_t)(c->config.deadline_ms * 2e6))) {
    }
}

static void report(client *c) {
    static const char *const names[CODES] = {
        "OK",        "CANCELLED",      "UNKNOWN",       "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "EXISTS",         "PERMISSION",    "RESOURCE_EXHAUSTED", "PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED", "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    uint64_t all = 0;
    for (int i = 0; i < CODES; i++) {
        all += c->codes[i];
        if (c->codes[i] > 0) {
            (void)printf("code_%s %llu\n", names[i], (unsigned long long)c->codes[i]);
        }
    }
    (void)printf("calls %llu\nok %llu\ncalls_begun %llu\ncalls_per_s %.1f\n",
                 (unsigned long long)all, (unsigned long long)c->codes[0],
                 (unsigned long long)c->n_begun, (double)c->codes[0] / c->config.seconds);
    (void)printf("p50_us %.1f\np99_us %.1f\nrefused_p99_us %.1f\n",
                 (double)bench_percentile(c->ok.ns, c->ok.n, 0.5) / 1e3,
                 (double)bench_percentile(c->ok.ns, c->ok.n, 0.99) / 1e3,
                 (double)bench_percentile(c->refused.ns, c->refused.n, 0.99) / 1e3);
    (void)printf("replies_hash %016llx\ndifferent %llu\nnot_sent %llu\nnot_answered %zu\n",
                 (unsigned long long)bench_texts_hash(c->texts, BENCH_TEXTS),
                 (unsigned long long)c->different, (unsigned long long)c->n_dropped,
                 (size_t)c->config.in_flight - c->n_idle);
}

static bool parse(config *c, int argc, char **argv) {
    *c = (config){.in_flight = 16,
                  .connections = 1,
                  .bytes = 100,
                  .seconds = 5,
                  .deadline_ms = 60000,
                  .warm_s = 0.5};
    const struct {
        const char *name;
        double *value;
    } options[] = {{"--in-flight", &c->in_flight},
                   {"--connections", &c->connections},
                   {"--rps", &c->rps},
                   {"--bytes", &c->bytes},
                   {"--seconds", &c->seconds},
                   {"--warm-s", &c->warm_s},
                   {"--deadline-ms", &c->deadline_ms}};
    if (argc < 2 || argc % 2 != 0) {
        return false;
    }
    c->addr = argv[1];
    for (int i = 2; i < argc; i += 2) {
        double *value = NULL;
        if (strcmp(argv[i], "--replies") == 0) {
            c->replies = argv[i + 1];
            continue;
        }
        for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
            value = strcmp(argv[i], options[k].name) == 0 ? options[k].value : value;
        }
        if (value == NULL) {
            return false;
        }
        *value = strtod(argv[i + 1], NULL);
    }
    return c->in_flight >= 1 && c->in_flight <= IN_FLIGHT_MAX && c->connections >= 1 &&
           c->connections <= CONNECTIONS_MAX && c->bytes >= 1 && c->seconds > 0;
}

/* Each channel has its own subchannel, so its own connection. */
static void connect_all(client *c) {
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)(size_t)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
         .value.integer = 1},
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)(size_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
         .value.integer = -1},
    };
    grpc_channel_args all = {.num_args = 2, .args = args};
    grpc_channel_credentials *plain = grpc_insecure_credentials_create();
    for (size_t i = 0; i < (size_t)c->config.connections; i++) {
        c->channels[i] = grpc_channel_create(c->config.addr, plain, &all);
    }
    grpc_channel_credentials_release(plain);
}

int main(int argc, char **argv) {
    static client c;
    if (!parse(&c.config, argc, argv)) {
        (void)fprintf(stderr, "usage: %s ADDR [--in-flight N] [--connections N] [--rps R] ...\n",
                      argv[0]);
        return 2;
    }
    c.ok.ns = malloc(TIMES_MAX * sizeof *c.ok.ns);
    c.refused.ns = malloc(TIMES_MAX * sizeof *c.refused.ns);
    bool made = c.ok.ns != NULL && c.refused.ns != NULL;
    grpc_init();
    for (uint64_t i = 0; made && i < BENCH_TEXTS; i++) {
        made = bench_text_make(&c.texts[i], (size_t)c.config.bytes, i + 1, NULL, 0);
        c.requests[i] = made ? request_of(&c.texts[i]) : grpc_empty_slice();
    }
    if (!made) {
        (void)fprintf(stderr, "no memory\n");
        return 1;
    }
    if (c.config.replies != NULL && !bench_texts_load(c.texts, BENCH_TEXTS, c.config.replies)) {
        (void)fprintf(stderr, "%s: cannot be read\n", c.config.replies);
        return 1;
    }
    c.queue = grpc_completion_queue_create_for_next(NULL);
    connect_all(&c);
    for (size_t i = 0; i < (size_t)c.config.in_flight; i++) {
        c.idle[c.n_idle++] = &c.calls[i];
    }
    run(&c);
    report(&c);
    return c.different > 0; /* the process ends with its channels */
}
