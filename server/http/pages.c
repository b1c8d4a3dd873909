/* What GET answers: probes, metrics, models. */
#include "server/http/http_internal.h"

#include <jansson.h>
#include <string.h>

static void probe(pith_http_exchange *ex, bool good, const char *text, const char *otherwise) {
    pith_http_answer_text(&ex->answer, good ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                          good ? text : otherwise);
}

/* Of an engine that loads: it is alive and cannot be asked. */
static bool in_state(pith_http_exchange *ex, pith_engine_state *state) {
    pith_engine *engine = atomic_load_explicit(&ex->server->engine, memory_order_acquire);
    *state = engine == NULL ? PITH_ENGINE_SERVING : pith_engine_check(engine);
    return engine != NULL;
}

static void live_page(pith_http_exchange *ex) {
    pith_engine_state state;
    (void)in_state(ex, &state);
    probe(ex, state != PITH_ENGINE_STALLED && state != PITH_ENGINE_FAULTED, "live\n", "stalled\n");
}

static void ready_page(pith_http_exchange *ex) {
    bool leaving = atomic_load(&ex->server->lame_duck) || atomic_load(&ex->server->draining);
    pith_engine_state state;
    bool loaded = in_state(ex, &state);
    probe(ex, loaded && !leaving && state == PITH_ENGINE_SERVING, "ready\n", "not ready\n");
}

static json_t *model_json(const pith_model_info *m) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "id", m->name, "object",
                     "model", "owned_by", "pith", "fingerprint", m->fingerprint, "device",
                     m->device, "dtype", m->dtype, "isa", m->isa, "window_tokens",
                     (json_int_t)m->window_tokens, "parameters", (json_int_t)m->n_parameters,
                     "default", (int)m->is_default);
}

/* The list format of the OpenAI API, "List models", with fields of ours. */
static void models_page(pith_http_exchange *ex) {
    pith_engine *engine = atomic_load_explicit(&ex->server->engine, memory_order_acquire);
    const pith_model_info *models;
    size_t n = engine == NULL ? 0 : pith_engine_models(engine, &models);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(list, model_json(&models[i]));
    }
    pith_http_answer_json(&ex->answer, MHD_HTTP_OK,
                          json_pack("{s:s, s:o}", "object", "list", "data", list));
}

static void metrics_page(pith_http_exchange *ex) {
    size_t len = 0;
    char *page = pith_observe_metrics(ex->server->opts.observe, &len);
    if (page == NULL) {
        pith_http_answer_error(&ex->answer, PITH_NO_MEMORY, NULL, NULL, "no memory for the page",
                               0);
        return;
    }
    ex->answer = (pith_http_answer){.code = MHD_HTTP_OK,
                                    .type = "text/plain; version=0.0.4; charset=utf-8",
                                    .body = page,
                                    .len = len};
}

typedef struct page {
    const char *url;
    void (*make)(pith_http_exchange *ex);
} page;

bool pith_http_page(pith_http_exchange *ex, const char *method, const char *url) {
    static const page pages[] = {
        {"/livez", live_page},
        {"/readyz", ready_page},
        {"/metrics", metrics_page},
        {"/v1/models", models_page},
    };
    bool is_get = strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
                  strcmp(method, MHD_HTTP_METHOD_HEAD) == 0; /* the daemon leaves out the body */
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (strcmp(url, pages[i].url) == 0) {
            if (is_get) {
                pages[i].make(ex);
            } else {
                pith_http_answer_text(&ex->answer, MHD_HTTP_METHOD_NOT_ALLOWED,
                                      "method not allowed\n");
                ex->answer.allow = "GET, HEAD";
            }
            return true;
        }
    }
    return false;
}
