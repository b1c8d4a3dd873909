/* One RPC, as a service sees it: messages in, messages out, one status at the end.
 *
 * This is the seam between services and the transport; nothing of the gRPC core shows through it.
 * A call is reference counted: whoever keeps a pointer beyond a handler holds a reference. Sending
 * and finishing are allowed from any thread. The handlers on_open, on_message, on_half_close,
 * on_room and on_cancel run one at a time, those of all calls, on a poller thread, and must not
 * block. */
#ifndef PITH_SERVER_GRPC_CALL_H
#define PITH_SERVER_GRPC_CALL_H

#include "server/grpc/fault.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pith_call pith_call;

typedef enum pith_call_kind {
    PITH_CALL_UNARY,         /* one message in, one out */
    PITH_CALL_SERVER_STREAM, /* one in, many out */
    PITH_CALL_BIDI           /* many in, many out; read on until paused */
} pith_call_kind;

/* What a service does for one method. Handlers that are NULL are skipped. */
typedef struct pith_method {
    const char *path; /* "/package.Service/Method" */
    pith_call_kind kind;
    bool always_served; /* does not count against calls_max: health, reflection */
    bool needs_no_key;  /* health: a probe has none */
    /* Before the first message: the time to set a state. */
    void (*on_open)(pith_call *call);
    /* A whole message; `data` is valid during the handler only. */
    void (*on_message)(pith_call *call, const uint8_t *data, size_t len);
    void (*on_half_close)(pith_call *call); /* PITH_CALL_BIDI: no further message */
    void (*on_room)(pith_call *call);       /* a message has left the outbox */
    void (*on_cancel)(pith_call *call);     /* peer gone, deadline, or cut by the drain */
    void (*on_drain)(pith_call *call);      /* any thread: end calls that would never end */
    void (*on_free)(pith_call *call);       /* any thread: the last reference is gone */
} pith_method;

pith_call *pith_call_ref(pith_call *call);
void pith_call_unref(pith_call *call);

const pith_method *pith_call_method(const pith_call *call);
void *pith_call_service(const pith_call *call);         /* given with the method */
void *pith_call_state(const pith_call *call);           /* the service's own, NULL at first */
void pith_call_set_state(pith_call *call, void *state); /* in on_open, or never read elsewhere */
int64_t pith_call_deadline_ns(const pith_call *call);   /* CLOCK_MONOTONIC, PITH_DEADLINE_NONE */
bool pith_call_is_dead(pith_call *call);                /* cancelled or cut */
/* Its deadline has come: an answer of many parts ends DEADLINE_EXCEEDED, whoever notices first. */
bool pith_call_is_late(const pith_call *call);

/* Answers that the peer has not yet taken: messages, and their bytes (may be NULL). */
size_t pith_call_unsent(pith_call *call, size_t *bytes);

/* The peer's "x-request-id", or one that was made for it: 1 to 128 printable characters. */
const char *pith_call_request_id(const pith_call *call);
/* A header that the peer sent, not NUL-terminated; NULL when there is none. Lives with the call. */
const char *pith_call_header(const pith_call *call, const char *key, size_t *len);
/* The key that the call showed: an index of the table of keys, or -1. */
int pith_call_key(const pith_call *call);
void pith_call_set_key(pith_call *call, int key); /* while the call is being admitted */

/* Packs and queues a message. False when the call is dead or finished: stop producing. */
bool pith_call_send(pith_call *call, const ProtobufCMessage *message);

/* Sends the message and status OK together. */
bool pith_call_reply(pith_call *call, const ProtobufCMessage *message);

/* The same for a message that is packed already, in parts that are freed by the caller. */
typedef struct pith_part {
    const uint8_t *data;
    size_t len;
} pith_part;
bool pith_call_reply_parts(pith_call *call, const pith_part *parts, size_t n_parts);

/* Adds a header to those that go with the status. `key` is a constant. Ignored once the call is
 * finished, and beyond PITH_CALL_TRAILERS_MAX. */
enum { PITH_CALL_TRAILERS_MAX = 4 };
void pith_call_add_trailer(pith_call *call, const char *key, const char *value);

/* Ends the call after the queued messages, with status OK or with the fault's status, its details
 * in grpc-status-details-bin and the retry delay in grpc-retry-pushback-ms. Only the first end of a
 * call counts. `id` is the request's, [id_len] bytes, may be NULL: then the call's stands for it.
 */
void pith_call_finish(pith_call *call);
void pith_call_fail(pith_call *call, const pith_fault *fault, const uint8_t *id, size_t id_len);

/* Ends the call now, without waiting for what the peer has not taken: RESOURCE_EXHAUSTED. */
void pith_call_abort(pith_call *call, const char *text);

/* PITH_CALL_BIDI: stops reading after the current message, and reads on. Resume: any thread. */
void pith_call_pause(pith_call *call);
void pith_call_resume(pith_call *call);

#endif
