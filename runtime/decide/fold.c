#include "runtime/decide/fold.h"

#include "runtime/decide/line_template.h"
#include "runtime/decide/table.h"

#include <string.h>

typedef struct kind {
    uint32_t hash;
    uint32_t start; /* its template in `bytes` */
    uint32_t len;
    uint32_t seen;   /* lines that may fold, and so far stayed as one of the first */
    uint32_t last;   /* the last line that may fold */
    uint32_t folded; /* lines */
} kind;

typedef struct identifier {
    uint32_t start; /* bytes of the text */
    uint32_t end;
    uint32_t kind; /* of its line */
} identifier;

typedef struct folder {
    const pith_document *doc;
    const bool *held;
    pith_arena *arena;
    pith_fold *fold;
    uint32_t after;
    uint32_t hash_mask;
    char *bytes; /* templates of all kinds, and room for the line at hand */
    size_t n_bytes;
    kind *kinds; /* [fold->n_kinds] */
    pith_table kind_table;
    identifier *ids; /* [n_ids] in text order */
    uint32_t n_ids;
    pith_line_id *line_ids; /* scratch, room for one line's */
    pith_table id_table;
} folder;

static uint32_t hash_bytes(const folder *f, uint64_t seed, const char *bytes, size_t len) {
    uint64_t hash = seed ^ PITH_HASH_START;
    for (size_t i = 0; i < len; i++) {
        hash = pith_hash_add(hash, (unsigned char)bytes[i]);
    }
    return pith_hash_end(hash) & f->hash_mask;
}

static bool line_starts(const pith_document *doc, uint32_t u) {
    return u == 0 || doc->units[u].line != doc->units[u - 1].line;
}

/* Where a line begins: its indentation is part of it. */
static uint32_t line_start(const pith_document *doc, uint32_t u) {
    uint32_t start = doc->units[u].start;
    uint32_t least = u == 0 ? 0 : doc->units[u - 1].end;
    while (start > least && doc->text[start - 1] != '\n') {
        start--;
    }
    return start;
}

static uint32_t line_end(const folder *f, uint32_t i) {
    return f->doc->units[f->fold->lines[i + 1].unit_begin - 1].end;
}

static bool open_folder(folder *f) {
    const pith_document *doc = f->doc;
    uint32_t n = 0;
    size_t longest = 0;
    for (uint32_t u = 0, begin = 0; u < doc->n_units; u++) {
        n += line_starts(doc, u);
        begin = line_starts(doc, u) ? line_start(doc, u) : begin;
        longest = doc->units[u].end - begin > longest ? doc->units[u].end - begin : longest;
    }
    pith_fold *fold = f->fold;
    *fold = (pith_fold){0};
    fold->lines = pith_arena_calloc(f->arena, (size_t)n + 1, sizeof *fold->lines);
    f->bytes = pith_arena_alloc(f->arena, doc->len, 1);
    f->kinds = pith_arena_alloc(f->arena, n, sizeof *f->kinds);
    f->ids = pith_arena_alloc(f->arena, doc->len / 2 + n, sizeof *f->ids);
    f->line_ids = pith_arena_alloc(f->arena, PITH_LINE_IDS_MAX(longest), sizeof *f->line_ids);
    if (fold->lines == NULL || f->bytes == NULL || f->kinds == NULL || f->ids == NULL ||
        f->line_ids == NULL || !pith_table_init(&f->kind_table, f->arena, n)) {
        return false;
    }
    for (uint32_t u = 0; u < doc->n_units; u++) {
        if (line_starts(doc, u)) {
            fold->lines[fold->n_lines++].unit_begin = u;
        }
    }
    fold->lines[fold->n_lines].unit_begin = doc->n_units;
    return true;
}

/* The kind with the template that was just written behind the others; a new one when there is
 * none; PITH_FOLD_NONE when too many share a place. */
static uint32_t find_kind(folder *f, const pith_line_template *t) {
    uint32_t hash = hash_bytes(f, 0, t->bytes, t->len);
    for (uint32_t probe = 0; probe < PITH_TABLE_PROBES_MAX; probe++) {
        uint32_t *slot = pith_table_at(&f->kind_table, hash, probe);
        if (*slot == 0) {
            uint32_t made = f->fold->n_kinds++;
            f->kinds[made] = (kind){hash, (uint32_t)f->n_bytes, (uint32_t)t->len, 0, 0, 0};
            f->n_bytes += t->len;
            *slot = made + 1;
            return made;
        }
        const kind *k = &f->kinds[*slot - 1];
        if (k->hash == hash && k->len == t->len &&
            memcmp(f->bytes + k->start, t->bytes, t->len) == 0) {
            return *slot - 1;
        }
    }
    return PITH_FOLD_NONE;
}

/* The line's unit that holds byte `pos`. */
static uint32_t unit_of(const folder *f, const pith_fold_line *line, size_t pos) {
    uint32_t u = line->unit_begin;
    while (u + 1 < (line + 1)->unit_begin && f->doc->units[u + 1].start <= pos) {
        u++;
    }
    return u;
}

static void read_line(folder *f, uint32_t i) {
    pith_fold_line *line = &f->fold->lines[i];
    uint32_t start = line_start(f->doc, line->unit_begin);
    size_t len = line_end(f, i) - start;
    const char *text = f->doc->text + start;
    for (uint32_t u = line->unit_begin; u < (line + 1)->unit_begin; u++) {
        line->held = line->held || f->held[u];
    }
    size_t error = pith_line_error_find(text, len);
    line->error_unit = error < len ? unit_of(f, line, start + error) : PITH_FOLD_NONE;
    line->kind = PITH_FOLD_NONE;
    line->id_begin = f->n_ids;
    pith_line_template t = {.bytes = f->bytes + f->n_bytes, .ids = f->line_ids};
    if (!pith_line_template_make(&t, text, len) || (t.masked && !t.letters)) {
        return;
    }
    line->kind = find_kind(f, &t);
    for (uint32_t n = 0; n < t.n_ids && line->kind != PITH_FOLD_NONE; n++) {
        f->ids[f->n_ids++] = (identifier){start + t.ids[n].start, start + t.ids[n].end, line->kind};
    }
}

/* Whether the identifier stood on a line of its kind before; from now on it did. */
static bool note_id(folder *f, uint32_t i) {
    const identifier *id = &f->ids[i];
    const char *bytes = f->doc->text + id->start;
    size_t len = id->end - id->start;
    uint32_t hash = hash_bytes(f, id->kind, bytes, len);
    for (uint32_t probe = 0; probe < PITH_TABLE_PROBES_MAX; probe++) {
        uint32_t *slot = pith_table_at(&f->id_table, hash, probe);
        if (*slot == 0) {
            *slot = i + 1;
            return false;
        }
        const identifier *other = &f->ids[*slot - 1];
        if (other->kind == id->kind && other->end - other->start == len &&
            memcmp(f->doc->text + other->start, bytes, len) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_new_id(folder *f, uint32_t line) {
    bool fresh = false;
    uint32_t end = line + 1 < f->fold->n_lines ? f->fold->lines[line + 1].id_begin : f->n_ids;
    for (uint32_t i = f->fold->lines[line].id_begin; i < end; i++) {
        fresh = !note_id(f, i) || fresh;
    }
    return fresh;
}

static void decide(folder *f, uint32_t i) {
    pith_fold_line *line = &f->fold->lines[i];
    line->own = line->held || line->error_unit != PITH_FOLD_NONE;
    if (line->kind == PITH_FOLD_NONE) {
        return;
    }
    kind *k = &f->kinds[line->kind];
    bool fresh = has_new_id(f, i);
    if (line->own) {
        return;
    }
    bool first = k->seen < f->after;
    k->seen += first;
    line->own = fresh && !first;
    line->edge = first || i == k->last;
    line->folded = !line->edge && !fresh;
}

static uint32_t indent_of(const folder *f, uint32_t i) {
    uint32_t u = f->fold->lines[i].unit_begin;
    return f->doc->units[u].start - line_start(f->doc, u);
}

/* Which line of smaller indentation each line stands under. */
static void find_owners(const folder *f, uint32_t *owners, uint32_t *stack) {
    uint32_t depth = 0;
    for (uint32_t i = 0; i < f->fold->n_lines; i++) {
        uint32_t indent = indent_of(f, i);
        while (depth > 0 && indent_of(f, stack[depth - 1]) >= indent) {
            depth--;
        }
        owners[i] = depth > 0 ? stack[depth - 1] : PITH_FOLD_NONE;
        stack[depth++] = i;
    }
}

/* A record with a line that stays for a reason of its own stays with all its members. One that is
 * the value of a key is a member of the record around it, which stays too. room: [2 n_lines]. */
static void keep_records(folder *f, uint32_t *room) {
    pith_fold_line *lines = f->fold->lines;
    uint32_t n = f->fold->n_lines;
    uint32_t *owners = room;
    find_owners(f, owners, room + n);
    bool *marked = (bool *)(room + n); /* the stack is done */
    memset(marked, 0, n * sizeof *marked);
    for (uint32_t i = n; i-- > 0;) {
        bool key = f->doc->text[f->doc->units[lines[i].unit_begin].start] == '"';
        if (owners[i] != PITH_FOLD_NONE &&
            (lines[i].own || (key && (marked[i] || lines[i].edge)))) {
            marked[owners[i]] = true;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        bool member = owners[i] != PITH_FOLD_NONE && marked[owners[i]];
        lines[i].folded = lines[i].folded && !member && !marked[i];
    }
}

static void count(folder *f) {
    pith_fold_line *lines = f->fold->lines;
    for (uint32_t i = 0; i < f->fold->n_lines; i++) {
        if (lines[i].folded) {
            f->kinds[lines[i].kind].folded++;
            f->fold->n_folded++;
        }
    }
    for (uint32_t i = 0; i < f->fold->n_lines; i++) {
        bool known = lines[i].kind != PITH_FOLD_NONE && !lines[i].folded;
        lines[i].stands = known && f->kinds[lines[i].kind].folded > 0;
    }
}

static pith_status no_memory(const folder *f, pith_err *err) {
    return pith_fail(err, PITH_EXHAUSTED, "no memory to fold %u lines", f->doc->n_lines);
}

pith_status pith_fold_find(const pith_document *doc, const pith_fold_opts *opts, const bool *held,
                           pith_arena *arena, pith_fold *fold, pith_err *err) {
    folder f = {.doc = doc, .held = held, .arena = arena, .fold = fold};
    f.after = opts->after == 0 ? PITH_FOLD_AFTER_DEFAULT : opts->after;
    f.hash_mask =
        opts->hash_bits == 0 || opts->hash_bits > 31 ? UINT32_MAX : (1U << opts->hash_bits) - 1;
    if (!open_folder(&f)) {
        return no_memory(&f, err);
    }
    for (uint32_t i = 0; i < fold->n_lines; i++) {
        read_line(&f, i);
        const pith_fold_line *line = &fold->lines[i];
        if (line->kind != PITH_FOLD_NONE && !line->held && line->error_unit == PITH_FOLD_NONE) {
            f.kinds[line->kind].last = i;
        }
    }
    if (!pith_table_init(&f.id_table, arena, f.n_ids)) {
        return no_memory(&f, err);
    }
    for (uint32_t i = 0; i < fold->n_lines; i++) {
        decide(&f, i);
    }
    if (opts->records) {
        uint32_t *room = pith_arena_alloc(arena, 2 * (size_t)fold->n_lines, sizeof *room);
        if (room == NULL) {
            return no_memory(&f, err);
        }
        keep_records(&f, room);
    }
    count(&f);
    return PITH_OK;
}
