/* pithd with the fake engine: for the end-to-end scripts, which need answers on cue.
 *
 * Understands --listen ADDR, --http ADDR, --http-connections N, --http-receive-ms N, --otlp URL,
 * --log json,
 * --max-text-bytes N, --max-jobs N, --max-connections N, --drain-ms N, --send-stall-ms N, --health
 * ADDR, --keys FILE, --tls-cert, --tls-key and --tls-client-ca FILE, --load-ms N (the engine is
 * there so much later), --keepalive-ms N. Prints "listening on ADDR:PORT" on stderr and its
 * counters when it has drained; reloads on SIGHUP. */
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
#include <unistd.h>

typedef struct settings {
    pith_grpc_opts server;
    pith_http_opts http;
    const char *otlp;
    pith_engine_opts engine;
    uint32_t drain_ms;
    uint32_t load_ms;
    const char *keys;
    pith_certificate_files tls;
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
        } else if (strcmp(name, "--otlp") == 0) {
            s->otlp = argv[i + 1];
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
        } else if (strcmp(name, "--health") == 0) {
            s->server.health_listen = argv[i + 1];
        } else if (strcmp(name, "--keys") == 0) {
            s->keys = argv[i + 1];
        } else if (strcmp(name, "--tls-cert") == 0) {
            s->tls.chain = argv[i + 1];
        } else if (strcmp(name, "--tls-key") == 0) {
            s->tls.key = argv[i + 1];
        } else if (strcmp(name, "--tls-client-ca") == 0) {
            s->tls.client_ca = argv[i + 1];
        } else if (strcmp(name, "--keepalive-ms") == 0) {
            s->server.keepalive_ms = (uint16_t)number;
        } else if (strcmp(name, "--load-ms") == 0) {
            s->load_ms = (uint32_t)number;
        } else if (strcmp(name, "--model") != 0) {
            return false;
        }
    }
    return true;
}

typedef struct doors {
    pith_keys *keys;
    pith_certificates *http_certificates;
    pith_certificates *certificates;
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
    pith_status status = pith_observe_open(&d->observe, s->otlp, err);
    if (status == PITH_OK && s->load_ms == 0) {
        s->server.engine = s->http.engine = engine;
        pith_observe_set_engine(d->observe, engine);
    }
    s->server.observe = s->http.observe = d->observe;
    if (status == PITH_OK && s->keys != NULL) {
        status = pith_keys_open(&d->keys, s->keys, err);
        s->server.keys = s->http.keys = d->keys;
    }
    if (status == PITH_OK && s->tls.chain != NULL) {
        status = pith_certificates_open(&d->certificates, &s->tls, "h2", err);
        if (status == PITH_OK && s->http.listen != NULL) {
            status = pith_certificates_open(&d->http_certificates, &s->tls, "http/1.1", err);
            s->http.certificates = d->http_certificates;
        }
        s->server.certificates = d->certificates;
    }
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
    pith_keys_close(d->keys);
    pith_certificates_close(d->certificates);
    pith_certificates_close(d->http_certificates);
}

static void serve(const settings *s, doors *d, pith_engine *fake, const sigset_t *signals) {
    int number;
    const char *health = pith_grpc_server_health_address(d->grpc);
    (void)fprintf(stderr, "fake_pithd: listening on %s%s%s%s%s\n",
                  pith_grpc_server_address(d->grpc), d->http == NULL ? "" : ", http on ",
                  d->http == NULL ? "" : pith_http_address(d->http),
                  health == NULL ? "" : ", health on ", health == NULL ? "" : health);
    if (s->load_ms > 0) {
        (void)usleep(s->load_ms * 1000);
        pith_observe_set_engine(d->observe, fake);
        pith_grpc_server_set_ready(d->grpc, fake);
        if (d->http != NULL) {
            pith_http_set_ready(d->http, fake);
        }
    }
    while (sigwait(signals, &number) == 0 && number == SIGHUP) {
        pith_err err;
        bool good = d->keys != NULL && pith_keys_reload(d->keys, &err) == PITH_OK;
        (void)fprintf(stderr, "fake_pithd: reload %s\n", good ? "done" : "refused");
    }
    pthread_t second;
    bool watched = pthread_create(&second, NULL, hurry, d) == 0;
    pith_observe_set_draining(d->observe);
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
    pith_engine_read_stats(fake, &engine);
    pith_grpc_stats grpc;
    pith_grpc_server_read_stats(d->grpc, &grpc);
    close_doors(d);
    (void)fprintf(stderr,
                  "fake_pithd: drained, cut %zu, accepted %" PRIu64 ", answered %" PRIu64
                  ", in flight %" PRIu64 ", calls open %" PRIu64 ", never accepted %" PRIu64 "\n",
                  cut, engine.accepted, engine.answered, engine.in_flight, grpc.calls_open,
                  grpc.streams - grpc.calls);
}

int main(int argc, char **argv) {
    settings s = {.server = {.listen = "127.0.0.1:0"}, .drain_ms = 5000};
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGHUP);
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
        serve(&s, &d, engine, &signals);
    } else {
        (void)fprintf(stderr, "fake_pithd: %s\n", err.text);
        close_doors(&d);
    }
    pith_engine_close(engine);
    return status == PITH_OK ? 0 : 2;
}
