/* Repeated lines: which lines of a text go whole because others of their kind stay.
 *
 * Lines are of one kind when their templates (line_template.h) are the same bytes. Of each kind
 * the first `after` lines and the last stay. In between a line stays when
 *   - it tells of something going wrong (pith_line_error_find); such lines count for nothing else;
 *   - it is held: part of it must survive;
 *   - it has an identifier that stood on no earlier line of its kind that stayed;
 *   - its template has masks and no letter outside them: what varies is all that it says (a path of
 *     a listing, a value of an array); or it holds a byte that stands for a mask;
 *   - with `records`, it is part of a record of which a line stays for one of the first three
 *     reasons, or a line with a key because it is the first or the last of its kind: the lines
 *     under the same line of smaller indentation (members of a JSON object), and where that line
 *     begins with a key, those of the record around it.
 * Blank lines are no lines here. Hashes only say where to look; bytes decide. Linear time on any
 * text: a kind or an identifier that is not found in a few places counts as new, and stays.
 *
 * Pure functions; what they return lives in the arena. */
#ifndef PITH_DECIDE_FOLD_H
#define PITH_DECIDE_FOLD_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/text/document.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PITH_FOLD_AFTER_DEFAULT = 1, /* the first and the last line of a kind stay */
};

#define PITH_FOLD_NONE UINT32_MAX

typedef struct pith_fold_opts {
    uint32_t after;     /* lines of a kind that stay before its repeats fold; 0: the default */
    bool records;       /* lines are members of records by their indentation */
    uint32_t hash_bits; /* of a hash that are used; 0: all. For tests of collisions */
} pith_fold_opts;

typedef struct pith_fold_line {
    uint32_t unit_begin; /* its units end where those of the next line begin */
    uint32_t kind;       /* or PITH_FOLD_NONE: has no template that may fold */
    uint32_t id_begin;   /* private */
    uint32_t error_unit; /* the unit that tells of something going wrong, or PITH_FOLD_NONE */
    bool held;
    bool own;    /* stays for a reason of its own */
    bool edge;   /* one of the first of its kind, or the last */
    bool folded; /* goes whole */
    bool stands; /* stays, and lines of its kind are folded */
} pith_fold_line;

typedef struct pith_fold {
    pith_fold_line *lines; /* [n_lines + 1] that are not blank; the last holds unit_begin alone */
    uint32_t n_lines;
    uint32_t n_kinds;
    uint32_t n_folded;
} pith_fold;

/* held: [n_units] units that must survive. Errors: PITH_EXHAUSTED (arena). */
PITH_MUST_USE pith_status pith_fold_find(const pith_document *doc, const pith_fold_opts *opts,
                                         const bool *held, pith_arena *arena, pith_fold *fold,
                                         pith_err *err);

#endif
