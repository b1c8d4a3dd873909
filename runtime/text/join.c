#include "runtime/text/join.h"

#include "runtime/base/slice.h"

#include <string.h>

typedef struct joiner {
    const pith_document *doc;
    pith_joined *out;
    uint32_t before; /* the last unit written, or PITH_UNIT_NONE */
} joiner;

static void put(pith_joined *out, const char *bytes, size_t len) {
    memcpy(out->text + out->len, bytes, len);
    out->len += len;
}

static void put_unit(joiner *j, uint32_t u) {
    const pith_unit *unit = &j->doc->units[u];
    j->out->unit_out[u] = (uint32_t)j->out->len;
    put(j->out, j->doc->text + unit->start, unit->end - unit->start);
    j->before = u;
}

/* The white space before a unit: from the end of the one before it, or the text's start. */
static size_t gap_start(const pith_document *doc, uint32_t u) {
    return u == 0 ? 0 : doc->units[u - 1].end;
}

static size_t last_line_end(const char *text, size_t start, size_t end) {
    while (end > start && text[end - 1] != '\n') {
        end--;
    }
    return end;
}

/* Indentation of the line whose first unit is `u`. */
static void put_indent(joiner *j, uint32_t u) {
    const pith_document *doc = j->doc;
    size_t end = doc->units[u].start;
    size_t start = last_line_end(doc->text, gap_start(doc, u), end);
    put(j->out, doc->text + start, end - start);
}

/* Where the gap's first line end begins ("\n" or "\r\n"); the gap holds one. */
static size_t first_line_end(const char *text, size_t start, size_t end) {
    const char *at = memchr(text + start, '\n', end - start);
    size_t pos = at == NULL ? end : (size_t)(at - text);
    return pos > start && text[pos - 1] == '\r' ? pos - 1 : pos;
}

/* A new line for a unit whose line's first unit is `head`. `blank`: a blank line was dropped along
 * with text before the gap at hand. */
static void put_line(joiner *j, uint32_t head, bool blank) {
    const pith_document *doc = j->doc;
    size_t end = doc->units[head].start;
    size_t start = first_line_end(doc->text, gap_start(doc, head), end);
    uint32_t lines = doc->units[head].line - doc->units[head - 1].line;
    if (blank && lines == 1) {
        size_t n = doc->text[start] == '\r' ? 2 : 1;
        put(j->out, doc->text + start, n);
    }
    put(j->out, doc->text + start, end - start);
}

/* Walks the dropped units (from, to) for a blank line between them, not counting the gap before
 * `head`. */
static bool passes_blank(const pith_document *doc, uint32_t from, uint32_t head) {
    for (uint32_t u = from + 1; u < head; u++) {
        if (doc->units[u].line - doc->units[u - 1].line > 1) {
            return true;
        }
    }
    return false;
}

static void separate(joiner *j, uint32_t u, uint32_t head) {
    const pith_document *doc = j->doc;
    if (j->before == PITH_UNIT_NONE) {
        if (u == 0) {
            put(j->out, doc->text, doc->units[0].start);
        } else {
            put_indent(j, head);
        }
    } else if (j->before + 1 == u) {
        size_t start = gap_start(doc, u);
        put(j->out, doc->text + start, doc->units[u].start - start);
    } else if (doc->units[j->before].line == doc->units[u].line) {
        put(j->out, " ", 1);
    } else {
        put_line(j, head, passes_blank(doc, j->before, head));
    }
}

static void finish(joiner *j) {
    const pith_document *doc = j->doc;
    if (j->before == PITH_UNIT_NONE) {
        return;
    }
    size_t start = doc->units[j->before].end;
    if (j->before + 1 == doc->n_units) {
        put(j->out, doc->text + start, doc->len - start);
    } else if (doc->text[doc->len - 1] == '\n') {
        size_t n = doc->len > 1 && doc->text[doc->len - 2] == '\r' ? 2 : 1;
        put(j->out, doc->text + doc->len - n, n);
    }
}

static void join_faithful(joiner *j, const bool *kept) {
    const pith_document *doc = j->doc;
    uint32_t head = 0; /* first unit of the line at hand */
    for (uint32_t u = 0; u < doc->n_units; u++) {
        if (doc->units[u].line != doc->units[head].line) {
            head = u;
        }
        if (kept[u]) {
            separate(j, u, head);
            put_unit(j, u);
            (void)pith_slice_spend(doc->units[u].end - doc->units[u].start);
        }
    }
    finish(j);
}

static void join_kompress(joiner *j, const bool *kept) {
    const pith_document *doc = j->doc;
    for (uint32_t u = 0; u < doc->n_units; u++) {
        if (!kept[u]) {
            continue;
        }
        if (j->before != PITH_UNIT_NONE) {
            put(j->out, doc->units[j->before].line == doc->units[u].line ? " " : "\n", 1);
        }
        put_unit(j, u);
    }
}

bool pith_joined_init(pith_joined *joined, const pith_document *doc, pith_arena *arena) {
    *joined = (pith_joined){
        .text = pith_arena_alloc(arena, doc->len, 1),
        .unit_out = pith_arena_alloc(arena, doc->n_units, sizeof *joined->unit_out),
    };
    return joined->text != NULL && joined->unit_out != NULL;
}

void pith_join(const pith_document *doc, pith_profile profile, const bool *kept,
               pith_joined *joined) {
    joined->len = 0;
    joiner j = {.doc = doc, .out = joined, .before = PITH_UNIT_NONE};
    if (profile == PITH_PROFILE_KOMPRESS) {
        join_kompress(&j, kept);
    } else {
        join_faithful(&j, kept);
    }
}
