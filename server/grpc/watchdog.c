#include "server/grpc/watchdog.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "server/grpc/transport_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    PERIOD_MS = 250,
    /* Of one connection in one period. The core parses hostile frames at some MB/s at least; an
     * honest upload at this rate does not hold the core for longer than its flow control window. */
    BUSY_BYTES_MIN = 64 * 1024
};

#define MS_NS INT64_C(1000000)

struct pith_watchdog {
    pith_accept *accept;
    const pith_poller *pollers; /* [PITH_POLLERS] */
    int64_t stay_ns_max;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stop;
};

static _Thread_local pith_stay *here; /* of this thread */

void pith_stay_begin(pith_stay *stay, int64_t now_ns) {
    atomic_store_explicit(&stay->since_ns, now_ns, memory_order_relaxed);
    stay->reads_since_ns = 0;
    here = stay;
}

void pith_stay_end(pith_stay *stay) {
    atomic_store_explicit(&stay->since_ns, 0, memory_order_relaxed);
    here = NULL;
}

void pith_stay_read(int64_t now_ns) {
    if (here == NULL || here->on_long == NULL) {
        return;
    }
    if (here->reads_since_ns == 0) {
        here->reads_since_ns = now_ns;
    } else if (now_ns - here->reads_since_ns > PITH_RELIEF_NS) {
        here->on_long(here->arg);
    }
}

static bool is_stuck(const pith_stay *stay, int64_t now, int64_t stay_ns_max) {
    int64_t since = atomic_load_explicit(&stay->since_ns, memory_order_relaxed);
    return since != 0 && now - since > stay_ns_max;
}

static bool any_stuck(const pith_watchdog *w, int64_t now) {
    bool stuck = is_stuck(pith_accept_stay(w->accept), now, w->stay_ns_max);
    for (int i = 0; i < PITH_POLLERS; i++) {
        stuck = stuck || is_stuck(&w->pollers[i].stay, now, w->stay_ns_max);
    }
    return stuck;
}

/* First sight of a stuck thread takes the byte counts, the next one cuts who sent most since. */
static void *watch_loop(void *arg) {
    pith_watchdog *w = arg;
    bool counted = false;
    (void)pthread_mutex_lock(&w->mutex);
    while (!w->stop) {
        int64_t now = pith_clock_now(&pith_clock_system);
        int64_t until = now + PERIOD_MS * MS_NS;
        struct timespec at = {.tv_sec = until / (1000 * MS_NS), .tv_nsec = until % (1000 * MS_NS)};
        if (any_stuck(w, now)) {
            if (pith_accept_cut_busiest(w->accept, counted ? BUSY_BYTES_MIN : UINT64_MAX)) {
                pith_log(PITH_LOG_WARN, "grpc: cut a connection that kept the transport busy");
            }
            counted = true;
        } else {
            counted = false;
        }
        (void)pthread_cond_timedwait(&w->changed, &w->mutex, &at);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

pith_status pith_watchdog_open(pith_watchdog **watchdog, pith_accept *accept,
                               const pith_poller *pollers, int64_t stay_ns_max, pith_err *err) {
    *watchdog = NULL;
    pith_watchdog *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the watchdog");
    }
    w->accept = accept;
    w->pollers = pollers;
    w->stay_ns_max = stay_ns_max;
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_cond_init(&w->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    int rc = pthread_create(&w->thread, NULL, watch_loop, w);
    if (rc != 0) {
        (void)pthread_cond_destroy(&w->changed);
        (void)pthread_mutex_destroy(&w->mutex);
        free(w);
        return pith_fail(err, PITH_IO, "cannot start the watchdog: %s", strerror(rc));
    }
    (void)pthread_setname_np(w->thread, "pith-watchdog");
    *watchdog = w;
    return PITH_OK;
}

void pith_watchdog_close(pith_watchdog *w) {
    if (w == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&w->mutex);
    w->stop = true;
    (void)pthread_cond_signal(&w->changed);
    (void)pthread_mutex_unlock(&w->mutex);
    (void)pthread_join(w->thread, NULL);
    (void)pthread_cond_destroy(&w->changed);
    (void)pthread_mutex_destroy(&w->mutex);
    free(w);
}
