/* One text on its way between a call and the engine, for every method that compresses.
 *
 * References: the engine until its reply; the call's state (Compress, BatchCompress) or the
 * stream's list; the handler that submits. The last one gives the job back. An item holds a
 * reference of its call until its reply has been handled. */
#ifndef PITH_SERVER_GRPC_ITEM_H
#define PITH_SERVER_GRPC_ITEM_H

#include "pith/v1/compression.pb-c.h"
#include "server/grpc/compression.h"
#include "server/grpc/convert.h"
#include "server/grpc/rpc_error.h"

#include <stdatomic.h>

/* Numbers of the proto, for finding the id of a request that cannot be decoded. */
enum { PITH_FIELD_ID = 1, PITH_FIELD_REQUEST = 1 };

typedef struct pith_item {
    atomic_int refs;
    pith_call *call; /* holds a reference */
    void *owner;     /* the stream or the batch, alive as long as the call; NULL for Compress */
    size_t index;    /* in its batch */
    pith_entry entry;
    int64_t begin_ns;
    struct pith_item *prev;
    struct pith_item *next;
    pith_job *job; /* written by the poller of the call; read by it and the last reference */
    size_t text_len;
    uint64_t charged; /* tokens, to the call's key */
    size_t cost;      /* bytes that its answer takes at most */
    char *model;      /* asked for: the name in a NOT_FOUND; behind `id` */
    size_t id_len;
    uint8_t id[]; /* [id_len], and the model's name with its NUL */
} pith_item;

void pith_item_ref(pith_item *item);

/* Frees the item and gives its job back, but leaves the call: its reference goes with the reply. */
void pith_item_unref(pith_item *item);

/* A decoded request, read, checked and made an item of `owner` with two references; the caller
 * submits it. `prefix`
 * stands before the names of fields in faults. On failure *item is NULL and `fault` says why. */
PITH_MUST_USE pith_status pith_item_read(pith_call *call, pith_entry entry, void *owner,
                                         const Pith__V1__CompressRequest *message,
                                         const char *prefix, pith_arena *arena,
                                         pith_compress_request *request, pith_submit_opts *opts,
                                         pith_item **item, pith_fault *fault);

/* Hands the request to the engine, whose reply comes to opts->reply with the item as `user`. On
 * success the engine owns one reference of the item. */
PITH_MUST_USE pith_status pith_item_submit(pith_item *item, const pith_compress_request *request,
                                           pith_submit_opts *opts, const char *prefix,
                                           pith_fault *fault);

/* What a reply that is not PITH_OK means to the peer. */
void pith_item_fault(const pith_item *item, const pith_reply *reply, const char *prefix,
                     pith_fault *fault);

/* What is wrong with one text among several, as its own answer carries it: by its id, or by the
 * call's where it has none. Logs what the peer must not read. PITH_EXHAUSTED when `arena`
 * (PITH_ITEM_ERROR_BYTES) is full. */
enum { PITH_ITEM_ERROR_BYTES = PITH_RPC_DETAILS_BYTES_MAX * 8 };
PITH_MUST_USE pith_status pith_item_error(const pith_call *call, const pith_fault *fault,
                                          const uint8_t *id, size_t id_len, pith_arena *arena,
                                          Google__Rpc__Status **status);

/* An item's answer is there and not yet sent: settles the key's charge, and tells the observer. */
void pith_item_observe(const pith_item *item, const pith_reply *reply);
/* Tells of a request that got no further than its checks. `id` [id_len] may be NULL. */
void pith_refusal_observe(pith_call *call, pith_entry entry, const pith_fault *fault,
                          const uint8_t *id, size_t id_len, int64_t begin_ns);

/* What the answered texts of a call took, for its trailers. */
typedef struct pith_usage {
    uint64_t input_tokens;
    uint64_t kept_tokens;
    pith_timing timing; /* the longest of each part: texts of one call run side by side */
    bool any;
} pith_usage;

void pith_usage_add(pith_usage *usage, const pith_reply *reply);
/* Adds "pith-usage" and "server-timing"; nothing when no text was answered. */
void pith_usage_send(const pith_usage *usage, pith_call *call);

#endif
