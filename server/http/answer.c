#include "runtime/base/log.h"
#include "server/grpc/rpc_error.h"
#include "server/http/http_internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { RATIO_DIGITS = 6 };

static void set_body(pith_http_answer *answer, unsigned code, const char *type, char *body) {
    free(answer->body);
    *answer = (pith_http_answer){.code = code, .type = type, .body = body};
    if (body == NULL) {
        answer->code = MHD_HTTP_INTERNAL_SERVER_ERROR;
    } else {
        answer->len = strlen(body);
    }
}

void pith_http_answer_json(pith_http_answer *answer, unsigned code, void *json) {
    char *text =
        json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(RATIO_DIGITS));
    json_decref(json);
    set_body(answer, code, "application/json", text);
}

void pith_http_answer_text(pith_http_answer *answer, unsigned code, const char *text) {
    set_body(answer, code, "text/plain; charset=utf-8", strdup(text));
}

static unsigned http_code(pith_status status) {
    switch (status) {
    case PITH_INVALID:
        return MHD_HTTP_BAD_REQUEST;
    case PITH_NOT_FOUND:
        return MHD_HTTP_NOT_FOUND;
    case PITH_EXHAUSTED:
    case PITH_NO_MEMORY:
    case PITH_UNAVAILABLE:
    case PITH_CANCELLED: /* the peer is gone, or a drain cut it: a retry is right */
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    case PITH_DEADLINE:
        return MHD_HTTP_GATEWAY_TIMEOUT;
    case PITH_NO_KEY:
        return MHD_HTTP_UNAUTHORIZED;
    case PITH_UNSUPPORTED:
        return MHD_HTTP_NOT_IMPLEMENTED;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

void pith_http_answer_error(pith_http_answer *answer, pith_status status, const char *reason,
                            const char *field, const char *text, int64_t retry_after_ns) {
    if (pith_rpc_is_private(status)) {
        pith_log(PITH_LOG_ERROR, "http: %s: %s", pith_status_name(status), text);
        text = status == PITH_NO_MEMORY ? "out of memory" : "internal error";
    }
    pith_fault fault = {.err = {.status = status}, .retry_after_ns = retry_after_ns};
    json_t *error =
        json_pack("{s:s, s:s, s:s}", "code", pith_rpc_code_name((int)pith_rpc_code_of(status)),
                  "reason", reason == NULL ? pith_rpc_reason(status) : reason, "message", text);
    if (field != NULL && field[0] != '\0') {
        (void)json_object_set_new(error, "field", json_string(field));
    }
    pith_http_answer_json(answer, http_code(status), json_pack("{s:o}", "error", error));
    answer->wants_key = status == PITH_NO_KEY;
    answer->retry_after_ns =
        answer->code == MHD_HTTP_SERVICE_UNAVAILABLE ? pith_rpc_retry_ns(&fault) : 0;
    if (answer->code == MHD_HTTP_SERVICE_UNAVAILABLE && answer->retry_after_ns == 0) {
        answer->retry_after_ns = 1; /* rounds up to a second */
    }
}
