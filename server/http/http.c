#include "server/http/http.h"

#include "server/grpc/listen.h"
#include "server/http/http_internal.h"
#include "server/observe/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    TEXT_BYTES_DEFAULT = 16 * 1024 * 1024,
    CONNECTIONS_DEFAULT = 256,
    /* One connection's request line, headers and read buffer; a longer header block is 431. */
    CONNECTION_BYTES = 64 * 1024,
    SILENCE_SECONDS = 20, /* a connection on which nothing moves */
    DRAIN_ROUND_MS = 100,
    SENT_ROUNDS = 100, /* two seconds for answers on their way */
    SENT_ROUND_US = 20000
};

#define SECOND_NS          INT64_C(1000000000)
#define RECEIVE_DEFAULT_NS (30 * SECOND_NS)
#define SEND_DEFAULT_NS    (60 * SECOND_NS)
#define ANSWER_DEFAULT_NS  (20 * SECOND_NS)

/* --- what the daemon calls, on its thread ------------------------------------------------- */

static void unlink_conn(pith_http_server *server, pith_http_conn *conn) {
    if (conn->prev != NULL) {
        conn->prev->next = conn->next;
    } else {
        server->conns = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    server->n_conns--;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    pith_http_server *server = arg;
    pith_http_conn *conn = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        conn = info == NULL ? NULL : calloc(1, sizeof *conn);
        if (conn == NULL) {
            return; /* served without a watch */
        }
        conn->server = server;
        conn->fd = info->connect_fd;
        conn->since_ns = pith_clock_now(&pith_clock_system);
        *context = conn;
    }
    if (conn == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&server->mutex);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        conn->next = server->conns;
        if (conn->next != NULL) {
            conn->next->prev = conn;
        }
        server->conns = conn;
        server->n_conns++;
    } else {
        unlink_conn(server, conn);
    }
    (void)pthread_mutex_unlock(&server->mutex);
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        *context = NULL;
        free(conn);
    }
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode how) {
    (void)arg;
    (void)connection;
    (void)how;
    pith_http_exchange *ex = *state;
    *state = NULL;
    if (ex != NULL) {
        pith_http_set_phase(ex, PITH_HTTP_RECEIVING);
        pith_http_exchange_unref(ex);
    }
}

/* True when the headers alone say that the body is over the bound. */
static bool announces_too_much(const pith_http_exchange *ex) {
    const char *text =
        MHD_lookup_connection_value(ex->connection, MHD_HEADER_KIND, "Content-Length");
    errno = 0;
    unsigned long long len = text == NULL ? 0 : strtoull(text, NULL, 10);
    return errno != 0 || len > pith_http_body_bytes_max(ex->server);
}

static bool is_compress(const char *method, const char *url) {
    return strcmp(url, "/compress") == 0 && strcmp(method, MHD_HTTP_METHOD_POST) == 0;
}

/* The request is whole. Everything but a compression is answered at once. */
static void answer_page(pith_http_exchange *ex, const char *method, const char *url) {
    bool no_metrics = ex->server->opts.observe == NULL && strcmp(url, "/metrics") == 0;
    if (strcmp(url, "/compress") == 0) {
        pith_http_answer_text(&ex->answer, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed\n");
        ex->answer.allow = "POST";
    } else if (no_metrics || !pith_http_page(ex, method, url)) {
        pith_http_answer_text(&ex->answer, MHD_HTTP_NOT_FOUND, "not found\n");
    }
}

/* The headers are here. A body without a key, or announced too long, is not waited for; the daemon
 * closes the connection after such an early answer. */
static enum MHD_Result begin(pith_http_server *server, struct MHD_Connection *connection,
                             const char *method, const char *url, void **state) {
    pith_http_exchange *ex = pith_http_exchange_new(server, connection);
    if (ex == NULL) {
        return MHD_NO;
    }
    *state = ex;
    ex->ignores_body = !is_compress(method, url);
    bool needs_key = !ex->ignores_body || strcmp(url, "/v1/models") == 0;
    if (needs_key && !pith_http_admit(ex)) {
        ex->whole = true;
        return pith_http_send(ex);
    }
    ex->too_large = announces_too_much(ex);
    if (!ex->too_large) {
        return MHD_YES;
    }
    ex->whole = true;
    pith_http_compress(ex);
    return pith_http_send(ex);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **state) {
    (void)version;
    pith_http_exchange *ex = *state;
    if (ex == NULL) {
        return begin(arg, connection, method, url, state);
    }
    if (*len > 0) {
        if (!ex->ignores_body) {
            pith_http_exchange_append(ex, data, *len);
        }
        *len = 0;
        return MHD_YES;
    }
    if (!ex->whole) {
        ex->whole = true;
        if (ex->ignores_body) {
            answer_page(ex, method, url);
        } else {
            pith_http_compress(ex);
        }
        if (ex->suspended) {
            return MHD_YES; /* this is called again when the connection has been resumed */
        }
    }
    return pith_http_send(ex);
}

/* --- life --------------------------------------------------------------------------------- */

static void set_defaults(pith_http_opts *o) {
    o->text_bytes_max = o->text_bytes_max == 0 ? TEXT_BYTES_DEFAULT : o->text_bytes_max;
    o->max_connections = o->max_connections == 0 ? CONNECTIONS_DEFAULT : o->max_connections;
    o->receive_ns = o->receive_ns == 0 ? RECEIVE_DEFAULT_NS : o->receive_ns;
    o->send_ns = o->send_ns == 0 ? SEND_DEFAULT_NS : o->send_ns;
    o->answer_ns = o->answer_ns == 0 ? ANSWER_DEFAULT_NS : o->answer_ns;
}

/* Our part of the page of metrics. */
static void write_metrics(void *arg, FILE *out) {
    pith_http_stats s;
    pith_http_read_stats(arg, &s);
    pith_metric_gauge(out, "pith_http_connections", "Open HTTP connections.",
                      (double)s.connections);
    pith_metric_counter(out, "pith_http_connections_cut_total", "HTTP connections cut as too slow.",
                        s.connections_cut);
    pith_metric_gauge(out, "pith_http_waiting", "HTTP requests that wait for the engine.",
                      (double)s.waiting);
    pith_metric_counter(out, "pith_http_peers_gone_total",
                        "HTTP peers that left before their answer.", s.gone);
}

pith_status pith_http_open(pith_http_server **server, const pith_http_opts *opts, pith_err *err) {
    *server = NULL;
    pith_http_server *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the HTTP port");
    }
    made->opts = *opts;
    set_defaults(&made->opts);
    atomic_init(&made->engine, opts->engine);
    made->listen_fd = -1;
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_mutex_init(&made->relay_mutex, NULL);
    (void)pthread_cond_init(&made->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    pith_status status = pith_listen(opts->listen, &made->listen_fd, &made->port, made->address,
                                     sizeof made->address, err);
    if (status == PITH_OK && opts->observe != NULL &&
        !pith_observe_add_source(opts->observe, write_metrics, made)) {
        status = pith_fail(err, PITH_EXHAUSTED, "no room for another source of metrics");
    }
    if (status != PITH_OK) {
        pith_http_close(made);
        return status;
    }
    *server = made;
    return PITH_OK;
}

pith_status pith_http_start(pith_http_server *server, pith_err *err) {
    bool tls = server->opts.certificates != NULL;
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
                           (tls ? MHD_USE_NO_LISTEN_SOCKET : 0);
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)server->opts.max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_SECONDS,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        tls ? MHD_OPTION_END : MHD_OPTION_LISTEN_SOCKET, server->listen_fd, MHD_OPTION_END);
    if (server->daemon == NULL) {
        return pith_fail(err, PITH_IO, "cannot serve HTTP on %s: %s", server->address,
                         strerror(errno));
    }
    if (!tls) {
        server->listen_fd = -1;
    }
    pith_status status = pith_http_watch_start(server, err);
    return status == PITH_OK && tls ? pith_http_tls_start(server, err) : status;
}

void pith_http_set_ready(pith_http_server *server, pith_engine *engine) {
    atomic_store_explicit(&server->engine, engine, memory_order_release);
}

const char *pith_http_address(const pith_http_server *server) {
    return server->address;
}

uint16_t pith_http_port(const pith_http_server *server) {
    return server->port;
}

void pith_http_read_stats(pith_http_server *server, pith_http_stats *stats) {
    (void)pthread_mutex_lock(&server->mutex);
    *stats = (pith_http_stats){
        .connections = server->n_conns,
        .connections_cut = server->cut,
        .waiting = server->waiting,
        .gone = server->gone,
    };
    (void)pthread_mutex_unlock(&server->mutex);
}

/* Waits until no exchange waits for the engine, `until_ns`, or hurried. */
static bool wait_idle(pith_http_server *server, int64_t until_ns) {
    (void)pthread_mutex_lock(&server->mutex);
    while (server->waiting > 0 && !server->hurry && pith_clock_now(&pith_clock_system) < until_ns) {
        struct timespec at;
        (void)clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_nsec += DRAIN_ROUND_MS * 1000000;
        at.tv_sec += at.tv_nsec / 1000000000;
        at.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&server->changed, &server->mutex, &at);
    }
    bool idle = server->waiting == 0;
    (void)pthread_mutex_unlock(&server->mutex);
    return idle;
}

void pith_http_lame_duck(pith_http_server *server) {
    atomic_store(&server->lame_duck, true);
}

size_t pith_http_drain(pith_http_server *server, uint32_t grace_ms) {
    atomic_store(&server->draining, true);
    pith_http_tls_stop_accepting(server);
    if (server->daemon != NULL && server->listen_fd < 0) {
        /* The poll thread may be about to look at the socket once more: shut it, close it at the
         * end. A listening socket that is shut refuses connections (Linux). */
        server->listen_fd = MHD_quiesce_daemon(server->daemon);
        if (server->listen_fd >= 0) {
            (void)shutdown(server->listen_fd, SHUT_RD);
        }
    } else if (server->listen_fd >= 0) {
        (void)shutdown(server->listen_fd, SHUT_RD); /* ours, and nobody looks at it any more */
    }
    int64_t until = pith_clock_now(&pith_clock_system) + (int64_t)grace_ms * 1000000;
    return wait_idle(server, until) ? 0 : pith_http_cancel_all(server);
}

void pith_http_hurry(pith_http_server *server) {
    (void)pthread_mutex_lock(&server->mutex);
    server->hurry = true;
    (void)pthread_cond_broadcast(&server->changed);
    (void)pthread_mutex_unlock(&server->mutex);
}

/* Waits until every answer is with its peer's kernel, for a moment: the daemon drops what is not.
 */
static void wait_sent(pith_http_server *server) {
    bool sent = false;
    for (int round = 0; round < SENT_ROUNDS && !sent; round++) {
        sent = true;
        (void)pthread_mutex_lock(&server->mutex);
        for (const pith_http_conn *at = server->conns; at != NULL; at = at->next) {
            sent = sent && at->phase == PITH_HTTP_RECEIVING;
        }
        (void)pthread_mutex_unlock(&server->mutex);
        if (!sent) {
            (void)usleep(SENT_ROUND_US);
        }
    }
}

void pith_http_close(pith_http_server *server) {
    if (server == NULL) {
        return;
    }
    if (server->daemon != NULL) {
        (void)pith_http_drain(server, 0);
        /* The engine answers every job; a daemon must not stop before its connections are resumed.
         */
        server->hurry = false;
        (void)wait_idle(server, INT64_MAX);
        wait_sent(server);
        pith_http_watch_stop(server);
        pith_http_tls_end(server);
        MHD_stop_daemon(server->daemon);
    }
    pith_relay_close(server->relay);
    if (server->listen_fd >= 0) {
        (void)close(server->listen_fd);
    }
    (void)pthread_cond_destroy(&server->changed);
    (void)pthread_mutex_destroy(&server->mutex);
    (void)pthread_mutex_destroy(&server->relay_mutex);
    free(server);
}
