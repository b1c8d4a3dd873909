/* From kept units back to text. Pure functions on a prepared document; any thread; linear.
 *
 * faithful. Bytes between two kept units that are neighbours in the input are copied as they are.
 * Otherwise something was dropped between them, and what stands there now is
 *   - on one line: one space;
 *   - on different lines: a line end and the indentation of the later unit's line. Blank lines
 * right before that line are kept as they are; others between the two become one. Before the first
 * kept unit stands its line's indentation, after the last one the text's final line end; when the
 * text's own first or last unit is kept, all that surrounds it is. So a line that loses every word
 * goes, and with every unit kept the output is the input.
 *
 * kompress. Kept words joined by one space, or one "\n" where the source line changes. */
#ifndef PITH_TEXT_JOIN_H
#define PITH_TEXT_JOIN_H

#include "runtime/text/document.h"

/* The output is never longer than the input: each separator takes the place of at least as many
 * bytes that stood between the two units. */
typedef struct pith_joined {
    char *text; /* [len], room for the document's len bytes */
    size_t len;
    uint32_t *unit_out; /* [n_units] where each kept unit starts in the output; else unset */
} pith_joined;

/* Allocates room for a join. False when the arena is over its bound. */
PITH_MUST_USE bool pith_joined_init(pith_joined *joined, const pith_document *doc,
                                    pith_arena *arena);

/* Joins the units with kept[u]; may be called again on the same room. */
void pith_join(const pith_document *doc, pith_profile profile, const bool *kept,
               pith_joined *joined);

#endif
