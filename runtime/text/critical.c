#include "runtime/text/critical.h"

#include "runtime/base/slice.h"
#include "runtime/text/critical_ascii.h"
#include "runtime/text/critical_config.h"
#include "runtime/text/words.h"

#include <assert.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One alternation of classes. Two kinds of classes are never mixed: built-in ones run over the
 * whole text at once, those from config word by word. */
typedef struct program {
    uint64_t classes; /* bit i: class i of the list */
    bool custom;      /* patterns from config: their bits mean something else */
    pcre2_code *code;
} program;

typedef enum kind { KIND_PUBLISHED, KIND_EXTRA, KIND_CUSTOM, KIND_COUNT } kind;

enum { PROGRAMS_MAX = KIND_COUNT * PITH_DOMAIN_COUNT + 1 }; /* and the ten published, unchanged */

struct pith_critical {
    program programs[PROGRAMS_MAX];
    size_t n_programs;
    const program *published;
    const program *by_domain[PITH_DOMAIN_COUNT][KIND_COUNT]; /* NULL: no class */
    pcre2_match_context *context;
    pith_critical_ascii ascii;
};

static_assert(PITH_CRITICAL_CLASSES_MAX <= 64, "a set of classes is a uint64_t");
static_assert(KIND_PUBLISHED == 0 && KIND_EXTRA == 1, "the two scans of ASCII words");

static kind kind_of(const pith_class_entry *entry) {
    return entry->custom ? KIND_CUSTOM : entry->published ? KIND_PUBLISHED : KIND_EXTRA;
}

/* "(?:a)|(?:b)|..." of the classes in the set; NULL when memory is short. */
static char *join_patterns(const pith_class_list *list, uint64_t classes) {
    size_t bytes = 1;
    for (size_t i = 0; i < list->len; i++) {
        bytes += strlen(list->items[i].pattern) + sizeof "|(?:)";
    }
    char *text = malloc(bytes);
    if (text == NULL) {
        return NULL;
    }
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < list->len; i++) {
        if ((classes >> i & 1) != 0) {
            at += (size_t)snprintf(text + at, bytes - at, "%s(?:%s)", at > 0 ? "|" : "",
                                   list->items[i].pattern);
        }
    }
    return text;
}

static pith_status compile(pcre2_code **code, const char *pattern, const char *name,
                           pith_err *err) {
    int number;
    PCRE2_SIZE offset;
    *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &number, &offset, NULL);
    if (*code == NULL) {
        PCRE2_UCHAR text[128];
        (void)pcre2_get_error_message(number, text, sizeof text);
        return pith_fail(err, PITH_INVALID,
                         "critical config: class \"%s\": pattern: %s at offset %zu", name,
                         (const char *)text, offset);
    }
    (void)pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE); /* without it the interpreter runs */
    return PITH_OK;
}

/* Each pattern from config must stand alone, so that one cannot open a group another closes. */
static pith_status check_custom(const pith_class_list *list, pith_err *err) {
    for (size_t i = 0; i < list->len; i++) {
        if (!list->items[i].custom) {
            continue;
        }
        pcre2_code *code;
        pith_status status = compile(&code, list->items[i].pattern, list->items[i].name, err);
        if (status != PITH_OK) {
            return status;
        }
        pcre2_code_free(code);
    }
    return PITH_OK;
}

static pith_status add_program(pith_critical *c, const pith_class_list *list, uint64_t classes,
                               bool custom, const program **made, pith_err *err) {
    *made = NULL;
    if (classes == 0) {
        return PITH_OK;
    }
    for (size_t i = 0; i < c->n_programs; i++) {
        if (c->programs[i].classes == classes && c->programs[i].custom == custom) {
            *made = &c->programs[i];
            return PITH_OK;
        }
    }
    char *pattern = join_patterns(list, classes);
    if (pattern == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for critical patterns");
    }
    program *p = &c->programs[c->n_programs];
    p->classes = classes;
    p->custom = custom;
    pith_status status = compile(&p->code, pattern, "(all of a domain)", err);
    free(pattern);
    if (status == PITH_OK) {
        c->n_programs++;
        *made = p;
    }
    return status;
}

static pith_status add_domain(pith_critical *c, const pith_class_list *list, uint32_t domain,
                              pith_err *err) {
    uint64_t classes[KIND_COUNT] = {0};
    for (size_t i = 0; i < list->len; i++) {
        const pith_class_entry *entry = &list->items[i];
        if (entry->enabled && (entry->domains >> domain & 1) != 0) {
            classes[kind_of(entry)] |= UINT64_C(1) << i;
        }
    }
    for (size_t k = 0; k < KIND_COUNT; k++) {
        pith_status status =
            add_program(c, list, classes[k], k == KIND_CUSTOM, &c->by_domain[domain][k], err);
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
}

/* The ten published alternatives whatever config says: what the kompress profile holds. */
static pith_status add_published(pith_critical *c, pith_err *err) {
    pith_class_list built_in;
    pith_status status = pith_class_list_read(&built_in, NULL, err);
    if (status != PITH_OK) {
        return status;
    }
    uint64_t classes = 0;
    for (size_t i = 0; i < built_in.len; i++) {
        classes |= built_in.items[i].published ? UINT64_C(1) << i : 0;
    }
    return add_program(c, &built_in, classes, false, &c->published, err);
}

static pith_status build(pith_critical *c, const pith_class_list *list, pith_err *err) {
    c->context = pcre2_match_context_create(NULL);
    if (c->context == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for critical patterns");
    }
    (void)pcre2_set_match_limit(c->context, PITH_CRITICAL_MATCH_LIMIT);
    pith_critical_ascii_init(&c->ascii);
    pith_status status = check_custom(list, err);
    for (uint32_t d = PITH_DOMAIN_AUTO + 1; d < PITH_DOMAIN_COUNT && status == PITH_OK; d++) {
        status = add_domain(c, list, d, err);
    }
    return status;
}

pith_status pith_critical_open(pith_critical **critical, const char *config_json, pith_err *err) {
    *critical = NULL;
    pith_critical *c = calloc(1, sizeof *c);
    pith_class_list *list = calloc(1, sizeof *list);
    pith_status status = PITH_OK;
    if (c == NULL || list == NULL) {
        status = pith_fail(err, PITH_NO_MEMORY, "no memory for critical patterns");
    }
    if (status == PITH_OK) {
        status = add_published(c, err);
    }
    if (status == PITH_OK) {
        status = pith_class_list_read(list, config_json, err);
    }
    if (status == PITH_OK) {
        status = build(c, list, err);
    }
    if (list != NULL) {
        pith_class_list_free(list);
        free(list);
    }
    if (status != PITH_OK) {
        pith_critical_close(c);
        return status;
    }
    *critical = c;
    return PITH_OK;
}

void pith_critical_close(pith_critical *critical) {
    if (critical == NULL) {
        return;
    }
    for (size_t i = 0; i < critical->n_programs; i++) {
        pcre2_code_free(critical->programs[i].code);
    }
    pcre2_match_context_free(critical->context);
    free(critical);
}

bool pith_span_push(pith_span_list *list, pith_arena *arena, uint32_t start, uint32_t end) {
    if (list->len == list->cap) {
        size_t cap = list->cap == 0 ? 64 : list->cap * 2;
        pith_span *items = pith_arena_alloc(arena, cap, sizeof *items);
        if (items == NULL) {
            return false;
        }
        if (list->len > 0) {
            memcpy(items, list->items, list->len * sizeof *items);
        }
        list->items = items;
        list->cap = cap;
    }
    list->items[list->len++] = (pith_span){start, end};
    return true;
}

typedef struct scanner {
    const pith_critical *critical;
    const char *text;
    size_t len;
    pcre2_match_data *match; /* NULL until PCRE2 is needed */
    pith_arena *arena;
    pith_span_list *spans;   /* of the program at hand */
    pith_span_list *limited; /* stretches in which a pattern ran into its match limit */
    pith_status status;      /* not PITH_OK: stop */
} scanner;

static bool going(const scanner *s) {
    return s->status == PITH_OK;
}

static void push(scanner *s, pith_span_list *list, size_t start, size_t end) {
    if (!pith_span_push(list, s->arena, (uint32_t)start, (uint32_t)end)) {
        s->status = PITH_EXHAUSTED;
    }
}

/* All matches in text[start, end) that begin before begin_max. False on a match limit. */
static bool scan_slice(scanner *s, const pcre2_code *code, size_t start, size_t end,
                       size_t begin_max) {
    const char *subject = s->text + start;
    size_t len = end - start;
    size_t pos = 0;
    s->match = s->match != NULL ? s->match : pcre2_match_data_create(1, NULL);
    if (s->match == NULL) {
        s->status = PITH_NO_MEMORY;
    }
    while (pos < len && going(s)) {
        int rc = pcre2_match(code, (PCRE2_SPTR)subject, len, pos, PCRE2_NO_UTF_CHECK, s->match,
                             s->critical->context);
        if (rc == PCRE2_ERROR_NOMATCH) {
            return true;
        }
        if (rc < 0) {
            return false;
        }
        const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(s->match);
        size_t from = ov[0];
        size_t to = ov[1];
        if (start + from >= begin_max) {
            return true;
        }
        if (to <= from) { /* an empty match, or one that \K turned round */
            pos = (to > pos ? to : pos) + 1;
            while (pos < len && ((unsigned char)subject[pos] & 0xC0) == 0x80) {
                pos++;
            }
            continue;
        }
        push(s, s->spans, start + from, start + to);
        pos = to;
    }
    return true;
}

static size_t char_start(const char *text, size_t pos) {
    while (pos > 0 && ((unsigned char)text[pos] & 0xC0) == 0x80) {
        pos--;
    }
    return pos;
}

/* A stretch of words: whole when it is short, else in overlapping slices. */
static void scan_stretch(scanner *s, const pcre2_code *code, size_t start, size_t end,
                         size_t begin_max) {
    while (going(s)) {
        bool last = end - start <= PITH_CRITICAL_SLICE_BYTES;
        size_t to = last ? end : char_start(s->text, start + PITH_CRITICAL_SLICE_BYTES);
        if (!scan_slice(s, code, start, to, begin_max)) {
            push(s, s->limited, start, to);
        }
        if (last) {
            return;
        }
        start = char_start(s->text, to - PITH_CRITICAL_OVERLAP_BYTES);
        if (start >= begin_max) {
            return;
        }
    }
}

static void spend(scanner *s, size_t bytes) {
    pith_status status = pith_slice_spend(bytes);
    s->status = going(s) ? status : s->status;
}

/* Word by word in text[pos, len), each seen with the window - 1 words after it. */
static void scan_words(scanner *s, const pcre2_code *code, size_t pos, size_t len,
                       uint32_t window) {
    pith_word_walk walk = {.text = s->text, .len = len, .pos = pos};
    pith_word_walk ahead = walk;
    for (uint32_t i = 0; i < window; i++) {
        (void)pith_word_next(&ahead);
    }
    while (going(s) && pith_word_next(&walk)) {
        size_t end = ahead.end > walk.end ? ahead.end : walk.end;
        scan_stretch(s, code, walk.start, end, walk.end);
        (void)pith_word_next(&ahead);
        spend(s, walk.end - walk.start);
    }
}

/* Built-in classes never match white space, so one pass over whole words sees what a walk by words
 * sees. Should a match limit be hit all the same, the walk by words finds out where. */
static void scan_foreign(scanner *s, const program *p, size_t start, size_t end) {
    size_t n_spans = s->spans->len;
    if (!scan_slice(s, p->code, start, end, end)) {
        s->spans->len = n_spans;
        scan_words(s, p->code, start, end, 1);
    }
}

static uint32_t ascii_classes(const program *p) {
    return p == NULL ? 0 : (uint32_t)p->classes;
}

/* Words of one sort, text[start, end): ASCII, or such as hold other characters. */
static void scan_alike(scanner *s, const program *const *programs, pith_span_list *found,
                       size_t start, size_t end, uint32_t kinds) {
    if ((kinds & PITH_BYTE_FOREIGN) == 0) {
        const uint32_t classes[] = {ascii_classes(programs[KIND_PUBLISHED]),
                                    ascii_classes(programs[KIND_EXTRA])};
        if (!pith_critical_ascii_find(&s->critical->ascii, classes, kinds, s->text, start, end,
                                      found, s->arena)) {
            s->status = PITH_EXHAUSTED;
        }
        return;
    }
    for (size_t k = 0; k < KIND_CUSTOM && going(s); k++) {
        s->spans = &found[k];
        if (programs[k] != NULL) {
            scan_foreign(s, programs[k], start, end);
        }
    }
}

/* Whole words, text[pos, end). Those that are not ASCII go to PCRE2 with their like behind them. */
static void scan_built_in(scanner *s, const program *const *programs, pith_span_list *found,
                          size_t pos, size_t end) {
    const pith_critical_ascii *ascii = &s->critical->ascii;
    size_t foreign = end; /* where words that are not ASCII began; end: there are none */
    while (pos < end && going(s)) {
        uint32_t kinds;
        size_t stop = pith_ascii_word(ascii, s->text, pos, end, &kinds);
        if ((kinds & PITH_BYTE_FOREIGN) != 0) {
            foreign = foreign < pos ? foreign : pos;
        } else if (stop > pos) {
            if (foreign < pos) {
                scan_alike(s, programs, found, foreign, pos, PITH_BYTE_FOREIGN);
                foreign = end;
            }
            scan_alike(s, programs, found, pos, stop, kinds);
        }
        pos = stop + 1; /* behind the white space */
    }
    if (foreign < end && going(s)) {
        scan_alike(s, programs, found, foreign, end, PITH_BYTE_FOREIGN);
    }
}

static void scan_text(scanner *s, const program *const *programs, pith_span_list *found) {
    size_t end;
    for (size_t pos = 0; pos < s->len && going(s); pos = end) {
        end = s->len - pos > PITH_SLICE_BYTES
                  ? pith_word_end(s->text, s->len, char_start(s->text, pos + PITH_SLICE_BYTES))
                  : s->len;
        scan_built_in(s, programs, found, pos, end);
        spend(s, end - pos);
    }
}

static int compare_spans(const void *a, const void *b) {
    const pith_span *x = a;
    const pith_span *y = b;
    if (x->start != y->start) {
        return x->start < y->start ? -1 : 1;
    }
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Appends a span that starts at or after the last one; they are one where they overlap. */
static void unite(pith_span_list *list, pith_span span) {
    pith_span *last = list->len > 0 ? &list->items[list->len - 1] : NULL;
    if (last != NULL && span.start < last->end) {
        last->end = span.end > last->end ? span.end : last->end;
    } else {
        list->items[list->len++] = span;
    }
}

/* In place: ascending and disjoint. */
static void tidy(pith_span_list *list) {
    size_t n = list->len;
    if (n > 1) {
        qsort(list->items, n, sizeof *list->items, compare_spans);
        list->len = 0;
        for (size_t i = 0; i < n; i++) {
            unite(list, list->items[i]);
        }
    }
}

/* Ascending lists into one. */
static pith_status merge(const pith_span_list *lists, pith_arena *arena, pith_span_list *out) {
    size_t at[KIND_COUNT] = {0};
    out->cap = 0;
    for (size_t k = 0; k < KIND_COUNT; k++) {
        out->cap += lists[k].len;
    }
    out->items = pith_arena_alloc(arena, out->cap, sizeof *out->items);
    if (out->items == NULL) {
        return PITH_EXHAUSTED;
    }
    for (size_t n = 0; n < out->cap; n++) {
        size_t first = KIND_COUNT;
        for (size_t k = 0; k < KIND_COUNT; k++) {
            if (at[k] < lists[k].len &&
                (first == KIND_COUNT ||
                 lists[k].items[at[k]].start < lists[first].items[at[first]].start)) {
                first = k;
            }
        }
        unite(out, lists[first].items[at[first]++]);
    }
    return PITH_OK;
}

pith_status pith_critical_find(const pith_critical *critical, pith_critical_set set,
                               pith_domain domain, uint32_t window, const char *text, size_t len,
                               pith_arena *arena, pith_critical_scan *scan, pith_err *err) {
    *scan = (pith_critical_scan){{0}, {0}};
    const program *const published[KIND_COUNT] = {critical->published};
    const program *const *programs =
        set == PITH_CRITICAL_PUBLISHED ? published : critical->by_domain[domain];
    pith_span_list found[KIND_COUNT] = {{0}};
    scanner s = {
        .critical = critical, .text = text, .len = len, .arena = arena, .limited = &scan->limited};
    scan_text(&s, programs, found);
    if (programs[KIND_CUSTOM] != NULL) {
        s.spans = &found[KIND_CUSTOM];
        scan_words(&s, programs[KIND_CUSTOM]->code, 0, len,
                   window > PITH_CRITICAL_WINDOW_MAX ? PITH_CRITICAL_WINDOW_MAX : window);
    }
    pcre2_match_data_free(s.match);
    tidy(&found[KIND_CUSTOM]);
    tidy(&scan->limited);
    pith_status status = going(&s) ? merge(found, arena, &scan->spans) : s.status;
    if (status == PITH_EXHAUSTED || status == PITH_NO_MEMORY) {
        return pith_fail(err, status, "no memory for critical spans");
    }
    return status == PITH_OK ? PITH_OK : pith_fail(err, status, "stopped");
}
