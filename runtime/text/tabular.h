/* Tables in plain text: rows whose fields only mean something together. Pure functions; linear. */
#ifndef PITH_TEXT_TABULAR_H
#define PITH_TEXT_TABULAR_H

#include "runtime/text/document.h"

enum { PITH_TABLE_ROWS_MIN = 3, PITH_TABLE_CELLS_MIN = 3 };

/* rows[line] = true for each line of a run of PITH_TABLE_ROWS_MIN or more lines with the same
 * number of cells, PITH_TABLE_CELLS_MIN or more. rows: [n_lines of the text]. What parts cells:
 *   kompress: two or more white-space characters (headroom-ai 0.42.0);
 *   faithful: those or a tab; and "|" on a line that begins and ends with it (Markdown). */
void pith_tabular_mark(const char *text, size_t len, pith_profile profile, bool *rows);

#endif
