#include "server/grpc/oip.h"

#include "runtime/base/clock.h"
#include "runtime/base/utf8.h"
#include "server/common/version.h"
#include "server/grpc/item.h"
#include "server/grpc/oip_tensor.h"
#include "server/grpc/wire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD_INFER_ID = 3 };

/* --- probes and metadata ------------------------------------------------------------------ */

/* A server that loads its models is live and not ready. */
static bool is_loaded(const pith_compression *service) {
    return atomic_load_explicit(&service->loaded, memory_order_acquire);
}

static bool is_live(const pith_compression *service) {
    pith_engine_state state =
        is_loaded(service) ? pith_engine_check(service->engine) : PITH_ENGINE_SERVING;
    return state != PITH_ENGINE_STALLED && state != PITH_ENGINE_FAULTED;
}

static bool is_ready(const pith_compression *service) {
    return is_loaded(service) && !atomic_load(&service->leaving) &&
           pith_engine_check(service->engine) == PITH_ENGINE_SERVING;
}

/* The model of that name, the default for ""; NULL when there is none. */
static const pith_model_info *find_model(const pith_compression *service, const char *name,
                                         const char *version) {
    const pith_model_info *models;
    size_t n = pith_engine_models(service->engine, &models);
    for (size_t i = 0; i < n && pith_infer_version_is_known(version); i++) {
        if (name[0] == '\0' ? models[i].is_default : strcmp(models[i].name, name) == 0) {
            return &models[i];
        }
    }
    return NULL;
}

/* Decodes a small request into `arena`; ends the call when it is malformed. */
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

static void server_live(pith_call *call, const uint8_t *data, size_t len) {
    pith_arena arena;
    if (decode(call, &inference__server_live_request__descriptor, data, len, &arena) != NULL) {
        Inference__ServerLiveResponse response = INFERENCE__SERVER_LIVE_RESPONSE__INIT;
        response.live = is_live(pith_call_service(call));
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&arena);
}

static void server_ready(pith_call *call, const uint8_t *data, size_t len) {
    pith_arena arena;
    if (decode(call, &inference__server_ready_request__descriptor, data, len, &arena) != NULL) {
        Inference__ServerReadyResponse response = INFERENCE__SERVER_READY_RESPONSE__INIT;
        response.ready = is_ready(pith_call_service(call));
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&arena);
}

static void model_ready(pith_call *call, const uint8_t *data, size_t len) {
    const pith_compression *service = pith_call_service(call);
    pith_arena arena;
    const Inference__ModelReadyRequest *asked = (const Inference__ModelReadyRequest *)decode(
        call, &inference__model_ready_request__descriptor, data, len, &arena);
    if (asked != NULL) {
        Inference__ModelReadyResponse response = INFERENCE__MODEL_READY_RESPONSE__INIT;
        response.ready =
            is_ready(service) && find_model(service, asked->name, asked->version) != NULL;
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&arena);
}

static void server_metadata(pith_call *call, const uint8_t *data, size_t len) {
    pith_arena arena;
    if (decode(call, &inference__server_metadata_request__descriptor, data, len, &arena) != NULL) {
        Inference__ServerMetadataResponse response = INFERENCE__SERVER_METADATA_RESPONSE__INIT;
        response.name = (char *)(uintptr_t) "pith";
        response.version = (char *)(uintptr_t)PITH_VERSION;
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&arena);
}

static void model_metadata(pith_call *call, const uint8_t *data, size_t len) {
    pith_arena arena;
    pith_fault fault = {0};
    const Inference__ModelMetadataRequest *asked = (const Inference__ModelMetadataRequest *)decode(
        call, &inference__model_metadata_request__descriptor, data, len, &arena);
    if (asked == NULL) {
        pith_arena_reset(&arena);
        return;
    }
    const pith_model_info *model = find_model(pith_call_service(call), asked->name, asked->version);
    Inference__ModelMetadataResponse response;
    pith_arena answer;
    pith_arena_init(&answer, PITH_INFER_ARENA_BYTES);
    if (model == NULL) {
        (void)pith_fault_set(&fault, PITH_NOT_FOUND, "name", "no model \"%.64s\" of this version",
                             asked->name);
        pith_call_fail(call, &fault, NULL, 0);
    } else if (pith_infer_describe(model, &answer, &response, &fault.err) != PITH_OK) {
        pith_call_fail(call, &fault, NULL, 0);
    } else {
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&answer);
    pith_arena_reset(&arena);
}

/* --- ModelInfer --------------------------------------------------------------------------- */

/* State of a call. Each text is an item of its own; the last one answers. */
typedef struct infer {
    pith_call *call;
    pith_infer_form form;
    atomic_size_t left;           /* texts to come, and one for the handler while it submits */
    pith_item **items;            /* [form.n], NULL where the engine took nothing; the poller's */
    pith_infer_element *elements; /* [form.n] answers, their texts owned, each written once */
    pthread_mutex_t mutex;        /* guards everything below */
    pith_usage usage;
    const char *model; /* the engine's name of the one that answered */
    pith_fault fault;  /* of the first text that has one */
    size_t fault_at;   /* its index; form.n: none */
    size_t id_len;
    char id[]; /* NUL-terminated */
} infer;

static void note_fault(infer *state, size_t index, const pith_fault *fault) {
    (void)pthread_mutex_lock(&state->mutex);
    if (index < state->fault_at) {
        state->fault = *fault;
        state->fault_at = index;
    }
    (void)pthread_mutex_unlock(&state->mutex);
}

static void send_answer(infer *state) {
    pith_arena arena;
    pith_infer_response response;
    pith_arena_init(&arena, pith_infer_arena_bytes(&state->form, state->elements));
    state->fault.err.status = pith_infer_write(state->elements, &state->form, state->model,
                                               state->id, &arena, &response, &state->fault.err);
    if (state->fault.err.status == PITH_OK) {
        pith_usage_send(&state->usage, state->call);
        (void)pith_call_reply(state->call, &response.base);
    } else {
        pith_call_fail(state->call, &state->fault, (const uint8_t *)state->id, state->id_len);
    }
    pith_arena_reset(&arena);
}

/* `n` texts less to come; the last one ends the call. */
static void settle(infer *state, size_t n) {
    if (atomic_fetch_sub_explicit(&state->left, n, memory_order_acq_rel) != n) {
        return;
    }
    if (state->fault_at < state->form.n) { /* nobody else is left */
        pith_call_fail(state->call, &state->fault, (const uint8_t *)state->id, state->id_len);
    } else {
        send_answer(state);
    }
}

/* False: no memory. */
static bool keep_answer(pith_infer_element *element, const pith_compress_result *result) {
    char *text = malloc(result->text_len + 1);
    if (text != NULL && result->text_len > 0) {
        memcpy(text, result->text, result->text_len);
    }
    *element = (pith_infer_element){.text = text,
                                    .text_len = result->text_len,
                                    .input_tokens = result->input_tokens,
                                    .kept_tokens = result->kept_tokens};
    return text != NULL;
}

static void infer_reply(void *user, const pith_reply *reply) {
    pith_item *it = user;
    pith_call *call = it->call;
    infer *state = it->owner;
    pith_fault fault = {0};
    pith_item_observe(it, reply);
    if (reply->status != PITH_OK) {
        pith_item_fault(it, reply, "", &fault);
    } else if (reply->result == NULL) {
        (void)pith_fault_set(&fault, PITH_INTERNAL, NULL, "the engine's reply carries no result");
    } else if (!keep_answer(&state->elements[it->index], reply->result)) {
        (void)pith_fault_set(&fault, PITH_NO_MEMORY, NULL, "no memory for an answer");
    }
    if (fault.err.status != PITH_OK) {
        note_fault(state, it->index, &fault);
    }
    (void)pthread_mutex_lock(&state->mutex);
    pith_usage_add(&state->usage, reply);
    state->model = reply->model == NULL ? state->model : reply->model->name;
    (void)pthread_mutex_unlock(&state->mutex);
    settle(state, 1);
    pith_item_unref(it);
    pith_call_unref(call);
}

static infer *infer_new(pith_call *call, const pith_infer_form *form, const char *id) {
    size_t id_len = strlen(id);
    infer *state = calloc(1, sizeof *state + id_len + 1);
    pith_item **items = calloc(form->n, sizeof *items);
    pith_infer_element *elements = calloc(form->n, sizeof *elements);
    if (state == NULL || items == NULL || elements == NULL) {
        free(state);
        free(items);
        free(elements);
        return NULL;
    }
    state->call = call;
    state->form = *form;
    atomic_init(&state->left, form->n + 1);
    state->items = items;
    state->elements = elements;
    (void)pthread_mutex_init(&state->mutex, NULL);
    state->model = "";
    state->fault_at = form->n;
    state->id_len = id_len;
    memcpy(state->id, id, id_len + 1);
    return state;
}

static pith_status begin_text(infer *state, size_t index, const Pith__V1__CompressRequest *asked,
                              pith_arena *arena, pith_fault *fault) {
    pith_compress_request request;
    pith_submit_opts opts = {.reply = infer_reply};
    pith_item *it;
    pith_status status = pith_item_read(state->call, PITH_ENTRY_MODEL_INFER, state, asked, "",
                                        arena, &request, &opts, &it, fault);
    if (status != PITH_OK) {
        return status;
    }
    it->index = index;
    state->items[index] = it;
    status = pith_item_submit(it, &request, &opts, "", fault);
    if (status != PITH_OK) {
        state->items[index] = NULL;
        pith_item_unref(it);
        pith_item_unref(it);
        pith_call_unref(state->call);
    }
    return status;
}

static void cancel_all(const infer *state) {
    for (size_t i = 0; i < state->form.n; i++) {
        if (state->items[i] != NULL && state->items[i]->job != NULL) {
            pith_job_cancel(state->items[i]->job);
        }
    }
}

/* One text that is refused is the call's answer: those behind it are not begun, those before it
 * are given up. */
static void submit_all(infer *state, const pith_infer_request *message,
                       Pith__V1__CompressRequest *asked, pith_arena *arena) {
    size_t n = state->form.n;
    size_t at = 0;
    for (size_t i = 0; i < n && pith_infer_next_text(message, &at, &asked->text); i++) {
        pith_fault fault = {0};
        int64_t begin_ns = pith_clock_now(&pith_clock_system);
        if (begin_text(state, i, asked, arena, &fault) != PITH_OK) {
            pith_refusal_observe(state->call, PITH_ENTRY_MODEL_INFER, &fault,
                                 (const uint8_t *)state->id, state->id_len, begin_ns);
            note_fault(state, 0, &fault); /* not what the others are given up with */
            cancel_all(state);
            settle(state, n - i);
            break;
        }
    }
    settle(state, 1); /* the handler's share */
}

static void infer_message(pith_call *call, const uint8_t *data, size_t len) {
    const pith_wire_opts wire = {0};
    pith_arena arena;
    pith_fault fault = {0};
    ProtobufCMessage *message;
    Pith__V1__CompressRequest asked;
    pith_infer_form form;
    infer *state = NULL;
    int64_t begin_ns = pith_clock_now(&pith_clock_system);
    pith_status status = pith_wire_decode(&inference__model_infer_request__descriptor, data, len,
                                          &wire, &arena, &message, &fault);
    if (status == PITH_OK) {
        status = pith_infer_read((const pith_infer_request *)message, &asked, &form, &fault);
    }
    if (status == PITH_OK) {
        state = infer_new(call, &form, ((const pith_infer_request *)message)->id);
        status =
            state == NULL ? pith_fault_set(&fault, PITH_NO_MEMORY, NULL, "no memory") : PITH_OK;
    }
    if (status == PITH_OK) {
        pith_call_set_state(call, state); /* before submit: the reply may free the last holder */
        submit_all(state, (const pith_infer_request *)message, &asked, &arena);
    } else {
        const uint8_t *id = NULL;
        size_t id_len = 0;
        (void)pith_wire_find(data, len, FIELD_INFER_ID, &id, &id_len);
        pith_refusal_observe(call, PITH_ENTRY_MODEL_INFER, &fault, id, id_len, begin_ns);
        pith_call_fail(call, &fault, id, pith_utf8_valid((const char *)id, id_len));
    }
    pith_arena_reset(&arena);
}

static void infer_cancel(pith_call *call) {
    const infer *state = pith_call_state(call);
    if (state != NULL) {
        cancel_all(state);
    }
}

static void infer_free(pith_call *call) {
    infer *state = pith_call_state(call);
    if (state == NULL) {
        return;
    }
    for (size_t i = 0; i < state->form.n; i++) {
        if (state->items[i] != NULL) {
            pith_item_unref(state->items[i]);
        }
        free((void *)(uintptr_t)state->elements[i].text);
    }
    free(state->items);
    free(state->elements);
    (void)pthread_mutex_destroy(&state->mutex);
    free(state);
}

#define SERVICE "/inference.GRPCInferenceService/"
#define PROBE(method, handler)                                                                     \
    {                                                                                              \
        .path = SERVICE method, .kind = PITH_CALL_UNARY, .always_served = true,                    \
        .needs_no_key = true, .on_message = handler                                                \
    }

const pith_method pith_method_server_live = PROBE("ServerLive", server_live);
const pith_method pith_method_server_ready = PROBE("ServerReady", server_ready);
const pith_method pith_method_model_ready = PROBE("ModelReady", model_ready);
const pith_method pith_method_server_metadata = {
    .path = SERVICE "ServerMetadata",
    .kind = PITH_CALL_UNARY,
    .on_message = server_metadata,
};
const pith_method pith_method_model_metadata = {
    .path = SERVICE "ModelMetadata",
    .kind = PITH_CALL_UNARY,
    .on_message = model_metadata,
};
const pith_method pith_method_model_infer = {
    .path = SERVICE "ModelInfer",
    .kind = PITH_CALL_UNARY,
    .on_message = infer_message,
    .on_cancel = infer_cancel,
    .on_free = infer_free,
};
