#include "runtime/text/critical.h"

#include "runtime/base/slice.h"
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
    const pcre2_code *published;
    const pcre2_code *by_domain[PITH_DOMAIN_COUNT][KIND_COUNT]; /* NULL: no class */
    pcre2_match_context *context;
};

static_assert(PITH_CRITICAL_CLASSES_MAX <= 64, "a set of classes is a uint64_t");

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
                               bool custom, const pcre2_code **code, pith_err *err) {
    *code = NULL;
    if (classes == 0) {
        return PITH_OK;
    }
    for (size_t i = 0; i < c->n_programs; i++) {
        if (c->programs[i].classes == classes && c->programs[i].custom == custom) {
            *code = c->programs[i].code;
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
        *code = p->code;
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
    pcre2_match_data *match;
    pith_arena *arena;
    pith_critical_scan *out;
    bool full; /* the arena is over its bound, or the work was stopped */
    pith_status stopped;
} scanner;

/* All matches in text[start, end) that begin before begin_max. False on a match limit. */
static bool scan_slice(scanner *s, const pcre2_code *code, size_t start, size_t end,
                       size_t begin_max) {
    const char *subject = s->text + start;
    size_t len = end - start;
    size_t pos = 0;
    while (pos < len && !s->full) {
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
        s->full = !pith_span_push(&s->out->spans, s->arena, (uint32_t)(start + from),
                                  (uint32_t)(start + to));
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
    while (!s->full) {
        bool last = end - start <= PITH_CRITICAL_SLICE_BYTES;
        size_t to = last ? end : char_start(s->text, start + PITH_CRITICAL_SLICE_BYTES);
        if (!scan_slice(s, code, start, to, begin_max)) {
            s->full = !pith_span_push(&s->out->limited, s->arena, (uint32_t)start, (uint32_t)to);
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
    s->stopped = pith_slice_spend(bytes);
    s->full = s->full || s->stopped != PITH_OK;
}

/* Word by word in text[pos, len), each seen with the window - 1 words after it. */
static void scan_words(scanner *s, const pcre2_code *code, size_t pos, size_t len,
                       uint32_t window) {
    pith_word_walk walk = {.text = s->text, .len = len, .pos = pos};
    pith_word_walk ahead = walk;
    for (uint32_t i = 0; i < window; i++) {
        (void)pith_word_next(&ahead);
    }
    while (!s->full && pith_word_next(&walk)) {
        size_t end = ahead.end > walk.end ? ahead.end : walk.end;
        scan_stretch(s, code, walk.start, end, walk.end);
        (void)pith_word_next(&ahead);
        spend(s, walk.end - walk.start);
    }
}

/* Built-in classes never match white space, so one pass over whole words sees what a walk by words
 * sees. Should a match limit be hit all the same, the walk by words finds out where. */
static void scan_text(scanner *s, const pcre2_code *code) {
    size_t end;
    for (size_t pos = 0; code != NULL && pos < s->len && !s->full; pos = end) {
        end = s->len - pos > PITH_SLICE_BYTES
                  ? pith_word_end(s->text, s->len, char_start(s->text, pos + PITH_SLICE_BYTES))
                  : s->len;
        size_t n_spans = s->out->spans.len;
        if (!scan_slice(s, code, pos, end, end)) {
            s->out->spans.len = n_spans;
            scan_words(s, code, pos, end, 1);
        }
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

static void merge(pith_span_list *list) {
    if (list->len < 2) {
        return;
    }
    qsort(list->items, list->len, sizeof *list->items, compare_spans);
    size_t last = 0;
    for (size_t i = 1; i < list->len; i++) {
        pith_span *into = &list->items[last];
        if (list->items[i].start < into->end) {
            into->end = list->items[i].end > into->end ? list->items[i].end : into->end;
        } else {
            list->items[++last] = list->items[i];
        }
    }
    list->len = last + 1;
}

pith_status pith_critical_find(const pith_critical *critical, pith_critical_set set,
                               pith_domain domain, uint32_t window, const char *text, size_t len,
                               pith_arena *arena, pith_critical_scan *scan, pith_err *err) {
    *scan = (pith_critical_scan){{0}, {0}};
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (match == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory to match critical patterns");
    }
    scanner s = {critical, text, len, match, arena, scan, false, PITH_OK};
    if (set == PITH_CRITICAL_PUBLISHED) {
        scan_text(&s, critical->published);
    } else {
        const pcre2_code *const *codes = critical->by_domain[domain];
        scan_text(&s, codes[KIND_PUBLISHED]);
        scan_text(&s, codes[KIND_EXTRA]);
        if (codes[KIND_CUSTOM] != NULL) {
            scan_words(&s, codes[KIND_CUSTOM], 0, len,
                       window > PITH_CRITICAL_WINDOW_MAX ? PITH_CRITICAL_WINDOW_MAX : window);
        }
    }
    pcre2_match_data_free(match);
    merge(&scan->spans);
    merge(&scan->limited);
    if (s.stopped != PITH_OK) {
        return pith_fail(err, s.stopped, "stopped");
    }
    return s.full ? pith_fail(err, PITH_EXHAUSTED, "no memory for critical spans") : PITH_OK;
}
