/* The port with TLS: an accept loop in front of the relay, which hands plain sockets to the daemon.
 */
#include "server/http/http_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUND_MS = 200 };

/* On the relay's thread: one end of a socket pair, which the daemon owns from here on. */
static void on_plain(void *arg, int fd) {
    pith_http_server *server = arg;
    const struct sockaddr_in nowhere = {.sin_family = AF_INET};
    (void)pthread_mutex_lock(&server->relay_mutex);
    if (server->relay_over) {
        (void)close(fd);
    } else {
        (void)MHD_add_connection(server->daemon, fd, (const struct sockaddr *)&nowhere,
                                 sizeof nowhere); /* closes it where there is no room */
    }
    (void)pthread_mutex_unlock(&server->relay_mutex);
}

static void *accept_loop(void *arg) {
    pith_http_server *server = arg;
    struct pollfd listening = {.fd = server->listen_fd, .events = POLLIN};
    while (!atomic_load(&server->draining)) {
        if (poll(&listening, 1, ROUND_MS) <= 0) {
            continue;
        }
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            (void)pith_relay_add(server->relay, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            (void)poll(NULL, 0, ROUND_MS); /* descriptors come back when connections end */
        }
    }
    return NULL;
}

pith_status pith_http_tls_start(pith_http_server *server, pith_err *err) {
    pith_status status = pith_relay_open(&server->relay, server->opts.certificates,
                                         server->opts.max_connections, on_plain, server, err);
    if (status != PITH_OK) {
        return status;
    }
    int code = pthread_create(&server->accepter, NULL, accept_loop, server);
    if (code != 0) {
        return pith_fail(err, PITH_IO, "cannot start a thread: %s", strerror(code));
    }
    (void)pthread_setname_np(server->accepter, "pith-https");
    server->accepting = true;
    return PITH_OK;
}

void pith_http_tls_stop_accepting(pith_http_server *server) {
    if (server->accepting) {
        (void)pthread_join(server->accepter, NULL);
        server->accepting = false;
    }
}

void pith_http_tls_end(pith_http_server *server) {
    (void)pthread_mutex_lock(&server->relay_mutex);
    server->relay_over = true;
    (void)pthread_mutex_unlock(&server->relay_mutex);
}
