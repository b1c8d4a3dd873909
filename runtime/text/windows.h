/* Windows of a document for the model. Private to runtime/text/document.c and its tests. */
#ifndef PITH_TEXT_WINDOWS_H
#define PITH_TEXT_WINDOWS_H

#include "runtime/text/document.h"

/* How many tokens of one unit and of one run of white space the model is shown: at most
 * PITH_UNIT_TOKENS_MAX and PITH_SPACE_TOKENS_MAX, less where windows are small. */
typedef struct pith_shown_limits {
    uint32_t unit_tokens;
    uint32_t space_tokens;
} pith_shown_limits;

/* opts: window_tokens is at least 2 * halo_tokens + PITH_WINDOW_SLACK_TOKENS. */
pith_shown_limits pith_windows_limits(const pith_document_opts *opts);

/* The document's tokens, in text order, and the unit of each. */
typedef struct pith_window_source {
    const pith_token *tokens;    /* [n_tok] */
    const uint32_t *token_units; /* [n_tok] */
    size_t n_tok;
} pith_window_source;

/* Fills windows, ids, id_units and their counts; units are made. Runs of white space over
 * PITH_SPACE_TOKENS_MAX tokens are shown to the model cut to that length. */
PITH_MUST_USE pith_status pith_windows_faithful(pith_document *doc, const pith_document_opts *opts,
                                                const pith_window_source *source, pith_arena *arena,
                                                pith_err *err);

/* The chunks of headroom-ai 0.42.0's CPU path, with the words it scores in each. */
PITH_MUST_USE pith_status pith_windows_kompress(pith_document *doc, const pith_document_opts *opts,
                                                const pith_window_source *source, pith_arena *arena,
                                                pith_err *err);

#endif
