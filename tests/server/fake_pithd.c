/* pithd with the fake engine: for the end-to-end scripts, which need answers on cue.
 *
 * Understands --listen ADDR, --max-text-bytes N, --max-jobs N, --max-connections N, --drain-ms N,
 * --send-stall-ms N, prints "listening on ADDR:PORT" on stderr and its counters when it has
 * drained. */
#include "server/grpc/server.h"
#include "tests/server/fake_engine.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    pith_grpc_opts server;
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
        } else if (strcmp(name, "--max-text-bytes") == 0) {
            s->server.text_bytes_max = number;
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

static void *hurry(void *arg) {
    sigset_t set;
    int number;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigwait(&set, &number);
    pith_grpc_server_hurry(arg);
    return NULL;
}

static void serve(const settings *s, pith_grpc_server *server, const sigset_t *signals) {
    int number;
    (void)fprintf(stderr, "fake_pithd: listening on %s\n", pith_grpc_server_address(server));
    (void)sigwait(signals, &number);
    pthread_t second;
    bool watched = pthread_create(&second, NULL, hurry, server) == 0;
    size_t cut = pith_grpc_server_drain(server, s->drain_ms);
    if (watched) {
        (void)pthread_cancel(second);
        (void)pthread_join(second, NULL);
    }
    pith_engine_stats engine;
    pith_engine_read_stats(s->server.engine, &engine);
    pith_grpc_server_close(server);
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
    pith_grpc_server *server = NULL;
    pith_engine *engine = NULL;
    if (!read_settings(&s, argc, argv)) {
        (void)fprintf(stderr, "fake_pithd: unknown flag\n");
        return 2;
    }
    pith_status status = pith_engine_open(&engine, &s.engine, &err);
    s.server.engine = engine;
    if (status == PITH_OK) {
        status = pith_grpc_server_open(&server, &s.server, &err);
    }
    if (status == PITH_OK) {
        status = pith_grpc_server_start(server, &err);
    }
    if (status == PITH_OK) {
        serve(&s, server, &signals);
    } else {
        (void)fprintf(stderr, "fake_pithd: %s\n", err.text);
        pith_grpc_server_close(server);
    }
    pith_engine_close(engine);
    return status == PITH_OK ? 0 : 2;
}
