#include "runtime/text/units.h"

#include "runtime/base/slice.h"
#include "runtime/text/words.h"

#include <assert.h>

/* How a word may be cut before a token. */
enum { CUT_NONE, CUT_CHARACTER, CUT_PRETOKEN };

typedef struct maker {
    const pith_unit_source *source;
    pith_unit *units; /* [most] */
    size_t most;
    uint32_t *token_units;
    unsigned char *cuts; /* [n_tok], filled for the words that need it */
    uint32_t n_units;
    size_t token; /* the next token to give away */
} maker;

typedef struct word_tokens {
    uint32_t word;
    uint32_t line;
    uint32_t start; /* bytes of the word */
    uint32_t end;
    size_t first; /* tokens [first, last) */
    size_t last;
} word_tokens;

static void emit(maker *m, const word_tokens *w, uint32_t start, uint32_t end, size_t first,
                 size_t last) {
    assert(m->n_units < m->most);
    for (size_t i = first; i < last; i++) {
        m->token_units[i] = m->n_units;
    }
    m->units[m->n_units++] = (pith_unit){.start = start,
                                         .end = end,
                                         .word = w->word,
                                         .line = w->line,
                                         .n_tok = (uint32_t)(last - first)};
}

static bool is_char_start(const char *text, size_t pos) {
    return ((unsigned char)text[pos] & 0xC0) != 0x80;
}

/* Marks how the word may be cut before each of its tokens but the first. In running text the
 * pre-tokens are those of the whole text, from the word's first token on. */
static void mark_cuts(const maker *m, const word_tokens *w) {
    const pith_unit_source *s = m->source;
    const pith_token *tokens = s->tokens;
    bool split = s->mode == PITH_WORDS_SPLIT;
    const char *base = split ? s->text + w->start : s->text;
    size_t len = split ? w->end - w->start : s->len;
    size_t shift = split ? w->start : 0;
    size_t boundary = tokens[w->first].start - shift;
    for (size_t i = w->first + 1; i < w->last; i++) {
        size_t at = tokens[i].start;
        while (boundary < at - shift) {
            boundary = pith_pretok_next(s->pretok, base, len, boundary);
        }
        bool clean = at >= tokens[i - 1].end && at > w->start && is_char_start(s->text, at);
        m->cuts[i] = (unsigned char)(!clean                   ? CUT_NONE
                                     : boundary == at - shift ? CUT_PRETOKEN
                                                              : CUT_CHARACTER);
    }
}

/* The end of the piece that starts at token `first`: the last pre-token boundary within the
 * limit, else the last character boundary within it, else the first one after it. */
static size_t piece_end(const maker *m, size_t first, size_t last) {
    size_t most = m->source->unit_tokens_max;
    if (last - first <= most) {
        return last;
    }
    size_t character = 0;
    for (size_t i = first + most; i > first; i--) {
        if (m->cuts[i] == CUT_PRETOKEN) {
            return i;
        }
        if (m->cuts[i] == CUT_CHARACTER && character == 0) {
            character = i;
        }
    }
    if (character > 0) {
        return character;
    }
    size_t i = first + most + 1;
    while (i < last && m->cuts[i] == CUT_NONE) {
        i++;
    }
    return i;
}

static void make_word(maker *m, const word_tokens *w) {
    if (w->last - w->first <= m->source->unit_tokens_max) {
        emit(m, w, w->start, w->end, w->first, w->last);
        return;
    }
    mark_cuts(m, w);
    uint32_t start = w->start;
    size_t first = w->first;
    while (first < w->last) {
        size_t end = piece_end(m, first, w->last);
        uint32_t stop = end == w->last ? w->end : m->source->tokens[end].start;
        emit(m, w, start, stop, first, end);
        start = stop;
        first = end;
    }
}

/* Takes the tokens of the word at hand: those that end before the next word begins. */
static void take_tokens(maker *m, word_tokens *w, size_t next_start) {
    const pith_unit_source *s = m->source;
    while (m->token < s->n_tok && s->tokens[m->token].end <= w->start) {
        m->token_units[m->token++] = PITH_UNIT_NONE;
    }
    w->first = m->token;
    while (m->token < s->n_tok && s->tokens[m->token].start < w->end &&
           s->tokens[m->token].end <= next_start) {
        m->token++;
    }
    w->last = m->token;
}

/* One walk over words and tokens. */
static void walk(maker *m, pith_document *doc) {
    const pith_unit_source *s = m->source;
    pith_word_walk here = {.text = s->text, .len = s->len};
    bool more = pith_word_next(&here);
    while (more) {
        word_tokens w = {
            .word = doc->n_words++, .line = here.line, .start = here.start, .end = here.end};
        more = pith_word_next(&here);
        take_tokens(m, &w, more ? here.start : SIZE_MAX);
        make_word(m, &w);
        if (pith_slice_spend(w.end - w.start) != PITH_OK) {
            return;
        }
    }
    while (m->token < s->n_tok) {
        m->token_units[m->token++] = PITH_UNIT_NONE;
    }
    doc->n_lines = here.line + 1;
}

/* Units that there can be. Three pieces of a word that follow each other have more tokens than one
 * may: where all three fit, piece_end would have ended the first or the second farther on. So a
 * word of more than unit_tokens_max tokens has at most 3 n + 2 pieces, where n is how often that
 * and one token more fit into it: 4 n beside its first. */
static size_t units_max(const pith_unit_source *s) {
    size_t most = 4 * (s->n_tok / ((size_t)s->unit_tokens_max + 1));
    size_t end;
    for (size_t pos = 0; pos < s->len; pos = end) {
        end = s->len - pos > PITH_SLICE_BYTES ? pos + PITH_SLICE_BYTES : s->len;
        most += pith_words_max(s->text + pos, end - pos);
        if (pith_slice_spend(end - pos) != PITH_OK) {
            break;
        }
    }
    return most;
}

pith_status pith_units_make(pith_document *doc, const pith_unit_source *source,
                            uint32_t *token_units, pith_arena *arena, pith_err *err) {
    maker m = {.source = source, .token_units = token_units, .most = units_max(source)};
    pith_status stopped = pith_slice_spend(0);
    if (stopped != PITH_OK) {
        return pith_fail(err, stopped, "stopped");
    }
    m.cuts = pith_arena_alloc(arena, source->n_tok, 1);
    m.units = pith_arena_alloc(arena, m.most, sizeof *m.units);
    if (m.cuts == NULL || m.units == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for the units of %zu bytes", source->len);
    }
    walk(&m, doc);
    doc->units = m.units;
    doc->n_units = m.n_units;
    stopped = pith_slice_spend(0);
    return stopped == PITH_OK ? PITH_OK : pith_fail(err, stopped, "stopped");
}
