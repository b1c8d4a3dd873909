/* Critical spans: what must never be dropped, found by patterns (PCRE2, compiled once with JIT).
 *
 * Two sets. PUBLISHED: the ten alternatives of headroom-ai 0.42.0 with the meaning they have in
 * Python's re on str. FULL: those and more classes (UUIDs, hashes, versions, paths, ...), each of
 * which config can switch, limit to domains, or replace. No built-in pattern matches white space,
 * and each is written so that scanning a text takes linear time; patterns from config see at most
 * PITH_CRITICAL_SLICE_BYTES at once and run under a match limit.
 *
 * A pith_critical is immutable after open: any thread. */
#ifndef PITH_TEXT_CRITICAL_H
#define PITH_TEXT_CRITICAL_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/text/route.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PITH_CRITICAL_CLASSES_MAX = 64,               /* built-in and from config together */
    PITH_CRITICAL_PATTERN_BYTES_MAX = 4096,       /* of one pattern from config */
    PITH_CRITICAL_NAME_BYTES_MAX = 63,            /* of one class name */
    PITH_CRITICAL_CONFIG_BYTES_MAX = 1024 * 1024, /* of the whole config text */
    PITH_CRITICAL_SLICE_BYTES = 4096,             /* a longer word is shown in slices ... */
    PITH_CRITICAL_OVERLAP_BYTES = 256,            /* ... that share so many bytes */
    PITH_CRITICAL_WINDOW_MAX = 3,                 /* words seen together by config's patterns */
    PITH_CRITICAL_MATCH_LIMIT = 10000             /* PCRE2 match limit, per starting position */
};

typedef struct pith_critical pith_critical;

typedef enum pith_critical_set { PITH_CRITICAL_PUBLISHED, PITH_CRITICAL_FULL } pith_critical_set;

typedef struct pith_span {
    uint32_t start; /* byte offsets, half open */
    uint32_t end;
} pith_span;

/* Ascending and disjoint; overlapping matches of different classes are one span. */
typedef struct pith_span_list {
    pith_span *items; /* [len] in the arena of the scan */
    size_t len;
    size_t cap;
} pith_span_list;

typedef struct pith_critical_scan {
    pith_span_list spans;
    pith_span_list limited; /* stretches in which a pattern ran into its match limit */
} pith_critical_scan;

/* Compiles the built-in classes as changed by `config_json` (NULL or "": as they are):
 *   {"classes": {"snake_case": {"enabled": true, "domains": ["prose", "log"]},
 *                "ticket": {"pattern": "[A-Z]+-[0-9]+"}},
 *    "only": ["ticket", "number"]}
 * A class with a pattern replaces the built-in one of that name or is new; "only" switches off
 * every class it does not name. Errors: PITH_INVALID with the class and what is wrong. */
PITH_MUST_USE pith_status pith_critical_open(pith_critical **critical, const char *config_json,
                                             pith_err *err);
void pith_critical_close(pith_critical *critical);

/* Finds the spans of text[0, len), valid UTF-8, len below 2^31. window: 1 to
 * PITH_CRITICAL_WINDOW_MAX neighbouring words that a pattern from config may match across, joined
 * as they are in the text. Errors: PITH_EXHAUSTED (arena), PITH_NO_MEMORY. */
PITH_MUST_USE pith_status pith_critical_find(const pith_critical *critical, pith_critical_set set,
                                             pith_domain domain, uint32_t window, const char *text,
                                             size_t len, pith_arena *arena,
                                             pith_critical_scan *scan, pith_err *err);

/* Appends to a list in `arena`. False when the arena is over its bound. */
PITH_MUST_USE bool pith_span_push(pith_span_list *list, pith_arena *arena, uint32_t start,
                                  uint32_t end);

#endif
