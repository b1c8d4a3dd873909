#include "models/recipe/floor/floor.h"

#include "runtime/base/utf8.h"
#include "runtime/decide/decision.h"
#include "runtime/text/critical_classes.h"
#include "runtime/text/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the engine's arena: 36 bytes a byte for the document, spans, flags and items. */
enum { ARENA_BYTES_PER_TEXT_BYTE = 192, ARENA_BYTES_MIN = 8 * 1024 * 1024 };

struct pith_recipe_floor {
    pith_critical *all;
    pith_critical *alone[PITH_CRITICAL_CLASSES_MAX]; /* [pith_critical_n_classes] */
};

const char *pith_recipe_class_name(uint32_t i) {
    return i < pith_critical_n_classes ? pith_critical_classes[i].name : NULL;
}

static pith_status open_class(pith_critical **critical, const char *name, pith_err *err) {
    char config[PITH_CRITICAL_NAME_BYTES_MAX + 32];
    (void)snprintf(config, sizeof config, "{\"only\": [\"%s\"]}", name);
    return pith_critical_open(critical, config, err);
}

pith_status pith_recipe_floor_open(pith_recipe_floor **floor, pith_err *err) {
    *floor = NULL;
    pith_recipe_floor *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the floor");
    }
    pith_status status = pith_critical_open(&f->all, NULL, err);
    for (size_t i = 0; status == PITH_OK && i < pith_critical_n_classes; i++) {
        status = open_class(&f->alone[i], pith_critical_classes[i].name, err);
    }
    if (status != PITH_OK) {
        pith_recipe_floor_close(f);
        return status;
    }
    *floor = f;
    return PITH_OK;
}

void pith_recipe_floor_close(pith_recipe_floor *floor) {
    if (floor == NULL) {
        return;
    }
    for (size_t i = 0; i < pith_critical_n_classes; i++) {
        pith_critical_close(floor->alone[i]);
    }
    pith_critical_close(floor->all);
    free(floor);
}

/* Words are the units here: a text that no model will see needs no tokens. One window holds all,
 * since a unit in none is kept unseen. */
static pith_status make_units(pith_document *doc, pith_arena *arena, pith_err *err) {
    pith_word_walk walk = {.text = doc->text, .len = doc->len};
    while (pith_word_next(&walk)) {
        doc->n_words++;
    }
    doc->units = pith_arena_calloc(arena, doc->n_words, sizeof *doc->units);
    doc->windows = pith_arena_calloc(arena, 1, sizeof *doc->windows);
    if (doc->units == NULL || doc->windows == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %u words", doc->n_words);
    }
    walk = (pith_word_walk){.text = doc->text, .len = doc->len};
    while (pith_word_next(&walk)) {
        doc->units[doc->n_units] = (pith_unit){.start = walk.start,
                                               .end = walk.end,
                                               .word = doc->n_units,
                                               .line = walk.line,
                                               .n_tok = 1};
        doc->n_units++;
    }
    doc->windows[doc->n_windows++] = (pith_window){.unit_end = doc->n_units};
    doc->n_lines = 1;
    for (size_t i = 0; i < doc->len; i++) {
        doc->n_lines += doc->text[i] == '\n';
    }
    return PITH_OK;
}

/* The floor as pith_compress_finish works it out, up to the items that a budget chooses from. */
static pith_status decide(pith_decision *d, pith_err *err) {
    pith_status status = pith_decision_init(d, err);
    if (status == PITH_OK) {
        status = pith_floor_find(d, err);
    }
    if (status == PITH_OK) {
        status = pith_floor_force(d, err);
    }
    return status == PITH_OK ? pith_items_make(d, err) : status;
}

static void copy_words(const pith_decision *d, pith_recipe_word *words) {
    for (uint32_t u = 0; u < d->doc->n_units; u++) {
        const pith_unit *unit = &d->doc->units[u];
        words[u] = (pith_recipe_word){
            .start = unit->start, .end = unit->end, .line = unit->line, .critical = d->critical[u]};
    }
    for (uint32_t i = 0; i < d->n_items; i++) {
        for (uint32_t u = d->items[i].unit_begin; u < d->items[i].unit_end; u++) {
            words[u].item = i;
            words[u].forced = d->items[i].forced;
        }
    }
}

/* Adds class `bit` to the words and counted spans that share a byte with one of its spans. */
static void add_class(const pith_decision *d, const pith_span_list *own, uint64_t bit, bool *marks,
                      pith_recipe_look *look) {
    memset(marks, 0, d->doc->n_units * sizeof *marks);
    pith_floor_mark(d->doc, own, marks);
    for (uint32_t u = 0; u < d->doc->n_units; u++) {
        look->words[u].classes |= marks[u] ? bit : 0;
    }
    size_t next = 0;
    for (uint32_t i = 0; i < look->n_spans; i++) {
        while (next < own->len && own->items[next].end <= look->spans[i].start) {
            next++;
        }
        bool shares = next < own->len && own->items[next].start < look->spans[i].end;
        look->spans[i].classes |= shares ? bit : 0;
    }
}

static pith_status fill(const pith_recipe_floor *floor, const pith_decision *d,
                        pith_recipe_look *look, pith_err *err) {
    const pith_span_list *spans = &d->critical_spans.spans;
    look->domain = d->domain;
    look->n_words = d->doc->n_units;
    look->n_spans = (uint32_t)spans->len;
    look->words = calloc((size_t)look->n_words + 1, sizeof *look->words);
    look->spans = calloc((size_t)look->n_spans + 1, sizeof *look->spans);
    bool *marks = pith_arena_alloc(d->arena, d->doc->n_units, sizeof *marks);
    if (look->words == NULL || look->spans == NULL || marks == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for %u words", look->n_words);
    }
    copy_words(d, look->words);
    for (uint32_t i = 0; i < look->n_spans; i++) {
        look->spans[i] =
            (pith_recipe_span){.start = spans->items[i].start, .end = spans->items[i].end};
    }
    for (size_t c = 0; c < pith_critical_n_classes; c++) {
        pith_critical_scan own;
        pith_status status = pith_critical_find(floor->alone[c], PITH_CRITICAL_FULL, d->domain, 1,
                                                d->doc->text, d->doc->len, d->arena, &own, err);
        if (status != PITH_OK) {
            return status;
        }
        add_class(d, &own.spans, UINT64_C(1) << c, marks, look);
    }
    return PITH_OK;
}

static pith_status check(const char *text, size_t len, pith_domain domain, pith_err *err) {
    if (domain == PITH_DOMAIN_COUNT) {
        return pith_fail(err, PITH_INVALID, "domain: unknown name");
    }
    if (len > PITH_DOCUMENT_BYTES_MAX) {
        return pith_fail(err, PITH_INVALID, "text: %zu bytes, the limit is %d", len,
                         PITH_DOCUMENT_BYTES_MAX);
    }
    size_t valid = pith_utf8_valid(text, len);
    return valid == len ? PITH_OK
                        : pith_fail(err, PITH_INVALID, "text: not UTF-8 at byte %zu", valid);
}

pith_status pith_recipe_floor_look(const pith_recipe_floor *floor, const char *text, size_t len,
                                   const char *domain, pith_recipe_look *look, pith_err *err) {
    *look = (pith_recipe_look){0};
    pith_compress_request request = {
        .text = text, .text_len = len, .domain = pith_domain_find(domain)};
    pith_status status = check(text, len, request.domain, err);
    if (status != PITH_OK) {
        return status;
    }
    pith_decide_config config = {.critical_window = 1, .critical = floor->all};
    pith_document doc = {.text = text, .len = len};
    pith_arena arena;
    pith_arena_init(&arena, ARENA_BYTES_MIN + len * ARENA_BYTES_PER_TEXT_BYTE);
    pith_decision d = {.config = &config, .request = &request, .doc = &doc, .arena = &arena};
    status = make_units(&doc, &arena, err);
    if (status == PITH_OK) {
        status = decide(&d, err);
    }
    if (status == PITH_OK) {
        status = fill(floor, &d, look, err);
    }
    pith_arena_reset(&arena);
    if (status != PITH_OK) {
        pith_recipe_look_free(look);
    }
    return status;
}

void pith_recipe_look_free(pith_recipe_look *look) {
    free(look->words);
    free(look->spans);
    *look = (pith_recipe_look){0};
}
