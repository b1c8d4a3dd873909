/* pithd: the server. Reads the options, opens the engine, serves until SIGTERM or SIGINT, drains.
 * SIGHUP reloads what can be reloaded.
 *
 * Exit codes: 0 drained, also when the grace ran out or a second signal cut calls (the log says how
 * many); 2 could not start, one line on stderr says why; 3 the device was lost and the calls in
 * flight were answered UNAVAILABLE. */
#include "runtime/base/log.h"
#include "runtime/engine/engine.h"
#include "server/access/certificates.h"
#include "server/access/keys.h"
#include "server/common/engine_options.h"
#include "server/common/options.h"
#include "server/grpc/server.h"
#include "server/http/http.h"
#include "server/observe/observe.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { EXIT_DRAINED = 0, EXIT_REFUSED = 2, EXIT_LOST = 3, LINE_BYTES = 2048 };

static int refuse(const pith_err *err) {
    (void)fprintf(stderr, "pithd: %s\n", err->text);
    return EXIT_REFUSED;
}

static void usage(void) {
    (void)printf("pithd: the Pith context-compression server\n\nusage: pithd [flags]\n\n"
                 "Each flag is also an environment variable (--max-jobs: PITH_MAX_JOBS) and a key "
                 "of --config FILE.yaml.\n\n");
    pith_options_help(PITH_CMD_SERVE, stdout);
}

/* Signals are blocked before any thread starts, so that every thread inherits the mask and only
 * sigwait sees them. SIGPIPE is ignored: a vanished peer is an error of its write. */
static void block_signals(sigset_t *set) {
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* What runs beside the engine. */
typedef struct doors {
    pith_engine *engine; /* NULL while it loads */
    pith_keys *keys;     /* NULL without --keys */
    pith_certificates *http_certificates;
    pith_certificates *certificates; /* NULL without --tls-cert */
    pith_observe *observe;
    pith_grpc_server *grpc;
    pith_http_server *http; /* NULL without --http */
} doors;

typedef struct impatience {
    sigset_t *signals;
    const doors *doors;
} impatience;

/* A second signal while the drain lasts: calls in flight are cut now. */
static void *watch_second_signal(void *arg) {
    const impatience *watch = arg;
    int number;
    (void)sigwait(watch->signals, &number);
    pith_log(PITH_LOG_WARN, "second signal: cutting the calls in flight");
    pith_grpc_server_hurry(watch->doors->grpc);
    if (watch->doors->http != NULL) {
        pith_http_hurry(watch->doors->http);
    }
    return NULL;
}

static pith_status profile_of(const char *name, pith_profile *profile, pith_err *err) {
    if (strcmp(name, "faithful") == 0) {
        *profile = PITH_PROFILE_FAITHFUL;
    } else if (strcmp(name, "kompress") == 0) {
        *profile = PITH_PROFILE_KOMPRESS;
    } else {
        return pith_fail(err, PITH_INVALID, "--http-profile: \"%.32s\" is not faithful|kompress",
                         name);
    }
    return PITH_OK;
}

static pith_status open_http(doors *d, const pith_options *options, pith_err *err) {
    pith_http_opts opts = {
        .listen = options->http,
        .observe = d->observe,
        .keys = d->keys,
        .certificates = d->http_certificates,
        .fold_repeats = options->fold_repeats,
        .text_bytes_max = options->max_text_bytes,
    };
    pith_status status = profile_of(options->http_profile, &opts.profile, err);
    if (status == PITH_OK && options->http != NULL) {
        status = pith_http_open(&d->http, &opts, err);
    }
    if (status == PITH_OK && d->http != NULL) {
        status = pith_http_start(d->http, err);
    }
    return status;
}

/* Everything that answers. The ports are bound, and say that nothing is served yet, before the
 * model is loaded, which takes long. */
static pith_status open_front(doors *d, const pith_options *options, pith_err *err) {
    pith_status status = PITH_OK;
    if (options->keys != NULL) {
        status = pith_keys_open(&d->keys, options->keys, err);
    }
    bool tls =
        options->tls_cert != NULL || options->tls_key != NULL || options->tls_client_ca != NULL;
    if (status == PITH_OK && tls) {
        const pith_certificate_files files = {.chain = options->tls_cert,
                                              .key = options->tls_key,
                                              .client_ca = options->tls_client_ca};
        status = pith_certificates_open(&d->certificates, &files, "h2", err);
        if (status == PITH_OK && options->http != NULL) {
            status = pith_certificates_open(&d->http_certificates, &files, "http/1.1", err);
        }
    }
    if (status == PITH_OK) {
        status = pith_observe_open(&d->observe, options->otlp, err);
    }
    pith_grpc_opts opts = {
        .listen = options->listen,
        .health_listen = options->health,
        .observe = d->observe,
        .certificates = d->certificates,
        .keys = d->keys,
        .text_bytes_max = options->max_text_bytes,
        .max_connections = options->max_connections,
        .fold_repeats = options->fold_repeats,
    };
    if (status == PITH_OK) {
        status = pith_grpc_server_open(&d->grpc, &opts, err);
    }
    if (status == PITH_OK) {
        status = pith_grpc_server_start(d->grpc, err);
    }
    return status == PITH_OK ? open_http(d, options, err) : status;
}

/* "VERB GRPC[, http on HTTP][, health on HEALTH]". */
static void announce(const doors *d, const char *verb) {
    const char *health = pith_grpc_server_health_address(d->grpc);
    pith_log(PITH_LOG_INFO, "%s %s%s%s%s%s", verb, pith_grpc_server_address(d->grpc),
             d->http == NULL ? "" : ", http on ", d->http == NULL ? "" : pith_http_address(d->http),
             health == NULL ? "" : ", health on ", health == NULL ? "" : health);
}

static pith_status open_doors(doors *d, const pith_options *options, pith_err *err) {
    pith_status status = open_front(d, options, err);
    if (status == PITH_OK) {
        announce(d, "loading; not yet serving on");
        status = pith_engine_open_with(&d->engine, options, err);
    }
    if (status == PITH_OK) {
        pith_observe_set_engine(d->observe, d->engine);
        pith_grpc_server_set_ready(d->grpc, d->engine);
        if (d->http != NULL) {
            pith_http_set_ready(d->http, d->engine);
        }
    }
    return status;
}

static void close_doors(doors *d) {
    pith_http_close(d->http);
    pith_grpc_server_close(d->grpc);
    pith_engine_close(d->engine);
    pith_observe_close(d->observe);
    pith_keys_close(d->keys);
    pith_certificates_close(d->certificates);
    pith_certificates_close(d->http_certificates);
}

static size_t drain_doors(const doors *d, uint32_t grace_ms) {
    int64_t began = pith_clock_now(&pith_clock_system);
    pith_observe_set_draining(d->observe);
    if (d->http != NULL) {
        pith_http_lame_duck(d->http);
    }
    size_t cut = pith_grpc_server_drain(d->grpc, grace_ms);
    if (d->http != NULL) {
        int64_t used_ms = (pith_clock_now(&pith_clock_system) - began) / 1000000;
        cut += pith_http_drain(d->http, used_ms < grace_ms ? grace_ms - (uint32_t)used_ms : 0);
    }
    return cut;
}

static void report(const char *what, pith_status status, const pith_err *err) {
    if (status == PITH_OK) {
        pith_log(PITH_LOG_INFO, "hangup: %s read again", what);
    } else {
        pith_log(PITH_LOG_ERROR, "hangup: the old %s stay: %s", what, err->text);
    }
}

/* SIGHUP: each thing that can be read again is replaced at once, or stays as it was where the new
 * one cannot be used. */
static void reload(const doors *d, const pith_options *options) {
    pith_err err;
    report("patterns and thresholds", pith_engine_reload_with(d->engine, options, &err), &err);
    if (d->keys != NULL) {
        report("keys", pith_keys_reload(d->keys, &err), &err);
    }
    if (d->certificates != NULL) {
        report("certificates", pith_certificates_reload(d->certificates, &err), &err);
    }
    if (d->http_certificates != NULL) {
        report("certificates of HTTP", pith_certificates_reload(d->http_certificates, &err), &err);
    }
}

/* The signal that ends the server, or 0: the device is lost, which is looked for four times a
 * second. */
static int wait_for_end(const doors *d, const pith_options *options, const sigset_t *signals) {
    const struct timespec quarter = {.tv_nsec = 250 * 1000 * 1000};
    for (;;) {
        int number = sigtimedwait(signals, NULL, &quarter);
        if (number == SIGHUP) {
            reload(d, options);
        } else if (number > 0) {
            return number;
        } else if (pith_engine_check(d->engine) == PITH_ENGINE_FAULTED) {
            return 0;
        }
    }
}

static int serve(const pith_options *options, sigset_t *signals) {
    pith_err err;
    doors d = {0};
    if (open_doors(&d, options, &err) != PITH_OK) {
        close_doors(&d);
        return refuse(&err);
    }
    announce(&d, "listening on");
    int number = wait_for_end(&d, options, signals);
    (void)sigdelset(signals, SIGHUP); /* of those that hurry the drain */
    pith_log(number == 0 ? PITH_LOG_ERROR : PITH_LOG_INFO, "%s: draining for up to %u ms",
             number == 0 ? "the device is lost" : strsignal(number), options->drain_ms);
    impatience watch = {.signals = signals, .doors = &d};
    pthread_t watcher;
    bool watched = pthread_create(&watcher, NULL, watch_second_signal, &watch) == 0;
    int64_t began = pith_clock_now(&pith_clock_system);
    size_t cut = drain_doors(&d, options->drain_ms);
    if (watched) {
        (void)pthread_cancel(watcher);
        (void)pthread_join(watcher, NULL);
    }
    close_doors(&d);
    pith_log(cut > 0 ? PITH_LOG_WARN : PITH_LOG_INFO, "drained in %.3f s, %zu calls cut",
             (double)(pith_clock_now(&pith_clock_system) - began) * 1e-9, cut);
    return number == 0 ? EXIT_LOST : EXIT_DRAINED;
}

int main(int argc, char **argv) {
    pith_options options;
    pith_err err;
    sigset_t signals;
    block_signals(&signals);
    pith_status status = pith_options_read(&options, PITH_CMD_SERVE, argc, argv, &err);
    if (status == PITH_OK) {
        status = pith_apply_log(&options, &err);
    }
    if (status == PITH_OK && options.n_operands > 0) {
        status =
            pith_fail(&err, PITH_INVALID, "unexpected argument \"%.128s\"", options.operands[0]);
    }
    if (status != PITH_OK) {
        pith_options_free(&options);
        return refuse(&err);
    }
    int code = EXIT_DRAINED;
    if (options.help_page) {
        pith_options_page(stdout);
    } else if (options.help) {
        usage();
    } else if (options.version) {
        (void)puts("pithd " PITH_VERSION);
    } else {
        char line[LINE_BYTES];
        pith_options_describe(&options, PITH_CMD_SERVE, line, sizeof line);
        pith_log(PITH_LOG_INFO, "pithd %s%s", PITH_VERSION, line);
        code = serve(&options, &signals);
    }
    pith_options_free(&options);
    return code;
}
