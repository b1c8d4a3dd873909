#include "runtime/text/windows.h"

#include "runtime/base/slice.h"

#include <string.h>

pith_shown_limits pith_windows_limits(const pith_document_opts *opts) {
    /* Unit starts are at most `way` tokens apart. A window of `room` tokens ends within `way` of
     * its room, and the next begins within `way` of two halos before that: it begins later than the
     * one at hand when room >= 2 * way + 2 * halo - 1. */
    uint32_t room = opts->window_tokens - 2;
    uint32_t way = (room + 1 - 2 * opts->halo_tokens) / 2;
    uint32_t space = way / 5 < PITH_SPACE_TOKENS_MAX ? way / 5 : PITH_SPACE_TOKENS_MAX;
    uint32_t unit = way - space < PITH_UNIT_TOKENS_MAX ? way - space : PITH_UNIT_TOKENS_MAX;
    return (pith_shown_limits){.unit_tokens = unit, .space_tokens = space};
}

enum { SLICE_BYTES_PER_TOKEN = 4 };

/* The tokens that the model is shown, without the tail of long white space. */
typedef struct shown {
    uint32_t *ids;   /* [n] */
    uint32_t *units; /* [n] */
    uint32_t *first; /* [n_units + 1] index of each unit's first token; then n */
    uint32_t n;
    pith_shown_limits limits;
} shown;

static pith_status no_memory(const pith_document *doc, pith_err *err) {
    return pith_fail(err, PITH_EXHAUSTED, "no memory for the windows of %zu bytes", doc->len);
}

static bool collect_shown(shown *out, const pith_document *doc, const pith_window_source *source,
                          pith_arena *arena) {
    out->ids = pith_arena_alloc(arena, source->n_tok, sizeof *out->ids);
    out->units = pith_arena_alloc(arena, source->n_tok, sizeof *out->units);
    out->first = pith_arena_alloc(arena, (size_t)doc->n_units + 1, sizeof *out->first);
    if (out->ids == NULL || out->units == NULL || out->first == NULL) {
        return false;
    }
    uint32_t run = 0; /* tokens since the unit, or the white space, began */
    uint32_t before = PITH_UNIT_NONE;
    uint32_t filled = 0; /* entries of first[] */
    for (size_t i = 0; i < source->n_tok; i++) {
        uint32_t unit = source->token_units[i];
        run = unit == before && i > 0 ? run + 1 : 1;
        before = unit;
        if (run > (unit == PITH_UNIT_NONE ? out->limits.space_tokens : out->limits.unit_tokens)) {
            continue;
        }
        while (unit != PITH_UNIT_NONE && filled <= unit) {
            out->first[filled++] = out->n;
        }
        (void)pith_slice_spend(SLICE_BYTES_PER_TOKEN);
        out->ids[out->n] = source->tokens[i].id;
        out->units[out->n++] = unit;
    }
    while (filled <= doc->n_units) {
        out->first[filled++] = out->n;
    }
    return true;
}

/* The largest unit start that is not after `at`; the first unit's where every one is. */
static uint32_t start_before(const shown *s, uint32_t n_units, uint32_t at) {
    uint32_t low = 0;
    uint32_t high = n_units;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (s->first[mid] <= at) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return s->first[low];
}

/* Token range of the next window and where the one after it starts. */
typedef struct cutter {
    const shown *shown;
    uint32_t n_units;
    uint32_t room; /* tokens of a window without its specials */
    uint32_t halo;
    uint32_t begin;
    uint32_t end;
    uint32_t next; /* begin of the following window; n when this is the last */
} cutter;

static void cut(cutter *c) {
    uint32_t n = c->shown->n;
    c->begin = c->next;
    if (n - c->begin <= c->room) {
        c->end = n;
        c->next = n;
        return;
    }
    c->end = start_before(c->shown, c->n_units, c->begin + c->room);
    c->next = start_before(c->shown, c->n_units, c->end - 2 * c->halo);
}

static void fill_window(pith_document *doc, const pith_document_opts *opts, const cutter *c,
                        pith_window *window) {
    uint32_t at = doc->n_ids;
    *window = (pith_window){.id_begin = at, .n_ids = c->end - c->begin + 2};
    doc->ids[at] = opts->cls_id;
    doc->id_units[at++] = PITH_UNIT_NONE;
    uint32_t n = c->end - c->begin;
    memcpy(doc->ids + at, c->shown->ids + c->begin, n * sizeof *doc->ids);
    memcpy(doc->id_units + at, c->shown->units + c->begin, n * sizeof *doc->id_units);
    at += n;
    doc->ids[at] = opts->sep_id;
    doc->id_units[at++] = PITH_UNIT_NONE;
    doc->n_ids = at;
}

/* Of two neighbouring windows [begin, end) and [next, ...) a unit [a, b) is farther from its
 * nearest edge in the second when a - next > end - b; with equal distance the first has it. The
 * sums of consecutive windows grow, so a unit's best window is found going forward only. */
static uint32_t owned_end(const cutter *c, const pith_unit *units, uint32_t unit) {
    if (c->next == c->shown->n) {
        return c->n_units;
    }
    for (; unit < c->n_units; unit++) {
        uint64_t a = c->shown->first[unit];
        uint32_t n = units[unit].n_tok;
        uint32_t most = c->shown->limits.unit_tokens;
        uint64_t b = a + (n < most ? n : most);
        if (a + b > (uint64_t)c->end + c->next) {
            break;
        }
    }
    return unit;
}

static pith_status alloc_ids(pith_document *doc, size_t n_windows, size_t n_ids, pith_arena *arena,
                             pith_err *err) {
    if (n_ids > UINT32_MAX) {
        return pith_fail(err, PITH_INVALID, "%zu token ids in windows, the limit is %u", n_ids,
                         UINT32_MAX);
    }
    doc->windows = pith_arena_alloc(arena, n_windows, sizeof *doc->windows);
    doc->ids = pith_arena_alloc(arena, n_ids, sizeof *doc->ids);
    doc->id_units = pith_arena_alloc(arena, n_ids, sizeof *doc->id_units);
    return doc->windows == NULL || doc->ids == NULL || doc->id_units == NULL ? no_memory(doc, err)
                                                                             : PITH_OK;
}

pith_status pith_windows_faithful(pith_document *doc, const pith_document_opts *opts,
                                  const pith_window_source *source, pith_arena *arena,
                                  pith_err *err) {
    shown s = {.limits = pith_windows_limits(opts)};
    if (doc->n_units == 0) {
        return PITH_OK;
    }
    if (!collect_shown(&s, doc, source, arena)) {
        return no_memory(doc, err);
    }
    cutter c = {.shown = &s,
                .n_units = doc->n_units,
                .room = opts->window_tokens - 2,
                .halo = opts->halo_tokens};
    size_t n_windows = 0;
    size_t n_ids = 0;
    do {
        cut(&c);
        n_windows++;
        n_ids += c.end - c.begin + 2;
    } while (c.next < s.n);
    pith_status status = alloc_ids(doc, n_windows, n_ids, arena, err);
    if (status != PITH_OK) {
        return status;
    }
    c.next = 0;
    uint32_t unit = 0;
    do {
        cut(&c);
        pith_window *window = &doc->windows[doc->n_windows++];
        fill_window(doc, opts, &c, window);
        (void)pith_slice_spend(window->n_ids * SLICE_BYTES_PER_TOKEN);
        window->unit_begin = unit;
        unit = owned_end(&c, doc->units, unit);
        window->unit_end = unit;
    } while (c.next < s.n);
    return PITH_OK;
}

/* One chunk of the reference: its words, the tokens left after truncation, and how many leading
 * words it decides. scored 0: the first word alone fills the window and is kept unseen. */
typedef struct chunk {
    uint32_t begin;
    uint32_t n_tok;
    uint32_t scored;
} chunk;

enum { CHUNK_ROOM = PITH_KOMPRESS_WINDOW_TOKENS - 2 };

static chunk chunk_at(const pith_document *doc, uint32_t begin) {
    chunk c = {.begin = begin};
    uint32_t end = begin + PITH_KOMPRESS_CHUNK_WORDS;
    end = end < doc->n_units ? end : doc->n_units;
    uint32_t present = begin; /* one more than the last word with a token in the row */
    while (present < end && c.n_tok < CHUNK_ROOM) {
        c.n_tok += doc->units[present++].n_tok;
    }
    c.n_tok = c.n_tok < CHUNK_ROOM ? c.n_tok : CHUNK_ROOM;
    bool was_cut = present < end || c.n_tok == CHUNK_ROOM;
    c.scored = present - begin - (was_cut ? 1 : 0);
    return c;
}

static void fill_chunk(pith_document *doc, const pith_document_opts *opts,
                       const pith_window_source *source, const chunk *c, size_t token) {
    uint32_t at = doc->n_ids;
    doc->windows[doc->n_windows++] = (pith_window){.id_begin = at,
                                                   .n_ids = c->n_tok + 2,
                                                   .unit_begin = c->begin,
                                                   .unit_end = c->begin + c->scored};
    doc->ids[at] = opts->cls_id;
    doc->id_units[at++] = PITH_UNIT_NONE;
    for (size_t i = token; i < token + c->n_tok; i++) {
        doc->ids[at] = source->tokens[i].id;
        doc->id_units[at++] = source->token_units[i];
    }
    doc->ids[at] = opts->sep_id;
    doc->id_units[at++] = PITH_UNIT_NONE;
    doc->n_ids = at;
}

/* Walks the chunks; with `fill` writes them, else counts. */
static void walk_chunks(pith_document *doc, const pith_document_opts *opts,
                        const pith_window_source *source, bool fill, size_t *n_windows,
                        size_t *n_ids) {
    size_t token = 0; /* first token of the chunk's first word */
    uint32_t word = 0;
    while (word < doc->n_units) {
        chunk c = chunk_at(doc, word);
        if (c.scored > 0) {
            if (fill) {
                fill_chunk(doc, opts, source, &c, token);
            }
            (*n_windows)++;
            *n_ids += c.n_tok + 2;
        }
        uint32_t next = word + (c.scored > 0 ? c.scored : 1);
        for (; word < next; word++) {
            token += doc->units[word].n_tok;
        }
    }
}

pith_status pith_windows_kompress(pith_document *doc, const pith_document_opts *opts,
                                  const pith_window_source *source, pith_arena *arena,
                                  pith_err *err) {
    if (doc->n_words < PITH_KOMPRESS_WORDS_MIN) {
        return PITH_OK;
    }
    size_t n_windows = 0;
    size_t n_ids = 0;
    walk_chunks(doc, opts, source, false, &n_windows, &n_ids);
    pith_status status = alloc_ids(doc, n_windows, n_ids, arena, err);
    if (status == PITH_OK) {
        walk_chunks(doc, opts, source, true, &n_windows, &n_ids);
    }
    return status;
}
