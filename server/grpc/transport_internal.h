/* Shared by transport.c and call.c: the two halves of the transport. */
#ifndef PITH_SERVER_GRPC_TRANSPORT_INTERNAL_H
#define PITH_SERVER_GRPC_TRANSPORT_INTERNAL_H

#include "server/grpc/accept.h"
#include "server/grpc/transport.h"
#include "server/grpc/watchdog.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

enum { PITH_CALL_ID_BYTES = 129 }; /* 128 and a NUL */

/* What the completion queue hands back. */
typedef struct pith_tag {
    void (*fire)(struct pith_tag *tag, bool ok);
} pith_tag;

typedef struct pith_counters {
    atomic_uint_fast64_t calls;
    atomic_uint_fast64_t calls_ended;
    atomic_uint_fast64_t cancelled;
    atomic_uint_fast64_t refused;
    atomic_uint_fast64_t stalled;
    atomic_int_fast64_t counted; /* live calls of methods that are not always_served */
} pith_counters;

/* One queue and one thread that waits on it: two would pass each event's turn on to each other, a
 * wake-up each. But the core reads a socket on the thread that waits, for as long as the socket has
 * bytes. Once that has lasted PITH_RELIEF_NS the second thread stands in until the first is back:
 * it handles the calls, counts what is abandoned, and cuts the peer. */
enum { PITH_POLLER_FIRST, PITH_POLLER_RELIEF, PITH_POLLERS };

typedef struct pith_poller {
    pith_transport *transport;
    pthread_t thread;
    bool running;
    pith_stay stay;
} pith_poller;

/* Whether the second thread is wanted. */
typedef struct pith_relief {
    atomic_bool wanted;    /* set within the core's reads, cleared when the first thread is back */
    pthread_mutex_t mutex; /* guards everything below */
    pthread_cond_t changed;
    bool over;
} pith_relief;

struct pith_transport {
    pith_transport_opts opts;
    pith_method_entry methods[PITH_METHODS_MAX];
    pith_accept *accept;
    grpc_server *server;
    grpc_resource_quota *quota;
    grpc_completion_queue *queue;
    pith_poller pollers[PITH_POLLERS];
    pith_relief relief;
    pthread_mutex_t handlers; /* held while one runs: so those of all calls run one at a time */
    pith_watchdog *watchdog;
    bool started;
    bool drained;
    pith_tag shutdown_tag;
    atomic_bool draining;
    pith_counters counters;
    uint64_t id_seed; /* of the request ids that are made here */
    atomic_uint_fast64_t ids;

    pthread_mutex_t mutex; /* guards everything below */
    pthread_cond_t changed;
    pith_call *calls; /* every call that has arrived and is not freed */
    bool down;        /* the core has shut down */
    bool hurry;
};

/* A call that is armed or has arrived. Operation arguments live here until their tag returns. */
struct pith_call {
    pith_tag arrive_tag;
    pith_tag message_tag;
    pith_tag close_tag;
    pith_tag send_tag;
    atomic_int refs; /* arrival handler 1, each open batch 1, each holder 1 */
    pith_transport *transport;
    const pith_method_entry *entry; /* set before the call is linked */
    pith_call *prev;
    pith_call *next;
    grpc_call *core;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *received;
    int was_cancelled;
    int64_t arrived_ns;
    int64_t deadline_ns;
    void *state;
    int key; /* of pith_call_key */
    char request_id[PITH_CALL_ID_BYTES];
    bool counted;   /* in counters.counted */
    bool delivered; /* poller thread: a message has come */
    atomic_bool dead;
    atomic_int_fast64_t sending_since_ns; /* 0: nothing is on its way */

    pthread_mutex_t mutex; /* guards everything below; serialises batches of one direction */
    struct pith_outgoing *outbox;
    struct pith_outgoing **outbox_tail;
    size_t n_outbox;
    size_t unsent_bytes;  /* of the outbox and of what is on its way */
    size_t sending_bytes; /* of what is on its way */
    bool sending;
    bool headers_sent;
    bool finishing;
    bool status_sent;
    bool answered;       /* the status is out */
    bool aborted;        /* by pith_call_abort */
    bool watched;        /* the notice of the call's end is asked for */
    bool ends_with_send; /* by the batch on its way; set once */
    bool reading;
    bool paused;
    bool half_closed;
    int code;
    grpc_slice text;
    grpc_metadata header;                               /* x-request-id */
    grpc_metadata trailers[PITH_CALL_TRAILERS_MAX + 2]; /* and status details, retry delay */
    size_t n_trailers;
};

/* transport.c */
pith_status pith_transport_arm(pith_transport *t, pith_err *err);
void pith_transport_link(pith_call *call);
void pith_transport_unlink(pith_call *call);

/* call.c */
pith_call *pith_call_new(pith_transport *transport);
void pith_call_discard(pith_call *call); /* one that never arrived */
bool pith_call_try_ref(pith_call *call);

#endif
