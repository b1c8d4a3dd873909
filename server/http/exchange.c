#include "server/http/http_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BODY_EXTRA_BYTES = 64 * 1024, /* keys, ratio, white space beside the text */
    /* JSON may write a character of two bytes as six; what is longer still goes as UTF-8. */
    BODY_ESCAPE_FACTOR = 3,
    /* All bodies together: five of the greatest. More is refused with 503, not waited for. */
    BODIES_TOGETHER = 5,
    BODY_FIRST_BYTES = 16 * 1024
};

size_t pith_http_body_bytes_max(const pith_http_server *server) {
    return BODY_ESCAPE_FACTOR * server->opts.text_bytes_max + BODY_EXTRA_BYTES;
}

static bool is_printable(const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < 0x21 || *c > 0x7E) {
            return false;
        }
    }
    return true;
}

/* A header's value, where it is short and printable; else "". */
static void copy_header(pith_http_exchange *ex, const char *name, char *out, size_t size) {
    const char *value = MHD_lookup_connection_value(ex->connection, MHD_HEADER_KIND, name);
    bool usable = value != NULL && strlen(value) < size && is_printable(value);
    (void)snprintf(out, size, "%s", usable ? value : "");
}

pith_http_exchange *pith_http_exchange_new(pith_http_server *server,
                                           struct MHD_Connection *connection) {
    pith_http_exchange *ex = calloc(1, sizeof *ex);
    if (ex == NULL) {
        return NULL;
    }
    atomic_init(&ex->refs, 1);
    ex->server = server;
    ex->connection = connection;
    ex->key = PITH_KEY_NONE;
    ex->begin_ns = pith_clock_now(&pith_clock_system);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    ex->conn = info == NULL ? NULL : info->socket_context;
    copy_header(ex, "x-request-id", ex->id, sizeof ex->id);
    copy_header(ex, "traceparent", ex->traceparent, sizeof ex->traceparent);
    return ex;
}

void pith_http_exchange_ref(pith_http_exchange *ex) {
    (void)atomic_fetch_add_explicit(&ex->refs, 1, memory_order_relaxed);
}

void pith_http_exchange_drop_body(pith_http_exchange *ex) {
    free(ex->body);
    ex->body = NULL;
    (void)pthread_mutex_lock(&ex->server->mutex);
    ex->server->body_bytes -= ex->cap;
    (void)pthread_mutex_unlock(&ex->server->mutex);
    ex->cap = 0;
    ex->len = 0;
}

void pith_http_exchange_unref(pith_http_exchange *ex) {
    if (atomic_fetch_sub_explicit(&ex->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    pith_http_exchange_drop_body(ex);
    if (ex->job != NULL) {
        pith_job_release(ex->job);
    }
    free(ex->answer.body);
    free(ex);
}

/* Room for `len` more bytes, within what all bodies may hold. */
static bool grow(pith_http_exchange *ex, size_t len) {
    size_t want = ex->cap == 0 ? BODY_FIRST_BYTES : ex->cap;
    while (want < ex->len + len) {
        want *= 2;
    }
    pith_http_server *server = ex->server;
    size_t max = BODIES_TOGETHER * pith_http_body_bytes_max(server);
    (void)pthread_mutex_lock(&server->mutex);
    bool fits = server->body_bytes + (want - ex->cap) <= max;
    server->body_bytes += fits ? want - ex->cap : 0;
    (void)pthread_mutex_unlock(&server->mutex);
    if (!fits) {
        return false;
    }
    size_t before = ex->cap;
    ex->cap = want;
    char *body = realloc(ex->body, want);
    if (body == NULL) {
        (void)pthread_mutex_lock(&server->mutex);
        server->body_bytes -= want - before;
        (void)pthread_mutex_unlock(&server->mutex);
        ex->cap = before;
        return false;
    }
    ex->body = body;
    return true;
}

void pith_http_exchange_append(pith_http_exchange *ex, const char *data, size_t len) {
    if (ex->too_large || ex->no_memory) {
        return;
    }
    if (len > pith_http_body_bytes_max(ex->server) - ex->len) {
        ex->too_large = true;
        pith_http_exchange_drop_body(ex);
    } else if (ex->len + len > ex->cap && !grow(ex, len)) {
        ex->no_memory = true;
        pith_http_exchange_drop_body(ex);
    } else {
        memcpy(ex->body + ex->len, data, len);
        ex->len += len;
    }
}

void pith_http_set_phase(pith_http_exchange *ex, pith_http_phase phase) {
    if (ex->conn == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&ex->server->mutex);
    ex->conn->phase = phase;
    ex->conn->since_ns = pith_clock_now(&pith_clock_system);
    ex->conn->exchange = phase == PITH_HTTP_WAITING ? ex : NULL;
    (void)pthread_mutex_unlock(&ex->server->mutex);
}

static void add_headers(pith_http_exchange *ex, struct MHD_Response *response) {
    const pith_http_answer *a = &ex->answer;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, a->type);
    if (a->retry_after_ns > 0) {
        char seconds[24];
        (void)snprintf(seconds, sizeof seconds, "%lld",
                       (long long)((a->retry_after_ns + 999999999) / 1000000000));
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (a->wants_key) {
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    }
    if (a->allow != NULL) {
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, a->allow);
    }
    if (ex->id[0] != '\0') {
        (void)MHD_add_response_header(response, "x-request-id", ex->id);
    }
    if (atomic_load(&ex->server->draining)) {
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
}

enum MHD_Result pith_http_send(pith_http_exchange *ex) {
    pith_http_answer *a = &ex->answer;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(a->len, a->body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        return MHD_NO; /* ends the connection */
    }
    a->body = NULL;
    a->len = 0;
    add_headers(ex, response);
    pith_http_set_phase(ex, PITH_HTTP_SENDING);
    enum MHD_Result result = MHD_queue_response(ex->connection, a->code, response);
    MHD_destroy_response(response);
    return result;
}
