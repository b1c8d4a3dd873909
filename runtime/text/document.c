#include "runtime/text/document.h"

#include "runtime/text/units.h"
#include "runtime/text/windows.h"
#include "runtime/text/words.h"

#include <math.h>

static pith_status check(const pith_document_opts *opts, size_t len, pith_err *err) {
    if (len > PITH_DOCUMENT_BYTES_MAX) {
        return pith_fail(err, PITH_INVALID, "text: %zu bytes, the limit is %d", len,
                         PITH_DOCUMENT_BYTES_MAX);
    }
    uint64_t least = 2 * (uint64_t)opts->halo_tokens + PITH_WINDOW_SLACK_TOKENS;
    if (opts->profile == PITH_PROFILE_FAITHFUL && opts->window_tokens < least) {
        return pith_fail(err, PITH_INVALID,
                         "window_tokens: %u, with halo_tokens %u at least %llu are needed",
                         opts->window_tokens, opts->halo_tokens, (unsigned long long)least);
    }
    return PITH_OK;
}

/* Every word alone, its spans moved to where the word stands in the text. */
static pith_status encode_words(const pith_tokenizer *tokenizer, pith_added_tokens added,
                                const char *text, size_t len, pith_token_list *list,
                                pith_err *err) {
    pith_word_walk walk = {.text = text, .len = len};
    while (pith_word_next(&walk)) {
        size_t before = list->len;
        pith_status status = pith_tokenizer_encode(tokenizer, added, text + walk.start,
                                                   walk.end - walk.start, list, err);
        if (status != PITH_OK) {
            return status;
        }
        for (size_t i = before; i < list->len; i++) {
            list->items[i].start += walk.start;
            list->items[i].end += walk.start;
        }
    }
    return PITH_OK;
}

static pith_status encode(pith_document *doc, const pith_tokenizer *tokenizer,
                          const pith_document_opts *opts, pith_token_list *list, pith_err *err) {
    pith_token_list_reset(list);
    bool kompress = opts->profile == PITH_PROFILE_KOMPRESS;
    if (!kompress && opts->word_mode == PITH_WORDS_RAW) {
        pith_status status =
            pith_tokenizer_encode(tokenizer, PITH_ADDED_PLAIN, doc->text, doc->len, list, err);
        doc->n_tok = (uint32_t)list->len;
        return status;
    }
    size_t n_tok;
    pith_status status =
        pith_tokenizer_count(tokenizer, PITH_ADDED_PLAIN, doc->text, doc->len, list, &n_tok, err);
    doc->n_tok = (uint32_t)n_tok;
    if (status != PITH_OK) {
        return status;
    }
    return encode_words(tokenizer, kompress ? PITH_ADDED_PARITY : PITH_ADDED_PLAIN, doc->text,
                        doc->len, list, err);
}

pith_status pith_document_prepare(pith_document *doc, const pith_tokenizer *tokenizer,
                                  const pith_document_opts *opts, const char *text, size_t len,
                                  pith_token_list *list, pith_arena *arena, pith_err *err) {
    *doc = (pith_document){.text = text, .len = len};
    pith_status status = check(opts, len, err);
    if (status == PITH_OK) {
        status = encode(doc, tokenizer, opts, list, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    uint32_t *token_units = pith_arena_alloc(arena, list->len, sizeof *token_units);
    if (token_units == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %zu tokens", list->len);
    }
    bool kompress = opts->profile == PITH_PROFILE_KOMPRESS;
    pith_unit_source units = {.text = text,
                              .len = len,
                              .tokens = list->items,
                              .n_tok = list->len,
                              .pretok = pith_tokenizer_pretok(tokenizer),
                              .mode = kompress ? PITH_WORDS_SPLIT : opts->word_mode,
                              .unit_tokens_max =
                                  kompress ? UINT32_MAX : pith_windows_limits(opts).unit_tokens};
    status = pith_units_make(doc, &units, token_units, arena, err);
    if (status != PITH_OK) {
        return status;
    }
    pith_window_source windows = {list->items, token_units, list->len};
    return kompress ? pith_windows_kompress(doc, opts, &windows, arena, err)
                    : pith_windows_faithful(doc, opts, &windows, arena, err);
}

void pith_document_collect(const pith_document *doc, uint32_t window, const float *token_scores,
                           float *unit_scores) {
    const pith_window *w = &doc->windows[window];
    const uint32_t *units = doc->id_units + w->id_begin;
    for (uint32_t u = w->unit_begin; u < w->unit_end; u++) {
        unit_scores[u] = -INFINITY;
    }
    for (uint32_t i = 0; i < w->n_ids; i++) {
        uint32_t u = units[i];
        if (u == PITH_UNIT_NONE || u < w->unit_begin || u >= w->unit_end) {
            continue;
        }
        float score = token_scores[i];
        if (!isfinite(score)) {
            unit_scores[u] = NAN;
        } else if (score > unit_scores[u]) { /* false once it is NaN */
            unit_scores[u] = score;
        }
    }
    for (uint32_t u = w->unit_begin; u < w->unit_end; u++) {
        if (isinf(unit_scores[u])) {
            unit_scores[u] = 1.0F;
        }
    }
}
