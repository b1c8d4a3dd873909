/* POST /compress: Headroom's contract for a remote compressor. */
#include "server/grpc/rpc_error.h"
#include "server/http/body.h"
#include "server/http/http_internal.h"

#include <jansson.h>
#include <string.h>

static json_t *result_json(const pith_reply *reply) {
    const pith_compress_result *r = reply->result;
    double ratio = r->input_words == 0 ? 1.0 : (double)r->kept_words / (double)r->input_words;
    return json_pack("{s:o, s:I, s:I, s:f, s:s}", "compressed", json_stringn(r->text, r->text_len),
                     "original_tokens", (json_int_t)r->input_words, "compressed_tokens",
                     (json_int_t)r->kept_words, "compression_ratio", ratio, "model_used",
                     reply->model == NULL ? "" : reply->model->name);
}

static void observe(const pith_http_exchange *ex, pith_status status, const char *reason,
                    const char *field, const pith_reply *reply) {
    const pith_request_event event = {
        .entry = PITH_ENTRY_HTTP_COMPRESS,
        .status = status,
        .reason = reason,
        .field = field,
        .id = ex->id,
        .id_len = strlen(ex->id),
        .text_len = ex->text_len,
        .begin_ns = ex->begin_ns,
        .reply = reply,
        .traceparent = ex->traceparent,
    };
    pith_observe_request(ex->server->opts.observe, &event);
}

/* Gives the connection back to the poll thread, and the engine's reference with it. The count last:
 * a closing server goes on when it is zero. */
static void resume(pith_http_exchange *ex) {
    pith_http_server *server = ex->server;
    MHD_resume_connection(ex->connection);
    pith_http_exchange_unref(ex);
    (void)pthread_mutex_lock(&server->mutex);
    server->waiting--;
    (void)pthread_cond_broadcast(&server->changed);
    (void)pthread_mutex_unlock(&server->mutex);
}

/* Makes the charge of the key's bucket the true one. */
static void settle(const pith_http_exchange *ex, uint64_t tokens) {
    if (ex->charged > 0) {
        pith_keys_settle(ex->server->opts.keys, ex->key, ex->charged, tokens);
    }
}

static void on_reply(void *user, const pith_reply *reply) {
    pith_http_exchange *ex = user;
    bool answered = reply->status == PITH_OK && reply->result != NULL;
    const char *reason = pith_rpc_reply_reason(reply);
    settle(ex, answered ? reply->result->input_tokens : 0);
    if (answered) {
        pith_http_answer_json(&ex->answer, MHD_HTTP_OK, result_json(reply));
    } else {
        const char *text = reply->error == NULL ? pith_status_name(reply->status) : reply->error;
        pith_http_answer_error(&ex->answer, reply->status, reason, reply->error_field, text,
                               reply->retry_after_ns);
    }
    observe(ex, reply->status, reason, reply->error_field, reply);
    resume(ex);
}

/* `reason`: NULL for the status's own. */
static void refuse_for(pith_http_exchange *ex, pith_status status, const char *reason,
                       const char *field, const char *text, int64_t retry_after_ns) {
    pith_http_answer_error(&ex->answer, status, reason, field, text, retry_after_ns);
    observe(ex, status, reason, field, NULL);
}

static void refuse(pith_http_exchange *ex, pith_status status, const char *field, const char *text,
                   int64_t retry_after_ns) {
    refuse_for(ex, status, NULL, field, text, retry_after_ns);
}

/* The field's name as it is here. */
static const char *field_name(const char *field) {
    if (field != NULL && strcmp(field, "text") == 0) {
        return "content";
    }
    return field;
}

static pith_status submit(pith_http_exchange *ex, const pith_http_body *body, pith_refusal *refusal,
                          pith_err *err) {
    const pith_http_opts *o = &ex->server->opts;
    const pith_compress_request request = {
        .text = body->text,
        .text_len = body->text_len,
        .budget = body->has_ratio ? PITH_BUDGET_TARGET_RATIO : PITH_BUDGET_DEFAULT,
        .budget_value = body->ratio,
        .profile = o->profile,
        .fold_repeats = o->fold_repeats && o->profile == PITH_PROFILE_FAITHFUL,
    };
    const pith_submit_opts opts = {
        .deadline_ns = ex->begin_ns + o->answer_ns,
        .reply = on_reply,
        .user = ex,
    };
    pith_job *job = NULL;
    pith_status status =
        pith_engine_submit(atomic_load_explicit(&ex->server->engine, memory_order_acquire),
                           &request, &opts, &job, refusal, err);
    (void)pthread_mutex_lock(&ex->server->mutex);
    ex->job = job;
    (void)pthread_mutex_unlock(&ex->server->mutex);
    return status;
}

/* Suspended first: the reply may come before submit returns, and resumes it. */
static void submit_suspended(pith_http_exchange *ex, const pith_http_body *body) {
    pith_http_server *server = ex->server;
    (void)pthread_mutex_lock(&server->mutex);
    server->waiting++;
    (void)pthread_mutex_unlock(&server->mutex);
    pith_http_set_phase(ex, PITH_HTTP_WAITING);
    pith_http_exchange_ref(ex); /* the engine's */
    ex->suspended = true;
    MHD_suspend_connection(ex->connection);
    pith_refusal refusal = {0};
    pith_err err = {0};
    pith_status status = submit(ex, body, &refusal, &err);
    if (status != PITH_OK) {
        settle(ex, 0);
        refuse_for(ex, status, pith_rpc_refusal_reason(refusal.reason), field_name(refusal.field),
                   err.text, refusal.retry_after_ns);
        resume(ex);
    }
}

bool pith_http_admit(pith_http_exchange *ex) {
    pith_keys *keys = ex->server->opts.keys;
    if (keys == NULL) {
        return true;
    }
    const char *header =
        MHD_lookup_connection_value(ex->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    ex->key = pith_keys_find(keys, header, header == NULL ? 0 : strlen(header));
    if (ex->key == PITH_KEY_NONE) {
        refuse(ex, PITH_NO_KEY, NULL, "expected \"Authorization: Bearer KEY\" with a known key", 0);
        return false;
    }
    return true;
}

/* Takes the text's tokens from the key's bucket. */
static bool charge(pith_http_exchange *ex) {
    pith_keys *keys = ex->server->opts.keys;
    uint64_t tokens = pith_keys_estimate(ex->text_len);
    int64_t retry_ns = 0;
    if (keys == NULL) {
        return true;
    }
    if (!pith_keys_charge(keys, ex->key, tokens, ex->begin_ns, &retry_ns)) {
        refuse_for(ex, PITH_EXHAUSTED, "KEY_QUOTA", NULL, "the key has used up its tokens",
                   retry_ns);
        ex->answer.code = MHD_HTTP_TOO_MANY_REQUESTS;
        return false;
    }
    ex->charged = tokens;
    return true;
}

void pith_http_compress(pith_http_exchange *ex) {
    pith_http_body body = {0};
    pith_err err = {0};
    const char *field = "";
    ex->begin_ns = pith_clock_now(&pith_clock_system);
    if (ex->too_large) {
        refuse(ex, PITH_INVALID, "content", "the body is too long", 0);
        ex->answer.code = MHD_HTTP_CONTENT_TOO_LARGE;
        return;
    }
    if (ex->no_memory) {
        refuse(ex, PITH_EXHAUSTED, NULL, "too many bytes of bodies are under way", 0);
        return;
    }
    if (atomic_load(&ex->server->draining)) {
        refuse(ex, PITH_UNAVAILABLE, NULL, "the server is shutting down", 0);
        return;
    }
    if (atomic_load_explicit(&ex->server->engine, memory_order_acquire) == NULL) {
        refuse_for(ex, PITH_UNAVAILABLE, "LOADING", NULL, "the model is being loaded", 0);
        return;
    }
    pith_status status =
        pith_http_body_read(&body, ex->body == NULL ? "" : ex->body, ex->len, &field, &err);
    ex->text_len = body.text_len;
    pith_http_exchange_drop_body(ex); /* the tree has its own copy */
    if (status != PITH_OK) {
        refuse(ex, status, field, err.text, 0);
    } else if (body.text_len > ex->server->opts.text_bytes_max) {
        refuse(ex, PITH_INVALID, "content", "longer than this server accepts", 0);
        ex->answer.code = MHD_HTTP_CONTENT_TOO_LARGE;
    } else if (charge(ex)) {
        submit_suspended(ex, &body);
    }
    pith_http_body_reset(&body);
}
