/* A text made ready for scoring: units of decision, tokens, windows.
 *
 * A pith_document borrows the text and lives in the arena it was made from; it is immutable once
 * prepared and may be read by any thread. It depends on the text, the tokenizer and the options
 * alone, never on what else is being served: that is what makes the same text give the same bytes.
 */
#ifndef PITH_TEXT_DOCUMENT_H
#define PITH_TEXT_DOCUMENT_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the model was trained to see words: in running text, or one by one without a prefix space. */
typedef enum pith_word_mode { PITH_WORDS_RAW, PITH_WORDS_SPLIT } pith_word_mode;

typedef enum pith_profile {
    PITH_PROFILE_FAITHFUL, /* every unit scored, line structure kept */
    PITH_PROFILE_KOMPRESS  /* headroom-ai 0.42.0's CPU path, to the byte */
} pith_profile;

/* The thing that is kept or dropped: a white-space word, or a piece of one over 64 tokens. */
typedef struct pith_unit {
    uint32_t start; /* byte offsets into the text */
    uint32_t end;
    uint32_t word;  /* index of its white-space word */
    uint32_t line;  /* lines are ended by "\n" */
    uint32_t n_tok; /* tokens of the unit alone in this document's tokenization */
} pith_unit;

#define PITH_UNIT_NONE UINT32_MAX

/* One sequence for the model: [CLS] tokens [SEP]. Scores of the units [unit_begin, unit_end) are
 * taken from this window; the windows' ranges follow each other without gap or overlap, except
 * that kompress leaves out words that its reference keeps without inference. */
typedef struct pith_window {
    uint32_t id_begin; /* into ids[] and id_units[] */
    uint32_t n_ids;    /* [CLS] and [SEP] included */
    uint32_t unit_begin;
    uint32_t unit_end;
} pith_window;

typedef struct pith_document {
    const char *text; /* [len] bytes, borrowed */
    size_t len;
    pith_unit *units; /* [n_units] in text order */
    uint32_t n_units;
    uint32_t n_words;
    uint32_t n_lines;
    uint32_t n_tok;       /* tokens of the raw text, no specials: the reply's input_tokens */
    pith_window *windows; /* [n_windows] */
    uint32_t n_windows;
    bool cut_short;     /* set by who scores: there were more windows, which no one scored */
    uint32_t *ids;      /* [n_ids] token ids of all windows, concatenated */
    uint32_t *id_units; /* [n_ids] unit of each id; PITH_UNIT_NONE for specials and white space */
    uint32_t n_ids;
} pith_document;

typedef struct pith_document_opts {
    pith_word_mode word_mode;
    pith_profile profile;
    uint32_t window_tokens; /* with [CLS] and [SEP]; 512 for published checkpoints */
    uint32_t halo_tokens;   /* context that a unit inside a long text has on each side, at least
                               (to within a unit); neighbours share twice as many; 64 */
    uint32_t cls_id;
    uint32_t sep_id;
} pith_document_opts;

enum {
    PITH_UNIT_TOKENS_MAX = 64,  /* a longer word is cut at pre-token boundaries */
    PITH_SPACE_TOKENS_MAX = 16, /* tokens of one run of white space that the model is shown */
    /* What window_tokens needs beside its two halos: the two specials, and twice a way of 8 tokens
     * from one unit's start to the next, less one; a window can then always end and begin at a
     * unit. Under twice the 80 tokens of the two limits above the limits shrink to what fits. */
    PITH_WINDOW_SLACK_TOKENS = 17,
    PITH_KOMPRESS_WORDS_MIN = 64,      /* fewer pass through: headroom-ai's min_input_words */
    PITH_KOMPRESS_CHUNK_WORDS = 350,   /* its chunk_words */
    PITH_KOMPRESS_WINDOW_TOKENS = 512, /* its truncation, [CLS] and [SEP] included */
    PITH_DOCUMENT_BYTES_MAX = INT32_MAX
};

/* Prepares `text` (valid UTF-8, at most PITH_DOCUMENT_BYTES_MAX). `list` is scratch. Everything the
 * document owns is allocated from `arena`; PITH_EXHAUSTED when it is over its bound.
 *
 * faithful: added tokens are plain text; window_tokens must be at least 2 * halo_tokens +
 * PITH_WINDOW_SLACK_TOKENS. kompress: always PITH_WORDS_SPLIT, units are whole words, added tokens
 * match as they do in the reference, and windows are its chunks; under PITH_KOMPRESS_WORDS_MIN
 * words there are none. */
PITH_MUST_USE pith_status pith_document_prepare(pith_document *doc, const pith_tokenizer *tokenizer,
                                                const pith_document_opts *opts, const char *text,
                                                size_t len, pith_token_list *list,
                                                pith_arena *arena, pith_err *err);

/* Folds one window's token scores into unit scores: unit_scores[u] = max over the window's tokens
 * of u, for u in [unit_begin, unit_end). One that is not finite makes the unit's score NaN. A unit
 * without a token of its own (its bytes went into a neighbour's) gets 1.
 * token_scores: [n_ids of the window] f32; unit_scores: [n_units] f32. */
void pith_document_collect(const pith_document *doc, uint32_t window, const float *token_scores,
                           float *unit_scores);

#endif
