#include "server/grpc/tap.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "server/grpc/accept.h"
#include "server/grpc/tsan.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct tapped {
    atomic_bool on;
    atomic_bool failed;
    atomic_uint_fast64_t bytes;
    _Atomic(pith_tap *) tap; /* the one that began it last */
    pith_frame_guard guard;
} tapped;

/* So many floods in so long make new connections suspect. */
enum { WARY_FLOODS = 4 };

#define WARY_NS (10 * INT64_C(1000000000))

struct pith_tap {
    atomic_uint_fast64_t streams;
    atomic_uint_fast64_t floods;
    /* The thread that begins taps. */
    _Atomic(tapped *) all[PITH_TAP_FDS_MAX]; /* what this tap has begun; others read it */
    int64_t window_ns;                       /* when the current window of floods began */
    uint64_t window_floods;                  /* floods before it */
    bool was_wary;                           /* in the window before it */
};

/* By descriptor, of the whole process. What is made for a number stays until the process ends: any
 * thread that the core has may have been the last to read it. */
static _Atomic(tapped *) by_fd[PITH_TAP_FDS_MAX];

pith_tap *pith_tap_open(void) {
    return calloc(1, sizeof(pith_tap));
}

void pith_tap_close(pith_tap *tap) {
    if (tap == NULL) {
        return;
    }
    PITH_TSAN_ACQUIRE(tap); /* the core has closed every connection: its threads are done with it */
    for (int fd = 0; fd < PITH_TAP_FDS_MAX; fd++) {
        pith_tap_end(tap, fd);
    }
    free(tap);
}

/* What this tap has begun, or NULL: the number may be another's by now. */
static tapped *find(const pith_tap *tap, int fd) {
    tapped *t = fd >= 0 && fd < PITH_TAP_FDS_MAX ? tap->all[fd] : NULL;
    return t != NULL && atomic_load(&t->tap) == tap ? t : NULL;
}

static bool is_wary(pith_tap *tap, int64_t now_ns) {
    uint64_t floods = atomic_load_explicit(&tap->floods, memory_order_relaxed);
    bool now = floods - tap->window_floods >= WARY_FLOODS;
    bool wary = now || tap->was_wary;
    if (now_ns - tap->window_ns >= WARY_NS) {
        tap->window_ns = now_ns;
        tap->window_floods = floods;
        tap->was_wary = now;
    }
    return wary;
}

bool pith_tap_begin(pith_tap *tap, int fd, int64_t now_ns) {
    if (fd < 0 || fd >= PITH_TAP_FDS_MAX) {
        return false;
    }
    tapped *t = atomic_load_explicit(&by_fd[fd], memory_order_acquire);
    if (t == NULL) {
        t = calloc(1, sizeof *t);
        if (t == NULL) {
            return false;
        }
    }
    tap->all[fd] = t;
    /* The number was given out again, so whoever read it last has closed it: nobody holds `t`. */
    PITH_TSAN_ACQUIRE(t);
    t->tap = tap;
    pith_frame_guard_init(&t->guard, is_wary(tap, now_ns), now_ns);
    atomic_store_explicit(&t->failed, false, memory_order_relaxed);
    atomic_store_explicit(&t->bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&t->on, true, memory_order_relaxed);
    atomic_store_explicit(&by_fd[fd], t, memory_order_release); /* orders the guard before it */
    return true;
}

void pith_tap_end(pith_tap *tap, int fd) {
    tapped *t = find(tap, fd);
    if (t != NULL) {
        atomic_store_explicit(&t->on, false, memory_order_relaxed);
    }
}

uint64_t pith_tap_bytes(const pith_tap *tap, int fd) {
    const tapped *t = find(tap, fd);
    return t == NULL ? 0 : atomic_load_explicit(&t->bytes, memory_order_relaxed);
}

void pith_tap_fail(pith_tap *tap, int fd) {
    tapped *t = find(tap, fd);
    if (t != NULL) {
        atomic_store_explicit(&t->failed, true, memory_order_relaxed);
    }
}

void pith_tap_reset(int fd) {
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    if (connect(fd, &nowhere, sizeof nowhere) != 0) { /* the relay's pair cannot be disconnected */
        (void)shutdown(fd, SHUT_RDWR);
    }
}

void pith_tap_read_stats(const pith_tap *tap, pith_tap_stats *stats) {
    *stats = (pith_tap_stats){.streams = atomic_load(&tap->streams),
                              .floods = atomic_load(&tap->floods)};
}

/* Shows the guard what has just been read. */
static pith_flood show(tapped *t, const struct msghdr *msg, size_t n_read) {
    int64_t now = pith_clock_now(&pith_clock_system);
    pith_stay_read(now);
    pith_tap *tap = atomic_load_explicit(&t->tap, memory_order_relaxed);
    uint64_t streams = t->guard.n_streams;
    bool before = t->guard.flood != PITH_FLOOD_NONE;
    pith_flood flood = t->guard.flood;
    for (size_t i = 0; i < msg->msg_iovlen && n_read > 0; i++) {
        size_t n = msg->msg_iov[i].iov_len < n_read ? msg->msg_iov[i].iov_len : n_read;
        flood = pith_frame_guard_feed(&t->guard, msg->msg_iov[i].iov_base, n, now);
        n_read -= n;
    }
    (void)atomic_fetch_add_explicit(&tap->streams, t->guard.n_streams - streams,
                                    memory_order_relaxed);
    if (flood != PITH_FLOOD_NONE && !before) {
        (void)atomic_fetch_add_explicit(&tap->floods, 1, memory_order_relaxed);
        pith_log(PITH_LOG_WARN, "grpc: cut a connection that sends %s", pith_flood_text(flood));
    }
    PITH_TSAN_RELEASE(tap);
    return flood;
}

/* The libc's, for the whole program. */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags) {
    ssize_t n = syscall(SYS_recvmsg, fd, msg, flags);
    bool bytes = n > 0 && (flags & (MSG_PEEK | MSG_ERRQUEUE)) == 0;
    if (!bytes || fd >= PITH_TAP_FDS_MAX) {
        return n;
    }
    tapped *t = atomic_load_explicit(&by_fd[fd], memory_order_acquire);
    if (t == NULL || !atomic_load_explicit(&t->on, memory_order_relaxed)) {
        return n;
    }
    PITH_TSAN_ACQUIRE(t); /* the core serialises the reads of a socket, where TSan does not look */
    pith_flood flood = show(t, msg, (size_t)n);
    PITH_TSAN_RELEASE(t);
    (void)atomic_fetch_add_explicit(&t->bytes, (uint64_t)n, memory_order_relaxed);
    if (flood != PITH_FLOOD_NONE) {
        pith_tap_reset(fd);
    }
    if (flood != PITH_FLOOD_NONE || atomic_load_explicit(&t->failed, memory_order_relaxed)) {
        errno = ECONNRESET;
        return -1;
    }
    return n;
}
