#include "server/grpc/rpc_error.h"

#include "google/rpc/error_details.pb-c.h"
#include "runtime/base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TYPE_URL     "type.googleapis.com/"
#define ERROR_DOMAIN "pith.v1"

enum { DETAILS_MAX = 6 };

#define MS_NS INT64_C(1000000)

/* One row per status. The retry delays are used where the engine gives none: a full queue drains
 * at about one text in 10 ms, and a draining process is gone after a second. */
typedef struct row {
    pith_rpc_code code;
    const char *reason;
    bool private_text;
    int64_t retry_ns;
} row;

static const row rows[PITH_STATUS_COUNT] = {
    [PITH_OK] = {PITH_RPC_OK, "OK", false, 0},
    [PITH_INVALID] = {PITH_RPC_INVALID_ARGUMENT, "INVALID_REQUEST", false, 0},
    [PITH_NOT_FOUND] = {PITH_RPC_NOT_FOUND, "NOT_FOUND", false, 0},
    [PITH_EXHAUSTED] = {PITH_RPC_RESOURCE_EXHAUSTED, "QUEUE_FULL", false, 100 * MS_NS},
    [PITH_NO_MEMORY] = {PITH_RPC_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", true, 1000 * MS_NS},
    [PITH_IO] = {PITH_RPC_INTERNAL, "INTERNAL", true, 0},
    [PITH_CORRUPT] = {PITH_RPC_INTERNAL, "INTERNAL", true, 0},
    [PITH_UNSUPPORTED] = {PITH_RPC_UNIMPLEMENTED, "UNSUPPORTED", false, 0},
    [PITH_CANCELLED] = {PITH_RPC_CANCELLED, "CANCELLED", false, 0},
    [PITH_DEADLINE] = {PITH_RPC_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", false, 0},
    [PITH_UNAVAILABLE] = {PITH_RPC_UNAVAILABLE, "DRAINING", false, 1000 * MS_NS},
    [PITH_INTERNAL] = {PITH_RPC_INTERNAL, "INTERNAL", true, 0},
    [PITH_NO_KEY] = {PITH_RPC_UNAUTHENTICATED, "NO_KEY", false, 0},
};

static const row *row_of(pith_status status) {
    bool known = (int)status >= 0 && status < PITH_STATUS_COUNT;
    return &rows[known ? status : PITH_INTERNAL];
}

pith_rpc_code pith_rpc_code_of(pith_status status) {
    return row_of(status)->code;
}

const char *pith_rpc_reason(pith_status status) {
    return row_of(status)->reason;
}

const char *pith_rpc_refusal_reason(pith_refused refused) {
    switch (refused) {
    case PITH_REFUSED_DEADLINE:
        return "QUEUE_TOO_LONG";
    case PITH_REFUSED_FAULT:
        return "DEVICE_LOST";
    default:
        return NULL;
    }
}

/* A drain refuses; what was accepted before it is answered. */
const char *pith_rpc_reply_reason(const pith_reply *reply) {
    return reply->status == PITH_UNAVAILABLE ? "DEVICE_LOST" : NULL;
}

/* Beside the statuses' own. */
static const struct {
    pith_status status;
    const char *reason;
} causes[] = {
    {PITH_UNAVAILABLE, "LOADING"},
    {PITH_UNAVAILABLE, "DEVICE_LOST"},
    {PITH_DEADLINE, "QUEUE_TOO_LONG"},
    {PITH_EXHAUSTED, "KEY_QUOTA"},
};
_Static_assert(sizeof causes / sizeof *causes == PITH_RPC_CAUSES - PITH_STATUS_COUNT,
               "a number for each");

size_t pith_rpc_cause_of(pith_status status, const char *reason) {
    size_t own = (int)status >= 0 && status < PITH_STATUS_COUNT ? (size_t)status : PITH_INTERNAL;
    for (size_t i = 0; reason != NULL && i < sizeof causes / sizeof *causes; i++) {
        if (causes[i].status == status && strcmp(causes[i].reason, reason) == 0) {
            return PITH_STATUS_COUNT + i;
        }
    }
    return own;
}

pith_status pith_rpc_cause_status(size_t cause) {
    return cause < PITH_STATUS_COUNT ? (pith_status)cause
                                     : causes[cause - PITH_STATUS_COUNT].status;
}

const char *pith_rpc_cause_reason(size_t cause) {
    return cause < PITH_STATUS_COUNT ? pith_rpc_reason((pith_status)cause)
                                     : causes[cause - PITH_STATUS_COUNT].reason;
}

bool pith_rpc_is_private(pith_status status) {
    return row_of(status)->private_text;
}

pith_status pith_rpc_code_to_status(int code) {
    for (int i = 0; i < PITH_STATUS_COUNT; i++) {
        /* The first row of a code wins: RESOURCE_EXHAUSTED is PITH_EXHAUSTED. */
        if ((int)rows[i].code == code && rows[i].code != PITH_RPC_INTERNAL) {
            return (pith_status)i;
        }
    }
    return PITH_INTERNAL;
}

const char *pith_rpc_code_name(int code) {
    static const char *const names[] = {"OK",
                                        "CANCELLED",
                                        "UNKNOWN",
                                        "INVALID_ARGUMENT",
                                        "DEADLINE_EXCEEDED",
                                        "NOT_FOUND",
                                        "ALREADY_EXISTS",
                                        "PERMISSION_DENIED",
                                        "RESOURCE_EXHAUSTED",
                                        "FAILED_PRECONDITION",
                                        "ABORTED",
                                        "OUT_OF_RANGE",
                                        "UNIMPLEMENTED",
                                        "INTERNAL",
                                        "UNAVAILABLE",
                                        "DATA_LOSS",
                                        "UNAUTHENTICATED"};
    bool known = code >= 0 && (size_t)code < sizeof names / sizeof names[0];
    return known ? names[code] : "UNKNOWN";
}

int64_t pith_rpc_retry_ns(const pith_fault *fault) {
    const row *r = row_of(fault->err.status);
    return r->retry_ns != 0 && fault->retry_after_ns > 0 ? fault->retry_after_ns : r->retry_ns;
}

/* The details of one Status, as they are collected. */
typedef struct builder {
    pith_arena *arena;
    Google__Protobuf__Any *items[DETAILS_MAX];
    size_t n;
    bool failed;
} builder;

static void add_detail(builder *b, const char *type_url, const ProtobufCMessage *message) {
    size_t len = protobuf_c_message_get_packed_size(message);
    Google__Protobuf__Any *any = pith_arena_alloc(b->arena, 1, sizeof *any);
    uint8_t *value = pith_arena_alloc(b->arena, 1, len);
    if (any == NULL || value == NULL || b->n == DETAILS_MAX) {
        b->failed = true;
        return;
    }
    *any = (Google__Protobuf__Any)GOOGLE__PROTOBUF__ANY__INIT;
    any->type_url = (char *)(uintptr_t)type_url;
    any->value =
        (ProtobufCBinaryData){.len = protobuf_c_message_pack(message, value), .data = value};
    b->items[b->n++] = any;
}

static void add_error_info(builder *b, const row *r, const pith_fault *fault) {
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    info.reason = (char *)(uintptr_t)(fault->reason != NULL ? fault->reason : r->reason);
    info.domain = (char *)(uintptr_t)ERROR_DOMAIN;
    char eta[24];
    Google__Rpc__ErrorInfo__MetadataEntry entry = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry *entries[] = {&entry};
    if (fault->wait_ns > 0) {
        (void)snprintf(eta, sizeof eta, "%" PRId64, fault->wait_ns / MS_NS);
        entry.key = (char *)(uintptr_t) "eta_ms";
        entry.value = eta;
        info.n_metadata = 1;
        info.metadata = entries;
    }
    add_detail(b, TYPE_URL "google.rpc.ErrorInfo", &info.base);
}

static void add_bad_request(builder *b, char *field, char *text) {
    Google__Rpc__BadRequest__FieldViolation violation =
        GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    violation.field = field;
    violation.description = text;
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
    bad.n_field_violations = 1;
    bad.field_violations = violations;
    add_detail(b, TYPE_URL "google.rpc.BadRequest", &bad.base);
}

static void add_retry(builder *b, int64_t retry_ns) {
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    delay.seconds = retry_ns / 1000000000;
    delay.nanos = (int32_t)(retry_ns % 1000000000);
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    retry.retry_delay = &delay;
    add_detail(b, TYPE_URL "google.rpc.RetryInfo", &retry.base);
}

static void add_quota_failure(builder *b, const pith_fault *fault, char *text) {
    char subject[sizeof "server" + PITH_FAULT_FIELD_BYTES];
    bool keyed = fault->reason != NULL && fault->resource[0] != '\0';
    (void)snprintf(subject, sizeof subject, "%s%s", keyed ? "key:" : "server",
                   keyed ? fault->resource : "");
    Google__Rpc__QuotaFailure__Violation violation = GOOGLE__RPC__QUOTA_FAILURE__VIOLATION__INIT;
    Google__Rpc__QuotaFailure__Violation *violations[] = {&violation};
    violation.subject = subject;
    violation.description = text;
    Google__Rpc__QuotaFailure quota = GOOGLE__RPC__QUOTA_FAILURE__INIT;
    quota.n_violations = 1;
    quota.violations = violations;
    add_detail(b, TYPE_URL "google.rpc.QuotaFailure", &quota.base);
}

static void add_resource(builder *b, char *field, char *name, char *text) {
    Google__Rpc__ResourceInfo resource = GOOGLE__RPC__RESOURCE_INFO__INIT;
    resource.resource_type = field;
    resource.resource_name = name;
    resource.description = text;
    add_detail(b, TYPE_URL "google.rpc.ResourceInfo", &resource.base);
}

static void add_request_info(builder *b, const uint8_t *id, size_t id_len) {
    bool usable =
        id_len > 0 && id_len <= PITH_REQUEST_ID_BYTES_MAX && memchr(id, 0, id_len) == NULL;
    if (!usable) {
        return;
    }
    char text[PITH_REQUEST_ID_BYTES_MAX + 1];
    memcpy(text, id, id_len);
    text[id_len] = '\0';
    Google__Rpc__RequestInfo info = GOOGLE__RPC__REQUEST_INFO__INIT;
    info.request_id = text;
    add_detail(b, TYPE_URL "google.rpc.RequestInfo", &info.base);
}

/* "text: invalid UTF-8 at byte 3", or a fixed line where the text is not for peers. */
static char *public_text(const pith_fault *fault, pith_arena *arena) {
    size_t size = sizeof fault->err.text + sizeof fault->field + 2;
    char *text = pith_arena_alloc(arena, 1, size);
    if (text == NULL) {
        return NULL;
    }
    if (pith_rpc_is_private(fault->err.status)) {
        const char *line = fault->err.status == PITH_NO_MEMORY ? "out of memory" : "internal error";
        (void)snprintf(text, size, "%s", line);
    } else if (fault->field[0] != '\0') {
        (void)snprintf(text, size, "%s: %s", fault->field, fault->err.text);
    } else {
        (void)snprintf(text, size, "%s", fault->err.text);
    }
    /* A text cut at its buffer's end may have lost half a character. */
    text[pith_utf8_valid(text, strlen(text))] = '\0';
    return text;
}

pith_status pith_rpc_error_build(const pith_fault *fault, const uint8_t *id, size_t id_len,
                                 pith_arena *arena, Google__Rpc__Status **status) {
    const row *r = row_of(fault->err.status);
    builder b = {.arena = arena};
    Google__Rpc__Status *out = pith_arena_alloc(arena, 1, sizeof *out);
    char *text = public_text(fault, arena);
    Google__Protobuf__Any **details = pith_arena_alloc(arena, DETAILS_MAX, sizeof *details);
    pith_fault copy = *fault;
    *status = out;
    if (out == NULL || text == NULL || details == NULL) {
        return PITH_EXHAUSTED;
    }
    copy.err.text[pith_utf8_valid(copy.err.text, strlen(copy.err.text))] = '\0';
    add_error_info(&b, r, fault);
    if (r->code == PITH_RPC_INVALID_ARGUMENT && copy.field[0] != '\0') {
        add_bad_request(&b, copy.field, copy.err.text);
    }
    if (r->code == PITH_RPC_RESOURCE_EXHAUSTED) {
        add_quota_failure(&b, fault, text);
    }
    if (r->code == PITH_RPC_NOT_FOUND) {
        add_resource(&b, copy.field, copy.resource, copy.err.text);
    }
    int64_t retry_ns = pith_rpc_retry_ns(fault);
    if (retry_ns > 0) {
        add_retry(&b, retry_ns);
    }
    add_request_info(&b, id, id_len);
    *out = (Google__Rpc__Status)GOOGLE__RPC__STATUS__INIT;
    out->code = (int32_t)r->code;
    out->message = text;
    memcpy(details, b.items, sizeof b.items);
    out->details = details;
    out->n_details = b.n;
    return b.failed ? PITH_EXHAUSTED : PITH_OK;
}
