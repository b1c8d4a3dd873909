#include "server/grpc/transport.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "server/grpc/core_log.h"
#include "server/grpc/transport_internal.h"
#include "server/grpc/tsan.h"

#include <errno.h>
#include <grpc/compression.h>
#include <grpc/grpc_security.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    /* Requests that wait for calls. Calls that find none queue without a bound inside the core, but
     * each arrival posts a new one first: this covers the calls between two turns of the poller. */
    ARMED = 128,
    TICK_MS = 200,
    RELIEF_MS = 20,    /* likewise, while the relief stands in */
    SWEEP_MS = 1000,   /* between two looks for calls whose peer does not read */
    STAY_MS_MAX = 600, /* in the core, where TICK_MS is the longest wait that is asked for */
    /* With no call open for this long a drain waits only for connections in their handshake. */
    QUIET_MS = 500,
    STEP_MS = 50,
    LAST_WORDS_MS = 500, /* for the statuses of calls that a drain has cut */
    /* gRPC's own default is never: a peer that opens connections and is silent would keep them. */
    IDLE_MS = 600000,
    /* A peer with calls that is gone without a word is found within 40 s: a ping, and a third of
     * the time between two for its answer. One without calls goes when it has been idle for
     * IDLE_MS: clients of the C core answer pings only while they have a call. */
    KEEPALIVE_DEFAULT_MS = 30000,
    KEEPALIVE_TIMEOUT_PART = 3,
    PING_INTERVAL_MIN_MS = 10000, /* the least that gRPC clients allow themselves */
    HANDSHAKE_MS = 10000,
    METADATA_BYTES_MAX = 16384
};

#define MS_NS INT64_C(1000000)

pith_status pith_transport_arm(pith_transport *t, pith_err *err) {
    pith_call *call = pith_call_new(t);
    if (call == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for a call");
    }
    PITH_TSAN_RELEASE(&call->arrive_tag);
    grpc_call_error error =
        grpc_server_request_call(t->server, &call->core, &call->details, &call->metadata, t->queue,
                                 t->queue, &call->arrive_tag);
    if (error != GRPC_CALL_OK) {
        pith_call_discard(call);
        return pith_fail(err, PITH_INTERNAL, "cannot wait for calls: %s",
                         grpc_call_error_to_string(error));
    }
    return PITH_OK;
}

void pith_transport_link(pith_call *call) {
    pith_transport *t = call->transport;
    (void)pthread_mutex_lock(&t->mutex);
    call->next = t->calls;
    if (call->next != NULL) {
        call->next->prev = call;
    }
    t->calls = call;
    (void)pthread_mutex_unlock(&t->mutex);
}

void pith_transport_unlink(pith_call *call) {
    pith_transport *t = call->transport;
    (void)pthread_mutex_lock(&t->mutex);
    if (call->prev != NULL) {
        call->prev->next = call->next;
    } else {
        t->calls = call->next;
    }
    if (call->next != NULL) {
        call->next->prev = call->prev;
    }
    pith_call_discard(call);
    (void)atomic_fetch_add(&t->counters.calls_ended, 1);
    (void)pthread_cond_broadcast(&t->changed);
    (void)pthread_mutex_unlock(&t->mutex);
}

static size_t count_calls(const pith_transport *t) {
    size_t n = 0;
    for (const pith_call *call = t->calls; call != NULL; call = call->next) {
        n++;
    }
    return n;
}

/* Does something with every open call, without the lock. */
static void each_call(pith_transport *t, void (*act)(pith_call *call)) {
    (void)pthread_mutex_lock(&t->mutex);
    pith_call **open = malloc((count_calls(t) + 1) * sizeof(pith_call *));
    size_t n_open = 0;
    for (pith_call *call = t->calls; open != NULL && call != NULL; call = call->next) {
        if (pith_call_try_ref(call)) {
            open[n_open++] = call;
        }
    }
    (void)pthread_mutex_unlock(&t->mutex);
    for (size_t i = 0; i < n_open; i++) {
        act(open[i]);
        pith_call_unref(open[i]);
    }
    free(open);
}

/* A slow reader costs the core's buffers and what waits in its outbox, for a time. */
static void abort_stalled(pith_call *call) {
    int64_t since = atomic_load_explicit(&call->sending_since_ns, memory_order_relaxed);
    int64_t now = pith_clock_now(&pith_clock_system);
    if (since != 0 && now - since > call->transport->opts.send_stall_ns) {
        (void)atomic_fetch_add(&call->transport->counters.stalled, 1);
        pith_call_abort(call, "the peer does not take its answer");
    }
}

/* Waits `ms` at most for one completion and handles it. False when the queue has shut down. */
static bool poll_once(pith_poller *poller, int64_t now, int ms) {
    pith_transport *t = poller->transport;
    int64_t end = now + ms * MS_NS;
    gpr_timespec until = {.tv_sec = end / (1000 * MS_NS),
                          .tv_nsec = (int32_t)(end % (1000 * MS_NS)),
                          .clock_type = GPR_CLOCK_MONOTONIC}; /* as ours: CLOCK_MONOTONIC */
    pith_stay_begin(&poller->stay, now);
    grpc_event event = grpc_completion_queue_next(t->queue, until, NULL);
    pith_stay_end(&poller->stay);
    if (poller == &t->pollers[PITH_POLLER_FIRST]) {
        atomic_store_explicit(&t->relief.wanted, false, memory_order_relaxed);
    }
    if (event.type == GRPC_OP_COMPLETE) {
        pith_tag *tag = event.tag;
        PITH_TSAN_ACQUIRE(tag);
        (void)pthread_mutex_lock(&t->handlers);
        tag->fire(tag, event.success != 0);
        (void)pthread_mutex_unlock(&t->handlers);
    }
    return event.type != GRPC_QUEUE_SHUTDOWN;
}

static void *poll_loop(void *arg) {
    pith_poller *poller = arg;
    pith_transport *t = poller->transport;
    int64_t now = pith_clock_now(&pith_clock_system);
    int64_t ticked = now;
    int64_t swept = now;
    while (poll_once(poller, now, TICK_MS)) {
        now = pith_clock_now(&pith_clock_system);
        bool due = now - ticked >= TICK_MS * MS_NS;
        if (due && t->opts.on_tick != NULL && !atomic_load(&t->draining)) {
            ticked = now;
            t->opts.on_tick(t->opts.tick_arg);
        }
        if (now - swept >= SWEEP_MS * MS_NS) {
            swept = now;
            each_call(t, abort_stalled);
        }
    }
    return NULL;
}

/* On the first thread, deep inside the core: it reads and reads. */
static void call_relief(void *arg) {
    pith_relief *relief = arg;
    if (!atomic_exchange_explicit(&relief->wanted, true, memory_order_relaxed)) {
        (void)pthread_mutex_lock(&relief->mutex); /* whoever looked before waits by now */
        (void)pthread_cond_signal(&relief->changed);
        (void)pthread_mutex_unlock(&relief->mutex);
    }
}

/* Sleeps until called; false when there will be no more calls. */
static bool wait_call(pith_relief *relief) {
    (void)pthread_mutex_lock(&relief->mutex);
    while (!atomic_load_explicit(&relief->wanted, memory_order_relaxed) && !relief->over) {
        (void)pthread_cond_wait(&relief->changed, &relief->mutex);
    }
    bool over = relief->over;
    (void)pthread_mutex_unlock(&relief->mutex);
    return !over;
}

static void *relief_loop(void *arg) {
    pith_poller *poller = arg;
    pith_relief *relief = &poller->transport->relief;
    while (wait_call(relief)) {
        while (atomic_load_explicit(&relief->wanted, memory_order_relaxed)) {
            if (!poll_once(poller, pith_clock_now(&pith_clock_system), RELIEF_MS)) {
                return NULL;
            }
        }
    }
    return NULL;
}

static void end_relief(pith_relief *relief) {
    (void)pthread_mutex_lock(&relief->mutex);
    relief->over = true;
    (void)pthread_cond_signal(&relief->changed);
    (void)pthread_mutex_unlock(&relief->mutex);
}

static void on_down(pith_tag *tag, bool ok) {
    (void)ok;
    pith_transport *t =
        (pith_transport *)(void *)((char *)tag - offsetof(pith_transport, shutdown_tag));
    (void)pthread_mutex_lock(&t->mutex);
    t->down = true;
    (void)pthread_cond_broadcast(&t->changed);
    (void)pthread_mutex_unlock(&t->mutex);
}

/* --- open and start ------------------------------------------------------------------------ */

pith_status pith_transport_open(pith_transport **transport, const pith_transport_opts *opts,
                                pith_err *err) {
    *transport = NULL;
    if (opts->n_methods > PITH_METHODS_MAX) {
        return pith_fail(err, PITH_INTERNAL, "%zu methods, at most %d", opts->n_methods,
                         PITH_METHODS_MAX);
    }
    pith_transport *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the server");
    }
    t->opts = *opts;
    memcpy(t->methods, opts->methods, opts->n_methods * sizeof *opts->methods);
    t->opts.methods = t->methods;
    t->shutdown_tag.fire = on_down;
    if (getrandom(&t->id_seed, sizeof t->id_seed, GRND_NONBLOCK) != (ssize_t)sizeof t->id_seed) {
        t->id_seed = (uint64_t)pith_clock_now(&pith_clock_system) ^ (uint64_t)getpid() << 40;
    }
    (void)pthread_mutex_init(&t->mutex, NULL);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&t->changed, &attr);
    (void)pthread_cond_init(&t->relief.changed, NULL);
    (void)pthread_mutex_init(&t->relief.mutex, NULL);
    (void)pthread_mutex_init(&t->handlers, NULL);
    (void)pthread_condattr_destroy(&attr);
    pith_core_log_install();
    grpc_init();
    pith_status status =
        pith_accept_open(&t->accept, opts->listen, opts->connections_max, opts->certificates, err);
    if (status != PITH_OK) {
        pith_transport_close(t);
        return status;
    }
    *transport = t;
    return PITH_OK;
}

static grpc_arg integer_arg(const char *key, int value) {
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static grpc_server *create_server(pith_transport *t) {
    int message_max =
        t->opts.message_bytes_max > INT_MAX ? INT_MAX : (int)t->opts.message_bytes_max;
    int keepalive_ms = t->opts.keepalive_ms == 0 ? KEEPALIVE_DEFAULT_MS : (int)t->opts.keepalive_ms;
    t->quota = grpc_resource_quota_create("pith");
    grpc_resource_quota_resize(t->quota, t->opts.quota_bytes);
    grpc_arg args[] = {
        integer_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, message_max),
        integer_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        integer_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)t->opts.streams_max),
        integer_arg(GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES_MAX),
        integer_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
        integer_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS),
        integer_arg(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms),
        integer_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive_ms / KEEPALIVE_TIMEOUT_PART),
        integer_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_INTERVAL_MIN_MS),
        integer_arg(GRPC_ARG_MAX_CONNECTION_IDLE_MS, IDLE_MS),
        /* Identity alone: bit 0. A compressed message is inflated before its size is checked. */
        integer_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE),
        integer_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        {.type = GRPC_ARG_POINTER,
         .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
         .value.pointer = {t->quota, grpc_resource_quota_arg_vtable()}},
    };
    grpc_channel_args all = {.num_args = sizeof args / sizeof args[0], .args = args};
    return grpc_server_create(&all, NULL);
}

static pith_status start_poller(pith_poller *poller, pith_err *err) {
    bool first = poller == &poller->transport->pollers[PITH_POLLER_FIRST];
    int rc = pthread_create(&poller->thread, NULL, first ? poll_loop : relief_loop, poller);
    if (rc != 0) {
        return pith_fail(err, PITH_IO, "cannot start a poller thread: %s", strerror(rc));
    }
    (void)pthread_setname_np(poller->thread, "pith-grpc");
    poller->running = true;
    return PITH_OK;
}

pith_status pith_transport_start(pith_transport *t, pith_err *err) {
    pith_status status = PITH_OK;
    t->server = create_server(t);
    t->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(t->server, t->queue, NULL);
    t->pollers[PITH_POLLER_FIRST].stay.on_long = call_relief;
    t->pollers[PITH_POLLER_FIRST].stay.arg = &t->relief;
    for (int i = 0; i < PITH_POLLERS && status == PITH_OK; i++) {
        t->pollers[i].transport = t;
        status = start_poller(&t->pollers[i], err);
    }
    if (status != PITH_OK) {
        return status;
    }
    t->started = true; /* from here on close must shut the server down */
    grpc_server_start(t->server);
    for (int i = 0; i < ARMED && status == PITH_OK; i++) {
        status = pith_transport_arm(t, err);
    }
    if (status == PITH_OK) {
        status = pith_accept_start(t->accept, t->server, err);
    }
    if (status == PITH_OK) {
        status = pith_watchdog_open(&t->watchdog, t->accept, t->pollers, STAY_MS_MAX * MS_NS, err);
    }
    return status;
}

uint16_t pith_transport_port(const pith_transport *t) {
    return pith_accept_port(t->accept);
}

const char *pith_transport_address(const pith_transport *t) {
    return pith_accept_address(t->accept);
}

void pith_transport_read_stats(pith_transport *t, pith_transport_stats *stats) {
    pith_accept_stats accept;
    pith_accept_read_stats(t->accept, &accept);
    uint64_t ended = atomic_load(&t->counters.calls_ended);
    uint64_t calls = atomic_load(&t->counters.calls);
    *stats = (pith_transport_stats){
        .calls = calls,
        .calls_ended = ended,
        .cancelled = atomic_load(&t->counters.cancelled),
        .refused = atomic_load(&t->counters.refused),
        .stalled = atomic_load(&t->counters.stalled),
        .open = calls - ended,
        .streams = accept.streams,
        .connections = accept.open,
        .connections_refused = accept.refused,
        .connections_cut = accept.cut,
    };
}

/* --- drain and close ------------------------------------------------------------------------ */

void pith_transport_hurry(pith_transport *t) {
    (void)pthread_mutex_lock(&t->mutex);
    t->hurry = true;
    (void)pthread_cond_broadcast(&t->changed);
    (void)pthread_mutex_unlock(&t->mutex);
}

/* Waits for a change, `ms` at most. Mutex held. */
static void wait_change(pith_transport *t, int64_t ms) {
    int64_t until = pith_clock_now(&pith_clock_system) + ms * MS_NS;
    struct timespec at = {.tv_sec = until / (1000 * MS_NS), .tv_nsec = until % (1000 * MS_NS)};
    (void)pthread_cond_timedwait(&t->changed, &t->mutex, &at);
}

void pith_transport_linger(pith_transport *t, int64_t wait_ns) {
    int64_t end = pith_clock_now(&pith_clock_system) + wait_ns;
    (void)pthread_mutex_lock(&t->mutex);
    while (t->started && !t->hurry && pith_clock_now(&pith_clock_system) < end) {
        wait_change(t, STEP_MS);
    }
    (void)pthread_mutex_unlock(&t->mutex);
}

static void drain_call(pith_call *call) {
    if (call->entry->method->on_drain != NULL) {
        call->entry->method->on_drain(call);
    }
}

/* Ends what the grace was not enough for. The calls are told; then whoever does not take even that
 * is cut, since the core waits for its writes before it closes a connection. */
static void force_down(pith_transport *t) {
    grpc_server_cancel_all_calls(t->server);
    int64_t end = pith_clock_now(&pith_clock_system) + LAST_WORDS_MS * MS_NS;
    bool cut = false;
    (void)pthread_mutex_lock(&t->mutex);
    while (!t->down) {
        wait_change(t, STEP_MS);
        if (!cut && pith_clock_now(&pith_clock_system) >= end) {
            cut = true;
            (void)pthread_mutex_unlock(&t->mutex);
            size_t n = pith_accept_cut_all(t->accept);
            (void)pthread_mutex_lock(&t->mutex);
            if (n > 0) {
                pith_log(PITH_LOG_WARN, "grpc: cut %zu connections that took nothing", n);
            }
        }
    }
    (void)pthread_mutex_unlock(&t->mutex);
}

/* True when the core is down before the grace is over. */
static bool wait_down(pith_transport *t, int64_t grace_ns) {
    int64_t end = pith_clock_now(&pith_clock_system) + grace_ns;
    int64_t quiet_ms = 0;
    (void)pthread_mutex_lock(&t->mutex);
    while (!t->down && !t->hurry && quiet_ms < QUIET_MS &&
           pith_clock_now(&pith_clock_system) < end) {
        quiet_ms = t->calls == NULL ? quiet_ms + STEP_MS : 0;
        wait_change(t, STEP_MS);
    }
    bool down = t->down;
    (void)pthread_mutex_unlock(&t->mutex);
    return down;
}

size_t pith_transport_drain(pith_transport *t, int64_t grace_ns) {
    if (!t->started || t->drained) {
        return 0;
    }
    t->drained = true;
    atomic_store(&t->draining, true);
    pith_accept_stop(t->accept);
    PITH_TSAN_RELEASE(&t->shutdown_tag);
    grpc_server_shutdown_and_notify(t->server, t->queue, &t->shutdown_tag);
    each_call(t, drain_call);
    if (wait_down(t, grace_ns)) {
        return 0;
    }
    (void)pthread_mutex_lock(&t->mutex);
    size_t forced = count_calls(t);
    (void)pthread_mutex_unlock(&t->mutex);
    force_down(t);
    return forced;
}

/* Starting a batch after its queue has shut down aborts the process: every call must be gone. */
static void wait_calls(pith_transport *t) {
    (void)pthread_mutex_lock(&t->mutex);
    while (t->calls != NULL) {
        wait_change(t, STEP_MS);
    }
    (void)pthread_mutex_unlock(&t->mutex);
}

void pith_transport_close(pith_transport *t) {
    if (t == NULL) {
        return;
    }
    if (t->started) {
        (void)pith_transport_drain(t, 0);
        wait_calls(t);
    }
    if (t->queue != NULL) {
        grpc_completion_queue_shutdown(t->queue);
    }
    end_relief(&t->relief);
    for (int i = 0; i < PITH_POLLERS; i++) {
        if (t->pollers[i].running) {
            (void)pthread_join(t->pollers[i].thread, NULL);
        }
    }
    pith_watchdog_close(t->watchdog);
    if (t->server != NULL) {
        grpc_server_destroy(t->server);
    }
    if (t->queue != NULL) {
        grpc_completion_queue_destroy(t->queue);
    }
    pith_accept_close(t->accept);
    if (t->quota != NULL) {
        grpc_resource_quota_unref(t->quota);
    }
    grpc_shutdown_blocking();
    (void)pthread_cond_destroy(&t->relief.changed);
    (void)pthread_mutex_destroy(&t->relief.mutex);
    (void)pthread_mutex_destroy(&t->handlers);
    (void)pthread_cond_destroy(&t->changed);
    (void)pthread_mutex_destroy(&t->mutex);
    free(t);
}
