#include "server/grpc/accept.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "server/access/relay.h"
#include "server/grpc/listen.h"
#include "server/grpc/tap.h"
#include "server/grpc/tsan.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FDS_RESERVED = 48,      /* not for connections: the core's own, model files, logs, the spare */
    FDS_PER_CONNECTION = 2, /* the core's and our watch */
    FDS_PER_TLS = 4,        /* and the peer's socket and the relay's end of the pair */
    FDS_MAX = PITH_TAP_FDS_MAX,
    EVENTS_MAX = 64,
    PREFACE_BYTES = 24, /* RFC 9113 section 3.4 */
    /* Calls abandoned within ABANDON_AGE of their start: this many at once, then so many a second.
     * A client that cancels on purpose lets its calls run for longer or does it more rarely. */
    ABANDON_BURST = 200,
    ABANDON_PER_S = 100
};

#define SECOND_NS INT64_C(1000000000)
#define MUTE_NS   (5 * SECOND_NS) /* a peer that has not sent the preface by then is dropped */

/* Ids of the two descriptors that are not connections; a connection's id is slot and generation. */
#define ID_LISTENER UINT64_MAX
#define ID_WAKE     (UINT64_MAX - 1)

typedef struct connection {
    bool used;
    bool cut;            /* its calls that are still to come out of the core are not news */
    bool handed;         /* the core owns `fd`, we own `watch` */
    uint32_t generation; /* tells a late event from one of the slot's next connection */
    uint32_t next_free;
    int fd;    /* -1 once the core has closed it and the number was given out again */
    int watch; /* dup of fd, -1 before hand-over */
    int64_t born_ns;
    int64_t refilled_ns;
    double tokens;           /* abandoned calls still allowed */
    uint64_t bytes_received; /* by the core when pith_accept_cut_busiest looked last */
} connection;

struct pith_accept {
    int listener;
    int epoll;
    int wake;
    int spare;
    pthread_t thread;
    bool running;
    uint16_t port;
    char address[PITH_LISTEN_TEXT_BYTES];
    grpc_server *server;
    grpc_server_credentials *credentials;
    uint32_t connections_max;
    pith_stay stay;
    pith_tap *tap;
    pith_relay *relay; /* NULL: plain text */

    pthread_mutex_t mutex; /* guards everything below */
    bool stopped;          /* nothing is taken any more */
    int *plain;            /* [connections_max] sockets that the relay has brought */
    uint32_t n_plain;
    connection *connections; /* [connections_max] */
    uint32_t *by_fd;         /* [FDS_MAX] slot + 1, 0: none */
    uint32_t free_head;      /* slot + 1, 0: full */
    pith_accept_stats stats;
};

/* ThreadSanitizer keeps who opened a descriptor's number until it sees the close, and the core's it
 * does not see: the number may come back to another loop from fcntl(2), which it does not see
 * either. Stands for the kernel, which orders the two. */
static char numbers;

static int64_t now_ns(void) {
    return pith_clock_now(&pith_clock_system);
}

static uint64_t id_of(const pith_accept *a, const connection *c) {
    return (uint64_t)c->generation << 32 | (uint64_t)(c - a->connections);
}

/* The connection of an event, or NULL when it is gone. */
static connection *by_id(pith_accept *a, uint64_t id) {
    uint32_t slot = (uint32_t)id;
    if (slot >= a->connections_max) {
        return NULL;
    }
    connection *c = &a->connections[slot];
    return c->used && c->generation == (uint32_t)(id >> 32) ? c : NULL;
}

static void forget_fd(pith_accept *a, connection *c) {
    if (c->fd >= 0) {
        pith_tap_end(a->tap, c->fd);
        a->by_fd[c->fd] = 0;
        c->fd = -1;
    }
}

/* Frees the slot; closes what is ours. Mutex held. */
static void drop_locked(pith_accept *a, connection *c) {
    int ours = c->handed ? c->watch : c->fd;
    forget_fd(a, c);
    if (ours >= 0) {
        (void)close(ours);
    }
    c->used = false;
    c->generation++;
    c->next_free = a->free_head;
    a->free_head = (uint32_t)(c - a->connections) + 1;
    a->stats.open--;
}

static void drop(pith_accept *a, connection *c) {
    (void)pthread_mutex_lock(&a->mutex);
    drop_locked(a, c);
    (void)pthread_mutex_unlock(&a->mutex);
}

static void refuse(pith_accept *a, int fd) {
    (void)pthread_mutex_lock(&a->mutex);
    a->stats.refused++;
    (void)pthread_mutex_unlock(&a->mutex);
    (void)close(fd);
}

/* A slot for a new socket, or NULL when full. */
static connection *claim(pith_accept *a, int fd) {
    (void)pthread_mutex_lock(&a->mutex);
    connection *c = NULL;
    if (fd < FDS_MAX && a->free_head != 0 && !a->stopped) {
        if (a->by_fd[fd] != 0) {
            /* The number is free again, so the core has closed it; the hang-up on our watch of the
             * old connection is still to come. */
            forget_fd(a, &a->connections[a->by_fd[fd] - 1]);
        }
        uint32_t slot = a->free_head - 1;
        c = &a->connections[slot];
        a->free_head = c->next_free;
        a->by_fd[fd] = slot + 1;
        a->stats.open++;
        *c = (connection){.used = true,
                          .generation = c->generation,
                          .fd = fd,
                          .watch = -1,
                          .born_ns = now_ns(),
                          .refilled_ns = now_ns(),
                          .tokens = ABANDON_BURST};
    }
    (void)pthread_mutex_unlock(&a->mutex);
    return c;
}

/* A socket with plain bytes: the peer's, or one that the relay has brought. */
static void take(pith_accept *a, int fd) {
    connection *c = claim(a, fd);
    if (c == NULL) {
        refuse(a, fd);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u64 = id_of(a, c)};
    if (epoll_ctl(a->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        drop(a, c);
    }
}

static void wake(const pith_accept *a) {
    uint64_t one = 1;
    ssize_t ignored = write(a->wake, &one, sizeof one);
    (void)ignored; /* an eventfd far from full takes one */
}

/* On the relay's thread: connections belong to ours, which is told. */
static void on_plain(void *arg, int fd) {
    pith_accept *a = arg;
    (void)pthread_mutex_lock(&a->mutex);
    bool room = !a->stopped && a->n_plain < a->connections_max;
    if (room) {
        a->plain[a->n_plain++] = fd;
    }
    (void)pthread_mutex_unlock(&a->mutex);
    if (room) {
        wake(a);
    } else {
        (void)close(fd);
    }
}

/* Takes what the relay has brought. False when there is nothing more to do at all. */
static bool on_wake(pith_accept *a) {
    uint64_t ignored;
    ssize_t n = read(a->wake, &ignored, sizeof ignored);
    (void)n;
    for (;;) {
        (void)pthread_mutex_lock(&a->mutex);
        bool stopped = a->stopped;
        int fd = a->n_plain > 0 ? a->plain[--a->n_plain] : -1;
        (void)pthread_mutex_unlock(&a->mutex);
        if (fd < 0) {
            return !stopped;
        }
        take(a, fd);
    }
}

/* A peer's socket, as it was accepted. */
static void receive(pith_accept *a, int fd) {
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (a->relay == NULL) {
        take(a, fd);
    } else if (!pith_relay_add(a->relay, fd)) {
        (void)pthread_mutex_lock(&a->mutex);
        a->stats.refused++;
        (void)pthread_mutex_unlock(&a->mutex);
    }
}

/* Gives the socket to the core and keeps a dup to see it end: the core shuts a socket down before
 * it closes it, which is a hang-up on the dup. */
static void hand_over(pith_accept *a, connection *c) {
    int fd = c->fd;
    int watch = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    PITH_TSAN_ACQUIRE(&numbers);
    (void)epoll_ctl(a->epoll, EPOLL_CTL_DEL, fd, NULL);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.u64 = id_of(a, c)};
    if (watch < 0 || epoll_ctl(a->epoll, EPOLL_CTL_ADD, watch, &event) != 0 ||
        !pith_tap_begin(a->tap, fd, now_ns())) {
        if (watch >= 0) {
            (void)close(watch);
        }
        drop(a, c);
        return;
    }
    (void)pthread_mutex_lock(&a->mutex);
    c->watch = watch;
    c->handed = true;
    (void)pthread_mutex_unlock(&a->mutex);
    PITH_TSAN_RELEASE(&numbers); /* `fd` is the core's from here on */
    pith_stay_begin(&a->stay, now_ns());
    grpc_server_add_channel_from_fd(a->server, fd, a->credentials);
    pith_stay_end(&a->stay);
}

/* Is the preface there, wrong, or still on its way? */
static void look(pith_accept *a, connection *c) {
    static const char preface[PREFACE_BYTES + 1] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    char seen[PREFACE_BYTES];
    ssize_t n = recv(c->fd, seen, sizeof seen, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0 || memcmp(seen, preface, (size_t)n) != 0) {
        (void)pthread_mutex_lock(&a->mutex);
        a->stats.refused++;
        drop_locked(a, c);
        (void)pthread_mutex_unlock(&a->mutex);
    } else if (n == PREFACE_BYTES) {
        hand_over(a, c);
    }
}

/* Out of file descriptors: the spare one lets us accept, and turn away, the caller at the door;
 * otherwise the listening socket would stay readable for ever. False: wait a little. */
static bool turn_away(pith_accept *a) {
    if (a->spare >= 0) {
        (void)close(a->spare);
    }
    int fd = accept(a->listener, NULL, NULL);
    if (fd >= 0) {
        refuse(a, fd);
    }
    a->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0 && a->spare >= 0;
}

static void accept_all(pith_accept *a) {
    /* Bounded, so that a flood of connections does not keep known ones from being looked at. */
    for (int i = 0; i < EVENTS_MAX; i++) {
        int fd = accept4(a->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            receive(a, fd);
            continue;
        }
        if (errno != EMFILE && errno != ENFILE) {
            return;
        }
        if (!turn_away(a)) {
            (void)usleep(10000);
            return;
        }
    }
}

static void on_event(pith_accept *a, const struct epoll_event *event) {
    connection *c = by_id(a, event->data.u64);
    if (c == NULL) {
        return;
    }
    if (!c->handed) {
        look(a, c);
    } else if ((event->events & (EPOLLHUP | EPOLLERR)) != 0) {
        drop(a, c);
    }
}

static void sweep_mute(pith_accept *a, int64_t now) {
    for (uint32_t i = 0; i < a->connections_max; i++) {
        connection *c = &a->connections[i];
        if (c->used && !c->handed && now - c->born_ns > MUTE_NS) {
            drop(a, c);
        }
    }
}

static void *accept_loop(void *arg) {
    pith_accept *a = arg;
    int64_t swept = now_ns();
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(a->epoll, events, EVENTS_MAX, 1000);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == ID_WAKE) {
                if (!on_wake(a)) {
                    return NULL;
                }
            } else if (events[i].data.u64 == ID_LISTENER) {
                accept_all(a);
            } else {
                on_event(a, &events[i]);
            }
        }
        int64_t now = now_ns();
        if (now - swept > SECOND_NS) {
            swept = now;
            sweep_mute(a, now);
        }
    }
}

/* Mutex held. */
static void cut(pith_accept *a, connection *c) {
    pith_tap_reset(c->watch);
    pith_tap_fail(a->tap, c->fd);
    c->cut = true;
    a->stats.cut++;
}

void pith_accept_abandoned(pith_accept *a, const char *peer) {
    int fd;
    if (sscanf(peer, "fd:%d", &fd) != 1 || fd < 0 || fd >= FDS_MAX) {
        return;
    }
    (void)pthread_mutex_lock(&a->mutex);
    if (a->by_fd[fd] != 0) {
        connection *c = &a->connections[a->by_fd[fd] - 1];
        int64_t now = now_ns();
        c->tokens += (double)(now - c->refilled_ns) / (double)SECOND_NS * ABANDON_PER_S;
        c->tokens = c->tokens > ABANDON_BURST ? ABANDON_BURST : c->tokens;
        c->refilled_ns = now;
        c->tokens -= 1;
        if (c->tokens < 0 && c->handed && !c->cut) {
            pith_log(PITH_LOG_WARN, "grpc: cut a connection that opens calls to drop them");
            cut(a, c);
        }
    }
    (void)pthread_mutex_unlock(&a->mutex);
}

const pith_stay *pith_accept_stay(const pith_accept *a) {
    return &a->stay;
}

bool pith_accept_cut_busiest(pith_accept *a, uint64_t bytes_min) {
    connection *busiest = NULL;
    uint64_t most = 0;
    (void)pthread_mutex_lock(&a->mutex);
    for (uint32_t i = 0; i < a->connections_max; i++) {
        connection *c = &a->connections[i];
        if (c->used && c->handed) {
            uint64_t received = pith_tap_bytes(a->tap, c->fd);
            uint64_t grown = received - c->bytes_received;
            c->bytes_received = received;
            busiest = grown > most ? c : busiest;
            most = grown > most ? grown : most;
        }
    }
    bool found = busiest != NULL && most >= bytes_min;
    if (found) {
        cut(a, busiest);
    }
    (void)pthread_mutex_unlock(&a->mutex);
    return found;
}

size_t pith_accept_cut_all(pith_accept *a) {
    size_t n = 0;
    (void)pthread_mutex_lock(&a->mutex);
    for (uint32_t i = 0; i < a->connections_max; i++) {
        connection *c = &a->connections[i];
        if (c->used && c->handed && !c->cut) {
            cut(a, c);
            n++;
        }
    }
    (void)pthread_mutex_unlock(&a->mutex);
    return n;
}

void pith_accept_read_stats(pith_accept *a, pith_accept_stats *stats) {
    pith_tap_stats tap;
    pith_relay_stats relay = {0};
    pith_tap_read_stats(a->tap, &tap);
    if (a->relay != NULL) {
        pith_relay_read_stats(a->relay, &relay);
    }
    (void)pthread_mutex_lock(&a->mutex);
    *stats = a->stats;
    stats->cut += tap.floods;
    stats->refused += relay.handshakes_failed;
    stats->streams = tap.streams;
    (void)pthread_mutex_unlock(&a->mutex);
}

uint16_t pith_accept_port(const pith_accept *a) {
    return a->port;
}

const char *pith_accept_address(const pith_accept *a) {
    return a->address;
}

static uint32_t connections_allowed(uint32_t wanted, uint32_t fds_each) {
    struct rlimit limit;
    uint64_t fds = FDS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FDS_MAX) {
        fds = limit.rlim_cur;
    }
    uint64_t room = fds > FDS_RESERVED ? (fds - FDS_RESERVED) / fds_each : 0;
    room = room == 0 ? 1 : room;
    return wanted < room ? wanted : (uint32_t)room;
}

static pith_status open_descriptors(pith_accept *a, pith_err *err) {
    a->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    a->epoll = epoll_create1(EPOLL_CLOEXEC);
    a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event listener = {.events = EPOLLIN, .data.u64 = ID_LISTENER};
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = ID_WAKE};
    if (a->spare < 0 || a->epoll < 0 || a->wake < 0 ||
        epoll_ctl(a->epoll, EPOLL_CTL_ADD, a->listener, &listener) != 0 ||
        epoll_ctl(a->epoll, EPOLL_CTL_ADD, a->wake, &wake) != 0) {
        return pith_fail(err, PITH_IO, "cannot watch connections: %s", strerror(errno));
    }
    return PITH_OK;
}

pith_status pith_accept_open(pith_accept **accept, const char *listen, uint32_t connections_max,
                             pith_certificates *certificates, pith_err *err) {
    *accept = NULL;
    pith_accept *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory to listen");
    }
    a->listener = a->epoll = a->wake = a->spare = -1;
    (void)pthread_mutex_init(&a->mutex, NULL);
    a->connections_max = connections_allowed(
        connections_max, certificates == NULL ? FDS_PER_CONNECTION : FDS_PER_TLS);
    a->connections = calloc(a->connections_max, sizeof *a->connections);
    a->by_fd = calloc(FDS_MAX, sizeof *a->by_fd);
    a->plain = calloc(a->connections_max, sizeof *a->plain);
    a->tap = pith_tap_open();
    pith_status status = PITH_OK;
    if (a->connections == NULL || a->by_fd == NULL || a->plain == NULL || a->tap == NULL) {
        status = pith_fail(err, PITH_NO_MEMORY, "no memory for %u connections", a->connections_max);
    }
    if (status == PITH_OK) {
        status = pith_listen(listen, &a->listener, &a->port, a->address, sizeof a->address, err);
    }
    if (status == PITH_OK) {
        status = open_descriptors(a, err);
    }
    if (status == PITH_OK && certificates != NULL) {
        status = pith_relay_open(&a->relay, certificates, a->connections_max, on_plain, a, err);
    }
    if (status != PITH_OK) {
        pith_accept_close(a);
        return status;
    }
    for (uint32_t i = a->connections_max; i-- > 0;) {
        a->connections[i].next_free = a->free_head;
        a->free_head = i + 1;
    }
    *accept = a;
    return PITH_OK;
}

pith_status pith_accept_start(pith_accept *a, grpc_server *server, pith_err *err) {
    a->server = server;
    a->credentials = grpc_insecure_server_credentials_create();
    int rc = pthread_create(&a->thread, NULL, accept_loop, a);
    if (rc != 0) {
        return pith_fail(err, PITH_IO, "cannot start the accept thread: %s", strerror(rc));
    }
    (void)pthread_setname_np(a->thread, "pith-accept");
    a->running = true;
    return PITH_OK;
}

void pith_accept_stop(pith_accept *a) {
    (void)pthread_mutex_lock(&a->mutex);
    a->stopped = true; /* the relay may still finish a handshake */
    (void)pthread_mutex_unlock(&a->mutex);
    if (a->running) {
        wake(a);
        (void)pthread_join(a->thread, NULL);
        a->running = false;
    }
    if (a->listener >= 0) {
        (void)close(a->listener);
        a->listener = -1;
    }
    (void)pthread_mutex_lock(&a->mutex);
    while (a->n_plain > 0) {
        (void)close(a->plain[--a->n_plain]);
    }
    for (uint32_t i = 0; i < a->connections_max; i++) {
        if (a->connections[i].used && !a->connections[i].handed) {
            drop_locked(a, &a->connections[i]);
        }
    }
    (void)pthread_mutex_unlock(&a->mutex);
}

void pith_accept_close(pith_accept *a) {
    if (a == NULL) {
        return;
    }
    pith_relay_close(a->relay); /* it brings connections, and carries their last bytes */
    if (a->connections != NULL && a->by_fd != NULL && a->plain != NULL && a->tap != NULL) {
        pith_accept_stop(a);
        for (uint32_t i = 0; i < a->connections_max; i++) {
            if (a->connections[i].used) {
                drop(a, &a->connections[i]);
            }
        }
    }
    int fds[] = {a->listener, a->epoll, a->wake, a->spare};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    if (a->credentials != NULL) {
        grpc_server_credentials_release(a->credentials);
    }
    (void)pthread_mutex_destroy(&a->mutex);
    pith_tap_close(a->tap);
    free(a->connections);
    free(a->by_fd);
    free(a->plain);
    free(a);
}
