/* Long work in slices: it takes its turns, it stops when told to, and it gives what it gave. */
#include "runtime/base/slice.h"
#include "runtime/text/critical.h"
#include "runtime/text/document.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_BYTES = 1 << 20 };

static pith_tokenizer *tokenizer;
static pith_critical *critical;
static char *text;

static int open_all(void **state) {
    char path[1024];
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(path, sizeof path, "%s/models/pith-mini/tokenizer.json", source ? source : ".");
    text = malloc(TEXT_BYTES + 64);
    size_t len = 0;
    for (unsigned i = 0; len < TEXT_BYTES; i++) {
        static const char *const words[] = {"plain", "v1.2.3", "words\n", "/etc/pith", "h\xC3\xA9"};
        len += (size_t)snprintf(text + len, 32, "%s ", words[(i * 2654435761U >> 13) % 4]);
        if (i % 97 == 0) {
            len += (size_t)snprintf(text + len, 32, "%u %s ", i, words[4]);
        }
    }
    text[TEXT_BYTES] = ' ';
    return pith_tokenizer_open(&tokenizer, path, NULL) == PITH_OK &&
                   pith_critical_open(&critical, NULL, NULL) == PITH_OK
               ? 0
               : -1;
}

static int close_all(void **state) {
    free(text);
    pith_critical_close(critical);
    pith_tokenizer_close(tokenizer);
    return 0;
}

/* Counts turns and stops at one of them. */
typedef struct counter {
    uint32_t turns;
    uint32_t stop_at; /* 0: never */
} counter;

static pith_status count_turn(void *self) {
    counter *c = self;
    return ++c->turns == c->stop_at ? PITH_CANCELLED : PITH_OK;
}

typedef struct outcome {
    pith_status status;
    pith_document doc;
    pith_arena arena;
    uint32_t turns;
} outcome;

static outcome prepare(uint32_t stop_at) {
    outcome o = {0};
    pith_token_list list = {0};
    pith_document_opts opts = {.window_tokens = 512, .halo_tokens = 64, .cls_id = 1, .sep_id = 2};
    counter c = {.stop_at = stop_at};
    pith_slice slice = {.turn = count_turn, .self = &c};
    pith_arena_init(&o.arena, SIZE_MAX);
    pith_slice_begin(stop_at == UINT32_MAX ? NULL : &slice);
    o.status =
        pith_document_prepare(&o.doc, tokenizer, &opts, text, TEXT_BYTES, &list, &o.arena, NULL);
    pith_slice_begin(NULL);
    pith_token_list_free(&list);
    o.turns = c.turns;
    return o;
}

static void a_text_prepared_in_slices_is_the_same_document(void **state) {
    outcome whole = prepare(UINT32_MAX);
    outcome sliced = prepare(0);
    assert_int_equal(whole.turns, 0);
    assert_true(sliced.turns >=
                3 * TEXT_BYTES / PITH_SLICE_BYTES); /* tokens, units twice, windows */
    assert_int_equal(sliced.status, PITH_OK);
    assert_int_equal(sliced.doc.n_ids, whole.doc.n_ids);
    assert_memory_equal(sliced.doc.ids, whole.doc.ids, whole.doc.n_ids * sizeof *whole.doc.ids);
    assert_memory_equal(sliced.doc.units, whole.doc.units,
                        whole.doc.n_units * sizeof *whole.doc.units);
    pith_arena_reset(&whole.arena);
    pith_arena_reset(&sliced.arena);
}

static void work_stops_at_the_turn_that_says_so(void **state) {
    for (uint32_t at = 1; at <= 40; at += 3) {
        outcome o = prepare(at);
        assert_int_equal(o.status, PITH_CANCELLED);
        assert_int_equal(o.turns, at); /* and takes no other */
        pith_arena_reset(&o.arena);
    }
}

static size_t find(size_t start, size_t end, const pith_slice *with, pith_status *status,
                   pith_span *spans, size_t n) {
    pith_critical_scan scan;
    pith_arena arena;
    pith_arena_init(&arena, SIZE_MAX);
    pith_slice slice = with != NULL ? *with : (pith_slice){0};
    pith_slice_begin(with != NULL ? &slice : NULL);
    *status = pith_critical_find(critical, PITH_CRITICAL_FULL, PITH_DOMAIN_LOG, 1, text + start,
                                 end - start, &arena, &scan, NULL);
    pith_slice_begin(NULL);
    for (size_t i = 0; *status == PITH_OK && i < scan.spans.len; i++) {
        spans[n + i] = (pith_span){scan.spans.items[i].start + (uint32_t)start,
                                   scan.spans.items[i].end + (uint32_t)start};
    }
    n += *status == PITH_OK ? scan.spans.len : 0;
    pith_arena_reset(&arena);
    return n;
}

/* The scan cuts the text every 64 KiB or so; other cuts between words must find the same. */
static void critical_spans_do_not_depend_on_where_the_text_is_cut(void **state) {
    pith_span *whole = malloc(TEXT_BYTES * sizeof *whole);
    pith_span *parts = malloc(TEXT_BYTES * sizeof *parts);
    pith_status status;
    size_t n_whole = find(0, TEXT_BYTES, NULL, &status, whole, 0);
    assert_int_equal(status, PITH_OK);
    size_t n_parts = 0;
    size_t end;
    for (size_t start = 0; start < TEXT_BYTES; start = end) {
        end = start + 9973 < TEXT_BYTES ? start + 9973 : TEXT_BYTES;
        while (end < TEXT_BYTES && text[end] != ' ') {
            end++;
        }
        n_parts = find(start, end, NULL, &status, parts, n_parts);
        assert_int_equal(status, PITH_OK);
    }
    assert_true(n_whole > 1000);
    assert_int_equal(n_parts, n_whole);
    assert_memory_equal(parts, whole, n_whole * sizeof *whole);
    counter c = {.stop_at = 2};
    pith_slice slice = {.turn = count_turn, .self = &c};
    assert_int_equal(find(0, TEXT_BYTES, &slice, &status, parts, 0), 0);
    assert_int_equal(status, PITH_CANCELLED);
    free(whole);
    free(parts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_prepared_in_slices_is_the_same_document),
        cmocka_unit_test(work_stops_at_the_turn_that_says_so),
        cmocka_unit_test(critical_spans_do_not_depend_on_where_the_text_is_cut),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
