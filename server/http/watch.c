/* The thread that watches connections: cuts the slow, cancels for those that have gone; and looks
 * at the certificates' files.
 *
 * The daemon's own time limit is one of silence, so a byte now and then defeats it; and it does not
 * look at a connection that is suspended. */
#include "runtime/base/log.h"
#include "server/http/http_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { ROUND_MS = 200 };

/* A suspended connection that is looked at. */
typedef struct look {
    pith_http_conn *conn; /* compared, not followed, until it is found in the list again */
    pith_http_exchange *exchange;
} look;

/* Mutex held. */
static void cut_slow(pith_http_server *server, pith_http_conn *conn, int64_t now) {
    int64_t limit = conn->phase == PITH_HTTP_RECEIVING ? server->opts.receive_ns
                    : conn->phase == PITH_HTTP_SENDING ? server->opts.send_ns
                                                       : INT64_MAX;
    if (!conn->cut && now - conn->since_ns > limit) {
        conn->cut = true;
        server->cut++;
        (void)shutdown(conn->fd, SHUT_RDWR); /* the daemon sees it and closes */
    }
}

/* Fills fds and looks [max]; returns how many. Mutex held. */
static size_t survey(pith_http_server *server, struct pollfd *fds, look *looks, size_t max) {
    int64_t now = pith_clock_now(&pith_clock_system);
    size_t n = 0;
    for (pith_http_conn *at = server->conns; at != NULL; at = at->next) {
        cut_slow(server, at, now);
        if (at->phase == PITH_HTTP_WAITING && at->exchange != NULL && at->exchange->job != NULL &&
            n < max) {
            fds[n] = (struct pollfd){.fd = at->fd, .events = POLLRDHUP};
            looks[n++] = (look){.conn = at, .exchange = at->exchange};
        }
    }
    return n;
}

static void cancel(pith_http_exchange *ex) {
    pith_job_cancel(ex->job);
    pith_http_exchange_unref(ex);
}

/* Cancels without the mutex: the engine may answer on the spot. */
static void cancel_gone(pith_http_server *server, const look *gone) {
    pith_http_exchange *found = NULL;
    (void)pthread_mutex_lock(&server->mutex);
    for (pith_http_conn *at = server->conns; at != NULL && found == NULL; at = at->next) {
        if (at == gone->conn && at->exchange == gone->exchange) {
            found = at->exchange;
            at->exchange = NULL; /* cancelled once */
            pith_http_exchange_ref(found);
            server->gone++;
        }
    }
    (void)pthread_mutex_unlock(&server->mutex);
    if (found != NULL) {
        cancel(found);
    }
}

size_t pith_http_cancel_all(pith_http_server *server) {
    size_t n = 0;
    for (;;) {
        pith_http_exchange *found = NULL;
        (void)pthread_mutex_lock(&server->mutex);
        for (pith_http_conn *at = server->conns; at != NULL && found == NULL; at = at->next) {
            if (at->exchange != NULL && at->exchange->job != NULL) {
                found = at->exchange;
                at->exchange = NULL;
                pith_http_exchange_ref(found);
            }
        }
        (void)pthread_mutex_unlock(&server->mutex);
        if (found == NULL) {
            return n;
        }
        cancel(found);
        n++;
    }
}

static void *watch_loop(void *arg) {
    pith_http_server *server = arg;
    size_t max = server->opts.max_connections;
    struct pollfd *fds = calloc(max, sizeof *fds);
    look *looks = calloc(max, sizeof *looks);
    bool stop = fds == NULL || looks == NULL;
    if (stop) {
        pith_log(PITH_LOG_ERROR, "http: no memory to watch connections");
    }
    while (!stop) {
        (void)pthread_mutex_lock(&server->mutex);
        stop = server->stop;
        size_t n = stop ? 0 : survey(server, fds, looks, max);
        (void)pthread_mutex_unlock(&server->mutex);
        pith_certificates_look(server->opts.certificates, pith_clock_now(&pith_clock_system));
        int ready = stop ? 0 : poll(fds, n, ROUND_MS);
        for (size_t i = 0; i < n && ready > 0; i++) {
            if (fds[i].revents != 0) {
                cancel_gone(server, &looks[i]);
            }
        }
    }
    free(fds);
    free(looks);
    return NULL;
}

pith_status pith_http_watch_start(pith_http_server *server, pith_err *err) {
    int code = pthread_create(&server->watcher, NULL, watch_loop, server);
    if (code != 0) {
        return pith_fail(err, PITH_IO, "cannot start a thread: %s", strerror(code));
    }
    (void)pthread_setname_np(server->watcher, "pith-http");
    server->watching = true;
    return PITH_OK;
}

void pith_http_watch_stop(pith_http_server *server) {
    if (!server->watching) {
        return;
    }
    (void)pthread_mutex_lock(&server->mutex);
    server->stop = true;
    (void)pthread_mutex_unlock(&server->mutex);
    (void)pthread_join(server->watcher, NULL);
    server->watching = false;
}
