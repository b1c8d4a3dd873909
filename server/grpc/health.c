#include "server/grpc/health.h"

#include "grpc/health/v1/health.pb-c.h"
#include "server/grpc/wire.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef Grpc__Health__V1__HealthCheckResponse check_response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

typedef enum target { TARGET_SERVER, TARGET_SERVICE, TARGET_LIVENESS, TARGET_COUNT } target;

static const char *const target_names[TARGET_COUNT] = {
    [TARGET_SERVER] = "",
    [TARGET_SERVICE] = "pith.v1.CompressionService",
    [TARGET_LIVENESS] = "liveness",
};

/* State of a Watch call; on the list from its message until the call is freed. */
typedef struct watch {
    struct watch *prev;
    struct watch *next;
    pith_call *call;
    target target; /* TARGET_COUNT: a name we do not know */
    int told;      /* last status sent, -1: none */
} watch;

struct pith_health {
    pthread_mutex_t mutex; /* guards everything below; taken before a call's own */
    watch *watches;
    pith_engine *engine; /* NULL: not ready */
    bool draining;
    bool ending;
};

static target find_target(const char *name) {
    int i = 0;
    while (i < TARGET_COUNT && strcmp(target_names[i], name) != 0) {
        i++;
    }
    return (target)i;
}

/* Mutex held. */
static serving_status status_of(const pith_health *h, target which) {
    if (which == TARGET_COUNT) {
        return STATUS(SERVICE_UNKNOWN);
    }
    pith_engine_state state =
        h->engine == NULL ? PITH_ENGINE_SERVING : pith_engine_check(h->engine);
    bool out = state == PITH_ENGINE_STALLED || state == PITH_ENGINE_FAULTED;
    bool away = h->engine == NULL || h->draining;
    return out || (away && which != TARGET_LIVENESS) ? STATUS(NOT_SERVING) : STATUS(SERVING);
}

static void fail(pith_call *call, pith_status status, const char *text) {
    pith_fault fault;
    (void)pith_fault_set(&fault, status, status == PITH_NOT_FOUND ? "service" : NULL, "%s", text);
    pith_call_fail(call, &fault, NULL, 0);
}

/* Sends a watcher the status when it is news. Mutex held. */
static void tell(pith_health *h, watch *w) {
    serving_status now = status_of(h, w->target);
    if (w->told != (int)now) {
        check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
        response.status = now;
        w->told = (int)now;
        (void)pith_call_send(w->call, &response.base);
    }
    if (h->ending) {
        fail(w->call, PITH_UNAVAILABLE, "the server is shutting down");
    }
}

static void tell_all(pith_health *h) {
    for (watch *w = h->watches; w != NULL; w = w->next) {
        tell(h, w);
    }
}

pith_status pith_health_open(pith_health **health, pith_err *err) {
    *health = calloc(1, sizeof **health);
    if (*health == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the health service");
    }
    (void)pthread_mutex_init(&(*health)->mutex, NULL);
    return PITH_OK;
}

void pith_health_close(pith_health *h) {
    if (h != NULL) {
        (void)pthread_mutex_destroy(&h->mutex);
        free(h);
    }
}

void pith_health_set_ready(pith_health *h, pith_engine *engine) {
    (void)pthread_mutex_lock(&h->mutex);
    h->engine = engine;
    tell_all(h);
    (void)pthread_mutex_unlock(&h->mutex);
}

void pith_health_look(pith_health *h) {
    (void)pthread_mutex_lock(&h->mutex);
    tell_all(h);
    (void)pthread_mutex_unlock(&h->mutex);
}

void pith_health_set_draining(pith_health *h) {
    (void)pthread_mutex_lock(&h->mutex);
    h->draining = true;
    tell_all(h);
    (void)pthread_mutex_unlock(&h->mutex);
}

void pith_health_end_watches(pith_health *h) {
    (void)pthread_mutex_lock(&h->mutex);
    h->ending = true;
    tell_all(h);
    (void)pthread_mutex_unlock(&h->mutex);
}

/* Decodes a request into `arena`; ends the call when it is malformed. */
static ProtobufCMessage *decode(pith_call *call, const ProtobufCMessageDescriptor *type,
                                const uint8_t *data, size_t len, pith_arena *arena) {
    const pith_wire_opts opts = {.message_bytes_max = PITH_WIRE_SMALL_BYTES_MAX};
    ProtobufCMessage *message;
    pith_fault fault = {0};
    if (pith_wire_decode(type, data, len, &opts, arena, &message, &fault) != PITH_OK) {
        pith_call_fail(call, &fault, NULL, 0);
        return NULL;
    }
    return message;
}

static void check_message(pith_call *call, const uint8_t *data, size_t len) {
    pith_health *h = pith_call_service(call);
    pith_arena arena;
    const Grpc__Health__V1__HealthCheckRequest *request = (const void *)decode(
        call, &grpc__health__v1__health_check_request__descriptor, data, len, &arena);
    if (request != NULL) {
        target which = find_target(request->service);
        check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
        (void)pthread_mutex_lock(&h->mutex);
        response.status = status_of(h, which);
        (void)pthread_mutex_unlock(&h->mutex);
        if (which == TARGET_COUNT) {
            fail(call, PITH_NOT_FOUND, "no service of this name");
        } else {
            (void)pith_call_reply(call, &response.base);
        }
    }
    pith_arena_reset(&arena);
}

static void list_message(pith_call *call, const uint8_t *data, size_t len) {
    (void)data; /* HealthListRequest has no field */
    (void)len;
    pith_health *h = pith_call_service(call);
    check_response statuses[TARGET_COUNT];
    Grpc__Health__V1__HealthListResponse__StatusesEntry entries[TARGET_COUNT];
    Grpc__Health__V1__HealthListResponse__StatusesEntry *pointers[TARGET_COUNT];
    (void)pthread_mutex_lock(&h->mutex);
    for (int i = 0; i < TARGET_COUNT; i++) {
        statuses[i] = (check_response)GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
        statuses[i].status = status_of(h, (target)i);
        entries[i] = (Grpc__Health__V1__HealthListResponse__StatusesEntry)
            GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__STATUSES_ENTRY__INIT;
        entries[i].key = (char *)(uintptr_t)target_names[i];
        entries[i].value = &statuses[i];
        pointers[i] = &entries[i];
    }
    (void)pthread_mutex_unlock(&h->mutex);
    Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
    response.n_statuses = TARGET_COUNT;
    response.statuses = pointers;
    (void)pith_call_reply(call, &response.base);
}

static void watch_message(pith_call *call, const uint8_t *data, size_t len) {
    pith_health *h = pith_call_service(call);
    pith_arena arena;
    const Grpc__Health__V1__HealthCheckRequest *request = (const void *)decode(
        call, &grpc__health__v1__health_check_request__descriptor, data, len, &arena);
    if (request != NULL) {
        watch *w = calloc(1, sizeof *w);
        if (w == NULL) {
            fail(call, PITH_NO_MEMORY, "no memory for a watch");
        } else {
            *w = (watch){.call = call, .target = find_target(request->service), .told = -1};
            pith_call_set_state(call, w);
            (void)pthread_mutex_lock(&h->mutex);
            w->next = h->watches;
            if (w->next != NULL) {
                w->next->prev = w;
            }
            h->watches = w;
            tell(h, w);
            (void)pthread_mutex_unlock(&h->mutex);
        }
    }
    pith_arena_reset(&arena);
}

/* The list holds no reference: a watch is on it until its call is freed, which waits for the lock.
 */
static void watch_free(pith_call *call) {
    pith_health *h = pith_call_service(call);
    watch *w = pith_call_state(call);
    if (w == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&h->mutex);
    if (w->prev != NULL) {
        w->prev->next = w->next;
    } else {
        h->watches = w->next;
    }
    if (w->next != NULL) {
        w->next->prev = w->prev;
    }
    (void)pthread_mutex_unlock(&h->mutex);
    free(w);
}

const pith_method pith_method_health_check = {
    .path = "/grpc.health.v1.Health/Check",
    .kind = PITH_CALL_UNARY,
    .always_served = true,
    .needs_no_key = true,
    .on_message = check_message,
};

const pith_method pith_method_health_list = {
    .path = "/grpc.health.v1.Health/List",
    .kind = PITH_CALL_UNARY,
    .always_served = true,
    .needs_no_key = true,
    .on_message = list_message,
};

const pith_method pith_method_health_watch = {
    .path = "/grpc.health.v1.Health/Watch",
    .kind = PITH_CALL_SERVER_STREAM,
    .always_served = true,
    .needs_no_key = true,
    .on_message = watch_message,
    .on_free = watch_free,
};
