/* pithd with the fake engine: for the end-to-end scripts, which need answers on cue.
 *
 * Understands --listen ADDR, --http ADDR, --http-connections N, --http-receive-ms N, --log json,
 * --max-text-bytes N, --max-jobs N, --max-connections N, --drain-ms N, --send-stall-ms N,
 * prints "listening on
 * ADDR:PORT" on stderr and its counters when it has drained. */
#include "runtime/base/log.h"
#include "server/grpc/server.h"
#include "server/http/http.h"
#include "tests/server/fake_engine.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    pith_grpc_opts server;
    pith_http_opts http;
    pith_engine_opts engine;
    uint32_t drain_ms;
} settings;

static bool read_settings(settings *s, int argc, char **argv) {
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) {
            return false;
        }
        const char *name = argv[i];
        unsigned long number = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(name, "--listen") == 0) {
            s->server.listen = argv[i + 1];
        } else if (strcmp(name, "--http") == 0) {
            s->http.listen = argv[i + 1];
        } else if (strcmp(name, "--http-connections") == 0) {
            s->http.max_connections = (uint32_t)number;
        } else if (strcmp(name, "--http-receive-ms") == 0) {
            s->http.receive_ns = (int64_t)number * 1000000;
        } else if (strcmp(name, "--log") == 0) {
            pith_log_set_json(strcmp(argv[i + 1], "json") == 0);
        } else if (strcmp(name, "--max-text-bytes") == 0) {
            s->server.text_bytes_max = s->http.text_bytes_max = number;
        } else if (strcmp(name, "--max-jobs") == 0) {
            s->engine.jobs_max = (uint32_t)number;
        } else if (strcmp(name, "--max-connections") == 0) {
            s->server.max_connections = (uint32_t)number;
        } else if (strcmp(name, "--drain-ms") == 0) {
            s->drain_ms = (uint32_t)number;
        } else if (strcmp(name, "--send-stall-ms") == 0) {
            s->server.send_stall_ns = (int64_t)number * 1000000;
        } else if (strcmp(name, "--model") != 0) {
            return false;
        }
    }
    return true;
}

typedef struct doors {
    pith_observe *observe;
    pith_grpc_server *grpc;
    pith_http_server *http; /* NULL without --http */
} doors;

static void *hurry(void *arg) {
    const doors *d = arg;
    sigset_t set;
    int number;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigwait(&set, &number);
    pith_grpc_server_hurry(d->grpc);
    if (d->http != NULL) {
        pith_http_hurry(d->http);
    }
    return NULL;
}

static pith_status open_doors(doors *d, settings *s, pith_engine *engine, pith_err *err) {
    pith_status status = pith_observe_open(&d->observe, engine, err);
    s->server.engine = s->http.engine = engine;
    s->server.observe = s->http.observe = d->observe;
    if (status == PITH_OK) {
        status = pith_grpc_server_open(&d->grpc, &s->server, err);
    }
    if (status == PITH_OK) {
        status = pith_grpc_server_start(d->grpc, err);
    }
    if (status == PITH_OK && s->http.listen != NULL) {
        status = pith_http_open(&d->http, &s->http, err);
    }
    return status == PITH_OK && d->http != NULL ? pith_http_start(d->http, err) : status;
}

static void close_doors(doors *d) {
    pith_http_close(d->http);
    pith_grpc_server_close(d->grpc);
    pith_observe_close(d->observe);
}

static void serve(const settings *s, doors *d, const sigset_t *signals) {
    int number;
    (void)fprintf(stderr, "fake_pithd: listening on %s%s%s\n", pith_grpc_server_address(d->grpc),
                  d->http == NULL ? "" : ", http on ",
                  d->http == NULL ? "" : pith_http_address(d->http));
    (void)sigwait(signals, &number);
    pthread_t second;
    bool watched = pthread_create(&second, NULL, hurry, d) == 0;
    if (d->http != NULL) {
        pith_http_lame_duck(d->http);
    }
    size_t cut = pith_grpc_server_drain(d->grpc, s->drain_ms);
    if (d->http != NULL) {
        cut += pith_http_drain(d->http, s->drain_ms);
    }
    if (watched) {
        (void)pthread_cancel(second);
        (void)pthread_join(second, NULL);
    }
    pith_engine_stats engine;
    pith_engine_read_stats(s->server.engine, &engine);
    close_doors(d);
    (void)fprintf(stderr, "fake_pithd: drained, cut %zu, accepted %" PRIu64 "\n", cut,
                  engine.accepted);
}

int main(int argc, char **argv) {
    settings s = {.server = {.listen = "127.0.0.1:0"}, .drain_ms = 5000};
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    pith_err err = {0};
    doors d = {0};
    pith_engine *engine = NULL;
    if (!read_settings(&s, argc, argv)) {
        (void)fprintf(stderr, "fake_pithd: unknown flag\n");
        return 2;
    }
    pith_status status = pith_engine_open(&engine, &s.engine, &err);
    if (status == PITH_OK) {
        status = open_doors(&d, &s, engine, &err);
    }
    if (status == PITH_OK) {
        serve(&s, &d, &signals);
    } else {
        (void)fprintf(stderr, "fake_pithd: %s\n", err.text);
        close_doors(&d);
    }
    pith_engine_close(engine);
    return status == PITH_OK ? 0 : 2;
}
