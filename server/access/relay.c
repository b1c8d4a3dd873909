#include "server/access/relay.h"

#include "runtime/base/clock.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 16384, /* one TLS record, RFC 8446 section 5.1 */
    EVENTS_MAX = 64,
    ROUNDS_MAX = 32, /* buffers that one connection moves before others have their turn */
    SWEEP_MS = 1000,
    STOP_STEP_MS = 10,
    FLUSH_MS = 1000 /* at close, for what the plain side has sent last */
};

#define MS_NS        INT64_C(1000000)
#define HANDSHAKE_NS (10000 * MS_NS)
#define ID_WAKE      UINT64_MAX

/* Bytes on their way in one direction. */
typedef struct pipe_buffer {
    uint8_t *bytes; /* [BUFFER_BYTES] */
    size_t at;
    size_t end;
    bool finished; /* no more will be read */
    bool passed;   /* and that has been passed on */
} pipe_buffer;

typedef struct tls_link {
    bool used;
    bool again;  /* has more to do without waiting */
    bool queued; /* in todo */
    int outer;   /* the peer's socket */
    int inner;   /* our end of the pair; -1 until the handshake is done */
    uint32_t generation;
    uint32_t next_free; /* slot + 1 */
    SSL *ssl;
    int64_t born_ns;
    pipe_buffer in;  /* peer to plain side */
    pipe_buffer out; /* plain side to peer */
} tls_link;

struct pith_relay {
    pith_certificates *certificates;
    pith_relay_ready ready;
    void *arg;
    int epoll;
    int wake;
    pthread_t thread;
    bool running;
    uint32_t links_max;
    tls_link *links; /* [links_max]; the relay's thread, but for taking a free one */
    uint64_t *todo;  /* [2 * links_max] ids of links with more to do; the relay's thread */
    uint32_t n_todo;

    pthread_mutex_t mutex; /* guards everything below, and a link's step from free to used */
    uint32_t free_head;
    pith_relay_stats stats;
    bool stop;
};

/* --- links -------------------------------------------------------------------------------- */

static uint64_t id_of(const pith_relay *r, const tls_link *l) {
    return (uint64_t)l->generation << 32 | (uint64_t)(l - r->links);
}

/* Both descriptors are watched for every change; an event says only: look. */
static bool watch(const pith_relay *r, const tls_link *l, int fd) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u64 = id_of(r, l)};
    return epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void drop(pith_relay *r, tls_link *l) {
    SSL_free(l->ssl);
    (void)close(l->outer);
    if (l->inner >= 0) {
        (void)close(l->inner);
    }
    free(l->in.bytes);
    free(l->out.bytes);
    (void)pthread_mutex_lock(&r->mutex);
    r->stats.open--;
    r->stats.handshakes_failed += l->inner < 0;
    uint32_t generation = l->generation + 1;
    *l = (tls_link){.generation = generation, .outer = -1, .inner = -1, .next_free = r->free_head};
    r->free_head = (uint32_t)(l - r->links) + 1;
    (void)pthread_mutex_unlock(&r->mutex);
}

bool pith_relay_add(pith_relay *r, int fd) {
    SSL *ssl = pith_certificates_begin(r->certificates);
    uint8_t *in = malloc(BUFFER_BYTES);
    uint8_t *out = malloc(BUFFER_BYTES);
    bool good = ssl != NULL && in != NULL && out != NULL && SSL_set_fd(ssl, fd) == 1;
    tls_link *l = NULL;
    (void)pthread_mutex_lock(&r->mutex);
    if (good && r->free_head != 0 && !r->stop) {
        l = &r->links[r->free_head - 1];
        r->free_head = l->next_free;
        SSL_set_accept_state(ssl);
        *l = (tls_link){.used = true,
                        .outer = fd,
                        .inner = -1,
                        .generation = l->generation,
                        .ssl = ssl,
                        .born_ns = pith_clock_now(&pith_clock_system),
                        .in.bytes = in,
                        .out.bytes = out};
        r->stats.open++;
        if (!watch(r, l, fd)) { /* nobody has seen it: the thread learns of links by events */
            l->used = false;
            l->generation++;
            l->next_free = r->free_head;
            r->free_head = (uint32_t)(l - r->links) + 1;
            r->stats.open--;
            l = NULL;
        }
    }
    (void)pthread_mutex_unlock(&r->mutex);
    if (l == NULL) {
        SSL_free(ssl);
        free(in);
        free(out);
        (void)close(fd);
    }
    return l != NULL;
}

/* --- bytes -------------------------------------------------------------------------------- */

typedef enum moved { MOVED_NOTHING, MOVED_SOME, MOVED_LAST } moved;

/* What an OpenSSL call that returned `rc` <= 0 means. */
static moved ssl_outcome(const tls_link *l, int rc) {
    int error = SSL_get_error(l->ssl, rc);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? MOVED_NOTHING
                                                                         : MOVED_LAST;
}

static moved socket_outcome(ssize_t rc) {
    bool wait = rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    return wait ? MOVED_NOTHING : MOVED_LAST;
}

static void begin_buffer(pipe_buffer *b, size_t n) {
    b->at = 0;
    b->end = n;
}

static moved fill_from_peer(tls_link *l) {
    int n = SSL_read(l->ssl, l->in.bytes, BUFFER_BYTES);
    if (n > 0) {
        begin_buffer(&l->in, (size_t)n);
        return MOVED_SOME;
    }
    return ssl_outcome(l, n);
}

static moved fill_from_plain(tls_link *l) {
    ssize_t n = recv(l->inner, l->out.bytes, BUFFER_BYTES, MSG_DONTWAIT);
    if (n > 0) {
        begin_buffer(&l->out, (size_t)n);
        return MOVED_SOME;
    }
    return socket_outcome(n);
}

static moved empty_to_plain(tls_link *l) {
    ssize_t n =
        send(l->inner, l->in.bytes + l->in.at, l->in.end - l->in.at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        l->in.at += (size_t)n;
        return MOVED_SOME;
    }
    return socket_outcome(n);
}

static moved empty_to_peer(tls_link *l) {
    int n = SSL_write(l->ssl, l->out.bytes + l->out.at, (int)(l->out.end - l->out.at));
    if (n > 0) {
        l->out.at += (size_t)n;
        return MOVED_SOME;
    }
    return ssl_outcome(l, n);
}

/* One direction, one step. False when the connection is over. */
static bool step(tls_link *l, pipe_buffer *b, moved (*fill)(tls_link *l),
                 moved (*empty)(tls_link *l), bool *progress) {
    if (b->at == b->end && !b->finished) {
        moved got = fill(l);
        b->finished = got == MOVED_LAST;
        *progress = *progress || got != MOVED_NOTHING;
    }
    if (b->at < b->end) {
        moved put = empty(l);
        *progress = *progress || put == MOVED_SOME;
        return put != MOVED_LAST;
    }
    return true;
}

/* Passes the end of a direction on. False when both have ended. */
static bool pass_ends(tls_link *l) {
    if (l->in.finished && l->in.at == l->in.end && !l->in.passed) {
        l->in.passed = true;
        (void)shutdown(l->inner, SHUT_WR);
    }
    if (l->out.finished && l->out.at == l->out.end && !l->out.passed) {
        l->out.passed = true;
        (void)SSL_shutdown(l->ssl); /* close_notify; the plain side has closed: nothing follows */
        ERR_clear_error();
        return false;
    }
    return true;
}

/* Moves what can be moved. False when the connection is over. */
static bool pump(tls_link *l) {
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool progress = false;
        if (!step(l, &l->in, fill_from_peer, empty_to_plain, &progress) ||
            !step(l, &l->out, fill_from_plain, empty_to_peer, &progress) || !pass_ends(l)) {
            return false;
        }
        if (!progress) {
            l->again = false;
            return true;
        }
    }
    l->again = true;
    return true;
}

/* --- the thread --------------------------------------------------------------------------- */

/* The handshake is done: the plain bytes get their pair. */
static bool join_plain(pith_relay *r, tls_link *l) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        return false;
    }
    l->inner = pair[0];
    if (!watch(r, l, pair[0])) {
        (void)close(pair[1]);
        return false;
    }
    r->ready(r->arg, pair[1]);
    return true;
}

static bool advance(pith_relay *r, tls_link *l) {
    if (l->inner < 0) {
        int rc = SSL_do_handshake(l->ssl);
        if (rc != 1) {
            return ssl_outcome(l, rc) == MOVED_NOTHING;
        }
        if (!join_plain(r, l)) {
            return false;
        }
    }
    return pump(l);
}

/* Handshakes that take too long. The list of links grows under the mutex; a used one is ours. */
static void sweep(pith_relay *r, int64_t now) {
    for (uint32_t i = 0; i < r->links_max; i++) {
        tls_link *l = &r->links[i];
        (void)pthread_mutex_lock(&r->mutex);
        bool late = l->used && l->inner < 0 && now - l->born_ns > HANDSHAKE_NS;
        (void)pthread_mutex_unlock(&r->mutex);
        if (late) {
            drop(r, l);
        }
    }
}

static tls_link *by_id(pith_relay *r, uint64_t id) {
    tls_link *l = &r->links[(uint32_t)id];
    (void)pthread_mutex_lock(&r->mutex);
    bool here = l->used && l->generation == (uint32_t)(id >> 32);
    (void)pthread_mutex_unlock(&r->mutex);
    return here ? l : NULL;
}

static bool asked_to_stop(pith_relay *r) {
    (void)pthread_mutex_lock(&r->mutex);
    bool stop = r->stop;
    (void)pthread_mutex_unlock(&r->mutex);
    return stop;
}

static bool anybody_open(pith_relay *r) {
    pith_relay_stats stats;
    pith_relay_read_stats(r, &stats);
    return stats.open > 0;
}

/* Has a link do what it can. */
static void run(pith_relay *r, tls_link *l) {
    if (!advance(r, l)) {
        drop(r, l);
    } else if (l->again && !l->queued) {
        l->queued = true;
        r->todo[r->n_todo++] = id_of(r, l); /* once each, so there is room */
    }
}

/* One more turn for those that were cut short. */
static void go_on(pith_relay *r) {
    uint32_t n = r->n_todo;
    for (uint32_t i = 0; i < n; i++) {
        tls_link *l = by_id(r, r->todo[i]);
        if (l != NULL) {
            l->queued = false;
            run(r, l);
        }
    }
    memmove(r->todo, r->todo + n, (r->n_todo - n) * sizeof *r->todo);
    r->n_todo -= n;
}

static void *relay_loop(void *arg) {
    pith_relay *r = arg;
    int64_t swept = pith_clock_now(&pith_clock_system);
    int64_t stop_ns = 0;
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int wait_ms = stop_ns != 0 ? STOP_STEP_MS : SWEEP_MS;
        int n = epoll_wait(r->epoll, events, EVENTS_MAX, r->n_todo > 0 ? 0 : wait_ms);
        go_on(r);
        for (int i = 0; i < n; i++) {
            tls_link *l = events[i].data.u64 == ID_WAKE ? NULL : by_id(r, events[i].data.u64);
            if (l != NULL) {
                run(r, l);
            }
        }
        int64_t now = pith_clock_now(&pith_clock_system);
        if (now - swept > SWEEP_MS * MS_NS) {
            swept = now;
            sweep(r, now);
        }
        if (stop_ns == 0 && asked_to_stop(r)) {
            stop_ns = now;
        }
        if (stop_ns != 0 && (!anybody_open(r) || now - stop_ns > FLUSH_MS * MS_NS)) {
            return NULL;
        }
    }
}

/* --- open and close ------------------------------------------------------------------------ */

static pith_status open_watch(pith_relay *r, pith_err *err) {
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.u64 = ID_WAKE};
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->epoll < 0 || r->wake < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->wake, &wake) != 0) {
        return pith_fail(err, PITH_IO, "cannot watch TLS connections: %s", strerror(errno));
    }
    int rc = pthread_create(&r->thread, NULL, relay_loop, r);
    if (rc != 0) {
        return pith_fail(err, PITH_IO, "cannot start the TLS thread: %s", strerror(rc));
    }
    (void)pthread_setname_np(r->thread, "pith-tls");
    r->running = true;
    return PITH_OK;
}

pith_status pith_relay_open(pith_relay **relay, pith_certificates *certificates,
                            uint32_t connections_max, pith_relay_ready ready, void *arg,
                            pith_err *err) {
    *relay = NULL;
    pith_relay *r = calloc(1, sizeof *r);
    tls_link *links = calloc(connections_max, sizeof *links);
    /* A stale id may still be in the list when its link is used and queued again. */
    uint64_t *todo = calloc(2 * (size_t)connections_max, sizeof *todo);
    if (r == NULL || links == NULL || todo == NULL) {
        free(r);
        free(links);
        free(todo);
        return pith_fail(err, PITH_NO_MEMORY, "no memory for %u TLS connections", connections_max);
    }
    *r = (pith_relay){.certificates = certificates,
                      .ready = ready,
                      .arg = arg,
                      .epoll = -1,
                      .wake = -1,
                      .links_max = connections_max,
                      .links = links,
                      .todo = todo};
    (void)pthread_mutex_init(&r->mutex, NULL);
    for (uint32_t i = connections_max; i-- > 0;) {
        links[i] = (tls_link){.outer = -1, .inner = -1, .next_free = r->free_head};
        r->free_head = i + 1;
    }
    pith_status status = open_watch(r, err);
    if (status != PITH_OK) {
        pith_relay_close(r);
        return status;
    }
    *relay = r;
    return PITH_OK;
}

void pith_relay_read_stats(pith_relay *r, pith_relay_stats *stats) {
    (void)pthread_mutex_lock(&r->mutex);
    *stats = r->stats;
    (void)pthread_mutex_unlock(&r->mutex);
}

void pith_relay_close(pith_relay *r) {
    if (r == NULL) {
        return;
    }
    if (r->running) {
        uint64_t one = 1;
        (void)pthread_mutex_lock(&r->mutex);
        r->stop = true;
        (void)pthread_mutex_unlock(&r->mutex);
        ssize_t ignored = write(r->wake, &one, sizeof one);
        (void)ignored; /* an eventfd at zero takes one */
        (void)pthread_join(r->thread, NULL);
    }
    for (uint32_t i = 0; i < r->links_max; i++) {
        if (r->links[i].used) {
            drop(r, &r->links[i]);
        }
    }
    if (r->epoll >= 0) {
        (void)close(r->epoll);
    }
    if (r->wake >= 0) {
        (void)close(r->wake);
    }
    (void)pthread_mutex_destroy(&r->mutex);
    free(r->links);
    free(r->todo);
    free(r);
}
